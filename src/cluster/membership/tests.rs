//! A coordinator and workers over loopback: how nodes come, go and die, with real streams, clocks and knocks.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{broadcast, watch},
};
use tonic::Status;

use super::{advertise::Advertise, heartbeat::Standing, messages::PROBE, *};
use crate::cluster::{
    flight::{
        Doors, FlightReceiver, FlightSender, StreamOpen, TableFingerprint,
        client::Peers,
        server::{Routes, serve},
    },
    security::{Security, secret::Secret},
};

/// Against hangs; nothing is measured.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lease that no test waits for.
const SLOW: Timing = Timing { heartbeat: Duration::from_millis(100), lease: Duration::from_secs(20) };

/// A lease that runs out soon.
const QUICK: Timing = Timing { heartbeat: Duration::from_millis(50), lease: Duration::from_millis(500) };

fn security() -> Arc<Security> {
    Security::new(&Secret::from_text("the secret of this cluster").unwrap())
}

fn info(name: &str) -> NodeInfo {
    NodeInfo {
        id: NodeId(name.to_owned()),
        incarnation: Incarnation::draw(),
        address: String::new(),
        threads: 2,
        memory_bytes: 1 << 30,
        version: "1.0".to_owned(),
        protocol: 1,
    }
}

fn table(rows: u64) -> Vec<TableFingerprint> {
    vec![TableFingerprint { name: "file.default.t".to_owned(), columns: vec!["a Int64".to_owned()], rows, splits: 1 }]
}

/// A Flight port on a runtime of its own, that can be closed with all its connections.
struct Port {
    runtime: Option<Runtime>,
    address: String,
}

impl Port {
    fn open(at: &str, doors: impl FnOnce(&Runtime) -> Arc<dyn Doors>) -> Port {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let doors = doors(&runtime);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            serve(listener, doors, security(), Routes::default(), std::future::pending()).await.unwrap();
        });
        Port { runtime: Some(runtime), address }
    }

    /// Returns when all its sockets are closed.
    fn close(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A thread that runs futures may not wait for those of another runtime to end.
            std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE)).join().unwrap();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Coordinator {
    port: Port,
    membership: Arc<Membership>,
    events: broadcast::Receiver<NodeEvent>,
}

struct CoordinatorDoors(Arc<Membership>);

#[tonic::async_trait]
impl Doors for CoordinatorDoors {
    async fn stream(&self, open: StreamOpen, outbound: FlightSender, inbound: FlightReceiver) -> Result<(), Status> {
        match open {
            StreamOpen::Membership(info, tables) => {
                self.0.accept(*info, tables, outbound, inbound);
                Ok(())
            }
            _ => Err(Status::invalid_argument("only membership here")),
        }
    }

    async fn action(&self, _: &str, _: Bytes) -> Result<Bytes, Status> {
        Ok(self.0.answer())
    }
}

impl Coordinator {
    fn start(timing: Timing) -> Coordinator {
        Coordinator::start_at("127.0.0.1:0", timing)
    }

    fn start_at(address: &str, timing: Timing) -> Coordinator {
        let mut made = None;
        let port = Port::open(address, |runtime| {
            let _guard = runtime.enter();
            let membership = Membership::new(info("coordinator"), table(7), timing, Peers::new(security()));
            made = Some(Arc::clone(&membership));
            Arc::new(CoordinatorDoors(membership))
        });
        let membership = made.unwrap();
        let events = membership.subscribe();
        Coordinator { port, membership, events }
    }

    async fn event(&mut self) -> NodeEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("nothing happens").unwrap()
    }

    async fn joined(&mut self) -> NodeInfo {
        match self.event().await {
            NodeEvent::Joined(info) => info,
            other => panic!("{other:?}"),
        }
    }

    async fn lost(&mut self) -> (Incarnation, String) {
        match self.event().await {
            NodeEvent::Lost { incarnation, reason, .. } => (incarnation, reason),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the one node is so.
    async fn until(&self, is_so: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let search = async {
            loop {
                if let Some(node) = self.membership.all().into_iter().find(|node| is_so(node)) {
                    return node;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("it does not become so")
    }
}

struct Worker {
    port: Port,
    heartbeat: Arc<Heartbeat>,
    standing: watch::Receiver<Standing>,
    hooks: Arc<Told>,
}

/// What the heartbeat told.
#[derive(Default)]
struct Told {
    load: Mutex<Load>,
    fenced: Mutex<Vec<String>>,
    drained: Mutex<u32>,
}

impl Hooks for Told {
    fn load(&self) -> Load {
        *self.load.lock()
    }

    fn on_fenced(&self, reason: &str) {
        self.fenced.lock().push(reason.to_owned());
    }

    fn on_drained(&self) {
        *self.drained.lock() += 1;
    }
}

struct WorkerDoors(Arc<OnceLock<Arc<Heartbeat>>>);

#[tonic::async_trait]
impl Doors for WorkerDoors {
    async fn stream(&self, _: StreamOpen, _: FlightSender, _: FlightReceiver) -> Result<(), Status> {
        Err(Status::invalid_argument("no streams here"))
    }

    async fn action(&self, kind: &str, _: Bytes) -> Result<Bytes, Status> {
        assert_eq!(kind, PROBE);
        self.0.get().map(|heartbeat| heartbeat.answer()).ok_or_else(|| Status::unavailable("not yet"))
    }
}

impl Worker {
    fn start(info: NodeInfo, tables: Vec<TableFingerprint>, coordinator: &str) -> Worker {
        let heart = Arc::new(OnceLock::new());
        let port = Port::open("127.0.0.1:0", |_| Arc::new(WorkerDoors(Arc::clone(&heart))));
        let number = port.address.rsplit_once(':').unwrap().1.parse().unwrap();
        let options = HeartbeatOptions {
            info,
            tables,
            coordinator: coordinator.to_owned(),
            advertise: Advertise { configured: None, bind_address: "0.0.0.0".to_owned(), port: number },
            timing: SLOW,
            security: security(),
        };
        let hooks = Arc::new(Told::default());
        let heartbeat = Arc::new(Heartbeat::start(options, Arc::clone(&hooks) as Arc<dyn Hooks>).unwrap());
        let _ = heart.set(Arc::clone(&heartbeat));
        Worker { port, standing: heartbeat.standing(), heartbeat, hooks }
    }

    async fn stands(&mut self, is_so: impl FnMut(&Standing) -> bool) -> Standing {
        tokio::time::timeout(PATIENCE, self.standing.wait_for(is_so)).await.expect("it does not stand so").unwrap().clone()
    }
}

/// A wire to a port, that can be cut and mended.
struct Wire {
    address: String,
    is_whole: watch::Sender<bool>,
}

impl Wire {
    async fn to(target: &str) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, target) = (listener.local_addr().unwrap().to_string(), target.to_owned());
        let (is_whole, watched) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (target, mut watched) = (target.clone(), watched.clone());
                tokio::spawn(async move {
                    let pass = async {
                        let Ok(mut to) = TcpStream::connect(&target).await else { return };
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    };
                    tokio::select! {
                        () = pass => {}
                        _ = watched.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Wire { address, is_whole }
    }

    fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

#[tokio::test]
async fn a_worker_registers_and_its_heartbeats_say_how_it_is() {
    let mut coordinator = Coordinator::start(SLOW);
    let worker = Worker::start(info("w"), table(7), &coordinator.port.address);
    let joined = coordinator.joined().await;
    assert_eq!((joined.id.0.as_str(), &joined.address), ("w", &worker.port.address));
    assert_eq!(coordinator.membership.active(), std::slice::from_ref(&joined));
    *worker.hooks.load.lock() = Load { memory_used_bytes: 123, running_tasks: 4 };
    let status = coordinator.until(|node| node.running_tasks == 4).await;
    assert_eq!((status.state, status.memory_used_bytes, status.reason), (NodeState::Active, 123, None));
    assert_eq!(coordinator.membership.reached_at(&joined.id).as_ref(), Some(&coordinator.port.address));
    assert!(coordinator.membership.verify(&joined.id, joined.incarnation, "a peer says so").await);
    assert_eq!(coordinator.until(|node| node.state == NodeState::Active).await.info, joined);
}

#[tokio::test]
async fn a_killed_worker_is_lost() {
    let mut coordinator = Coordinator::start(SLOW);
    let wire = Wire::to(&coordinator.port.address).await;
    let mut worker = Worker::start(info("w"), table(7), &wire.address);
    let joined = coordinator.joined().await;
    worker.port.close();
    wire.cut();
    let (incarnation, reason) = coordinator.lost().await;
    assert_eq!(incarnation, joined.incarnation);
    assert!(reason.contains(&format!("nobody is at {}", worker.port.address)), "{reason}");
    assert_eq!(coordinator.membership.active(), []);
    assert!(!coordinator.membership.verify(&joined.id, joined.incarnation, "late").await);
    let status = coordinator.until(|node| node.state == NodeState::Dead).await;
    assert_eq!(status.reason, Some(reason));
}

#[tokio::test]
async fn a_worker_whose_port_is_dead_does_not_pass_for_alive() {
    let mut coordinator = Coordinator::start(QUICK);
    let mut worker = Worker::start(info("w"), table(7), &coordinator.port.address);
    let joined = coordinator.joined().await;
    worker.port.close();
    // It still beats, so it is not lost; but nobody should wait for it.
    assert!(!coordinator.membership.verify(&joined.id, joined.incarnation, "a peer's stream broke").await);
    assert_eq!(coordinator.membership.active(), []);
}

#[tokio::test]
async fn a_worker_whose_stream_breaks_comes_back_and_is_not_lost() {
    let mut coordinator = Coordinator::start(SLOW);
    let wire = Wire::to(&coordinator.port.address).await;
    let mut worker = Worker::start(info("w"), table(7), &wire.address);
    let joined = coordinator.joined().await;
    wire.cut();
    coordinator.until(|node| node.state == NodeState::Suspect).await;
    wire.mend();
    coordinator.until(|node| node.state == NodeState::Active).await;
    worker.stands(|standing| *standing == Standing::Joined).await;
    assert_eq!(worker.heartbeat.incarnation(), joined.incarnation);
    assert!(worker.hooks.fenced.lock().is_empty());
    // What happens next is the first thing that happens.
    worker.heartbeat.stop();
    assert_eq!(coordinator.lost().await, (joined.incarnation, "it was stopped".to_owned()));
}

#[tokio::test]
async fn a_worker_that_is_cut_off_is_lost_fences_itself_and_comes_back_as_another() {
    let mut coordinator = Coordinator::start(QUICK);
    let wire = Wire::to(&coordinator.port.address).await;
    let worker = Worker::start(info("w"), table(7), &wire.address);
    let first = coordinator.joined().await;
    wire.cut();
    let (incarnation, _) = coordinator.lost().await;
    assert_eq!(incarnation, first.incarnation);
    wire.mend();
    let second = coordinator.joined().await;
    assert_ne!(second.incarnation, first.incarnation);
    assert!(!worker.hooks.fenced.lock().is_empty());
    assert_eq!(worker.heartbeat.incarnation(), second.incarnation);
}

#[tokio::test]
async fn a_worker_finds_a_coordinator_that_starts_later_or_again() {
    let mut coordinator = Coordinator::start(SLOW);
    let address = coordinator.port.address.clone();
    coordinator.port.close();
    drop(coordinator);
    let mut worker = Worker::start(info("w"), table(7), &address);
    worker.stands(|standing| matches!(standing, Standing::Alone(why) if why.contains("cannot reach"))).await;
    let mut coordinator = Coordinator::start_at(&address, SLOW);
    let first = coordinator.joined().await;
    coordinator.port.close();
    drop(coordinator);
    worker.stands(|standing| matches!(standing, Standing::Alone(_))).await;
    let mut coordinator = Coordinator::start_at(&address, SLOW);
    assert_eq!(coordinator.joined().await, first);
}

#[tokio::test]
async fn a_worker_that_does_not_fit_is_told_why() {
    let coordinator = Coordinator::start(SLOW);
    let refusal = async |info, tables| {
        let mut worker = Worker::start(info, tables, &coordinator.port.address);
        match worker.stands(|standing| matches!(standing, Standing::Refused(_))).await {
            Standing::Refused(why) => why,
            other => panic!("{other:?}"),
        }
    };
    let why = refusal(info("w"), table(8)).await;
    assert!(why.starts_with("table file.default.t has 7 rows on the coordinator, and 8 on the worker"), "{why}");
    let why = refusal(info("w"), vec![]).await;
    assert!(why.starts_with("table file.default.t is missing on the worker"), "{why}");
    let why = refusal(NodeInfo { version: "0.9".to_owned(), ..info("w") }, table(7)).await;
    assert!(why.contains("arneb 1.0") && why.contains("arneb 0.9"), "{why}");
    let _first = Worker::start(info("w"), table(7), &coordinator.port.address);
    coordinator.until(|node| node.state == NodeState::Active).await;
    let why = refusal(info("w"), table(7)).await;
    assert!(why.starts_with("the worker_id \"w\" is taken by the node at 127.0.0.1:"), "{why}");
    assert_eq!(coordinator.membership.active().len(), 1);
}

#[tokio::test]
async fn a_drain_waits_for_what_runs_and_can_be_taken_back() {
    let mut coordinator = Coordinator::start(SLOW);
    let mut worker = Worker::start(info("w"), table(7), &coordinator.port.address);
    let NodeInfo { id, incarnation, .. } = coordinator.joined().await;
    *worker.hooks.load.lock() = Load { memory_used_bytes: 0, running_tasks: 1 };
    coordinator.until(|node| node.running_tasks == 1).await;
    assert!(coordinator.membership.drain(&id));
    assert_eq!(coordinator.event().await, NodeEvent::Draining { id: id.clone(), incarnation });
    worker.stands(|standing| *standing == Standing::Draining).await;
    assert_eq!(coordinator.membership.active(), []);
    assert!(coordinator.membership.resume(&id));
    assert_eq!(coordinator.event().await, NodeEvent::Resumed { id: id.clone(), incarnation });
    worker.stands(|standing| *standing == Standing::Joined).await;
    assert_eq!(coordinator.membership.active().len(), 1);
    worker.heartbeat.drain();
    assert_eq!(coordinator.event().await, NodeEvent::Draining { id: id.clone(), incarnation });
    *worker.hooks.load.lock() = Load::default();
    assert_eq!(coordinator.event().await, NodeEvent::Left { id: id.clone(), incarnation });
    worker.stands(|standing| *standing == Standing::Drained).await;
    worker.heartbeat.stop();
    assert_eq!(*worker.hooks.drained.lock(), 1);
    assert!(!coordinator.membership.drain(&id));
}
