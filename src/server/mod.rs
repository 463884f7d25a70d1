//! The doors: the PostgreSQL protocol now; the web and Flight beside it.

pub mod pgwire;
