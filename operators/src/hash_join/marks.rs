//! One bit per build row, set by all chains of the probe: which rows have found a match.

use super::table::slots::Slots64;

/// A bitmap that threads set bits of.
pub(super) struct Marks {
    words: Slots64,
}

impl Marks {
    /// `num_rows` unset bits.
    pub(super) fn new(num_rows: usize) -> Self {
        Marks { words: Slots64::zeroed(num_rows.div_ceil(64)) }
    }

    /// Sets the bits of `rows`.
    pub(super) fn set_all(&self, rows: &[u32]) {
        rows.iter().for_each(|row| self.set(*row));
    }

    /// Sets one bit. A bit that is set already costs no write, so popular rows are not fought over.
    #[inline(always)]
    pub(super) fn set(&self, row: u32) {
        if !self.get(row) {
            self.words.fetch_or((row >> 6) as usize, 1 << (row & 63));
        }
    }

    /// Whether the bit is set.
    #[inline(always)]
    pub(super) fn get(&self, row: u32) -> bool {
        self.words.get((row >> 6) as usize) >> (row & 63) & 1 == 1
    }

    /// Bytes held.
    pub(super) fn num_bytes(&self) -> usize {
        8 * self.words.len()
    }
}
