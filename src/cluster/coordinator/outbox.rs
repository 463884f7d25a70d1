//! Rows on their way to the client, held back as long as the query could still be restarted.
//!
//! ```text
//!   root's rows ──► held (up to a limit, or until the query has succeeded) ──► released ──► client
//! ```
//!
//! Position: between the root fragment and the client's [`ResultStream`](crate::execution::results::ResultStream). While nothing is
//! released, an attempt that fails can be repeated without the client noticing (as Impala spools results, and Trino's QUERY retry policy).

use std::{collections::VecDeque, sync::Arc};

use pipelines::{Batch, QueryMemory, Reservation};
use tokio::sync::mpsc;

use crate::error::Result;

/// Batches that a released outbox takes before the client has taken any.
const READY_MAX: usize = 8;

/// The rows of a query that the client has not got yet.
pub struct Outbox {
    batches: VecDeque<Batch>,
    num_bytes: usize,
    limit_bytes: usize,
    is_released: bool,
    /// What is held is memory of this node.
    reservation: Reservation,
    client: mpsc::Sender<Result<Batch>>,
}

impl Outbox {
    /// An outbox that holds back up to `limit_bytes`.
    pub fn new(limit_bytes: usize, memory: &Arc<QueryMemory>, client: mpsc::Sender<Result<Batch>>) -> Self {
        let reservation = memory.reservation("rows held back for the client");
        Outbox { batches: VecDeque::new(), num_bytes: 0, limit_bytes, is_released: false, reservation, client }
    }

    /// Whether rows may have reached the client.
    pub fn is_released(&self) -> bool {
        self.is_released
    }

    /// Whether it takes more rows now.
    pub fn has_room(&self) -> bool {
        !self.is_released || self.batches.len() < READY_MAX
    }

    /// Takes a batch; beyond the limit, or where memory does not suffice, rows are released.
    pub fn push(&mut self, batch: Batch) {
        self.num_bytes += batch.num_bytes();
        self.batches.push_back(batch);
        let fits = self.reservation.resize(self.num_bytes).is_ok();
        self.is_released |= self.num_bytes > self.limit_bytes || !fits;
    }

    /// Whether there is something for the client.
    pub fn has_ready(&self) -> bool {
        self.is_released && !self.batches.is_empty()
    }

    /// Hands the next batch to the client, when it takes it. False when the client is gone.
    pub async fn send_next(&mut self) -> bool {
        let Ok(permit) = self.client.reserve().await else { return false };
        let Some(batch) = self.batches.pop_front() else { return true };
        let num_bytes = batch.num_bytes();
        permit.send(Ok(batch));
        self.num_bytes = self.num_bytes.saturating_sub(num_bytes);
        self.hold_less();
        true
    }

    /// Forgets the rows of an attempt that is to be repeated.
    ///
    /// # Panics
    /// If rows were released: then there is no repeating.
    pub fn clear(&mut self) {
        assert!(!self.is_released, "rows that were released cannot be taken back");
        self.batches.clear();
        self.num_bytes = 0;
        self.hold_less();
    }

    fn hold_less(&mut self) {
        // What a refused reservation left unreserved is not reserved now either.
        let bytes = self.num_bytes.min(self.reservation.bytes());
        self.reservation.resize(bytes).unwrap_or_default();
    }

    /// Hands everything to the client, as fast as it takes it.
    pub async fn flush(&mut self) {
        self.is_released = true;
        while !self.batches.is_empty() {
            if !self.send_next().await {
                return;
            }
        }
    }

    /// Tells the client why there are no more rows.
    pub async fn fail(&mut self, error: crate::Error) {
        // A client that is gone needs no reason.
        let _ = self.client.send(Err(error)).await;
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(rows: usize) -> Batch {
        Batch::new(vec![Arc::new(Int64Array::from(vec![7; rows])) as ArrayRef], rows)
    }

    #[tokio::test]
    async fn rows_are_held_until_the_limit_and_in_order() {
        let (sender, mut receiver) = mpsc::channel(16);
        let mut outbox = Outbox::new(100, &QueryMemory::unlimited(), sender);
        outbox.push(batch(1));
        assert!(!outbox.has_ready() && outbox.has_room());
        outbox.push(batch(20));
        assert!(outbox.is_released() && outbox.has_ready());
        outbox.flush().await;
        assert_eq!(receiver.recv().await.unwrap().unwrap().num_rows(), 1);
        assert_eq!(receiver.recv().await.unwrap().unwrap().num_rows(), 20);
    }

    #[tokio::test]
    async fn rows_that_do_not_fit_into_memory_are_released() {
        let (sender, _receiver) = mpsc::channel(16);
        let memory = QueryMemory::new(pipelines::MemoryPool::new(100), 100);
        let mut outbox = Outbox::new(1000, &memory, sender);
        outbox.push(batch(10));
        assert!(!outbox.is_released() && memory.used_bytes() == 80);
        outbox.push(batch(10));
        assert!(outbox.is_released());
        outbox.flush().await;
        assert_eq!(memory.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_repeated_attempt_starts_without_rows() {
        let (sender, mut receiver) = mpsc::channel(16);
        let mut outbox = Outbox::new(1000, &QueryMemory::unlimited(), sender);
        outbox.push(batch(3));
        outbox.clear();
        outbox.push(batch(2));
        outbox.flush().await;
        drop(outbox);
        assert_eq!(receiver.recv().await.unwrap().unwrap().num_rows(), 2);
        assert!(receiver.recv().await.is_none());
    }
}
