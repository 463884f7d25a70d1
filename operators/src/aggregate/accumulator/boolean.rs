//! `bool_and` and `bool_or`; also `min` and `max` of Booleans, false being the smaller.

use std::{any::Any, ops::Range, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};

use super::{Accumulator, GroupIds, Seen, downcast};
use crate::Result;

/// AND (`decisive` false) or OR (`decisive` true): one decisive value decides.
#[derive(Debug)]
pub(crate) struct BooleanFold {
    decisive: bool,
    values: Vec<bool>,
    seen: Seen,
}

impl BooleanFold {
    /// A fold that one value `decisive` decides.
    pub(crate) fn new(decisive: bool) -> Self {
        BooleanFold { decisive, values: Vec::new(), seen: Seen::default() }
    }
}

impl Accumulator for BooleanFold {
    fn resize(&mut self, num_groups: usize) {
        self.values.resize(num_groups, !self.decisive);
        self.seen.resize(num_groups);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let array = arguments[0].as_boolean();
        self.seen.update(groups, array.nulls().filter(|nulls| nulls.null_count() > 0));
        for (row, group) in groups.ids().iter().enumerate() {
            if array.is_valid(row) && array.value(row) == self.decisive {
                self.values[*group as usize] = self.decisive;
            }
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        self.seen.merge(groups, &from.seen, from_groups);
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            if from.values[*from_group as usize] == self.decisive {
                self.values[*group as usize] = self.decisive;
            }
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        let nulls = self.seen.nulls(range.clone());
        Ok(Arc::new(BooleanArray::new(self.values[range].iter().copied().collect(), nulls)))
    }

    fn num_bytes(&self) -> usize {
        self.values.capacity() + self.seen.num_bytes()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(BooleanFold::new(self.decisive))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
