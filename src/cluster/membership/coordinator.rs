//! The coordinator's side: streams of workers, the clock and the network for the machine that decides, and answers for those who ask.
//!
//! Position: one per coordinator; `Doors` hands it the streams. Every step of the machine and what follows from it happens under one
//! lock, so that announcements come in the order of decisions; nothing under it waits.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast, watch},
    task::AbortHandle,
};

use super::{
    NodeEvent, NodeState, NodeStatus, Timing,
    machine::{Action, Answer, Event, KnockId, Machine, StreamId},
    messages::{PROBE, ToCoordinator, ToNode},
};
use crate::cluster::{
    flight::{
        FlightReceiver, FlightSender, TableFingerprint,
        client::{Knock, Peers},
        messages::{Inbox, Outbox, from_bytes, to_bytes},
    },
    node::{Incarnation, NodeId, NodeInfo},
};

/// Events that a listener may be behind; who is behind further must look at [`Membership::all`].
const EVENTS_MAX: usize = 1024;

/// How long a knock may take: short, for the lease decides where nothing is learned.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a worker may take to say its first word.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The coordinator's knowledge of workers.
pub struct Membership {
    us: NodeInfo,
    timing: Timing,
    inner: Mutex<Inner>,
    events: broadcast::Sender<NodeEvent>,
    /// Counts steps of the machine.
    steps: watch::Sender<u64>,
    tick: Notify,
    peers: Arc<Peers>,
    runtime: Handle,
    started: Instant,
}

struct Inner {
    machine: Machine,
    links: HashMap<StreamId, Link>,
    next_stream: u64,
}

struct Link {
    outbox: Outbox<ToNode>,
    reader: AbortHandle,
    /// The address of this coordinator, as the node sees it.
    reached_at: Option<String>,
}

impl Membership {
    /// Of a coordinator that says this of itself and has these tables. Runs on the current runtime until it is dropped.
    pub fn new(us: NodeInfo, tables: Vec<TableFingerprint>, timing: Timing, peers: Arc<Peers>) -> Arc<Self> {
        let machine = Machine::new(us.clone(), tables, timing);
        let membership = Arc::new(Membership {
            us,
            timing,
            inner: Mutex::new(Inner { machine, links: HashMap::new(), next_stream: 0 }),
            events: broadcast::channel(EVENTS_MAX).0,
            steps: watch::channel(0).0,
            tick: Notify::new(),
            peers,
            runtime: Handle::current(),
            started: Instant::now(),
        });
        membership.runtime.spawn(tick(Arc::downgrade(&membership)));
        membership
    }

    /// Takes over the stream of a worker that registers.
    pub fn accept(self: &Arc<Self>, info: NodeInfo, tables: Vec<TableFingerprint>, outbound: FlightSender, inbound: FlightReceiver) {
        let mut inner = self.inner.lock();
        let stream = StreamId(inner.next_stream);
        inner.next_stream += 1;
        // The reader waits for the lock before it does anything, and so finds its link.
        let reader = self.runtime.spawn(Arc::clone(self).read(stream, info, tables, Inbox::new(inbound))).abort_handle();
        inner.links.insert(stream, Link { outbox: Outbox::new(outbound), reader, reached_at: None });
    }

    /// The answer to a knock at this coordinator.
    pub fn answer(&self) -> bytes::Bytes {
        to_bytes(&self.us.incarnation).into()
    }

    /// The nodes that get work.
    pub fn active(&self) -> Vec<NodeInfo> {
        self.all().into_iter().filter(|node| node.state == NodeState::Active).map(|node| node.info).collect()
    }

    /// All workers, those that are gone for a while too.
    pub fn all(&self) -> Vec<NodeStatus> {
        self.inner.lock().machine.nodes(self.started.elapsed())
    }

    /// Where this coordinator is for a node: at the address the node reached it at.
    pub fn reached_at(&self, id: &NodeId) -> Option<String> {
        let inner = self.inner.lock();
        inner.links.get(&inner.machine.stream(id)?)?.reached_at.clone()
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<NodeEvent> {
        self.events.subscribe()
    }

    /// Somebody has reason to think that a node is dead: it gets nothing new until that is known.
    pub fn suspect(self: &Arc<Self>, id: &NodeId, incarnation: Incarnation, why: &str) {
        self.step(Event::Suspected(id.clone(), incarnation, why.to_owned()));
    }

    /// Like [`Self::suspect`], and waits until it is known whether the node lives. One that gives signs of life but cannot be
    /// reached counts as dead here after the time of a lease.
    pub async fn verify(self: &Arc<Self>, id: &NodeId, incarnation: Incarnation, why: &str) -> bool {
        let mut steps = self.steps.subscribe();
        self.suspect(id, incarnation, why);
        let known = async {
            loop {
                match self.inner.lock().machine.state(id, incarnation) {
                    Some(NodeState::Suspect) => {}
                    state => return state.is_some_and(NodeState::is_live),
                }
                if steps.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(self.timing.lease, known).await.unwrap_or(false)
    }

    /// Lets a node finish what it has, and gives it nothing new; `false` when there is none of this name.
    pub fn drain(self: &Arc<Self>, id: &NodeId) -> bool {
        self.step(Event::Drain(id.clone()));
        self.is_live(id)
    }

    /// Takes [`Self::drain`] back, while the node is still there; `false` when it is not.
    pub fn resume(self: &Arc<Self>, id: &NodeId) -> bool {
        self.step(Event::Resume(id.clone()));
        self.is_live(id)
    }

    fn is_live(&self, id: &NodeId) -> bool {
        self.all().iter().any(|node| node.info.id == *id && node.state.is_live())
    }

    async fn read(self: Arc<Self>, stream: StreamId, info: NodeInfo, tables: Vec<TableFingerprint>, mut inbox: Inbox<ToCoordinator>) {
        // Nodes that get work are told where this coordinator is, so that must be known before.
        match tokio::time::timeout(HELLO_TIMEOUT, inbox.next()).await {
            Ok(Some(Ok(ToCoordinator::ReachedAt(address)))) => {
                if let Some(link) = self.inner.lock().links.get_mut(&stream) {
                    link.reached_at = Some(address);
                }
            }
            _ => {
                self.inner.lock().links.remove(&stream);
                return;
            }
        }
        self.step(Event::Opened(stream, Box::new(info), tables));
        loop {
            let event = match inbox.next().await {
                Some(Ok(ToCoordinator::ReachedAt(_))) => continue,
                Some(Ok(ToCoordinator::Beat { number, load, is_draining })) => Event::Beat(stream, number, load, is_draining),
                Some(Ok(ToCoordinator::AskDrain)) => Event::AskDrain(stream),
                Some(Ok(ToCoordinator::Leave)) => Event::Leaving(stream),
                Some(Err(error)) => {
                    self.step(Event::Broken(stream, error.message));
                    break;
                }
                None => {
                    self.step(Event::Broken(stream, "it was closed".to_owned()));
                    break;
                }
            };
            self.step(event);
        }
        self.inner.lock().links.remove(&stream);
    }

    fn step(self: &Arc<Self>, event: Event) {
        {
            let mut inner = self.inner.lock();
            let now = self.started.elapsed();
            for action in inner.machine.step(event, now) {
                self.perform(&mut inner, action);
            }
        }
        self.steps.send_modify(|steps| *steps += 1);
        self.tick.notify_one();
    }

    fn perform(self: &Arc<Self>, inner: &mut Inner, action: Action) {
        match action {
            Action::Tell(stream, message) => {
                if let Some(link) = inner.links.get(&stream) {
                    link.outbox.send(&message);
                }
            }
            Action::Close(stream) => {
                if let Some(link) = inner.links.remove(&stream) {
                    link.reader.abort();
                }
            }
            Action::Knock(knock, address) => {
                self.runtime.spawn(knock_at(Arc::downgrade(self), Arc::clone(&self.peers), knock, address));
            }
            Action::Announce(event) => {
                log(&event);
                // Nobody may be listening, and that is all right.
                let _ = self.events.send(event);
            }
        }
    }
}

async fn knock_at(membership: Weak<Membership>, peers: Arc<Peers>, knock: KnockId, address: String) {
    let answer = match peers.knock(&address, PROBE, KNOCK_TIMEOUT).await {
        Knock::Answered(bytes) => from_bytes(&bytes).map_or_else(|error| Answer::Silent(error.message), Answer::Here),
        Knock::Refused(why) => Answer::Refused(why),
        Knock::Silent(why) => Answer::Silent(why),
    };
    if let Some(membership) = membership.upgrade() {
        membership.step(Event::Knocked(knock, answer));
    }
}

/// Lets the machine know that time has passed, whenever it wants to.
async fn tick(membership: Weak<Membership>) {
    loop {
        let Some(membership) = membership.upgrade() else { return };
        let now = membership.started.elapsed();
        let deadline = membership.inner.lock().machine.deadline();
        if deadline <= now {
            membership.step(Event::Tick);
            continue;
        }
        // A step may bring the deadline forward; the membership is let go of at least once a heartbeat.
        let _ = tokio::time::timeout(deadline - now, membership.tick.notified()).await;
    }
}

fn log(event: &NodeEvent) {
    let node = event.node();
    match event {
        NodeEvent::Joined(info) => tracing::info!(%node, address = info.address, threads = info.threads, "node joined"),
        NodeEvent::Lost { reason, .. } => tracing::warn!(%node, reason, "node lost"),
        NodeEvent::Draining { .. } => tracing::info!(%node, "node draining"),
        NodeEvent::Resumed { .. } => tracing::info!(%node, "node resumed"),
        NodeEvent::Left { .. } => tracing::info!(%node, "node left"),
    }
}
