//! What can end a query from inside a pipeline.
//!
//! Deliberately elsewhere: SQLSTATEs and positions in SQL text (`arneb`), the reasons of operators
//! (`operators::Error`) and connectors, which travel through here unchanged as [`Error::Failed`].

use std::sync::Arc;

/// `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a query ended before its result was complete. Cheap to clone: every chain may report it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Somebody asked for it.
    #[error("the query was cancelled")]
    Cancelled,
    /// A reservation did not fit.
    #[error("out of memory: {wanted_bytes} bytes more for {purpose} do not fit: {used_bytes} of {budget_bytes} bytes are in use")]
    MemoryExceeded {
        /// What the memory was for, as a user would say it ("hash join build side").
        purpose: String,
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes reserved at that time within the exhausted budget.
        used_bytes: usize,
        /// The exhausted budget.
        budget_bytes: usize,
    },
    /// A panic in a source, operator or sink, caught at the pool's edge.
    #[error("internal error in {stage}: {message}")]
    Panicked {
        /// Name of the pipeline.
        stage: String,
        /// The panic's message.
        message: String,
    },
    /// A source, operator or sink failed for a reason of its own; `arneb` downcasts it.
    #[error("{0}")]
    Failed(Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps the reason of a source, operator or sink.
    pub fn failed(reason: impl std::error::Error + Send + Sync + 'static) -> Self {
        Error::Failed(Arc::new(reason))
    }

    /// The reason, if it is of type `E`.
    pub fn reason<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            Error::Failed(reason) => reason.downcast_ref::<E>(),
            _ => None,
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::failed(error)
    }
}
