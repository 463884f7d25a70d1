//! Who is what: the coordinator's knowledge of nodes, as a function of events and the time.
//!
//! ```text
//!              knock answered            drain
//!   Joining ───────────────► Active ◄────────────► Draining ──── it asked for it, and nothing runs any more ───► Left
//!                             ▲  │                  ▲  │
//!          beat, answer, or   │  │ beats missing,   │  │
//!          new stream         │  ▼ stream broken,   │  ▼
//!                            Suspect ── a peer's word ──► nobody there (knocked twice), or no beat for a lease ───► Dead
//! ```
//!
//! Position: driven by `coordinator`, which has the clock, the streams and the network. A number labels each stream and each knock: what
//! comes late, of an earlier one, changes nothing. Deliberately elsewhere: what is true of one node (`record`).

mod admission;
mod record;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use self::record::{Answers, Knocking, Record, Suspicion};
use super::{
    NodeEvent, NodeState, NodeStatus, Timing,
    messages::{Load, ToNode},
};
use crate::cluster::{
    flight::TableFingerprint,
    node::{Incarnation, NodeId, NodeInfo},
};

/// The time since the coordinator started.
pub type Now = Duration;

/// One membership stream, of all there ever were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// One knock, of all there ever were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KnockId(pub u64);

/// Beats that may be missing before a node is suspected.
const MISSES: u32 = 3;

/// Knocks that are refused before a node is dead. Between them a restarting machine may come up, and one lost packet means nothing.
const REFUSALS: u32 = 2;

/// How long after a refusal the next knock is.
const KNOCK_PAUSE: Duration = Duration::from_millis(50);

/// Beats without a task after which a draining node has nothing more to do: a query that began just before may be on its way to it.
const IDLE_BEATS: u32 = 2;

/// Nodes that are gone and still listed.
const LISTED_MAX: usize = 64;

/// Incarnations that are gone and still remembered.
const GONE_MAX: usize = 1024;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A worker opened a stream and says who it is.
    Opened(StreamId, Box<NodeInfo>, Vec<TableFingerprint>),
    /// A sign of life: its number, what the node has to do, whether it knows that it is draining.
    Beat(StreamId, u64, Load, bool),
    /// A stream ended, as its node says: it stops.
    Leaving(StreamId),
    /// A stream ended.
    Broken(StreamId, String),
    /// What came of a knock.
    Knocked(KnockId, Answer),
    /// Somebody has reason to think that a node is dead.
    Suspected(NodeId, Incarnation, String),
    /// A node is to get nothing new.
    Drain(NodeId),
    /// The node of a stream wants to get nothing new.
    AskDrain(StreamId),
    /// A node is to get work again.
    Resume(NodeId),
    /// Time has passed.
    Tick,
}

/// What came of a knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A node is there: this start of it.
    Here(Incarnation),
    /// Nobody is there.
    Refused(String),
    /// Nothing was learned.
    Silent(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send a message.
    Tell(StreamId, ToNode),
    /// End a stream, after what was sent.
    Close(StreamId),
    /// Find out whether somebody is at an address.
    Knock(KnockId, String),
    /// Let everybody know.
    Announce(NodeEvent),
}

/// See the module.
pub struct Machine {
    us: NodeInfo,
    tables: Vec<TableFingerprint>,
    timing: Timing,
    nodes: BTreeMap<NodeId, Record>,
    /// Who was lost or has left: what comes late of them is not taken for news.
    gone: VecDeque<(NodeId, Incarnation)>,
    next_knock: u64,
    last_tick: Now,
    actions: Vec<Action>,
}

impl Machine {
    /// Of a coordinator without workers.
    pub fn new(us: NodeInfo, tables: Vec<TableFingerprint>, timing: Timing) -> Self {
        Machine {
            us,
            tables,
            timing,
            nodes: BTreeMap::new(),
            gone: VecDeque::new(),
            next_knock: 0,
            last_tick: Duration::ZERO,
            actions: vec![],
        }
    }

    /// Takes an event in, and says what is to be done, in this order.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Action> {
        match event {
            Event::Opened(stream, info, tables) => self.opened(stream, *info, &tables, now),
            Event::Beat(stream, number, load, is_draining) => self.beat(stream, number, load, is_draining, now),
            Event::Leaving(stream) => self.leaving(stream, now),
            Event::Broken(stream, why) => self.broken(stream, &why, now),
            Event::Knocked(knock, answer) => self.knocked(knock, answer, now),
            Event::Suspected(id, incarnation, why) => self.suspected(&id, incarnation, why, now),
            Event::Drain(id) => self.drain(&id),
            Event::AskDrain(stream) => {
                if let Some(id) = self.node_of(stream) {
                    self.drain(&id);
                    if let Some(node) = self.nodes.get_mut(&id) {
                        node.wants_to_stop = true;
                    }
                }
            }
            Event::Resume(id) => self.resume(&id),
            Event::Tick => self.tick(now),
        }
        std::mem::take(&mut self.actions)
    }

    /// When the next [`Event::Tick`] is due.
    pub fn deadline(&self) -> Now {
        let live = self.nodes.values().filter(|node| node.state.is_live() && node.state != NodeState::Joining);
        let leases = live.map(|node| node.last_beat + self.timing.lease);
        let knocks = self.nodes.values().filter_map(|node| node.knocking.next);
        leases.chain(knocks).chain([self.last_tick + self.timing.heartbeat]).min().unwrap_or_default()
    }

    /// All nodes, by name; the gone ones too, for a while.
    pub fn nodes(&self, now: Now) -> Vec<NodeStatus> {
        self.nodes.values().map(|node| node.status(now)).collect()
    }

    /// What a node is.
    pub fn state(&self, id: &NodeId, incarnation: Incarnation) -> Option<NodeState> {
        self.nodes.get(id).filter(|node| node.info.incarnation == incarnation).map(|node| node.state)
    }

    /// The stream of a node, while it has one.
    pub fn stream(&self, id: &NodeId) -> Option<StreamId> {
        self.nodes.get(id)?.stream
    }

    fn node_of(&self, stream: StreamId) -> Option<NodeId> {
        self.nodes.values().find(|node| node.stream == Some(stream) && node.state.is_live()).map(|node| node.info.id.clone())
    }

    fn beat(&mut self, stream: StreamId, number: u64, load: Load, knows_draining: bool, now: Now) {
        let Some(id) = self.node_of(stream) else { return };
        let node = self.nodes.get_mut(&id).expect("it was just found");
        node.last_beat = now;
        node.load = load;
        self.actions.push(Action::Tell(stream, ToNode::Ack(number)));
        node.clear(Answers::Beat);
        let is_idle = node.state == NodeState::Draining && knows_draining && load.running_tasks == 0;
        node.idle_beats = if is_idle { node.idle_beats + 1 } else { 0 };
        if node.idle_beats >= IDLE_BEATS && node.wants_to_stop {
            self.actions.push(Action::Tell(stream, ToNode::Drained));
            self.left(&id, "it was drained", now);
        }
    }

    fn left(&mut self, id: &NodeId, why: &str, now: Now) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        self.actions.extend(node.stream.take().map(Action::Close));
        node.end(NodeState::Left, why.to_owned(), now);
        let incarnation = node.info.incarnation;
        self.actions.push(Action::Announce(NodeEvent::Left { id: id.clone(), incarnation }));
        self.remember_gone(id.clone(), incarnation);
    }

    fn leaving(&mut self, stream: StreamId, now: Now) {
        let Some(id) = self.node_of(stream) else { return };
        let node = &self.nodes[&id];
        match node.state {
            NodeState::Joining => self.drop_joining(&id),
            _ if node.wants_to_stop && node.load.running_tasks == 0 => self.left(&id, "it was drained", now),
            _ => self.dead(&id, "it was stopped".to_owned(), now),
        }
    }

    fn broken(&mut self, stream: StreamId, why: &str, now: Now) {
        let Some(id) = self.node_of(stream) else { return };
        let node = self.nodes.get_mut(&id).expect("it was just found");
        node.stream = None;
        match node.state {
            NodeState::Joining => self.drop_joining(&id),
            _ => {
                let why = format!("its stream to the coordinator broke: {why}");
                self.suspect(&id, Suspicion { why, cleared_by: Answers::Stream }, now);
            }
        }
    }

    fn suspected(&mut self, id: &NodeId, incarnation: Incarnation, why: String, now: Now) {
        let is_known = |node: &Record| node.info.incarnation == incarnation && node.state.is_live() && node.state != NodeState::Joining;
        if self.nodes.get(id).is_some_and(is_known) {
            self.doubt(id, why, now);
        }
    }

    /// Suspects a node until it answers a knock.
    fn doubt(&mut self, id: &NodeId, why: String, now: Now) {
        let Some(node) = self.nodes.get(id) else { return };
        match &node.suspicion {
            // An earlier reason that is harder to clear stays.
            Some(earlier) if earlier.cleared_by != Answers::Knock => self.knock(id),
            _ => self.suspect(id, Suspicion { why, cleared_by: Answers::Knock }, now),
        }
    }

    /// Suspects a node from now on, and knocks at once.
    fn suspect(&mut self, id: &NodeId, suspicion: Suspicion, now: Now) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.state = NodeState::Suspect;
        node.suspicion = Some(suspicion);
        node.suspected_at = now;
        // What an earlier knock finds may have been true before this.
        node.knocking = Knocking::default();
        self.knock(id);
    }

    /// Knocks, unless it has already been done and the answer is being waited for.
    fn knock(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.knocking.current.is_some() {
            return;
        }
        self.next_knock += 1;
        let knock = KnockId(self.next_knock);
        node.knocking.current = Some(knock);
        node.knocking.next = None;
        self.actions.push(Action::Knock(knock, node.info.address.clone()));
    }

    fn knocked(&mut self, knock: KnockId, answer: Answer, now: Now) {
        let Some(node) = self.nodes.values_mut().find(|node| node.knocking.current == Some(knock)) else { return };
        let id = node.info.id.clone();
        node.knocking.current = None;
        match (node.state, answer) {
            (NodeState::Joining, Answer::Here(incarnation)) if incarnation == node.info.incarnation => self.joined(&id),
            (NodeState::Joining, Answer::Here(_)) => self.refuse_unreachable(&id, "another node answers there"),
            (NodeState::Joining, answer) => {
                node.knocking.last_answer = Some(answer);
                node.knocking.next = Some(now + self.timing.heartbeat);
            }
            (NodeState::Suspect, Answer::Here(incarnation)) if incarnation == node.info.incarnation => {
                node.knocking.refusals = 0;
                node.knocking.next = Some(now + node.knock_pause(self.timing));
                node.clear(Answers::Knock);
            }
            (NodeState::Suspect, Answer::Here(_)) => self.dead(&id, "a newer start of it answers at its address".to_owned(), now),
            (NodeState::Suspect, Answer::Silent(why)) => {
                node.knocking.last_answer = Some(Answer::Silent(why));
                node.knocking.next = Some(now + node.knock_pause(self.timing));
            }
            (NodeState::Suspect, Answer::Refused(why)) => self.refused(&id, why, now),
            _ => {}
        }
    }

    fn refused(&mut self, id: &NodeId, why: String, now: Now) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.knocking.refusals += 1;
        if node.knocking.refusals < REFUSALS {
            node.knocking.next = Some(now + KNOCK_PAUSE);
            return;
        }
        // Whoever has given a sign of life since is not dead, but cannot be reached: it stays suspect.
        if node.stream.is_some() && node.last_beat > node.suspected_at {
            node.knocking = Knocking { next: Some(now + self.timing.heartbeat), ..Knocking::default() };
            node.suspected_at = now;
            return;
        }
        let reason = match &node.suspicion {
            Some(suspicion) => format!("{}, and nobody is at {}: {why}", suspicion.why, node.info.address),
            None => format!("nobody is at {}: {why}", node.info.address),
        };
        self.dead(id, reason, now);
    }

    fn joined(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.state = if node.is_draining { NodeState::Draining } else { NodeState::Active };
        node.knocking = Knocking::default();
        self.actions.extend(node.stream.map(|stream| Action::Tell(stream, ToNode::Joined)));
        self.actions.push(Action::Announce(NodeEvent::Joined(node.info.clone())));
        if node.is_draining {
            self.actions.push(Action::Announce(NodeEvent::Draining { id: id.clone(), incarnation: node.info.incarnation }));
        }
    }

    fn dead(&mut self, id: &NodeId, reason: String, now: Now) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if let Some(stream) = node.stream.take() {
            self.actions.push(Action::Tell(stream, ToNode::Fenced(reason.clone())));
            self.actions.push(Action::Close(stream));
        }
        let incarnation = node.info.incarnation;
        node.end(NodeState::Dead, reason.clone(), now);
        self.actions.push(Action::Announce(NodeEvent::Lost { id: id.clone(), incarnation, reason }));
        self.remember_gone(id.clone(), incarnation);
    }

    /// A node that never joined leaves no trace.
    fn drop_joining(&mut self, id: &NodeId) {
        if let Some(node) = self.nodes.remove(id) {
            self.actions.extend(node.stream.map(Action::Close));
        }
    }

    fn drain(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.state.is_live() && !node.is_draining) else { return };
        node.is_draining = true;
        node.idle_beats = 0;
        self.actions.extend(node.stream.map(|stream| Action::Tell(stream, ToNode::Drain)));
        if node.state == NodeState::Active {
            node.state = NodeState::Draining;
        }
        if node.state != NodeState::Joining {
            self.actions.push(Action::Announce(NodeEvent::Draining { id: id.clone(), incarnation: node.info.incarnation }));
        }
    }

    fn resume(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.state.is_live() && node.is_draining) else { return };
        node.is_draining = false;
        node.wants_to_stop = false;
        self.actions.extend(node.stream.map(|stream| Action::Tell(stream, ToNode::Resume)));
        if node.state == NodeState::Draining {
            node.state = NodeState::Active;
        }
        if node.state != NodeState::Joining {
            self.actions.push(Action::Announce(NodeEvent::Resumed { id: id.clone(), incarnation: node.info.incarnation }));
        }
    }

    fn tick(&mut self, now: Now) {
        self.forgive_own_sleep(now);
        let ids: Vec<NodeId> = self.nodes.values().filter(|node| node.state.is_live()).map(|node| node.info.id.clone()).collect();
        for id in ids {
            self.tick_node(&id, now);
        }
    }

    /// Where this process itself stood still, the beats of that time are still to be read: nobody is to be blamed for them.
    fn forgive_own_sleep(&mut self, now: Now) {
        let gap = now.saturating_sub(self.last_tick);
        self.last_tick = now;
        if gap > 2 * self.timing.heartbeat {
            self.nodes.values_mut().for_each(|node| node.last_beat = (node.last_beat + gap).min(now));
        }
    }

    fn tick_node(&mut self, id: &NodeId, now: Now) {
        let node = &self.nodes[id];
        let silence = now.saturating_sub(node.last_beat);
        let (state, knock_due) = (node.state, node.knocking.next.is_some_and(|due| due <= now));
        if state == NodeState::Joining {
            if now.saturating_sub(node.registered_at) >= self.timing.lease {
                let why = match &node.knocking.last_answer {
                    Some(Answer::Refused(why) | Answer::Silent(why)) => why.clone(),
                    _ => "no answer".to_owned(),
                };
                return self.refuse_unreachable(id, &why);
            }
        } else if silence >= self.timing.lease {
            let earlier = node.suspicion.as_ref().filter(|suspicion| suspicion.cleared_by != Answers::Beat);
            let before = earlier.map_or(String::new(), |suspicion| format!("{}, and ", suspicion.why));
            return self.dead(id, format!("{before}no heartbeat for {:.1} s", silence.as_secs_f64()), now);
        } else if state != NodeState::Suspect && silence >= MISSES * self.timing.heartbeat {
            let why = format!("no heartbeat for {:.1} s", silence.as_secs_f64());
            return self.suspect(id, Suspicion { why, cleared_by: Answers::Beat }, now);
        }
        if knock_due && matches!(state, NodeState::Joining | NodeState::Suspect) {
            self.knock(id);
        }
    }

    /// Nodes that are gone are kept for those who ask what became of them, but not without end.
    fn remember_gone(&mut self, id: NodeId, incarnation: Incarnation) {
        self.gone.push_back((id, incarnation));
        if self.gone.len() > GONE_MAX {
            self.gone.pop_front();
        }
        let gone = |node: &&Record| !node.state.is_live();
        if self.nodes.values().filter(gone).count() > LISTED_MAX {
            let oldest = self.nodes.values().filter(gone).min_by_key(|node| node.ended_at).map(|node| node.info.id.clone());
            self.nodes.remove(&oldest.expect("there are more than a few"));
        }
    }
}
