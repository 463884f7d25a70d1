//! Keeps all rows of its input for one or several readers: shared CTEs, and results that are read later.
//!
//! Position: the sink of one pipeline and the source of any number of others, each of which reads all rows.
//! Batches are kept as they came; nothing is copied.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pipelines::{Batch, Flow, LocalContext, LocalSink, LocalSource, Reservation, Result, Sink, Source, metrics::Counters};

use crate::{Error, values::SharedBatches};

/// A buffer of batches.
pub struct Buffer {
    /// What chains have combined so far, with the memory it takes.
    gathered: Mutex<(Vec<Batch>, Option<Reservation>)>,
    /// All rows; set when the sink finishes.
    batches: OnceLock<Arc<[Batch]>>,
}

impl Buffer {
    /// An empty buffer.
    pub fn new() -> Arc<Self> {
        Arc::new(Buffer { gathered: Mutex::default(), batches: OnceLock::new() })
    }

    /// Where the rows go.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(BufferSink(Arc::clone(self)))
    }

    /// All rows, after the sink has finished; may be asked for several times.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(BufferSource { buffer: Arc::clone(self), reader: OnceLock::new() })
    }

    fn finished(&self) -> Result<&Arc<[Batch]>> {
        Ok(self.batches.get().ok_or_else(|| Error::Internal("a buffer is read before it is filled".to_owned()))?)
    }
}

struct BufferSink(Arc<Buffer>);

impl Sink for BufferSink {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        let reservation = context.memory.reservation("buffered rows");
        Ok(Box::new(LocalBuffer { buffer: Arc::clone(&self.0), batches: Vec::new(), reservation }))
    }

    fn finish(&self) -> Result<()> {
        let batches = std::mem::take(&mut self.0.gathered.lock().0);
        self.0.batches.get_or_init(|| batches.into());
        Ok(())
    }

    fn report(&self, counters: &mut Counters) {
        if let (_, Some(reservation)) = &*self.0.gathered.lock() {
            counters.add("memory_bytes", reservation.bytes() as u64);
        }
    }
}

struct LocalBuffer {
    buffer: Arc<Buffer>,
    batches: Vec<Batch>,
    reservation: Reservation,
}

impl LocalSink for LocalBuffer {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        self.reservation.grow(batch.num_bytes())?;
        self.batches.push(batch);
        Ok(Flow::Continue)
    }

    fn combine(self: Box<Self>) -> Result<()> {
        let (batches, reservation) = &mut *self.buffer.gathered.lock();
        batches.extend(self.batches);
        match reservation {
            Some(held) => held.absorb(self.reservation),
            None => *reservation = Some(self.reservation),
        }
        Ok(())
    }
}

struct BufferSource {
    buffer: Arc<Buffer>,
    /// One cursor per reader, shared by its chains.
    reader: OnceLock<SharedBatches>,
}

impl Source for BufferSource {
    fn max_chains(&self) -> Option<usize> {
        self.buffer.batches.get().map(|batches| batches.len())
    }

    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        let batches = self.buffer.finished()?;
        self.reader.get_or_init(|| SharedBatches::new(Arc::clone(batches))).local(context)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use pipelines::testing::{batch, context, run_sink, run_source};

    use super::*;

    #[test]
    fn every_reader_gets_all_rows() {
        let rows = |values: Vec<i64>| batch(vec![Arc::new(Int64Array::from(values)) as ArrayRef]);
        let buffer = Buffer::new();
        run_sink(buffer.sink(), vec![rows(vec![1, 2]), rows(vec![3])]).unwrap();
        for source in [buffer.source(), buffer.source()] {
            assert_eq!(source.max_chains(), Some(2));
            assert_eq!(run_source(source).unwrap().iter().map(Batch::num_rows).sum::<usize>(), 3);
        }
    }

    #[test]
    fn nothing_comes_of_an_empty_buffer() {
        let buffer = Buffer::new();
        run_sink(buffer.sink(), vec![]).unwrap();
        assert!(run_source(buffer.source()).unwrap().is_empty());
    }

    #[test]
    fn reading_too_early_is_an_error() {
        assert!(Buffer::new().source().local(&context()).is_err());
    }
}
