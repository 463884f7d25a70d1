//! TPC-H: schema, data generator, the 22 queries and their answers.
