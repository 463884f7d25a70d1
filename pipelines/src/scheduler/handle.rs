//! What the submitter of a query holds: a future of its end.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::query::Query;
use crate::{GraphMetrics, Result};

/// A running query. A future of its end; dropping it cancels the query, without waiting.
///
/// When the outcome is there, nothing of the query runs any more, its sources, operators and sinks are dropped (but
/// for those the submitter holds itself), and what they had reserved is returned.
#[must_use = "dropping the handle cancels the query"]
pub struct QueryHandle {
    query: Arc<Query>,
}

impl QueryHandle {
    pub(super) fn new(query: Arc<Query>) -> Self {
        QueryHandle { query }
    }

    /// Asks the query to stop. Returns at once; from any thread. The outcome is [`crate::Error::Cancelled`],
    /// unless the query had ended or failed before.
    pub fn cancel(&self) {
        if !self.query.has_ended() {
            self.query.options.cancel.cancel();
        }
    }

    /// Waits for the end. Never to be called on a thread of the pool.
    ///
    /// # Errors
    /// Why the query ended early.
    pub fn wait(self) -> Result<GraphMetrics> {
        self.query.wait()
    }

    /// The counters so far, brought up to date after every time slice of every chain; the final ones after the end,
    /// however it came.
    pub fn snapshot(&self) -> GraphMetrics {
        self.query.snapshot()
    }
}

impl Future for QueryHandle {
    type Output = Result<GraphMetrics>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.query.poll(context.waker()).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for QueryHandle {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for QueryHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryHandle").field("has_ended", &self.query.has_ended()).finish()
    }
}
