//! Estimates against what is known of TPC-H at scale 10.
