//! The query attempts that run on this node, so that data streams find theirs.
//!
//! Position: filled by `worker` and `coordinator`, asked by their doors. An attempt that is not here was never begun on this node or is
//! over: its streams are refused.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tonic::Status;

use super::{
    control::QueryAttempt,
    exchange::serve_data_stream,
    flight::{FlightReceiver, FlightSender, Ticket},
    task::NodeQuery,
};

/// Attempts by their number.
#[derive(Default)]
pub struct Attempts {
    running: Mutex<HashMap<QueryAttempt, Arc<NodeQuery>>>,
    /// Bytes that attempts that have ended sent to other nodes.
    sent_bytes: AtomicU64,
}

impl Attempts {
    /// Makes an attempt known.
    pub fn insert(&self, query: &Arc<NodeQuery>) {
        self.running.lock().insert(query.start_info().attempt, Arc::clone(query));
    }

    /// Forgets an attempt.
    pub fn remove(&self, attempt: QueryAttempt) {
        if let Some(query) = self.running.lock().remove(&attempt) {
            // Relaxed: a number that only grows.
            self.sent_bytes.fetch_add(query.sent_bytes(), Ordering::Relaxed);
        }
    }

    /// Tasks of all attempts; at least one each, as long as anything of it is here.
    pub fn num_tasks(&self) -> u32 {
        self.all().iter().map(|query| query.num_tasks().max(1)).sum()
    }

    /// Bytes that were sent to other nodes since the start.
    pub fn sent_bytes(&self) -> u64 {
        let running: u64 = self.all().iter().map(|query| query.sent_bytes()).sum();
        running + self.sent_bytes.load(Ordering::Relaxed)
    }

    fn all(&self) -> Vec<Arc<NodeQuery>> {
        self.running.lock().values().cloned().collect()
    }

    /// Stops everything: this node is not part of the cluster any more.
    pub fn stop_all(&self) {
        self.all().iter().for_each(|query| query.stop());
    }

    /// Takes over a stream of rows.
    ///
    /// # Errors
    /// A ticket that is forged or names another node; an attempt that is not here.
    pub fn serve_data(&self, ticket: &Ticket, outbound: FlightSender, inbound: FlightReceiver) -> Result<(), Status> {
        let query = self.running.lock().get(&ticket.attempt).cloned();
        let query = query.ok_or_else(|| Status::not_found("the query is not running on this node"))?;
        let start = query.start_info();
        if ticket.verify(&start.key).is_err() || ticket.to != start.receiver || usize::from(ticket.from.0) >= start.nodes.len() {
            return Err(Status::permission_denied("the ticket of the data stream is not valid"));
        }
        tokio::spawn(serve_data_stream(Arc::clone(query.exchange()), ticket.from, outbound, inbound));
        Ok(())
    }
}
