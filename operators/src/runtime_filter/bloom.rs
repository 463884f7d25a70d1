//! A bloom filter over keys: small, and never wrong about a key that was added.
//!
//! Position: the members of a [`super::RuntimeFilter`] whose keys are too far apart for a bitmap.

use serde::{Deserialize, Serialize};

/// A bloom filter of 64-bit blocks, 4 bits per key: one memory access per test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockedBloom {
    blocks: Box<[u64]>,
}

/// So many keys are meant for a block: 16 bits each.
const KEYS_PER_BLOCK: usize = 4;

impl BlockedBloom {
    /// An empty filter for about `num_keys` keys, 16 bits each; a power of two of blocks.
    pub fn with_capacity(num_keys: usize) -> Self {
        BlockedBloom { blocks: vec![0; (num_keys / KEYS_PER_BLOCK).max(1).next_power_of_two()].into() }
    }

    /// Adds a key.
    pub fn insert(&mut self, key: i64) {
        let (block, bits) = self.place(key);
        self.blocks[block] |= bits;
    }

    /// Whether the key may have been added.
    #[inline]
    pub fn contains(&self, key: i64) -> bool {
        let (block, bits) = self.place(key);
        self.blocks[block] & bits == bits
    }

    #[inline]
    fn place(&self, key: i64) -> (usize, u64) {
        let hash = hash_key(key);
        let bits = (1 << (hash & 63)) | (1 << ((hash >> 6) & 63)) | (1 << ((hash >> 12) & 63)) | (1 << ((hash >> 18) & 63));
        ((hash >> 32) as usize & (self.blocks.len() - 1), bits)
    }

    /// Bytes of its blocks.
    pub fn num_bytes(&self) -> usize {
        size_of_val(&*self.blocks)
    }

    /// Whether it can be asked at all: one that was received may be anything.
    pub(super) fn is_valid(&self) -> bool {
        self.blocks.len().is_power_of_two()
    }

    /// Adds the keys of `other`. The larger number of blocks is kept: a key's place in the smaller one is the end of its place in
    /// the larger.
    pub(super) fn add_all(&mut self, other: &BlockedBloom) {
        self.grow(other.blocks.len());
        for (block, bits) in self.blocks.iter_mut().zip(other.blocks.iter().cycle()) {
            *block |= bits;
        }
    }

    /// The same keys in at least `num_blocks` (a power of two) blocks.
    fn grow(&mut self, num_blocks: usize) {
        if num_blocks > self.blocks.len() {
            self.blocks = self.blocks.iter().copied().cycle().take(num_blocks).collect();
        }
    }

    /// Makes room for `num_keys` keys.
    pub(super) fn reserve(&mut self, num_keys: usize) {
        self.grow((num_keys / KEYS_PER_BLOCK).next_power_of_two());
    }

    /// The share of keys that were never added and pass all the same.
    pub(super) fn pass_share(&self) -> f64 {
        let set: u64 = self.blocks.iter().map(|block| u64::from(block.count_ones())).sum();
        (set as f64 / (self.blocks.len() * 64) as f64).powi(4)
    }
}

// Multiply and fold (the finalizer of rapidhash and wyhash): both halves of the product mix all key bits.
#[inline]
fn hash_key(key: i64) -> u64 {
    let product = u128::from(key as u64 ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bloom_filter_has_every_key_and_few_others() {
        let mut bloom = BlockedBloom::with_capacity(10_000);
        let keys = (0..10_000i64).map(|k| k.wrapping_mul(0x1234_5678_9abc_def1));
        keys.clone().for_each(|key| bloom.insert(key));
        assert!(keys.clone().all(|key| bloom.contains(key)));
        let wrong = keys.filter(|key| bloom.contains(key.wrapping_add(1))).count();
        assert!(wrong < 300, "{wrong} of 10000");
    }

    #[test]
    fn blocks_that_are_no_power_of_two_are_not_valid() {
        let of = |num_blocks| BlockedBloom { blocks: vec![0; num_blocks].into() };
        assert_eq!([0, 1, 2, 3, 64, 65].map(|num_blocks| of(num_blocks).is_valid()), [false, true, true, false, true, false]);
    }

    #[test]
    fn filters_of_different_sizes_are_added_either_way() {
        for (first, second) in [(100, 10_000), (10_000, 100), (0, 5)] {
            let of = |keys: std::ops::Range<i64>, capacity| {
                let mut bloom = BlockedBloom::with_capacity(capacity);
                keys.for_each(|key| bloom.insert(key * 1_000_003));
                bloom
            };
            let mut both = of(0..100, first);
            both.add_all(&of(100..200, second));
            assert!((0..200).all(|key| both.contains(key * 1_000_003)));
            both.reserve(100_000);
            assert!(both.blocks.len() * KEYS_PER_BLOCK >= 100_000 && (0..200).all(|key| both.contains(key * 1_000_003)));
        }
    }
}
