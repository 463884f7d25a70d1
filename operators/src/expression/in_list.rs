//! IN over constants: a bitmap for integers that lie close together, otherwise a hash set.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, StringViewArray},
    buffer::{BooleanBuffer, NullBuffer},
    datatypes::{DataType, IntervalMonthDayNano},
};
use hashbrown::HashSet;

use super::{
    bits::{mask_of, mask_of_equal},
    compare::{INLINE_BYTES_MAX, Ordered, inline_view, interval_length},
    datum::{Native, string_views, unexpected},
};
use crate::{Result, Scalar};

/// Integers whose span is at most this many bits become a bitmap.
const BITMAP_BITS_MAX: u64 = 1 << 20;

/// The list of an IN, prepared.
#[derive(Debug)]
pub(crate) struct InSet {
    members: Members,
    has_null: bool,
    is_empty: bool,
}

#[derive(Debug)]
enum Members {
    /// Integer-like values: what values are compared by, see [`Ordered`].
    Bitmap {
        min: i64,
        words: Vec<u64>,
    },
    Integers(HashSet<i64>),
    Wide(HashSet<i128>),
    /// Texts: short ones by their views, others by their bytes.
    Texts {
        short: HashSet<u128>,
        long: HashSet<Box<str>>,
    },
    Bytes(HashSet<Vec<u8>>),
}

impl InSet {
    pub(crate) fn new(list: &[Scalar]) -> InSet {
        let has_null = list.iter().any(Scalar::is_null);
        let mut values = list.iter().filter(|scalar| !scalar.is_null()).peekable();
        let members = match values.peek() {
            Some(Scalar::Utf8(_)) => texts(values),
            Some(Scalar::Binary(_)) => Members::Bytes(
                values.filter_map(|scalar| if let Scalar::Binary(bytes) = scalar { Some(bytes.clone()) } else { None }).collect(),
            ),
            _ => numbers(values.filter_map(wide_key).collect()),
        };
        InSet { members, has_null, is_empty: list.is_empty() }
    }

    /// NULL for a NULL, and for a value that is not in a list with NULL.
    pub(crate) fn contains(&self, array: &ArrayRef) -> Result<BooleanArray> {
        if self.is_empty {
            return Ok(BooleanArray::new(BooleanBuffer::new_unset(array.len()), None));
        }
        let found = self.find(array)?;
        let nulls = array.logical_nulls();
        let nulls = match (self.has_null, nulls) {
            (false, nulls) => nulls,
            (true, None) => Some(NullBuffer::new(found.clone())),
            (true, Some(nulls)) => Some(NullBuffer::new(&found & nulls.inner())),
        };
        Ok(BooleanArray::new(found, nulls))
    }

    fn find(&self, array: &ArrayRef) -> Result<BooleanBuffer> {
        match array.data_type() {
            DataType::Boolean => {
                let booleans: Vec<i64> = array.as_boolean().values().iter().map(i64::from).collect();
                Ok(self.find_keys(&booleans, |v| v))
            }
            DataType::Int16 => self.find_natives(array, |v: i16| i64::from(v)),
            DataType::Int32 | DataType::Date32 => self.find_natives(array, |v: i32| i64::from(v)),
            DataType::Int64 | DataType::Decimal64(..) | DataType::Timestamp(..) | DataType::Time64(_) => {
                self.find_natives(array, |v: i64| v)
            }
            DataType::Float32 => self.find_natives(array, |v: f32| i64::from(v.key())),
            DataType::Float64 => self.find_natives(array, |v: f64| v.key()),
            DataType::Decimal128(..) => self.find_wide(array, |v: i128| v),
            DataType::Interval(_) => self.find_wide(array, |v: IntervalMonthDayNano| interval_length(v)),
            DataType::Utf8View | DataType::Dictionary(..) => Ok(self.find_texts(&string_views(array)?)),
            DataType::BinaryView => {
                let bytes = array.as_binary_view();
                let Members::Bytes(members) = &self.members else { return Ok(BooleanBuffer::new_unset(array.len())) };
                Ok(BooleanBuffer::collect_bool(array.len(), |row| members.contains(bytes.value(row))))
            }
            other => Err(unexpected("a value that can be compared", other)),
        }
    }

    fn find_natives<T: Native>(&self, array: &ArrayRef, key: impl Fn(T) -> i64) -> Result<BooleanBuffer> {
        let values = T::slice(array.as_ref()).ok_or_else(|| unexpected("a number", array.data_type()))?;
        Ok(self.find_keys(values, key))
    }

    fn find_keys<T: Copy>(&self, values: &[T], key: impl Fn(T) -> i64) -> BooleanBuffer {
        match &self.members {
            Members::Bitmap { min, words } if words.len() == 1 => {
                let word = words[0];
                mask_of(values, |v| {
                    let bit = key(v).wrapping_sub(*min) as u64;
                    (bit < 64) & (word >> (bit & 63) & 1 == 1)
                })
            }
            Members::Bitmap { min, words } => mask_of(values, |v| {
                let bit = key(v).wrapping_sub(*min) as u64;
                words.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
            }),
            Members::Integers(members) => mask_of(values, |v| members.contains(&key(v))),
            Members::Wide(members) => mask_of(values, |v| members.contains(&i128::from(key(v)))),
            Members::Texts { .. } | Members::Bytes(_) => BooleanBuffer::new_unset(values.len()),
        }
    }

    fn find_wide<T: Native>(&self, array: &ArrayRef, key: impl Fn(T) -> i128) -> Result<BooleanBuffer> {
        let values = T::slice(array.as_ref()).ok_or_else(|| unexpected("a wide number", array.data_type()))?;
        Ok(match &self.members {
            Members::Wide(members) => mask_of(values, |v| members.contains(&key(v))),
            Members::Texts { .. } | Members::Bytes(_) => BooleanBuffer::new_unset(values.len()),
            _ => {
                let narrow: Vec<Option<i64>> = values.iter().map(|&v| i64::try_from(key(v)).ok()).collect();
                let keys: Vec<i64> = narrow.iter().map(|v| v.unwrap_or(0)).collect();
                let fits = mask_of(&narrow, |v| v.is_some());
                &self.find_keys(&keys, |v| v) & &fits
            }
        })
    }

    fn find_texts(&self, texts: &StringViewArray) -> BooleanBuffer {
        let Members::Texts { short, long } = &self.members else { return BooleanBuffer::new_unset(texts.len()) };
        let views = texts.views();
        if long.is_empty() {
            if let [one, rest @ ..] = Vec::from_iter(short.iter().copied()).as_slice()
                && rest.len() < 8
            {
                let first = mask_of_equal(views, *one);
                return rest.iter().fold(first, |found, one| &found | &mask_of_equal(views, *one));
            }
            return mask_of(views, |view| short.contains(&view));
        }
        BooleanBuffer::collect_bool(texts.len(), |row| match views[row] as u32 as usize <= INLINE_BYTES_MAX {
            true => short.contains(&views[row]),
            false => long.contains(texts.value(row)),
        })
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a Scalar>) -> Members {
    let (mut short, mut long) = (HashSet::new(), HashSet::new());
    for scalar in values {
        match scalar {
            Scalar::Utf8(text) if text.len() <= INLINE_BYTES_MAX => {
                short.insert(inline_view(text.as_bytes()));
            }
            Scalar::Utf8(text) => {
                long.insert(text.as_str().into());
            }
            _ => {}
        }
    }
    Members::Texts { short, long }
}

/// What a value is compared by: equal values have equal keys.
fn wide_key(scalar: &Scalar) -> Option<i128> {
    match scalar {
        Scalar::Boolean(v) => Some(i128::from(*v)),
        Scalar::Int16(v) => Some(i128::from(*v)),
        Scalar::Int32(v) | Scalar::Date32(v) => Some(i128::from(*v)),
        Scalar::Int64(v) | Scalar::Timestamp(v) | Scalar::TimestampTz(v) | Scalar::Time(v) => Some(i128::from(*v)),
        Scalar::Float32(v) => Some(i128::from(v.key())),
        Scalar::Float64(v) => Some(i128::from(v.key())),
        Scalar::Decimal(v, ..) => Some(*v),
        Scalar::Interval { months, days, nanoseconds } => Some(interval_length(IntervalMonthDayNano::new(*months, *days, *nanoseconds))),
        Scalar::Null(_) | Scalar::Utf8(_) | Scalar::Binary(_) => None,
    }
}

fn numbers(keys: Vec<i128>) -> Members {
    let narrow: Option<Vec<i64>> = keys.iter().map(|&key| i64::try_from(key).ok()).collect();
    let Some(narrow) = narrow else { return Members::Wide(keys.into_iter().collect()) };
    let (Some(&min), Some(&max)) = (narrow.iter().min(), narrow.iter().max()) else {
        return Members::Integers(HashSet::new());
    };
    let span = max.wrapping_sub(min) as u64;
    if span >= BITMAP_BITS_MAX {
        return Members::Integers(narrow.into_iter().collect());
    }
    let mut words = vec![0u64; (span >> 6) as usize + 1];
    for key in narrow {
        let bit = key.wrapping_sub(min) as u64;
        words[(bit >> 6) as usize] |= 1 << (bit & 63);
    }
    Members::Bitmap { min, words }
}
