//! Gathers the build side's rows, chain by chain, as they come.
//!
//! Position: the sink of the build pipeline. Batches are kept as segments without copying them together;
//! what is not asked for later (columns, rows whose NULL key can never matter) is dropped at once, and
//! strings of few rows are cut loose from their pages. [`super::finish`] makes the build side of them.

use std::sync::{Arc, PoisonError};

use arrow::{
    array::{ArrayRef, BooleanArray},
    buffer::NullBuffer,
    compute,
};
use pipelines::{Batch, Flow, LocalContext, LocalSink, Reservation, Result, Sink, metrics::Counters};

use super::{
    Join,
    finish::Finishing,
    keys::{self, Codes, KeyColumn, KeyExtractor, KeyForm, KeyRange, KeyType, KeyValues},
};
use crate::{Error, hash_join::gather};

/// The rows of one batch.
pub(super) struct Segment {
    pub num_rows: usize,
    /// The columns that are kept, in the order of [`Join::stored`].
    pub columns: Vec<ArrayRef>,
    pub keys: Vec<KeyColumn>,
    /// Per 64-bit key.
    pub ranges: Vec<KeyRange>,
    /// Made at once where it is clear that keys have to be hashed.
    pub hashes: Option<Codes>,
    pub num_bytes: usize,
}

/// What the chains have handed in.
#[derive(Default)]
pub(super) struct Gathered {
    pub segments: Vec<Segment>,
    pub reservation: Option<Reservation>,
    pub num_chains: usize,
}

/// The sink.
pub(super) struct BuildSink(pub Arc<Join>);

impl Sink for BuildSink {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        let mut gathered = self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.num_chains = gathered.num_chains.max(context.num_chains);
        if gathered.reservation.is_none() {
            gathered.reservation = Some(context.memory.reservation("hash join build side"));
        }
        Ok(Box::new(LocalBuild {
            extractor: KeyExtractor::new(&self.0.spec.keys, &self.0.key_types, true),
            segments: Vec::new(),
            reservation: context.memory.reservation("hash join build side"),
            join: Arc::clone(&self.0),
        }))
    }

    fn begin_finish(&self) -> Result<usize> {
        let gathered = std::mem::take(&mut *self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        let finishing = Finishing::new(&self.0, gathered)?;
        let num_tasks = finishing.num_tasks();
        *self.0.finishing.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(finishing));
        Ok(num_tasks)
    }

    fn finish_part(&self, part: usize) -> Result<()> {
        let finishing = self.0.finishing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match finishing {
            Some(finishing) => Ok(finishing.run(&self.0, part)?),
            None => Err(Error::Internal("a hash join is finished twice".into()).into()),
        }
    }

    fn finish(&self) -> Result<()> {
        let finishing = self.0.finishing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(finishing) = finishing.and_then(Arc::into_inner) else {
            return Err(Error::Internal("a hash join is finished twice".into()).into());
        };
        let side = finishing.finish(&self.0)?;
        if self.0.side.set(Arc::new(side)).is_err() {
            return Err(Error::Internal("a hash join is finished twice".into()).into());
        }
        Ok(())
    }

    fn report(&self, counters: &mut Counters) {
        if let Some(side) = self.0.side.get() {
            counters.add("build_rows", side.num_rows as u64);
            counters.add("memory_bytes", side.num_bytes as u64);
            counters.add(side.table.structure().counter(), 1);
        }
    }
}

struct LocalBuild {
    join: Arc<Join>,
    extractor: KeyExtractor,
    segments: Vec<Segment>,
    reservation: Reservation,
}

impl LocalSink for LocalBuild {
    fn push(&mut self, mut batch: Batch) -> Result<Flow> {
        let mut keys = self.extractor.extract(&batch)?;
        if self.join.drops_null_keys()
            && let Some(valid) = keys::never_matching(&self.join.spec.keys, &keys)
        {
            batch = keep_valid(&batch, &valid)?;
            keys = self.extractor.extract(&batch)?;
        }
        if batch.is_empty() {
            return Ok(Flow::Continue);
        }
        let segment = self.segment(&batch, keys)?;
        self.reservation.grow(segment.num_bytes)?;
        self.segments.push(segment);
        Ok(Flow::Continue)
    }

    fn combine(self: Box<Self>) -> Result<()> {
        let mut gathered = self.join.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.segments.extend(self.segments);
        match &mut gathered.reservation {
            Some(reservation) => reservation.absorb(self.reservation),
            none => *none = Some(self.reservation),
        }
        Ok(())
    }
}

impl LocalBuild {
    fn segment(&self, batch: &Batch, mut keys: Vec<KeyColumn>) -> Result<Segment> {
        let num_rows = batch.num_rows();
        let columns = self.join.stored.iter().map(|column| gather::compact(batch.column(*column))).collect::<crate::Result<Vec<_>>>()?;
        keys.iter_mut().for_each(compact_key);
        let is_hashed = self.join.key_types.iter().any(|key_type| *key_type != KeyType::Word);
        let hashes = is_hashed.then(|| KeyForm::Hashed.codes(&self.join.spec.keys, &keys, num_rows));
        let ranges = keys.iter().map(KeyColumn::range).collect();
        let payload = Batch::new(columns, num_rows);
        let hash_bytes = if is_hashed { 8 * num_rows } else { 0 };
        let num_bytes = payload.num_bytes() + keys.iter().map(KeyColumn::num_bytes).sum::<usize>() + hash_bytes;
        Ok(Segment { num_rows, columns: payload.into_columns(), keys, ranges, hashes, num_bytes })
    }
}

fn compact_key(key: &mut KeyColumn) {
    if let KeyValues::Bytes(strings) = &mut key.values {
        let held: usize = strings.data_buffers().iter().map(|buffer| buffer.len()).sum();
        if held > 2 * strings.total_buffer_bytes_used() {
            *strings = strings.gc();
        }
    }
}

fn keep_valid(batch: &Batch, valid: &NullBuffer) -> crate::Result<Batch> {
    let filter = BooleanArray::new(valid.inner().clone(), None);
    let columns = batch.columns().iter().map(|column| compute::filter(column, &filter)).collect::<Result<Vec<_>, _>>()?;
    Ok(Batch::new(columns, valid.len() - valid.null_count()))
}
