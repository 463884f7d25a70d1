//! Brings join keys of any type into one 64-bit code per row.
//!
//! Position: [`super::build`] and [`super::probe`] evaluate their key expressions through a [`KeyExtractor`];
//! a [`KeyForm`], chosen when the build side is complete, turns the key columns into codes.
//!
//! | form | code | a pair of equal codes matches |
//! |---|---|---|
//! | `Plain` | the value of the only key | always |
//! | `Packed` | several keys, each less its minimum, side by side in 63 bits | always |
//! | `Hashed` | a hash over all keys | after comparing the columns |
//!
//! Values are brought into a form in which equal means the same bits: floats by their bits (one NaN, no
//! negative zero), decimals of both widths as `i128` where one side is wide, intervals as nanoseconds with
//! months of 30 days (PostgreSQL's equality), strings of either form as views of bytes.

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryViewArray, StringViewArray},
    buffer::{NullBuffer, ScalarBuffer},
    compute,
    datatypes::{
        DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    },
};
use pipelines::Batch;

use super::{JoinKey, gather, hashing, pairs::Pairs};
use crate::{Error, Expression, Result, expression::Evaluator};

/// How the values of one key are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyType {
    /// 64-bit integers, or what has 64 bits.
    Word,
    /// 128-bit integers.
    Wide,
    /// Strings of characters or bytes.
    Bytes,
}

/// The key columns of some rows.
#[derive(Debug, Clone)]
pub(super) struct KeyColumn {
    pub values: KeyValues,
    pub nulls: Option<NullBuffer>,
}

/// Values in a form where equal means identical.
#[derive(Debug, Clone)]
pub(super) enum KeyValues {
    Word(ScalarBuffer<i64>),
    Wide(ScalarBuffer<i128>),
    Bytes(BinaryViewArray),
}

impl KeyColumn {
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The values as 64-bit integers; none for other key types.
    pub(super) fn words(&self) -> &[i64] {
        match &self.values {
            KeyValues::Word(values) => values,
            _ => &[],
        }
    }

    /// The range of the values as 64-bit integers; empty for other key types.
    pub(super) fn range(&self) -> KeyRange {
        match &self.values {
            KeyValues::Word(values) => KeyRange::of(values, self.nulls.as_ref()),
            _ => KeyRange::EMPTY,
        }
    }

    /// Bytes held, each buffer counted fully.
    pub(super) fn num_bytes(&self) -> usize {
        match &self.values {
            KeyValues::Word(values) => size_of_val::<[i64]>(values),
            KeyValues::Wide(values) => size_of_val::<[i128]>(values),
            KeyValues::Bytes(values) => values.get_buffer_memory_size(),
        }
    }

    /// Whether row `row` equals row `other_row` of `other`; neither is NULL.
    #[inline]
    fn equals(&self, row: usize, other: &KeyColumn, other_row: usize) -> bool {
        match (&self.values, &other.values) {
            (KeyValues::Word(a), KeyValues::Word(b)) => a[row] == b[other_row],
            (KeyValues::Wide(a), KeyValues::Wide(b)) => a[row] == b[other_row],
            (KeyValues::Bytes(a), KeyValues::Bytes(b)) => equal_bytes(a, row, b, other_row),
            _ => false,
        }
    }

    /// The columns one after the other.
    pub(super) fn concat(columns: &[&KeyColumn], num_rows: usize) -> Result<KeyColumn> {
        let nulls = gather::concat_nulls(columns.iter().map(|c| (c.nulls.as_ref(), c.len())), num_rows);
        let values = match columns.first().map(|c| &c.values) {
            None => KeyValues::Word(ScalarBuffer::default()),
            Some(KeyValues::Word(_)) => {
                let mut all = Vec::with_capacity(num_rows);
                columns.iter().for_each(|c| all.extend_from_slice(c.words()));
                KeyValues::Word(all.into())
            }
            Some(KeyValues::Wide(_)) => {
                let mut all: Vec<i128> = Vec::with_capacity(num_rows);
                for column in columns {
                    if let KeyValues::Wide(values) = &column.values {
                        all.extend_from_slice(values);
                    }
                }
                KeyValues::Wide(all.into())
            }
            Some(KeyValues::Bytes(_)) => {
                let arrays: Vec<&dyn Array> =
                    columns.iter().filter_map(|c| if let KeyValues::Bytes(v) = &c.values { Some(v as &dyn Array) } else { None }).collect();
                KeyValues::Bytes(compute::concat(&arrays)?.as_binary_view().gc())
            }
        };
        Ok(KeyColumn { values, nulls })
    }

    fn len(&self) -> usize {
        match &self.values {
            KeyValues::Word(values) => values.len(),
            KeyValues::Wide(values) => values.len(),
            KeyValues::Bytes(values) => values.len(),
        }
    }
}

#[inline]
fn equal_bytes(a: &BinaryViewArray, a_row: usize, b: &BinaryViewArray, b_row: usize) -> bool {
    let (a_view, b_view) = (a.views()[a_row], b.views()[b_row]);
    if a_view as u32 <= 12 {
        // Up to 12 bytes lie in the view itself, padded with zeros.
        return a_view == b_view;
    }
    // Length and first four bytes decide most of the rest.
    a_view as u64 == b_view as u64 && a.value(a_row) == b.value(b_row)
}

/// Evaluates the key expressions of one side. One per chain.
pub(super) struct KeyExtractor {
    sources: Vec<(KeySource, KeyType)>,
}

enum KeySource {
    Column(usize),
    Computed(Evaluator),
}

impl KeyExtractor {
    /// For the build side's expressions, or the probe side's.
    pub(super) fn new(keys: &[JoinKey], key_types: &[KeyType], build_side: bool) -> Self {
        let sources = keys.iter().zip(key_types).map(|(key, key_type)| {
            let source = match if build_side { &key.build } else { &key.probe } {
                Expression::Column { index, .. } => KeySource::Column(*index),
                computed => KeySource::Computed(Evaluator::new(vec![computed.clone()])),
            };
            (source, *key_type)
        });
        KeyExtractor { sources: sources.collect() }
    }

    /// The keys of every row of `batch`.
    pub(super) fn extract(&mut self, batch: &Batch) -> Result<Vec<KeyColumn>> {
        let mut columns = Vec::with_capacity(self.sources.len());
        for (source, key_type) in &mut self.sources {
            columns.push(match source {
                KeySource::Column(index) => key_column(batch.column(*index), *key_type)?,
                KeySource::Computed(evaluator) => {
                    let mut arrays = evaluator.evaluate(batch)?;
                    let array = arrays.pop().ok_or_else(|| Error::Internal("a join key gave no column".into()))?;
                    key_column(&array, *key_type)?
                }
            });
        }
        Ok(columns)
    }
}

/// How the values of a key of these types on its two sides are held.
pub(super) fn key_type(probe: &DataType, build: &DataType) -> KeyType {
    use DataType::*;
    match (probe, build) {
        (Utf8View | BinaryView | Dictionary(..), _) | (_, Utf8View | BinaryView | Dictionary(..)) => KeyType::Bytes,
        (Decimal128(..) | Interval(_), _) | (_, Decimal128(..) | Interval(_)) => KeyType::Wide,
        _ => KeyType::Word,
    }
}

/// Whether runtime filters understand the type.
pub(super) fn is_filterable(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(data_type, Int16 | Int32 | Int64 | Date32 | Decimal64(..))
}

fn key_column(array: &ArrayRef, key_type: KeyType) -> Result<KeyColumn> {
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let values = match key_type {
        KeyType::Word => KeyValues::Word(words(array)?),
        KeyType::Wide => KeyValues::Wide(wide_words(array)?),
        KeyType::Bytes => KeyValues::Bytes(bytes(array)?),
    };
    Ok(KeyColumn { values, nulls })
}

fn words(array: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    use arrow::datatypes::TimeUnit::Microsecond;
    Ok(match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().values().clone(),
        DataType::Decimal64(..) => array.as_primitive::<Decimal64Type>().values().clone(),
        DataType::Timestamp(Microsecond, _) => array.as_primitive::<TimestampMicrosecondType>().values().clone(),
        DataType::Time64(Microsecond) => array.as_primitive::<Time64MicrosecondType>().values().clone(),
        DataType::Int32 => array.as_primitive::<Int32Type>().values().iter().map(|v| i64::from(*v)).collect(),
        DataType::Date32 => array.as_primitive::<Date32Type>().values().iter().map(|v| i64::from(*v)).collect(),
        DataType::Int16 => array.as_primitive::<Int16Type>().values().iter().map(|v| i64::from(*v)).collect(),
        DataType::Boolean => array.as_boolean().values().iter().map(i64::from).collect(),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().map(|v| float_bits(*v)).collect(),
        DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().map(|v| float_bits(f64::from(*v))).collect(),
        DataType::Null => std::iter::repeat_n(0, array.len()).collect(),
        other => return Err(Error::Internal(format!("no join key can be of type {other}"))),
    })
}

// NaN equals NaN and -0 equals 0, as in PostgreSQL.
fn float_bits(value: f64) -> i64 {
    let canonical = if value.is_nan() { f64::NAN } else { value + 0.0 };
    canonical.to_bits() as i64
}

fn wide_words(array: &ArrayRef) -> Result<ScalarBuffer<i128>> {
    Ok(match array.data_type() {
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().values().clone(),
        DataType::Interval(_) => array
            .as_primitive::<IntervalMonthDayNanoType>()
            .values()
            .iter()
            .map(|v| interval_nanoseconds(v.months, v.days, v.nanoseconds))
            .collect(),
        _ => words(array)?.iter().map(|v| i128::from(*v)).collect(),
    })
}

fn interval_nanoseconds(months: i32, days: i32, nanoseconds: i64) -> i128 {
    (i128::from(months) * 30 + i128::from(days)) * 86_400_000_000_000 + i128::from(nanoseconds)
}

fn bytes(array: &ArrayRef) -> Result<BinaryViewArray> {
    Ok(match array.data_type() {
        DataType::Utf8View => array.as_string_view().clone().to_binary_view(),
        DataType::BinaryView => array.as_binary_view().clone(),
        DataType::Dictionary(..) => {
            let dictionary = array.as_dictionary::<UInt32Type>();
            bytes(&gather::take(dictionary.values(), dictionary.keys())?)?
        }
        DataType::Null => StringViewArray::new_null(array.len()).to_binary_view(),
        other => return Err(Error::Internal(format!("no join key can be of type {other}"))),
    })
}

/// How codes are made of key columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum KeyForm {
    /// There are no keys: all codes are 0.
    None,
    /// The value of the only key.
    Plain,
    /// Bit fields.
    Packed(Vec<Field>),
    /// A hash; to be verified.
    Hashed,
}

/// The place of one key in a packed code.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    min: i64,
    max: i64,
    shift: u32,
    /// The lowest code of the field stands for NULL.
    has_null: bool,
}

/// Smallest and largest value of a key; `min > max` where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub min: i64,
    pub max: i64,
}

impl KeyRange {
    pub(super) const EMPTY: KeyRange = KeyRange { min: i64::MAX, max: i64::MIN };

    /// The range of the values that are not NULL.
    pub(super) fn of(values: &[i64], nulls: Option<&NullBuffer>) -> Self {
        let widen = |range: KeyRange, value: i64| KeyRange { min: range.min.min(value), max: range.max.max(value) };
        match nulls {
            None => values.iter().fold(KeyRange::EMPTY, |range, v| widen(range, *v)),
            Some(nulls) => nulls.valid_indices().fold(KeyRange::EMPTY, |range, i| widen(range, values[i])),
        }
    }

    pub(super) fn union(self, other: KeyRange) -> KeyRange {
        KeyRange { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// How many values the range spans.
    pub(super) fn span(self) -> u128 {
        if self.min > self.max { 0 } else { (i128::from(self.max) - i128::from(self.min) + 1) as u128 }
    }
}

/// Most bits a packed code has, so that no code is negative and -1 never matches.
const PACKED_BITS_MAX: u32 = 63;

/// Bit fields for keys of these ranges, if they fit.
pub(super) fn pack(keys: &[JoinKey], ranges: &[KeyRange]) -> Option<Vec<Field>> {
    let mut shift = 0;
    let mut fields = Vec::with_capacity(keys.len());
    for (key, range) in keys.iter().zip(ranges) {
        let codes = range.span() + u128::from(key.nulls_match);
        fields.push(Field { min: range.min, max: range.max, shift, has_null: key.nulls_match });
        shift += u128::BITS - codes.saturating_sub(1).leading_zeros();
        if shift > PACKED_BITS_MAX {
            return None;
        }
    }
    Some(fields)
}

/// One code per row, and which rows can match at all (a NULL key matches nothing).
#[derive(Debug, Clone)]
pub(super) struct Codes {
    pub values: ScalarBuffer<i64>,
    pub nulls: Option<NullBuffer>,
}

impl KeyForm {
    /// The codes of `num_rows` rows.
    pub(super) fn codes(&self, keys: &[JoinKey], columns: &[KeyColumn], num_rows: usize) -> Codes {
        let nulls = never_matching(keys, columns);
        let values = match self {
            KeyForm::None => vec![0; num_rows].into(),
            KeyForm::Plain => match &columns[0].values {
                KeyValues::Word(values) => values.clone(),
                _ => ScalarBuffer::default(),
            },
            KeyForm::Packed(fields) => packed_codes(fields, columns, num_rows).into(),
            KeyForm::Hashed => hash_codes(columns, num_rows).into(),
        };
        Codes { values, nulls }
    }
}

/// Rows whose NULL keys match nothing are the invalid ones.
pub(super) fn never_matching(keys: &[JoinKey], columns: &[KeyColumn]) -> Option<NullBuffer> {
    keys.iter()
        .zip(columns)
        .filter(|(key, _)| !key.nulls_match)
        .fold(None, |all, (_, column)| NullBuffer::union(all.as_ref(), column.nulls.as_ref()))
}

fn packed_codes(fields: &[Field], columns: &[KeyColumn], num_rows: usize) -> Vec<i64> {
    let mut codes = vec![0i64; num_rows];
    for (index, (field, column)) in fields.iter().zip(columns).enumerate() {
        let Field { min, max, shift, has_null } = *field;
        let offset = u64::from(has_null);
        for (code, value) in codes.iter_mut().zip(column.words()) {
            let bits = ((value.wrapping_sub(min) as u64).wrapping_add(offset) << shift) as i64;
            // A value outside the build side's range makes the code -1 for good: OR keeps all ones.
            *code |= if (min..=max).contains(value) { bits } else { -1 };
        }
        if has_null && let Some(nulls) = &column.nulls {
            repack_nulls(&mut codes, nulls, &fields[..index], columns);
        }
    }
    codes
}

// The loop above has filled in whatever lies under a NULL; the field's code for NULL is 0, so the other
// `fields` before it are put together once more.
fn repack_nulls(codes: &mut [i64], nulls: &NullBuffer, fields: &[Field], columns: &[KeyColumn]) {
    for row in (0..codes.len()).filter(|row| nulls.is_null(*row)) {
        codes[row] = fields.iter().zip(columns).fold(0, |code, (field, column)| {
            let value = column.words()[row];
            if field.has_null && column.is_null(row) {
                code
            } else if (field.min..=field.max).contains(&value) {
                code | ((value.wrapping_sub(field.min) as u64 + u64::from(field.has_null)) << field.shift) as i64
            } else {
                -1
            }
        });
    }
}

fn hash_codes(columns: &[KeyColumn], num_rows: usize) -> Vec<i64> {
    let mut codes = vec![0i64; num_rows];
    for column in columns {
        match &column.values {
            KeyValues::Word(values) => combine_hashes(&mut codes, column.nulls.as_ref(), |row| hashing::hash_u64(values[row] as u64)),
            KeyValues::Wide(values) => combine_hashes(&mut codes, column.nulls.as_ref(), |row| hashing::hash_u128(values[row] as u128)),
            KeyValues::Bytes(values) => {
                let views = values.views();
                combine_hashes(&mut codes, column.nulls.as_ref(), |row| {
                    let view = views[row];
                    if view as u32 <= 12 { hashing::hash_u128(view) } else { hashing::hash_bytes(values.value(row)) }
                });
            }
        }
    }
    codes
}

#[inline(always)]
fn combine_hashes(codes: &mut [i64], nulls: Option<&NullBuffer>, hash: impl Fn(usize) -> u64) {
    match nulls {
        None => codes.iter_mut().enumerate().for_each(|(row, code)| *code = hashing::combine(*code as u64, hash(row)) as i64),
        Some(nulls) => codes.iter_mut().enumerate().for_each(|(row, code)| {
            let hash = if nulls.is_null(row) { hashing::NULL_HASH } else { hash(row) };
            *code = hashing::combine(*code as u64, hash) as i64;
        }),
    }
}

/// Keeps the pairs whose keys are all equal (or NULL on both sides where NULL matches NULL), key by key.
pub(super) fn retain_equal(keys: &[JoinKey], probe: &[KeyColumn], build: &[KeyColumn], pairs: &mut Pairs) {
    for ((key, p), b) in keys.iter().zip(probe).zip(build) {
        if p.nulls.is_some() || b.nulls.is_some() {
            pairs.retain(|_, position, row| match (p.is_null(position as usize), b.is_null(row as usize)) {
                (false, false) => p.equals(position as usize, b, row as usize),
                (true, true) => key.nulls_match,
                _ => false,
            });
            continue;
        }
        match (&p.values, &b.values) {
            (KeyValues::Word(p), KeyValues::Word(b)) => pairs.retain(|_, position, row| p[position as usize] == b[row as usize]),
            (KeyValues::Wide(p), KeyValues::Wide(b)) => pairs.retain(|_, position, row| p[position as usize] == b[row as usize]),
            (KeyValues::Bytes(p), KeyValues::Bytes(b)) => {
                pairs.retain(|_, position, row| equal_bytes(p, position as usize, b, row as usize));
            }
            _ => pairs.clear(),
        }
    }
}

/// Whether the conjunction of the key comparisons of a pair is NULL: none is false, at least one is NULL.
pub(super) fn keys_uncertain(keys: &[JoinKey], probe: &[KeyColumn], position: usize, build: &[KeyColumn], row: usize) -> bool {
    let mut uncertain = false;
    for ((key, p), b) in keys.iter().zip(probe).zip(build) {
        match (p.is_null(position), b.is_null(row)) {
            (false, false) if !p.equals(position, b, row) => return false,
            (false, false) => {}
            (true, true) if key.nulls_match => {}
            _ if key.nulls_match => return false,
            _ => uncertain = true,
        }
    }
    uncertain
}
