//! Snappy's raw format, decompressed with wide copies that may run a little past what is asked for.
//!
//! Position: below [`super::codec`]. The format: a length, then elements, each a tag byte with a kind (literal bytes, or
//! a copy of earlier output with a 1, 2 or 4 byte offset) and a length. Both buffers carry [`PADDING`] bytes, so that
//! short elements, by far the most, are wide copies without a look at the remaining space: where a literal ends is checked
//! after it was copied, which at worst has touched padding.
//!
//! What costs is the chain from one element's length to the next element's tag, and branches nobody can predict. So a short
//! literal and the copy behind it (8-byte integers look like that) are taken from one load, and the two kinds of copies
//! are told apart by arithmetic.

use std::mem::MaybeUninit;

use super::{
    chunk_bytes::PADDING,
    fault::{Decoded, corrupt},
};

/// Decompresses the first `input_bytes` bytes of `input`, which carries [`PADDING`] bytes behind them, to exactly `size`
/// bytes in `output`, plus [`PADDING`] zero bytes.
///
/// # Panics
/// When `input` has no padding.
pub fn decompress(input: &[u8], input_bytes: usize, size: usize, output: &mut Vec<u8>) -> Decoded<()> {
    assert!(input.len() >= input_bytes + PADDING, "padding is missing");
    let Some((length, body)) = read_length(&input[..input_bytes]) else { return corrupt("a snappy page has no length") };
    if length != size {
        return corrupt("a snappy page decompresses to another size than its header says");
    }
    // A byte of input stands for at most 64 bytes of output (rounded up); do not allocate for an absurd claim.
    if size / 64 > input_bytes {
        return corrupt("a snappy page is too short for its length");
    }
    output.clear();
    output.reserve(size + PADDING);
    // SAFETY: the input pointers bound `input[body .. input_bytes]` with PADDING more bytes readable behind the end
    // (asserted above); the output has capacity for size + PADDING bytes. `expand` returns true only when it has
    // written all of the first `size` bytes; the padding is written here.
    unsafe {
        let start = input.as_ptr();
        let complete = expand(start.add(body), start.add(input_bytes), output.as_mut_ptr(), size);
        if !complete {
            return corrupt("a snappy page is damaged");
        }
        output.as_mut_ptr().add(size).write_bytes(0, PADDING);
        output.set_len(size + PADDING);
    }
    Ok(())
}

fn read_length(input: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (index, byte) in input.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// Expands the elements between `ip` and `ip_end` to `size` bytes from `op_start` on; false if they are damaged.
///
/// # Safety
/// `ip .. ip_end` is readable with PADDING bytes behind it; `op_start .. op_start + size + PADDING` is writable.
unsafe fn expand(mut ip: *const u8, ip_end: *const u8, op_start: *mut u8, size: usize) -> bool {
    // SAFETY: `ip <= ip_end` and `op <= op_end` hold at the top of the loop; loads reach at most 17 bytes beyond `ip_end` (an
    // element starts before it). A short literal is stored with 4 or 16 bytes at `op <= op_end`, a long one is checked first.
    // A copy is checked before it is made (`is_legal_copy`): it reads from `op - offset >= op_start` and ends at `op_end` at the
    // latest, its stores at most 15 bytes later. What is read beyond `op` may be uninitialised, is moved as `MaybeUninit`, and
    // overwritten by later elements before anybody looks at it: output below `op` is initialised.
    unsafe {
        let op_end = op_start.add(size);
        let mut op = op_start;
        while ip < ip_end {
            let word = ip.cast::<u64>().read_unaligned().to_le() as usize;
            let tag = word & 0xff;
            if tag & 3 == 0 {
                let length = (tag >> 2) + 1;
                if length <= 4 && ip_end.offset_from_unsigned(ip) >= 8 {
                    // A short literal: the copy that mostly follows is in the same word.
                    op.cast::<u32>().write_unaligned(((word >> 8) as u32).to_le());
                    let word = word >> (8 * length + 8);
                    ip = ip.add(1 + length);
                    op = op.add(length);
                    if word & 3 == 1 || word & 3 == 2 {
                        let (length, offset, tag_bytes) = copy_element(word);
                        if !is_legal_copy(op_start, op, op_end, offset, length) {
                            return false;
                        }
                        ip = ip.add(tag_bytes);
                        if offset == 8 && length <= 8 {
                            (ip, op) = expand_every_eighth(ip, ip_end, op, op_end, length);
                        } else {
                            copy_earlier(op, offset, length);
                            op = op.add(length);
                        }
                    }
                } else if length <= 16 {
                    copy16(ip.add(1), op);
                    ip = ip.add(1 + length);
                    op = op.add(length);
                } else {
                    let Some((from, length)) = long_literal(ip, length) else { return false };
                    if from > ip_end || length > ip_end.offset_from_unsigned(from) || length > op_end.offset_from_unsigned(op) {
                        return false;
                    }
                    copy_long(from, op, length);
                    ip = from.add(length);
                    op = op.add(length);
                }
            } else {
                let (length, offset, tag_bytes) = copy_element(word);
                if !is_legal_copy(op_start, op, op_end, offset, length) {
                    return false;
                }
                ip = ip.add(tag_bytes);
                copy_earlier(op, offset, length);
                op = op.add(length);
            }
            if op > op_end || ip > ip_end {
                return false;
            }
        }
        op == op_end
    }
}

/// Whether a copy reads what was written and ends where the output ends, or before.
///
/// # Safety
/// All three point into the output or its padding, `op_start` not behind `op`.
#[inline(always)]
unsafe fn is_legal_copy(op_start: *const u8, op: *const u8, op_end: *const u8, offset: usize, length: usize) -> bool {
    // SAFETY: of the caller.
    let (done, left) = unsafe { (op.offset_from_unsigned(op_start), op_end.offset_from(op)) };
    offset.wrapping_sub(1) < done && length as isize <= left
}

/// Copies `length <= 8` bytes from 8 bytes before `op`, and goes on while pairs of a short literal and such a copy follow: sorted
/// 8-byte integers look like that. Their copies would wait for the stores just before them; here the last 8 bytes stay in
/// a register, where such a copy is a rotation. Returns where input and output stand then.
///
/// # Safety
/// As [`expand`]; 8 bytes exist before `op`, `length` bytes of output behind it.
#[inline]
unsafe fn expand_every_eighth(
    mut ip: *const u8,
    ip_end: *const u8,
    mut op: *mut u8,
    op_end: *const u8,
    length: usize,
) -> (*const u8, *mut u8) {
    // SAFETY: the first store is within output and padding (of the caller). The loop goes on only with 8 bytes of input and 16
    // of output left: a pair takes at most 7 and makes at most 12, its stores reach at most 12 bytes.
    unsafe {
        let mut last = u64::from_le(op.sub(8).cast::<u64>().read_unaligned());
        op.cast::<u64>().write_unaligned(last.to_le());
        op = op.add(length);
        last = last.rotate_right(8 * length as u32);
        while ip_end.offset_from(ip) >= 8 && op_end.offset_from(op) >= 16 {
            let word = u64::from_le(ip.cast::<u64>().read_unaligned());
            let literal = (word >> 2 & 63) as usize + 1;
            if word & 3 != 0 || literal > 4 {
                break;
            }
            let copy = word >> (8 * literal + 8);
            let length = (copy >> 2 & 7) as usize + 4;
            // A copy with a short offset, which is 8.
            if copy & 0xffe3 != 0x0801 || length > 8 {
                break;
            }
            op.cast::<u32>().write_unaligned(((word >> 8) as u32).to_le());
            last = last >> (8 * literal) | (word >> 8) << (64 - 8 * literal);
            op.add(literal).cast::<u64>().write_unaligned(last.to_le());
            last = last.rotate_right(8 * length as u32);
            op = op.add(literal + length);
            ip = ip.add(literal + 3);
        }
        (ip, op)
    }
}

/// Where a literal of more than 16 bytes starts and how long it is.
///
/// # Safety
/// Five bytes are readable at `ip`.
#[inline]
unsafe fn long_literal(ip: *const u8, length: usize) -> Option<(*const u8, usize)> {
    // SAFETY: of the caller.
    unsafe {
        if length <= 60 {
            return Some((ip.add(1), length));
        }
        let length_bytes = length - 60;
        let bits = u64::from(ip.add(1).cast::<u32>().read_unaligned().to_le());
        let length = bits & ((1 << (8 * length_bytes)) - 1);
        Some((ip.add(1 + length_bytes), usize::try_from(length + 1).ok()?))
    }
}

/// Length, offset and bytes of the tag of a copy whose first bytes are `word`. Arithmetic instead of branches for the two common
/// kinds (1: eleven bits of offset, 2: sixteen), because their order is random.
#[inline(always)]
fn copy_element(word: usize) -> (usize, usize, usize) {
    let kind = word & 3;
    let bits = word >> 8;
    if kind == 3 {
        return ((word >> 2 & 63) + 1, bits & 0xffff_ffff, 5);
    }
    let short = kind & 1;
    let length = (word >> 2 & (63 >> (3 * short))) + 1 + 3 * short;
    let high = (word & 0xe0) << 3 & short.wrapping_neg();
    let offset = bits & ((1 << (8 * kind)) - 1) | high;
    (length, offset, kind + 1)
}

type Bytes16 = [MaybeUninit<u8>; 16];
type Bytes8 = [MaybeUninit<u8>; 8];

/// # Safety
/// 16 bytes are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn copy16(from: *const u8, to: *mut u8) {
    // SAFETY: of the caller.
    unsafe { to.cast::<Bytes16>().write_unaligned(from.cast::<Bytes16>().read_unaligned()) }
}

/// # Safety
/// 8 bytes are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn copy8(from: *const u8, to: *mut u8) {
    // SAFETY: of the caller.
    unsafe { to.cast::<Bytes8>().write_unaligned(from.cast::<Bytes8>().read_unaligned()) }
}

/// # Safety
/// `length` bytes and 15 more are readable at `from` and writable at `to`; they do not overlap.
#[inline]
unsafe fn copy_long(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: of the caller.
    unsafe {
        if length <= 64 {
            let mut at = 0;
            while at < length {
                copy16(from.add(at), to.add(at));
                at += 16;
            }
        } else {
            to.copy_from_nonoverlapping(from, length);
        }
    }
}

/// Copies `length <= 64` bytes from `offset` bytes before `op` to `op`, repeating them when `offset < length`.
///
/// # Safety
/// `offset >= 1`; `offset` bytes exist before `op`; `length` bytes and 16 more are writable at `op`.
#[inline(always)]
unsafe fn copy_earlier(mut op: *mut u8, mut offset: usize, length: usize) {
    // SAFETY: each store is 8 bytes long and starts below `op + length + 8`, or below `op + 16`; each load starts at least 8 bytes
    // before its store, or only its first `offset` bytes are used.
    unsafe {
        let from = op.sub(offset).cast_const();
        if offset >= 8 {
            copy8(from, op);
            copy8(from.add(8), op.add(8));
            let mut at = 16;
            while at < length {
                copy8(from.add(at), op.add(at));
                copy8(from.add(at + 8), op.add(at + 8));
                at += 16;
            }
            return;
        }
        let end = op.add(length);
        // While the offset is below 8, the first `offset` bytes of an 8-byte copy are right; then the pattern is twice as long.
        while offset < 8 {
            copy8(from, op);
            op = op.add(offset);
            offset *= 2;
        }
        let mut from = op.sub(offset).cast_const();
        while op < end {
            copy8(from, op);
            op = op.add(8);
            from = from.add(8);
        }
    }
}

#[cfg(test)]
mod tests {
    use parquet::{
        basic::Compression,
        compression::{CodecOptionsBuilder, create_codec},
    };

    use super::*;

    fn ours(compressed: &[u8], size: usize) -> Decoded<Vec<u8>> {
        let mut input = compressed.to_vec();
        input.resize(compressed.len() + PADDING, 0xff);
        let mut output = Vec::new();
        decompress(&input, compressed.len(), size, &mut output)?;
        assert_eq!(output.len(), size + PADDING);
        output.truncate(size);
        Ok(output)
    }

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    /// Data that makes the compressor emit all kinds of elements.
    fn samples() -> Vec<Vec<u8>> {
        let mut random = Random(42);
        let mut samples = vec![vec![], vec![1], b"abababababababababababab".to_vec(), vec![7; 100_000]];
        for period in 1..40 {
            samples.push((0..1000).map(|i| (i % period) as u8).collect());
        }
        samples.push((0..200_000).map(|_| random.next() as u8).collect());
        samples.push((0..30_000).flat_map(|_| ((random.next() % 10_000_000) as i64).to_le_bytes()).collect());
        samples.push((0..30_000).flat_map(|i| (i as i64 * 3).to_le_bytes()).collect());
        samples.push((0..30_000).flat_map(|_| format!("the {} quick {} requests ", random.next() % 7, random.next() % 99).into_bytes()).collect());
        samples
    }

    #[test]
    fn what_the_stock_encoder_wrote_is_read_back() {
        let mut codec = create_codec(Compression::SNAPPY, &CodecOptionsBuilder::default().build()).unwrap().unwrap();
        for sample in samples() {
            let mut compressed = Vec::new();
            codec.compress(&sample, &mut compressed).unwrap();
            assert!(ours(&compressed, sample.len()).unwrap() == sample, "sample of {} bytes", sample.len());
        }
    }

    #[test]
    fn damaged_input_fails_or_gives_what_the_stock_decoder_gives() {
        let mut codec = create_codec(Compression::SNAPPY, &CodecOptionsBuilder::default().build()).unwrap().unwrap();
        let mut random = Random(7);
        for sample in samples().iter().map(|s| &s[..s.len().min(3000)]) {
            let mut compressed = Vec::new();
            codec.compress(sample, &mut compressed).unwrap();
            for _ in 0..300 {
                let mut damaged = compressed.clone();
                for _ in 0..1 + random.next() % 3 {
                    let index = random.next() as usize % damaged.len();
                    damaged[index] = random.next() as u8;
                }
                if random.next() % 4 == 0 {
                    damaged.truncate(random.next() as usize % (damaged.len() + 1));
                }
                let mut stock = Vec::new();
                let stock_result = codec.decompress(&damaged, &mut stock, Some(sample.len()));
                match ours(&damaged, sample.len()) {
                    Ok(bytes) => {
                        assert!(stock_result.is_ok());
                        assert_eq!(bytes, stock);
                    }
                    Err(_) => assert!(stock_result.is_err() || stock.len() != sample.len()),
                }
            }
        }
    }

    #[test]
    fn long_elements_and_far_offsets_are_read() {
        // 70 literal bytes with a one-byte length, a copy with a 4-byte offset of 70, a literal of one byte.
        let literal: Vec<u8> = (0..70).collect();
        let mut compressed = vec![70 + 64 + 1, 1, 60 << 2, 69];
        compressed[0] = 0x80 | ((70 + 64 + 1) & 0x7f);
        compressed.extend(&literal);
        compressed.extend([(63 << 2) | 3, 70, 0, 0, 0, 0, 99]);
        let mut expected = literal.clone();
        expected.extend(&literal[..64]);
        expected.push(99);
        assert_eq!(ours(&compressed, 135).unwrap(), expected);
    }
}
