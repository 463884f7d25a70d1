//! A bitmap over the codes, for joins that only ask whether there is a match.

use std::sync::Arc;

use super::{BuildCodes, CodeRanges, Lookup, slots::Slots64};

/// Being filled, by disjoint ranges of codes that begin and end at word boundaries.
pub(in crate::hash_join) struct MembershipBuild {
    min: i64,
    ranges: CodeRanges,
    words: Slots64,
}

impl MembershipBuild {
    pub(super) fn new(codes: &BuildCodes, num_parts: usize) -> Self {
        // One more word, that stays empty, for all codes outside.
        let words = Slots64::zeroed(codes.span().div_ceil(64) as usize + 1);
        MembershipBuild { min: codes.min, ranges: CodeRanges::new(codes, num_parts), words }
    }

    pub(super) fn fill(&self, codes: &BuildCodes, part: usize) {
        codes.for_each(self.ranges.get(part), |code, _row| {
            let bit = code.wrapping_sub(self.min) as u64;
            let word = (bit >> 6) as usize;
            self.words.set(word, self.words.get(word) | 1 << (bit & 63));
        });
    }

    pub(super) fn finish(self) -> Membership {
        Membership { min: self.min, words: self.words.into_words().into() }
    }
}

/// Filled. Has no rows: handles lead nowhere.
pub(in crate::hash_join) struct Membership {
    min: i64,
    words: Arc<[u64]>,
}

impl Membership {
    pub(super) fn bitmap(&self) -> Arc<[u64]> {
        Arc::clone(&self.words)
    }
}

impl Lookup for Membership {
    #[inline(always)]
    fn has(&self, code: i64) -> bool {
        let bit = code.wrapping_sub(self.min) as u64;
        let word = (bit >> 6).min(self.words.len() as u64 - 1);
        self.words[word as usize] >> (bit & 63) & 1 == 1
    }

    fn first_row(&self, code: i64) -> u32 {
        self.first(code).wrapping_sub(1)
    }

    fn first(&self, code: i64) -> u32 {
        u32::from(self.has(code))
    }

    fn next(&self, _handle: u32, _code: i64) -> u32 {
        0
    }

    fn row(&self, handle: u32) -> u32 {
        handle - 1
    }
}
