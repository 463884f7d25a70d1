//! The sending end of a channel: one exchange, one receiving node, all units of this node together.
//!
//! Position: asked by [`super::sink`] whether there is room, charged for every frame, refilled by the receiver's credit.
//!
//! ```text
//!   Open (credit > 0: ready; else chains are parked) ──Cancel──► Cancelled   nobody wants the rows
//!                                                    ──gone────► Gone        the node is not part of the query any more
//!                                                    ──broken──► Broken      rows are lost; the coordinator decides what becomes of it
//! ```
//! In all states but Open rows are discarded and every sink is ready.

use std::{sync::Arc, task::Waker, time::Instant};

use parking_lot::Mutex;

use super::effects::keep_waker;
use crate::{cluster::node::NodeIndex, plan::fragment::ExchangeId};

/// One exchange towards one node.
pub(crate) struct OutChannel {
    pub exchange: ExchangeId,
    pub node: NodeIndex,
    state: Mutex<State>,
    account: Arc<Account>,
}

/// What may still be sent, and who waits for more. A channel has one of its own.
pub(crate) struct Account(Mutex<AccountState>);

struct AccountState {
    credit: i64,
    wakers: Vec<Waker>,
    stalled_since: Option<Instant>,
    stalls: u64,
    blocked_ns: u64,
}

/// Why rows are discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closure {
    /// The receiver wants no more.
    Cancelled,
    /// The receiver is not part of the query any more, or the query is over.
    Gone,
    /// The way to the receiver is broken.
    Broken,
}

#[derive(Default)]
struct State {
    closure: Option<Closure>,
    rows: u64,
    bytes: u64,
    frames: u64,
}

/// What went through a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChannelStats {
    pub rows: u64,
    pub bytes: u64,
    pub frames: u64,
    pub stalls: u64,
    pub blocked_ns: u64,
}

impl Account {
    pub(super) fn new(credit: u64) -> Arc<Account> {
        let credit = i64::try_from(credit).unwrap_or(i64::MAX);
        Arc::new(Account(Mutex::new(AccountState { credit, wakers: Vec::new(), stalled_since: None, stalls: 0, blocked_ns: 0 })))
    }
}

impl OutChannel {
    pub(super) fn new(exchange: ExchangeId, node: NodeIndex, account: Arc<Account>) -> OutChannel {
        OutChannel { exchange, node, state: Mutex::default(), account }
    }

    /// Whether rows may be sent; if not, `waker` is kept.
    pub(super) fn is_ready(&self, waker: &Waker) -> bool {
        let mut account = self.account.0.lock();
        // Looked at under the account's lock, which `close` takes after closing: a waker kept here is seen there.
        if account.credit > 0 || self.closure().is_some() {
            return true;
        }
        if account.stalled_since.is_none() {
            account.stalled_since = Some(Instant::now());
            account.stalls += 1;
        }
        keep_waker(&mut account.wakers, waker);
        false
    }

    /// Why rows are discarded, if they are.
    pub(super) fn closure(&self) -> Option<Closure> {
        self.state.lock().closure
    }

    /// Whether nobody will ever want a row of it.
    pub(super) fn is_unwanted(&self) -> bool {
        matches!(self.closure(), Some(Closure::Cancelled | Closure::Gone))
    }

    /// Takes `bytes` of the credit, which may run below zero; answers whether it is used up.
    pub(super) fn charge(&self, bytes: u32) -> bool {
        let mut account = self.account.0.lock();
        account.credit = account.credit.saturating_sub(i64::from(bytes));
        account.credit <= 0
    }

    /// More credit; whoever waited for it is to be woken.
    #[must_use]
    pub(super) fn grant(&self, bytes: u64) -> Vec<Waker> {
        let mut account = self.account.0.lock();
        account.credit = account.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        if account.credit <= 0 {
            return Vec::new();
        }
        account.resume()
    }

    /// Nothing is to be sent any more. The first reason stays, but one that counts as delivery replaces `Broken`.
    #[must_use]
    pub(super) fn close(&self, why: Closure) -> Vec<Waker> {
        {
            let mut state = self.state.lock();
            if matches!(state.closure, None | Some(Closure::Broken)) {
                state.closure = Some(why);
            }
        }
        self.account.0.lock().resume()
    }

    /// Rows that have been handed to the own node or, as a frame of `bytes`, to the transport.
    pub(super) fn count(&self, rows: usize, frame_bytes: Option<usize>) {
        let mut state = self.state.lock();
        state.rows += rows as u64;
        if let Some(bytes) = frame_bytes {
            state.bytes += bytes as u64;
            state.frames += 1;
        }
    }

    pub(super) fn stats(&self) -> ChannelStats {
        let (stalls, blocked_ns) = {
            let account = self.account.0.lock();
            let now = account.stalled_since.map_or(0, nanoseconds_since);
            (account.stalls, account.blocked_ns + now)
        };
        let state = self.state.lock();
        ChannelStats { rows: state.rows, bytes: state.bytes, frames: state.frames, stalls, blocked_ns }
    }
}

impl AccountState {
    fn resume(&mut self) -> Vec<Waker> {
        if let Some(since) = self.stalled_since.take() {
            self.blocked_ns += nanoseconds_since(since);
        }
        std::mem::take(&mut self.wakers)
    }
}

fn nanoseconds_since(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
