//! What a push tells its caller to do next.
//!
//! Back-pressure acts only between batches of a source: an operator may call `out.push` as often as it
//! likes within one call, so that no operator has resume state; the price is an overshoot of what one
//! source batch expands to, per worker.

/// The answer to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Go on with the next batch.
    Continue,
    /// No further row can change the result: stop the source of this pipeline, on every worker.
    Finished,
}
