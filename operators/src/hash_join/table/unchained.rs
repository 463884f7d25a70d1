//! The unchained hash table (Birler, Schmidt, Fent, Neumann: "Simple, Efficient, and Robust Hash Tables for
//! Join Processing", DaMoN 2024): a directory of slots into one array of entries sorted by slot.
//!
//! A directory word holds the end of its slot's entries in the upper 48 bits and a bloom filter of 16 bits
//! over their hashes in the lower: a probe without a match mostly costs one access to the directory. Entries
//! with the same code lie side by side, in the order of their rows; no pointers are followed.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::{super::hashing::hash_u64, BuildCodes, CodeRange, Lookup, NO_ROW, slots::Slots64};

/// An entry: the code in two halves, then the row. 12 bytes, so that five fit into a cache line.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    code: [u32; 2],
    row: u32,
}

impl Entry {
    #[inline(always)]
    fn new(code: i64, row: u32) -> Self {
        Entry { code: [code as u32, (code as u64 >> 32) as u32], row }
    }

    #[inline(always)]
    fn code(&self) -> i64 {
        (u64::from(self.code[0]) | u64::from(self.code[1]) << 32) as i64
    }
}

// The slot comes from the upper bits of the hash, the bloom filter's bits from the lower.
#[inline(always)]
fn bloom_bits(hash: u64) -> u64 {
    (1 << (hash & 15)) | (1 << ((hash >> 4) & 15)) | (1 << ((hash >> 8) & 15)) | (1 << ((hash >> 12) & 15))
}

const BLOOM_BITS: u32 = 16;

/// Being filled, by disjoint ranges of slots.
pub(in crate::hash_join) struct UnchainedBuild {
    shift: u32,
    /// Parts take the upper bits of the slot.
    part_shift: u32,
    /// Where each part's entries begin.
    starts: Vec<usize>,
    directory: Slots64,
    /// One per part.
    entries: Vec<Mutex<Vec<Entry>>>,
    has_duplicates: AtomicBool,
}

impl UnchainedBuild {
    pub(super) fn new(codes: &BuildCodes, num_parts: usize) -> Self {
        let num_slots = codes.num_valid.max(num_parts).next_power_of_two().max(2);
        let shift = u64::BITS - num_slots.ilog2();
        let part_shift = num_slots.ilog2() - num_parts.ilog2();
        let mut counts = vec![0; num_parts];
        if num_parts == 1 {
            counts[0] = codes.num_valid;
        } else {
            codes.for_each(CodeRange::ALL, |code, _row| counts[(hash_u64(code as u64) >> shift >> part_shift) as usize] += 1);
        }
        let mut starts = Vec::with_capacity(num_parts + 1);
        starts.push(0);
        counts.iter().for_each(|count| starts.push(starts[starts.len() - 1] + count));
        UnchainedBuild {
            shift,
            part_shift,
            starts,
            directory: Slots64::zeroed(num_slots + 1),
            entries: (0..num_parts).map(|_| Mutex::default()).collect(),
            has_duplicates: AtomicBool::new(false),
        }
    }

    pub(super) fn fill(&self, codes: &BuildCodes, part: usize) {
        let count = self.starts[part + 1] - self.starts[part];
        let first_slot = part << self.part_shift;
        let last_slot = ((part + 1) << self.part_shift) - 1;
        let base = self.starts[part] as u64;
        // Counts per slot, in the directory itself.
        let mut mine = Vec::with_capacity(count);
        codes.for_each(CodeRange::ALL, |code, row| {
            let hash = hash_u64(code as u64);
            let slot = (hash >> self.shift) as usize;
            if slot >= first_slot && slot <= last_slot {
                self.directory.set(slot + 1, (self.directory.get(slot + 1) + (1 << BLOOM_BITS)) | bloom_bits(hash));
                mine.push((slot as u32, Entry::new(code, row)));
            }
        });
        // Counts become the places where the slots begin; placing the entries moves them to the ends.
        let mut start = base;
        for slot in first_slot..=last_slot {
            let word = self.directory.get(slot + 1);
            self.directory.set(slot + 1, (start << BLOOM_BITS) | (word & ((1 << BLOOM_BITS) - 1)));
            start += word >> BLOOM_BITS;
        }
        let mut entries = vec![Entry::default(); count];
        for (slot, entry) in mine {
            let word = self.directory.get(slot as usize + 1);
            entries[((word >> BLOOM_BITS) - base) as usize] = entry;
            self.directory.set(slot as usize + 1, word + (1 << BLOOM_BITS));
        }
        if self.group_codes(&mut entries, first_slot..last_slot + 1, base) {
            self.has_duplicates.store(true, Ordering::Relaxed);
        }
        *self.entries[part].lock().unwrap_or_else(PoisonError::into_inner) = entries;
    }

    // Brings equal codes of a slot side by side; answers whether there are any.
    fn group_codes(&self, entries: &mut [Entry], slots: std::ops::Range<usize>, base: u64) -> bool {
        let mut has_duplicates = false;
        let mut start = 0;
        for slot in slots {
            let end = ((self.directory.get(slot + 1) >> BLOOM_BITS) - base) as usize;
            let group = &mut entries[start..end];
            if group.len() > 1 {
                // Stable: rows stay in order.
                group.sort_by_key(Entry::code);
                has_duplicates |= group.windows(2).any(|pair| pair[0].code == pair[1].code);
            }
            start = end;
        }
        has_duplicates
    }

    pub(super) fn finish(self) -> Unchained {
        let mut parts = self.entries.into_iter().map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner));
        let mut entries = parts.next().unwrap_or_default();
        entries.reserve_exact(self.starts[self.starts.len() - 1] - entries.len());
        parts.for_each(|part| entries.extend_from_slice(&part));
        Unchained { shift: self.shift, directory: self.directory.into_words(), entries, has_duplicates: self.has_duplicates.into_inner() }
    }
}

/// Filled.
pub(in crate::hash_join) struct Unchained {
    shift: u32,
    /// Word `slot + 1` belongs to `slot`; word 0 is the beginning.
    directory: Vec<u64>,
    entries: Vec<Entry>,
    has_duplicates: bool,
}

/// Below this, directory and entries lie in the cache and prefetching only costs.
const PREFETCH_BYTES: usize = 1 << 20;

impl Unchained {
    pub(super) fn is_unique(&self) -> bool {
        !self.has_duplicates
    }

    // The index of the first entry with the code.
    #[inline(always)]
    fn find(&self, code: i64) -> Option<usize> {
        let hash = hash_u64(code as u64);
        let slot = (hash >> self.shift) as usize;
        let word = self.directory[slot + 1];
        let bits = bloom_bits(hash);
        if word & bits != bits {
            return None;
        }
        let start = (self.directory[slot] >> BLOOM_BITS) as usize;
        let end = (word >> BLOOM_BITS) as usize;
        self.entries[start..end].iter().position(|entry| entry.code() == code).map(|index| start + index)
    }
}

#[inline(always)]
fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and faults nowhere; the place is a live reference besides.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

impl Lookup for Unchained {
    fn prefetch(&self, codes: &[i64]) {
        if size_of_val::<[u64]>(&self.directory) < PREFETCH_BYTES {
            return;
        }
        for code in codes {
            prefetch(&self.directory[(hash_u64(*code as u64) >> self.shift) as usize]);
        }
        for code in codes {
            let hash = hash_u64(*code as u64);
            let slot = (hash >> self.shift) as usize;
            let bits = bloom_bits(hash);
            if self.directory[slot + 1] & bits == bits
                && let Some(entry) = self.entries.get((self.directory[slot] >> BLOOM_BITS) as usize)
            {
                prefetch(entry);
            }
        }
    }

    #[inline(always)]
    fn has(&self, code: i64) -> bool {
        self.find(code).is_some()
    }

    #[inline(always)]
    fn first_row(&self, code: i64) -> u32 {
        self.find(code).map_or(NO_ROW, |index| self.entries[index].row)
    }

    #[inline(always)]
    fn first(&self, code: i64) -> u32 {
        self.find(code).map_or(0, |index| index as u32 + 1)
    }

    #[inline(always)]
    fn next(&self, handle: u32, code: i64) -> u32 {
        match self.entries.get(handle as usize) {
            Some(entry) if entry.code() == code => handle + 1,
            _ => 0,
        }
    }

    #[inline(always)]
    fn row(&self, handle: u32) -> u32 {
        self.entries[handle as usize - 1].row
    }
}
