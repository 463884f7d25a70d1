//! The locks and atomics of the scheduler's two small protocols: those of std, or loom's when they are model-checked.

#[cfg(loom)]
pub(super) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, Ordering},
};
#[cfg(not(loom))]
pub(super) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, Ordering},
};

use std::sync::PoisonError;

/// Locks, whatever happened to an earlier holder: no code of a query runs under these locks, so none is
/// left half done by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
