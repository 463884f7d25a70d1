//! An array from code − min to the first row with the code, and chains of further rows.
//!
//! For integers whose span is not much larger than their number. Probing costs one memory access, and
//! neighbouring keys stay neighbours, which hashing destroys. Slots hold row + 1; 0 says that there is none.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{BuildCodes, CodeRanges, Lookup, slots::Slots32};

/// Being filled, by disjoint ranges of codes.
pub(in crate::hash_join) struct DirectBuild {
    min: i64,
    ranges: CodeRanges,
    heads: Slots32,
    next: Slots32,
    has_duplicates: AtomicBool,
}

impl DirectBuild {
    pub(super) fn new(codes: &BuildCodes, num_rows: usize, num_parts: usize) -> Self {
        DirectBuild {
            min: codes.min,
            ranges: CodeRanges::new(codes, num_parts),
            // One more, that stays empty, for all codes outside.
            heads: Slots32::zeroed(codes.span() as usize + 1),
            next: Slots32::zeroed(num_rows),
            has_duplicates: AtomicBool::new(false),
        }
    }

    pub(super) fn fill(&self, codes: &BuildCodes, part: usize) {
        let mut has_duplicates = false;
        codes.for_each_backwards(self.ranges.get(part), |code, row| {
            let slot = code.wrapping_sub(self.min) as u64 as usize;
            let head = self.heads.get(slot);
            if head != 0 {
                self.next.set(row as usize, head);
                has_duplicates = true;
            }
            self.heads.set(slot, row + 1);
        });
        if has_duplicates {
            self.has_duplicates.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn finish(self) -> Direct {
        let next = if self.has_duplicates.into_inner() { self.next.into_words() } else { Vec::new() };
        Direct { min: self.min, heads: self.heads.into_words(), next }
    }
}

/// Filled.
pub(in crate::hash_join) struct Direct {
    min: i64,
    heads: Vec<u32>,
    /// By row; empty if no code is there twice.
    next: Vec<u32>,
}

impl Direct {
    pub(super) fn is_unique(&self) -> bool {
        self.next.is_empty()
    }
}

impl Lookup for Direct {
    #[inline(always)]
    fn has(&self, code: i64) -> bool {
        self.first(code) != 0
    }

    #[inline(always)]
    fn first_row(&self, code: i64) -> u32 {
        // 0 (none) becomes NO_ROW.
        self.first(code).wrapping_sub(1)
    }

    #[inline(always)]
    fn first(&self, code: i64) -> u32 {
        let slot = code.wrapping_sub(self.min) as u64;
        self.heads[slot.min(self.heads.len() as u64 - 1) as usize]
    }

    #[inline(always)]
    fn next(&self, handle: u32, _code: i64) -> u32 {
        self.next[handle as usize - 1]
    }

    #[inline(always)]
    fn row(&self, handle: u32) -> u32 {
        handle - 1
    }
}
