//! Counts of rows, and of rows whose argument is NULL.
//!
//! `count(x)` is kept as rows less NULLs: where the column has no NULL only the shared row count costs
//! anything.

use std::{any::Any, ops::Range, sync::Arc};

use arrow::array::{ArrayRef, Int64Array};

use super::{Accumulator, GroupIds, downcast};
use crate::Result;

/// Groups up to which several counters per group are kept, so that rows of one group following each other
/// do not wait for each other's store.
pub(super) const FEW_GROUPS: usize = 64;

/// `count(*)`
#[derive(Debug, Default)]
pub(crate) struct RowCount {
    counts: Vec<i64>,
}

impl Accumulator for RowCount {
    fn resize(&mut self, num_groups: usize) {
        self.counts.resize(num_groups, 0);
    }

    fn update(&mut self, groups: &GroupIds<'_>, _arguments: &[ArrayRef]) -> Result<()> {
        count(groups, &mut self.counts);
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            self.counts[*group as usize] += from.counts[*from_group as usize];
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(self.counts[range].to_vec())))
    }

    fn num_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::<Self>::default()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Rows whose argument is NULL; all zero, and nothing allocated, until the first NULL comes.
#[derive(Debug, Default)]
pub(crate) struct NullCount {
    len: usize,
    counts: Vec<i64>,
}

impl Accumulator for NullCount {
    fn resize(&mut self, num_groups: usize) {
        self.len = num_groups;
        if !self.counts.is_empty() {
            self.counts.resize(num_groups, 0);
        }
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        if let Some(nulls) = super::nulls(&arguments[0]) {
            self.counts.resize(self.len, 0);
            let rows = nulls.iter().zip(groups.ids()).filter(|(valid, _)| !valid);
            rows.for_each(|(_, group)| self.counts[*group as usize] += 1);
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        if !from.counts.is_empty() {
            self.counts.resize(self.len, 0);
            for (group, from_group) in groups.ids().iter().zip(from_groups) {
                self.counts[*group as usize] += from.counts[*from_group as usize];
            }
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        let counts = if self.counts.is_empty() { vec![0; range.len()] } else { self.counts[range].to_vec() };
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn num_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::<Self>::default()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Adds one to the count of every row's group.
fn count(groups: &GroupIds<'_>, counts: &mut [i64]) {
    if groups.num_groups() > FEW_GROUPS {
        let counts = &mut counts[..groups.num_groups()];
        for group in groups.ids() {
            // SAFETY: `GroupIds` holds only ids below `num_groups`, the length of `counts`.
            unsafe { *counts.get_unchecked_mut(*group as usize) += 1 };
        }
        return;
    }
    let mut lanes = [[0_i64; FEW_GROUPS]; 4];
    let (quads, rest) = groups.ids().as_chunks::<4>();
    for quad in quads {
        for (lane, group) in lanes.iter_mut().zip(quad) {
            lane[*group as usize % FEW_GROUPS] += 1;
        }
    }
    rest.iter().for_each(|group| lanes[0][*group as usize % FEW_GROUPS] += 1);
    for (group, count) in counts[..groups.num_groups()].iter_mut().enumerate() {
        *count += lanes.iter().map(|lane| lane[group]).sum::<i64>();
    }
}
