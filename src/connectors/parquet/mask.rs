//! Selections of a window's rows as 64-bit words, and the loops over them.
//!
//! Position: [`super::row_group`] narrows one mask per window; columns read, and outputs are compressed, under it.

/// A mask for `rows` rows, all selected.
pub fn fill(mask: &mut Vec<u64>, rows: usize) {
    mask.clear();
    mask.resize(rows.div_ceil(64), u64::MAX);
    if !rows.is_multiple_of(64)
        && let Some(last) = mask.last_mut()
    {
        *last = (1 << (rows % 64)) - 1;
    }
}

/// Appends `added` bits (all set if `None`) to a mask of `rows` bits.
pub fn append(mask: &mut Vec<u64>, rows: usize, bits: Option<&[u64]>, added: usize) {
    mask.resize((rows + added).div_ceil(64), 0);
    let mut done = 0;
    while done < added {
        let mut word = bits.map_or(u64::MAX, |bits| bits[done / 64]);
        if added - done < 64 {
            word &= (1 << (added - done)) - 1;
        }
        let (index, shift) = ((rows + done) / 64, (rows + done) % 64);
        mask[index] |= word << shift;
        if shift != 0 && index + 1 < mask.len() {
            mask[index + 1] |= word >> (64 - shift);
        }
        done += 64;
    }
}

/// Number of set bits.
pub fn count(mask: &[u64]) -> usize {
    mask.iter().map(|word| word.count_ones() as usize).sum()
}

/// The word that starts at any bit; bits beyond the end are 0.
#[inline]
fn word_at(mask: &[u64], bit: usize) -> u64 {
    let (index, shift) = (bit / 64, bit % 64);
    let low = mask.get(index).copied().unwrap_or(0) >> shift;
    if shift == 0 { low } else { low | (mask.get(index + 1).copied().unwrap_or(0) << (64 - shift)) }
}

/// Number of set bits among bits `first .. first + length`.
pub fn count_range(mask: &[u64], first: usize, length: usize) -> usize {
    let mut total = 0;
    words(mask, first, length, |_, word| total += word.count_ones() as usize);
    total
}

/// Calls `visit(bit, word)` for the words that cover bits `first .. first + length`; `bit` is the word's first.
#[inline]
fn words(mask: &[u64], first: usize, length: usize, mut visit: impl FnMut(usize, u64)) {
    let mut done = 0;
    while done < length {
        let mut word = word_at(mask, first + done);
        if length - done < 64 {
            word &= (1 << (length - done)) - 1;
        }
        visit(first + done, word);
        done += 64;
    }
}

/// Calls `visit` with the position of every set bit among `first .. first + length`, ascending.
#[inline]
pub fn for_each_set(mask: &[u64], first: usize, length: usize, mut visit: impl FnMut(usize)) {
    words(mask, first, length, |start, mut word| {
        while word != 0 {
            visit(start + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    });
}

/// A copy of bits `first .. first + length`, from bit 0 on.
pub fn slice(mask: &[u64], first: usize, length: usize) -> Vec<u64> {
    let mut copy = Vec::with_capacity(length.div_ceil(64));
    words(mask, first, length, |_, word| copy.push(word));
    copy
}

/// Appends `values[i]` for every set bit `i`; bits beyond the values must be 0.
pub fn compress<T: Copy>(values: &[T], mask: &[u64], out: &mut Vec<T>) {
    out.reserve(values.len() + 1);
    for (chunk, &word) in values.chunks(64).zip(mask) {
        if word == u64::MAX {
            out.extend_from_slice(chunk);
        } else {
            let mut word = word;
            while word != 0 {
                out.push(chunk[word.trailing_zeros() as usize]);
                word &= word - 1;
            }
        }
    }
}

/// Bits of `inner` moved to the places of the set bits of `outer`: bit `i` of `inner` stands for the `i`-th set bit.
pub fn deposit(inner: &[u64], outer: &mut [u64]) {
    let mut bit = 0;
    for word in outer {
        if *word != 0 {
            let selected = word.count_ones() as usize;
            *word = deposit_word(word_at(inner, bit), *word);
            bit += selected;
        }
    }
}

/// The reverse of [`deposit`]: for every set bit of `outer`, in order, whether it is set in `inner` (a subset), as a dense mask.
pub fn extract(inner: &[u64], outer: &[u64]) -> Vec<u64> {
    let mut dense = vec![0; count(outer).div_ceil(64)];
    let mut bit = 0;
    for (&inner, &outer) in inner.iter().zip(outer) {
        if outer == 0 {
            continue;
        }
        let bits = extract_word(inner, outer);
        let (index, shift) = (bit / 64, bit % 64);
        dense[index] |= bits << shift;
        if shift != 0 && index + 1 < dense.len() {
            dense[index + 1] |= bits >> (64 - shift);
        }
        bit += outer.count_ones() as usize;
    }
    dense
}

#[cfg(target_feature = "bmi2")]
#[inline]
fn deposit_word(bits: u64, mask: u64) -> u64 {
    // SAFETY: the instruction exists (cfg).
    unsafe { std::arch::x86_64::_pdep_u64(bits, mask) }
}

#[cfg(not(target_feature = "bmi2"))]
fn deposit_word(bits: u64, mut mask: u64) -> u64 {
    let mut result = 0;
    let mut index = 0;
    while mask != 0 {
        result |= (bits >> index & 1) << mask.trailing_zeros();
        mask &= mask - 1;
        index += 1;
    }
    result
}

#[cfg(target_feature = "bmi2")]
#[inline]
fn extract_word(bits: u64, mask: u64) -> u64 {
    // SAFETY: the instruction exists (cfg).
    unsafe { std::arch::x86_64::_pext_u64(bits, mask) }
}

#[cfg(not(target_feature = "bmi2"))]
fn extract_word(bits: u64, mut mask: u64) -> u64 {
    let mut result = 0;
    let mut index = 0;
    while mask != 0 {
        result |= (bits >> mask.trailing_zeros() & 1) << index;
        mask &= mask - 1;
        index += 1;
    }
    result
}

/// Sets bit `i` of `out` for every code `codes[i]` whose bit is set in `table`; `out` is overwritten.
///
/// # Panics
/// When a code has no bit in the table.
pub fn test_codes(codes: &[u32], table: &[u64], out: &mut Vec<u64>) {
    assert!((super::rle::max_code(codes) as usize) < table.len() * 64, "the table covers the dictionary");
    out.clear();
    if let &[single] = table {
        // Up to 64 entries: the table is a register.
        out.extend(codes.chunks(64).map(|chunk| pack(chunk, |code| single >> (code & 63) & 1)));
        return;
    }
    // SAFETY: the bit of the largest code exists (asserted above).
    out.extend(codes.chunks(64).map(|chunk| pack(chunk, |code| unsafe { *table.get_unchecked((code >> 6) as usize) } >> (code & 63) & 1)));
}

/// Packs up to 64 tests into a word.
#[inline(always)]
pub fn pack<T: Copy>(chunk: &[T], test: impl Fn(T) -> u64) -> u64 {
    let mut word = 0;
    if chunk.len() == 64 {
        for (bit, &value) in chunk[..64].iter().enumerate() {
            word |= test(value) << bit;
        }
    } else {
        for (bit, &value) in chunk.iter().enumerate() {
            word |= test(value) << bit;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(mask: &[u64]) -> Vec<usize> {
        let mut positions = Vec::new();
        for_each_set(mask, 0, mask.len() * 64, |bit| positions.push(bit));
        positions
    }

    #[test]
    fn a_full_mask_has_a_bit_per_row() {
        for rows in [0, 1, 63, 64, 65, 1000] {
            let mut mask = vec![];
            fill(&mut mask, rows);
            assert_eq!(count(&mask), rows);
            assert_eq!(bits(&mask), (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn deposit_and_extract_are_inverse() {
        let outer = [0xf0f0_0000_ffff_0001, 0, 0x8000_0000_0000_0003, u64::MAX];
        let mut state = 5u64;
        for _ in 0..100 {
            let inner: Vec<u64> = outer
                .iter()
                .map(|word| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(9);
                    word & state
                })
                .collect();
            let dense = extract(&inner, &outer);
            let mut back = outer;
            deposit(&dense, &mut back);
            assert_eq!(back.to_vec(), inner);
            assert_eq!(count(&dense), count(&inner));
        }
    }

    #[test]
    fn ranges_start_and_end_at_any_bit() {
        let mask = [0xdead_beef_0123_4567, 0x0f0f_0f0f_0f0f_0f0f, 3];
        let all = bits(&mask);
        for first in 0..130 {
            for length in [0, 1, 5, 60, 64, 100] {
                let expected = all.iter().filter(|b| **b >= first && **b < first + length).count();
                assert_eq!(count_range(&mask, first, length), expected);
                assert_eq!(count(&slice(&mask, first, length)), expected);
            }
        }
    }

    #[test]
    fn codes_are_looked_up_in_tables_of_any_size() {
        for entries in [1, 64, 65, 3000] {
            let table: Vec<u64> = (0..usize::div_ceil(entries, 64)).map(|i| 0x5555_1234_0000_ffff_u64.rotate_left(i as u32)).collect();
            let codes: Vec<u32> = (0..200).map(|i| (i * 37 % entries) as u32).collect();
            let mut out = vec![];
            test_codes(&codes, &table, &mut out);
            let expected: Vec<usize> = (0..200).filter(|i| table[codes[*i] as usize / 64] >> (codes[*i] % 64) & 1 == 1).collect();
            assert_eq!(bits(&out), expected);
        }
    }
}
