//! Values of a fixed width: the loops that copy, select, gather and compress them.
//!
//! Position: below [`super::ColumnWindow`] and [`crate::connectors::parquet::output`]. Values are lanes of 1, 2, 4, 8 or 16
//! bytes; what they mean (integer, decimal, float, date) matters only when an Arrow array is made of them.

use crate::connectors::parquet::{
    fault::{Decoded, corrupt},
    mask, rle,
};

/// An unsigned integer as wide as a value.
pub trait Lane: Copy + Default + Send + Sync + 'static {
    /// The lane at the start of `bytes`.
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! lanes {
    ($($lane:ty),*) => {$(
        impl Lane for $lane {
            #[inline(always)]
            fn from_bytes(bytes: &[u8]) -> Self {
                let (value, _) = bytes.split_first_chunk().expect("the caller has cut the bytes to lanes");
                <$lane>::from_le_bytes(*value)
            }
        }
    )*};
}

lanes!(u8, u16, u32, u64, u128);

/// A growing column of lanes.
#[derive(Debug, Clone)]
pub enum Lanes {
    /// Booleans.
    Byte(Vec<u8>),
    /// smallint.
    Two(Vec<u16>),
    /// integer, date, real.
    Four(Vec<u32>),
    /// bigint, decimals up to 18 digits, timestamps, double precision.
    Eight(Vec<u64>),
    /// Wide decimals.
    Sixteen(Vec<u128>),
}

/// Runs `$body` with `$values` bound to the vector inside.
macro_rules! with_lanes {
    ($lanes:expr, $values:ident => $body:expr) => {
        match $lanes {
            $crate::connectors::parquet::column::fixed::Lanes::Byte($values) => $body,
            $crate::connectors::parquet::column::fixed::Lanes::Two($values) => $body,
            $crate::connectors::parquet::column::fixed::Lanes::Four($values) => $body,
            $crate::connectors::parquet::column::fixed::Lanes::Eight($values) => $body,
            $crate::connectors::parquet::column::fixed::Lanes::Sixteen($values) => $body,
        }
    };
}
pub(crate) use with_lanes;

impl Lanes {
    /// No lanes of `width` bytes.
    pub fn new(width: usize) -> Self {
        match width {
            1 => Lanes::Byte(Vec::new()),
            2 => Lanes::Two(Vec::new()),
            4 => Lanes::Four(Vec::new()),
            8 => Lanes::Eight(Vec::new()),
            _ => Lanes::Sixteen(Vec::new()),
        }
    }

    /// Number of lanes.
    pub fn len(&self) -> usize {
        with_lanes!(self, values => values.len())
    }

    /// Forgets all lanes, keeps their memory.
    pub fn clear(&mut self) {
        with_lanes!(self, values => values.clear());
    }

    /// Appends `dictionary[code]` for every code.
    pub fn gather(&mut self, dictionary: &[u8], codes: &[u32]) {
        with_lanes!(self, values => gather(dictionary, codes, values));
    }

    /// Appends `count` lanes at the start of `bytes`.
    pub fn append(&mut self, bytes: &[u8], count: usize) -> Decoded<()> {
        with_lanes!(self, values => append(bytes, count, values))
    }

    /// Appends, of `count` lanes at the start of `bytes`, those whose bit is set (bit `mask_start` stands for the first).
    pub fn append_selected(&mut self, bytes: &[u8], count: usize, mask: &[u64], mask_start: usize) -> Decoded<()> {
        with_lanes!(self, values => append_selected(bytes, count, mask, mask_start, values))
    }

    /// Appends what of `other` (of the same width) is selected; `None` selects all.
    pub fn append_lanes(&mut self, other: &Lanes, selected: Option<&[u64]>) {
        match (self, other) {
            (Lanes::Byte(to), Lanes::Byte(from)) => append_lanes(from, selected, to),
            (Lanes::Two(to), Lanes::Two(from)) => append_lanes(from, selected, to),
            (Lanes::Four(to), Lanes::Four(from)) => append_lanes(from, selected, to),
            (Lanes::Eight(to), Lanes::Eight(from)) => append_lanes(from, selected, to),
            (Lanes::Sixteen(to), Lanes::Sixteen(from)) => append_lanes(from, selected, to),
            _ => unreachable!("a column's lanes have one width"),
        }
    }

    /// Keeps the first `kept` lanes and spreads those behind over the set bits of `validity`, `rows` in all.
    pub fn spread(&mut self, kept: usize, rows: usize, validity: &[u64]) {
        with_lanes!(self, values => spread(values, kept, rows, validity));
    }
}

fn append_lanes<T: Copy>(from: &[T], selected: Option<&[u64]>, to: &mut Vec<T>) {
    match selected {
        None => to.extend_from_slice(from),
        Some(selected) => mask::compress(from, selected, to),
    }
}

/// Appends `dictionary[code]` for every code.
///
/// # Panics
/// When a code is outside the dictionary.
pub fn gather<T: Lane>(dictionary: &[u8], codes: &[u32], out: &mut Vec<T>) {
    if codes.is_empty() {
        return;
    }
    let entries = dictionary.len() / size_of::<T>();
    assert!((rle::max_code(codes) as usize) < entries, "codes are checked against the dictionary");
    let base = dictionary.as_ptr().cast::<T>();
    // SAFETY: every code is below `entries` (asserted above), so the load is within `dictionary`; lanes have no
    // invalid bit patterns; loads may be unaligned. Engines of this kind run on little-endian machines only (checked below).
    out.extend(codes.iter().map(|code| unsafe { base.add(*code as usize).read_unaligned() }));
}

const _: () = assert!(cfg!(target_endian = "little"), "values are read as they lie in files");

fn append<T: Lane>(bytes: &[u8], count: usize, out: &mut Vec<T>) -> Decoded<()> {
    let Some(bytes) = count.checked_mul(size_of::<T>()).and_then(|length| bytes.get(..length)) else {
        return corrupt("a page has fewer values than its header says");
    };
    out.extend(bytes.chunks_exact(size_of::<T>()).map(T::from_bytes));
    Ok(())
}

fn append_selected<T: Lane>(bytes: &[u8], count: usize, mask: &[u64], mask_start: usize, out: &mut Vec<T>) -> Decoded<()> {
    let width = size_of::<T>();
    let Some(bytes) = count.checked_mul(width).and_then(|length| bytes.get(..length)) else {
        return corrupt("a page has fewer values than its header says");
    };
    mask::for_each_set(mask, mask_start, count, |bit| out.push(T::from_bytes(&bytes[(bit - mask_start) * width..])));
    Ok(())
}

/// See [`Lanes::spread`].
pub fn spread<T: Copy + Default>(values: &mut Vec<T>, kept: usize, rows: usize, validity: &[u64]) {
    let mut from = values.len();
    values.resize(kept + rows, T::default());
    // From the back, so that no value is overwritten before it has moved.
    for row in (0..rows).rev() {
        let is_valid = validity[row / 64] >> (row % 64) & 1 == 1;
        values[kept + row] = if is_valid {
            from -= 1;
            values[from]
        } else {
            T::default()
        };
    }
}
