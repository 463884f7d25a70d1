//! The source of an aggregation: hands out parts of the groups and makes rows of them.
//!
//! A part is a range of a finished table, or a partition whose pieces are merged when its turn comes: merged
//! groups are still in cache when they are turned into rows, and are gone when the next part is taken.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use parking_lot::Mutex;
use pipelines::{Batch, LocalContext, LocalSource, Poll, Reservation, Result, Source};

use super::{Shared, piece::Piece};

/// Groups to be read.
pub(crate) enum Part {
    /// Groups of a table.
    Slice(Arc<Piece>, Range<usize>),
    /// Pieces of partition `index`.
    Partition { index: usize, pieces: Vec<Piece> },
}

/// All groups, cut into parts that are taken once each.
pub(crate) struct Parts {
    parts: Vec<Mutex<Option<Part>>>,
    next: AtomicUsize,
}

impl Parts {
    /// Parts to be read in that order.
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Parts { parts: parts.into_iter().map(|part| Mutex::new(Some(part))).collect(), next: AtomicUsize::new(0) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    fn take(&self) -> Option<Part> {
        loop {
            // Relaxed: the counter only gives every index once; the parts are behind locks.
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if let Some(part) = self.parts.get(index)?.lock().take() {
                return Some(part);
            }
        }
    }
}

/// The source.
pub(crate) struct AggregateSource(pub(crate) Arc<Shared>);

impl Source for AggregateSource {
    fn max_chains(&self) -> Option<usize> {
        self.0.parts.get().map(Parts::len)
    }

    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(GroupReader::new(Arc::clone(&self.0), context)))
    }
}

/// One chain's reader.
pub(crate) struct GroupReader {
    shared: Arc<Shared>,
    current: Option<(Arc<Piece>, Range<usize>)>,
    batch_rows: usize,
    /// For merged partitions.
    reservation: Reservation,
}

impl GroupReader {
    /// A reader that has taken no part yet.
    pub(crate) fn new(shared: Arc<Shared>, context: &LocalContext) -> Self {
        GroupReader { shared, current: None, batch_rows: context.batch_rows.max(1), reservation: context.memory.reservation("aggregation") }
    }

    /// The next groups.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>> {
        loop {
            match &mut self.current {
                Some((piece, range)) if range.start < range.end => {
                    let end = range.end.min(range.start + self.batch_rows);
                    let rows = range.start..end;
                    range.start = end;
                    return Ok(Some(self.shared.rows(&Arc::clone(piece), rows)?));
                }
                _ => self.current = None,
            }
            let parts = self.shared.parts()?;
            self.current = match parts.take() {
                None => return Ok(None),
                Some(Part::Slice(piece, range)) => Some((piece, range)),
                Some(Part::Partition { index, pieces }) => self.merge(index, pieces)?,
            };
        }
    }

    fn merge(&mut self, index: usize, pieces: Vec<Piece>) -> Result<Option<(Arc<Piece>, Range<usize>)>> {
        let bytes = pieces.iter().map(Piece::num_bytes).sum();
        let merged = Piece::merge(pieces, &self.shared.plan, Some((index, self.shared.limits.partition_bits)))?;
        self.shared.release(bytes);
        self.reservation.resize(merged.as_ref().map_or(0, Piece::num_bytes))?;
        Ok(merged.map(|piece| {
            let range = 0..piece.len();
            (Arc::new(piece), range)
        }))
    }
}

impl LocalSource for GroupReader {
    fn next(&mut self, _waker: &Waker) -> Result<Poll> {
        Ok(self.next_batch()?.map_or(Poll::Finished, Poll::Batch))
    }
}
