//! Where a chain waits for its waker without holding a thread: running, parked or notified.
//!
//! ```text
//!              park                    notify
//!   RUNNING ─────────► PARKED ───────────────────────┐ takes the item out of the slot, to queue it
//!    ▲   │ notify                                     ▼
//!    │   └─────────────────────────────────────► NOTIFIED      (park then fails: the item runs again)
//!    └───────────────────── resume ──────────────────┘
//! ```
//!
//! Position: one per chain, shared with its waker. The races are named in this folder's `README.md`; the
//! models are in `tests/loom.rs`. Deliberately elsewhere: queues and threads.

use super::sync::{AtomicU8, Mutex, Ordering, lock};

const RUNNING: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// The state of one item and, while it is parked, the item itself.
///
/// *Contract*: whoever holds the item calls `resume` and `park`; anybody calls `notify`, any number of times.
/// Then no notification between `resume` and `park` is lost, and the item is in one hand at a time.
pub struct Parking<T> {
    state: AtomicU8,
    slot: Mutex<Option<T>>,
}

impl<T> Parking<T> {
    /// Of an item that runs.
    pub fn new() -> Self {
        Parking { state: AtomicU8::new(RUNNING), slot: Mutex::new(None) }
    }

    /// The item is about to look at what it waits for. Everything that was written before an earlier
    /// `notify` is visible afterwards.
    pub fn resume(&self) {
        // Acquire pairs with the release of every `notify`, even of one that found nothing to do.
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    /// Leaves `item` for the next `notify`, or gives it back if there was one since `resume`.
    pub fn park(&self, item: T) -> Option<T> {
        *lock(&self.slot) = Some(item);
        // The item is in the slot before anyone can see PARKED; afterwards this thread touches nothing.
        match self.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => None,
            Err(_) => lock(&self.slot).take(),
        }
    }

    /// Says that what the item waits for may have changed. Answers the item if it was parked: the caller
    /// has to see that it runs.
    pub fn notify(&self) -> Option<T> {
        // A swap, not a compare-exchange: also a notification that changes nothing must release its writes.
        match self.state.swap(NOTIFIED, Ordering::AcqRel) {
            PARKED => lock(&self.slot).take(),
            _ => None,
        }
    }
}

impl<T> Default for Parking<T> {
    fn default() -> Self {
        Self::new()
    }
}
