//! A worker's side: it lets its coordinator run query attempts here.
//!
//! ```text
//!   coordinator ──control stream──► [serve_control] ──commands──► NodeQuery ──reports──► back
//!   other nodes ──data streams────► attempts ──► exchange of the attempt
//! ```
//!
//! Position: the doors of a worker node. A control stream that breaks ends its attempt: the coordinator is gone, or has given the
//! query up. Deliberately elsewhere: heartbeats (`membership`), what an attempt does (`task`).

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    attempts::Attempts,
    control::{Command, QueryStart, Report},
    error::WireError,
    flight::{
        Doors, FlightReceiver, FlightSender, Peers, StreamOpen,
        messages::{self, to_bytes},
    },
    membership::{Heartbeat, messages::PROBE},
    node::Incarnation,
    task::NodeQuery,
    transport::transport,
};
use crate::{
    Engine,
    error::{Error, ErrorKind, Result},
};

/// How often a worker tells how far its tasks are.
const STATS_INTERVAL: Duration = Duration::from_millis(100);

/// A worker.
pub struct Worker {
    engine: Arc<Engine>,
    peers: Arc<Peers>,
    attempts: Arc<Attempts>,
    /// Which start it is until the heartbeat runs; from then on the heartbeat knows, as a fenced node takes a new number.
    first: Incarnation,
    heartbeat: OnceLock<Weak<Heartbeat>>,
}

impl Worker {
    /// A worker that runs units on `engine`.
    pub fn new(engine: Arc<Engine>, peers: Arc<Peers>, attempts: Arc<Attempts>, first: Incarnation) -> Arc<Self> {
        Arc::new(Worker { engine, peers, attempts, first, heartbeat: OnceLock::new() })
    }

    /// From now on `heartbeat` knows which start of the node this is.
    pub fn listen_to(&self, heartbeat: &Arc<Heartbeat>) {
        self.heartbeat.get_or_init(|| Arc::downgrade(heartbeat));
    }

    fn incarnation(&self) -> Incarnation {
        self.heartbeat.get().and_then(Weak::upgrade).map_or(self.first, |heartbeat| heartbeat.incarnation())
    }
}

/// The doors of a worker's Flight port.
pub struct WorkerDoors(pub Arc<Worker>);

#[tonic::async_trait]
impl Doors for WorkerDoors {
    async fn stream(&self, open: StreamOpen, outbound: FlightSender, inbound: FlightReceiver) -> Result<(), Status> {
        match open {
            StreamOpen::Control => {
                let control = Control { worker: Arc::clone(&self.0), outbound };
                tokio::spawn(control.serve(inbound));
                Ok(())
            }
            StreamOpen::Data(ticket) => self.0.attempts.serve_data(&ticket, outbound, inbound),
            StreamOpen::Membership(..) => {
                Err(Status::failed_precondition("this node is a worker: coordinator_address must name the Flight port of a coordinator"))
            }
        }
    }

    async fn action(&self, kind: &str, _body: Bytes) -> Result<Bytes, Status> {
        answer_probe(kind, to_bytes(&self.0.incarnation()).into())
    }
}

/// The answer to the one question that every node answers: which start of it this is.
///
/// # Errors
/// Another question.
pub fn answer_probe(kind: &str, incarnation: Bytes) -> Result<Bytes, Status> {
    match kind {
        PROBE => Ok(incarnation),
        other => Err(Status::invalid_argument(format!("unknown action \"{other}\""))),
    }
}

/// One control stream.
struct Control {
    worker: Arc<Worker>,
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
        let _registered = Registered { worker: Arc::clone(&self.worker), query: Arc::clone(&query) };
        self.worker.attempts.insert(&query);
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
        self.tell(&Report::Ended(last));
    }

    fn begin(&self, start: QueryStart, reports: mpsc::UnboundedSender<Report>) -> Result<Arc<NodeQuery>> {
        let receiver = start.nodes.get(usize::from(start.receiver.0));
        if receiver.is_none_or(|node| node.incarnation != self.worker.incarnation()) {
            // The coordinator does not know yet; the next attempt will be meant for who is here.
            return Err(Error::new(ErrorKind::Cluster, "57P01", "the query was meant for an earlier start of this node"));
        }
        let transport = transport(&self.worker.peers, &start);
        NodeQuery::begin(Arc::clone(&self.worker.engine), start, transport, reports, None)
    }

    fn tell(&self, report: &Report) {
        // A closed stream is noticed where commands are read.
        let _ = self.outbound.send(messages::encode(report));
    }

    fn refuse(&self, error: &Error) {
        self.tell(&Report::Failed(WireError::from(error)));
    }
}

/// An attempt that is known on this node until its control stream is over, however that ends.
struct Registered {
    worker: Arc<Worker>,
    query: Arc<NodeQuery>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.query.stop();
        self.worker.attempts.remove(self.query.start_info().attempt);
    }
}

/// The next command; `None` when the stream has ended.
async fn next_command(inbound: &mut FlightReceiver) -> Option<Result<Command>> {
    Some(match inbound.next().await? {
        Ok(data) => messages::decode(&data),
        Err(status) => Err(Error::connector(status.message())),
    })
}
