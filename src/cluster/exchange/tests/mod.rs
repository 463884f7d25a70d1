//! Tests of exchanges as wholes.
