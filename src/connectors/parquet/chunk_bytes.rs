//! The bytes of one column chunk, read with positioned reads into a buffer that is reused chunk after chunk.
//!
//! Position: between the file and [`super::column`]. A map of the file was left out on purpose: a file that is
//! truncated while it is mapped kills the process.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use super::{
    fault::{Decoded, corrupt},
    page::{self, PageHeader},
};

/// Bytes behind a buffer's content that kernels may read (and, in output buffers, write) with wide loads.
pub const PADDING: usize = 64;

/// Chunks up to this size are read in one go; of larger ones, this much at a time.
const BLOCK_BYTES: usize = 2 << 20;

/// A position in a column chunk and the bytes around it.
#[derive(Debug, Default)]
pub struct ChunkBytes {
    file: Option<Arc<File>>,
    /// End of the chunk in the file.
    end: u64,
    /// Where the next page starts in the file.
    position: u64,
    /// File position of `buffer[0]`.
    buffer_start: u64,
    /// Bytes of the buffer that hold file content; `PADDING` more exist behind them.
    filled: usize,
    buffer: Vec<u8>,
    /// Bytes that were skipped and then wanted.
    earlier: Vec<u8>,
    /// All bytes read from files so far.
    pub bytes_read: u64,
}

impl ChunkBytes {
    /// Starts at the front of the bytes `range` of `file`; nothing is read yet.
    pub fn start(&mut self, file: Arc<File>, range: Range<u64>) {
        self.file = Some(file);
        (self.position, self.end) = (range.start, range.end);
        (self.buffer_start, self.filled) = (range.start, 0);
    }

    /// The header of the next page, `None` at the end of the chunk. The position moves behind the header.
    pub fn next_header(&mut self) -> Decoded<Option<PageHeader>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let mut wanted = 512;
        loop {
            let available = self.ensure(wanted.min(self.remaining()))?;
            if let Some((header, length)) = page::parse_header(available)? {
                self.position += length as u64;
                return Ok(Some(header));
            }
            if wanted >= self.remaining() || wanted > page::HEADER_BYTES_MAX {
                return corrupt("a page header is cut off");
            }
            wanted *= 8;
        }
    }

    /// The next `length` bytes, with [`PADDING`] readable bytes behind them; the position moves behind them.
    pub fn take(&mut self, length: usize) -> Decoded<&[u8]> {
        if length > self.remaining() {
            return corrupt("a page goes on beyond its column chunk");
        }
        self.ensure(length)?;
        let start = (self.position - self.buffer_start) as usize;
        self.position += length as u64;
        Ok(&self.buffer[start..start + length + PADDING])
    }

    /// Moves over the next `length` bytes without reading them; returns where they are, for [`Self::take_at`].
    pub fn skip(&mut self, length: usize) -> Decoded<u64> {
        if length > self.remaining() {
            return corrupt("a page goes on beyond its column chunk");
        }
        let position = self.position;
        self.position += length as u64;
        Ok(position)
    }

    /// `length` bytes at an earlier position, with [`PADDING`] readable bytes behind them; read again if they are gone.
    pub fn take_at(&mut self, position: u64, length: usize) -> Decoded<&[u8]> {
        let filled_end = self.buffer_start + self.filled as u64;
        if position >= self.buffer_start && position + length as u64 <= filled_end {
            let start = (position - self.buffer_start) as usize;
            return Ok(&self.buffer[start..start + length + PADDING]);
        }
        if self.earlier.len() < length + PADDING {
            self.earlier.resize(length + PADDING, 0);
        }
        if let Some(file) = &self.file {
            file.read_exact_at(&mut self.earlier[..length], position)?;
        }
        self.bytes_read += length as u64;
        Ok(&self.earlier[..length + PADDING])
    }

    fn remaining(&self) -> usize {
        (self.end - self.position) as usize
    }

    /// Makes at least `length` bytes (at most `remaining`) from the position on present, and returns all that are.
    fn ensure(&mut self, length: usize) -> Decoded<&[u8]> {
        let have_end = self.buffer_start + self.filled as u64;
        if self.position + length as u64 > have_end {
            self.refill(length)?;
        }
        let start = (self.position - self.buffer_start) as usize;
        let end = self.filled.min(start + self.remaining());
        Ok(&self.buffer[start..end])
    }

    fn refill(&mut self, length: usize) -> Decoded<()> {
        let have_end = self.buffer_start + self.filled as u64;
        let kept = have_end.saturating_sub(self.position) as usize;
        let kept = kept.min(self.filled);
        self.buffer.copy_within(self.filled - kept..self.filled, 0);
        let wanted = length.max(BLOCK_BYTES).min(self.remaining());
        if self.buffer.len() < wanted + PADDING {
            self.buffer.resize(wanted + PADDING, 0);
        }
        self.buffer_start = self.position;
        self.filled = kept;
        if let Some(file) = &self.file {
            file.read_exact_at(&mut self.buffer[kept..wanted], self.position + kept as u64)?;
        }
        self.bytes_read += (wanted - kept) as u64;
        self.filled = wanted;
        Ok(())
    }
}
