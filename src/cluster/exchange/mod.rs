//! Exchanges: rows on their way from the units of one fragment to those of another.
//!
//! ```text
//!   unit's graph ──► [sink] ──► [scatter] rows by hash, or whole batches ──► [rows_codec] ──► [channel_out] credit ─┐
//!                                                                                                               │ Frame
//!   ┌── Transport ([data_stream] over Flight; the own node is short-circuited, nothing is encoded for it) ◄─────────┘
//!   ▼
//!   [query_exchange]::receive ──► [channel_in] staged or direct ──► [source] / [merge] ──► the receiving unit's graph
//!          ▲                           │
//!          └── credit, ack, cancel ◄───┘  (the other way, on the same stream)
//! ```
//!
//! Everything of one query attempt on one node hangs on one [`QueryExchange`]. The parts that decide ([`channel_in`], [`channel_out`],
//! [`deliveries`]) never send: they answer with [`effects::Effects`], which the exchange carries out when no lock is held.
//!
//! Reading order: `README.md` in this folder (states, credits, races by name, rules against deadlock), then the files in the order of
//! the picture. Deliberately elsewhere: which unit runs where (`node_scheduler`, `query_machine`), building of graphs (`task`), tickets
//! and connections (`flight`).

mod channel_in;
mod channel_out;
mod column_buffer;
mod data_stream;
mod deliveries;
mod effects;
mod frame;
mod merge;
mod query_exchange;
mod row_hash;
mod rows_codec;
mod scatter;
mod sink;
mod source;
mod split_rows;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use arrow::datatypes::DataType;
use operators::types;
use pipelines::QueryMemory;

pub use data_stream::{DataStreams, StreamOpener, serve_data_stream};
pub use frame::{Frame, FrameHeader};
pub use query_exchange::QueryExchange;
pub use rows_codec::{EncodedRows, RowsEncoder, decode_rows};
pub use scatter::{HashRouting, Scatter};

use super::{control::QueryAttempt, node::NodeIndex};
use crate::plan::fragment::ExchangeSpec;

/// One exchange that a unit's rows go to.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Which, and which row goes where.
    pub spec: ExchangeSpec,
    /// The nodes that receive. One for gather and merge.
    pub receivers: Vec<NodeIndex>,
}

/// Carries frames to other nodes; never blocks, never fails: a node that cannot be reached is reported through
/// [`QueryExchange::peer_lost`]. Frames of one sender to one node arrive in the order in which they were sent, or not at all.
pub trait Transport: Send + Sync {
    /// Sends `frame` to node `to`, which is never the own one.
    fn send(&self, to: NodeIndex, frame: Frame);

    /// Called once, before the first frame is sent: whom answers and losses are to be told.
    fn attach(&self, _exchange: Weak<QueryExchange>) {}

    /// Nothing is sent any more: the exchange is closed.
    fn close(&self) {}
}

/// What a [`QueryExchange`] has to know.
pub struct ExchangeConfig {
    /// The query attempt.
    pub attempt: QueryAttempt,
    /// The node this is.
    pub me: NodeIndex,
    /// Nodes of the attempt, the coordinator included.
    pub num_nodes: usize,
    /// Which node has which hash class: [`super::control::VIRTUAL_CLASSES`] entries.
    pub classes: Vec<NodeIndex>,
    /// The query's memory on this node; everything that waits on the receiving side is reserved in it.
    pub memory: Arc<QueryMemory>,
    /// Rows to aim for in one batch.
    pub batch_rows: usize,
    /// By node: whether rows for it are worth compressing at all (it is on another host). Missing entries: no.
    pub compress: Vec<bool>,
}

/// Sizes that both ends of a channel, of whatever node, take for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Credit a channel has from the start, in bytes. It is its own: no other channel can use it up.
    pub exclusive_bytes: u64,
    /// Credit goes back in pieces of at least this many bytes; a fraction of the exclusive credit, or a sender could starve.
    pub grant_bytes: u64,
    /// What a sender that has run out of credit gets on top, at a time, while the query's pool has some.
    pub floating_step_bytes: u64,
    /// The pool of credit on top: per query and receiving node.
    pub floating_bytes: u64,
    /// A staged input holds back credit while more than this has been released and not been taken.
    pub released_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            exclusive_bytes: 2 << 20,
            grant_bytes: 256 << 10,
            floating_step_bytes: 1 << 20,
            floating_bytes: 32 << 20,
            released_bytes: 64 << 20,
        }
    }
}

/// Rows are gathered per receiver until they take about this many bytes.
const TARGET_FRAME_BYTES: usize = 512 << 10;
/// No frame is larger, header and body together. Below what Flight's decoder accepts (64 MiB).
pub(crate) const MAX_FRAME_BYTES: usize = 60 << 20;

/// The types of columns on their way: strings travel without dictionaries.
fn plain_types(data_types: &[DataType]) -> Vec<DataType> {
    let plain = |data_type: &DataType| if *data_type == types::string_dictionary() { DataType::Utf8View } else { data_type.clone() };
    data_types.iter().map(plain).collect()
}
