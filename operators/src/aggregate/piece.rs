//! Pieces: groups with their accumulators that no longer change, cut into partitions and merged.
//!
//! Position: what chains hand over ([`super::build`]) and what the source reads ([`super::source`]).

use std::sync::Arc;

use super::{
    accumulator::{Accumulator, GroupIds},
    groups::{EncodedKeys, KeyPlan, Merger, recode},
};
use crate::Result;

/// Groups with their accumulators.
pub(crate) struct Piece {
    /// Step of the ladder of encodings.
    pub(crate) level: usize,
    /// By group id.
    pub(crate) keys: EncodedKeys,
    /// In the order of the calls' states.
    pub(crate) accumulators: Vec<Box<dyn Accumulator>>,
    /// Whether no key comes twice.
    pub(crate) is_distinct: bool,
}

impl Piece {
    /// No groups; accumulators of the same aggregates as `like`.
    pub(crate) fn empty(plan: &KeyPlan, level: usize, like: &[Box<dyn Accumulator>]) -> Self {
        let keys = EncodedKeys::empty(plan.encoding(level));
        Piece { level, keys, accumulators: like.iter().map(|like| like.fresh()).collect(), is_distinct: true }
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        self.keys.num_bytes() + self.accumulators.iter().map(|accumulator| accumulator.num_bytes()).sum::<usize>()
    }

    /// Encodes the keys by step `level`, at least that of the piece.
    pub(crate) fn widen(&mut self, plan: &KeyPlan, level: usize) -> Result<()> {
        let keys = std::mem::replace(&mut self.keys, EncodedKeys::Unit(0));
        self.keys = recode(keys, plan, self.level, level)?;
        self.level = level;
        Ok(())
    }

    /// Appends groups of `from`, which has the same encoding, as groups of their own.
    fn append(&mut self, from: &Piece, from_groups: &[u32]) -> Result<()> {
        let first = self.len() as u32;
        self.is_distinct = self.is_distinct && first == 0 && from.is_distinct;
        self.keys.extend_from(&from.keys, from_groups);
        let groups: Vec<u32> = (first..first + from_groups.len() as u32).collect();
        let groups = GroupIds::of_batch(&groups, self.len());
        for (accumulator, from) in self.accumulators.iter_mut().zip(&from.accumulators) {
            accumulator.resize(groups.num_groups());
            accumulator.merge(&groups, from.as_ref(), from_groups)?;
        }
        Ok(())
    }

    /// Appends every group to its partition, one of `1 << partition_bits`, which are made on first use.
    pub(crate) fn scatter(&self, plan: &KeyPlan, partition_bits: u32, partitions: &mut Vec<Piece>) -> Result<()> {
        if partitions.is_empty() {
            partitions.resize_with(1 << partition_bits, || Piece::empty(plan, self.level, &self.accumulators));
        }
        let mut partition_of_group = Vec::new();
        self.keys.partition(plan, self.level, partition_bits, &mut partition_of_group);
        let mut starts = vec![0_usize; partitions.len() + 1];
        partition_of_group.iter().for_each(|partition| starts[*partition as usize + 1] += 1);
        (0..partitions.len()).for_each(|partition| starts[partition + 1] += starts[partition]);
        let mut ends = starts.clone();
        let mut groups = vec![0_u32; self.len()];
        for (group, partition) in (0_u32..).zip(&partition_of_group) {
            let end = &mut ends[*partition as usize];
            groups[*end] = group;
            *end += 1;
        }
        for (index, partition) in partitions.iter_mut().enumerate() {
            let groups = &groups[starts[index]..starts[index + 1]];
            if !groups.is_empty() {
                partition.append(self, groups)?;
            }
        }
        Ok(())
    }

    /// One piece with every key of `pieces` once. They have the same encoding; `partition`: they are that
    /// partition of `1 << bits`.
    pub(crate) fn merge(mut pieces: Vec<Piece>, plan: &Arc<KeyPlan>, partition: Option<(usize, u32)>) -> Result<Option<Piece>> {
        pieces.retain(|piece| piece.len() > 0);
        if pieces.len() <= 1 && pieces.iter().all(|piece| piece.is_distinct) {
            return Ok(pieces.pop());
        }
        let Some(first) = pieces.first() else { return Ok(None) };
        let level = first.level;
        let mut accumulators: Vec<_> = first.accumulators.iter().map(|accumulator| accumulator.fresh()).collect();
        let largest = pieces.iter().map(Piece::len).max().unwrap_or_default();
        let mut merger = Merger::new(plan, level, largest, partition);
        let (mut ids, mut from_groups) = (Vec::new(), Vec::new());
        // Each piece is dropped as soon as it is merged.
        for piece in pieces {
            merger.assign(&piece.keys, &mut ids);
            from_groups.clear();
            from_groups.extend(0..piece.len() as u32);
            let groups = GroupIds::of_batch(&ids, merger.len());
            for (accumulator, from) in accumulators.iter_mut().zip(&piece.accumulators) {
                accumulator.resize(groups.num_groups());
                accumulator.merge(&groups, from.as_ref(), &from_groups)?;
            }
        }
        Ok(Some(Piece { level, keys: merger.into_keys(), accumulators, is_distinct: true }))
    }
}
