//! Keys packed into one integer: every column a bit field, NULL one of its codes.
//!
//! A field holds a value less a minimum. Bounds from statistics make fields narrow; they are a guess, and a
//! batch with a value outside (or a NULL where none was expected) is answered with [`Misfit`], upon which
//! the table changes to a wider encoding.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Date32Array, Decimal64Array, DictionaryArray, Float32Array,
        Float64Array, Int16Array, Int32Array, Int64Array, PrimitiveArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt32Array,
    },
    buffer::NullBuffer,
    datatypes::{
        DataType, Date32Type, Decimal64Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
        TimestampMicrosecondType, UInt32Type,
    },
};

use super::strings::{LocalStrings, SharedStrings};
use crate::{Error, Result};

/// An integer that holds a packed key.
pub(crate) trait Word: Copy + Eq + Default + Send + Sync + 'static {
    /// A field's code, moved to its place.
    fn place(code: u64, shift: u32) -> Self;
    /// Adds a field whose bits are still zero.
    fn combine(self, field: Self) -> Self;
    /// The field of `bits` bits at `shift`.
    fn field(self, shift: u32, bits: u32) -> u64;
    /// A well mixed hash.
    fn hash(self) -> u64;
    /// The key as an index, for tables that are indexed by it.
    fn index(self) -> usize;
}

impl Word for u64 {
    #[inline]
    fn place(code: u64, shift: u32) -> Self {
        code << shift
    }
    #[inline]
    fn combine(self, field: Self) -> Self {
        self | field
    }
    #[inline]
    fn field(self, shift: u32, bits: u32) -> u64 {
        (self >> shift) & (u64::MAX >> (64 - bits))
    }
    #[inline]
    fn hash(self) -> u64 {
        fold(self ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93)
    }
    #[inline]
    fn index(self) -> usize {
        self as usize
    }
}

impl Word for u128 {
    #[inline]
    fn place(code: u64, shift: u32) -> Self {
        u128::from(code) << shift
    }
    #[inline]
    fn combine(self, field: Self) -> Self {
        self | field
    }
    #[inline]
    fn field(self, shift: u32, bits: u32) -> u64 {
        (self >> shift) as u64 & (u64::MAX >> (64 - bits))
    }
    #[inline]
    fn hash(self) -> u64 {
        let low = fold(self as u64 ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93);
        fold(low ^ (self >> 64) as u64, 0xa076_1d64_78bd_642f)
    }
    #[inline]
    fn index(self) -> usize {
        self as usize
    }
}

/// Multiplies and folds the halves of the product (as wyhash does): all bits reach all bits.
#[inline]
pub(super) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A batch does not fit the encoding: a bound or the absence of NULLs was guessed wrong.
#[derive(Debug)]
pub(crate) struct Misfit;

/// One column's place in the key.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    data_type: DataType,
    shift: u32,
    bits: u32,
    min: i64,
    /// Largest value less `min`.
    span: u64,
    /// Code 0 is NULL, and values are one higher.
    nullable: bool,
    strings: Option<Arc<SharedStrings>>,
}

impl Field {
    /// A field for values `min ..= min + span`; `strings` gives texts their numbers.
    pub(crate) fn new(data_type: DataType, (min, span): (i64, u64), nullable: bool, strings: Option<Arc<SharedStrings>>) -> Self {
        let codes = u128::from(span) + 1 + u128::from(nullable);
        let bits = (128 - (codes - 1).leading_zeros()).max(1);
        Field { data_type, shift: 0, bits, min, span, nullable, strings }
    }
}

/// How the columns of a key share an integer.
#[derive(Debug, Clone)]
pub(crate) struct Packing {
    fields: Vec<Field>,
    bits: u32,
}

impl Packing {
    /// The fields side by side, the first in the highest bits; `None` if a field or all of them are too wide.
    pub(crate) fn new(mut fields: Vec<Field>) -> Option<Self> {
        let bits = fields.iter().map(|field| field.bits).sum();
        let mut shift = bits;
        for field in &mut fields {
            shift -= field.bits;
            field.shift = shift;
        }
        (bits <= 128 && fields.iter().all(|field| field.bits <= 64)).then_some(Packing { fields, bits })
    }

    /// Bits in use.
    pub(crate) fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether the key is one column of consecutive values, so that neighbours in value are neighbours in code.
    pub(crate) fn is_one_range(&self) -> bool {
        self.fields.len() == 1 && self.fields[0].strings.is_none()
    }

    /// Packs the rows of `columns` into `keys`, whose content is replaced.
    ///
    /// # Errors
    /// [`Misfit`] when a value has no code; `keys` is then unspecified.
    pub(crate) fn encode<W: Word>(
        &self,
        columns: &[ArrayRef],
        strings: &mut [LocalStrings],
        keys: &mut Vec<W>,
    ) -> Result<Result<(), Misfit>> {
        let num_rows = columns[0].len();
        keys.clear();
        keys.resize(num_rows, W::default());
        for ((field, column), strings) in self.fields.iter().zip(columns).zip(strings) {
            let fits = match (&field.strings, column.data_type()) {
                (Some(shared), _) => match strings.ids(shared, column)? {
                    Some((ids, nulls)) => put(field, ids, nulls.as_ref(), |id| i64::from(id), keys),
                    None => false,
                },
                (None, DataType::Boolean) => put_booleans(field, column.as_boolean(), keys),
                (None, DataType::Int16) => put_primitive::<Int16Type, W>(field, column, i64::from, keys),
                (None, DataType::Int32) => put_primitive::<Int32Type, W>(field, column, i64::from, keys),
                (None, DataType::Date32) => put_primitive::<Date32Type, W>(field, column, i64::from, keys),
                (None, DataType::Int64) => put_primitive::<Int64Type, W>(field, column, |v| v, keys),
                (None, DataType::Decimal64(..)) => put_primitive::<Decimal64Type, W>(field, column, |v| v, keys),
                (None, DataType::Timestamp(..)) => put_primitive::<TimestampMicrosecondType, W>(field, column, |v| v, keys),
                (None, DataType::Time64(_)) => put_primitive::<Time64MicrosecondType, W>(field, column, |v| v, keys),
                (None, DataType::UInt32) => put_primitive::<UInt32Type, W>(field, column, i64::from, keys),
                (None, DataType::Float32) => {
                    put_primitive::<Float32Type, W>(field, column, |v| i64::from(canonical_f32(v).to_bits()), keys)
                }
                (None, DataType::Float64) => put_primitive::<Float64Type, W>(field, column, |v| canonical_f64(v).to_bits() as i64, keys),
                (None, other) => return Err(Error::Internal(format!("a packed key of {other}"))),
            };
            if !fits {
                return Ok(Err(Misfit));
            }
        }
        Ok(Ok(()))
    }

    /// The columns of `keys`.
    pub(crate) fn decode<W: Word>(&self, keys: &[W]) -> Result<Vec<ArrayRef>> {
        self.fields.iter().map(|field| field.decode(keys)).collect()
    }
}

/// The values of a column of `data_type` as minimum and span, if it can be packed at all. Of 64-bit types one
/// value is left out to make room for NULL: the largest integer, and a NaN that [`canonical_f64`] never gives.
pub(crate) fn full_range(data_type: &DataType) -> Option<(i64, u64)> {
    match data_type {
        DataType::Boolean => Some((0, 1)),
        DataType::Int16 => Some((i64::from(i16::MIN), u64::from(u16::MAX))),
        DataType::Int32 | DataType::Date32 => Some((i64::from(i32::MIN), u64::from(u32::MAX))),
        DataType::UInt32 | DataType::Float32 => Some((0, u64::from(u32::MAX))),
        DataType::Int64 | DataType::Decimal64(..) | DataType::Timestamp(..) | DataType::Time64(_) => Some((i64::MIN, u64::MAX - 1)),
        DataType::Float64 => Some((0, u64::MAX - 1)),
        _ => None,
    }
}

/// One NaN, one zero: what SQL holds equal has equal bits.
pub(crate) fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// As [`canonical_f64`].
pub(crate) fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

fn put_primitive<T: ArrowPrimitiveType, W: Word>(
    field: &Field,
    column: &ArrayRef,
    widen: impl Fn(T::Native) -> i64,
    keys: &mut [W],
) -> bool {
    let column = column.as_primitive::<T>();
    put(field, column.values(), column.nulls().filter(|nulls| nulls.null_count() > 0), widen, keys)
}

fn put_booleans<W: Word>(field: &Field, column: &BooleanArray, keys: &mut [W]) -> bool {
    let values: Vec<u8> = column.values().iter().map(u8::from).collect();
    put(field, &values, column.nulls().filter(|nulls| nulls.null_count() > 0), i64::from, keys)
}

/// Adds a column to every key. Answers whether all values have a code.
fn put<T: Copy, W: Word>(field: &Field, values: &[T], nulls: Option<&NullBuffer>, widen: impl Fn(T) -> i64, keys: &mut [W]) -> bool {
    let (min, shift, offset) = (field.min, field.shift, u64::from(field.nullable));
    let code = |value: T| widen(value).wrapping_sub(min) as u64;
    let mut largest = 0;
    match nulls {
        None => {
            for (key, value) in keys.iter_mut().zip(values) {
                let code = code(*value);
                largest = largest.max(code);
                *key = key.combine(W::place(code.wrapping_add(offset), shift));
            }
        }
        Some(_) if !field.nullable => return false,
        Some(nulls) => {
            // A NULL's code is zero: its key stays as it is.
            for row in nulls.valid_indices() {
                let code = code(values[row]);
                largest = largest.max(code);
                keys[row] = keys[row].combine(W::place(code.wrapping_add(offset), shift));
            }
        }
    }
    largest <= field.span
}

impl Field {
    fn decode<W: Word>(&self, keys: &[W]) -> Result<ArrayRef> {
        let codes = || keys.iter().map(|key| key.field(self.shift, self.bits));
        let nulls = if self.nullable { Some(codes().map(|code| code != 0).collect::<NullBuffer>()) } else { None };
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let offset = u64::from(self.nullable);
        let values = || codes().map(|code| (code.wrapping_sub(offset) as i64).wrapping_add(self.min));
        if let Some(strings) = &self.strings {
            let in_dictionary = |id: i64| if id < 0 { 0 } else { id as u32 };
            let ids = UInt32Array::new(values().map(in_dictionary).collect(), nulls);
            return Ok(Arc::new(DictionaryArray::try_new(ids, strings.snapshot())?));
        }
        Ok(match &self.data_type {
            DataType::Boolean => Arc::new(BooleanArray::new(values().map(|value| value == 1).collect(), nulls)),
            DataType::Int16 => Arc::new(Int16Array::new(values().map(|value| value as i16).collect(), nulls)),
            DataType::Int32 => Arc::new(Int32Array::new(values().map(|value| value as i32).collect(), nulls)),
            DataType::Date32 => Arc::new(Date32Array::new(values().map(|value| value as i32).collect(), nulls)),
            DataType::Int64 => Arc::new(Int64Array::new(values().collect(), nulls)),
            DataType::UInt32 => Arc::new(UInt32Array::new(values().map(|value| value as u32).collect(), nulls)),
            DataType::Float32 => Arc::new(Float32Array::new(values().map(|value| f32::from_bits(value as u32)).collect(), nulls)),
            DataType::Float64 => Arc::new(Float64Array::new(values().map(|value| f64::from_bits(value as u64)).collect(), nulls)),
            DataType::Decimal64(..) => self.typed(Decimal64Array::new(values().collect(), nulls)),
            DataType::Timestamp(..) => self.typed(TimestampMicrosecondArray::new(values().collect(), nulls)),
            DataType::Time64(_) => self.typed(Time64MicrosecondArray::new(values().collect(), nulls)),
            other => return Err(Error::Internal(format!("a packed key of {other}"))),
        })
    }

    fn typed<T: ArrowPrimitiveType>(&self, array: PrimitiveArray<T>) -> ArrayRef {
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}
