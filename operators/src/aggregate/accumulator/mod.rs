//! Accumulators: the state of one aggregate for all groups, one file per family of functions.
//!
//! Position: [`super::groups`] turns the keys of a batch into dense group ids; every accumulator then takes
//! the batch's ids and its argument column in one loop over slices. Shares of several chains are merged
//! group by group at the end.
//!
//! Deliberately elsewhere: which accumulators a query needs, and how `count(x)` and `avg(x)` are made of
//! them ([`super::calls`]).

mod boolean;
mod count;
mod distinct;
mod extreme;
mod extreme_text;
mod first;
mod float_sum;
mod group_ids;
mod moments;
mod seen;
mod string_agg;
mod sum;
mod text;

use std::{any::Any, ops::Range};

use arrow::{
    array::{Array, ArrayRef},
    buffer::NullBuffer,
    datatypes::{
        DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
};

pub(crate) use extreme::interval_nanoseconds;
pub(crate) use group_ids::GroupIds;
pub(crate) use moments::Dispersion;
pub(crate) use seen::Seen;
pub(crate) use text::TextColumn;

use crate::{Error, Result, types};

/// The state of one aggregate for all groups.
pub(crate) trait Accumulator: Send + Sync + 'static {
    /// Makes room for `num_groups` groups, never fewer than before; new ones are empty.
    fn resize(&mut self, num_groups: usize);

    /// Takes the rows of a batch: row `i` belongs to group `groups.ids()[i]`. Called after `resize`.
    ///
    /// # Errors
    /// When a result can no longer be represented.
    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()>;

    /// Takes over groups of another accumulator of the same aggregate: `from_groups[i]` into
    /// `groups.ids()[i]`. No group of `from` is named twice. Called after `resize`.
    ///
    /// # Errors
    /// As `update`.
    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()>;

    /// The results of groups `range`.
    ///
    /// # Errors
    /// When a result does not fit its type.
    fn finish(&self, range: Range<usize>) -> Result<ArrayRef>;

    /// Bytes allocated.
    fn num_bytes(&self) -> usize;

    /// An accumulator of the same aggregate without groups.
    fn fresh(&self) -> Box<dyn Accumulator>;

    /// For `merge`.
    fn as_any(&self) -> &dyn Any;
}

/// What an accumulator computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Computation {
    /// Rows.
    Rows,
    /// Rows whose argument is NULL.
    Nulls,
    /// Sum, of the type given.
    Sum(DataType),
    /// Smallest value.
    Minimum,
    /// Largest value.
    Maximum,
    /// First value, NULL included.
    First,
    /// AND.
    And,
    /// OR.
    Or,
    /// Variance and the like.
    Spread(Dispersion),
    /// Joined texts.
    StringAgg,
}

/// Evaluates `$body` with `$arrow` as the Arrow type of a fixed-width `$data_type` of the engine.
macro_rules! with_fixed_width {
    ($data_type:expr, $arrow:ident => $body:expr, $otherwise:expr) => {
        match $data_type {
            DataType::Int16 => {
                type $arrow = Int16Type;
                $body
            }
            DataType::Int32 => {
                type $arrow = Int32Type;
                $body
            }
            DataType::Int64 => {
                type $arrow = Int64Type;
                $body
            }
            DataType::Float32 => {
                type $arrow = Float32Type;
                $body
            }
            DataType::Float64 => {
                type $arrow = Float64Type;
                $body
            }
            DataType::Decimal64(..) => {
                type $arrow = Decimal64Type;
                $body
            }
            DataType::Decimal128(..) => {
                type $arrow = Decimal128Type;
                $body
            }
            DataType::Date32 => {
                type $arrow = Date32Type;
                $body
            }
            DataType::Timestamp(..) => {
                type $arrow = TimestampMicrosecondType;
                $body
            }
            DataType::Time64(_) => {
                type $arrow = Time64MicrosecondType;
                $body
            }
            DataType::Interval(_) => {
                type $arrow = IntervalMonthDayNanoType;
                $body
            }
            _ => $otherwise,
        }
    };
}

/// An accumulator without groups. `types` are those of the arguments; `distinct`: only distinct ones count.
///
/// # Errors
/// [`Error::Internal`] for a combination that the planner should not have built.
pub(crate) fn new(computation: &Computation, types: &[DataType], distinct: bool) -> Result<Box<dyn Accumulator>> {
    let plain: Box<dyn Accumulator> = match (computation, types) {
        (Computation::Rows, _) => Box::<count::RowCount>::default(),
        (Computation::Nulls, [_]) => Box::<count::NullCount>::default(),
        (Computation::Sum(result), [DataType::Float32 | DataType::Float64]) => Box::new(float_sum::FloatSum::new(result.clone())),
        (Computation::Sum(result), [_]) => Box::new(sum::ExactSum::new(result.clone())),
        (Computation::Minimum, [DataType::Boolean]) | (Computation::And, [DataType::Boolean]) => Box::new(boolean::BooleanFold::new(false)),
        (Computation::Maximum, [DataType::Boolean]) | (Computation::Or, [DataType::Boolean]) => Box::new(boolean::BooleanFold::new(true)),
        (Computation::Minimum, [argument]) => extreme::<extreme::Smallest>(argument)?,
        (Computation::Maximum, [argument]) => extreme::<extreme::Largest>(argument)?,
        (Computation::First, [argument]) => first(argument)?,
        (Computation::Spread(dispersion), [DataType::Float64]) => Box::new(moments::Spread::new(*dispersion)),
        (Computation::StringAgg, [_, _]) => Box::<string_agg::StringAgg>::default(),
        _ => return Err(Error::Internal(format!("aggregate {computation:?} of {types:?}"))),
    };
    if distinct { Ok(Box::new(distinct::Distinct::new(plain, types.to_vec()))) } else { Ok(plain) }
}

fn extreme<E: extreme::End>(argument: &DataType) -> Result<Box<dyn Accumulator>> {
    let data_type = plain_type(argument);
    Ok(with_fixed_width!(
        data_type,
        T => Box::new(extreme::Extreme::<T, E>::new(data_type)),
        match data_type {
            DataType::Utf8View | DataType::BinaryView => Box::new(extreme_text::ExtremeText::<E>::new(data_type)),
            other => return Err(Error::Internal(format!("min or max of {other}"))),
        }
    ))
}

fn first(argument: &DataType) -> Result<Box<dyn Accumulator>> {
    let data_type = plain_type(argument);
    Ok(with_fixed_width!(
        data_type,
        T => Box::new(first::First::<first::FixedValues<T>>::new(data_type)),
        match data_type {
            DataType::Boolean => Box::new(first::First::<first::BooleanValues>::new(data_type)),
            DataType::Utf8View | DataType::BinaryView => Box::new(first::First::<text::GroupTexts>::new(data_type)),
            other => return Err(Error::Internal(format!("first value of {other}"))),
        }
    ))
}

/// The type a column has without a dictionary.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    if *data_type == types::string_dictionary() { DataType::Utf8View } else { data_type.clone() }
}

/// Which rows of `array` are not NULL; `None`: all.
pub(crate) fn nulls(array: &ArrayRef) -> Option<NullBuffer> {
    match array.data_type() {
        DataType::Dictionary(..) => array.logical_nulls(),
        _ => array.nulls().cloned(),
    }
    .filter(|nulls| nulls.null_count() > 0)
}

/// The concrete type of an accumulator that is merged into one of the same aggregate.
fn downcast<A: Accumulator>(from: &dyn Accumulator) -> Result<&A> {
    from.as_any().downcast_ref().ok_or_else(|| Error::Internal("accumulators of different aggregates are merged".to_owned()))
}
