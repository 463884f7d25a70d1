//! The structure of joins without keys: every build row matches every code.

use super::{Lookup, NO_ROW};

/// Rows `0..num_rows`, all in one chain.
pub(in crate::hash_join) struct Every {
    num_rows: u32,
}

impl Every {
    pub(super) fn new(num_rows: usize) -> Self {
        Every { num_rows: num_rows as u32 }
    }

    pub(super) fn num_rows(&self) -> u32 {
        self.num_rows
    }
}

impl Lookup for Every {
    fn has(&self, _code: i64) -> bool {
        self.num_rows > 0
    }

    fn first_row(&self, _code: i64) -> u32 {
        if self.num_rows > 0 { 0 } else { NO_ROW }
    }

    fn first(&self, _code: i64) -> u32 {
        self.num_rows.min(1)
    }

    #[inline(always)]
    fn next(&self, handle: u32, _code: i64) -> u32 {
        if handle < self.num_rows { handle + 1 } else { 0 }
    }

    #[inline(always)]
    fn row(&self, handle: u32) -> u32 {
        handle - 1
    }
}
