//! The sink of an aggregation: every chain aggregates into tables of its own.
//!
//! ```text
//! batch ─► keys, arguments ─► group ids ─► accumulators              one table per chain
//!                                  │ table full, few rows per group
//!                                  ▼
//!                     partitions by hash or range of the key         appended to, no lookups
//! ```
//!
//! A chain whose table fills while hardly any two rows share a group flushes it into partitions and starts
//! again with an empty one: the table stays in cache, and the partitions are merged one by one when they are
//! read. (DuckDB and Polars do likewise; see Leis et al., "Morsel-Driven Parallelism", SIGMOD 2014.)

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, UInt32Array},
    compute::{FilterBuilder, prep_null_mask_filter},
};
use pipelines::{Batch, Flow, LocalContext, LocalSink, Reservation, Result, Sink, metrics::Counters};

use super::{
    Shared,
    accumulator::Accumulator,
    accumulator::GroupIds,
    calls::State,
    groups::{Groups, sketch::Sketch},
    piece::Piece,
};
use crate::input::InputEvaluator;

/// What a chain hands over.
pub(crate) struct Share {
    /// Of all keys in it.
    pub(crate) level: usize,
    /// The table, unless it was flushed.
    pub(crate) whole: Option<Piece>,
    /// Empty, or all partitions.
    pub(crate) partitions: Vec<Piece>,
}

impl Share {
    /// Brings all keys to step `level` of the ladder of encodings.
    pub(crate) fn widen(&mut self, shared: &Shared, level: usize) -> crate::Result<()> {
        if level == self.level {
            return Ok(());
        }
        self.level = level;
        if let Some(whole) = &mut self.whole {
            whole.widen(&shared.plan, level)?;
        }
        for mut piece in std::mem::take(&mut self.partitions) {
            // Another encoding means other partitions.
            let is_distinct = piece.is_distinct;
            piece.widen(&shared.plan, level)?;
            piece.is_distinct = is_distinct;
            piece.scatter(&shared.plan, shared.limits.partition_bits, &mut self.partitions)?;
        }
        Ok(())
    }

    /// Moves the table into the partitions.
    pub(crate) fn flush(&mut self, shared: &Shared) -> crate::Result<()> {
        match self.whole.take() {
            Some(whole) => whole.scatter(&shared.plan, shared.limits.partition_bits, &mut self.partitions),
            None => Ok(()),
        }
    }
}

/// The sink.
pub(crate) struct AggregateSink(pub(crate) Arc<Shared>);

impl Sink for AggregateSink {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        Ok(Box::new(ChainTable::new(Arc::clone(&self.0), context)?))
    }

    fn begin_finish(&self) -> Result<usize> {
        Ok(self.0.begin_finish()?)
    }

    fn finish_part(&self, part: usize) -> Result<()> {
        Ok(self.0.finish_part(part)?)
    }

    fn finish(&self) -> Result<()> {
        Ok(self.0.finish()?)
    }

    fn report(&self, counters: &mut Counters) {
        self.0.report(counters);
    }
}

/// One chain's groups.
pub(crate) struct ChainTable {
    shared: Arc<Shared>,
    evaluator: InputEvaluator,
    groups: Groups,
    accumulators: Vec<Box<dyn Accumulator>>,
    partitions: Vec<Piece>,
    group_ids: Vec<u32>,
    /// Lookups since the table was last empty.
    num_lookups: usize,
    /// Groups at which the table is looked at.
    groups_max: usize,
    reservation: Reservation,
    /// What the partitions take of it.
    partition_bytes: usize,
    /// Of the keys that were flushed, and how many those were.
    flushed: (Sketch, usize),
}

impl ChainTable {
    /// An empty table.
    pub(crate) fn new(shared: Arc<Shared>, context: &LocalContext) -> Result<Self> {
        let groups = Groups::new(Arc::clone(&shared.plan));
        let mut accumulators = shared.calls.accumulators()?;
        accumulators.iter_mut().for_each(|accumulator| accumulator.resize(groups.len()));
        let reservation = context.memory.reservation("aggregation");
        Ok(ChainTable {
            evaluator: shared.inputs.evaluator(),
            groups_max: shared.limits.groups_max,
            shared,
            groups,
            accumulators,
            partitions: Vec::new(),
            group_ids: Vec::new(),
            num_lookups: 0,
            reservation,
            partition_bytes: 0,
            flushed: Default::default(),
        })
    }

    fn add(&mut self, batch: &Batch) -> crate::Result<()> {
        let columns = self.evaluator.evaluate(batch)?;
        let keys: Vec<ArrayRef> = self.shared.keys.iter().map(|key| Arc::clone(&columns[*key])).collect();
        self.num_lookups += self.groups.assign(&keys, batch.num_rows(), &mut self.group_ids)?;
        let all_rows = GroupIds::of_batch(&self.group_ids, self.groups.len());
        for (state, accumulator) in self.shared.calls.states().iter().zip(&mut self.accumulators) {
            accumulator.resize(all_rows.num_groups());
            match state.filter {
                None => {
                    let arguments: Vec<ArrayRef> = state.arguments.iter().map(|argument| Arc::clone(&columns[*argument])).collect();
                    accumulator.update(&all_rows, &arguments)?;
                }
                Some(filter) => update_filtered(accumulator.as_mut(), state, &all_rows, &columns, &columns[filter])?,
            }
        }
        Ok(())
    }

    /// Flushes the table if it is full and lookups find little; otherwise lets it grow.
    fn make_room(&mut self) -> crate::Result<()> {
        if self.groups.len() < self.groups_max {
            return Ok(());
        }
        // A table that is not looked up in is full by definition.
        let finds = self.groups.looks_up() && self.num_lookups >= self.groups.len() * FOUND_PER_GROUP_MIN;
        if finds && self.groups.len() < GROWN_GROUPS_MAX {
            self.groups_max = self.groups.len() * 2;
            return Ok(());
        }
        // With next to no repetition even the lookups are a waste.
        let looks_up = self.num_lookups * 10 > self.groups.len() * 13;
        self.flush(looks_up)?;
        self.groups_max = self.shared.limits.groups_max;
        let (sketch, num_flushed) = &self.flushed;
        let distinct = sketch.estimate();
        if *num_flushed >= distinct * FLUSHED_PER_GROUP_MAX && distinct * 2 < GROWN_GROUPS_MAX {
            // Keys come again after all, only later than a small table can see.
            self.groups.take(true);
            self.groups_max = self.groups_max.max(distinct * 2);
        }
        Ok(())
    }

    fn flush(&mut self, looks_up: bool) -> crate::Result<()> {
        let is_distinct = self.groups.looks_up();
        let level = self.groups.level();
        if self.partitions.first().is_some_and(|piece| piece.level != level) {
            let partitions = std::mem::take(&mut self.partitions);
            let mut share = Share { level: partitions[0].level, whole: None, partitions };
            share.widen(&self.shared, level)?;
            self.partitions = share.partitions;
        }
        let fresh = self.accumulators.iter().map(|accumulator| accumulator.fresh()).collect();
        let accumulators = std::mem::replace(&mut self.accumulators, fresh);
        let piece = Piece { level, keys: self.groups.take(looks_up), accumulators, is_distinct };
        piece.scatter(&self.shared.plan, self.shared.limits.partition_bits, &mut self.partitions)?;
        self.flushed.0.add(&piece.keys);
        self.flushed.1 += piece.len();
        self.partition_bytes = self.partitions.iter().map(Piece::num_bytes).sum();
        self.num_lookups = 0;
        Ok(())
    }

    fn num_bytes(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.num_bytes()).sum::<usize>();
        self.groups.num_bytes() + accumulators + self.partition_bytes
    }
}

/// A table may outgrow its first size if it finds this many times as many rows as it has groups.
const FOUND_PER_GROUP_MIN: usize = 2;
/// A group that was flushed this often should not have been.
const FLUSHED_PER_GROUP_MAX: usize = 4;
/// Beyond this many groups a table is flushed whatever it finds.
const GROWN_GROUPS_MAX: usize = 1 << 23;

impl LocalSink for ChainTable {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        self.add(&batch)?;
        self.make_room()?;
        let num_bytes = self.num_bytes();
        if num_bytes > self.reservation.bytes() {
            self.reservation.resize(num_bytes)?;
        }
        Ok(Flow::Continue)
    }

    fn combine(mut self: Box<Self>) -> Result<()> {
        let level = self.groups.level();
        if !self.partitions.is_empty() {
            self.flush(true)?;
        }
        let whole = self.partitions.is_empty().then(|| {
            let is_distinct = self.groups.looks_up();
            Piece { level, keys: self.groups.take(true), accumulators: std::mem::take(&mut self.accumulators), is_distinct }
        });
        self.shared.gather(Share { level, whole, partitions: self.partitions }, self.reservation);
        Ok(())
    }
}

/// Updates with the rows for which `filter` is true.
fn update_filtered(
    accumulator: &mut dyn Accumulator,
    state: &State,
    groups: &GroupIds<'_>,
    columns: &[ArrayRef],
    filter: &ArrayRef,
) -> crate::Result<()> {
    let filter = filter.as_boolean();
    let filter = if filter.null_count() > 0 { prep_null_mask_filter(filter) } else { filter.clone() };
    let filter = FilterBuilder::new(&filter).optimize().build();
    if filter.count() == 0 {
        return Ok(());
    }
    let ids = filter.filter(&UInt32Array::from(groups.ids().to_vec()))?;
    let ids = ids.as_primitive::<arrow::datatypes::UInt32Type>().values();
    let arguments = state.arguments.iter().map(|argument| filter.filter(&columns[*argument])).collect::<Result<Vec<_>, _>>()?;
    accumulator.update(&GroupIds::of_some_rows(ids, groups.num_groups()), &arguments)
}
