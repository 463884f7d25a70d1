//! What footers and a few dictionary page headers say of a table's rows.
//!
//! Position: computed once per opened table, on first demand. Numbers of distinct values are estimates: in sampled row groups, the
//! header of the dictionary page has the exact number `d` of distinct values among `n` rows; the table's number `D` solves
//! `d = D (1 - exp(-n / D))`, what `n` draws from `D` equally likely values give. Clustered columns have new values in every
//! row group; there `d / n` is taken for the table.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use operators::Scalar;
use parquet::{basic::Encoding, file::metadata::ColumnChunkMetaData};

use super::{
    bounds::{self, Bounds, as_integer, compare},
    footer::Footer,
    page::{self, PageKind},
    schema::{Column, Layout, Reading},
};
use crate::connectors::{ColumnStatistics, TableStatistics};

/// Row groups whose dictionary pages are looked at.
const SAMPLED_ROW_GROUPS: usize = 4;

/// The statistics of a table.
pub fn table_statistics(footers: &[Arc<Footer>], columns: &[Column]) -> TableStatistics {
    let num_rows = footers.iter().map(|footer| row_range(footer).map(|group| footer.num_rows(group) as u64).sum::<u64>()).sum();
    let files: Vec<Option<Arc<File>>> = footers.iter().map(|footer| footer.open().ok()).collect();
    let columns = columns.iter().map(|column| match &column.reading {
        Some(reading) => column_statistics(footers, &files, reading, num_rows),
        None => ColumnStatistics::default(),
    });
    TableStatistics { num_rows, columns: columns.collect() }
}

fn row_range(footer: &Footer) -> Range<usize> {
    0..footer.metadata.num_row_groups()
}

fn chunks<'a>(footers: &'a [Arc<Footer>], reading: &'a Reading) -> impl Iterator<Item = (usize, usize, &'a ColumnChunkMetaData)> {
    footers.iter().enumerate().flat_map(move |(file, footer)| {
        let filled = row_range(footer).filter(|group| footer.num_rows(*group) > 0);
        filled.map(move |group| (file, footer.num_rows(group), footer.metadata.row_group(group).column(reading.leaf)))
    })
}

fn column_statistics(footers: &[Arc<Footer>], files: &[Option<Arc<File>>], reading: &Reading, num_rows: u64) -> ColumnStatistics {
    let mut range: Option<(Scalar, Scalar)> = None;
    let mut is_known = true;
    let mut is_clustered = true;
    let mut ranges = 0;
    let mut null_count = Some(0);
    let mut bytes = 0;
    for (_, _, chunk) in chunks(footers, reading) {
        null_count = null_count.zip(bounds::null_count(chunk, reading)).map(|(sum, nulls)| sum + nulls);
        bytes += chunk.uncompressed_size().max(0);
        match bounds::bounds(chunk, reading) {
            Bounds::Unknown => is_known = false,
            Bounds::AllNull => is_clustered = false,
            Bounds::Between(min, max) => {
                ranges += 1;
                range = Some(match range {
                    None => (min, max),
                    Some((low, high)) => {
                        is_clustered &= compare(&high, &min).is_some_and(|order| order.is_le());
                        (smaller(low, min), larger(high, max))
                    }
                });
            }
        }
    }
    let range = range.filter(|_| is_known);
    let is_clustered = is_clustered && is_known && ranges > 1;
    let rows = num_rows.saturating_sub(null_count.unwrap_or(0)) as f64;
    let span = range.as_ref().and_then(|(min, max)| Some(as_integer(max)? as f64 - as_integer(min)? as f64 + 1.0));
    let distinct = distinct_count(footers, files, reading, rows, is_clustered);
    let limit = span.unwrap_or(f64::INFINITY).min(rows);
    let distinct_count = match (distinct, span) {
        (Some(distinct), _) => Some(distinct.min(limit)),
        (None, Some(_)) => Some(limit),
        (None, None) => None,
    };
    let average_bytes = match reading.layout {
        Layout::Fixed(_) => None,
        _ => Some(average_bytes(footers, files, reading, bytes as f64, rows)),
    };
    let (min, max) = range.unzip();
    ColumnStatistics { min, max, null_count, distinct_count, is_clustered, average_bytes }
}

fn smaller(left: Scalar, right: Scalar) -> Scalar {
    if compare(&right, &left).is_some_and(|order| order.is_lt()) { right } else { left }
}

fn larger(left: Scalar, right: Scalar) -> Scalar {
    if compare(&right, &left).is_some_and(|order| order.is_gt()) { right } else { left }
}

/// A dictionary page's number of entries and bytes; `None` when the chunk has none.
fn dictionary(file: &File, chunk: &ColumnChunkMetaData) -> Option<(usize, usize)> {
    let offset = u64::try_from(chunk.dictionary_page_offset()?).ok()?;
    let mut bytes = [0; 128];
    let read = file.read_at(&mut bytes, offset).ok()?;
    let (header, _) = page::parse_header(&bytes[..read]).ok()??;
    (header.kind == PageKind::Dictionary).then_some((header.num_values, header.uncompressed_bytes))
}

fn has_only_codes(chunk: &ColumnChunkMetaData) -> bool {
    chunk
        .page_encoding_stats_mask()
        .is_some_and(|encodings| encodings.is_only(Encoding::RLE_DICTIONARY) || encodings.is_only(Encoding::PLAIN_DICTIONARY))
}

/// Some chunks spread over the table.
fn sample<'a>(footers: &'a [Arc<Footer>], reading: &'a Reading) -> impl Iterator<Item = (usize, usize, &'a ColumnChunkMetaData)> {
    let count = chunks(footers, reading).count();
    let wanted = SAMPLED_ROW_GROUPS.min(count);
    let places: Vec<usize> = (0..wanted).map(|i| (2 * i + 1) * count / (2 * wanted)).collect();
    chunks(footers, reading).enumerate().filter(move |(index, _)| places.contains(index)).map(|(_, chunk)| chunk)
}

fn distinct_count(footers: &[Arc<Footer>], files: &[Option<Arc<File>>], reading: &Reading, rows: f64, is_clustered: bool) -> Option<f64> {
    if rows == 0.0 {
        return Some(0.0);
    }
    let mut estimates = Vec::new();
    for (file, chunk_rows, chunk) in sample(footers, reading) {
        let nulls = bounds::null_count(chunk, reading).unwrap_or(0) as f64;
        let values = chunk_rows as f64 - nulls;
        let Some((entries, _)) = files[file].as_ref().and_then(|file| dictionary(file, chunk)) else { continue };
        // Values that did not fit into the dictionary are mostly new ones.
        let distinct = if has_only_codes(chunk) { entries as f64 } else { values };
        if values > 0.0 {
            estimates.push(if is_clustered { distinct / values * rows } else { draws_to_total(distinct, values).min(rows) });
        }
    }
    let count = estimates.len() as f64;
    (count > 0.0).then(|| estimates.iter().sum::<f64>() / count)
}

/// The `D` for which `n` draws from `D` equally likely values give `d` distinct ones. Infinite when all are.
fn draws_to_total(d: f64, n: f64) -> f64 {
    if d >= n - 0.5 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (d, n * n);
    for _ in 0..100 {
        let middle = (low * high).sqrt();
        if middle * -(-n / middle).exp_m1() < d { low = middle } else { high = middle }
    }
    // A dictionary that all rows have seen many times over is complete.
    if low < d * 1.001 { d } else { low }
}

fn average_bytes(footers: &[Arc<Footer>], files: &[Option<Arc<File>>], reading: &Reading, chunk_bytes: f64, rows: f64) -> f64 {
    let (mut entries, mut bytes) = (0, 0);
    for (file, _, chunk) in sample(footers, reading) {
        if let Some((count, size)) = files[file].as_ref().and_then(|file| dictionary(file, chunk)) {
            entries += count;
            bytes += size;
        }
    }
    let per_value = if entries > 0 { bytes as f64 / entries as f64 } else { chunk_bytes / rows.max(1.0) };
    (per_value - 4.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_values_follows_from_how_many_were_drawn() {
        // 114,500 draws from 2 million values give about 111,300 distinct ones.
        let expected = 2e6 * (1.0 - (-114_500.0_f64 / 2e6).exp());
        let estimate = draws_to_total(expected, 114_500.0);
        assert!((estimate - 2e6).abs() < 2e4, "{estimate}");
        assert_eq!(draws_to_total(50.0, 114_500.0), 50.0);
        assert_eq!(draws_to_total(1000.0, 1000.0), f64::INFINITY);
    }
}
