//! One decompressed data page and where reading stands in it.
//!
//! Position: loaded by [`super::ColumnReader`] when the first of its rows is wanted. Whatever the page's encoding, here it is either
//! codes or values in the engine's form; rare encodings are turned into such values at once ([`super::super::stock`]).

use arrow::buffer::Buffer;
use parquet::basic::Encoding;

use super::{
    fixed::Lanes,
    text::{PrefixedCursor, Views, needs_check},
};
use crate::connectors::parquet::{
    chunk_bytes::PADDING,
    codec::Decompressor,
    fault::{Decoded, Fault, corrupt},
    mask,
    page::{PageHeader, PageKind},
    rle::Codes,
    schema::{Layout, Reading},
    stock,
};

/// Memory that pages leave behind for the next one.
#[derive(Debug, Default)]
pub struct PageBuffers {
    free: Vec<Vec<u8>>,
}

impl PageBuffers {
    /// Takes back a page's memory, unless batches still look into it.
    pub fn recycle(&mut self, page: DataPage) {
        let bytes = match page.content {
            Content::Own(bytes) => Some(bytes),
            Content::Shared(buffer) => buffer.into_vec().ok(),
        };
        self.free.extend(bytes);
        self.free.truncate(2);
    }

    fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }
}

#[derive(Debug)]
enum Content {
    Own(Vec<u8>),
    /// Views may point here.
    Shared(Buffer),
}

#[derive(Debug)]
enum Values {
    Codes(Codes),
    /// Values of a fixed width from a byte position on.
    Fixed {
        at: usize,
        width: usize,
    },
    Prefixed(PrefixedCursor),
}

/// A data page.
#[derive(Debug)]
pub struct DataPage {
    content: Content,
    values: Values,
    first_row: usize,
    num_rows: usize,
    /// Rows read or skipped.
    row: usize,
    /// A bit per row, set where there is a value; empty: no NULLs.
    validity: Vec<u64>,
}

impl DataPage {
    /// Decompresses and prepares a page; `stored` carries [`PADDING`] bytes behind its content.
    pub fn new(
        header: PageHeader,
        first_row: usize,
        stored: &[u8],
        decompressor: &mut Decompressor,
        buffers: &mut PageBuffers,
        reading: &Reading,
    ) -> Decoded<Self> {
        let mut content = buffers.take();
        let (validity, start) = if header.kind == PageKind::DataV1 {
            decompressor.decompress(stored, header.uncompressed_bytes, &mut content)?;
            levels_v1(&content, &header, reading)?
        } else {
            let validity = decompress_v2(stored, &header, decompressor, &mut content, reading)?;
            (validity, 0)
        };
        let num_values = if validity.is_empty() { header.num_values } else { mask::count(&validity) };
        let is_all_valid = num_values == header.num_values;
        let (content, values) = prepare(content, start, num_values, &header, reading)?;
        let validity = if is_all_valid { Vec::new() } else { validity };
        Ok(DataPage { content, values, first_row, num_rows: header.num_values, row: 0, validity })
    }

    /// The row group's row behind the page's last.
    pub fn end_row(&self) -> usize {
        self.first_row + self.num_rows
    }

    /// The row group's row that would be read next.
    pub fn next_row(&self) -> usize {
        self.first_row + self.row
    }

    /// Rows not read or skipped yet.
    pub fn rows_left(&self) -> usize {
        self.num_rows - self.row
    }

    /// Whether the page holds codes.
    pub fn has_codes(&self) -> bool {
        matches!(self.values, Values::Codes(_))
    }

    /// Which of the next `rows` rows have values; `None`: the page has no NULLs.
    pub fn validity(&self, rows: usize) -> Option<Vec<u64>> {
        (!self.validity.is_empty()).then(|| mask::slice(&self.validity, self.row, rows))
    }

    /// Takes note that `rows` rows were read.
    pub fn advance_rows(&mut self, rows: usize) {
        self.row += rows;
    }

    /// Moves over `rows` rows.
    pub fn skip(&mut self, rows: usize) -> Decoded<()> {
        if rows == 0 {
            return Ok(());
        }
        let values = if self.validity.is_empty() { rows } else { mask::count_range(&self.validity, self.row, rows) };
        self.row += rows;
        let bytes = match &self.content {
            Content::Own(bytes) => bytes.as_slice(),
            Content::Shared(buffer) => buffer.as_slice(),
        };
        match &mut self.values {
            Values::Codes(codes) => codes.skip(bytes, values),
            Values::Fixed { at, width } => {
                *at += values * *width;
                Ok(())
            }
            Values::Prefixed(cursor) => cursor.skip(bytes, values),
        }
    }

    /// Reads the next codes of a page of codes.
    pub fn read_codes(&mut self, out: &mut [u32]) -> Decoded<()> {
        let (Content::Own(bytes), Values::Codes(codes)) = (&self.content, &mut self.values) else {
            return corrupt("a page has no codes");
        };
        codes.read(bytes, out)
    }

    /// Reads the selected ones of the next `count` codes of a page of codes.
    pub fn select_codes(&mut self, count: usize, mask: &[u64], mask_start: usize, out: &mut Vec<u32>) -> Decoded<()> {
        let (Content::Own(bytes), Values::Codes(codes)) = (&self.content, &mut self.values) else {
            return corrupt("a page has no codes");
        };
        codes.read_selected(bytes, count, mask, mask_start, out)
    }

    /// Reads the next `count` values of a page of values, all or the selected ones.
    pub fn read_plain(
        &mut self,
        count: usize,
        mask: Option<&[u64]>,
        mask_start: usize,
        lanes: &mut Lanes,
        views: &mut Views,
    ) -> Decoded<()> {
        match (&self.content, &mut self.values) {
            (Content::Own(bytes), Values::Fixed { at, width }) => {
                let end = bytes.len() - PADDING;
                let Some(values) = bytes.get(*at..end) else { return corrupt("a page has fewer values than its header says") };
                *at += count * *width;
                match mask {
                    None => lanes.append(values, count),
                    Some(mask) => lanes.append_selected(values, count, mask, mask_start),
                }
            }
            (Content::Shared(buffer), Values::Prefixed(cursor)) => match mask {
                None => views.append(buffer, cursor, count),
                Some(mask) => views.append_selected(buffer, cursor, count, mask, mask_start),
            },
            _ => corrupt("a page has no plain values"),
        }
    }
}

/// Definition levels of a V1 page, as validity, and where the values start.
fn levels_v1(content: &[u8], header: &PageHeader, reading: &Reading) -> Decoded<(Vec<u64>, usize)> {
    if !reading.is_optional {
        return Ok((Vec::new(), 0));
    }
    if header.level_encoding != Encoding::RLE as i32 {
        return Err(Fault::Unsupported("definition levels that are not RLE are not supported".to_owned()));
    }
    let end = content.len() - PADDING;
    let length = content[..end].first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize);
    match length {
        Some(length) if length <= end - 4 => Ok((validity(content, 4, 4 + length, header.num_values)?, 4 + length)),
        _ => corrupt("definition levels go on beyond their page"),
    }
}

fn decompress_v2(
    stored: &[u8],
    header: &PageHeader,
    decompressor: &mut Decompressor,
    content: &mut Vec<u8>,
    reading: &Reading,
) -> Decoded<Vec<u64>> {
    let end = stored.len() - PADDING;
    let (repetition, definition) = header.level_bytes;
    let levels = repetition.checked_add(definition).filter(|levels| *levels <= end && *levels <= header.uncompressed_bytes);
    let Some(levels) = levels else { return corrupt("levels go on beyond their page") };
    let validity = if reading.is_optional { validity(stored, repetition, levels, header.num_values)? } else { Vec::new() };
    let size = header.uncompressed_bytes - levels;
    if header.is_compressed && size > 0 {
        decompressor.decompress(&stored[levels..], size, content)?;
    } else {
        Decompressor::None.decompress(&stored[levels..], size, content)?;
    }
    Ok(validity)
}

fn validity(bytes: &[u8], start: usize, end: usize, rows: usize) -> Decoded<Vec<u64>> {
    let mut levels = Codes::new(1, start, end)?;
    let mut validity = Vec::with_capacity(rows.div_ceil(64));
    let mut chunk = [0; 64];
    let mut done = 0;
    while done < rows {
        let count = (rows - done).min(64);
        levels.read(bytes, &mut chunk[..count])?;
        validity.push(mask::pack(&chunk[..count], |level| u64::from(level & 1)));
        done += count;
    }
    Ok(validity)
}

/// Turns what follows the levels into codes or values of the engine's form.
fn prepare(content: Vec<u8>, start: usize, num_values: usize, header: &PageHeader, reading: &Reading) -> Decoded<(Content, Values)> {
    let end = content.len() - PADDING;
    match encoding(header.encoding)? {
        Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => {
            if num_values == 0 {
                return Ok((Content::Own(content), Values::Codes(Codes::new(0, end, end)?)));
            }
            let Some(&bit_width) = content[..end].get(start) else { return corrupt("a page of codes is empty") };
            let codes = Codes::new(u32::from(bit_width), start + 1, end)?;
            Ok((Content::Own(content), Values::Codes(codes)))
        }
        Encoding::PLAIN => plain(content, start, num_values, reading),
        other => {
            let mut values = stock::to_plain(&content[start..end], num_values, other, reading)?;
            values.resize(values.len() + PADDING, 0);
            plain(values, 0, num_values, reading)
        }
    }
}

/// Thrift's numbers of encodings.
fn encoding(number: i32) -> Decoded<Encoding> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        other => return Err(Fault::Unsupported(format!("encoding number {other} is not supported"))),
    })
}

fn plain(content: Vec<u8>, start: usize, num_values: usize, reading: &Reading) -> Decoded<(Content, Values)> {
    let end = content.len() - PADDING;
    let (content, start) = match reading.conversion.apply(&content[start..end], num_values)? {
        Some(mut converted) => {
            converted.resize(converted.len() + PADDING, 0);
            (converted, 0)
        }
        None => (content, start),
    };
    let end = content.len() - PADDING;
    match reading.layout {
        Layout::Fixed(width) => {
            if num_values.checked_mul(width).is_none_or(|length| length > end - start) {
                return corrupt("a page has fewer values than its header says");
            }
            Ok((Content::Own(content), Values::Fixed { at: start, width }))
        }
        layout => {
            let check_utf8 = layout == Layout::Text && needs_check(&content[start..end]);
            let cursor = PrefixedCursor { at: start, end, check_utf8 };
            Ok((Content::Shared(Buffer::from_vec(content)), Values::Prefixed(cursor)))
        }
    }
}
