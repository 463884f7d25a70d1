//! The receiving end of an exchange on one node: what has arrived from all senders, until the unit that reads it takes it.
//!
//! Position: fed by [`super::query_exchange`], drained by [`super::source`] and [`super::merge`]. Decides and answers with
//! [`Effects`]; never sends, never blocks.
//!
//! ```text
//!                      ┌────────────── staged, per run ──────────────┐
//!   Rows of a run ──►  │ batches, until END (first run of a unit wins)│ ──► ready ──► taken by a chain
//!                      └──────────────────────────────────────────────┘      ▲
//!                       direct: ─────────────────────────────────────────────┘
//! ```
//! Everything staged or ready is reserved in the query's memory. If it does not fit, the input fails, which its reader sees.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use arrow::datatypes::DataType;
use parking_lot::Mutex;
use pipelines::{Batch, QueryMemory, Reservation};

use super::{
    Limits,
    effects::{Effects, keep_waker},
    frame::{FrameHeader, bad_frame},
    plain_types,
};
use crate::{
    cluster::{
        control::{InputSpec, UnitId, UnitRun},
        node::NodeIndex,
    },
    error::Result,
    plan::fragment::ExchangeId,
};

/// What arrived through one exchange.
pub(crate) struct Input {
    exchange: ExchangeId,
    num_units: u32,
    is_staged: bool,
    types: Vec<DataType>,
    limits: Limits,
    floating: Arc<FloatingCredit>,
    memory: Arc<QueryMemory>,
    state: Mutex<State>,
}

/// Credit on top of what channels own, for whoever runs out; one pool per query and receiving node.
pub(crate) struct FloatingCredit(AtomicU64);

/// Rows that a sender hands over.
pub(crate) struct Arrival {
    pub from: NodeIndex,
    pub run: UnitRun,
    pub batch: Batch,
    /// Memory they take here.
    pub num_bytes: usize,
    /// Credit they used.
    pub charge: u64,
    /// Whether the sender has run out of credit.
    pub is_exhausted: bool,
}

/// What a reader gets.
pub(crate) enum Taken {
    /// Rows of a unit, in the order in which the unit sent them.
    Rows(UnitId, Batch),
    /// Nothing now; the waker is kept.
    Nothing,
    /// Nothing any more.
    Finished,
}

struct State {
    phase: Phase,
    is_read: bool,
    /// Runs of units that have not ended.
    open: HashMap<UnitRun, OpenRun>,
    ended: HashSet<UnitId>,
    abandoned: HashSet<UnitRun>,
    gone: HashSet<NodeIndex>,
    ready: VecDeque<Ready>,
    reservation: Reservation,
    senders: HashMap<NodeIndex, Sender>,
    wakers: Vec<Waker>,
}

enum Phase {
    Open,
    /// The reader wants no more.
    Dropped,
    Failed(pipelines::Error),
    Closed,
}

struct OpenRun {
    from: NodeIndex,
    rows: u64,
    staged: Vec<Ready>,
    reservation: Reservation,
}

struct Ready {
    unit: UnitId,
    from: NodeIndex,
    batch: Batch,
    num_bytes: usize,
    /// Credit to give back when the rows are taken.
    owed: u64,
}

/// What is owed to a node that has sent.
#[derive(Default)]
struct Sender {
    /// To be given back as soon as it is worth a frame.
    due: u64,
    /// Kept back until readers have caught up.
    withheld: u64,
    floating: u64,
    is_told: bool,
}

impl FloatingCredit {
    pub(super) fn new(bytes: u64) -> Arc<FloatingCredit> {
        Arc::new(FloatingCredit(AtomicU64::new(bytes)))
    }

    // Relaxed: a counter that guards nothing else.
    fn take(&self, wanted: u64) -> u64 {
        let before = self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |free| Some(free - wanted.min(free)));
        wanted.min(before.unwrap_or(0))
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Input {
    pub(super) fn new(spec: &InputSpec, limits: Limits, floating: Arc<FloatingCredit>, memory: Arc<QueryMemory>) -> Input {
        let state = State {
            phase: Phase::Open,
            is_read: false,
            open: HashMap::new(),
            ended: HashSet::new(),
            abandoned: HashSet::new(),
            gone: HashSet::new(),
            ready: VecDeque::new(),
            reservation: memory.reservation(PURPOSE),
            senders: HashMap::new(),
            wakers: Vec::new(),
        };
        Input {
            exchange: spec.exchange,
            num_units: spec.num_units,
            is_staged: spec.is_staged,
            types: plain_types(&spec.types),
            limits,
            floating,
            memory,
            state: Mutex::new(state),
        }
    }

    /// Types of the columns that come.
    pub(super) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Marks the input as read; whether it was not before.
    pub(super) fn claim(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().is_read, true)
    }

    /// Whether rows of a run would be dropped. Then they have been answered for, and need not be decoded.
    ///
    /// # Errors
    /// If there is no such unit.
    pub(super) fn refuse(&self, from: NodeIndex, run: UnitRun, charge: u64) -> Result<Option<Effects>> {
        self.check_unit(run)?;
        let mut effects = Effects::default();
        let is_refused = self.is_refused(&mut self.state.lock(), from, run, charge, &mut effects);
        Ok(is_refused.then_some(effects))
    }

    /// Rows have come.
    ///
    /// # Errors
    /// If they cannot be of this exchange.
    pub(super) fn arrive(&self, arrival: Arrival) -> Result<Effects> {
        self.check_unit(arrival.run)?;
        let mut effects = Effects::default();
        let state = &mut *self.state.lock();
        let (from, is_exhausted) = (arrival.from, arrival.is_exhausted);
        if self.is_refused(state, from, arrival.run, arrival.charge, &mut effects) {
            return Ok(effects);
        }
        if let Err(error) = self.keep(state, arrival, &mut effects)? {
            self.fail(state, error, &mut effects);
            return Ok(effects);
        }
        if is_exhausted && !self.is_staged {
            self.lend(state, from, &mut effects);
        }
        Ok(effects)
    }

    /// A unit has ended: it has sent `rows` rows. Answers with the acknowledgement.
    ///
    /// # Errors
    /// If rows are missing.
    pub(super) fn end(&self, from: NodeIndex, run: UnitRun, rows: u64) -> Result<Effects> {
        self.check_unit(run)?;
        let mut effects = Effects::default();
        let state = &mut *self.state.lock();
        if !self.is_open(state, from, &mut effects) {
            return Ok(effects);
        }
        let open = state.open.remove(&run);
        if !state.ended.contains(&run.id) && !state.abandoned.contains(&run) {
            let arrived = open.as_ref().map_or(0, |open| open.rows);
            if arrived != rows {
                return Err(bad_frame(format!("{rows} rows of a unit have been sent, {arrived} have come")));
            }
            self.commit(state, run.id, open, &mut effects);
        }
        effects.send(from, FrameHeader::Ack { exchange: self.exchange, run });
        Ok(effects)
    }

    /// A run will not end.
    pub(super) fn abandon(&self, run: UnitRun) {
        let state = &mut *self.state.lock();
        state.open.remove(&run);
        if !state.ended.contains(&run.id) {
            state.abandoned.insert(run);
        }
    }

    /// Nothing comes from `node` any more: what it has not ended is dropped.
    pub(super) fn node_gone(&self, node: NodeIndex) {
        let state = &mut *self.state.lock();
        state.gone.insert(node);
        state.open.retain(|_, open| open.from != node);
        if let Some(sender) = state.senders.remove(&node) {
            self.floating.give_back(sender.floating);
        }
    }

    /// The next rows, of whatever unit.
    ///
    /// # Errors
    /// Why the input failed; [`pipelines::Error::Cancelled`] if the query is over.
    pub(super) fn take(&self, waker: &Waker) -> (pipelines::Result<Taken>, Effects) {
        let mut effects = Effects::default();
        let state = &mut *self.state.lock();
        let taken = match &state.phase {
            Phase::Failed(error) => Err(error.clone()),
            Phase::Closed => Err(pipelines::Error::Cancelled),
            Phase::Dropped => Ok(Taken::Finished),
            Phase::Open => match state.ready.pop_front() {
                Some(ready) => self.hand_over(state, ready, &mut effects),
                None if self.is_complete(state) => Ok(Taken::Finished),
                None => {
                    keep_waker(&mut state.wakers, waker);
                    Ok(Taken::Nothing)
                }
            },
        };
        (taken, effects)
    }

    /// The reader wants no more: senders are told, and what is here is dropped.
    pub(super) fn drop_reader(&self) -> Effects {
        let mut effects = Effects::default();
        let state = &mut *self.state.lock();
        if matches!(state.phase, Phase::Open) {
            if !self.is_complete(state) {
                self.cancel_senders(state, &mut effects);
            }
            self.clear(state, Phase::Dropped, &mut effects);
        }
        effects
    }

    /// The query is over.
    pub(super) fn close(&self) -> Effects {
        let mut effects = Effects::default();
        self.clear(&mut self.state.lock(), Phase::Closed, &mut effects);
        effects
    }

    /// Bytes that have been released and not been taken.
    #[cfg(test)]
    pub(super) fn ready_bytes(&self) -> usize {
        self.state.lock().reservation.bytes()
    }

    /// Whether rows of the exchange still matter; if not, a sender that does not know it is told.
    fn is_open(&self, state: &mut State, from: NodeIndex, effects: &mut Effects) -> bool {
        if state.gone.contains(&from) {
            return false;
        }
        match state.phase {
            Phase::Open => true,
            Phase::Closed => false,
            Phase::Dropped | Phase::Failed(_) => {
                let sender = state.senders.entry(from).or_default();
                if !std::mem::replace(&mut sender.is_told, true) {
                    effects.send(from, FrameHeader::Cancel { exchange: self.exchange });
                }
                false
            }
        }
    }

    /// Whether rows of a run are dropped; their credit is then given back, or their sender told that nothing is wanted.
    fn is_refused(&self, state: &mut State, from: NodeIndex, run: UnitRun, charge: u64, effects: &mut Effects) -> bool {
        if !self.is_open(state, from, effects) {
            return true;
        }
        let is_late = state.ended.contains(&run.id) || state.abandoned.contains(&run);
        if is_late {
            self.give_back(state, from, charge, effects);
        }
        is_late
    }

    fn is_complete(&self, state: &State) -> bool {
        state.ended.len() >= self.num_units as usize
    }

    fn check_unit(&self, run: UnitRun) -> Result<()> {
        if run.id.unit < self.num_units {
            return Ok(());
        }
        Err(bad_frame(format!("unit {} where there are {}", run.id.unit, self.num_units)))
    }

    /// Stages rows or hands them on. The inner error: they do not fit into memory.
    fn keep(&self, state: &mut State, arrival: Arrival, effects: &mut Effects) -> Result<pipelines::Result<()>> {
        let Arrival { from, run, batch, num_bytes, charge, .. } = arrival;
        let new_run = || OpenRun { from, rows: 0, staged: Vec::new(), reservation: self.memory.reservation(PURPOSE) };
        let open = state.open.entry(run).or_insert_with(new_run);
        if open.from != from {
            return Err(bad_frame("two nodes send the same run of a unit"));
        }
        open.rows += batch.num_rows() as u64;
        let mut ready = Ready { unit: run.id, from, batch, num_bytes, owed: 0 };
        if !self.is_staged {
            if let Err(error) = state.reservation.grow(num_bytes) {
                return Ok(Err(error));
            }
            ready.owed = charge;
            state.senders.entry(from).or_default();
            state.ready.push_back(ready);
            effects.wakers.append(&mut state.wakers);
            return Ok(Ok(()));
        }
        if let Err(error) = open.reservation.grow(num_bytes) {
            return Ok(Err(error));
        }
        open.staged.push(ready);
        if self.is_behind(state) {
            state.senders.entry(from).or_default().withheld += charge;
        } else {
            self.give_back(state, from, charge, effects);
        }
        Ok(Ok(()))
    }

    /// A run has ended first: its rows count, those of other runs of the unit do not.
    fn commit(&self, state: &mut State, unit: UnitId, open: Option<OpenRun>, effects: &mut Effects) {
        state.ended.insert(unit);
        state.open.retain(|run, _| run.id != unit);
        if let Some(open) = open {
            state.ready.extend(open.staged);
            state.reservation.absorb(open.reservation);
        }
        if self.is_complete(state) {
            self.give_back_floating(state);
        }
        effects.wakers.append(&mut state.wakers);
    }

    fn hand_over(&self, state: &mut State, ready: Ready, effects: &mut Effects) -> pipelines::Result<Taken> {
        let left = state.reservation.bytes().saturating_sub(ready.num_bytes);
        state.reservation.resize(left)?;
        if ready.owed > 0 {
            self.give_back(state, ready.from, ready.owed, effects);
        }
        if self.is_staged && !self.is_behind(state) {
            self.release_withheld(state, effects);
        }
        Ok(Taken::Rows(ready.unit, ready.batch))
    }

    /// Whether readers have so much to take that senders of staged rows have to wait.
    fn is_behind(&self, state: &State) -> bool {
        state.reservation.bytes() as u64 > self.limits.released_bytes
    }

    fn release_withheld(&self, state: &mut State, effects: &mut Effects) {
        for (node, sender) in &mut state.senders {
            sender.due += std::mem::take(&mut sender.withheld);
            self.send_due(*node, sender, self.limits.grant_bytes, effects);
        }
    }

    fn give_back(&self, state: &mut State, to: NodeIndex, bytes: u64, effects: &mut Effects) {
        let sender = state.senders.entry(to).or_default();
        sender.due += bytes;
        self.send_due(to, sender, self.limits.grant_bytes, effects);
    }

    /// Credit on top for a sender that has run out of its own.
    fn lend(&self, state: &mut State, to: NodeIndex, effects: &mut Effects) {
        let extra = self.floating.take(self.limits.floating_step_bytes);
        let sender = state.senders.entry(to).or_default();
        sender.floating += extra;
        sender.due += extra;
        self.send_due(to, sender, 1, effects);
    }

    fn send_due(&self, to: NodeIndex, sender: &mut Sender, least: u64, effects: &mut Effects) {
        if sender.due >= least {
            effects.send(to, FrameHeader::Credit { exchange: self.exchange, bytes: std::mem::take(&mut sender.due) });
        }
    }

    fn fail(&self, state: &mut State, error: pipelines::Error, effects: &mut Effects) {
        self.cancel_senders(state, effects);
        self.clear(state, Phase::Failed(error), effects);
    }

    fn cancel_senders(&self, state: &mut State, effects: &mut Effects) {
        for (node, sender) in &mut state.senders {
            if !std::mem::replace(&mut sender.is_told, true) {
                effects.send(*node, FrameHeader::Cancel { exchange: self.exchange });
            }
        }
    }

    /// Drops all rows and wakes all chains.
    fn clear(&self, state: &mut State, phase: Phase, effects: &mut Effects) {
        state.phase = phase;
        state.open.clear();
        state.ready.clear();
        state.reservation = self.memory.reservation(PURPOSE);
        self.give_back_floating(state);
        effects.wakers.append(&mut state.wakers);
    }

    fn give_back_floating(&self, state: &mut State) {
        let lent = state.senders.values_mut().map(|sender| std::mem::take(&mut sender.floating)).sum();
        self.floating.give_back(lent);
    }
}

/// What a user reads when it does not fit.
const PURPOSE: &str = "rows received from other nodes";
