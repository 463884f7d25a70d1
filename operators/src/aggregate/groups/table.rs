//! A table of distinct encoded keys: gives every key a dense id, in the order of first occurrence.
//!
//! Three ways to look a key up: by an array that is indexed by the key itself, by open addressing, or not at
//! all. A table that does not look up gives every row an id of its own; that is for streams of nearly
//! distinct keys, which are cheaper to bring together later, partition by partition.
//!
//! Open addressing works in stages over a chunk of rows (hash all, find all candidates, compare all), so that
//! the cache misses of different rows overlap. A slot is 8 bytes: the upper half of the hash, and the id.

use std::ops::Range;

use super::{packed::Word, rows::RowKeys, rows::hash_bytes};

/// Encoded keys, by row of a batch or by id in a table.
pub(crate) trait Keys: Default + Send + Sync + 'static {
    /// How many.
    fn len(&self) -> usize;
    /// Key `index` hashed.
    fn hash(&self, index: usize) -> u64;
    /// Key `index` as an index; only for keys of few bits.
    fn index(&self, index: usize) -> usize;
    /// Whether key `index` equals key `other_index` of `other`.
    fn equals(&self, index: usize, other: &Self, other_index: usize) -> bool;
    /// Appends a key of `other`.
    fn push_from(&mut self, other: &Self, index: usize);
    /// Appends keys of `other`.
    fn extend_from(&mut self, other: &Self, indices: &[u32]) {
        indices.iter().for_each(|index| self.push_from(other, *index as usize));
    }
    /// Removes all keys.
    fn clear(&mut self);
    /// Bytes allocated.
    fn num_bytes(&self) -> usize;
    /// How many keys differ from the one before; `None` where comparing costs too much to find out.
    fn num_changes(&self) -> Option<usize>;
}

impl<W: Word> Keys for Vec<W> {
    fn len(&self) -> usize {
        self.len()
    }
    #[inline]
    fn hash(&self, index: usize) -> u64 {
        self[index].hash()
    }
    #[inline]
    fn index(&self, index: usize) -> usize {
        self[index].index()
    }
    #[inline]
    fn equals(&self, index: usize, other: &Self, other_index: usize) -> bool {
        self[index] == other[other_index]
    }
    #[inline]
    fn push_from(&mut self, other: &Self, index: usize) {
        self.push(other[index]);
    }
    fn extend_from(&mut self, other: &Self, indices: &[u32]) {
        self.extend(indices.iter().map(|index| other[*index as usize]));
    }
    fn clear(&mut self) {
        self.clear();
    }
    fn num_bytes(&self) -> usize {
        self.capacity() * size_of::<W>()
    }
    fn num_changes(&self) -> Option<usize> {
        Some(self.iter().zip(self.iter().skip(1)).filter(|(before, after)| before != after).count())
    }
}

impl Keys for RowKeys {
    fn len(&self) -> usize {
        self.len()
    }
    fn hash(&self, index: usize) -> u64 {
        hash_bytes(self.row(index))
    }
    fn index(&self, _index: usize) -> usize {
        0
    }
    fn equals(&self, index: usize, other: &Self, other_index: usize) -> bool {
        self.row(index) == other.row(other_index)
    }
    fn push_from(&mut self, other: &Self, index: usize) {
        self.push(other.row(index));
    }
    fn clear(&mut self) {
        self.clear();
    }
    fn num_bytes(&self) -> usize {
        self.num_bytes()
    }
    fn num_changes(&self) -> Option<usize> {
        None
    }
}

/// Rows looked up together.
const CHUNK_ROWS: usize = 1024;
const EMPTY: u32 = u32::MAX;

#[derive(Debug)]
enum Lookup {
    /// Id by key less `base`; `EMPTY` where there is none.
    Direct { ids: Vec<u32>, base: usize },
    /// Open addressing over a power of two of slots: `hash >> 32 << 32 | id + 1`, or 0.
    Hashed(Vec<u64>),
    /// Every row is a key of its own.
    Absent,
}

/// Distinct keys with dense ids.
#[derive(Debug)]
pub(crate) struct Table<K> {
    lookup: Lookup,
    keys: K,
    hashes: Vec<u64>,
}

impl<K: Keys> Table<K> {
    /// An empty table for keys whose index is in `base .. base + span`.
    pub(crate) fn direct(base: usize, span: usize) -> Self {
        Table { lookup: Lookup::Direct { ids: vec![EMPTY; span], base }, keys: K::default(), hashes: Vec::new() }
    }

    /// An empty table for any keys, with room for `num_keys`.
    pub(crate) fn hashed(num_keys: usize) -> Self {
        Table { lookup: Lookup::Hashed(vec![0; slots_for(num_keys)]), keys: K::default(), hashes: Vec::new() }
    }

    /// A table of `keys` in their order. They are all different, or never looked up.
    pub(crate) fn of_keys(keys: K, looks_up: bool) -> Self {
        let mut table = Table { lookup: Lookup::Absent, keys, hashes: Vec::new() };
        if looks_up {
            table.rehash(slots_for(table.keys.len()));
        }
        table
    }

    /// The keys, by id.
    pub(crate) fn keys(&self) -> &K {
        &self.keys
    }

    /// The keys, by id.
    pub(crate) fn into_keys(self) -> K {
        self.keys
    }

    /// Whether equal keys get the same id.
    pub(crate) fn looks_up(&self) -> bool {
        !matches!(self.lookup, Lookup::Absent)
    }

    /// Takes all keys; from then on keys are looked up, or not.
    pub(crate) fn take(&mut self, looks_up: bool) -> K {
        match &mut self.lookup {
            _ if !looks_up => self.lookup = Lookup::Absent,
            Lookup::Direct { ids, base } => (0..self.keys.len()).for_each(|id| ids[self.keys.index(id) - *base] = EMPTY),
            Lookup::Hashed(slots) => slots.fill(0),
            Lookup::Absent => self.lookup = Lookup::Hashed(vec![0; slots_for(0)]),
        }
        std::mem::take(&mut self.keys)
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        let lookup = match &self.lookup {
            Lookup::Direct { ids, .. } => ids.capacity() * size_of::<u32>(),
            Lookup::Hashed(slots) => slots.capacity() * size_of::<u64>(),
            Lookup::Absent => 0,
        };
        lookup + self.keys.num_bytes() + self.hashes.capacity() * size_of::<u64>()
    }

    /// The id of every key of `batch`, new ones where it has none yet, appended to `ids`.
    pub(crate) fn intern(&mut self, batch: &K, ids: &mut Vec<u32>) {
        match &mut self.lookup {
            Lookup::Direct { ids: by_key, base } => {
                for row in 0..batch.len() {
                    let id = &mut by_key[batch.index(row) - *base];
                    if *id == EMPTY {
                        *id = self.keys.len() as u32;
                        self.keys.push_from(batch, row);
                    }
                    ids.push(*id);
                }
            }
            Lookup::Hashed(_) => {
                for start in (0..batch.len()).step_by(CHUNK_ROWS) {
                    self.intern_chunk(batch, start..batch.len().min(start + CHUNK_ROWS), ids);
                }
            }
            Lookup::Absent => {
                let first = self.keys.len() as u32;
                ids.extend(first..first + batch.len() as u32);
                (0..batch.len()).for_each(|row| self.keys.push_from(batch, row));
            }
        }
    }

    fn intern_chunk(&mut self, batch: &K, rows: Range<usize>, ids: &mut Vec<u32>) {
        let needed = slots_for(self.keys.len() + rows.len());
        if let Lookup::Hashed(slots) = &self.lookup
            && slots.len() < needed
        {
            self.rehash(needed);
        }
        let Lookup::Hashed(slots) = &mut self.lookup else { return };
        let mask = slots.len() - 1;
        self.hashes.clear();
        self.hashes.extend(rows.clone().map(|row| batch.hash(row)));
        let first = ids.len();
        ids.extend(self.hashes.iter().map(|hash| candidate(slots[*hash as usize & mask], *hash)));
        for ((row, id), hash) in rows.zip(&mut ids[first..]).zip(&self.hashes) {
            if *id == EMPTY || !self.keys.equals(*id as usize, batch, row) {
                *id = find_or_insert(slots, mask, &mut self.keys, *hash, batch, row);
            }
        }
    }

    fn rehash(&mut self, num_slots: usize) {
        let mut slots = vec![0; num_slots];
        let mask = num_slots - 1;
        for id in 0..self.keys.len() {
            let hash = self.keys.hash(id);
            let mut slot = hash as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = entry(hash, id as u32);
        }
        self.lookup = Lookup::Hashed(slots);
    }
}

/// Slots that keep at least half of them empty.
fn slots_for(num_keys: usize) -> usize {
    (num_keys * 2).max(2 * CHUNK_ROWS).next_power_of_two()
}

#[inline]
fn entry(hash: u64, id: u32) -> u64 {
    (hash >> 32 << 32) | u64::from(id + 1)
}

/// The id in a slot if its half of the hash agrees.
#[inline]
fn candidate(slot: u64, hash: u64) -> u32 {
    if slot >> 32 == hash >> 32 { (slot as u32).wrapping_sub(1) } else { EMPTY }
}

fn find_or_insert<K: Keys>(slots: &mut [u64], mask: usize, keys: &mut K, hash: u64, batch: &K, row: usize) -> u32 {
    let mut slot = hash as usize & mask;
    // Ends: at least half of the slots are empty.
    loop {
        let found = slots[slot];
        if found == 0 {
            let id = keys.len() as u32;
            keys.push_from(batch, row);
            slots[slot] = entry(hash, id);
            return id;
        }
        let id = candidate(found, hash);
        if id != EMPTY && keys.equals(id as usize, batch, row) {
            return id;
        }
        slot = (slot + 1) & mask;
    }
}
