//! Bit masks over rows: made from comparisons, thinned out, spread again.

use arrow::{
    array::{Array, BooleanArray},
    buffer::{BooleanBuffer, Buffer, NullBuffer},
};

/// Rows packed at a time.
const LANES: usize = 64;

/// Bit `i` is `test(values[i])`.
#[inline(always)]
pub(crate) fn mask_of<T: Copy>(values: &[T], test: impl Fn(T) -> bool) -> BooleanBuffer {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut words = Vec::with_capacity(chunks.len() + 1);
    for chunk in chunks {
        let mut bytes = [0u8; LANES];
        for lane in 0..LANES {
            bytes[lane] = u8::from(test(chunk[lane]));
        }
        words.push(pack(&bytes));
    }
    if !rest.is_empty() {
        let mut bytes = [0u8; LANES];
        bytes.iter_mut().zip(rest).for_each(|(byte, &value)| *byte = u8::from(test(value)));
        words.push(pack(&bytes));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, values.len())
}

/// Bit `i` is `views[i] == view`: in two halves, because only 64-bit comparisons vectorize.
pub(crate) fn mask_of_equal(views: &[u128], view: u128) -> BooleanBuffer {
    let (low, high) = (view as u64, (view >> 64) as u64);
    let (chunks, rest) = views.as_chunks::<LANES>();
    let mut words = Vec::with_capacity(chunks.len() + 1);
    for chunk in chunks {
        let (mut lows, mut highs, mut bytes) = ([0u64; LANES], [0u64; LANES], [0u8; LANES]);
        for lane in 0..LANES {
            lows[lane] = chunk[lane] as u64;
        }
        for lane in 0..LANES {
            highs[lane] = (chunk[lane] >> 64) as u64;
        }
        for lane in 0..LANES {
            bytes[lane] = u8::from((lows[lane] == low) & (highs[lane] == high));
        }
        words.push(pack(&bytes));
    }
    if !rest.is_empty() {
        let bits = rest.iter().enumerate().fold(0u64, |bits, (lane, other)| bits | u64::from(*other == view) << lane);
        words.push(bits);
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, views.len())
}

/// Bit `i` is `test(left[i], right[i])`.
///
/// # Panics
/// When the slices differ in length.
#[inline(always)]
pub(crate) fn mask_of_pairs<T: Copy>(left: &[T], right: &[T], test: impl Fn(T, T) -> bool) -> BooleanBuffer {
    assert_eq!(left.len(), right.len());
    let ((left_chunks, left_rest), (right_chunks, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut words = Vec::with_capacity(left_chunks.len() + 1);
    for (l, r) in left_chunks.iter().zip(right_chunks) {
        let mut bytes = [0u8; LANES];
        for lane in 0..LANES {
            bytes[lane] = u8::from(test(l[lane], r[lane]));
        }
        words.push(pack(&bytes));
    }
    if !left_rest.is_empty() {
        let mut bytes = [0u8; LANES];
        for (lane, (&l, &r)) in left_rest.iter().zip(right_rest).enumerate() {
            bytes[lane] = u8::from(test(l, r));
        }
        words.push(pack(&bytes));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, left.len())
}

/// Bit `i` is byte `i` (0 or 1).
#[cfg(all(target_arch = "x86_64", target_feature = "avx512bw"))]
#[inline(always)]
fn pack(bytes: &[u8; LANES]) -> u64 {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_test_epi8_mask};
    // SAFETY: `bytes` are 64 readable bytes, the load needs no alignment, and the instructions are compiled in
    // only where the target has them.
    unsafe {
        let lanes = _mm512_loadu_si512(bytes.as_ptr().cast());
        _mm512_test_epi8_mask(lanes, lanes)
    }
}

/// Bit `i` is byte `i` (0 or 1): a multiplication gathers the low bits of eight bytes in the top byte.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx512bw")))]
#[inline(always)]
fn pack(bytes: &[u8; LANES]) -> u64 {
    let mut word = 0;
    for group in 0..8 {
        let mut eight = [0u8; 8];
        eight.copy_from_slice(&bytes[group * 8..group * 8 + 8]);
        word |= (u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (group * 8);
    }
    word
}

/// The rows for which `array` is true: neither false nor NULL.
pub(crate) fn true_rows(array: &BooleanArray) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) if nulls.null_count() > 0 => array.values() & nulls.inner(),
        _ => array.values().clone(),
    }
}

/// `selected` without those of its rows whose bit in `passing` (one bit per selected row) is not set.
pub(crate) fn keep_selected(selected: &BooleanBuffer, passing: &BooleanBuffer) -> BooleanBuffer {
    let mut bits = vec![0u64; selected.len().div_ceil(64)];
    for (position, row) in selected.set_indices().enumerate() {
        bits[row / 64] |= u64::from(passing.value(position)) << (row % 64);
    }
    BooleanBuffer::new(Buffer::from_vec(bits), 0, selected.len())
}

/// Spreads `part`, one value per row of `selected`, over all rows; `other` stands at the rows that are not selected.
pub(crate) fn spread(selected: &BooleanBuffer, part: &BooleanArray, other: bool) -> BooleanArray {
    let kept = keep_selected(selected, part.values());
    let values = if other { &kept | &!selected } else { kept };
    let nulls = part.nulls().map(|nulls| {
        let valid = keep_selected(selected, nulls.inner());
        NullBuffer::new(&valid | &!selected)
    });
    BooleanArray::new(values, nulls)
}

/// Whether row `i` of `length` has a NULL in either.
pub(crate) fn union_nulls(left: Option<&NullBuffer>, right: Option<&NullBuffer>) -> Option<NullBuffer> {
    NullBuffer::union(left, right).filter(|nulls| nulls.null_count() > 0)
}
