//! The text of plans, as EXPLAIN shows it.
