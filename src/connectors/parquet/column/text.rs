//! Text and binary values: Arrow views into page buffers, made without copying the bytes.
//!
//! Position: below [`super::ColumnWindow`] and [`crate::connectors::parquet::output`]. A view is 16 bytes: the length, then the
//! bytes themselves (up to 12), or their first 4, a buffer and an offset. UTF-8 is checked once per page where the page is
//! plain ASCII, else once per value that is read; what nobody reads is not checked.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BinaryViewArray, StringViewArray},
    buffer::{Buffer, NullBuffer, ScalarBuffer},
};

use crate::connectors::parquet::{
    fault::{Decoded, corrupt},
    mask, rle,
};

/// A growing column of views and the buffers they point into.
#[derive(Debug, Clone, Default)]
pub struct Views {
    /// The views.
    pub views: Vec<u128>,
    /// What they point into.
    pub buffers: Vec<Buffer>,
}

/// Where a reader of length-prefixed values stands in a page.
#[derive(Debug, Clone, Copy)]
pub struct PrefixedCursor {
    /// Byte position of the next value's length.
    pub at: usize,
    /// End of the values.
    pub end: usize,
    /// Whether each value that is read must be checked for UTF-8.
    pub check_utf8: bool,
}

impl PrefixedCursor {
    /// Start and length of the next value; moves behind it.
    #[inline(always)]
    fn next(&mut self, page: &[u8]) -> Decoded<(usize, usize)> {
        let start = self.at + 4;
        if start > self.end {
            return corrupt("a page has fewer values than its header says");
        }
        let length = u32::from_le_bytes(page[self.at..start].try_into().expect("four bytes")) as usize;
        if length > self.end - start {
            return corrupt("a value goes on beyond its page");
        }
        self.at = start + length;
        Ok((start, length))
    }

    /// Moves over `count` values.
    pub fn skip(&mut self, page: &[u8], count: usize) -> Decoded<()> {
        for _ in 0..count {
            self.next(page)?;
        }
        Ok(())
    }
}

/// A view of `page[start .. start + length]`, which is buffer number `buffer`. `page` has 12 readable bytes behind it.
#[inline(always)]
fn view(page: &[u8], start: usize, length: usize, buffer: u32) -> u128 {
    if length <= 12 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        bytes[4..].copy_from_slice(&page[start..start + 12]);
        let used = 32 + 8 * length as u32;
        u128::from_le_bytes(bytes) & (u128::MAX >> (128 - used))
    } else {
        let prefix = u32::from_le_bytes(page[start..start + 4].try_into().expect("four bytes"));
        length as u128 | u128::from(prefix) << 32 | u128::from(buffer) << 64 | (start as u128) << 96
    }
}

impl Views {
    /// Forgets all values, keeps the memory of the views.
    pub fn clear(&mut self) {
        self.views.clear();
        self.buffers.clear();
    }

    /// The number of `buffer`, which is added unless it is the last one.
    pub fn buffer_index(&mut self, buffer: &Buffer) -> u32 {
        if self.buffers.last().is_none_or(|last| last.as_ptr() != buffer.as_ptr()) {
            self.buffers.push(buffer.clone());
        }
        (self.buffers.len() - 1) as u32
    }

    /// Appends the next `count` values of a page.
    pub fn append(&mut self, page: &Buffer, cursor: &mut PrefixedCursor, count: usize) -> Decoded<()> {
        let buffer = self.buffer_index(page);
        let bytes = page.as_slice();
        self.views.reserve(count);
        for _ in 0..count {
            let (start, length) = cursor.next(bytes)?;
            check(bytes, start, length, cursor.check_utf8)?;
            self.views.push(view(bytes, start, length, buffer));
        }
        Ok(())
    }

    /// Appends, of the next `count` values of a page, those whose bit is set (bit `mask_start` stands for the first).
    pub fn append_selected(
        &mut self,
        page: &Buffer,
        cursor: &mut PrefixedCursor,
        count: usize,
        mask: &[u64],
        mask_start: usize,
    ) -> Decoded<()> {
        let buffer = self.buffer_index(page);
        let bytes = page.as_slice();
        for bit in mask_start..mask_start + count {
            let (start, length) = cursor.next(bytes)?;
            if mask[bit / 64] >> (bit % 64) & 1 == 1 {
                check(bytes, start, length, cursor.check_utf8)?;
                self.views.push(view(bytes, start, length, buffer));
            }
        }
        Ok(())
    }

    /// Appends `dictionary[code]` for every code.
    ///
    /// # Panics
    /// When a code is outside the dictionary.
    pub fn gather(&mut self, dictionary: &TextDictionary, codes: &[u32]) {
        if codes.is_empty() {
            return;
        }
        let views = &dictionary.views[..];
        assert!((rle::max_code(codes) as usize) < views.len(), "codes are checked against the dictionary");
        let shift = u128::from(self.buffer_index(&dictionary.buffer)) << 64;
        self.views.extend(codes.iter().map(|code| rebase(views[*code as usize], shift)));
    }

    /// Appends what of `other` is selected; `None` selects all.
    pub fn append_views(&mut self, other: &Views, selected: Option<&[u64]>) {
        let first = self.views.len();
        match selected {
            None => self.views.extend_from_slice(&other.views),
            Some(selected) => mask::compress(&other.views, selected, &mut self.views),
        }
        // Buffers of the other column get the numbers behind ours, but for a shared last one.
        let base = match (self.buffers.last(), other.buffers.first()) {
            (Some(last), Some(front)) if last.as_ptr() == front.as_ptr() => self.buffers.len() - 1,
            _ => self.buffers.len(),
        };
        self.buffers.truncate(base);
        self.buffers.extend(other.buffers.iter().cloned());
        if base > 0 {
            let shift = (base as u128) << 64;
            self.views[first..].iter_mut().for_each(|view| *view = rebase(*view, shift));
        }
    }

    /// Copies the bytes together when the views use less than half of what their buffers hold: a few rows must not
    /// keep whole pages alive.
    pub fn compact(&mut self) {
        let held: usize = self.buffers.iter().map(Buffer::len).sum();
        let used: usize = self.views.iter().map(|view| *view as u32 as usize).filter(|length| *length > 12).sum();
        if used * 2 >= held || used > i32::MAX as usize {
            return;
        }
        let mut bytes = Vec::with_capacity(used);
        for view in &mut self.views {
            let length = *view as u32 as usize;
            if length > 12 {
                let (buffer, start) = ((*view >> 64) as u32 as usize, (*view >> 96) as usize);
                let offset = bytes.len() as u128;
                bytes.extend_from_slice(&self.buffers[buffer][start..start + length]);
                *view = *view & u128::from(u64::MAX) | offset << 96;
            }
        }
        self.buffers = if bytes.is_empty() { Vec::new() } else { vec![Buffer::from_vec(bytes)] };
    }

    /// An Arrow array of the values, taken out.
    pub fn take_array(&mut self, is_text: bool, nulls: Option<NullBuffer>) -> ArrayRef {
        let views = ScalarBuffer::from(std::mem::take(&mut self.views));
        let buffers = std::mem::take(&mut self.buffers);
        array(views, buffers, is_text, nulls)
    }
}

fn array(views: ScalarBuffer<u128>, buffers: Vec<Buffer>, is_text: bool, nulls: Option<NullBuffer>) -> ArrayRef {
    let buffers: Arc<[Buffer]> = buffers.into();
    // SAFETY: views are only made by `view` from lengths and offsets within a page (checked by the cursor), their
    // buffer numbers are kept in step with `buffers`, and text has passed `check` or an ASCII page.
    unsafe {
        if is_text {
            Arc::new(StringViewArray::new_unchecked(views, buffers, nulls))
        } else {
            Arc::new(BinaryViewArray::new_unchecked(views, buffers, nulls))
        }
    }
}

#[inline(always)]
fn rebase(view: u128, shift: u128) -> u128 {
    if view as u32 > 12 { view + shift } else { view }
}

#[inline(always)]
fn check(page: &[u8], start: usize, length: usize, check_utf8: bool) -> Decoded<()> {
    if check_utf8 && std::str::from_utf8(&page[start..start + length]).is_err() {
        return corrupt("text is not valid UTF-8");
    }
    Ok(())
}

/// Whether text in a page must be checked value by value. ASCII pages need not: then the lengths' bytes are below 128, too.
pub fn needs_check(page: &[u8]) -> bool {
    !page.is_ascii()
}

/// The values that a chunk's codes stand for.
#[derive(Debug)]
pub struct TextDictionary {
    views: ScalarBuffer<u128>,
    buffer: Buffer,
    /// The values as an array, shared by all batches.
    pub array: ArrayRef,
    is_text: bool,
}

impl TextDictionary {
    /// Of `count` length-prefixed values in `page[.. end]`; `page` has padding behind that.
    pub fn new(page: Vec<u8>, end: usize, count: usize, is_text: bool) -> Decoded<Self> {
        let check_utf8 = is_text && needs_check(&page[..end]);
        if count > end / 4 {
            return corrupt("a page has fewer values than its header says");
        }
        let buffer = Buffer::from_vec(page);
        let mut values = Views::default();
        values.append(&buffer, &mut PrefixedCursor { at: 0, end, check_utf8 }, count)?;
        let views = ScalarBuffer::from(values.views);
        let array = array(views.clone(), vec![buffer.clone()], is_text, None);
        Ok(TextDictionary { views, buffer, array, is_text })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// The values followed by one NULL.
    pub fn with_null(&self) -> ArrayRef {
        let mut views = self.views.to_vec();
        views.push(0);
        let nulls = NullBuffer::from_iter((0..views.len()).map(|i| i + 1 < views.len()));
        array(views.into(), vec![self.buffer.clone()], self.is_text, Some(nulls))
    }
}
