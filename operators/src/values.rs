//! A source of batches that are known when the plan is made.

use std::sync::Arc;

use pipelines::{Batch, Source};

/// A source of `batches`; empty ones are skipped.
pub fn values(_batches: Vec<Batch>) -> Arc<dyn Source> {
    panic!("not here yet")
}
