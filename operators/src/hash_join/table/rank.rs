//! The rank index: a bitmap over the codes with counts of the bits before, so that a code's rank among the
//! build side's codes is two memory accesses away.
//!
//! Where the build side came in ascending order of distinct codes, the rank *is* the row; else an array of
//! ranks leads to the first row, and chains to further ones. For sparse integer keys: 1.5 million of 60
//! million need 9 MiB, of which clustered probes touch a little at a time, and the bitmap serves as the
//! exact runtime filter.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    BuildCodes, CodeRanges, Lookup, NO_ROW,
    slots::{Slots32, Slots64},
};

/// Being filled, by disjoint ranges of codes that begin and end at blocks of 128.
pub(in crate::hash_join) struct RankBuild {
    min: i64,
    ranges: CodeRanges,
    /// Rows in the parts before each part: no rank of the part is smaller.
    first_ranks: Vec<u32>,
    words: Slots64,
    /// One per two words.
    ranks: Slots32,
    is_identity: bool,
    heads: Slots32,
    next: Slots32,
    has_duplicates: AtomicBool,
}

impl RankBuild {
    pub(super) fn new(codes: &BuildCodes, num_rows: usize, num_parts: usize) -> Self {
        let ranges = CodeRanges::new(codes, num_parts);
        let mut rank = 0;
        let first_ranks = (0..num_parts)
            .map(|part| {
                let first = rank;
                if part + 1 < num_parts {
                    rank += codes.num_in(ranges.get(part)) as u32;
                }
                first
            })
            .collect();
        // Two more words, that stay empty, for all codes outside.
        let num_words = codes.span().div_ceil(128) as usize * 2 + 2;
        let is_identity = codes.strictly_ascending;
        RankBuild {
            min: codes.min,
            ranges,
            first_ranks,
            words: Slots64::zeroed(num_words),
            ranks: Slots32::zeroed(num_words / 2),
            is_identity,
            heads: Slots32::zeroed(if is_identity { 0 } else { codes.num_valid }),
            next: Slots32::zeroed(if is_identity { 0 } else { num_rows }),
            has_duplicates: AtomicBool::new(false),
        }
    }

    pub(super) fn fill(&self, codes: &BuildCodes, part: usize) {
        let range = self.ranges.get(part);
        if range.first > range.last {
            return;
        }
        codes.for_each(range, |code, _row| {
            let bit = code.wrapping_sub(self.min) as u64;
            let word = (bit >> 6) as usize;
            self.words.set(word, self.words.get(word) | 1 << (bit & 63));
        });
        let first_block = (range.first.wrapping_sub(self.min) as u64 / 128) as usize;
        let last_block = (range.last.wrapping_sub(self.min) as u64 / 128) as usize;
        let mut rank = self.first_ranks[part];
        for block in first_block..=last_block {
            self.ranks.set(block, rank);
            rank += self.words.get(2 * block).count_ones() + self.words.get(2 * block + 1).count_ones();
        }
        if !self.is_identity {
            self.fill_heads(codes, part);
        }
    }

    fn fill_heads(&self, codes: &BuildCodes, part: usize) {
        let mut has_duplicates = false;
        codes.for_each_backwards(self.ranges.get(part), |code, row| {
            let bit = code.wrapping_sub(self.min) as u64;
            let word = (bit >> 6) as usize;
            let rank = rank_of(bit, self.words.get(word), self.words.get(word & !1), self.ranks.get(word / 2));
            let head = self.heads.get(rank as usize);
            if head != 0 {
                self.next.set(row as usize, head);
                has_duplicates = true;
            }
            self.heads.set(rank as usize, row + 1);
        });
        if has_duplicates {
            self.has_duplicates.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn finish(self) -> Rank {
        Rank {
            min: self.min,
            words: self.words.into_words().into(),
            ranks: self.ranks.into_words(),
            heads: self.heads.into_words(),
            next: if self.has_duplicates.into_inner() { self.next.into_words() } else { Vec::new() },
        }
    }
}

// `word` holds the bit, `even_word` begins its block.
#[inline(always)]
fn rank_of(bit: u64, word: u64, even_word: u64, block_rank: u32) -> u32 {
    let before_in_word = (word & ((1 << (bit & 63)) - 1)).count_ones();
    let before_in_block = if bit & 64 != 0 { even_word.count_ones() } else { 0 };
    block_rank + before_in_block + before_in_word
}

/// Filled.
pub(in crate::hash_join) struct Rank {
    min: i64,
    words: Arc<[u64]>,
    ranks: Vec<u32>,
    /// By rank, row + 1; empty if the rank is the row.
    heads: Vec<u32>,
    /// By row; empty if no code is there twice.
    next: Vec<u32>,
}

impl Rank {
    pub(super) fn is_unique(&self) -> bool {
        self.next.is_empty()
    }

    pub(super) fn bitmap(&self) -> Arc<[u64]> {
        Arc::clone(&self.words)
    }
}

impl Lookup for Rank {
    #[inline(always)]
    fn has(&self, code: i64) -> bool {
        let bit = code.wrapping_sub(self.min) as u64;
        let word = (bit >> 6).min(self.words.len() as u64 - 1);
        self.words[word as usize] >> (bit & 63) & 1 == 1
    }

    #[inline(always)]
    fn first_row(&self, code: i64) -> u32 {
        let bit = code.wrapping_sub(self.min) as u64;
        let index = (bit >> 6).min(self.words.len() as u64 - 1) as usize;
        let word = self.words[index];
        if word >> (bit & 63) & 1 == 0 {
            return NO_ROW;
        }
        let rank = rank_of(bit, word, self.words[index & !1], self.ranks[index / 2]);
        if self.heads.is_empty() { rank } else { self.heads[rank as usize] - 1 }
    }

    #[inline(always)]
    fn first(&self, code: i64) -> u32 {
        self.first_row(code).wrapping_add(1)
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
