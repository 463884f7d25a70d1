//! The share of rows that pass some filters, measured on two pieces of the table.
//!
//! Position: asked by the optimizer for filters whose selectivity no bound tells (LIKE, functions, correlated columns). Costs about a
//! millisecond: the scan itself runs on the pieces.

use std::sync::Arc;

use operators::Expression;

use super::{footer::Footer, plan::ScanPlan, row_group::RowGroupScan, schema::Column};
use crate::{connectors::ScanRequest, error::Result};

/// Smaller tables are not worth it.
const TABLE_ROWS_MIN: usize = 100_000;
/// Rows of each piece.
const PIECE_ROWS: usize = 16_384;

/// The share of rows that pass all `filters` (over the table's columns by position); `None` for small tables.
///
/// # Errors
/// When the files cannot be read, or a filter fails on a row.
pub fn sample_selectivity(footers: &[Arc<Footer>], columns: &[Column], filters: &[Expression]) -> Result<Option<f64>> {
    let used: Vec<usize> = filters.iter().flat_map(Expression::columns).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let mut filters = filters.to_vec();
    for filter in &mut filters {
        filter.remap_columns(&|position| used.binary_search(&position).unwrap_or(0));
    }
    let request = ScanRequest { filter_columns: used, filters, ..ScanRequest::default() };
    let total: usize = footers.iter().map(|f| (0..f.metadata.num_row_groups()).map(|group| f.num_rows(group)).sum::<usize>()).sum();
    if total < TABLE_ROWS_MIN {
        return Ok(None);
    }
    let plan = Arc::new(ScanPlan::new(footers, columns, &request)?);
    let kept: usize = plan.morsels.iter().map(|morsel| morsel.rows.len()).sum();
    let mut scan = RowGroupScan::new(Arc::clone(&plan), PIECE_ROWS);
    let (mut scanned, mut passed) = (0, 0);
    let places = [plan.morsels.len() / 3, plan.morsels.len() * 2 / 3];
    for place in &places[..if places[0] == places[1] { 1 } else { 2 }] {
        let Some(mut morsel) = plan.morsels.get(*place).cloned() else { continue };
        // From the middle of the piece, where a page has been going for a while.
        let length = morsel.rows.len().min(PIECE_ROWS);
        let start = morsel.rows.start + (morsel.rows.len() - length) / 2;
        morsel.rows = start..start + length;
        scanned += length;
        scan.start(morsel)?;
        while let Some(batch) = scan.next_batch()? {
            passed += batch.num_rows();
        }
    }
    if scanned == 0 {
        return Ok(Some(0.0));
    }
    // Half a row more than was seen: a sample never proves that nothing passes.
    let share = (passed as f64 + 0.5) / (scanned as f64 + 0.5);
    Ok(Some((share * kept as f64 / total as f64).min(1.0)))
}
