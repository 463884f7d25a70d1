//! Row groups as the splits of a table: their sizes and bounds, and which of them a part of the table has rows in.
//!
//! Position: [`super::plan`] takes the row groups of a scan from here. A row group whose bounds lie inside a range of keys is read
//! without a test; only one that lies across an end of the range is tested row by row. Deliberately elsewhere: that test
//! ([`super::filter`]), and whether filters let a row group pass ([`super::prune`]).

use std::{path::Path, sync::Arc};

use super::{
    bounds::{self, Bounds, as_integer},
    footer::Footer,
    schema::{Column, Reading},
};
use crate::{
    connectors::{
        ScanPart, Split,
        part::{KeyRange, chosen_splits, is_integer_like, stable_hash},
    },
    error::{Error, Result},
};

/// A row group that has rows of the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartRowGroup {
    /// Which file.
    pub file: usize,
    /// Which row group of it.
    pub row_group: usize,
    /// Whether it may have rows of other parts too.
    pub straddles: bool,
}

/// All row groups, in the order of their numbers as splits.
fn row_groups(footers: &[Arc<Footer>]) -> impl Iterator<Item = (usize, usize)> {
    footers.iter().enumerate().flat_map(|(file, footer)| (0..footer.metadata.num_row_groups()).map(move |row_group| (file, row_group)))
}

/// The row groups with rows of `part`, in order.
///
/// # Errors
/// 55000 for a split that does not exist.
pub fn part_row_groups(footers: &[Arc<Footer>], table: &[Column], part: &ScanPart) -> Result<Vec<PartRowGroup>> {
    let whole = |(file, row_group)| PartRowGroup { file, row_group, straddles: false };
    match part {
        ScanPart::All => Ok(row_groups(footers).map(whole).collect()),
        ScanPart::Splits(splits) => {
            let chosen = chosen_splits(splits, row_groups(footers).count())?;
            Ok(row_groups(footers).zip(chosen).filter(|(_, is_chosen)| *is_chosen).map(|(place, _)| whole(place)).collect())
        }
        ScanPart::KeyRange { column, lower, upper } => {
            let reading = table.get(*column).and_then(|column| column.reading.as_ref()).filter(|reading| is_key(reading));
            let reading = reading.ok_or_else(|| Error::internal(format!("a table cannot be cut by its column {column}")))?;
            let range = KeyRange { lower: *lower, upper: *upper };
            let share = |(file, row_group): (usize, usize)| {
                let straddles = straddles(&footers[file], row_group, reading, &range)?;
                Some(PartRowGroup { file, row_group, straddles })
            };
            Ok(row_groups(footers).filter_map(share).collect())
        }
    }
}

fn is_key(reading: &Reading) -> bool {
    is_integer_like(&reading.data_type)
}

/// Whether some rows of a row group may be outside `range`; `None` if all are.
fn straddles(footer: &Footer, row_group: usize, reading: &Reading, range: &KeyRange) -> Option<bool> {
    let chunk = footer.metadata.row_group(row_group).column(reading.leaf);
    let has_nulls = bounds::null_count(chunk, reading) != Some(0);
    match integer_bounds(bounds::bounds(chunk, reading)) {
        KeyBounds::AllNull => range.takes_nulls().then_some(false),
        KeyBounds::Between(min, max) => {
            let is_met = range.overlaps(min, max) || has_nulls && range.takes_nulls();
            let is_inside = range.covers(min, max) && (!has_nulls || range.takes_nulls());
            is_met.then_some(!is_inside)
        }
        KeyBounds::Unknown => Some(*range != KeyRange { lower: None, upper: None }),
    }
}

enum KeyBounds {
    Unknown,
    AllNull,
    Between(i64, i64),
}

fn integer_bounds(bounds: Bounds) -> KeyBounds {
    match bounds {
        Bounds::Unknown => KeyBounds::Unknown,
        Bounds::AllNull => KeyBounds::AllNull,
        Bounds::Between(min, max) => match (as_integer(&min), as_integer(&max)) {
            (Some(min), Some(max)) => KeyBounds::Between(min, max),
            _ => KeyBounds::Unknown,
        },
    }
}

/// The splits of a table: one per row group.
pub fn splits(footers: &[Arc<Footer>], table: &[Column]) -> Vec<Split> {
    let roots = |footer: &Footer| {
        let leaves = footer.metadata.file_metadata().schema_descr();
        (0..leaves.num_columns()).map(|leaf| leaves.get_column_root_idx(leaf)).collect::<Vec<_>>()
    };
    let roots: Vec<Vec<usize>> = footers.iter().map(|footer| roots(footer)).collect();
    let split = |(file, row_group): (usize, usize)| {
        let footer = &footers[file];
        let mut bytes = vec![0; table.len()];
        for (chunk, root) in footer.metadata.row_group(row_group).columns().iter().zip(&roots[file]) {
            if let Some(bytes) = bytes.get_mut(*root) {
                *bytes += chunk.compressed_size().max(0) as u64;
            }
        }
        Split { rows: footer.num_rows(row_group) as u64, bytes, identity: identity(footer, row_group) }
    };
    row_groups(footers).map(split).collect()
}

/// Nodes may have the same files in other directories: the name, the size and the row group tell what it is.
fn identity(footer: &Footer, row_group: usize) -> u64 {
    let name = Path::new(&footer.path).file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    stable_hash([name, &footer.file_bytes.to_le_bytes(), &(row_group as u64).to_le_bytes()])
}

/// Bounds of a column in every row group; `None` unless all are known and no value is NULL.
pub fn split_bounds(footers: &[Arc<Footer>], column: &Column) -> Option<Vec<(i64, i64)>> {
    let reading = column.reading.as_ref().filter(|reading| is_key(reading))?;
    let split = |(file, row_group): (usize, usize)| {
        let chunk = footers[file].metadata.row_group(row_group).column(reading.leaf);
        match integer_bounds(bounds::bounds(chunk, reading)) {
            KeyBounds::Between(min, max) if bounds::null_count(chunk, reading) == Some(0) => Some((min, max)),
            _ => None,
        }
    };
    row_groups(footers).map(split).collect()
}
