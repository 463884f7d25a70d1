//! Exact sums of integers and decimals.
//!
//! A group's sum is a 64-bit part, which takes the rows, and a 128-bit part, made only when it is needed.
//! One bound over all groups tells when a 64-bit part could overflow: it grows with every batch by the
//! batch's largest magnitude (an OR over its values) times its rows. Before it passes 2^63 the 64-bit parts
//! are folded into the 128-bit ones and start again from zero. Money summed over tens of millions of rows
//! never gets there, so the loop over rows is a plain 64-bit addition.

use std::{any::Any, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal64Array, Decimal128Array, Int64Array},
    buffer::NullBuffer,
    datatypes::{DataType, Decimal64Type, Decimal128Type, Int16Type, Int32Type, Int64Type},
};

use super::{Accumulator, GroupIds, Seen, count::FEW_GROUPS, downcast};
use crate::{Error, Result};

/// Most a 128-bit part may reach by adding 128-bit values: above every decimal (10^38), and far enough below
/// 2^127 (1.7 * 10^38) that 64-bit values never get there.
const HIGH_MAX: u128 = 160 * 10_u128.pow(36);

/// `sum(x)` of integers and decimals of any width.
#[derive(Debug)]
pub(crate) struct ExactSum {
    data_type: DataType,
    low: Vec<i64>,
    /// Empty until the first fold.
    high: Vec<i128>,
    /// No magnitude in `low` exceeds it; below 2^63.
    bound: u64,
    seen: Seen,
}

impl ExactSum {
    /// Sums whose result is of type `data_type`: Int64 or a decimal of either width.
    pub(crate) fn new(data_type: DataType) -> Self {
        ExactSum { data_type, low: Vec::new(), high: Vec::new(), bound: 0, seen: Seen::default() }
    }

    /// The sums of groups `range`; of groups that met no value, zero.
    pub(crate) fn sums(&self, range: Range<usize>) -> Vec<i128> {
        let low = self.low[range.clone()].iter().map(|low| i128::from(*low));
        if self.high.is_empty() { low.collect() } else { low.zip(&self.high[range]).map(|(low, high)| low + high).collect() }
    }

    fn add_values<T: Copy + Into<i64>>(&mut self, groups: &GroupIds<'_>, values: &[T], nulls: Option<&NullBuffer>) {
        if self.reserve(values.len(), u128::from(magnitude(values))) {
            add(groups, values, nulls, &mut self.low);
        } else {
            let row = |row: usize| self.high[groups.ids()[row] as usize] += i128::from(values[row].into());
            for_each_valid(values.len(), nulls, row);
        }
    }

    fn add_wide_values(&mut self, groups: &GroupIds<'_>, values: &[i128], nulls: Option<&NullBuffer>) -> Result<()> {
        let magnitude = values.iter().fold(0, |bits, value| bits | (value ^ (value >> 127)) as u128);
        if self.reserve(values.len(), magnitude) {
            // The magnitude fits 63 bits, and so do the values (those of NULLs included).
            let row = |row: usize| self.low[groups.ids()[row] as usize] += values[row] as i64;
            for_each_valid(values.len(), nulls, row);
            return Ok(());
        }
        let mut overflow = false;
        for_each_valid(values.len(), nulls, |row| {
            let sum = &mut self.high[groups.ids()[row] as usize];
            *sum = sum.saturating_add(values[row]);
            overflow |= sum.unsigned_abs() > HIGH_MAX;
        });
        if overflow { Err(Error::NumericOverflow) } else { Ok(()) }
    }

    /// Makes sure that `num_rows` values, none larger than `magnitude` but by one, can be added to `low`.
    /// Otherwise answers false: they have to go to `high`, which is then there.
    fn reserve(&mut self, num_rows: usize, magnitude: u128) -> bool {
        let limit = i64::MAX as u128;
        let growth = (magnitude + u128::from(magnitude < u128::MAX)).saturating_mul(num_rows as u128);
        if u128::from(self.bound) + growth.min(limit + 1) <= limit {
            self.bound += growth as u64;
            return true;
        }
        self.fold();
        if growth <= limit {
            self.bound = growth as u64;
        }
        growth <= limit
    }

    /// Empties `low` into `high`.
    fn fold(&mut self) {
        self.high.resize(self.low.len(), 0);
        for (high, low) in self.high.iter_mut().zip(&mut self.low) {
            *high += i128::from(std::mem::take(low));
        }
        self.bound = 0;
    }
}

impl Accumulator for ExactSum {
    fn resize(&mut self, num_groups: usize) {
        self.low.resize(num_groups, 0);
        if !self.high.is_empty() {
            self.high.resize(num_groups, 0);
        }
        self.seen.resize(num_groups);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let array = &arguments[0];
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.seen.update(groups, nulls);
        match array.data_type() {
            DataType::Int16 => self.add_values(groups, array.as_primitive::<Int16Type>().values(), nulls),
            DataType::Int32 => self.add_values(groups, array.as_primitive::<Int32Type>().values(), nulls),
            DataType::Int64 => self.add_values(groups, array.as_primitive::<Int64Type>().values(), nulls),
            DataType::Decimal64(..) => self.add_values(groups, array.as_primitive::<Decimal64Type>().values(), nulls),
            DataType::Decimal128(..) => {
                self.add_wide_values(groups, array.as_primitive::<Decimal128Type>().values(), nulls)?;
            }
            other => return Err(Error::Internal(format!("sum of {other}"))),
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        self.seen.merge(groups, &from.seen, from_groups);
        if self.bound.checked_add(from.bound).is_none_or(|bound| bound > i64::MAX as u64) {
            self.fold();
        }
        // Each group of `from` is added at most once, so the sum of bounds is a bound of the sums.
        self.bound += from.bound;
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            self.low[*group as usize] += from.low[*from_group as usize];
        }
        if !from.high.is_empty() {
            self.high.resize(self.low.len(), 0);
            for (group, from_group) in groups.ids().iter().zip(from_groups) {
                let high = &mut self.high[*group as usize];
                *high = high.saturating_add(from.high[*from_group as usize]);
                if high.unsigned_abs() > HIGH_MAX {
                    return Err(Error::NumericOverflow);
                }
            }
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        let nulls = self.seen.nulls(range.clone());
        let narrow = |error: Error| -> Result<Vec<i64>> {
            if self.high.is_empty() {
                return Ok(self.low[range.clone()].to_vec());
            }
            self.sums(range.clone()).into_iter().map(|sum| i64::try_from(sum).map_err(|_| error.clone())).collect()
        };
        Ok(match &self.data_type {
            DataType::Int64 => Arc::new(Int64Array::new(narrow(Error::OutOfRange { type_name: "bigint" })?.into(), nulls)),
            DataType::Decimal64(precision, scale) => {
                let sums = narrow(Error::NumericOverflow)?;
                let limit = 10_i64.pow(u32::from(*precision).min(18));
                if sums.iter().any(|sum| sum.unsigned_abs() >= limit.unsigned_abs()) {
                    return Err(Error::NumericOverflow);
                }
                Arc::new(Decimal64Array::new(sums.into(), nulls).with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Decimal128(precision, scale) => {
                let sums = self.sums(range);
                let limit = 10_u128.pow(u32::from(*precision).min(38));
                if sums.iter().any(|sum| sum.unsigned_abs() >= limit) {
                    return Err(Error::NumericOverflow);
                }
                Arc::new(Decimal128Array::new(sums.into(), nulls).with_precision_and_scale(*precision, *scale)?)
            }
            other => return Err(Error::Internal(format!("exact sum as {other}"))),
        })
    }

    fn num_bytes(&self) -> usize {
        self.low.capacity() * size_of::<i64>() + self.high.capacity() * size_of::<i128>() + self.seen.num_bytes()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(ExactSum::new(self.data_type.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A number whose set bits cover those of every magnitude; values of both signs `v` obey `-m - 1 <= v <= m`.
fn magnitude<T: Copy + Into<i64>>(values: &[T]) -> u64 {
    values.iter().fold(0, |bits, value| {
        let value: i64 = (*value).into();
        bits | (value ^ (value >> 63)) as u64
    })
}

/// Adds every valid value to its group's sum; the caller has made sure that no sum overflows.
fn add<T: Copy + Into<i64>>(groups: &GroupIds<'_>, values: &[T], nulls: Option<&NullBuffer>, sums: &mut [i64]) {
    assert_eq!(groups.ids().len(), values.len());
    let sums = &mut sums[..groups.num_groups()];
    match nulls {
        Some(nulls) => nulls.valid_indices().for_each(|row| sums[groups.ids()[row] as usize] += values[row].into()),
        None if sums.len() == 1 => sums[0] += values.iter().map(|value| (*value).into()).sum::<i64>(),
        None if sums.len() <= FEW_GROUPS => add_to_few(groups.ids(), values, sums),
        None => {
            for (group, value) in groups.ids().iter().zip(values) {
                // SAFETY: `GroupIds` holds only ids below `num_groups`, the length of `sums`.
                unsafe { *sums.get_unchecked_mut(*group as usize) += (*value).into() };
            }
        }
    }
}

// Four sums per group take turns: with few groups, rows of one group follow each other closely, and an
// addition to memory that was just written has to wait for the store.
fn add_to_few<T: Copy + Into<i64>>(groups: &[u32], values: &[T], sums: &mut [i64]) {
    let mut lanes = [[0_i64; FEW_GROUPS]; 4];
    let (group_quads, group_rest) = groups.as_chunks::<4>();
    let (value_quads, value_rest) = values.as_chunks::<4>();
    for (groups, values) in group_quads.iter().zip(value_quads) {
        for lane in 0..4 {
            lanes[lane][groups[lane] as usize % FEW_GROUPS] += values[lane].into();
        }
    }
    for (group, value) in group_rest.iter().zip(value_rest) {
        lanes[0][*group as usize % FEW_GROUPS] += (*value).into();
    }
    for (group, sum) in sums.iter_mut().enumerate() {
        *sum += lanes.iter().map(|lane| lane[group]).sum::<i64>();
    }
}

fn for_each_valid(num_rows: usize, nulls: Option<&NullBuffer>, row: impl FnMut(usize)) {
    match nulls {
        None => (0..num_rows).for_each(row),
        Some(nulls) => nulls.valid_indices().for_each(row),
    }
}
