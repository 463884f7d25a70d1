//! DISTINCT for any aggregate: passes on only the first row of every (group, arguments).
//!
//! Pairs are deduplicated in a table of [`crate::aggregate::groups`], whose keys are the group id and the
//! arguments. NULL in the first argument never counts.

use std::{any::Any, ops::Range, sync::Arc, sync::OnceLock};

use arrow::{
    array::{ArrayRef, BooleanArray, UInt32Array},
    compute::{filter, take},
    datatypes::DataType,
};

use super::{Accumulator, GroupIds, downcast, nulls, plain_type};
use crate::{
    Result,
    aggregate::groups::{Groups, KeyColumn, KeyPlan},
};

/// An aggregate over distinct arguments.
pub(crate) struct Distinct {
    inner: Box<dyn Accumulator>,
    types: Vec<DataType>,
    pairs: Groups,
    pair_ids: Vec<u32>,
    num_groups: usize,
    /// Made for the first merge out of this accumulator, which no longer changes then.
    by_group: OnceLock<Result<PairsByGroup>>,
}

/// The pairs of all groups, and which of them belong to a group.
struct PairsByGroup {
    arguments: Vec<ArrayRef>,
    /// Pairs of group `g`: `pairs[starts[g] .. starts[g + 1]]`.
    starts: Vec<usize>,
    pairs: Vec<u32>,
}

impl Distinct {
    /// `inner` over distinct arguments of `types`.
    pub(crate) fn new(inner: Box<dyn Accumulator>, types: Vec<DataType>) -> Self {
        let group = KeyColumn { data_type: DataType::UInt32, bounds: None, nullable: false };
        let arguments = types.iter().enumerate().map(|(position, data_type)| KeyColumn {
            data_type: plain_type(data_type),
            // A guess that lets a pair fit 64 bits; most keys and many amounts are that small.
            bounds: Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            nullable: position > 0,
        });
        let plan = KeyPlan::new(std::iter::once(group).chain(arguments).collect(), 0);
        Distinct { inner, types, pairs: Groups::new(plan), pair_ids: Vec::new(), num_groups: 0, by_group: OnceLock::new() }
    }

    /// Takes rows without NULL in the first argument.
    fn add(&mut self, groups: &[u32], arguments: &[ArrayRef]) -> Result<()> {
        let known = self.pairs.len();
        let keys: Vec<ArrayRef> =
            std::iter::once(Arc::new(UInt32Array::from(groups.to_vec())) as ArrayRef).chain(arguments.iter().cloned()).collect();
        self.pairs.assign(&keys, groups.len(), &mut self.pair_ids)?;
        // New pairs have the next ids in the order of their first rows.
        let mut next = known as u32;
        let mut is_first = |id: &u32| {
            *id == next && {
                next += 1;
                true
            }
        };
        let rows: Vec<u32> = (0_u32..).zip(&self.pair_ids).filter(|(_, id)| is_first(id)).map(|(row, _)| row).collect();
        if rows.len() == groups.len() {
            return self.inner.update(&GroupIds::of_some_rows(groups, self.num_groups), arguments);
        }
        let groups: Vec<u32> = rows.iter().map(|row| groups[*row as usize]).collect();
        let rows = UInt32Array::from(rows);
        let arguments = arguments.iter().map(|argument| take(argument, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        self.inner.update(&GroupIds::of_some_rows(&groups, self.num_groups), &arguments)
    }

    fn pairs_by_group(&self) -> Result<PairsByGroup> {
        let mut columns = self.pairs.decode(0..self.pairs.len())?;
        if columns.is_empty() {
            return Ok(PairsByGroup { arguments: Vec::new(), starts: vec![0; self.num_groups + 1], pairs: Vec::new() });
        }
        let groups = columns.remove(0);
        let groups = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(&groups).values();
        let mut starts = vec![0; self.num_groups + 1];
        groups.iter().for_each(|group| starts[*group as usize + 1] += 1);
        (0..self.num_groups).for_each(|group| starts[group + 1] += starts[group]);
        let mut ends = starts.clone();
        let mut pairs = vec![0; groups.len()];
        for (pair, group) in (0_u32..).zip(groups) {
            pairs[ends[*group as usize]] = pair;
            ends[*group as usize] += 1;
        }
        Ok(PairsByGroup { arguments: columns, starts, pairs })
    }
}

impl Accumulator for Distinct {
    fn resize(&mut self, num_groups: usize) {
        self.num_groups = num_groups;
        self.inner.resize(num_groups);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let Some(nulls) = nulls(&arguments[0]) else { return self.add(groups.ids(), arguments) };
        let valid = BooleanArray::new(nulls.inner().clone(), None);
        let groups: Vec<u32> = nulls.valid_indices().map(|row| groups.ids()[row]).collect();
        let arguments = arguments.iter().map(|argument| filter(argument, &valid)).collect::<Result<Vec<_>, _>>()?;
        if groups.is_empty() { Ok(()) } else { self.add(&groups, &arguments) }
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        let by_group = from.by_group.get_or_init(|| from.pairs_by_group()).as_ref().map_err(Clone::clone)?;
        let (mut pairs, mut pair_groups) = (Vec::new(), Vec::new());
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            let of_group = &by_group.pairs[by_group.starts[*from_group as usize]..by_group.starts[*from_group as usize + 1]];
            pairs.extend_from_slice(of_group);
            pair_groups.extend(std::iter::repeat_n(*group, of_group.len()));
        }
        if pairs.is_empty() {
            return Ok(());
        }
        let pairs = UInt32Array::from(pairs);
        let arguments = by_group.arguments.iter().map(|argument| take(argument, &pairs, None)).collect::<Result<Vec<_>, _>>()?;
        self.add(&pair_groups, &arguments)
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        self.inner.finish(range)
    }

    fn num_bytes(&self) -> usize {
        self.inner.num_bytes() + self.pairs.num_bytes()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Distinct::new(self.inner.fresh(), self.types.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
