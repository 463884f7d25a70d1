//! What SQL means, and what becomes of it: plans, results, and a naive evaluator to compare them with.

mod cluster;
mod fixture;
mod oracle;
mod plans;
mod slt;
