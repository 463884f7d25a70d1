//! The complete build side: its rows, the structure that finds them, and what the probe notes about them.
//!
//! Position: made once by [`super::finish`], shared by all chains of the probe and by [`super::unmatched`].

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::ArrayRef;
use pipelines::Reservation;

use super::{
    keys::{KeyColumn, KeyForm},
    marks::Marks,
    table::JoinTable,
};

/// The build side. Rows are numbered from 0.
pub(super) struct BuildSide {
    pub num_rows: usize,
    /// Whether any row could match a probe row.
    pub has_matchable_rows: bool,
    /// The kept columns, in the order of [`super::Join::stored`].
    pub columns: Vec<ArrayRef>,
    pub table: JoinTable,
    pub form: KeyForm,
    /// Key columns, where codes have to be verified or NULL logic needs them.
    pub keys: Vec<KeyColumn>,
    /// Rows with a NULL key, for marks.
    pub null_key_rows: Vec<u32>,
    /// Rows with a match, where build rows come out by themselves.
    pub matched: Option<Marks>,
    /// Rows whose mark is NULL unless they have a match.
    pub unknown: Option<Marks>,
    /// For marks of build rows: whether there was any probe row.
    pub saw_probe_row: AtomicBool,
    /// For marks of build rows: whether a probe row had a NULL key.
    pub saw_null_probe_key: AtomicBool,
    pub num_bytes: usize,
    pub _reservation: Option<Reservation>,
}

impl BuildSide {
    /// Notes for marks of build rows what kinds of probe rows there were.
    pub(super) fn note_probe_rows(&self, has_null_key: bool) {
        self.saw_probe_row.store(true, Ordering::Relaxed);
        if has_null_key {
            self.saw_null_probe_key.store(true, Ordering::Relaxed);
        }
    }
}
