//! A TCP proxy that stands between two nodes and treats their connections badly: it delays, resets, and goes silent.
//!
//! A silent proxy reads nothing and writes nothing, and still accepts connections: bytes wait, as they do in a network that is cut.
//! When it is healed they flow again, none lost and none twice.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arneb::cli::local_cluster::random::Random;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// Chunks that are on their way in one direction of a connection.
const CHUNKS_UNDERWAY: usize = 64;

/// How connections are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Treatment {
    /// Every byte takes so long in each direction.
    pub delay: Duration,
    /// Nothing goes from who connects to who is connected to.
    pub cut_to_target: bool,
    /// Nothing comes back.
    pub cut_from_target: bool,
}

impl Treatment {
    /// Passes everything on at once.
    pub const WELL: Treatment = Treatment { delay: Duration::ZERO, cut_to_target: false, cut_from_target: false };
    /// Accepts, and passes nothing on.
    pub const SILENT: Treatment = Treatment { delay: Duration::ZERO, cut_to_target: true, cut_from_target: true };
    /// Swallows what is sent to the target.
    pub const DEAF: Treatment = Treatment { delay: Duration::ZERO, cut_to_target: true, cut_from_target: false };

    /// Passes everything on later.
    pub fn delayed(delay: Duration) -> Treatment {
        Treatment { delay, ..Treatment::WELL }
    }
}

/// The proxy; it hangs up when it is dropped.
pub struct FaultProxy {
    port: u16,
    treatment: watch::Sender<Treatment>,
    resets: Arc<Resets>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// In front of a port of this machine, whether anybody listens there yet or not.
    pub async fn start(target: u16, seed: u64) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (treatment, treatments) = watch::channel(Treatment::WELL);
        let resets = Arc::new(Resets::new(seed));
        let accepting = tokio::spawn(accept(listener, SocketAddr::from(([127, 0, 0, 1], target)), treatments, Arc::clone(&resets)));
        FaultProxy { port, treatment, resets, accepting }
    }

    /// Where it listens, as other nodes are told.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Treats all connections differently from now on, those that are open included.
    pub fn treat(&self, treatment: Treatment) {
        self.treatment.send_replace(treatment);
    }

    /// Resets as many connections as that, each in the middle of a chunk after a random number of bytes up to `bytes`.
    pub fn reset(&self, times: usize, bytes: usize) {
        self.resets.arm(times, bytes);
    }

    /// How many connections were reset.
    pub fn num_resets(&self) -> usize {
        self.resets.done.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Which connections are reset when: a count of bytes over all of them.
struct Resets {
    plan: parking_lot::Mutex<ResetPlan>,
    done: AtomicUsize,
}

struct ResetPlan {
    random: Random,
    left: usize,
    most_bytes: usize,
    bytes_until_next: usize,
}

impl Resets {
    fn new(seed: u64) -> Resets {
        let plan = ResetPlan { random: Random::new(seed), left: 0, most_bytes: 0, bytes_until_next: 0 };
        Resets { plan: parking_lot::Mutex::new(plan), done: AtomicUsize::new(0) }
    }

    fn arm(&self, times: usize, bytes: usize) {
        let mut plan = self.plan.lock();
        plan.left = times;
        plan.most_bytes = bytes;
        plan.bytes_until_next = plan.random.below(bytes);
    }

    /// So many bytes are about to be passed on; `Some`: only so many of them, and then the connection is reset.
    fn pass(&self, bytes: usize) -> Option<usize> {
        let mut plan = self.plan.lock();
        if plan.left == 0 {
            return None;
        }
        if bytes < plan.bytes_until_next {
            plan.bytes_until_next -= bytes;
            return None;
        }
        let last = plan.bytes_until_next.min(bytes);
        let most_bytes = plan.most_bytes;
        plan.bytes_until_next = plan.random.below(most_bytes);
        plan.left -= 1;
        self.done.fetch_add(1, Ordering::Relaxed);
        Some(last)
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, treatments: watch::Receiver<Treatment>, resets: Arc<Resets>) {
    // Dropping the set ends the connections together with the proxy.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let (treatments, resets) = (treatments.clone(), Arc::clone(&resets));
        connections.spawn(async move {
            // Nobody there: the client sees its connection close.
            if let Ok(server) = TcpStream::connect(target).await {
                connection(client, server, treatments, &resets).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Why a direction of a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn connection(mut client: TcpStream, mut server: TcpStream, treatments: watch::Receiver<Treatment>, resets: &Resets) {
    // A delay is to be the one that was asked for.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            end = pump(from_client, to_server, treatments.clone(), |t| t.cut_to_target, resets) => end,
            end = pump(from_server, to_client, treatments, |t| t.cut_from_target, resets) => end,
        }
    };
    if end == End::Reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Passes one direction on until it is over.
async fn pump(
    mut reader: ReadHalf<'_>,
    mut writer: WriteHalf<'_>,
    treatments: watch::Receiver<Treatment>,
    is_cut: impl Fn(&Treatment) -> bool + Copy,
    resets: &Resets,
) -> End {
    let (sender, mut underway) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_UNDERWAY);
    let mut reading_treatments = treatments.clone();
    let reading = async move {
        loop {
            until_flowing(&mut reading_treatments, is_cut).await;
            let mut chunk = vec![0; CHUNK];
            match reader.read(&mut chunk).await {
                Ok(length) if length > 0 => chunk.truncate(length),
                _ => return,
            }
            if sender.send((Instant::now(), chunk)).await.is_err() {
                return;
            }
        }
    };
    let mut writing_treatments = treatments;
    let writing = async move {
        while let Some((arrived, mut chunk)) = underway.recv().await {
            let delay = writing_treatments.borrow().delay;
            tokio::time::sleep_until(arrived + delay).await;
            until_flowing(&mut writing_treatments, is_cut).await;
            let reset_after = resets.pass(chunk.len());
            chunk.truncate(reset_after.unwrap_or(chunk.len()));
            if writer.write_all(&chunk).await.is_err() {
                return End::Closed;
            }
            if reset_after.is_some() {
                return End::Reset;
            }
        }
        End::Closed
    };
    // What was read before the end of the stream is still passed on: the channel closes with its sender.
    tokio::pin!(writing);
    tokio::select! {
        () = reading => writing.await,
        end = &mut writing => end,
    }
}

/// Waits until the direction is not cut.
async fn until_flowing(treatments: &mut watch::Receiver<Treatment>, is_cut: impl Fn(&Treatment) -> bool) {
    // The proxy is dropped: its connections are, too.
    let _ = treatments.wait_for(|treatment| !is_cut(treatment)).await;
}

/// A server that sends back what it gets.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    port
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Sends and waits for the same to come back.
async fn ask(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, text);
    Ok(())
}

#[tokio::test]
async fn a_delay_delays_both_ways_and_keeps_all_bytes() {
    let proxy = FaultProxy::start(echo().await, 1).await;
    proxy.treat(Treatment::delayed(Duration::from_millis(50)));
    let mut stream = connect(&proxy).await;
    let start = Instant::now();
    ask(&mut stream, &[7; 100_000]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_reset_comes_after_the_planned_bytes_and_only_as_often() {
    let proxy = FaultProxy::start(echo().await, 1).await;
    proxy.reset(2, 1000);
    let mut failures = 0;
    for _ in 0..10 {
        let mut stream = connect(&proxy).await;
        failures += usize::from(ask(&mut stream, &[7; 5000]).await.is_err());
    }
    assert_eq!((failures, proxy.num_resets()), (2, 2));
}

#[tokio::test]
async fn a_silent_proxy_accepts_and_answers_when_it_is_healed() {
    let proxy = FaultProxy::start(echo().await, 1).await;
    let mut old = connect(&proxy).await;
    ask(&mut old, b"before").await.unwrap();
    proxy.treat(Treatment::SILENT);
    let mut new = connect(&proxy).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), ask(&mut new, b"new")).await.is_err());
    old.write_all(b"waits").await.unwrap();
    proxy.treat(Treatment::WELL);
    let mut answer = [0; 5];
    old.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"waits");
}

#[tokio::test]
async fn a_dropped_proxy_hangs_up() {
    let proxy = FaultProxy::start(echo().await, 1).await;
    let mut stream = connect(&proxy).await;
    ask(&mut stream, b"before").await.unwrap();
    drop(proxy);
    let outcome = tokio::time::timeout(Duration::from_secs(30), ask(&mut stream, b"after")).await;
    assert!(outcome.expect("it hangs up").is_err());
}
