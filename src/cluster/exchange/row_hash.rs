//! Hashes of key columns, by which rows find their node: the same on every node, in every process, on every architecture.
//!
//! | type | hashed as |
//! |---|---|
//! | integers, date, time, timestamp, boolean, `Decimal64` | 64-bit integer |
//! | `Decimal128` | 64-bit integer where it fits, so that decimals of both widths meet; else both halves |
//! | floats | bits of the double, one NaN, no negative zero |
//! | text (plain or dictionary), bytes | bytes and length |
//! | interval | its length in nanoseconds (months of 30 days), like a decimal |
//! | NULL of any type | a constant |
//!
//! Position: under [`super::scatter`]. Other constants than in the hash tables of `operators`: rows of one node would crowd in a part of
//! their buckets otherwise. A change here is a change of [`crate::cluster::PROTOCOL`].

use arrow::{
    array::{Array, ArrayRef, AsArray, GenericByteViewArray},
    buffer::NullBuffer,
    datatypes::{
        ArrowPrimitiveType, ByteViewType, DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type,
        Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
        TimestampMicrosecondType, UInt32Type,
    },
};

use crate::error::{Error, Result};

const SEED: u64 = 0x2545_f491_4f6c_dd1d;
const MULTIPLIER: u64 = 0xff51_afd7_ed55_8ccd;
const NULL_HASH: u64 = 0x3c6e_f372_fe94_f82b;

/// Combines the hashes of the values of `column` into `hashes`, one per row.
///
/// # Errors
/// If the type cannot be a key.
pub(super) fn combine_column(hashes: &mut [u64], column: &ArrayRef) -> Result<()> {
    use DataType::*;
    match column.data_type() {
        Int16 => primitive::<Int16Type>(hashes, column, |value| hash_word(i64::from(value))),
        Int32 => primitive::<Int32Type>(hashes, column, |value| hash_word(i64::from(value))),
        Int64 => primitive::<Int64Type>(hashes, column, hash_word),
        Date32 => primitive::<Date32Type>(hashes, column, |value| hash_word(i64::from(value))),
        Time64(TimeUnit::Microsecond) => primitive::<Time64MicrosecondType>(hashes, column, hash_word),
        Timestamp(TimeUnit::Microsecond, _) => primitive::<TimestampMicrosecondType>(hashes, column, hash_word),
        Decimal64(..) => primitive::<Decimal64Type>(hashes, column, hash_word),
        Decimal128(..) => primitive::<Decimal128Type>(hashes, column, hash_wide),
        Float32 => primitive::<Float32Type>(hashes, column, |value| hash_float(f64::from(value))),
        Float64 => primitive::<Float64Type>(hashes, column, hash_float),
        Interval(IntervalUnit::MonthDayNano) => primitive::<IntervalMonthDayNanoType>(hashes, column, |value| hash_wide(length_of(value))),
        Boolean => {
            let array = column.as_boolean();
            let bits = array.values();
            combine_rows(hashes, array.nulls(), |row| hash_word(i64::from(bits.value(row))));
        }
        Utf8View => views(hashes, column.as_string_view()),
        BinaryView => views(hashes, column.as_binary_view()),
        Dictionary(key, _) if **key == UInt32 => dictionary(hashes, column)?,
        Null => combine_rows(hashes, None, |_| NULL_HASH),
        other => return Err(Error::internal(format!("rows cannot be routed by a key of type {other}"))),
    }
    Ok(())
}

fn primitive<T: ArrowPrimitiveType>(hashes: &mut [u64], column: &ArrayRef, hash: impl Fn(T::Native) -> u64) {
    let array = column.as_primitive::<T>();
    let values: &[T::Native] = array.values();
    combine_rows(hashes, array.nulls(), |row| hash(values[row]));
}

fn views<T: ByteViewType>(hashes: &mut [u64], array: &GenericByteViewArray<T>) {
    combine_rows(hashes, array.nulls(), |row| hash_bytes(array.value(row).as_ref()));
}

/// Each entry is hashed once if there are fewer of them than rows.
fn dictionary(hashes: &mut [u64], column: &ArrayRef) -> Result<()> {
    let array = column.as_dictionary::<UInt32Type>();
    let entries = array.values();
    let entries = entries.as_string_view_opt().ok_or_else(|| Error::internal("a dictionary of something other than text"))?;
    let codes: &[u32] = array.keys().values();
    let hash_entry = |code: usize| if entries.is_null(code) { NULL_HASH } else { hash_bytes(entries.value(code).as_bytes()) };
    if entries.len() <= codes.len() {
        let of_entries: Vec<u64> = (0..entries.len()).map(hash_entry).collect();
        combine_rows(hashes, array.nulls(), |row| of_entries[codes[row] as usize]);
    } else {
        combine_rows(hashes, array.nulls(), |row| hash_entry(codes[row] as usize));
    }
    Ok(())
}

#[inline(always)]
fn combine_rows(hashes: &mut [u64], nulls: Option<&NullBuffer>, hash: impl Fn(usize) -> u64) {
    match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => hashes.iter_mut().enumerate().for_each(|(row, state)| *state = combine(*state, hash(row))),
        Some(nulls) => hashes.iter_mut().enumerate().for_each(|(row, state)| {
            *state = combine(*state, if nulls.is_null(row) { NULL_HASH } else { hash(row) });
        }),
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline(always)]
fn combine(state: u64, hash: u64) -> u64 {
    fold(state.rotate_left(23) ^ SEED, hash ^ MULTIPLIER).wrapping_add(hash)
}

#[inline(always)]
fn hash_word(value: i64) -> u64 {
    fold(value as u64 ^ SEED, MULTIPLIER)
}

#[inline(always)]
fn hash_wide(value: i128) -> u64 {
    match i64::try_from(value) {
        Ok(word) => hash_word(word),
        Err(_) => fold(value as u64 ^ SEED, ((value >> 64) as u64) ^ MULTIPLIER),
    }
}

#[inline(always)]
fn hash_float(value: f64) -> u64 {
    let canonical = if value.is_nan() { f64::NAN } else { value + 0.0 };
    // The bits of NaN may differ between architectures; this one is fixed.
    hash_word(if canonical.is_nan() { 0x7ff8_0000_0000_0000 } else { canonical.to_bits() as i64 })
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut state = SEED ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<16>();
    for word in words {
        state = fold(low(word) ^ MULTIPLIER, high(word) ^ state);
    }
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    fold(low(&last) ^ MULTIPLIER, high(&last) ^ state)
}

#[inline(always)]
fn low(word: &[u8; 16]) -> u64 {
    u128::from_le_bytes(*word) as u64
}

#[inline(always)]
fn high(word: &[u8; 16]) -> u64 {
    (u128::from_le_bytes(*word) >> 64) as u64
}

/// As comparisons see it: a month is 30 days, a day 24 hours.
fn length_of(interval: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    (i128::from(interval.months) * 30 + i128::from(interval.days)) * DAY + i128::from(interval.nanoseconds)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Decimal64Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int16Array, Int32Array,
        Int64Array, IntervalMonthDayNanoArray, NullArray, StringViewArray, UInt32Array,
    };

    use super::*;

    fn hashes(column: impl Array + 'static) -> Vec<u64> {
        let column: ArrayRef = Arc::new(column);
        let mut hashes = vec![0; column.len()];
        combine_column(&mut hashes, &column).unwrap();
        hashes
    }

    /// These numbers are part of the protocol: nodes of different builds must agree on them.
    #[test]
    fn hashes_never_change() {
        let mut all = hashes(Int64Array::from(vec![Some(0), Some(1), Some(-1), None]));
        all.extend(hashes(StringViewArray::from(vec!["", "a", "a text of more than sixteen bytes"])));
        all.extend(hashes(Decimal128Array::from(vec![i128::MAX])));
        all.extend(hashes(Float64Array::from(vec![1.5, f64::NAN])));
        assert_eq!(all, EXPECTED);
    }

    const EXPECTED: [u64; 10] = [
        17_599_892_596_738_413_405,
        17_730_474_241_745_691_965,
        3_927_123_280_001_255_185,
        8_357_529_425_592_867_461,
        17_599_892_596_738_413_405,
        1_488_514_125_887_107_187,
        15_081_540_378_999_634_366,
        15_940_853_455_600_897_974,
        11_849_419_329_181_600_850,
        2_907_365_786_835_059_805,
    ];

    #[test]
    fn equal_values_of_different_types_hash_alike() {
        let expected = hashes(Int64Array::from(vec![Some(7), None, Some(-7)]));
        assert_eq!(hashes(Int16Array::from(vec![Some(7), None, Some(-7)])), expected);
        assert_eq!(hashes(Int32Array::from(vec![Some(7), None, Some(-7)])), expected);
        assert_eq!(hashes(Date32Array::from(vec![Some(7), None, Some(-7)])), expected);
        assert_eq!(hashes(Decimal64Array::from(vec![Some(7), None, Some(-7)])), expected);
        assert_eq!(hashes(Decimal128Array::from(vec![Some(7), None, Some(-7)])), expected);
        assert_eq!(hashes(NullArray::new(1)), expected[1..2]);
    }

    #[test]
    fn floats_that_are_equal_hash_alike() {
        let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1 | 1 << 63);
        let of = hashes(Float64Array::from(vec![0.0, -0.0, f64::NAN, odd_nan, 0.5]));
        assert_eq!(of[0], of[1]);
        assert_eq!(of[2], of[3]);
        assert_ne!(of[0], of[4]);
        assert_eq!(hashes(Float32Array::from(vec![0.5, f32::NAN])), [of[4], of[2]]);
    }

    #[test]
    fn intervals_of_equal_length_hash_alike() {
        let interval = |months, days, nanoseconds| IntervalMonthDayNano::new(months, days, nanoseconds);
        let of = hashes(IntervalMonthDayNanoArray::from(vec![
            interval(1, 0, 0),
            interval(0, 30, 0),
            interval(0, 29, 86_400_000_000_000),
            interval(0, 31, 0),
        ]));
        assert_eq!(of[0], of[1]);
        assert_eq!(of[0], of[2]);
        assert_ne!(of[0], of[3]);
    }

    #[test]
    fn a_dictionary_hashes_like_its_texts() {
        let long = "a text that does not fit into a view";
        let entries = StringViewArray::from(vec![Some("x"), Some(long), None]);
        let of_rows = |codes: Vec<Option<u32>>| {
            let dictionary = DictionaryArray::<UInt32Type>::try_new(UInt32Array::from(codes), Arc::new(entries.clone())).unwrap();
            hashes(dictionary)
        };
        let plain = hashes(StringViewArray::from(vec![Some(long), None, Some("x"), None]));
        assert_eq!(of_rows(vec![Some(1), None, Some(0), Some(2)]), plain);
        assert_eq!(of_rows(vec![Some(1), None]), plain[..2], "fewer rows than entries");
    }

    #[test]
    fn the_order_of_keys_matters_and_booleans_differ() {
        let pair = |first: i64, second: i64| {
            let mut state = vec![0];
            for value in [first, second] {
                combine_column(&mut state, &(Arc::new(Int64Array::from(vec![value])) as ArrayRef)).unwrap();
            }
            state[0]
        };
        assert_ne!(pair(1, 2), pair(2, 1));
        let of = hashes(BooleanArray::from(vec![true, false]));
        assert_ne!(of[0], of[1]);
    }

    #[test]
    fn consecutive_keys_spread_over_the_classes() {
        let mut counts = [0u32; 256];
        hashes(Int64Array::from_iter_values(0..65536)).iter().for_each(|hash| counts[(hash >> 56) as usize] += 1);
        assert!(counts.iter().all(|count| (128..512).contains(count)), "{counts:?}");
    }
}
