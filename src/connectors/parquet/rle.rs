//! The RLE / bit-packed hybrid of dictionary codes and definition levels.
//!
//! Position: [`super::column`] holds a [`Codes`] per page. The format is a sequence of runs; each starts with a varint whose
//! low bit says whether groups of eight packed values follow, or one value that repeats. Unpacking is one permute, one
//! shift and one mask per 16 values with AVX-512 VBMI, after Willhalm et al. (SIMD-Scan, PVLDB 2009), else a shift of an
//! unaligned word per value.

use super::{
    chunk_bytes::PADDING,
    fault::{Decoded, corrupt},
};

/// Where a reader of codes stands in a page; plain data over bytes that are passed to each call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Codes {
    bit_width: u32,
    /// Where the next run's header starts.
    at: usize,
    /// End of the codes in the page.
    end: usize,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Repeated {
        value: u32,
        left: usize,
    },
    /// Values `index ..` of those packed from byte `start` on; `left` of them.
    Packed {
        start: usize,
        index: usize,
        left: usize,
    },
}

impl Default for Run {
    fn default() -> Self {
        Run::Repeated { value: 0, left: 0 }
    }
}

impl Codes {
    /// Codes of `bit_width` bits in `page[start .. end]`.
    pub fn new(bit_width: u32, start: usize, end: usize) -> Decoded<Self> {
        if bit_width > 32 {
            return corrupt("codes are wider than 32 bits");
        }
        Ok(Codes { bit_width, at: start, end, run: Run::default() })
    }

    /// Reads the next `out.len()` codes.
    pub fn read(&mut self, page: &[u8], out: &mut [u32]) -> Decoded<()> {
        let mut done = 0;
        while done < out.len() {
            let count = self.step(page, out.len() - done)?;
            let target = &mut out[done..done + count];
            match self.run {
                Run::Repeated { value, .. } => target.fill(value),
                Run::Packed { start, index, .. } => unpack(page, start, self.bit_width, index, target),
            }
            self.advance(count);
            done += count;
        }
        Ok(())
    }

    /// Of the next `count` codes, appends those whose bit is set in `mask` (bit `mask_start` stands for the first).
    /// Worth it only when few bits are set: each costs a bit search and an unaligned load.
    pub fn read_selected(&mut self, page: &[u8], count: usize, mask: &[u64], mask_start: usize, out: &mut Vec<u32>) -> Decoded<()> {
        let mut done = 0;
        while done < count {
            let length = self.step(page, count - done)?;
            let first = mask_start + done;
            match self.run {
                Run::Repeated { value, .. } => {
                    out.resize(out.len() + super::mask::count_range(mask, first, length), value);
                }
                Run::Packed { start, index, .. } => {
                    let width = self.bit_width;
                    super::mask::for_each_set(mask, first, length, |bit| out.push(unpack_one(page, start, width, index + bit - first)));
                }
            }
            self.advance(length);
            done += length;
        }
        Ok(())
    }

    /// Moves over `count` codes.
    pub fn skip(&mut self, page: &[u8], count: usize) -> Decoded<()> {
        let mut done = 0;
        while done < count {
            let length = self.step(page, count - done)?;
            self.advance(length);
            done += length;
        }
        Ok(())
    }

    /// Makes the current run one with values left; says how many of `wanted` it has.
    #[inline]
    fn step(&mut self, page: &[u8], wanted: usize) -> Decoded<usize> {
        loop {
            let left = match self.run {
                Run::Repeated { left, .. } | Run::Packed { left, .. } => left,
            };
            if left > 0 {
                return Ok(left.min(wanted));
            }
            self.next_run(page)?;
        }
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        match &mut self.run {
            Run::Repeated { left, .. } => *left -= count,
            Run::Packed { index, left, .. } => {
                *index += count;
                *left -= count;
            }
        }
    }

    fn next_run(&mut self, page: &[u8]) -> Decoded<()> {
        if self.bit_width == 0 && self.at >= self.end {
            // A dictionary of one entry needs no bits; some writers then write no runs either.
            self.run = Run::Repeated { value: 0, left: usize::MAX };
            return Ok(());
        }
        let mut header = 0u64;
        let mut shift = 0;
        loop {
            if self.at >= self.end || shift > 35 {
                return corrupt("a page has fewer codes than its header says");
            }
            let byte = page[self.at];
            self.at += 1;
            header |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let count = (header >> 1) as usize;
        let width = self.bit_width as usize;
        if header & 1 == 0 {
            let value_bytes = width.div_ceil(8);
            if self.end - self.at < value_bytes {
                return corrupt("a run of codes is cut off");
            }
            let mut value = [0; 4];
            value[..value_bytes].copy_from_slice(&page[self.at..self.at + value_bytes]);
            self.at += value_bytes;
            self.run = Run::Repeated { value: u32::from_le_bytes(value), left: count };
        } else {
            // The last group may be cut: only as many values as have all their bits are there.
            let bytes = count * width;
            let start = self.at;
            let available = (self.end - start).min(bytes);
            self.at = start + available;
            let left = if available == bytes { count * 8 } else { available * 8 / width };
            if left == 0 && count > 0 {
                return corrupt("a run of codes is cut off");
            }
            self.run = Run::Packed { start, index: 0, left };
        }
        Ok(())
    }
}

/// Reads value `index` of `bit_width` bits each, packed from `page[start]` on.
#[inline]
fn unpack_one(page: &[u8], start: usize, bit_width: u32, index: usize) -> u32 {
    let bit = index * bit_width as usize;
    let byte = start + bit / 8;
    let word = u64::from_le_bytes(page[byte..byte + 8].try_into().expect("eight bytes"));
    ((word >> (bit % 8)) & ((1u64 << bit_width) - 1)) as u32
}

/// Reads values `index ..` of `bit_width` bits each, packed from `page[start]` on. `page` ends with [`PADDING`] readable bytes.
fn unpack(page: &[u8], start: usize, bit_width: u32, index: usize, out: &mut [u32]) {
    let mut index = index;
    let mut rest = out;
    #[cfg(target_feature = "avx512vbmi")]
    if (1..=24).contains(&bit_width) {
        // Up to the next group of eight, which starts at a byte.
        let head = (index.next_multiple_of(8) - index).min(rest.len());
        let (front, back) = rest.split_at_mut(head);
        for (offset, value) in front.iter_mut().enumerate() {
            *value = unpack_one(page, start, bit_width, index + offset);
        }
        index += head;
        let whole = back.len() / 16 * 16;
        let (middle, back) = back.split_at_mut(whole);
        let from = start + index / 8 * bit_width as usize;
        vector::unpack16s(&page[from..], bit_width, middle);
        index += whole;
        rest = back;
    }
    for (offset, value) in rest.iter_mut().enumerate() {
        *value = unpack_one(page, start, bit_width, index + offset);
    }
}

#[cfg(target_feature = "avx512vbmi")]
mod vector {
    use std::arch::x86_64::{
        _mm512_and_si512, _mm512_loadu_si512, _mm512_permutexvar_epi8, _mm512_set1_epi32, _mm512_srlv_epi32, _mm512_storeu_si512,
    };

    /// For 16 values of a width: which input bytes go to which 32-bit lane, and by how much each lane is shifted.
    struct Layout {
        bytes: [u8; 64],
        shifts: [u32; 16],
    }

    const fn layout(bit_width: usize) -> Layout {
        let mut layout = Layout { bytes: [0; 64], shifts: [0; 16] };
        let mut lane = 0;
        while lane < 16 {
            let bit = lane * bit_width;
            layout.shifts[lane] = (bit % 8) as u32;
            let mut byte = 0;
            while byte < 4 {
                layout.bytes[lane * 4 + byte] = (bit / 8 + byte) as u8;
                byte += 1;
            }
            lane += 1;
        }
        layout
    }

    static LAYOUTS: [Layout; 25] = {
        let mut layouts = [const { Layout { bytes: [0; 64], shifts: [0; 16] } }; 25];
        let mut width = 0;
        while width < 25 {
            layouts[width] = layout(width);
            width += 1;
        }
        layouts
    };

    /// Unpacks `out.len()` (a multiple of 16) values of `bit_width` (1 to 24) bits from the start of `bytes`, behind
    /// whose last value at least 64 bytes are readable.
    pub fn unpack16s(bytes: &[u8], bit_width: u32, out: &mut [u32]) {
        let step = 2 * bit_width as usize;
        let chunks = out.len() / 16;
        assert!(chunks == 0 || (chunks - 1) * step + 64 <= bytes.len(), "padding is missing");
        let layout = &LAYOUTS[bit_width as usize];
        // SAFETY: loads are 64 bytes at `chunk * step`, within `bytes` (asserted above); stores are 16 values at
        // `chunk * 16`, within `out`; the layout's arrays are 64 bytes each. The instructions exist (cfg of the module;
        // VBMI implies AVX-512F).
        unsafe {
            let order = _mm512_loadu_si512(layout.bytes.as_ptr().cast());
            let shifts = _mm512_loadu_si512(layout.shifts.as_ptr().cast());
            let mask = _mm512_set1_epi32(((1u32 << bit_width) - 1) as i32);
            for chunk in 0..chunks {
                let packed = _mm512_loadu_si512(bytes.as_ptr().add(chunk * step).cast());
                let lanes = _mm512_permutexvar_epi8(order, packed);
                let values = _mm512_and_si512(_mm512_srlv_epi32(lanes, shifts), mask);
                _mm512_storeu_si512(out.as_mut_ptr().add(chunk * 16).cast(), values);
            }
        }
    }
}

/// The largest of `codes`, 0 if there are none. Checked against a dictionary's length once per window, so that gathers
/// need no check per row.
pub fn max_code(codes: &[u32]) -> u32 {
    codes.iter().copied().fold(0, u32::max)
}

const _: () = assert!(PADDING >= 64, "unpacking loads 64 bytes at a time");

#[cfg(test)]
mod tests {
    use parquet::encodings::rle::RleEncoder;

    use super::*;

    fn encode(values: &[u32], bit_width: u8) -> (Vec<u8>, usize) {
        let mut encoder = RleEncoder::new(bit_width, values.len() * 8 + 1024);
        values.iter().for_each(|v| encoder.put(u64::from(*v)));
        let mut bytes = encoder.consume();
        let end = bytes.len();
        bytes.resize(end + PADDING, 0xaa);
        (bytes, end)
    }

    fn sample(bit_width: u8, count: usize) -> Vec<u32> {
        let mut state = 99u64 + u64::from(bit_width);
        let mut values = Vec::new();
        while values.len() < count {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = ((state >> 16) & ((1u64 << bit_width) - 1)) as u32;
            let repeat = if state >> 62 == 0 { 1 + (state >> 50) as usize % 60 } else { 1 };
            values.extend(std::iter::repeat_n(value, repeat));
        }
        values.truncate(count);
        values
    }

    #[test]
    fn all_widths_are_read_in_pieces_of_any_size() {
        for bit_width in 0..=32 {
            let values = sample(bit_width, 5000);
            let (page, end) = encode(&values, bit_width);
            for piece in [1, 7, 64, 1000, 5000] {
                let mut codes = Codes::new(u32::from(bit_width), 0, end).unwrap();
                let mut read = vec![0; values.len()];
                read.chunks_mut(piece).for_each(|out| codes.read(&page, out).unwrap());
                assert_eq!(read, values, "width {bit_width}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn selected_and_skipped_codes_agree_with_all() {
        for bit_width in [1, 3, 8, 12, 17, 25] {
            let values = sample(bit_width, 3000);
            let (page, end) = encode(&values, bit_width);
            let mask: Vec<u64> = (0..3000u64.div_ceil(64)).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0x1111_8000_0000_0001).collect();
            let mut codes = Codes::new(u32::from(bit_width), 0, end).unwrap();
            let mut read = Vec::new();
            codes.skip(&page, 100).unwrap();
            codes.read_selected(&page, 1000, &mask, 100, &mut read).unwrap();
            codes.read_selected(&page, 1900, &mask, 1100, &mut read).unwrap();
            let expected: Vec<u32> = (100..3000).filter(|i| mask[i / 64] >> (i % 64) & 1 == 1).map(|i| values[i]).collect();
            assert_eq!(read, expected, "width {bit_width}");
        }
    }

    #[test]
    fn too_few_codes_are_an_error() {
        let values = sample(9, 100);
        let (page, end) = encode(&values, 9);
        for cut in 0..end {
            let mut codes = Codes::new(9, 0, cut).unwrap();
            let mut out = vec![0; 200];
            assert!(codes.read(&page, &mut out).is_err(), "{cut}");
        }
    }
}
