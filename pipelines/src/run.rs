//! The push loop of one chain of one pipeline; no threads here.
