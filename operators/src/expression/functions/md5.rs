//! The MD5 digest of RFC 1321; for `md5()`, not for security.

use std::fmt::Write;

/// Rotations of the four rounds.
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// Appends the digest as 32 hexadecimal digits.
pub(super) fn write_hex(message: &[u8], out: &mut String) {
    for byte in digest(message) {
        // Writing to a String never fails.
        let _ = write!(out, "{byte:02x}");
    }
}

fn digest(message: &[u8]) -> [u8; 16] {
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64).wrapping_mul(8).to_le_bytes());
    let (blocks, _) = padded.as_chunks::<64>();
    blocks.iter().for_each(|block| add_block(&mut state, block));
    let mut result = [0; 16];
    for (bytes, word) in result.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    result
}

fn add_block(state: &mut [u32; 4], block: &[u8; 64]) {
    let (words, _) = block.as_chunks::<4>();
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64 {
        let (mixed, word) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), 7 * step % 16),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(sine_constant(step)).wrapping_add(u32::from_le_bytes(words[word]));
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(ROTATIONS[step / 16][step % 4]));
    }
    for (total, part) in state.iter_mut().zip([a, b, c, d]) {
        *total = total.wrapping_add(part);
    }
}

/// The integer part of `2^32 * abs(sin(step + 1))`.
fn sine_constant(step: usize) -> u32 {
    ((step as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_rfc() {
        for (message, expected) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("12345678901234567890123456789012345678901234567890123456789012345678901234567890", "57edf4a22be3c955ac49da2e2107b67a"),
        ] {
            let mut hex = String::new();
            write_hex(message.as_bytes(), &mut hex);
            assert_eq!(hex, expected);
        }
    }
}
