//! Hashes key values to 64 bits, column by column.
//!
//! Position: behind [`super::keys`], for keys that do not fit into one integer, and in the slots of the
//! unchained table. The mixing step is the fold of a 64 × 64 → 128 bit product, as in wyhash and rapidhash:
//! one multiplication, and every bit of the input reaches every bit of the result. The seeds are fixed, so
//! that a plan gives the same order of rows on every run.

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// What a NULL that matches NULL hashes to.
pub(super) const NULL_HASH: u64 = 0x6a09_e667_f3bc_c909;

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The hash of one 64-bit value.
#[inline(always)]
pub(super) fn hash_u64(value: u64) -> u64 {
    fold(value ^ SEED, MULTIPLIER)
}

/// The hash of one 128-bit value.
#[inline(always)]
pub(super) fn hash_u128(value: u128) -> u64 {
    fold(value as u64 ^ SEED, ((value >> 64) as u64) ^ MULTIPLIER)
}

/// The hash of a string of bytes; strings of up to 12 bytes are hashed by [`hash_u128`] of their view.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut state = SEED ^ bytes.len() as u64;
    let mut rest = bytes;
    while rest.len() > 16 {
        state = fold(read_u64(rest) ^ MULTIPLIER, read_u64(&rest[8..]) ^ state);
        rest = &rest[16..];
    }
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    fold(read_u64(&last) ^ MULTIPLIER, read_u64(&last[8..]) ^ state)
}

#[inline(always)]
fn read_u64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(word)
}

/// The hash of a row whose columns before this one hash to `state`, and whose value here hashes to `hash`.
#[inline(always)]
pub(super) fn combine(state: u64, hash: u64) -> u64 {
    fold(state ^ SEED, hash ^ MULTIPLIER).wrapping_add(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_differ_in_length_or_any_byte_hash_differently() {
        let text = b"the quick brown fox jumps over the lazy dog";
        let mut seen = std::collections::HashSet::new();
        for end in 0..=text.len() {
            assert!(seen.insert(hash_bytes(&text[..end])), "prefix of {end} bytes");
        }
        for place in 0..text.len() {
            let mut changed = *text;
            changed[place] ^= 1;
            assert!(seen.insert(hash_bytes(&changed)), "byte {place}");
        }
    }

    #[test]
    fn consecutive_integers_spread_over_the_upper_bits() {
        let mut counts = [0u32; 256];
        (0..65536u64).for_each(|key| counts[(hash_u64(key) >> 56) as usize] += 1);
        assert!(counts.iter().all(|count| (128..512).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_order_of_columns_matters() {
        assert_ne!(combine(hash_u64(1), hash_u64(2)), combine(hash_u64(2), hash_u64(1)));
    }
}
