//! What a finished join build (or top-k) tells the scans of the probe side: which keys can match at all.
//!
//! Position: published once into a [`RuntimeFilterSlot`] by [`crate::hash_join`]; read once per morsel by
//! scans. A filter may let rows through that do not match, never the reverse. Parts of a build side have one filter each; [`union`]
//! makes one of them. Filters travel between nodes: one that was received must be checked with [`RuntimeFilter::is_valid`] first.

mod bloom;
mod union;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use self::bloom::BlockedBloom;

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

    /// Whether it can be asked: members that were received may be fewer than the bounds say.
    pub fn is_valid(&self) -> bool {
        match &self.members {
            Members::Unknown => true,
            Members::Bitmap(words) => {
                let span = self.max.wrapping_sub(self.min) as u64;
                self.min > self.max || span >> 6 < words.len() as u64
            }
            Members::Bloom(bloom) => bloom.is_valid(),
        }
    }

    /// Bytes of its members.
    pub fn num_bytes(&self) -> usize {
        match &self.members {
            Members::Unknown => 0,
            Members::Bitmap(words) => size_of_val(&**words),
            Members::Bloom(bloom) => bloom.num_bytes(),
        }
    }

    /// The filter, without members if these take more than `max_bytes`.
    pub fn compact(self, max_bytes: usize) -> RuntimeFilter {
        if self.num_bytes() <= max_bytes { self } else { RuntimeFilter { members: Members::Unknown, ..self } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_apply_before_members() {
        let filter = RuntimeFilter { min: 10, max: 20, members: Members::Bitmap(Arc::from([1u64 << 3 | 1])) };
        assert_eq!((0..30).filter(|key| filter.contains(*key)).collect::<Vec<_>>(), [10, 13]);
        assert!(filter.overlaps(20, 40) && filter.overlaps(0, 10) && filter.overlaps(12, 13));
        assert!(!filter.overlaps(21, 40) && !filter.overlaps(0, 9));
    }

    #[test]
    fn members_that_do_not_fit_their_bounds_are_not_valid() {
        let bitmap = |min, max, words: usize| RuntimeFilter { min, max, members: Members::Bitmap(vec![u64::MAX; words].into()) };
        for (filter, expected) in [
            (bitmap(0, 63, 1), true),
            (bitmap(0, 64, 1), false),
            (bitmap(0, 0, 0), false),
            (bitmap(1, 0, 0), true),
            (bitmap(i64::MIN, i64::MAX, 2), false),
            (RuntimeFilter::nothing(), true),
        ] {
            assert_eq!(filter.is_valid(), expected, "{filter:?}");
            if expected {
                assert_eq!(
                    [-1, 0, 1, 63, 64].map(|key| filter.contains(key)),
                    [-1, 0, 1, 63, 64].map(|k| filter.min <= k && k <= filter.max)
                );
            }
        }
    }
}
