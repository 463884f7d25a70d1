//! The rows of a running query, on their way from a pipeline's sink to the client.

use pipelines::{Batch, GraphMetrics};

use crate::{error::Result, session::ResultColumn};

/// Rows as they are computed. Dropping it stops the query.
pub struct ResultStream {
    columns: Vec<ResultColumn>,
}

impl ResultStream {
    /// The result's columns.
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// The next batch; `None` at the end. Strings are `Utf8View`.
    ///
    /// # Errors
    /// Why the query ended early.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        Ok(None)
    }

    /// As [`ResultStream::next`], blocking the thread. Never on a thread of the pool or of tokio.
    ///
    /// # Errors
    /// Why the query ended early.
    pub fn next_blocking(&mut self) -> Result<Option<Batch>> {
        Ok(None)
    }

    /// The counters of the query, once `next` has answered `None`.
    pub fn metrics(&self) -> Option<&GraphMetrics> {
        None
    }
}
