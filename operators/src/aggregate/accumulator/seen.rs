//! Which groups have met a value that counts: those that have not are NULL.
//!
//! Most columns have no NULL, and then every group has met a value as soon as it exists. So nothing is
//! written per row until the first NULL (or filtered row) comes.

use std::ops::Range;

use arrow::buffer::NullBuffer;

use super::GroupIds;

/// A flag per group, made only when it is needed.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    len: usize,
    /// Without flags, groups below this have met a value, the others have not.
    covered: usize,
    flags: Option<Vec<bool>>,
}

impl Seen {
    /// Makes room for `num_groups` groups; new ones have met nothing.
    pub(crate) fn resize(&mut self, num_groups: usize) {
        self.len = num_groups;
        if let Some(flags) = &mut self.flags {
            flags.resize(num_groups, false);
        }
    }

    /// Notes the rows of a batch; those that are NULL do not count.
    pub(crate) fn update(&mut self, groups: &GroupIds<'_>, nulls: Option<&NullBuffer>) {
        if self.flags.is_none() && nulls.is_none() && groups.reaches_new_groups() {
            self.covered = self.len;
            return;
        }
        let flags = self.flags();
        match nulls {
            None => groups.ids().iter().for_each(|group| flags[*group as usize] = true),
            Some(nulls) => nulls.valid_indices().for_each(|row| flags[groups.ids()[row] as usize] = true),
        }
    }

    /// Takes over what groups `from_groups` of `from` have met, row by row into `groups`.
    pub(crate) fn merge(&mut self, groups: &GroupIds<'_>, from: &Seen, from_groups: &[u32]) {
        if self.flags.is_none() && from.flags.is_none() && from.covered == from.len && groups.reaches_new_groups() {
            self.covered = self.len;
            return;
        }
        let flags = self.flags();
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            flags[*group as usize] |= from.contains(*from_group as usize);
        }
    }

    /// Whether `group` has met a value.
    pub(crate) fn contains(&self, group: usize) -> bool {
        match &self.flags {
            None => group < self.covered,
            Some(flags) => flags[group],
        }
    }

    /// The validity of the results of groups `range`.
    pub(crate) fn nulls(&self, range: Range<usize>) -> Option<NullBuffer> {
        match &self.flags {
            None if range.end <= self.covered => None,
            None => Some(range.map(|group| group < self.covered).collect()),
            Some(flags) => Some(NullBuffer::from(&flags[range])).filter(|nulls| nulls.null_count() > 0),
        }
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        self.flags.as_ref().map_or(0, Vec::capacity)
    }

    fn flags(&mut self) -> &mut Vec<bool> {
        let (covered, len) = (self.covered, self.len);
        self.flags.get_or_insert_with(|| (0..len).map(|group| group < covered).collect())
    }
}
