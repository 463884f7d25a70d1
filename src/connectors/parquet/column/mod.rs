//! Reads one column chunk, window by window, under a selection.
//!
//! ```text
//!  chunk bytes ──page header──► skipped, if no row of it is wanted
//!                    └────────► decompressed ──► levels ──► codes ─┐
//!                                                    └────► values ┴──► ColumnWindow
//!  dictionary page ──► decompressed when the first page of codes or the first predicate wants it
//! ```
//!
//! Position: driven by [`super::row_group`], one [`ColumnReader`] per column and chain, reused row group after row group. Rows are
//! always asked for in ascending order; rows that nobody asks for cost nothing but a look at page headers.
//!
//! | file | what |
//! |---|---|
//! | [`window`] | what a read leaves behind |
//! | [`dictionary`] | the values of codes |
//! | [`fixed`] | values of 1 to 16 bytes |
//! | [`text`] | views into pages |
//! | [`data_page`] | one decompressed data page and where reading stands in it |

pub mod data_page;
pub mod dictionary;
pub mod fixed;
pub mod text;
pub mod window;

use std::{fs::File, sync::Arc};

use parquet::{basic::Compression, file::metadata::ColumnChunkMetaData};

pub use dictionary::Dictionary;
pub use window::ColumnWindow;

use self::data_page::{DataPage, PageBuffers};
use super::{
    chunk_bytes::ChunkBytes,
    codec::Decompressor,
    fault::{Decoded, corrupt},
    mask,
    page::{PageHeader, PageKind},
    schema::Reading,
};

/// Below this share of selected rows (one in so many), codes are picked one by one instead of unpacked all.
const SPARSE: usize = 16;

/// Reads a column, chunk after chunk.
pub struct ColumnReader {
    reading: Arc<Reading>,
    bytes: ChunkBytes,
    codec: Option<(Compression, Decompressor)>,
    dictionary_page: Option<(PageHeader, u64)>,
    dictionary: Option<Arc<Dictionary>>,
    buffers: PageBuffers,
    page: Option<DataPage>,
    /// Rows of the chunk in pages that have been met.
    rows_met: usize,
    num_rows: usize,
    scratch: Vec<u32>,
    /// Pages decompressed and pages passed by.
    pub pages_read: u64,
    /// Pages passed by without decompression.
    pub pages_skipped: u64,
}

impl ColumnReader {
    /// A reader without a chunk.
    pub fn new(reading: Arc<Reading>) -> Self {
        ColumnReader {
            reading,
            bytes: ChunkBytes::default(),
            codec: None,
            dictionary_page: None,
            dictionary: None,
            buffers: PageBuffers::default(),
            page: None,
            rows_met: 0,
            num_rows: 0,
            scratch: Vec::new(),
            pages_read: 0,
            pages_skipped: 0,
        }
    }

    /// How the column is read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Bytes read from files so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes.bytes_read
    }

    /// Turns to a chunk of `num_rows` rows; reads nothing yet.
    pub fn start(&mut self, file: &Arc<File>, file_bytes: u64, chunk: &ColumnChunkMetaData, num_rows: usize) -> Decoded<()> {
        let dictionary_offset = chunk.dictionary_page_offset().filter(|offset| *offset > 0 && *offset < chunk.data_page_offset());
        let start = u64::try_from(dictionary_offset.unwrap_or(chunk.data_page_offset()));
        let end = start.ok().zip(u64::try_from(chunk.compressed_size()).ok()).and_then(|(start, size)| start.checked_add(size));
        let (Ok(start), Some(end)) = (start, end) else { return corrupt("a column chunk has no place in the file") };
        if end > file_bytes {
            return corrupt("a column chunk goes on beyond the end of the file");
        }
        if chunk.file_path().is_some() {
            return corrupt("a column chunk lies in another file");
        }
        let compression = chunk.compression();
        if self.codec.as_ref().is_none_or(|(current, _)| *current != compression) {
            self.codec = Some((compression, Decompressor::new(compression)?));
        }
        self.bytes.start(Arc::clone(file), start..end);
        self.dictionary_page = None;
        self.dictionary = None;
        if let Some(page) = self.page.take() {
            self.buffers.recycle(page);
        }
        (self.rows_met, self.num_rows) = (0, num_rows);
        Ok(())
    }

    /// The chunk's dictionary, if its first page is one.
    pub fn dictionary(&mut self) -> Decoded<Option<Arc<Dictionary>>> {
        if self.dictionary.is_none() && self.dictionary_page.is_none() && self.page.is_none() && self.rows_met == 0 {
            // Nothing has been met yet: look at the first page.
            if !self.next_page(usize::MAX)? {
                return Ok(None);
            }
        }
        if self.dictionary.is_none()
            && let Some((header, position)) = self.dictionary_page
        {
            let page = self.bytes.take_at(position, header.compressed_bytes)?;
            let mut content = Vec::new();
            let (_, decompressor) = self.codec.as_mut().expect("a started reader has a codec");
            decompressor.decompress(page, header.uncompressed_bytes, &mut content)?;
            self.dictionary = Some(Arc::new(Dictionary::new(content, header.num_values, &self.reading)?));
            self.pages_read += 1;
        }
        Ok(self.dictionary.clone())
    }

    /// Reads rows `start .. start + count` of the chunk into `window`: all, or those whose bit is set in `mask`.
    pub fn read(&mut self, start: usize, count: usize, mask: Option<&[u64]>, window: &mut ColumnWindow) -> Decoded<()> {
        window.clear();
        let mut done = 0;
        while done < count {
            self.seek(start + done)?;
            let page_rows = self.page.as_ref().map_or(0, |page| page.rows_left());
            let rows = page_rows.min(count - done);
            if rows == 0 {
                return corrupt("a column chunk has fewer rows than its row group");
            }
            match mask {
                Some(mask) if mask::count_range(mask, done, rows) == 0 => {}
                mask => self.read_in_page(rows, mask, done, window)?,
            }
            done += rows;
        }
        Ok(())
    }

    /// Makes the current page the one with `row`, and the next row to be read in it `row`.
    fn seek(&mut self, row: usize) -> Decoded<()> {
        while self.page.as_ref().is_none_or(|page| row >= page.end_row()) {
            if row < self.rows_met || !self.next_page(row)? {
                return corrupt("a column chunk has fewer rows than its row group");
            }
        }
        let page = self.page.as_mut().expect("the loop above leaves a page");
        let ahead = row.checked_sub(page.next_row());
        match ahead {
            Some(ahead) => page.skip(ahead),
            None => corrupt("rows are asked for in descending order"),
        }
    }

    /// Moves on by one page: past it if it ends before `wanted_row`, into it otherwise. False at the end of the chunk.
    fn next_page(&mut self, wanted_row: usize) -> Decoded<bool> {
        let Some(header) = self.bytes.next_header()? else { return Ok(false) };
        match header.kind {
            PageKind::Dictionary => {
                let position = self.bytes.skip(header.compressed_bytes)?;
                if self.dictionary_page.replace((header, position)).is_some() || self.rows_met > 0 {
                    return corrupt("a column chunk has a second dictionary");
                }
            }
            PageKind::Other => {
                self.bytes.skip(header.compressed_bytes)?;
            }
            PageKind::DataV1 | PageKind::DataV2 => {
                let first_row = self.rows_met;
                let end = first_row.saturating_add(header.num_values);
                if end > self.num_rows {
                    return corrupt("a column chunk has more rows than its row group");
                }
                if end <= wanted_row && wanted_row != usize::MAX {
                    self.bytes.skip(header.compressed_bytes)?;
                    self.pages_skipped += 1;
                    self.rows_met = end;
                } else {
                    self.load(header, first_row)?;
                    self.rows_met = end;
                }
            }
        }
        Ok(true)
    }

    fn load(&mut self, header: PageHeader, first_row: usize) -> Decoded<()> {
        if let Some(page) = self.page.take() {
            self.buffers.recycle(page);
        }
        let (_, decompressor) = self.codec.as_mut().expect("a started reader has a codec");
        let stored = self.bytes.take(header.compressed_bytes)?;
        self.page = Some(DataPage::new(header, first_row, stored, decompressor, &mut self.buffers, &self.reading)?);
        self.pages_read += 1;
        Ok(())
    }

    /// Reads the next `rows` rows of the current page (bit `mask_start` of the mask stands for the first).
    fn read_in_page(&mut self, rows: usize, mask: Option<&[u64]>, mask_start: usize, window: &mut ColumnWindow) -> Decoded<()> {
        let uses_codes = self.page.as_ref().is_some_and(DataPage::has_codes);
        let dictionary = if uses_codes { self.dictionary()? } else { None };
        let Some(page) = self.page.as_mut() else { return corrupt("a column chunk has no pages") };
        let validity = page.validity(rows);
        if let Some(validity) = validity {
            let mut all = ColumnWindow::new(self.reading.layout);
            let values = mask::count(&validity);
            read_values(page, dictionary.as_ref(), values, None, 0, &mut self.scratch, &mut all)?;
            page.advance_rows(rows);
            all.spread(0, rows, &validity);
            return append_selected(&all, &validity, rows, mask.map(|mask| mask::slice(mask, mask_start, rows)), window);
        }
        read_values(page, dictionary.as_ref(), rows, mask, mask_start, &mut self.scratch, window)?;
        page.advance_rows(rows);
        let read = mask.map_or(rows, |mask| mask::count_range(mask, mask_start, rows));
        window.finish_rows(read, None);
        Ok(())
    }
}

/// Appends the selected rows of a page part that has NULLs (`all`, dense) to `window`.
fn append_selected(
    all: &ColumnWindow,
    validity: &[u64],
    rows: usize,
    selected: Option<Vec<u64>>,
    window: &mut ColumnWindow,
) -> Decoded<()> {
    let selected = selected.as_deref();
    let as_codes = all.dictionary.as_ref().is_some_and(|dictionary| window.begin_codes(dictionary));
    if as_codes {
        match selected {
            None => window.codes.extend_from_slice(&all.codes),
            Some(selected) => mask::compress(&all.codes, selected, &mut window.codes),
        }
    } else {
        window.begin_values();
        match &all.dictionary {
            Some(dictionary) if dictionary.len() > 0 => {
                let mut codes = Vec::new();
                match selected {
                    None => codes.extend_from_slice(&all.codes),
                    Some(selected) => mask::compress(&all.codes, selected, &mut codes),
                }
                window.gather(dictionary, &codes);
            }
            Some(_) => window.append_default(selected.map_or(rows, mask::count)),
            None => {
                window.lanes.append_lanes(&all.lanes, selected);
                window.views.append_views(&all.views, selected);
            }
        }
    }
    match selected {
        None => window.finish_rows(rows, Some(validity)),
        Some(selected) => {
            let inner: Vec<u64> = validity.iter().zip(selected).map(|(v, s)| v & s).collect();
            window.finish_rows(mask::count(selected), Some(&mask::extract(&inner, selected)));
        }
    }
    Ok(())
}

/// Reads the next `values` values of a page, all or those selected, into `window` as codes if it can hold them.
fn read_values(
    page: &mut DataPage,
    dictionary: Option<&Arc<Dictionary>>,
    values: usize,
    mask: Option<&[u64]>,
    mask_start: usize,
    scratch: &mut Vec<u32>,
    window: &mut ColumnWindow,
) -> Decoded<()> {
    if !page.has_codes() {
        window.begin_values();
        return page.read_plain(values, mask, mask_start, &mut window.lanes, &mut window.views);
    }
    let Some(dictionary) = dictionary else { return corrupt("a column chunk has codes but no dictionary") };
    if window.begin_codes(dictionary) {
        let first = window.codes.len();
        read_codes(page, values, mask, mask_start, scratch, &mut window.codes)?;
        return check_codes(&window.codes[first..], dictionary);
    }
    window.begin_values();
    let mut codes = Vec::new();
    read_codes(page, values, mask, mask_start, scratch, &mut codes)?;
    check_codes(&codes, dictionary)?;
    window.gather(dictionary, &codes);
    Ok(())
}

fn check_codes(codes: &[u32], dictionary: &Dictionary) -> Decoded<()> {
    if !codes.is_empty() && super::rle::max_code(codes) as usize >= dictionary.len() {
        return corrupt("a code is outside its dictionary");
    }
    Ok(())
}

fn read_codes(
    page: &mut DataPage,
    values: usize,
    mask: Option<&[u64]>,
    mask_start: usize,
    scratch: &mut Vec<u32>,
    out: &mut Vec<u32>,
) -> Decoded<()> {
    let Some(mask) = mask else {
        let first = out.len();
        out.resize(first + values, 0);
        return page.read_codes(&mut out[first..]);
    };
    let selected = mask::count_range(mask, mask_start, values);
    if selected * SPARSE < values {
        return page.select_codes(values, mask, mask_start, out);
    }
    scratch.resize(values, 0);
    page.read_codes(scratch)?;
    if mask_start == 0 && values.is_multiple_of(64) {
        mask::compress(scratch, &mask[..values / 64], out);
    } else {
        mask::compress(scratch, &mask::slice(mask, mask_start, values), out);
    }
    Ok(())
}
