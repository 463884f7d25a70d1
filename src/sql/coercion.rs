//! PostgreSQL's implicit conversions.
