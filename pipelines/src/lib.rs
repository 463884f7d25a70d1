//! Push pipelines over Arrow batches, driven morsel by morsel by a work-stealing pool.
//!
//! ```text
//!   Source ──batch──► Operator ──batch──► … ──batch──► Sink          one pipeline
//!     │                                                 │
//!   hands out morsels to                          combines what every worker
//!   every worker that asks                        gathered, then finishes once
//! ```
//!
//! A query is a [`PipelineGraph`]: pipelines, the sinks they feed, and which sink must have finished
//! before which pipeline may start. The [`Scheduler`] starts what is ready; every worker drives a copy of
//! the chain of its own ([`run`]), so that operators need no locks; only sources and sinks are shared.
//!
//! Reading order: [`batch`], [`source`], [`operator`], [`sink`], [`flow`], [`graph`], [`run`], [`scheduler`];
//! then [`memory`], [`cancel`], [`metrics`], [`error`], and [`testing`] for those who test operators.
//!
//! Deliberately elsewhere: everything relational (`operators`), SQL, files and networks (`arneb`).
//! Nothing here awaits; a source or sink that has to wait answers [`Poll::Blocked`] and is woken by a
//! [`std::task::Waker`].

pub mod batch;
pub mod cancel;
pub mod context;
pub mod error;
pub mod flow;
pub mod graph;
pub mod memory;
pub mod metrics;
pub mod operator;
pub mod run;
pub mod scheduler;
pub mod sink;
pub mod source;
pub mod testing;

pub use batch::{BATCH_ROWS, Batch};
pub use cancel::CancelToken;
pub use context::LocalContext;
pub use error::{Error, Result};
pub use flow::Flow;
pub use graph::{After, OperatorId, Pipeline, PipelineGraph, PipelineId, SinkId};
pub use memory::{MemoryPool, QueryMemory, Reservation};
pub use metrics::{GraphMetrics, OperatorMetrics};
pub use operator::{LocalOperator, Operator, Output};
pub use scheduler::{QueryHandle, QueryOptions, Scheduler};
pub use sink::{LocalSink, Sink};
pub use source::{LocalSource, Poll, Source};
