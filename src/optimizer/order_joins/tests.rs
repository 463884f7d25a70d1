//! Join orders of TPC-H.
