//! Smallest and largest strings, by their bytes (the C collation).

use std::{any::Any, marker::PhantomData, ops::Range};

use arrow::{array::ArrayRef, datatypes::DataType};

use super::{
    Accumulator, GroupIds, downcast,
    extreme::End,
    text::{GroupTexts, TextColumn},
};
use crate::Result;

/// `min(x)` or `max(x)` of text or bytea.
pub(crate) struct ExtremeText<E> {
    data_type: DataType,
    texts: GroupTexts,
    end: PhantomData<E>,
}

impl<E: End> ExtremeText<E> {
    /// Of `data_type`, Utf8View or BinaryView.
    pub(crate) fn new(data_type: DataType) -> Self {
        ExtremeText { data_type, texts: GroupTexts::default(), end: PhantomData }
    }

    fn offer(&mut self, group: u32, text: &[u8]) -> Result<()> {
        match self.texts.get(group as usize) {
            Some(kept) if !E::prefers(text.cmp(kept)) => Ok(()),
            _ => self.texts.set(group as usize, text),
        }
    }
}

impl<E: End> Accumulator for ExtremeText<E> {
    fn resize(&mut self, num_groups: usize) {
        self.texts.resize(num_groups);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let column = TextColumn::new(&arguments[0])?;
        for (row, group) in groups.ids().iter().enumerate() {
            if let Some(text) = column.get(row) {
                self.offer(*group, text)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            if let Some(text) = from.texts.get(*from_group as usize) {
                self.offer(*group, text)?;
            }
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        Ok(self.texts.array(range, &self.data_type))
    }

    fn num_bytes(&self) -> usize {
        self.texts.num_bytes()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.data_type.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
