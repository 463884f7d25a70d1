//! A worker's side: it lets its coordinator run query attempts here.
//!
//! ```text
//!   coordinator ──control stream──► [serve_control] ──commands──► NodeQuery ──reports──► back
//!   other nodes ──data streams────► attempts ──► exchange of the attempt
//! ```
//!
//! Position: the doors of a worker node. A control stream that breaks ends its attempt: the coordinator is gone, or has given the
//! query up. Deliberately elsewhere: heartbeats (`membership`), what an attempt does (`task`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    attempts::Attempts,
    control::{Command, QueryStart, Report},
    error::WireError,
    flight::{Doors, FlightReceiver, FlightSender, Peers, StreamOpen, messages},
    node::Incarnation,
    task::NodeQuery,
    transport::transport,
};
use crate::{
    Engine,
    error::{Error, Result},
};

/// How often a worker tells how far its tasks are.
const STATS_INTERVAL: Duration = Duration::from_millis(250);

/// The doors of a worker.
pub struct Worker {
    engine: Arc<Engine>,
    peers: Arc<Peers>,
    attempts: Arc<Attempts>,
    incarnation: Incarnation,
}

impl Worker {
    /// A worker that runs units on `engine`.
    pub fn new(engine: Arc<Engine>, peers: Arc<Peers>, attempts: Arc<Attempts>, incarnation: Incarnation) -> Arc<Self> {
        Arc::new(Worker { engine, peers, attempts, incarnation })
    }
}

#[tonic::async_trait]
impl Doors for Worker {
    async fn stream(&self, open: StreamOpen, outbound: FlightSender, inbound: FlightReceiver) -> Result<(), Status> {
        match open {
            StreamOpen::Control => {
                let control = Control {
                    engine: Arc::clone(&self.engine),
                    peers: Arc::clone(&self.peers),
                    attempts: Arc::clone(&self.attempts),
                    incarnation: self.incarnation,
                    outbound,
                };
                tokio::spawn(control.serve(inbound));
                Ok(())
            }
            StreamOpen::Data(ticket) => self.attempts.serve_data(&ticket, outbound, inbound),
            StreamOpen::Membership(..) => Err(Status::failed_precondition(
                "this node is a worker: coordinator_address must name the Flight port of a coordinator",
            )),
        }
    }

    async fn action(&self, kind: &str, _body: Bytes) -> Result<Bytes, Status> {
        answer_probe(kind, self.incarnation)
    }
}

/// The answer to the one question that every node answers: which start of it this is.
///
/// # Errors
/// Another question.
pub fn answer_probe(kind: &str, incarnation: Incarnation) -> Result<Bytes, Status> {
    match kind {
        "probe" => Ok(Bytes::copy_from_slice(&incarnation.0.to_be_bytes())),
        other => Err(Status::invalid_argument(format!("unknown action \"{other}\""))),
    }
}

/// One control stream.
struct Control {
    engine: Arc<Engine>,
    peers: Arc<Peers>,
    attempts: Arc<Attempts>,
    incarnation: Incarnation,
    outbound: FlightSender,
}

impl Control {
    async fn serve(self, mut inbound: FlightReceiver) {
        let start = match next_command(&mut inbound).await {
            Some(Ok(Command::Begin(start))) => *start,
            Some(Ok(_)) => return self.refuse(&Error::internal("a control stream begins with the query")),
            Some(Err(error)) => return self.refuse(&error),
            None => return,
        };
        let (reports, mut received) = mpsc::unbounded_channel();
        let query = match self.begin(start, reports) {
            Ok(query) => query,
            Err(error) => return self.refuse(&error),
        };
        self.attempts.insert(&query);
        self.tell(&Report::Ready);
        let mut stats = tokio::time::interval(STATS_INTERVAL);
        stats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        stats.reset();
        loop {
            tokio::select! {
                command = next_command(&mut inbound) => match command {
                    Some(Ok(Command::End)) | None => break,
                    Some(Ok(command)) => query.obey(command),
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the control stream of a query broke");
                        break;
                    }
                },
                Some(report) = received.recv() => self.tell(&report),
                _ = stats.tick() => self.tell(&Report::Stats(query.stats())),
            }
        }
        let last = query.end().await;
        self.attempts.remove(query.start_info().attempt);
        self.tell(&Report::Ended(last));
    }

    fn begin(&self, start: QueryStart, reports: mpsc::UnboundedSender<Report>) -> Result<Arc<NodeQuery>> {
        let receiver = start.nodes.get(usize::from(start.receiver.0));
        if receiver.is_none_or(|node| node.incarnation != self.incarnation) {
            return Err(Error::internal("the query was meant for an earlier start of this node"));
        }
        let transport = transport(&self.peers, &start);
        NodeQuery::begin(Arc::clone(&self.engine), start, transport, reports, None)
    }

    fn tell(&self, report: &Report) {
        // A closed stream is noticed where commands are read.
        let _ = self.outbound.send(messages::encode(report));
    }

    fn refuse(&self, error: &Error) {
        self.tell(&Report::Failed(WireError::from(error)));
    }
}

/// The next command; `None` when the stream has ended.
async fn next_command(inbound: &mut FlightReceiver) -> Option<Result<Command>> {
    Some(match inbound.next().await? {
        Ok(data) => messages::decode(&data),
        Err(status) => Err(Error::connector(status.message())),
    })
}
