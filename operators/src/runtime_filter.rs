//! What a finished join build (or top-k) tells the scans of the probe side: which keys can match at all.
//!
//! Position: published once into a [`RuntimeFilterSlot`] by [`crate::hash_join`]; read once per morsel by
//! scans. A filter may let rows through that do not match, never the reverse.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Where a filter is put when it is known; shared by the plan node that makes it and the scans that use it.
#[derive(Default)]
pub struct RuntimeFilterSlot {
    filter: OnceLock<Option<Arc<RuntimeFilter>>>,
    listener: Mutex<Option<FilterListener>>,
}

impl fmt::Debug for RuntimeFilterSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RuntimeFilterSlot").field(&self.filter.get()).finish()
    }
}

/// Told of a filter once, on the thread that publishes it.
pub type FilterListener = Box<dyn FnOnce(Option<Arc<RuntimeFilter>>) + Send>;

impl RuntimeFilterSlot {
    /// An empty slot.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An empty slot that tells `listener` what is published.
    pub fn with_listener(listener: FilterListener) -> Arc<Self> {
        Arc::new(RuntimeFilterSlot { filter: OnceLock::new(), listener: Mutex::new(Some(listener)) })
    }

    /// A slot with a filter, or with the word that there is none.
    pub fn filled(filter: Option<RuntimeFilter>) -> Arc<Self> {
        let slot = RuntimeFilterSlot::new();
        slot.publish(filter);
        slot
    }

    /// Publishes the filter; `None` says that there will be none. Only the first call counts.
    pub fn publish(&self, filter: Option<RuntimeFilter>) {
        let published = self.filter.get_or_init(|| filter.map(Arc::new)).clone();
        let listener = self.listener.lock().take();
        if let Some(listener) = listener {
            listener(published);
        }
    }

    /// The filter, if one has been published.
    pub fn get(&self) -> Option<Arc<RuntimeFilter>> {
        self.filter.get().cloned().flatten()
    }
}

/// A filter on one key column of an integer-like type (Int16, Int32, Int64, Date32, Decimal64), its values
/// widened to `i64`. NULL never passes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeFilter {
    /// Smallest build key; greater than `max` when the build side is empty.
    pub min: i64,
    /// Largest build key.
    pub max: i64,
    /// What is known beyond the bounds.
    pub members: Members,
}

/// Membership beyond the bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Members {
    /// Nothing beyond the bounds.
    Unknown,
    /// Exact: bit `key - min` of the words. At least `max - min + 1` bits, in 64-bit words.
    Bitmap(Arc<[u64]>),
    /// A blocked bloom filter over the keys.
    Bloom(BlockedBloom),
}

/// A bloom filter of 64-bit blocks, 4 bits per key: one memory access per test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockedBloom {
    blocks: Box<[u64]>,
}

impl BlockedBloom {
    /// An empty filter for about `num_keys` keys, 16 bits each; a power of two of blocks.
    pub fn with_capacity(num_keys: usize) -> Self {
        BlockedBloom { blocks: vec![0; (num_keys / 4).max(1).next_power_of_two()].into() }
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
}

// Multiply and fold (the finalizer of rapidhash and wyhash): both halves of the product mix all key bits.
#[inline]
fn hash_key(key: i64) -> u64 {
    let product = u128::from(key as u64 ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product as u64) ^ ((product >> 64) as u64)
}

impl RuntimeFilter {
    /// Whether a row with this key can have a match.
    #[inline]
    pub fn contains(&self, key: i64) -> bool {
        if key < self.min || key > self.max {
            return false;
        }
        match &self.members {
            Members::Unknown => true,
            Members::Bitmap(words) => {
                let bit = key.wrapping_sub(self.min) as u64;
                words[(bit >> 6) as usize] >> (bit & 63) & 1 == 1
            }
            Members::Bloom(bloom) => bloom.contains(key),
        }
    }

    /// Whether any key in `min ..= max` (a row group's statistics) can have a match.
    pub fn overlaps(&self, min: i64, max: i64) -> bool {
        min <= self.max && max >= self.min
    }
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
    fn bounds_apply_before_members() {
        let filter = RuntimeFilter { min: 10, max: 20, members: Members::Bitmap(Arc::from([1u64 << 3 | 1])) };
        assert_eq!((0..30).filter(|key| filter.contains(*key)).collect::<Vec<_>>(), [10, 13]);
        assert!(filter.overlaps(20, 40) && filter.overlaps(0, 10) && filter.overlaps(12, 13));
        assert!(!filter.overlaps(21, 40) && !filter.overlaps(0, 9));
    }
}
