//! The structures that map a key's code to the build rows that have it, and the choice among them.
//!
//! Position: filled by [`super::build`] in parallel parts, read by [`super::probe`]. Codes are 64-bit
//! integers, see [`super::keys`].
//!
//! | structure | what it is | chosen when |
//! |---|---|---|
//! | [`Dense`](dense) | row = code − min, no memory at all | codes are consecutive and in order |
//! | [`Rank`](rank) | bitmap, prefix counts; the rank is the row, or leads to it | span ≤ 512 × rows |
//! | [`Direct`](direct) | an array from code − min to the row | span ≤ 8 × rows, or small |
//! | [`Membership`](membership) | bitmap only | nothing but membership is asked |
//! | [`Unchained`](unchained) | hash table | all else |
//! | [`Every`](every) | every row matches every probe row | no keys |
//!
//! Rows with the same code are chained in ascending order.

mod dense;
mod direct;
mod every;
mod membership;
mod rank;
pub(super) mod slots;
mod unchained;

use std::sync::Arc;

use arrow::buffer::{NullBuffer, ScalarBuffer};

use super::pairs::Pairs;

/// No row.
pub(super) const NO_ROW: u32 = u32::MAX;

/// Which structure a join uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Structure {
    Dense,
    Rank,
    Direct,
    Membership,
    Unchained,
    Every,
}

impl Structure {
    /// The counter that says in a profile which structure a join has used.
    pub(super) fn counter(self) -> &'static str {
        match self {
            Structure::Dense => "dense_tables",
            Structure::Rank => "rank_tables",
            Structure::Direct => "direct_tables",
            Structure::Membership => "bitmap_tables",
            Structure::Unchained => "hash_tables",
            Structure::Every => "row_lists",
        }
    }
}

/// The codes of the build side, in pieces; rows are numbered through all pieces.
pub(super) struct BuildCodes {
    pub pieces: Vec<CodePiece>,
    /// Rows that can match at all.
    pub num_valid: usize,
    /// Smallest and largest code among them.
    pub min: i64,
    pub max: i64,
    /// All rows can match, and each one's code is larger than that of the row before.
    pub strictly_ascending: bool,
}

/// One piece.
pub(super) struct CodePiece {
    pub first_row: u32,
    pub codes: ScalarBuffer<i64>,
    pub nulls: Option<NullBuffer>,
    pub min: i64,
    pub max: i64,
}

impl BuildCodes {
    /// How many values lie between the smallest and the largest code.
    pub(super) fn span(&self) -> u128 {
        if self.min > self.max { 0 } else { (i128::from(self.max) - i128::from(self.min) + 1) as u128 }
    }

    /// Visits every row that can match and whose code lies in `range`, in order, as `(code, row)`.
    #[inline(always)]
    pub(super) fn for_each(&self, range: CodeRange, mut visit: impl FnMut(i64, u32)) {
        for piece in self.pieces.iter().filter(|piece| range.overlaps(piece)) {
            if range.covers(piece) && piece.nulls.is_none() {
                piece.codes.iter().enumerate().for_each(|(i, code)| visit(*code, piece.first_row + i as u32));
            } else {
                for (i, code) in piece.codes.iter().enumerate() {
                    if range.contains(*code) && piece.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i)) {
                        visit(*code, piece.first_row + i as u32);
                    }
                }
            }
        }
    }

    /// As [`Self::for_each`], from the last row to the first.
    #[inline(always)]
    fn for_each_backwards(&self, range: CodeRange, mut visit: impl FnMut(i64, u32)) {
        for piece in self.pieces.iter().rev().filter(|piece| range.overlaps(piece)) {
            if range.covers(piece) && piece.nulls.is_none() {
                piece.codes.iter().enumerate().rev().for_each(|(i, code)| visit(*code, piece.first_row + i as u32));
            } else {
                for (i, code) in piece.codes.iter().enumerate().rev() {
                    if range.contains(*code) && piece.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i)) {
                        visit(*code, piece.first_row + i as u32);
                    }
                }
            }
        }
    }

    fn num_in(&self, range: CodeRange) -> usize {
        let pieces = self.pieces.iter().filter(|piece| range.overlaps(piece));
        pieces
            .map(|piece| match &piece.nulls {
                None if range.covers(piece) => piece.codes.len(),
                None => piece.codes.iter().filter(|code| range.contains(**code)).count(),
                Some(nulls) => nulls.valid_indices().filter(|i| range.contains(piece.codes[*i])).count(),
            })
            .sum()
    }
}

/// Codes from `first` to `last`, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct CodeRange {
    pub first: i64,
    pub last: i64,
}

impl CodeRange {
    /// All codes.
    pub(super) const ALL: CodeRange = CodeRange { first: i64::MIN, last: i64::MAX };

    fn contains(self, code: i64) -> bool {
        code >= self.first && code <= self.last
    }

    fn overlaps(self, piece: &CodePiece) -> bool {
        piece.min <= self.last && piece.max >= self.first
    }

    fn covers(self, piece: &CodePiece) -> bool {
        piece.min >= self.first && piece.max <= self.last
    }
}

/// The codes of a build side cut into ranges of equal width (a multiple of 128), one per part of the work.
struct CodeRanges {
    min: i64,
    max: i64,
    width: u64,
}

impl CodeRanges {
    fn new(codes: &BuildCodes, num_parts: usize) -> Self {
        let width = (codes.span().div_ceil(num_parts as u128) as u64).next_multiple_of(128);
        CodeRanges { min: codes.min, max: codes.max, width }
    }

    fn get(&self, part: usize) -> CodeRange {
        let start = i128::from(self.min) + part as i128 * i128::from(self.width);
        let end = (start + i128::from(self.width) - 1).min(i128::from(self.max));
        CodeRange { first: start.min(i128::from(i64::MAX)) as i64, last: end as i64 }
    }
}

/// Chooses the structure. `membership` says that no row is asked for, only whether there is one.
pub(super) fn choose(codes: &BuildCodes, integers: bool, membership: bool) -> Structure {
    let (count, span) = (codes.num_valid as u128, codes.span());
    if !integers {
        Structure::Unchained
    } else if codes.strictly_ascending && span == count {
        Structure::Dense
    } else if membership && fits_bitmap(codes) {
        Structure::Membership
    } else if span <= DIRECT_SPAN_SMALL || (span <= 8 * count && !codes.strictly_ascending) {
        Structure::Direct
    } else if fits_bitmap(codes) {
        Structure::Rank
    } else {
        Structure::Unchained
    }
}

/// A direct array of this many slots (256 KiB) lies within a core's cache whatever its fill.
const DIRECT_SPAN_SMALL: u128 = 1 << 16;

/// Whether a bitmap over the span of the codes is sensible: at most 128 MiB, at most 64 bytes a row, or small.
fn fits_bitmap(codes: &BuildCodes) -> bool {
    codes.span() <= 1 << 30 && codes.span() <= (512 * codes.num_valid as u128).max(1 << 20)
}

/// Whether the structure can hold the codes; a forced choice may be impossible.
#[cfg(test)]
pub(super) fn is_possible(structure: Structure, codes: &BuildCodes, integers: bool, membership: bool) -> bool {
    match structure {
        Structure::Unchained => true,
        Structure::Every => false,
        Structure::Dense => integers && codes.strictly_ascending && codes.span() == codes.num_valid as u128,
        Structure::Membership => integers && membership && fits_bitmap(codes),
        Structure::Direct => integers && codes.span() <= 1 << 26,
        Structure::Rank => integers && fits_bitmap(codes),
    }
}

/// A structure being filled. Parts are filled concurrently, each by one thread.
pub(super) enum TableBuild {
    Ready(JoinTable),
    Direct(direct::DirectBuild),
    Rank(rank::RankBuild),
    Membership(membership::MembershipBuild),
    Unchained(unchained::UnchainedBuild),
}

impl TableBuild {
    /// Prepares to fill `structure` in `num_parts` parts, a power of two.
    pub(super) fn new(structure: Structure, codes: &BuildCodes, num_rows: usize, num_parts: usize) -> Self {
        match structure {
            Structure::Every => TableBuild::Ready(JoinTable::Every(every::Every::new(num_rows))),
            Structure::Dense => TableBuild::Ready(JoinTable::Dense(dense::Dense::new(codes.min, codes.num_valid))),
            Structure::Direct => TableBuild::Direct(direct::DirectBuild::new(codes, num_rows, num_parts)),
            Structure::Rank => TableBuild::Rank(rank::RankBuild::new(codes, num_rows, num_parts)),
            Structure::Membership => TableBuild::Membership(membership::MembershipBuild::new(codes, num_parts)),
            Structure::Unchained => TableBuild::Unchained(unchained::UnchainedBuild::new(codes, num_parts)),
        }
    }

    /// Bytes that [`Self::new`] would allocate, about.
    pub(super) fn num_bytes(structure: Structure, codes: &BuildCodes, num_rows: usize) -> usize {
        let span = codes.span().min(1 << 40) as usize;
        match structure {
            Structure::Every | Structure::Dense => 0,
            Structure::Direct => 4 * (span + num_rows),
            Structure::Membership => span / 8,
            Structure::Rank if codes.strictly_ascending => span / 8 + span / 32,
            Structure::Rank => span / 8 + span / 32 + 8 * num_rows,
            Structure::Unchained => 12 * codes.num_valid + 8 * codes.num_valid.next_power_of_two(),
        }
    }

    /// Fills part `part`.
    pub(super) fn fill(&self, codes: &BuildCodes, part: usize) {
        match self {
            TableBuild::Ready(_) => {}
            TableBuild::Direct(build) => build.fill(codes, part),
            TableBuild::Rank(build) => build.fill(codes, part),
            TableBuild::Membership(build) => build.fill(codes, part),
            TableBuild::Unchained(build) => build.fill(codes, part),
        }
    }

    /// The table, when all parts are filled.
    pub(super) fn finish(self) -> JoinTable {
        match self {
            TableBuild::Ready(table) => table,
            TableBuild::Direct(build) => JoinTable::Direct(build.finish()),
            TableBuild::Rank(build) => JoinTable::Rank(build.finish()),
            TableBuild::Membership(build) => JoinTable::Membership(build.finish()),
            TableBuild::Unchained(build) => JoinTable::Unchained(build.finish()),
        }
    }
}

/// A filled structure.
pub(super) enum JoinTable {
    Every(every::Every),
    Dense(dense::Dense),
    Direct(direct::Direct),
    Rank(rank::Rank),
    Membership(membership::Membership),
    Unchained(unchained::Unchained),
}

/// Codes that a structure is told of in advance.
const PREFETCH_CODES: usize = 256;

/// What all structures answer. A handle stands for one row of a chain; 0 is the end.
trait Lookup {
    /// Fetches into the cache what the next calls for these codes will read. Only for structures whose
    /// lookups branch on what they read; where they do not, the processor overlaps them by itself.
    #[inline(always)]
    fn prefetch(&self, _codes: &[i64]) {}
    /// Whether any row has the code.
    fn has(&self, code: i64) -> bool;
    /// The first row with the code, or [`NO_ROW`].
    fn first_row(&self, code: i64) -> u32;
    /// The handle of the first row with the code.
    fn first(&self, code: i64) -> u32;
    /// The handle of the next row with the same code.
    fn next(&self, handle: u32, code: i64) -> u32;
    /// The row of a handle.
    fn row(&self, handle: u32) -> u32;
}

/// Where an interrupted lookup goes on.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cursor {
    position: usize,
    handle: u32,
}

impl Cursor {
    /// Leaves out the rest of the interrupted position's rows if it needs no more of them.
    pub(super) fn skip_if(&mut self, is_settled: impl FnOnce(usize) -> bool) {
        if self.handle != 0 && is_settled(self.position) {
            *self = Cursor { position: self.position + 1, handle: 0 };
        }
    }
}

macro_rules! dispatch {
    ($table:expr, $inner:ident => $body:expr) => {
        match $table {
            JoinTable::Every($inner) => $body,
            JoinTable::Dense($inner) => $body,
            JoinTable::Direct($inner) => $body,
            JoinTable::Rank($inner) => $body,
            JoinTable::Membership($inner) => $body,
            JoinTable::Unchained($inner) => $body,
        }
    };
}

impl JoinTable {
    /// Whether no two rows have the same code.
    pub(super) fn is_unique(&self) -> bool {
        match self {
            JoinTable::Every(table) => table.num_rows() <= 1,
            JoinTable::Dense(_) => true,
            JoinTable::Direct(table) => table.is_unique(),
            JoinTable::Rank(table) => table.is_unique(),
            JoinTable::Membership(_) => false,
            JoinTable::Unchained(table) => table.is_unique(),
        }
    }

    /// Which structure it is.
    pub(super) fn structure(&self) -> Structure {
        match self {
            JoinTable::Every(_) => Structure::Every,
            JoinTable::Dense(_) => Structure::Dense,
            JoinTable::Direct(_) => Structure::Direct,
            JoinTable::Rank(_) => Structure::Rank,
            JoinTable::Membership(_) => Structure::Membership,
            JoinTable::Unchained(_) => Structure::Unchained,
        }
    }

    /// The bitmap over the codes, from the smallest on, where the structure has one.
    pub(super) fn bitmap(&self) -> Option<Arc<[u64]>> {
        match self {
            JoinTable::Rank(table) => Some(table.bitmap()),
            JoinTable::Membership(table) => Some(table.bitmap()),
            _ => None,
        }
    }

    /// Appends the pairs of probe positions (indices into `codes`) and build rows with the same code, in
    /// probe order, from `cursor` on. Stops when there are about `limit` pairs; answers whether to call again.
    /// A table without duplicates gives all pairs at once: there are no more than codes.
    pub(super) fn lookup(&self, codes: &[i64], cursor: &mut Cursor, limit: usize, pairs: &mut Pairs) -> bool {
        if self.is_unique() {
            dispatch!(self, table => lookup_unique(table, codes, pairs));
            return false;
        }
        dispatch!(self, table => lookup_chains(table, codes, cursor, limit, pairs))
    }

    /// Appends the positions of the codes that are there (`wanted`), or of those that are not.
    pub(super) fn select(&self, codes: &[i64], wanted: bool, positions: &mut Vec<u32>) {
        dispatch!(self, table => select(table, codes, wanted, positions));
    }
}

fn lookup_unique<T: Lookup>(table: &T, codes: &[i64], pairs: &mut Pairs) {
    let Pairs { positions, rows } = pairs;
    positions.resize(codes.len(), 0);
    rows.resize(codes.len(), 0);
    let (mut position, mut count) = (0, 0);
    for codes in codes.chunks(PREFETCH_CODES) {
        table.prefetch(codes);
        for code in codes {
            let row = table.first_row(*code);
            // Written always and kept only on a match: no branch to mispredict.
            positions[count] = position;
            rows[count] = row;
            count += usize::from(row != NO_ROW);
            position += 1;
        }
    }
    positions.truncate(count);
    rows.truncate(count);
}

fn lookup_chains<T: Lookup>(table: &T, codes: &[i64], cursor: &mut Cursor, limit: usize, pairs: &mut Pairs) -> bool {
    let Cursor { mut position, mut handle } = *cursor;
    while position < codes.len() {
        let code = codes[position];
        if handle == 0 {
            if position.is_multiple_of(PREFETCH_CODES) {
                table.prefetch(&codes[position..codes.len().min(position + PREFETCH_CODES)]);
            }
            handle = table.first(code);
        }
        while handle != 0 {
            if pairs.len() >= limit {
                *cursor = Cursor { position, handle };
                return true;
            }
            pairs.push(position as u32, table.row(handle));
            handle = table.next(handle, code);
        }
        position += 1;
    }
    *cursor = Cursor { position, handle };
    false
}

fn select<T: Lookup>(table: &T, codes: &[i64], wanted: bool, positions: &mut Vec<u32>) {
    positions.resize(codes.len(), 0);
    let (mut position, mut count) = (0, 0);
    for codes in codes.chunks(PREFETCH_CODES) {
        table.prefetch(codes);
        for code in codes {
            positions[count] = position;
            count += usize::from(table.has(*code) == wanted);
            position += 1;
        }
    }
    positions.truncate(count);
}
