//! The query attempts that run on this node, so that data streams find theirs.
//!
//! Position: filled by `worker` and `coordinator`, asked by their doors. An attempt that is not here was never begun on this node or is
//! over: its streams are refused.

use std::{collections::HashMap, sync::Arc};

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
pub struct Attempts(Mutex<HashMap<QueryAttempt, Arc<NodeQuery>>>);

impl Attempts {
    /// Makes an attempt known.
    pub fn insert(&self, query: &Arc<NodeQuery>) {
        self.0.lock().insert(query.start_info().attempt, Arc::clone(query));
    }

    /// Forgets an attempt.
    pub fn remove(&self, attempt: QueryAttempt) {
        self.0.lock().remove(&attempt);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Units that run now, of all attempts.
    pub fn running_units(&self) -> u32 {
        let queries: Vec<Arc<NodeQuery>> = self.0.lock().values().cloned().collect();
        queries.iter().flat_map(|query| query.stats()).map(|task| task.units_running).sum()
    }

    /// Stops everything: this node is not part of the cluster any more.
    pub fn stop_all(&self) {
        let queries: Vec<Arc<NodeQuery>> = self.0.lock().values().cloned().collect();
        queries.iter().for_each(|query| query.stop());
    }

    /// Takes over a stream of rows.
    ///
    /// # Errors
    /// A ticket that is forged or names another node; an attempt that is not here.
    pub fn serve_data(&self, ticket: &Ticket, outbound: FlightSender, inbound: FlightReceiver) -> Result<(), Status> {
        let query = self.0.lock().get(&ticket.attempt).cloned();
        let query = query.ok_or_else(|| Status::not_found("the query is not running on this node"))?;
        let start = query.start_info();
        if ticket.verify(&start.key).is_err() || ticket.to != start.receiver || usize::from(ticket.from.0) >= start.nodes.len() {
            return Err(Status::permission_denied("the ticket of the data stream is not valid"));
        }
        tokio::spawn(serve_data_stream(Arc::clone(query.exchange()), ticket.from, outbound, inbound));
        Ok(())
    }
}
