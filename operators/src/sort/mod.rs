//! Sort, and top-k where there is a limit.
//!
//! ```text
//! chain 0: batches ─[build or top]─► run ─┐
//! chain 1: batches ─[build or top]─► run ─┼─[run]─► parts, merged in parallel ─[source]─► batches in order
//! ```
//!
//! Rows are compared by the keys that [`key`] makes of them; columns are gathered once, when the order is
//! known. Rows with equal keys come out in any order. Runs that others have sorted are merged by a [`RunMerger`].

mod build;
mod key;
mod merge;
mod run;
mod source;
mod top;

use std::{
    ops::Range,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use arrow::datatypes::DataType;
use parking_lot::Mutex;
use pipelines::{Batch, LocalContext, LocalSink, LocalSource, Reservation, Sink, Source, metrics::Counters};
use serde::{Deserialize, Serialize};

pub use self::merge::RunMerger;
use self::{
    build::LocalSort,
    key::{KeyEncoder, KeyOrder},
    run::{Merge, Run},
    source::SortSource,
    top::LocalTop,
};
use crate::{Error, Expression, input::Inputs};

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    /// Over the input's columns.
    pub expression: Expression,
    /// Largest first.
    pub descending: bool,
    /// NULLs before everything else.
    pub nulls_first: bool,
}

/// A sort as plain data. All input columns come out, rows `offset .. offset + limit` of the order.
#[derive(Debug, Clone)]
pub struct SortSpec {
    /// Most significant first; at least one.
    pub keys: Vec<SortKey>,
    /// Types of the input's columns.
    pub input_types: Vec<DataType>,
    /// At most this many rows come out.
    pub limit: Option<usize>,
    /// Rows to leave out first.
    pub offset: usize,
}

/// A sort.
pub struct Sort {
    shared: Result<Arc<Shared>, Error>,
}

impl Sort {
    /// A sort that is about to be placed into a graph. Keys of a type without an order are reported when the
    /// sink starts.
    pub fn new(spec: SortSpec) -> Arc<Self> {
        Arc::new(Sort { shared: Shared::new(&spec).map(Arc::new) })
    }

    /// Where the rows go.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        match &self.shared {
            Ok(shared) => Arc::new(SortSink(Arc::clone(shared))),
            Err(error) => Arc::new(Rejected(error.clone())),
        }
    }

    /// The rows in order, after the sink has finished; one chain.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        match &self.shared {
            Ok(shared) => Arc::new(SortSource(Arc::clone(shared))),
            Err(error) => Arc::new(Rejected(error.clone())),
        }
    }
}

/// Stands in for a sort that cannot be.
struct Rejected(Error);

impl Sink for Rejected {
    fn local(&self, _context: &LocalContext) -> pipelines::Result<Box<dyn LocalSink>> {
        Err(self.0.clone().into())
    }
}

impl Source for Rejected {
    fn local(&self, _context: &LocalContext) -> pipelines::Result<Box<dyn LocalSource>> {
        Err(self.0.clone().into())
    }
}

/// Up to this many rows are kept by top-k; more are cut off a full sort.
const TOP_ROWS_MAX: usize = 128 * 1024;
/// Rows that are merged and gathered at a time.
const PART_ROWS: usize = 64 * 1024;

/// What the sink and the source of a sort share.
pub(crate) struct Shared {
    inputs: Inputs,
    encoder: KeyEncoder,
    /// Positions of the order that come out.
    window: Range<usize>,
    /// Top-k: no row whose leading number is above it can come out.
    threshold: AtomicU64,
    gathered: Mutex<Gathered>,
    /// The rows of every part, once they are merged.
    merged: Mutex<Vec<Option<Batch>>>,
    result: OnceLock<Vec<Batch>>,
}

/// What chains have handed over.
#[derive(Default)]
struct Gathered {
    runs: Vec<Run>,
    reservation: Option<Reservation>,
    merge: Option<Arc<Merge>>,
    peak_bytes: usize,
}

impl Shared {
    fn new(spec: &SortSpec) -> Result<Self, Error> {
        let mut inputs = Inputs::default();
        let encoder = encoder(&spec.keys, &mut inputs)?;
        let end = spec.limit.map_or(usize::MAX, |limit| spec.offset.saturating_add(limit));
        Ok(Shared {
            encoder,
            inputs,
            window: spec.offset.min(end)..end,
            threshold: AtomicU64::new(u64::MAX),
            gathered: Mutex::default(),
            merged: Mutex::default(),
            result: OnceLock::new(),
        })
    }

    fn gather(&self, run: Run, reservation: Reservation) {
        let mut gathered = self.gathered.lock();
        gathered.runs.push(run);
        match &mut gathered.reservation {
            Some(held) => held.absorb(reservation),
            none => *none = Some(reservation),
        }
    }

    fn result(&self) -> Result<&[Batch], Error> {
        let result = self.result.get().ok_or_else(|| Error::Internal("a sort is read before it is complete".to_owned()))?;
        Ok(result)
    }
}

/// The encoder of `keys`, each of which is added to `inputs`, which are empty.
fn encoder(keys: &[SortKey], inputs: &mut Inputs) -> Result<KeyEncoder, Error> {
    let (mut types, mut orders) = (Vec::new(), Vec::new());
    for key in keys {
        // A key that has come before decides nothing.
        if inputs.add(&key.expression) == types.len() {
            types.push(crate::aggregate::plain_type(&inputs.data_type(types.len())));
            orders.push(KeyOrder { descending: key.descending, nulls_first: key.nulls_first });
        }
    }
    if types.is_empty() {
        return Err(Error::Internal("a sort without keys".to_owned()));
    }
    KeyEncoder::new(&types, orders)
}

struct SortSink(Arc<Shared>);

impl Sink for SortSink {
    fn local(&self, context: &LocalContext) -> pipelines::Result<Box<dyn LocalSink>> {
        let shared = Arc::clone(&self.0);
        Ok(if shared.window.end <= TOP_ROWS_MAX {
            Box::new(LocalTop::new(shared, context))
        } else {
            Box::new(LocalSort::new(shared, context))
        })
    }

    fn begin_finish(&self) -> pipelines::Result<usize> {
        let mut gathered = self.0.gathered.lock();
        let runs = std::mem::take(&mut gathered.runs).into_iter().filter(|run| run.len() > 0);
        let merge = Merge::new(runs.collect(), PART_ROWS);
        let num_parts = merge.num_parts();
        gathered.peak_bytes = gathered.reservation.as_ref().map_or(0, Reservation::bytes);
        gathered.merge = Some(Arc::new(merge));
        self.0.merged.lock().resize(num_parts, None);
        Ok(num_parts)
    }

    fn finish_part(&self, part: usize) -> pipelines::Result<()> {
        let merge = self.0.gathered.lock().merge.clone();
        if let Some(merge) = merge {
            let rows = merge.part(part, &self.0.window)?;
            self.0.merged.lock()[part] = rows;
        }
        Ok(())
    }

    fn finish(&self) -> pipelines::Result<()> {
        self.0.gathered.lock().merge = None;
        let parts = std::mem::take(&mut *self.0.merged.lock());
        self.0.result.get_or_init(|| parts.into_iter().flatten().collect());
        Ok(())
    }

    fn report(&self, counters: &mut Counters) {
        counters.add("memory_bytes", self.0.gathered.lock().peak_bytes as u64);
    }
}

#[cfg(test)]
mod tests;
