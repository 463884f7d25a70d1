//! The worker's side: finds the coordinator, registers, gives signs of life, and notices when its own have not been heard.
//!
//! Position: one per worker, on a thread of its own with a runtime and a connection of its own: however busy the node is, its heart beats.
//! A worker whose lease has run out fences itself: it must assume that its work was given to others, drops it, and comes back
//! under a new incarnation. The worker counts from when it sent a beat, its coordinator from when that came, so the worker is never the later
//! one to know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Timing,
    advertise::Advertise,
    messages::{Load, ToCoordinator, ToNode},
};
use crate::{
    cluster::{
        flight::{
            FlightReceiver, FlightSender, StreamOpen, TableFingerprint,
            client::{Lane, Peers, is_refusal},
            messages::{Inbox, Outbox, to_bytes},
        },
        node::{Incarnation, NodeInfo},
        security::Security,
    },
    error::{Error, ErrorKind, Result},
};

/// How long after a failure the next try is: doubled each time, up to a limit.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How long after a refusal the next try is: somebody has to do something first.
const RETRY_REFUSED: Duration = Duration::from_secs(5);

/// Who registers where, as what.
pub struct HeartbeatOptions {
    /// What the node tells of itself; its address is found out each time.
    pub info: NodeInfo,
    /// Its tables.
    pub tables: Vec<TableFingerprint>,
    /// Where the coordinator is: `host:port`.
    pub coordinator: String,
    /// What the node's address is found out from.
    pub advertise: Advertise,
    /// Until the coordinator has said what holds.
    pub timing: Timing,
    /// What proves that it may.
    pub security: Arc<Security>,
}

/// What the heartbeat asks and tells the rest of the node. Called on the heartbeat's thread: must not wait.
pub trait Hooks: Send + Sync + 'static {
    /// What the node has to do.
    fn load(&self) -> Load;

    /// The node is or may be taken for dead: everything that runs for others is to be dropped.
    fn on_fenced(&self, reason: &str);

    /// The node was draining, and nothing runs any more: it can stop. Nothing follows.
    fn on_drained(&self);
}

/// Where a worker stands with its coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The coordinator is not there, for this reason.
    Alone(String),
    /// The coordinator does not want it, for this reason.
    Refused(String),
    /// Registered; the coordinator tries to reach it.
    Registered,
    /// It gets work.
    Joined,
    /// It finishes what it has.
    Draining,
    /// It has finished.
    Drained,
}

/// The heart of a worker; stops when it is dropped.
pub struct Heartbeat {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    incarnation: AtomicU64,
    wish: watch::Sender<Wish>,
    standing: watch::Sender<Standing>,
}

/// What the rest of the node wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Live,
    Drain,
    Stop,
}

impl Heartbeat {
    /// Starts beating. The node's Flight port must be open before: the coordinator knocks at it.
    ///
    /// # Errors
    /// There is no thread or no runtime for it.
    pub fn start(options: HeartbeatOptions, hooks: Arc<dyn Hooks>) -> Result<Heartbeat> {
        let failed = |error: std::io::Error| Error::new(ErrorKind::Resource, "53000", format!("cannot start the heartbeat: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let shared = Arc::new(Shared {
            incarnation: AtomicU64::new(options.info.incarnation.0),
            wish: watch::channel(Wish::Live).0,
            standing: watch::channel(Standing::Alone("it has not been looked for yet".to_owned())).0,
        });
        let heart = Heart {
            wish: shared.wish.subscribe(),
            shared: Arc::clone(&shared),
            peers: Peers::new(Arc::clone(&options.security)),
            timing: options.timing,
            options,
            hooks,
            is_member: false,
            renewed: Instant::now(),
        };
        let run = move || {
            runtime.block_on(heart.live());
            // A name server that does not answer must not hold up the end.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("arneb-heartbeat".to_owned()).spawn(run).map_err(failed)?;
        Ok(Heartbeat { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Which start of the node this is, at the moment: another one after it was fenced.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.shared.incarnation.load(Ordering::Acquire))
    }

    /// The answer to a knock at this node.
    pub fn answer(&self) -> Bytes {
        to_bytes(&self.incarnation()).into()
    }

    /// Where the node stands, now and later.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    /// Asks the coordinator for nothing new; [`Hooks::on_drained`] tells when everything is finished.
    pub fn drain(&self) {
        self.wish(Wish::Drain);
    }

    /// Tells the coordinator that the node stops now, and stops beating. Waits for the thread, a moment at most.
    pub fn stop(&self) {
        self.wish(Wish::Stop);
        if let Some(thread) = self.thread.lock().take() {
            // It ends by a panic only if there is a mistake in it, and then it has ended as well.
            let _ = thread.join();
        }
    }

    fn wish(&self, wish: Wish) {
        self.shared.wish.send_if_modified(|current| {
            let is_more = wish > *current;
            *current = wish.max(*current);
            is_more
        });
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.wish(Wish::Stop);
    }
}

struct Heart {
    options: HeartbeatOptions,
    hooks: Arc<dyn Hooks>,
    shared: Arc<Shared>,
    wish: watch::Receiver<Wish>,
    peers: Arc<Peers>,
    timing: Timing,
    /// Whether the coordinator may count on the node: then it must fence itself when its lease has run out.
    is_member: bool,
    /// When the latest sign of life was sent of which it is known that it came.
    renewed: Instant,
}

/// How a registration ended.
enum End {
    Broken(String),
    Refused(String),
    Fenced(String),
    Drained,
    Stopped,
}

impl Heart {
    async fn live(mut self) {
        let mut retry = RETRY_FIRST;
        loop {
            let end = self.registration().await;
            self.peers.forget(&self.options.coordinator);
            let was_member = self.is_member;
            let pause = match end {
                End::Drained | End::Stopped => return,
                End::Fenced(why) => {
                    self.fence(&why);
                    RETRY_FIRST
                }
                End::Refused(why) => {
                    if was_member {
                        self.fence(&why);
                    }
                    self.stand(Standing::Refused(why));
                    RETRY_REFUSED
                }
                End::Broken(why) => {
                    retry = if *self.shared.standing.borrow() == Standing::Joined { RETRY_FIRST } else { (retry * 2).min(RETRY_MAX) };
                    self.stand(Standing::Alone(why));
                    retry
                }
            };
            if self.pause(pause).await {
                return;
            }
        }
    }

    /// Waits; `true` when the node stops.
    async fn pause(&mut self, pause: Duration) -> bool {
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            let lease = self.lease();
            tokio::select! {
                () = &mut over => return false,
                () = at(lease) => self.fence("the coordinator has not been heard for the time of a lease"),
                () = stopping(self.wish.clone()) => return true,
            }
        }
    }

    /// When the node is to fence itself.
    fn lease(&self) -> Option<Instant> {
        self.is_member.then(|| self.renewed + self.timing.lease)
    }

    fn fence(&mut self, why: &str) {
        self.is_member = false;
        self.shared.incarnation.store(Incarnation::draw().0, Ordering::Release);
        tracing::warn!(reason = why, "this node may be taken for dead: what runs here for others is dropped");
        self.hooks.on_fenced(why);
    }

    /// Remembers where the node stands, and says so in the log when that is news.
    fn stand(&self, standing: Standing) {
        let coordinator = &self.options.coordinator;
        let is_news = self.shared.standing.send_if_modified(|current| {
            let is_news = *current != standing;
            current.clone_from(&standing);
            is_news
        });
        match standing {
            _ if !is_news => {}
            Standing::Alone(reason) => tracing::warn!(%coordinator, reason, "no coordinator; looking for it"),
            Standing::Refused(reason) => {
                tracing::error!(%coordinator, reason, "the coordinator refuses this node; trying again now and then")
            }
            Standing::Registered => tracing::debug!(%coordinator, "registered"),
            Standing::Joined => tracing::info!(%coordinator, "joined the cluster"),
            Standing::Draining => tracing::info!("draining: finishing what runs"),
            Standing::Drained => tracing::info!("drained"),
        }
    }

    /// From the search for the coordinator until the stream to it ends.
    async fn registration(&mut self) -> End {
        let (lease, wish) = (self.lease(), self.wish.clone());
        let opened = Instant::now();
        let stream = tokio::select! {
            stream = self.open() => stream,
            () = at(lease) => return End::Fenced("the coordinator has not been heard for the time of a lease".to_owned()),
            () = stopping(wish) => return End::Stopped,
        };
        match stream {
            Ok((outbound, inbound)) => self.beat(Outbox::new(outbound), Inbox::new(inbound), opened).await,
            Err(error) if is_refusal(&error) => End::Refused(error.message),
            Err(error) => End::Broken(error.message),
        }
    }

    async fn open(&self) -> Result<(FlightSender, FlightReceiver)> {
        let (advertise, coordinator) = (self.options.advertise.clone(), self.options.coordinator.clone());
        let found = tokio::task::spawn_blocking(move || advertise.address(&coordinator)).await;
        let found = found.map_err(|error| Error::internal(error.to_string()))?;
        let address = found.map_err(|error| {
            Error::new(ErrorKind::Cluster, "58030", format!("no way to the coordinator at {}: {error}", self.options.coordinator))
        })?;
        let incarnation = Incarnation(self.shared.incarnation.load(Ordering::Acquire));
        let info = NodeInfo { address, incarnation, ..self.options.info.clone() };
        let open = StreamOpen::Membership(Box::new(info), self.options.tables.clone());
        self.peers.open(Lane::Control, &self.options.coordinator, &open).await
    }

    async fn beat(&mut self, outbox: Outbox<ToCoordinator>, mut inbox: Inbox<ToNode>, opened: Instant) -> End {
        outbox.send(&ToCoordinator::ReachedAt(self.options.coordinator.clone()));
        let mut talk = Talk { outbox, opened, unacknowledged: vec![], next_beat: 0, is_draining: false };
        let mut beats = beats(self.timing);
        let mut wish = self.wish.clone();
        // What was wished before is wished of this coordinator too.
        wish.mark_changed();
        loop {
            tokio::select! {
                message = inbox.next() => match message {
                    Some(Ok(ToNode::Welcome { timing, .. })) => {
                        self.timing = timing;
                        self.renewed = talk.opened;
                        beats = self::beats(timing);
                        self.stand(Standing::Registered);
                    }
                    Some(Ok(message)) => {
                        if let Some(end) = self.told(&mut talk, message) {
                            return end;
                        }
                    }
                    Some(Err(error)) => return End::Broken(error.message),
                    None => return End::Broken("it closed the stream".to_owned()),
                },
                _ = beats.tick() => talk.beat(self.hooks.load()),
                changed = wish.changed() => {
                    let wished = *wish.borrow_and_update();
                    if changed.is_err() || wished == Wish::Stop {
                        talk.outbox.send(&ToCoordinator::Leave);
                        return self.leave(talk, inbox).await;
                    }
                    if wished == Wish::Drain {
                        talk.outbox.send(&ToCoordinator::AskDrain);
                    }
                }
                () = at(self.lease()) => {
                    return End::Fenced("the coordinator has acknowledged no heartbeat for the time of a lease".to_owned());
                }
            }
        }
    }

    fn told(&mut self, talk: &mut Talk, message: ToNode) -> Option<End> {
        match message {
            ToNode::Joined => {
                self.is_member = true;
                self.stand(Standing::Joined);
            }
            ToNode::Ack(number) => {
                if let Some(sent) = talk.acknowledged(number) {
                    self.renewed = self.renewed.max(sent);
                }
            }
            ToNode::Drain => {
                talk.is_draining = true;
                self.stand(Standing::Draining);
            }
            ToNode::Resume => {
                talk.is_draining = false;
                self.stand(Standing::Joined);
            }
            ToNode::Drained => {
                self.is_member = false;
                self.stand(Standing::Drained);
                self.hooks.on_drained();
                return Some(End::Drained);
            }
            ToNode::Refused(why) => return Some(End::Refused(why)),
            ToNode::Fenced(why) => return Some(End::Fenced(why)),
            ToNode::Welcome { .. } => {}
        }
        None
    }

    /// The coordinator closes the stream when it has understood; it need not be there any more.
    async fn leave(&self, talk: Talk, mut inbox: Inbox<ToNode>) -> End {
        drop(talk);
        let closed = async { while let Some(Ok(_)) = inbox.next().await {} };
        let _ = tokio::time::timeout(Duration::from_millis(500), closed).await;
        End::Stopped
    }
}

/// What was said on one stream.
struct Talk {
    outbox: Outbox<ToCoordinator>,
    opened: Instant,
    unacknowledged: Vec<(u64, Instant)>,
    next_beat: u64,
    is_draining: bool,
}

impl Talk {
    fn beat(&mut self, load: Load) {
        let number = self.next_beat;
        self.next_beat += 1;
        self.unacknowledged.push((number, Instant::now()));
        // A stream that is gone shows on the receiving side.
        self.outbox.send(&ToCoordinator::Beat { number, load, is_draining: self.is_draining });
    }

    /// When a beat was sent; those before it need no answer any more.
    fn acknowledged(&mut self, number: u64) -> Option<Instant> {
        let at = self.unacknowledged.iter().position(|(sent, _)| *sent == number)?;
        self.unacknowledged.drain(..=at).next_back().map(|(_, sent)| sent)
    }
}

fn beats(timing: Timing) -> tokio::time::Interval {
    let mut beats = tokio::time::interval(timing.heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// Waits until the node stops.
async fn stopping(mut wish: watch::Receiver<Wish>) {
    let _ = wish.wait_for(|wish| *wish == Wish::Stop).await;
}

/// Waits until then; for ever where there is no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
