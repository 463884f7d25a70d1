//! A flag that tells every part of a query to stop, and wakes those parts that wait for something else.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use crate::{Error, Result};

/// Shared by all parts of one query; never shared by two queries. Cloning shares the flag.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    flag: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl CancelToken {
    /// A token that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag and wakes who asked for it. Idempotent; from any thread.
    pub fn cancel(&self) {
        let wakers = {
            let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock, so that no waker slips in between. Relaxed: the flag carries no data with it,
            // and to those who only look at it, being seen a little later is fine.
            self.0.flag.store(true, Ordering::Relaxed);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes `waker` once when the flag is set; at once if it is already.
    pub fn wake_on_cancel(&self, waker: Waker) {
        let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_cancelled() {
            return wakers.push(waker);
        }
        drop(wakers);
        waker.wake();
    }

    /// Whether the flag is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::Relaxed)
    }

    /// For long loops inside one call.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the flag is set.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}
