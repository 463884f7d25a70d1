//! Estimates how many different keys a stream has.
//!
//! HyperLogLog (Flajolet et al., 2007) with 2048 registers: off by about 2 % as a rule. It is fed when a table
//! is flushed, one hash per group, and decides whether flushing was a good idea.

use super::{EncodedKeys, packed::fold};

const INDEX_BITS: u32 = 11;
const NUM_REGISTERS: usize = 1 << INDEX_BITS;

/// What is remembered of all keys added.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    /// Per register, the longest run of zeros in a hash, plus one.
    registers: Box<[u8]>,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { registers: vec![0; NUM_REGISTERS].into() }
    }
}

impl Sketch {
    /// Adds keys.
    pub(crate) fn add(&mut self, keys: &EncodedKeys) {
        keys.for_each_hash(|hash| {
            // The hash is made for tables, where keys in sequence may spread more evenly than by chance;
            // here chance is what is measured.
            let hash = fold(hash ^ 0x9fb2_1c65_1e98_df25, 0xa076_1d64_78bd_642f);
            let register = &mut self.registers[(hash >> (64 - INDEX_BITS)) as usize];
            // The bits below the index; a bit is set behind them so that the run ends.
            let run = (hash << INDEX_BITS | 1 << (INDEX_BITS - 1)).leading_zeros() as u8 + 1;
            *register = run.max(*register);
        });
    }

    /// How many different keys were added, about.
    pub(crate) fn estimate(&self) -> usize {
        let size = NUM_REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|run| 0.5_f64.powi(i32::from(*run))).sum();
        let estimate = 0.7213 / (1.0 + 1.079 / size) * size * size / sum;
        let empty = self.registers.iter().filter(|run| **run == 0).count();
        // Few keys leave registers empty, and counting those is more exact.
        let few = estimate <= 2.5 * size && empty > 0;
        if few { (size * (size / empty as f64).ln()) as usize } else { estimate as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_within_a_tenth() {
        for count in [10_u64, 1000, 5000, 100_000, 1_000_000] {
            let mut sketch = Sketch::default();
            // Twice: repetitions do not count.
            sketch.add(&EncodedKeys::Packed64((0..count).collect()));
            sketch.add(&EncodedKeys::Packed64((0..count).collect()));
            let error = sketch.estimate() as f64 / count as f64 - 1.0;
            assert!(error.abs() < 0.1, "{count}: {}", sketch.estimate());
        }
    }
}
