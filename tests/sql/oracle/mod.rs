//! What a query must give, found without any of the engine: a naive evaluator of bound plans.

mod differential;
pub mod naive;
mod scalar;
pub mod tables;

/// A value as text, the same for values that SQL calls equal.
pub fn text(value: &operators::Scalar) -> String {
    scalar::group_key(value)
}
