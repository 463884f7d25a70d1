//! The source that merges the sorted rows of all units of an exchange.
//!
//! Position: made by [`QueryExchange::merge_source`](super::QueryExchange::merge_source); one chain. It takes rows as they come, so that
//! senders are not held back, and keeps them (reserved) until all units have ended; then it merges.

use std::{collections::BTreeMap, sync::Arc, task::Waker};

use arrow::datatypes::DataType;
use operators::sort::{RunMerger, SortKey};
use pipelines::{Batch, LocalContext, LocalSource, Poll, Reservation, Result, Source};

use super::{channel_in::Taken, source::Reader};
use crate::cluster::control::UnitId;

/// The shared part.
pub(super) struct MergeSource {
    reader: Arc<Reader>,
    keys: Vec<SortKey>,
    types: Vec<DataType>,
}

impl MergeSource {
    pub(super) fn new(reader: Reader, keys: Vec<SortKey>, types: Vec<DataType>) -> MergeSource {
        MergeSource { reader: Arc::new(reader), keys, types }
    }
}

impl Source for MergeSource {
    fn max_chains(&self) -> Option<usize> {
        Some(1)
    }

    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalMerge {
            reader: Arc::clone(&self.reader),
            keys: self.keys.clone(),
            types: self.types.clone(),
            batch_rows: context.batch_rows.max(1),
            runs: BTreeMap::new(),
            reservation: context.memory.reservation("sorted rows received from other nodes"),
            merger: None,
            has_finished: false,
        }))
    }

    fn is_ordered(&self) -> bool {
        true
    }
}

struct LocalMerge {
    reader: Arc<Reader>,
    keys: Vec<SortKey>,
    types: Vec<DataType>,
    batch_rows: usize,
    /// By unit, so that the order of rows with equal keys does not depend on which came first.
    runs: BTreeMap<UnitId, Vec<Batch>>,
    reservation: Reservation,
    merger: Option<RunMerger>,
    has_finished: bool,
}

impl LocalSource for LocalMerge {
    fn next(&mut self, waker: &Waker) -> Result<Poll> {
        let merger = match &mut self.merger {
            Some(merger) => merger,
            None => {
                if !self.gather(waker)? {
                    return Ok(Poll::Blocked);
                }
                let runs = std::mem::take(&mut self.runs).into_values().collect();
                self.merger.insert(RunMerger::new(&self.keys, &self.types, runs)?)
            }
        };
        Ok(match merger.next_batch(self.batch_rows)? {
            Some(batch) => Poll::Batch(batch),
            None => {
                self.has_finished = true;
                Poll::Finished
            }
        })
    }
}

impl LocalMerge {
    /// Takes what is there; whether all units have ended.
    fn gather(&mut self, waker: &Waker) -> Result<bool> {
        loop {
            match self.reader.take(waker)? {
                Taken::Rows(unit, batch) => {
                    self.reservation.grow(batch.num_bytes())?;
                    self.runs.entry(unit).or_default().push(batch);
                }
                Taken::Nothing => return Ok(false),
                Taken::Finished => return Ok(true),
            }
        }
    }
}

impl Drop for LocalMerge {
    fn drop(&mut self) {
        if !self.has_finished {
            self.reader.give_up();
        }
    }
}
