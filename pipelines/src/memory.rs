//! One memory budget per node, a share of it per query, and reservations that give back when dropped.
//!
//! Position: sinks that grow hold a [`Reservation`] and grow it by segments (not by rows). What is in flight
//! (one batch per chain) is not counted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{Error, Result};

/// The budget of a node.
#[derive(Debug)]
pub struct MemoryPool {
    budget_bytes: usize,
    used_bytes: AtomicUsize,
}

impl MemoryPool {
    /// A pool of `budget_bytes`.
    pub fn new(budget_bytes: usize) -> Arc<Self> {
        Arc::new(MemoryPool { budget_bytes, used_bytes: AtomicUsize::new(0) })
    }

    /// Bytes reserved now, by all queries.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The budget.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }
}

/// The memory of one query: counts against its own limit and against the node's pool.
#[derive(Debug)]
pub struct QueryMemory {
    pool: Arc<MemoryPool>,
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
}

impl QueryMemory {
    /// A query that may use `limit_bytes` of `pool`.
    pub fn new(pool: Arc<MemoryPool>, limit_bytes: usize) -> Arc<Self> {
        Arc::new(QueryMemory { pool, limit_bytes, used_bytes: AtomicUsize::new(0), peak_bytes: AtomicUsize::new(0) })
    }

    /// A query without a limit; for tests.
    pub fn unlimited() -> Arc<Self> {
        QueryMemory::new(MemoryPool::new(usize::MAX), usize::MAX)
    }

    /// Bytes reserved now.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that were reserved at one time.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// An empty reservation; `purpose` is what a user reads when it does not fit.
    pub fn reservation(self: &Arc<Self>, purpose: &'static str) -> Reservation {
        Reservation { memory: Arc::clone(self), purpose, bytes: 0 }
    }

    fn grow(&self, bytes: usize, purpose: &str) -> Result<()> {
        reserve(&self.used_bytes, bytes, self.limit_bytes, purpose)?;
        if let Err(error) = reserve(&self.pool.used_bytes, bytes, self.pool.budget_bytes, purpose) {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(error);
        }
        self.peak_bytes.fetch_max(self.used_bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn shrink(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// Relaxed throughout: the counters guard no other memory, they only have to add up.
fn reserve(used: &AtomicUsize, bytes: usize, budget: usize, purpose: &str) -> Result<()> {
    used.try_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(bytes).filter(|sum| *sum <= budget))
        .map(drop)
        .map_err(|used_bytes| Error::MemoryExceeded { purpose: purpose.to_owned(), wanted_bytes: bytes, used_bytes, budget_bytes: budget })
}

/// Bytes set aside for one purpose; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<QueryMemory>,
    purpose: &'static str,
    bytes: usize,
}

impl Reservation {
    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// [`Error::MemoryExceeded`]; the reservation is then unchanged.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        self.memory.grow(bytes, self.purpose)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Makes the reservation exactly `bytes`.
    ///
    /// # Errors
    /// [`Error::MemoryExceeded`] when it has to grow and cannot.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            self.grow(bytes - self.bytes)
        } else {
            self.memory.shrink(self.bytes - bytes);
            self.bytes = bytes;
            Ok(())
        }
    }

    /// Takes over what `other` holds (of the same query).
    pub fn absorb(&mut self, mut other: Reservation) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.shrink(self.bytes);
    }
}
