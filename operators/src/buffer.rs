//! Keeps all rows of its input for one or several readers: shared CTEs, and results that are read later.

use std::sync::Arc;

use pipelines::{Sink, Source};

/// A buffer of batches.
pub struct Buffer {}

impl Buffer {
    /// An empty buffer.
    pub fn new() -> Arc<Self> {
        Arc::new(Buffer {})
    }

    /// Where the rows go.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        panic!("not here yet")
    }

    /// All rows, after the sink has finished; may be asked for several times.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        panic!("not here yet")
    }
}
