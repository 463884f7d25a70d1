//! The structure of consecutive codes in ascending order: the row is the distance from the smallest code.
//!
//! An unfiltered dimension table with a serial key ends here, whatever its size.

use super::{Lookup, NO_ROW};

/// Codes `min .. min + num_rows`, in the order of the rows.
pub(in crate::hash_join) struct Dense {
    min: i64,
    num_rows: u64,
}

impl Dense {
    pub(super) fn new(min: i64, num_rows: usize) -> Self {
        Dense { min, num_rows: num_rows as u64 }
    }
}

impl Lookup for Dense {
    #[inline(always)]
    fn has(&self, code: i64) -> bool {
        (code.wrapping_sub(self.min) as u64) < self.num_rows
    }

    #[inline(always)]
    fn first_row(&self, code: i64) -> u32 {
        let row = code.wrapping_sub(self.min) as u64;
        if row < self.num_rows { row as u32 } else { NO_ROW }
    }

    #[inline(always)]
    fn first(&self, code: i64) -> u32 {
        self.first_row(code).wrapping_add(1)
    }

    #[inline(always)]
    fn next(&self, _handle: u32, _code: i64) -> u32 {
        0
    }

    #[inline(always)]
    fn row(&self, handle: u32) -> u32 {
        handle - 1
    }
}
