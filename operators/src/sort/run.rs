//! Sorted runs: what one chain has gathered, in order; and their merge into parts of the result.

use std::{cmp::Ordering, ops::Range};

use arrow::{
    array::{Array, ArrayRef},
    compute::interleave,
};
use pipelines::{Batch, CancelToken};

use super::key::EncodedRows;
use crate::Result;

/// A row's place in a run, with the beginning of its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    prefix: u128,
    batch: u32,
    row: u32,
}

/// Batches with the order of their rows.
#[derive(Default)]
pub(crate) struct Run {
    batches: Vec<Batch>,
    keys: Vec<EncodedRows>,
    order: Vec<Entry>,
}

impl Run {
    /// The first `limit` rows of `batches` in order; `keys` are theirs. For few rows: it cannot be stopped.
    pub(crate) fn new(batches: Vec<Batch>, keys: Vec<EncodedRows>, limit: usize) -> Self {
        let mut run = Run::first_rows(batches, keys, limit);
        run.order.sort_unstable_by(|a, b| compare(&run.keys, a, &run.keys, b));
        run
    }

    /// The same of any number of rows; looks at `cancel` now and then.
    pub(crate) fn of_many(batches: Vec<Batch>, keys: Vec<EncodedRows>, limit: usize, cancel: &CancelToken) -> pipelines::Result<Self> {
        let mut run = Run::first_rows(batches, keys, limit);
        sort_in_pieces(&mut run.order, &|a, b| compare(&run.keys, a, &run.keys, b), cancel)?;
        Ok(run)
    }

    /// The first `limit` rows, in no order.
    fn first_rows(batches: Vec<Batch>, keys: Vec<EncodedRows>, limit: usize) -> Self {
        let rows = |(batch, keys): (usize, &EncodedRows)| {
            let entry = move |(row, prefix): (usize, &u128)| Entry { prefix: *prefix, batch: batch as u32, row: row as u32 };
            keys.prefixes.iter().enumerate().map(entry).collect::<Vec<_>>()
        };
        let mut order: Vec<Entry> = keys.iter().enumerate().flat_map(rows).collect();
        if limit < order.len() {
            if limit > 0 {
                order.select_nth_unstable_by(limit - 1, |a, b| compare(&keys, a, &keys, b));
            }
            order.truncate(limit);
        }
        Run { batches, keys, order }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The rows in order as one batch.
    pub(crate) fn gather(&self) -> Result<Batch> {
        let rows: Vec<(usize, usize)> = self.order.iter().map(|entry| (entry.batch as usize, entry.row as usize)).collect();
        gather(&self.batches.iter().collect::<Vec<_>>(), &rows)
    }

    /// The position of the first row that does not come before row `position` of `other`.
    fn lower_bound(&self, other: &Run, position: usize) -> usize {
        let splitter = &other.order[position];
        self.order.partition_point(|entry| compare(&self.keys, entry, &other.keys, splitter).is_lt())
    }
}

/// Rows that are sorted in one go: some ten milliseconds, for which a query that is to stop goes on.
const PIECE_ROWS: usize = 128 * 1024;

/// Sorts `order`; large ones by halves, as quicksort would, to look at `cancel` between them.
fn sort_in_pieces(order: &mut [Entry], compare: &impl Fn(&Entry, &Entry) -> Ordering, cancel: &CancelToken) -> pipelines::Result<()> {
    cancel.check()?;
    if order.len() <= PIECE_ROWS {
        order.sort_unstable_by(compare);
        return Ok(());
    }
    let middle = order.len() / 2;
    order.select_nth_unstable_by(middle, compare);
    let (before, after) = order.split_at_mut(middle);
    sort_in_pieces(before, compare, cancel)?;
    sort_in_pieces(after, compare, cancel)
}

fn compare(keys: &[EncodedRows], entry: &Entry, other_keys: &[EncodedRows], other: &Entry) -> Ordering {
    entry
        .prefix
        .cmp(&other.prefix)
        .then_with(|| keys[entry.batch as usize].compare_ties(entry.row as usize, &other_keys[other.batch as usize], other.row as usize))
}

/// A merge of runs, cut into parts of about `part_rows` rows that can be merged independently.
pub(crate) struct Merge {
    runs: Vec<Run>,
    /// For every part, and for the end, the position in every run at which it starts.
    cuts: Vec<Vec<usize>>,
}

impl Merge {
    /// A merge of all of `runs`.
    pub(crate) fn new(runs: Vec<Run>, part_rows: usize) -> Self {
        let num_rows: usize = runs.iter().map(Run::len).sum();
        let num_parts = num_rows.div_ceil(part_rows);
        let mut cuts = vec![vec![0; runs.len()]];
        // Rows of the longest run, equally far apart, stand for the distribution of all.
        if let Some(longest) = runs.iter().max_by_key(|run| run.len()) {
            for part in 1..num_parts {
                let position = longest.len() * part / num_parts;
                cuts.push(runs.iter().map(|run| run.lower_bound(longest, position)).collect());
            }
        }
        cuts.push(runs.iter().map(Run::len).collect());
        Merge { runs, cuts }
    }

    /// How many parts there are.
    pub(crate) fn num_parts(&self) -> usize {
        self.cuts.len() - 1
    }

    /// The rows of part `part` whose positions in the whole order are in `window`.
    pub(crate) fn part(&self, part: usize, window: &Range<usize>) -> Result<Option<Batch>> {
        let (starts, ends) = (&self.cuts[part], &self.cuts[part + 1]);
        let first: usize = starts.iter().sum();
        let after: usize = ends.iter().sum();
        let wanted = first.max(window.start)..after.min(window.end);
        if wanted.start >= wanted.end {
            return Ok(None);
        }
        let mut rows = self.merged(starts, ends, wanted.end - first);
        rows.drain(..wanted.start - first);
        self.gather(&rows).map(Some)
    }

    /// The first `limit` rows of `starts .. ends` in order, as batch (numbered over all runs) and row.
    fn merged(&self, starts: &[usize], ends: &[usize], limit: usize) -> Vec<(usize, usize)> {
        let first_batches: Vec<usize> =
            self.runs.iter().scan(0, |next, run| Some(std::mem::replace(next, *next + run.batches.len()))).collect();
        let mut positions = starts.to_vec();
        let mut rows = Vec::with_capacity(limit);
        while rows.len() < limit {
            // Few runs, one per chain: a scan over their heads is as good as a heap.
            let heads = (0..self.runs.len()).filter(|run| positions[*run] < ends[*run]);
            let smaller = |a: &usize, b: &usize| {
                let (run, other) = (&self.runs[*a], &self.runs[*b]);
                compare(&run.keys, &run.order[positions[*a]], &other.keys, &other.order[positions[*b]])
            };
            let Some(run) = heads.min_by(smaller) else { break };
            let entry = self.runs[run].order[positions[run]];
            positions[run] += 1;
            rows.push((first_batches[run] + entry.batch as usize, entry.row as usize));
        }
        rows
    }

    fn gather(&self, rows: &[(usize, usize)]) -> Result<Batch> {
        let batches: Vec<&Batch> = self.runs.iter().flat_map(|run| &run.batches).collect();
        gather(&batches, rows)
    }
}

/// The rows at `rows` (batch and row) of `batches`, which have the same types of columns.
pub(crate) fn gather(batches: &[&Batch], rows: &[(usize, usize)]) -> Result<Batch> {
    let num_columns = batches.first().map_or(0, |batch| batch.columns().len());
    let column = |column: usize| -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        Ok(interleave(&arrays, rows)?)
    };
    Ok(Batch::new((0..num_columns).map(column).collect::<Result<_>>()?, rows.len()))
}
