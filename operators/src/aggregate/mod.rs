//! Aggregation: groups by keys, or one group of everything.
//!
//! ```text
//!            ┌─► keys ──[groups]──► group id per row ─┐
//! batch ─────┤                                        ├─[accumulator]*─► state per group     every chain
//!            └─► arguments, filters ──────────────────┘
//! chains' tables ──[piece]──► one table, or partitions that are merged when they are read ──[source]──► rows
//! ```
//!
//! Position: [`build`] is the sink, [`source`] the source; [`calls`] says which accumulators a list of
//! aggregates needs. Everything a group is lives in dense arrays indexed by its id, so that the loops over
//! rows are loops over slices.

mod accumulator;
mod build;
mod calls;
mod groups;
mod piece;
mod source;

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use arrow::datatypes::DataType;
use parking_lot::Mutex;
use pipelines::{Batch, LocalContext, LocalSink, LocalSource, Reservation, Sink, Source, metrics::Counters};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    accumulator::{TextColumn, interval_nanoseconds, nulls, plain_type},
    groups::packed::{canonical_f32, canonical_f64},
};
use self::{
    build::{AggregateSink, Share},
    calls::Calls,
    groups::{EncodedKeys, KeyColumn, KeyPlan},
    piece::Piece,
    source::{AggregateSource, Part, Parts},
};
use crate::{Error, Expression, input::Inputs};

/// An aggregate function. NULL arguments are skipped unless said otherwise; over no row all but the counts are NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// `count(*)` → Int64
    CountStar,
    /// `count(x)` → Int64
    Count,
    /// `sum(x)`: Int16/Int32 → Int64; Int64 → Decimal128(38, 0), or Int64 where counts of parts are added up;
    /// decimals → Decimal128(38, s); floats → same type
    Sum,
    /// `min(x)` → type of the argument
    Min,
    /// `max(x)` → type of the argument
    Max,
    /// `avg(x)`: integers and decimals → Decimal128(38, 16); floats → Float64
    Average,
    /// Any value of the group (first seen, NULL included): for columns that the keys determine
    First,
    /// `bool_and(x)` → Boolean
    BoolAnd,
    /// `bool_or(x)` → Boolean
    BoolOr,
    /// `stddev_samp(Float64)`
    StddevSamp,
    /// `stddev_pop(Float64)`
    StddevPop,
    /// `var_samp(Float64)`
    VarSamp,
    /// `var_pop(Float64)`
    VarPop,
    /// `string_agg(text, delimiter)` → text, in the order of arrival
    StringAgg,
}

impl AggregateFunction {
    /// Its name in SQL.
    pub fn sql_name(self) -> &'static str {
        match self {
            AggregateFunction::CountStar | AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::Average => "avg",
            AggregateFunction::First => "first",
            AggregateFunction::BoolAnd => "bool_and",
            AggregateFunction::BoolOr => "bool_or",
            AggregateFunction::StddevSamp => "stddev_samp",
            AggregateFunction::StddevPop => "stddev_pop",
            AggregateFunction::VarSamp => "var_samp",
            AggregateFunction::VarPop => "var_pop",
            AggregateFunction::StringAgg => "string_agg",
        }
    }
}

/// One aggregate of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateFunction,
    /// Over the input's columns.
    pub arguments: Vec<Expression>,
    /// Only distinct arguments count.
    pub distinct: bool,
    /// Only rows for which this is true count.
    pub filter: Option<Expression>,
    /// Type of the result.
    pub data_type: DataType,
}

/// An aggregation as plain data. Rows come out as the keys, then the aggregates. Without keys exactly one
/// row comes out, even over no input.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// Over the input's columns; NULL is a key like any other.
    pub keys: Vec<Expression>,
    /// In order.
    pub aggregates: Vec<AggregateCall>,
    /// Types of the input's columns.
    pub input_types: Vec<DataType>,
    /// Per key: bounds of an integer-like key as statistics know them. They choose the layout only; keys
    /// outside are handled all the same.
    pub key_bounds: Vec<Option<(i64, i64)>>,
    /// Expected number of groups; a guess is fine.
    pub estimated_groups: usize,
}

/// An aggregation.
pub struct Aggregate {
    shared: Result<Arc<Shared>, Error>,
}

impl Aggregate {
    /// An aggregation that is about to be placed into a graph. What the planner should not have asked for is
    /// reported when the sink starts.
    pub fn new(spec: AggregateSpec) -> Arc<Self> {
        Arc::new(Aggregate { shared: Shared::new(&spec, Limits::for_groups(spec.estimated_groups)).map(Arc::new) })
    }

    /// Where the rows go.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        match &self.shared {
            Ok(shared) => Arc::new(AggregateSink(Arc::clone(shared))),
            Err(error) => Arc::new(Rejected(error.clone())),
        }
    }

    /// The groups, after the sink has finished.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        match &self.shared {
            Ok(shared) => Arc::new(AggregateSource(Arc::clone(shared))),
            Err(error) => Arc::new(Rejected(error.clone())),
        }
    }
}

/// Stands in for an aggregation that cannot be.
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

/// Sizes at which an aggregation changes its ways.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Groups at which a chain's table is first looked at.
    groups_max: usize,
    /// Partitions are 2 to this.
    partition_bits: u32,
    /// Tables of fewer groups than this, all chains together, are merged into one when the sink finishes;
    /// larger ones are partitioned, and merged by the chains that read them.
    merged_at_once_max: usize,
}

impl Limits {
    fn for_groups(expected: usize) -> Self {
        Limits {
            groups_max: if expected <= EXPECTED_GROUPS_MAX { FIRST_GROUPS_MAX.max(expected * 2) } else { FIRST_GROUPS_MAX },
            partition_bits: if expected < 1 << 20 { 6 } else { 8 },
            merged_at_once_max: 32 * 1024,
        }
    }
}

/// Groups in one part of a finished table.
const SLICE_GROUPS: usize = 64 * 1024;
/// With its accumulators a table of as many groups fills about an L2 cache.
const FIRST_GROUPS_MAX: usize = 64 * 1024;
/// A table that is expected to stay below this many groups is not flushed for growing.
const EXPECTED_GROUPS_MAX: usize = 4 * 1024 * 1024;

/// What the sink and the source of an aggregation share.
pub(crate) struct Shared {
    /// How keys are encoded.
    plan: Arc<KeyPlan>,
    /// Positions of the keys among the inputs.
    keys: Vec<usize>,
    calls: Calls,
    inputs: Inputs,
    limits: Limits,
    gathered: Mutex<Gathered>,
    parts: OnceLock<Parts>,
}

/// What chains have handed over.
#[derive(Default)]
struct Gathered {
    shares: Vec<Share>,
    reservation: Option<Reservation>,
    num_groups: usize,
    peak_bytes: usize,
}

impl Shared {
    fn new(spec: &AggregateSpec, limits: Limits) -> Result<Self, Error> {
        let mut inputs = Inputs::default();
        let keys: Vec<usize> = spec.keys.iter().map(|key| inputs.add(key)).collect();
        let column = |(position, key): (usize, &usize)| {
            let data_type = plain_type(&inputs.data_type(*key));
            KeyColumn { data_type, bounds: spec.key_bounds.get(position).copied().flatten(), nullable: true }
        };
        let columns = keys.iter().enumerate().map(column).collect();
        let calls = Calls::new(&spec.aggregates, &mut inputs)?;
        Ok(Shared {
            plan: KeyPlan::new(columns, spec.estimated_groups),
            keys,
            calls,
            inputs,
            limits,
            gathered: Mutex::default(),
            parts: OnceLock::new(),
        })
    }

    /// Takes over a chain's share.
    fn gather(&self, share: Share, reservation: Reservation) {
        let mut gathered = self.gathered.lock();
        gathered.shares.push(share);
        match &mut gathered.reservation {
            Some(held) => held.absorb(reservation),
            none => *none = Some(reservation),
        }
    }

    /// Decides how the shares come together; answers how many of them have to be partitioned for that.
    fn begin_finish(&self) -> Result<usize, Error> {
        let mut gathered = self.gathered.lock();
        let shares = &mut gathered.shares;
        shares.retain(|share| !share.partitions.is_empty() || share.whole.as_ref().is_some_and(|whole| whole.len() > 0));
        let num_groups = shares.iter().flat_map(|share| share.whole.iter().chain(&share.partitions)).map(Piece::len).sum::<usize>();
        let is_whole = shares.iter().all(|share| share.partitions.is_empty());
        let is_done = is_whole && shares.len() <= 1 && shares.iter().flat_map(|share| &share.whole).all(|whole| whole.is_distinct);
        let parts = if is_whole && (is_done || num_groups <= self.limits.merged_at_once_max) { 0 } else { shares.len() };
        gathered.num_groups = num_groups;
        gathered.peak_bytes = gathered.reservation.as_ref().map_or(0, Reservation::bytes);
        Ok(parts)
    }

    /// Partitions what share `index` has in one piece.
    fn finish_part(&self, index: usize) -> Result<(), Error> {
        let (mut share, level) = {
            let shares = &mut self.gathered.lock().shares;
            let level = shares.iter().map(|share| share.level).max().unwrap_or_default();
            let taken = Share {
                level: shares[index].level,
                whole: shares[index].whole.take(),
                partitions: std::mem::take(&mut shares[index].partitions),
            };
            (taken, level)
        };
        share.widen(self, level)?;
        share.flush(self)?;
        self.gathered.lock().shares[index] = share;
        Ok(())
    }

    /// Cuts all groups into parts.
    fn finish(&self) -> Result<(), Error> {
        let mut shares = std::mem::take(&mut self.gathered.lock().shares);
        let parts = if shares.iter().any(|share| !share.partitions.is_empty()) {
            partition_parts(shares)
        } else {
            let level = shares.iter().map(|share| share.level).max().unwrap_or_default();
            shares.iter_mut().try_for_each(|share| share.widen(self, level))?;
            let mut pieces: Vec<Piece> = shares.into_iter().filter_map(|share| share.whole).collect();
            if pieces.is_empty() && self.keys.is_empty() {
                pieces.push(self.piece_of_no_rows()?);
            }
            slice_parts(Piece::merge(pieces, &self.plan, None)?)
        };
        self.parts.get_or_init(|| Parts::new(parts));
        Ok(())
    }

    /// Without keys there is a group even over no rows.
    fn piece_of_no_rows(&self) -> Result<Piece, Error> {
        let mut accumulators = self.calls.accumulators()?;
        accumulators.iter_mut().for_each(|accumulator| accumulator.resize(1));
        Ok(Piece { level: 0, keys: EncodedKeys::Unit(1), accumulators, is_distinct: true })
    }

    fn parts(&self) -> Result<&Parts, Error> {
        self.parts.get().ok_or_else(|| Error::Internal("an aggregation is read before it is complete".to_owned()))
    }

    /// The rows of groups `range`: keys, then aggregates.
    fn rows(&self, piece: &Piece, range: Range<usize>) -> Result<Batch, Error> {
        let num_rows = range.len();
        let mut columns = piece.keys.decode(&self.plan, piece.level, range.clone())?;
        columns.extend(self.calls.finish(&piece.accumulators, range)?);
        Ok(Batch::new(columns, num_rows))
    }

    /// Gives back memory of pieces that have been merged.
    fn release(&self, bytes: usize) {
        if let Some(reservation) = &mut self.gathered.lock().reservation {
            // Shrinking cannot fail.
            let _ = reservation.resize(reservation.bytes().saturating_sub(bytes));
        }
    }

    fn report(&self, counters: &mut Counters) {
        let gathered = self.gathered.lock();
        counters.add("memory_bytes", gathered.peak_bytes as u64);
        counters.add("partial_groups", gathered.num_groups as u64);
    }
}

/// Partition by partition, the pieces of all shares.
fn partition_parts(mut shares: Vec<Share>) -> Vec<Part> {
    let num_partitions = shares.iter().map(|share| share.partitions.len()).max().unwrap_or_default();
    let mut parts: Vec<Vec<Piece>> = (0..num_partitions).map(|_| Vec::with_capacity(shares.len())).collect();
    for share in &mut shares {
        for (part, piece) in parts.iter_mut().zip(share.partitions.drain(..)) {
            if piece.len() > 0 {
                part.push(piece);
            }
        }
    }
    let part = |(index, pieces)| Part::Partition { index, pieces };
    parts.into_iter().enumerate().map(part).filter(|part| !matches!(part, Part::Partition { pieces, .. } if pieces.is_empty())).collect()
}

/// Ranges of one table.
fn slice_parts(piece: Option<Piece>) -> Vec<Part> {
    let Some(piece) = piece.map(Arc::new) else { return Vec::new() };
    let len = piece.len();
    let ranges = (0..len).step_by(SLICE_GROUPS).map(|start| start..len.min(start + SLICE_GROUPS));
    ranges.map(|range| Part::Slice(Arc::clone(&piece), range)).collect()
}

#[cfg(test)]
mod tests;
