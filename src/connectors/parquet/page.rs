//! Page headers: a compact-Thrift parser for just the fields that decoding needs.
//!
//! Position: below [`super::column`], which walks a chunk page by page. Statistics in page headers and checksums
//! are skipped over.

use super::fault::{Decoded, corrupt};

/// The longest header that is looked for; longer ones hold statistics of absurd size.
pub const HEADER_BYTES_MAX: usize = 1 << 20;

/// A page's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// What the page holds.
    pub kind: PageKind,
    /// Bytes of the page as stored, without this header.
    pub compressed_bytes: usize,
    /// Bytes of the page decompressed (V2: including the levels, which are never compressed).
    pub uncompressed_bytes: usize,
    /// Values, NULLs included (dictionary: entries).
    pub num_values: usize,
    /// Thrift's number of the encoding of the values.
    pub encoding: i32,
    /// Thrift's number of the encoding of the definition levels (V1).
    pub level_encoding: i32,
    /// V2: bytes of the repetition and definition levels in front of the values.
    pub level_bytes: (usize, usize),
    /// V2: whether the values are compressed.
    pub is_compressed: bool,
}

/// Kinds of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// Levels and values compressed together.
    DataV1,
    /// Levels outside the compression.
    DataV2,
    /// The values that codes stand for.
    Dictionary,
    /// Nothing to read.
    Other,
}

/// Parses a header at the start of `bytes`; `Ok(None)` when it goes on beyond their end. The second value is its length.
pub fn parse_header(bytes: &[u8]) -> Decoded<Option<(PageHeader, usize)>> {
    let mut thrift = Thrift { bytes, at: 0 };
    match parse(&mut thrift) {
        Ok(header) => Ok(Some((header, thrift.at))),
        Err(Stop::End) => Ok(None),
        Err(Stop::Bad(message)) => corrupt(message),
    }
}

fn parse(thrift: &mut Thrift) -> Result<PageHeader, Stop> {
    let mut header = PageHeader {
        kind: PageKind::Other,
        compressed_bytes: 0,
        uncompressed_bytes: 0,
        num_values: 0,
        encoding: 0,
        level_encoding: 3,
        level_bytes: (0, 0),
        is_compressed: true,
    };
    let (mut page_type, mut sizes, mut detail) = (None, (None, None), None);
    let mut id = 0;
    while let Some(kind) = thrift.field(&mut id)? {
        match (id, kind) {
            (1, I32) => page_type = Some(thrift.int()?),
            (2, I32) => sizes.0 = Some(thrift.size()?),
            (3, I32) => sizes.1 = Some(thrift.size()?),
            (5 | 7 | 8, STRUCT) => {
                detail = Some(id);
                parse_detail(thrift, id, &mut header)?;
            }
            _ => thrift.skip(kind, 0)?,
        }
    }
    let (Some(uncompressed), Some(compressed)) = sizes else { return Err(Stop::Bad("a page header has no sizes")) };
    (header.uncompressed_bytes, header.compressed_bytes) = (uncompressed, compressed);
    header.kind = match (page_type, detail) {
        (Some(0), Some(5)) => PageKind::DataV1,
        (Some(2), Some(7)) => PageKind::Dictionary,
        (Some(3), Some(8)) => PageKind::DataV2,
        (Some(1), _) => PageKind::Other,
        _ => return Err(Stop::Bad("a page header has no known page type")),
    };
    Ok(header)
}

// Data page (5), dictionary page (7) and data page V2 (8) share the first fields' places, not their meaning.
fn parse_detail(thrift: &mut Thrift, page: i16, header: &mut PageHeader) -> Result<(), Stop> {
    let mut id = 0;
    let mut has_values = false;
    while let Some(kind) = thrift.field(&mut id)? {
        match (page, id, kind) {
            (_, 1, I32) => {
                header.num_values = thrift.size()?;
                has_values = true;
            }
            (5 | 7, 2, I32) | (8, 4, I32) => header.encoding = thrift.int()?,
            (5, 3, I32) => header.level_encoding = thrift.int()?,
            (8, 5, I32) => header.level_bytes.1 = thrift.size()?,
            (8, 6, I32) => header.level_bytes.0 = thrift.size()?,
            (8, 7, TRUE | FALSE) => header.is_compressed = kind == TRUE,
            _ => thrift.skip(kind, 0)?,
        }
    }
    if has_values { Ok(()) } else { Err(Stop::Bad("a page header has no number of values")) }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const STRUCT: u8 = 12;

enum Stop {
    End,
    Bad(&'static str),
}

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::End)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Stop> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Stop::Bad("a page header has an endless number"))
    }

    fn int(&mut self) -> Result<i32, Stop> {
        let value = self.varint()?;
        i32::try_from((value >> 1) as i64 ^ -((value & 1) as i64)).map_err(|_| Stop::Bad("a page header has a number out of range"))
    }

    fn size(&mut self) -> Result<usize, Stop> {
        usize::try_from(self.int()?).map_err(|_| Stop::Bad("a page header has a negative size"))
    }

    /// The next field's type; its id goes into `id`. `None` at the end of the struct.
    fn field(&mut self, id: &mut i16) -> Result<Option<u8>, Stop> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *id = match byte >> 4 {
            0 => i16::try_from(self.int()?).map_err(|_| Stop::Bad("a page header has a field out of range"))?,
            delta => id.checked_add(i16::from(delta)).ok_or(Stop::Bad("a page header has a field out of range"))?,
        };
        Ok(Some(byte & 0x0f))
    }

    fn advance(&mut self, count: u64) -> Result<(), Stop> {
        if count > HEADER_BYTES_MAX as u64 {
            return Err(Stop::Bad("a page header is too long"));
        }
        self.at += count as usize;
        if self.at > self.bytes.len() { Err(Stop::End) } else { Ok(()) }
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Result<(), Stop> {
        if depth > 8 {
            return Err(Stop::Bad("a page header is nested too deeply"));
        }
        match kind {
            TRUE | FALSE => Ok(()),
            3 => self.advance(1),
            4..=6 => self.varint().map(drop),
            7 => self.advance(8),
            8 => {
                let length = self.varint()?;
                self.advance(length)
            }
            9 | 10 => self.skip_list(depth),
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(Stop::Bad("a page header has a field of an unknown type")),
        }
    }

    fn skip_list(&mut self, depth: u8) -> Result<(), Stop> {
        let head = self.byte()?;
        let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        match head & 0x0f {
            TRUE | FALSE => self.advance(length),
            kind => (0..length).try_for_each(|_| self.skip(kind, depth + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // type 0, sizes 100 and 60, a data page of 20 values, encoding 8 (RLE_DICTIONARY), levels 3, statistics with a min of two bytes
    const V1: &[u8] = &[
        0x15, 0x00, 0x15, 0xc8, 0x01, 0x15, 0x78, 0x2c, 0x15, 0x28, 0x15, 0x10, 0x15, 0x06, 0x15, 0x06, 0x1c, 0x28, 0x02, 7, 7, 0x00, 0x00,
        0x00,
    ];

    #[test]
    fn a_data_page_header_is_read_and_statistics_are_skipped() {
        let (header, length) = parse_header(V1).unwrap().unwrap();
        assert_eq!(length, V1.len());
        assert_eq!(header.kind, PageKind::DataV1);
        assert_eq!((header.uncompressed_bytes, header.compressed_bytes, header.num_values, header.encoding), (100, 60, 20, 8));
    }

    #[test]
    fn every_prefix_asks_for_more() {
        for length in 0..V1.len() {
            assert!(matches!(parse_header(&V1[..length]), Ok(None)), "{length}");
        }
    }

    #[test]
    fn negative_sizes_and_unknown_types_are_corrupt() {
        assert!(parse_header(&[0x15, 0x00, 0x15, 0x01]).is_err());
        assert!(parse_header(&[0x15, 0x00, 0x1d]).is_err());
        assert!(parse_header(&[0x15, 0x00, 0x15, 0x02, 0x15, 0x02, 0x00]).is_err());
    }
}
