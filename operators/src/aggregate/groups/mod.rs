//! Groups: turns the key columns of batches into dense group ids.
//!
//! | keys | encoded as | looked up in |
//! |---|---|---|
//! | none | – | – |
//! | integers, dates, short decimals, floats, texts with dictionaries; few codes | bit fields of one integer | an array indexed by it |
//! | the same, many codes | bit fields of 64 or 128 bits | open addressing |
//! | anything else | byte strings | open addressing |
//!
//! Position: the first half of [`super::build`]; also what DISTINCT and set operations deduplicate with.
//! Bounds and absent NULLs are guesses: when one fails, the keys seen so far are encoded anew ([`plan`]) and
//! keep their ids.

pub(crate) mod packed;
pub(crate) mod plan;
pub(crate) mod rows;
pub(crate) mod runs;
pub(crate) mod sketch;
pub(crate) mod strings;
pub(crate) mod table;

use std::{ops::Range, sync::Arc};

use arrow::array::ArrayRef;

pub(crate) use plan::{KeyColumn, KeyPlan};

use self::{
    plan::Encoding,
    rows::RowKeys,
    runs::KeyBatch,
    strings::LocalStrings,
    table::{Keys, Table},
};
use crate::Result;

/// Keys in one of the encodings.
#[derive(Debug)]
pub(crate) enum EncodedKeys {
    /// That many groups without keys; at most one.
    Unit(usize),
    /// By [`Encoding::Packed64`].
    Packed64(Vec<u64>),
    /// By [`Encoding::Packed128`].
    Packed128(Vec<u128>),
    /// By [`Encoding::Rows`].
    Rows(RowKeys),
}

impl EncodedKeys {
    /// No keys, encoded as `encoding` says.
    pub(crate) fn empty(encoding: &Encoding) -> Self {
        match encoding {
            Encoding::Unit => EncodedKeys::Unit(0),
            Encoding::Packed64(_) => EncodedKeys::Packed64(Vec::new()),
            Encoding::Packed128(_) => EncodedKeys::Packed128(Vec::new()),
            Encoding::Rows => EncodedKeys::Rows(RowKeys::default()),
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        match self {
            EncodedKeys::Unit(len) => *len,
            EncodedKeys::Packed64(keys) => keys.len(),
            EncodedKeys::Packed128(keys) => keys.len(),
            EncodedKeys::Rows(keys) => keys.len(),
        }
    }

    /// Appends keys of `other`, which has the same encoding.
    pub(crate) fn extend_from(&mut self, other: &EncodedKeys, indices: &[u32]) {
        match (self, other) {
            (EncodedKeys::Unit(len), EncodedKeys::Unit(other)) => *len = (*len).max(*other),
            (EncodedKeys::Packed64(keys), EncodedKeys::Packed64(other)) => keys.extend_from(other, indices),
            (EncodedKeys::Packed128(keys), EncodedKeys::Packed128(other)) => keys.extend_from(other, indices),
            (EncodedKeys::Rows(keys), EncodedKeys::Rows(other)) => keys.extend_from(other, indices),
            _ => unreachable!("keys of different encodings are never brought together"),
        }
    }

    /// The key columns of `range`.
    pub(crate) fn decode(&self, plan: &KeyPlan, level: usize, range: Range<usize>) -> Result<Vec<ArrayRef>> {
        match (self, plan.encoding(level)) {
            (EncodedKeys::Packed64(keys), Encoding::Packed64(packing)) => packing.decode(&keys[range]),
            (EncodedKeys::Packed128(keys), Encoding::Packed128(packing)) => packing.decode(&keys[range]),
            (EncodedKeys::Rows(keys), _) => keys.decode(&plan.types(), range),
            _ => Ok(Vec::new()),
        }
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        match self {
            EncodedKeys::Unit(_) => 0,
            EncodedKeys::Packed64(keys) => keys.num_bytes(),
            EncodedKeys::Packed128(keys) => keys.num_bytes(),
            EncodedKeys::Rows(keys) => keys.num_bytes(),
        }
    }

    /// Hands out every key's hash.
    fn for_each_hash(&self, take: impl FnMut(u64)) {
        fn hashes<K: Keys>(keys: &K, take: impl FnMut(u64)) {
            (0..keys.len()).map(|index| keys.hash(index)).for_each(take);
        }
        match self {
            EncodedKeys::Unit(_) => {}
            EncodedKeys::Packed64(keys) => hashes(keys, take),
            EncodedKeys::Packed128(keys) => hashes(keys, take),
            EncodedKeys::Rows(keys) => hashes(keys, take),
        }
    }

    /// Replaces `partitions` by the partition of every key, one of `1 << partition_bits`. Equal keys of one
    /// encoding get the same.
    pub(crate) fn partition(&self, plan: &KeyPlan, level: usize, partition_bits: u32, partitions: &mut Vec<u32>) {
        fn by_hash<K: Keys>(keys: &K, bits: u32, partitions: &mut Vec<u32>) {
            partitions.extend((0..keys.len()).map(|index| (keys.hash(index) >> (64 - bits)) as u32));
        }
        partitions.clear();
        match self {
            EncodedKeys::Unit(len) => partitions.resize(*len, 0),
            EncodedKeys::Packed64(keys) => match plan.range_bits(level) {
                Some(bits) => {
                    let shift = bits.saturating_sub(partition_bits);
                    partitions.extend(keys.iter().map(|key| (key >> shift) as u32));
                }
                None => by_hash(keys, partition_bits, partitions),
            },
            EncodedKeys::Packed128(keys) => by_hash(keys, partition_bits, partitions),
            EncodedKeys::Rows(keys) => by_hash(keys, partition_bits, partitions),
        }
    }
}

/// A table of groups in one of the encodings.
#[derive(Debug)]
enum AnyTable {
    Unit(usize),
    Packed64(Table<Vec<u64>>, KeyBatch<Vec<u64>>),
    Packed128(Table<Vec<u128>>, KeyBatch<Vec<u128>>),
    Rows(Table<RowKeys>, KeyBatch<RowKeys>),
}

/// The groups that one chain has met.
#[derive(Debug)]
pub(crate) struct Groups {
    plan: Arc<KeyPlan>,
    level: usize,
    /// Made when the first batch comes.
    table: Option<AnyTable>,
    strings: Vec<LocalStrings>,
}

impl Groups {
    /// No groups; without keys, the one group that there always is.
    pub(crate) fn new(plan: Arc<KeyPlan>) -> Self {
        let table = (plan.num_columns() == 0).then_some(AnyTable::Unit(1));
        let strings = (0..plan.num_columns()).map(|_| LocalStrings::default()).collect();
        Groups { plan, level: 0, table, strings }
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        match &self.table {
            None => 0,
            Some(AnyTable::Unit(len)) => *len,
            Some(AnyTable::Packed64(table, _)) => table.keys().len(),
            Some(AnyTable::Packed128(table, _)) => table.keys().len(),
            Some(AnyTable::Rows(table, _)) => table.keys().len(),
        }
    }

    /// Which step of the plan's ladder the keys are encoded by.
    pub(crate) fn level(&self) -> usize {
        self.level
    }

    /// Whether equal keys get the same id; see [`Groups::take`].
    pub(crate) fn looks_up(&self) -> bool {
        match &self.table {
            None | Some(AnyTable::Unit(_)) => true,
            Some(AnyTable::Packed64(table, _)) => table.looks_up(),
            Some(AnyTable::Packed128(table, _)) => table.looks_up(),
            Some(AnyTable::Rows(table, _)) => table.looks_up(),
        }
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        match &self.table {
            None | Some(AnyTable::Unit(_)) => 0,
            Some(AnyTable::Packed64(table, _)) => table.num_bytes(),
            Some(AnyTable::Packed128(table, _)) => table.num_bytes(),
            Some(AnyTable::Rows(table, _)) => table.num_bytes(),
        }
    }

    /// Replaces `ids` by the group id of every row of `keys`; new groups get the next ids, in the order in
    /// which they occur. Answers how many lookups that took.
    ///
    /// # Errors
    /// Internal ones: when a column has not the type that was planned.
    pub(crate) fn assign(&mut self, keys: &[ArrayRef], num_rows: usize, ids: &mut Vec<u32>) -> Result<usize> {
        self.plan.prepare(keys);
        while !self.encode(keys)? {
            self.widen(self.level + 1)?;
        }
        Ok(match self.table() {
            AnyTable::Unit(_) => {
                ids.clear();
                ids.resize(num_rows, 0);
                1
            }
            AnyTable::Packed64(table, batch) => batch.assign(table, ids),
            AnyTable::Packed128(table, batch) => batch.assign(table, ids),
            AnyTable::Rows(table, batch) => batch.assign(table, ids),
        })
    }

    /// Encodes a batch's keys into the table's batch; answers whether they fit the encoding.
    fn encode(&mut self, keys: &[ArrayRef]) -> Result<bool> {
        self.table();
        let encoding = self.plan.encoding(self.level);
        let strings = &mut self.strings;
        Ok(match (&mut self.table, encoding) {
            (Some(AnyTable::Packed64(_, batch)), Encoding::Packed64(packing)) => packing.encode(keys, strings, &mut batch.keys)?.is_ok(),
            (Some(AnyTable::Packed128(_, batch)), Encoding::Packed128(packing)) => packing.encode(keys, strings, &mut batch.keys)?.is_ok(),
            (Some(AnyTable::Rows(_, batch)), _) => {
                batch.keys.encode(keys)?;
                true
            }
            _ => true,
        })
    }

    /// Encodes the keys anew by step `level` of the ladder, if that is higher; ids stay.
    pub(crate) fn widen(&mut self, level: usize) -> Result<()> {
        if level <= self.level {
            return Ok(());
        }
        let looks_up = self.looks_up();
        let keys = self.take(true);
        let keys = recode(keys, &self.plan, self.level, level)?;
        self.level = level;
        self.table = Some(match keys {
            EncodedKeys::Unit(len) => AnyTable::Unit(len),
            EncodedKeys::Packed64(keys) => AnyTable::Packed64(Table::of_keys(keys, looks_up), KeyBatch::default()),
            EncodedKeys::Packed128(keys) => AnyTable::Packed128(Table::of_keys(keys, looks_up), KeyBatch::default()),
            EncodedKeys::Rows(keys) => AnyTable::Rows(Table::of_keys(keys, looks_up), KeyBatch::default()),
        });
        Ok(())
    }

    /// Takes all keys, by id, and leaves an empty table that looks keys up, or gives every row an id of its own.
    pub(crate) fn take(&mut self, looks_up: bool) -> EncodedKeys {
        match &mut self.table {
            None => EncodedKeys::empty(self.plan.encoding(self.level)),
            Some(AnyTable::Unit(len)) => EncodedKeys::Unit(*len),
            Some(AnyTable::Packed64(table, _)) => EncodedKeys::Packed64(table.take(looks_up)),
            Some(AnyTable::Packed128(table, _)) => EncodedKeys::Packed128(table.take(looks_up)),
            Some(AnyTable::Rows(table, _)) => EncodedKeys::Rows(table.take(looks_up)),
        }
    }

    /// The key columns of groups `range`.
    pub(crate) fn decode(&self, range: Range<usize>) -> Result<Vec<ArrayRef>> {
        match (&self.table, self.plan.encoding(self.level)) {
            (Some(AnyTable::Packed64(table, _)), Encoding::Packed64(packing)) => packing.decode(&table.keys()[range]),
            (Some(AnyTable::Packed128(table, _)), Encoding::Packed128(packing)) => packing.decode(&table.keys()[range]),
            (Some(AnyTable::Rows(table, _)), _) => table.keys().decode(&self.plan.types(), range),
            _ => Ok(Vec::new()),
        }
    }

    fn table(&mut self) -> &mut AnyTable {
        let (plan, level) = (&self.plan, self.level);
        self.table.get_or_insert_with(|| match plan.encoding(level) {
            Encoding::Unit => AnyTable::Unit(1),
            Encoding::Packed64(_) => {
                let table = plan.index_bits(level).map_or_else(|| Table::hashed(0), |bits| Table::direct(0, 1 << bits));
                AnyTable::Packed64(table, KeyBatch::default())
            }
            Encoding::Packed128(_) => AnyTable::Packed128(Table::hashed(0), KeyBatch::default()),
            Encoding::Rows => AnyTable::Rows(Table::hashed(0), KeyBatch::default()),
        })
    }
}

/// Keys of step `level` of the ladder, encoded by step `to`.
pub(crate) fn recode(keys: EncodedKeys, plan: &KeyPlan, level: usize, to: usize) -> Result<EncodedKeys> {
    if level == to || matches!(keys, EncodedKeys::Unit(_)) {
        return Ok(keys);
    }
    if keys.len() == 0 {
        return Ok(EncodedKeys::empty(plan.encoding(to)));
    }
    let columns = keys.decode(plan, level, 0..keys.len())?;
    let mut strings: Vec<LocalStrings> = columns.iter().map(|_| LocalStrings::default()).collect();
    Ok(match plan.encoding(to) {
        Encoding::Packed64(packing) => {
            let mut keys = Vec::new();
            check(packing.encode(&columns, &mut strings, &mut keys)?)?;
            EncodedKeys::Packed64(keys)
        }
        Encoding::Packed128(packing) => {
            let mut keys = Vec::new();
            check(packing.encode(&columns, &mut strings, &mut keys)?)?;
            EncodedKeys::Packed128(keys)
        }
        Encoding::Rows | Encoding::Unit => {
            let mut rows = RowKeys::default();
            rows.encode(&columns)?;
            EncodedKeys::Rows(rows)
        }
    })
}

// A wider encoding holds what a narrower one held.
fn check(fit: Result<(), packed::Misfit>) -> Result<()> {
    fit.map_err(|_| crate::Error::Internal("a wider key encoding is narrower".to_owned()))
}

/// Ids for encoded keys of several pieces that are merged.
#[derive(Debug)]
pub(crate) struct Merger(AnyTable);

impl Merger {
    /// An empty table for about `num_keys` keys of step `level`. `partition`: the keys are those of that
    /// partition of `1 << bits`.
    pub(crate) fn new(plan: &KeyPlan, level: usize, num_keys: usize, partition: Option<(usize, u32)>) -> Self {
        Merger(match plan.encoding(level) {
            Encoding::Unit => AnyTable::Unit(0),
            Encoding::Packed64(_) => {
                let range = partition.and_then(|partition| range_of(plan, level, num_keys, partition));
                let table = range.map_or_else(|| Table::hashed(num_keys), |(base, span)| Table::direct(base, span));
                AnyTable::Packed64(table, KeyBatch::default())
            }
            Encoding::Packed128(_) => AnyTable::Packed128(Table::hashed(num_keys), KeyBatch::default()),
            Encoding::Rows => AnyTable::Rows(Table::hashed(num_keys), KeyBatch::default()),
        })
    }

    /// Replaces `ids` by the id of every key.
    pub(crate) fn assign(&mut self, keys: &EncodedKeys, ids: &mut Vec<u32>) {
        ids.clear();
        match (&mut self.0, keys) {
            (AnyTable::Unit(len), EncodedKeys::Unit(other)) => {
                *len = (*len).max(*other);
                ids.resize(*other, 0);
            }
            (AnyTable::Packed64(table, _), EncodedKeys::Packed64(keys)) => table.intern(keys, ids),
            (AnyTable::Packed128(table, _), EncodedKeys::Packed128(keys)) => table.intern(keys, ids),
            (AnyTable::Rows(table, _), EncodedKeys::Rows(keys)) => table.intern(keys, ids),
            _ => unreachable!("keys of different encodings are never brought together"),
        }
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            AnyTable::Unit(len) => *len,
            AnyTable::Packed64(table, _) => table.keys().len(),
            AnyTable::Packed128(table, _) => table.keys().len(),
            AnyTable::Rows(table, _) => table.keys().len(),
        }
    }

    /// The keys, by id.
    pub(crate) fn into_keys(self) -> EncodedKeys {
        match self.0 {
            AnyTable::Unit(len) => EncodedKeys::Unit(len),
            AnyTable::Packed64(table, _) => EncodedKeys::Packed64(table.into_keys()),
            AnyTable::Packed128(table, _) => EncodedKeys::Packed128(table.into_keys()),
            AnyTable::Rows(table, _) => EncodedKeys::Rows(table.into_keys()),
        }
    }
}

/// First key and number of possible keys of a partition by ranges, if an index over them is worth its memory.
fn range_of(plan: &KeyPlan, level: usize, num_keys: usize, (partition, partition_bits): (usize, u32)) -> Option<(usize, usize)> {
    let bits = plan.range_bits(level)?.saturating_sub(partition_bits);
    let span = 1_usize << bits;
    (span <= num_keys.saturating_mul(32).max(1 << 16)).then_some((partition << bits, span))
}
