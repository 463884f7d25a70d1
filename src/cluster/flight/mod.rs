//! The one door between nodes: Arrow Flight, with every call authenticated.
//!
//! | call | what for |
//! |---|---|
//! | DoExchange, `StreamOpen::Membership` | a worker registers and heartbeats |
//! | DoExchange, `StreamOpen::Control` | a coordinator runs a query attempt on a worker |
//! | DoExchange, `StreamOpen::Data` | rows of a query attempt, from one node to another; credits flow back |
//! | DoAction | small questions: probe, drain |
//!
//! Position: carries bytes; what they mean is decided by whoever implements [`Doors`]. Deliberately elsewhere: messages of control
//! streams (`control`), frames of data streams (`exchange`), secrets and tokens (`security`).

pub mod client;
pub mod messages;
pub mod server;
mod service;
#[cfg(test)]
mod tests;

use std::time::Duration;

use arrow_flight::FlightData;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tonic::Status;

pub use self::client::{Lane, Peers};
use super::{
    control::QueryAttempt,
    node::{NodeIndex, NodeInfo},
};

/// The largest message that is read.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes that may be under way on one connection, and on one stream of it. Far more than a network holds, as credits bound what is
/// sent: here it only must not throttle.
const CONNECTION_WINDOW: u32 = 64 << 20;
const STREAM_WINDOW: u32 = 16 << 20;

/// How often a silent connection is tested, and how long an answer may take until the connection is broken.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// One direction of a stream, to be sent into; never blocks (who sends rows is held back by credits before). Dropping it ends
/// the direction.
pub type FlightSender = mpsc::UnboundedSender<FlightData>;

/// The other direction. Its end does not say whether the other side ended it or died: messages must say which of them is the last.
pub type FlightReceiver = BoxStream<'static, Result<FlightData, Status>>;

/// What a stream is for: the command of its first message, in postcard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StreamOpen {
    /// From a worker to its coordinator.
    Membership(Box<NodeInfo>, Vec<TableFingerprint>),
    /// From a coordinator to a worker.
    Control,
    /// From a node that sends rows to one that receives them.
    Data(Ticket),
}

/// Names a data stream, and proves that the coordinator of the query allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The query attempt.
    pub attempt: QueryAttempt,
    /// Who sends.
    pub from: NodeIndex,
    /// Who receives.
    pub to: NodeIndex,
    /// HMAC-SHA256 of the above under the attempt's key.
    pub mac: Vec<u8>,
}

/// What two nodes must agree on for a table to be the same on both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFingerprint {
    /// Full name.
    pub name: String,
    /// Columns, as text: name and type.
    pub columns: Vec<String>,
    /// Rows and splits.
    pub rows: u64,
    /// Hash of the splits' sizes and identities.
    pub splits: u64,
}

/// Who answers calls of other nodes; they are authenticated already.
#[tonic::async_trait]
pub trait Doors: Send + Sync + 'static {
    /// Takes over a stream: returns quickly, and goes on in tasks of its own.
    ///
    /// # Errors
    /// A refusal, told to the caller.
    async fn stream(&self, open: StreamOpen, outbound: FlightSender, inbound: FlightReceiver) -> Result<(), Status>;

    /// Answers a question.
    ///
    /// # Errors
    /// A refusal, told to the caller.
    async fn action(&self, kind: &str, body: Bytes) -> Result<Bytes, Status>;
}
