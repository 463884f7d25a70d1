//! Chooses algorithms and positions: a logical plan becomes a physical one.
