//! Filters of a scan on one column: predicates, runtime filters and the range of keys that is read, tested once per dictionary entry or
//! once per value.
//!
//! Position: [`super::row_group`] applies one [`ColumnFilter`] per filtered column to each window, in an order it keeps adapting. While a
//! chunk's dictionary has fewer entries than rows that would be tested, entries are tested, once, and a bit per entry is
//! looked up per row; else values are tested. Whatever the predicate (LIKE, IN, functions), rows cost the same.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use operators::{
    Expression,
    expression::{Predicate, Selection},
    runtime_filter::{Members, RuntimeFilter, RuntimeFilterSlot},
};
use pipelines::Batch;

use super::{
    bounds::Bounds,
    column::{ColumnWindow, Dictionary, fixed::Lanes},
    fault::{Decoded, Fault},
    mask,
    plan::ColumnFilterPlan,
    prune::{self, Overlap},
    schema::Reading,
};
use crate::connectors::part::KeyRange;

/// All filters on one column; one per chain.
pub struct ColumnFilter {
    /// Which column of the scan.
    pub slot: usize,
    predicate: Option<Predicate>,
    runtime: Vec<RuntimeTest>,
    range: Option<RangeTest>,
    /// Bits of the current chunk's dictionary entries that pass; `None`: not tested.
    table: Option<Vec<u64>>,
    null_passes: bool,
    /// Whether the predicate failed on a dictionary entry: then it is tested last, on rows, which may not have that entry.
    has_failed: bool,
    /// Rows seen and passed; halved now and then, so that recent rows count more.
    rows_in: f64,
    rows_out: f64,
    scratch: Vec<u64>,
}

struct RuntimeTest {
    slot: Arc<RuntimeFilterSlot>,
    filter: Option<Arc<RuntimeFilter>>,
    keys_tested: u64,
    keys_passed: u64,
    /// Whether it is tested in the current row group.
    is_active: bool,
}

/// Unlike a runtime filter, which may let rows through, this one decides: other rows belong to other parts of the table.
struct RangeTest {
    range: KeyRange,
    keys: RuntimeFilter,
    /// Whether it is tested in the current row group.
    is_active: bool,
}

/// A runtime filter that lets more than this share of keys pass costs more than it saves.
const USELESS_PASS_SHARE: f64 = 0.9;
/// Keys tested before that is judged.
const KEYS_BEFORE_JUDGEMENT: u64 = 50_000;

/// What the dictionary of a chunk says of all its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No value passes.
    None,
    /// Some do; or nothing was tested.
    Some,
    /// Every value passes, and NULL.
    All,
}

impl ColumnFilter {
    /// The conjunction of all that `plan` says of a column.
    pub fn new(plan: &ColumnFilterPlan) -> Self {
        let predicate = (!plan.predicates.is_empty()).then(|| Predicate::new(Expression::And(plan.predicates.clone())));
        let runtime = plan.runtime.iter().map(|slot| RuntimeTest {
            slot: Arc::clone(slot),
            filter: None,
            keys_tested: 0,
            keys_passed: 0,
            is_active: false,
        });
        let runtime: Vec<RuntimeTest> = runtime.collect();
        ColumnFilter {
            slot: plan.slot,
            predicate,
            runtime,
            range: plan.range.map(|range| RangeTest { range, keys: range.to_filter(), is_active: false }),
            table: None,
            null_passes: false,
            has_failed: false,
            rows_in: 1.0,
            rows_out: 0.3,
            scratch: Vec::new(),
        }
    }

    /// Turns to a row group, some rows of which are outside the range if `tests_range`; false when no row of it can pass.
    pub fn start_row_group(&mut self, tests_range: bool, bounds: impl FnOnce() -> Bounds) -> bool {
        self.table = None;
        if let Some(test) = &mut self.range {
            test.is_active = tests_range;
        }
        if self.runtime.is_empty() {
            return true;
        }
        let bounds = bounds();
        for test in &mut self.runtime {
            if test.filter.is_none() {
                test.filter = test.slot.get();
            }
            test.is_active = false;
            if let Some(filter) = &test.filter {
                match prune::overlap(filter, &bounds) {
                    Overlap::None => return false,
                    Overlap::All => {}
                    Overlap::Some => test.is_active = !test.is_useless(),
                }
            }
        }
        true
    }

    /// Whether there is anything to test in the current row group.
    pub fn is_active(&self) -> bool {
        self.predicate.is_some() || self.tests_keys()
    }

    fn tests_keys(&self) -> bool {
        self.range.as_ref().is_some_and(|test| test.is_active) || self.runtime.iter().any(|test| test.is_active)
    }

    /// Whether NULL passes all tests of keys.
    fn keys_take_nulls(&self) -> bool {
        !self.runtime.iter().any(|test| test.is_active)
            && self.range.as_ref().is_none_or(|test| !test.is_active || test.range.takes_nulls())
    }

    /// What a row costs (its bytes in the file) per row that this filter drops: small first.
    pub fn rank(&self, bytes_per_row: f64) -> f64 {
        if self.has_failed { f64::INFINITY } else { (bytes_per_row + 0.5) / (1.0 - self.pass_share()).max(0.001) }
    }

    /// The share of rows that passed lately.
    pub fn pass_share(&self) -> f64 {
        self.rows_out / self.rows_in
    }

    /// Takes note of what a window did.
    pub fn observe(&mut self, rows_in: usize, rows_out: usize) {
        self.rows_in += rows_in as f64;
        self.rows_out += rows_out as f64;
        if self.rows_in > 1e6 {
            self.rows_in /= 2.0;
            self.rows_out /= 2.0;
        }
    }

    /// Tests the entries of a chunk's dictionary, if that has not been done and is cheaper than testing `rows` rows.
    pub fn prepare(&mut self, dictionary: &Dictionary, rows: usize, reading: &Reading) -> Decoded<Verdict> {
        if self.table.is_some() || self.has_failed || dictionary.len() > rows {
            return Ok(Verdict::Some);
        }
        match self.test_dictionary(dictionary, reading) {
            Err(Fault::Data(_)) => {
                self.has_failed = true;
                Ok(Verdict::Some)
            }
            verdict => verdict,
        }
    }

    fn test_dictionary(&mut self, dictionary: &Dictionary, reading: &Reading) -> Decoded<Verdict> {
        let entries = dictionary.len();
        let mut table = Vec::new();
        mask::fill(&mut table, entries);
        self.null_passes = reading.is_optional;
        if let Some(predicate) = &mut self.predicate {
            let rows = entries + usize::from(reading.is_optional);
            let selection = predicate.select(&Batch::new(vec![dictionary.to_array(reading, reading.is_optional)], rows))?;
            table = selection_bits(&selection, rows);
            if reading.is_optional {
                self.null_passes = table[entries / 64] >> (entries % 64) & 1 == 1;
                table[entries / 64] &= !(1 << (entries % 64));
            }
        }
        if let Dictionary::Fixed { bytes, len } = dictionary {
            let mut keys = Lanes::new(bytes.len().checked_div(*len).unwrap_or(8));
            if self.tests_keys() {
                keys.append(bytes, *len)?;
                self.test_keys(&keys, &mut table);
            }
        }
        self.null_passes &= self.keys_take_nulls();
        let passed = mask::count(&table);
        // A code is always looked up, even in an empty dictionary.
        table.resize(table.len().max(1), 0);
        self.table = Some(table);
        Ok(match passed {
            0 if !self.null_passes => Verdict::None,
            all if all == entries && (self.null_passes || !reading.is_optional) => Verdict::All,
            _ => Verdict::Some,
        })
    }

    /// Which of the rows in `window` pass, a bit each. The result is valid until the next call.
    pub fn test_window(&mut self, window: &ColumnWindow, reading: &Reading) -> Decoded<&[u64]> {
        let mut bits = std::mem::take(&mut self.scratch);
        match (&window.dictionary, &self.table) {
            (Some(_), Some(table)) => {
                mask::test_codes(&window.codes, table, &mut bits);
                apply_validity(&mut bits, &window.validity, self.null_passes);
            }
            _ => {
                mask::fill(&mut bits, window.num_rows());
                if let Some(predicate) = &mut self.predicate {
                    let array = window.to_array(&reading.data_type);
                    let selection = predicate.select(&Batch::new(vec![array], window.num_rows()))?;
                    bits = selection_bits(&selection, window.num_rows());
                }
                if self.tests_keys() {
                    // Where a row is NULL, some key stands that means nothing.
                    let nulls = self.keys_take_nulls().then(|| bits.clone());
                    match &window.dictionary {
                        Some(dictionary) => {
                            if let Dictionary::Fixed { bytes, len } = &**dictionary {
                                let mut keys = Lanes::new(bytes.len().checked_div(*len).unwrap_or(8));
                                keys.gather(bytes, &window.codes);
                                self.test_keys(&keys, &mut bits);
                            }
                        }
                        None => self.test_keys(&window.lanes, &mut bits),
                    }
                    apply_validity(&mut bits, &window.validity, false);
                    let nulls = nulls.iter().flatten().zip(&window.validity).map(|(nulls, valid)| nulls & !valid);
                    bits.iter_mut().zip(nulls).for_each(|(bits, nulls)| *bits |= nulls);
                }
            }
        }
        self.scratch = bits;
        Ok(&self.scratch)
    }

    fn test_keys(&mut self, keys: &Lanes, bits: &mut [u64]) {
        if let Some(test) = self.range.as_ref().filter(|test| test.is_active) {
            test_lanes(keys, &test.keys, bits);
        }
        for test in self.runtime.iter_mut().filter(|test| test.is_active) {
            let Some(filter) = &test.filter else { continue };
            let before = mask::count(bits) as u64;
            test_lanes(keys, filter, bits);
            test.keys_tested += before;
            test.keys_passed += mask::count(bits) as u64;
        }
    }
}

impl RuntimeTest {
    fn is_useless(&self) -> bool {
        self.keys_tested > KEYS_BEFORE_JUDGEMENT && self.keys_passed as f64 > USELESS_PASS_SHARE * self.keys_tested as f64
    }
}

fn apply_validity(bits: &mut [u64], validity: &[u64], null_passes: bool) {
    for (bits, valid) in bits.iter_mut().zip(validity) {
        *bits = if null_passes { (*bits & valid) | !valid } else { *bits & valid };
    }
}

/// A bit per row of a selection of `rows` rows.
pub fn selection_bits(selection: &Selection, rows: usize) -> Vec<u64> {
    match selection {
        Selection::All => {
            let mut bits = Vec::new();
            mask::fill(&mut bits, rows);
            bits
        }
        Selection::None => vec![0; rows.div_ceil(64)],
        Selection::Some(buffer) => buffer_words(buffer),
    }
}

fn buffer_words(buffer: &BooleanBuffer) -> Vec<u64> {
    buffer.bit_chunks().iter_padded().take(buffer.len().div_ceil(64)).collect()
}

fn test_lanes(keys: &Lanes, filter: &RuntimeFilter, bits: &mut [u64]) {
    match keys {
        Lanes::Two(keys) => test_keys(keys, |key| i64::from(key as i16), filter, bits),
        Lanes::Four(keys) => test_keys(keys, |key| i64::from(key as i32), filter, bits),
        Lanes::Eight(keys) => test_keys(keys, |key| key as i64, filter, bits),
        // Runtime filters and ranges are of integer-like keys only.
        Lanes::Byte(_) | Lanes::Sixteen(_) => {}
    }
}

/// Clears the bits of keys that cannot match. Chunks of 64 keys of which none is left are not looked at.
fn test_keys<T: Copy>(keys: &[T], widen: impl Fn(T) -> i64, filter: &RuntimeFilter, bits: &mut [u64]) {
    if filter.min > filter.max {
        bits.fill(0);
        return;
    }
    let (min, span) = (filter.min, filter.max.wrapping_sub(filter.min) as u64);
    match &filter.members {
        Members::Unknown => each_chunk(keys, bits, |key| u64::from(widen(key).wrapping_sub(min) as u64 <= span)),
        Members::Bitmap(words) => {
            // A bitmap that does not cover its span is a mistake of ours; then any key may match.
            if (span >> 6) as usize >= words.len() {
                return;
            }
            each_chunk(keys, bits, |key| {
                let bit = widen(key).wrapping_sub(min) as u64;
                let is_inside = bit <= span;
                let word = words[if is_inside { bit >> 6 } else { 0 } as usize];
                (word >> (bit & 63)) & u64::from(is_inside)
            });
        }
        Members::Bloom(bloom) => each_chunk(keys, bits, |key| {
            let key = widen(key);
            u64::from(key.wrapping_sub(min) as u64 <= span && bloom.contains(key))
        }),
    }
}

#[inline(always)]
fn each_chunk<T: Copy>(keys: &[T], bits: &mut [u64], test: impl Fn(T) -> u64) {
    for (chunk, word) in keys.chunks(64).zip(bits) {
        if *word != 0 {
            *word &= mask::pack(chunk, &test);
        }
    }
}

/// A predicate on several columns, or one that failed on a dictionary entry: tested last, on the rows that are left.
pub struct RowFilter {
    /// Which columns of the scan, in the order of the predicate's columns.
    pub slots: Vec<usize>,
    predicate: Predicate,
}

impl RowFilter {
    /// `predicate` over columns `0 ..` that stand for `slots`.
    pub fn new(slots: Vec<usize>, predicate: Expression) -> Self {
        RowFilter { slots, predicate: Predicate::new(predicate) }
    }

    /// Which rows pass, a bit each.
    pub fn test(&mut self, batch: &Batch) -> Decoded<Vec<u64>> {
        let selection = self.predicate.select(batch).map_err(Fault::from)?;
        Ok(selection_bits(&selection, batch.num_rows()))
    }
}
