//! How the keys of an aggregation are encoded: a short ladder from the narrowest guess to what holds anything.
//!
//! ```text
//! packed by bounds  ──value outside──►  packed by type  ──too wide──►  byte strings
//! ```
//!
//! All chains climb the same ladder, each when it has to; what they gathered is brought to the highest step
//! in use before it is merged. The ladder is made when the first batch is seen, because whether texts are
//! numbered depends on whether they come with dictionaries.

use std::sync::{Arc, OnceLock};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
};

use super::{
    packed::{Field, Packing, full_range},
    strings::{STRINGS_MAX, SharedStrings},
};

/// One key column as it is known beforehand.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumn {
    /// Without a dictionary.
    pub(crate) data_type: DataType,
    /// A guess.
    pub(crate) bounds: Option<(i64, i64)>,
    /// Whether NULL may come; if not, a NULL is handled all the same.
    pub(crate) nullable: bool,
}

/// The keys of an aggregation.
#[derive(Debug)]
pub(crate) struct KeyPlan {
    columns: Vec<KeyColumn>,
    estimated_groups: usize,
    encodings: OnceLock<Vec<Encoding>>,
}

/// A step of the ladder.
#[derive(Debug, Clone)]
pub(crate) enum Encoding {
    /// Without keys there is one group.
    Unit,
    /// In 64 bits.
    Packed64(Packing),
    /// In 128 bits.
    Packed128(Packing),
    /// Byte strings.
    Rows,
}

/// Indexes of at most this many entries are made without asking how many groups there will be.
const SMALL_INDEX_BITS: u32 = 16;
/// No index has more entries than 2 to this.
const INDEX_BITS_MAX: u32 = 23;
/// An index may have this many entries per expected group.
const INDEX_ENTRIES_PER_GROUP: usize = 16;

impl KeyPlan {
    /// A plan for `columns`; the number of groups is a guess.
    pub(crate) fn new(columns: Vec<KeyColumn>, estimated_groups: usize) -> Arc<Self> {
        Arc::new(KeyPlan { columns, estimated_groups, encodings: OnceLock::new() })
    }

    /// Number of key columns.
    pub(crate) fn num_columns(&self) -> usize {
        self.columns.len()
    }

    /// Types of the key columns, without dictionaries.
    pub(crate) fn types(&self) -> Vec<DataType> {
        self.columns.iter().map(|column| column.data_type.clone()).collect()
    }

    /// Makes the ladder, if that has not happened; `keys` are the columns of any batch.
    pub(crate) fn prepare(&self, keys: &[ArrayRef]) {
        self.encodings.get_or_init(|| self.ladder(keys));
    }

    /// Step `level` of the ladder.
    pub(crate) fn encoding(&self, level: usize) -> &Encoding {
        let ladder = self.encodings.get().map_or(&[][..], |ladder| ladder);
        match ladder.get(level) {
            Some(encoding) => encoding,
            None if self.columns.is_empty() => &Encoding::Unit,
            None => &Encoding::Rows,
        }
    }

    /// Whether keys at `level` are few enough to be used as indexes, and if so, their bits.
    pub(crate) fn index_bits(&self, level: usize) -> Option<u32> {
        let Encoding::Packed64(packing) = self.encoding(level) else { return None };
        let bits = packing.bits();
        let worthwhile =
            bits <= SMALL_INDEX_BITS || (bits <= INDEX_BITS_MAX && (1_usize << bits) / INDEX_ENTRIES_PER_GROUP <= self.estimated_groups);
        worthwhile.then_some(bits)
    }

    /// Whether keys at `level` are one integer whose values lie densely enough to be partitioned by ranges;
    /// if so, its bits.
    pub(crate) fn range_bits(&self, level: usize) -> Option<u32> {
        let Encoding::Packed64(packing) = self.encoding(level) else { return None };
        let bits = packing.bits();
        let dense = packing.is_one_range() && bits < 40 && (1_usize << bits) / INDEX_ENTRIES_PER_GROUP <= self.estimated_groups;
        dense.then_some(bits)
    }

    fn ladder(&self, keys: &[ArrayRef]) -> Vec<Encoding> {
        if self.columns.is_empty() {
            return vec![Encoding::Unit];
        }
        let strings: Option<Vec<_>> = self.columns.iter().zip(keys).map(|(column, key)| Strings::of(column, key)).collect();
        let Some(strings) = strings else { return vec![Encoding::Rows] };
        let pack = |by_bounds: bool| -> Option<Packing> {
            let fields = self.columns.iter().zip(&strings).map(|(column, strings)| field(column, strings, by_bounds));
            Packing::new(fields.collect::<Option<Vec<_>>>()?)
        };
        let by_bounds = pack(true).map(encoding);
        let by_type = pack(false).map(encoding);
        by_bounds.into_iter().chain(by_type).chain([Encoding::Rows]).collect()
    }
}

fn encoding(packing: Packing) -> Encoding {
    if packing.bits() <= 64 { Encoding::Packed64(packing) } else { Encoding::Packed128(packing) }
}

/// Numbers for the texts of a column, if it has texts.
enum Strings {
    None,
    Numbered { shared: Arc<SharedStrings>, expected: usize },
}

impl Strings {
    /// `None` if the column's values cannot be packed.
    fn of(column: &KeyColumn, key: &ArrayRef) -> Option<Self> {
        if full_range(&column.data_type).is_some() {
            return Some(Strings::None);
        }
        let dictionary = key.as_any_dictionary_opt().filter(|_| column.data_type == DataType::Utf8View)?;
        let num_texts = dictionary.values().len();
        // Dictionaries of later batches may hold other texts.
        let expected = (num_texts * 2).max(7);
        (num_texts <= STRINGS_MAX / 4).then(|| Strings::Numbered { shared: Arc::default(), expected })
    }
}

fn field(column: &KeyColumn, strings: &Strings, by_bounds: bool) -> Option<Field> {
    let (range, shared, nullable) = match (strings, by_bounds) {
        (Strings::Numbered { shared, expected }, true) => ((0, *expected as u64 - 1), Some(Arc::clone(shared)), column.nullable),
        (Strings::Numbered { shared, .. }, false) => ((0, STRINGS_MAX as u64 - 1), Some(Arc::clone(shared)), true),
        (Strings::None, true) => (guessed_range(column)?, None, column.nullable),
        (Strings::None, false) => (full_range(&column.data_type)?, None, true),
    };
    Some(Field::new(column.data_type.clone(), range, nullable, shared))
}

fn guessed_range(column: &KeyColumn) -> Option<(i64, u64)> {
    let full = full_range(&column.data_type)?;
    let is_float = matches!(column.data_type, DataType::Float32 | DataType::Float64);
    match column.bounds {
        Some((min, max)) if min <= max && !is_float => {
            let span = max.wrapping_sub(min) as u64;
            Some(if span < full.1 { (min, span) } else { full })
        }
        _ => Some(full),
    }
}
