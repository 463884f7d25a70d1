//! The PostgreSQL protocol over sessions.
