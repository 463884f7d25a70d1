//! `information_schema.tables` and `.columns` as tables that our own SQL reads.
