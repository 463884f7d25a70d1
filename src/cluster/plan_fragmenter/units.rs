//! The units of a leaf fragment: which part of the driving scans each one reads.
//!
//! Position: called when the fragments are settled. Units are so many that nodes of different speed end at about the same time,
//! and so large that starting one costs nothing beside it.

use super::{
    distribution::Leaf,
    scans::{Scan, Scans},
    sizes::Limits,
};
use crate::{
    connectors::part::{stable_hash, stable_mix},
    error::{Error, Result},
    plan::{
        fragment::{FilteredKeys, LeafUnit, UnitPart},
        physical::RuntimeFilterId,
    },
};

/// Units to aim for, as a multiple of the threads.
pub(super) const UNITS_PER_THREAD: usize = 4;
/// The same where every unit gives about the same many groups.
pub(super) const UNITS_PER_THREAD_OF_MANY_GROUPS: usize = 1;

/// One byte of so many may be read by two units.
const READ_TWICE_SHARE: u64 = 4;

/// About how many units a leaf fragment will have.
pub(super) fn expected_units(leaf: &Leaf, scans: &Scans, threads: usize, limits: &Limits) -> Result<usize> {
    count(leaf, largest(leaf, scans)?.1, scans, threads, limits)
}

/// The units of a leaf fragment: every row of every driving scan is in one of them. `filters` are applied to columns of the driving scan,
/// if it is the only one.
pub(super) fn units(
    leaf: &Leaf,
    scans: &Scans,
    threads: usize,
    limits: &Limits,
    filters: &[(RuntimeFilterId, usize)],
) -> Result<Vec<LeafUnit>> {
    let (place, largest) = largest(leaf, scans)?;
    let bundles = bundles(largest, count(leaf, largest, scans, threads, limits)?);
    let table = stable_hash([largest.table.to_string().as_bytes()]);
    if !leaf.by_key {
        let unit = |bundle: &std::ops::Range<usize>| LeafUnit {
            part: UnitPart::Splits(bundle.clone().map(|split| split as u32).collect()),
            bytes: largest.splits[bundle.clone()].iter().map(|split| split.bytes).sum(),
            affinity: affinity(table, largest, bundle.start),
            keys: filtered_keys(largest, bundle, filters),
        };
        return Ok(bundles.iter().map(unit).collect());
    }
    let key = leaf.keys.first().ok_or_else(|| Error::internal("a fragment is cut by a key that it does not have"))?;
    let without_bounds = || Error::internal("a driving scan is cut by a column without bounds");
    let bounds = largest.bounds(key.columns[place]).ok_or_else(without_bounds)?;
    let ranges = ranges(&bundles, bounds);
    let mut bytes = vec![0; ranges.len()];
    for (scan, column) in leaf.scans.iter().zip(&key.columns) {
        let scan = scans.get(*scan)?;
        for (split, (min, _)) in scan.splits.iter().zip(scan.bounds(*column).ok_or_else(without_bounds)?) {
            let unit = ranges.partition_point(|range| range.lower.is_none_or(|lower| lower <= *min));
            bytes[unit - 1] += split.bytes;
        }
    }
    let unit = |(place, range): (usize, &KeyRange)| LeafUnit {
        part: UnitPart::KeyRange { lower: range.lower, upper: ranges.get(place + 1).and_then(|next| next.lower) },
        bytes: bytes[place],
        affinity: affinity(table, largest, range.first_split),
        // Where one of several scans gives nothing, the others may still have to.
        keys: vec![],
    };
    Ok(ranges.iter().enumerate().map(unit).collect())
}

/// What is known of the keys in a bundle of splits to which filters will be applied.
fn filtered_keys(scan: &Scan, bundle: &std::ops::Range<usize>, filters: &[(RuntimeFilterId, usize)]) -> Vec<FilteredKeys> {
    let known = filters.iter().filter_map(|(filter, column)| {
        let bounds = scan.bounds(*column)?.get(bundle.clone())?;
        let (min, max) = (bounds.iter().map(|(min, _)| *min).min()?, bounds.iter().map(|(_, max)| *max).max()?);
        Some(FilteredKeys { filter: *filter, min, max })
    });
    known.collect()
}

/// Where a range begins, and the split that begins there.
struct KeyRange {
    lower: Option<i64>,
    first_split: usize,
}

/// Ranges that begin where bundles do. A bundle that begins with the key of the one before belongs to it.
fn ranges(bundles: &[std::ops::Range<usize>], bounds: &[(i64, i64)]) -> Vec<KeyRange> {
    let mut ranges = vec![KeyRange { lower: None, first_split: 0 }];
    // The first range holds the smallest key of all: a second one that began there would leave it empty.
    let mut previous = bounds.first().map(|(min, _)| *min);
    for bundle in bundles.iter().skip(1) {
        let lower = bounds[bundle.start].0;
        if previous.is_none_or(|previous| previous < lower) {
            ranges.push(KeyRange { lower: Some(lower), first_split: bundle.start });
            previous = Some(lower);
        }
    }
    ranges
}

/// The driving scan that reads most, and its place among them.
fn largest<'a>(leaf: &Leaf, scans: &'a Scans) -> Result<(usize, &'a Scan)> {
    let mut largest: Option<(usize, &Scan)> = None;
    for (place, id) in leaf.scans.iter().enumerate() {
        let scan = scans.get(*id)?;
        if largest.is_none_or(|(_, known)| (known.bytes(), known.splits.len()) < (scan.bytes(), scan.splits.len())) {
            largest = Some((place, scan));
        }
    }
    largest.ok_or_else(|| Error::internal("a leaf fragment without a driving scan"))
}

fn count(leaf: &Leaf, largest: &Scan, scans: &Scans, threads: usize, limits: &Limits) -> Result<usize> {
    let (mut bytes, mut read_twice) = (0, 0);
    for id in &leaf.scans {
        let scan = scans.get(*id)?;
        bytes += scan.bytes();
        // Where two ranges meet, a split of every other table is in both of them.
        if !std::ptr::eq(scan, largest) {
            read_twice += scan.bytes() / scan.splits.len().max(1) as u64;
        }
    }
    let ratio = |bytes: u64, of: u64| usize::try_from(bytes / of.max(1)).unwrap_or(usize::MAX);
    let affordable = if read_twice == 0 { usize::MAX } else { ratio(bytes / READ_TWICE_SHARE, read_twice).max(threads) };
    let worthwhile = ratio(bytes, limits.unit_bytes_min);
    Ok((leaf.units_per_thread * threads).min(worthwhile).min(affordable).min(largest.splits.len()).max(1))
}

/// At most `count` runs of splits, about equally large, none empty; one empty run if there is no split.
fn bundles(scan: &Scan, count: usize) -> Vec<std::ops::Range<usize>> {
    // Where sizes are not known (no column is read, say), splits count alike.
    let weight = |split: usize| u128::from(scan.splits[split].bytes) + 1;
    let total: u128 = (0..scan.splits.len()).map(weight).sum();
    let mut bundles: Vec<std::ops::Range<usize>> = vec![];
    let (mut before, mut current) = (0_u128, None);
    for split in 0..scan.splits.len() {
        let middle = 2 * before + weight(split);
        let bundle = middle * count as u128 / (2 * total);
        match bundles.last_mut() {
            Some(last) if current == Some(bundle) => last.end = split + 1,
            _ => bundles.push(split..split + 1),
        }
        current = Some(bundle);
        before += weight(split);
    }
    if bundles.is_empty() {
        bundles.push(0..0);
    }
    bundles
}

/// A number of the table and the unit's first split.
fn affinity(table: u64, scan: &Scan, split: usize) -> u64 {
    let identity = scan.splits.get(split).map_or(0, |split| split.identity);
    stable_mix(table ^ identity.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_never_begins_with_the_key_of_another() {
        let lowers = |bounds: &[(i64, i64)]| -> Vec<Option<i64>> {
            let bundles: Vec<_> = (0..bounds.len()).map(|split| split..split + 1).collect();
            ranges(&bundles, bounds).into_iter().map(|range| range.lower).collect()
        };
        assert_eq!(lowers(&[(1, 4), (4, 4), (4, 7), (8, 9)]), [None, Some(4), Some(8)]);
        assert_eq!(lowers(&[(5, 5), (5, 5), (5, 6)]), [None]);
        assert_eq!(lowers(&[]), [None]);
    }
}
