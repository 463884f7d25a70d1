//! One filter of several: what the parts of a build side say together.
//!
//! Position: used where a build side is spread over nodes, before its filter goes to the scans. Small spans of keys give a bitmap, which
//! is exact; else a bloom filter; else only the bounds are known.

use std::sync::Arc;

use super::{BlockedBloom, Members, RuntimeFilter};

/// The longest bitmap, in bits: 8 MiB.
const BITMAP_BITS_MAX: u64 = 64 << 20;
/// The most keys that are put into a bloom filter one by one.
const ADDED_KEYS_MAX: u64 = 4 << 20;
/// A bloom filter that lets more than this share of other keys pass says nothing.
const USELESS_PASS_SHARE: f64 = 0.9;

impl RuntimeFilter {
    /// The filter that no key passes.
    pub fn nothing() -> Self {
        RuntimeFilter { min: i64::MAX, max: i64::MIN, members: Members::Unknown }
    }

    /// A filter that passes every key that one of `filters` passes, and few others.
    pub fn union(filters: Vec<RuntimeFilter>) -> RuntimeFilter {
        let mut filters: Vec<RuntimeFilter> = filters.into_iter().filter(|filter| !filter.is_empty()).map(RuntimeFilter::sound).collect();
        if filters.len() < 2 {
            return filters.pop().unwrap_or_else(RuntimeFilter::nothing);
        }
        let min = filters.iter().map(|filter| filter.min).min().unwrap_or(i64::MAX);
        let max = filters.iter().map(|filter| filter.max).max().unwrap_or(i64::MIN);
        let members = bitmap(&filters, min, max).or_else(|| bloom(&filters)).unwrap_or(Members::Unknown);
        RuntimeFilter { min, max, members }
    }

    fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// Without members that cannot be asked.
    fn sound(self) -> Self {
        if self.is_valid() { self } else { RuntimeFilter { members: Members::Unknown, ..self } }
    }

    /// How many keys are between its bounds, less one.
    fn span(&self) -> u64 {
        self.max.wrapping_sub(self.min) as u64
    }

    /// How many keys pass; `None` where they cannot be listed.
    fn num_keys(&self) -> Option<u64> {
        match &self.members {
            Members::Unknown => self.span().checked_add(1),
            Members::Bitmap(words) => {
                let last = (self.span() >> 6) as usize;
                Some(words[..=last].iter().map(|word| u64::from(word.count_ones())).sum())
            }
            Members::Bloom(_) => None,
        }
    }
}

/// A bitmap from `min` to `max`; `None` where that would be too long, a bloom filter is among `filters`, or bounds are all there is.
fn bitmap(filters: &[RuntimeFilter], min: i64, max: i64) -> Option<Members> {
    let span = max.wrapping_sub(min) as u64;
    let has_bitmap = filters.iter().any(|filter| matches!(filter.members, Members::Bitmap(_)));
    let has_bloom = filters.iter().any(|filter| matches!(filter.members, Members::Bloom(_)));
    if span >= BITMAP_BITS_MAX || !has_bitmap || has_bloom {
        return None;
    }
    let mut words = vec![0_u64; (span >> 6) as usize + 1];
    for filter in filters {
        let start = filter.min.wrapping_sub(min) as u64;
        for_each_word(filter, |at, word| {
            let bit = start + at * 64;
            let (place, shift) = ((bit >> 6) as usize, bit & 63);
            words[place] |= word << shift;
            // What is shifted out beyond the end are keys above the filter's largest: none.
            if let Some(next) = words.get_mut(place + 1).filter(|_| shift > 0) {
                *next |= word >> (64 - shift);
            }
        });
    }
    Some(Members::Bitmap(Arc::from(words)))
}

/// Calls `visit` with the words of a filter without a bloom filter, 64 keys each from its smallest one on.
fn for_each_word(filter: &RuntimeFilter, mut visit: impl FnMut(u64, u64)) {
    let last = filter.span() >> 6;
    for at in 0..=last {
        let known = match &filter.members {
            Members::Bitmap(words) => words[at as usize],
            _ => u64::MAX,
        };
        visit(at, if at == last { known & (u64::MAX >> (63 - (filter.span() & 63))) } else { known });
    }
}

/// A bloom filter with all keys; `None` where they cannot be listed or are too many, or it would let most keys pass.
fn bloom(filters: &[RuntimeFilter]) -> Option<Members> {
    let (mut sum, mut added) = (None::<BlockedBloom>, 0_u64);
    for filter in filters {
        match &filter.members {
            Members::Bloom(bloom) => match &mut sum {
                Some(sum) => sum.add_all(bloom),
                None => sum = Some(bloom.clone()),
            },
            _ => added = added.saturating_add(filter.num_keys()?),
        }
    }
    let has_bitmap = filters.iter().any(|filter| matches!(filter.members, Members::Bitmap(_)));
    if added > ADDED_KEYS_MAX || (sum.is_none() && !has_bitmap) {
        return None;
    }
    let mut sum = sum.unwrap_or_else(|| BlockedBloom::with_capacity(added as usize));
    sum.reserve(added as usize);
    for filter in filters.iter().filter(|filter| !matches!(filter.members, Members::Bloom(_))) {
        for_each_word(filter, |at, mut word| {
            while word != 0 {
                sum.insert(filter.min.wrapping_add((at * 64 + u64::from(word.trailing_zeros())) as i64));
                word &= word - 1;
            }
        });
    }
    (sum.pass_share() < USELESS_PASS_SHARE).then_some(Members::Bloom(sum))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A filter as a build side with these keys would make it.
    fn filter_of(keys: &[i64], form: u8) -> RuntimeFilter {
        let (Some(&min), Some(&max)) = (keys.iter().min(), keys.iter().max()) else { return RuntimeFilter::nothing() };
        let span = max.wrapping_sub(min) as u64;
        let members = match form {
            0 => Members::Unknown,
            1 if span < 1 << 20 => {
                // A word more than is needed, as joins make them.
                let mut words = vec![0_u64; (span >> 6) as usize + 2];
                keys.iter().map(|key| key.wrapping_sub(min) as u64).for_each(|bit| words[(bit >> 6) as usize] |= 1 << (bit & 63));
                Members::Bitmap(words.into())
            }
            _ => {
                let mut bloom = BlockedBloom::with_capacity(keys.len() * usize::from(form));
                keys.iter().for_each(|key| bloom.insert(*key));
                Members::Bloom(bloom)
            }
        };
        RuntimeFilter { min, max, members }
    }

    fn keys() -> impl Strategy<Value = Vec<i64>> {
        let near = prop::collection::vec(-300..3000_i64, 0..60);
        let far = prop::collection::vec(prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -5..5_i64], 0..20);
        prop_oneof![3 => near, 1 => far]
    }

    proptest! {
        #[test]
        fn what_passes_one_passes_all_together(
            parts in prop::collection::vec((keys(), 0..4_u8), 0..6),
            others in prop::collection::vec(prop_oneof![-400..3100_i64, any::<i64>()], 50),
        ) {
            let filters: Vec<RuntimeFilter> = parts.iter().map(|(keys, form)| filter_of(keys, *form)).collect();
            let union = RuntimeFilter::union(filters.clone());
            prop_assert!(union.is_valid());
            let probes = parts.iter().flat_map(|(keys, _)| keys.clone()).chain(others);
            for key in probes.flat_map(|key| [key, key.wrapping_add(1)]) {
                let expected = filters.iter().any(|filter| filter.contains(key));
                prop_assert!(union.contains(key) || !expected, "{}", key);
                if matches!(union.members, Members::Bitmap(_)) {
                    prop_assert_eq!(union.contains(key), expected, "a bitmap is exact: {}", key);
                }
            }
            for max_bytes in [0, 16, 1 << 30] {
                let compact = union.clone().compact(max_bytes);
                prop_assert!(compact.num_bytes() <= max_bytes && compact.is_valid());
                prop_assert!(parts.iter().flat_map(|(keys, _)| keys).all(|key| compact.contains(*key)));
            }
        }
    }

    #[test]
    fn sides_without_rows_add_nothing() {
        let empty = || RuntimeFilter { min: 7, max: 3, members: Members::Bitmap(Arc::from([])) };
        assert_eq!(RuntimeFilter::union(vec![]), RuntimeFilter::nothing());
        assert_eq!(RuntimeFilter::union(vec![empty(), empty()]), RuntimeFilter::nothing());
        let one = filter_of(&[5, 9], 1);
        assert_eq!(RuntimeFilter::union(vec![empty(), one.clone(), RuntimeFilter::nothing()]), one);
    }

    #[test]
    fn bitmaps_stay_exact_while_their_span_is_short_and_become_bloom_filters_beyond() {
        let near = RuntimeFilter::union(vec![filter_of(&[1, 64, 100], 1), filter_of(&[1 << 20, (1 << 20) + 3], 1)]);
        assert!(matches!(near.members, Members::Bitmap(_)));
        assert_eq!((0..2 << 20).filter(|key| near.contains(*key)).collect::<Vec<_>>(), [1, 64, 100, 1 << 20, (1 << 20) + 3]);
        let far = RuntimeFilter::union(vec![filter_of(&[1, 64, 100], 1), filter_of(&[1 << 40], 1)]);
        assert!(matches!(far.members, Members::Bloom(_)));
        assert!([1, 64, 100, 1 << 40].iter().all(|key| far.contains(*key)));
    }

    #[test]
    fn a_bitmap_joins_a_bloom_filter_and_wide_bounds_swallow_it() {
        let bloom = filter_of(&[3, 1 << 50, -(1 << 50)], 3);
        let mixed = RuntimeFilter::union(vec![bloom.clone(), filter_of(&(1000..2000).collect::<Vec<_>>(), 1)]);
        assert!(matches!(mixed.members, Members::Bloom(_)));
        let wrong = (1_000_000..1_010_000).filter(|key| mixed.contains(*key)).count();
        assert!(wrong < 500, "{wrong} of 10000: there is room for the keys that were added");
        let swallowed = RuntimeFilter::union(vec![bloom, filter_of(&[0, 1 << 60], 0)]);
        assert_eq!(swallowed.members, Members::Unknown);
        assert_eq!((swallowed.min, swallowed.max), (-(1 << 50), 1 << 60));
    }

    #[test]
    fn bloom_filters_that_are_full_are_dropped() {
        let full = |offset: i64| {
            let mut bloom = BlockedBloom::with_capacity(100);
            (0..3000).for_each(|key| bloom.insert(key * 7919 + offset));
            RuntimeFilter { min: 0, max: 1 << 40, members: Members::Bloom(bloom) }
        };
        assert_eq!(RuntimeFilter::union(vec![full(1), full(2)]).members, Members::Unknown);
    }
}
