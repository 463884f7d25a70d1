//! Byte strings per group, and string columns in either of their two shapes.
//!
//! Position: the state of `min`, `max` and `first` of text and bytea.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder},
    datatypes::{DataType, UInt32Type},
};

use crate::{Error, Result};

/// A text or bytea column: values as they are, or behind dictionary codes.
pub(crate) struct TextColumn {
    values: BinaryViewArray,
    /// The column itself where it is a dictionary.
    codes: Option<ArrayRef>,
}

impl TextColumn {
    /// A view of `array`: Utf8View, BinaryView, or a dictionary of one of them with UInt32 codes.
    pub(crate) fn new(array: &ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Utf8View => Ok(TextColumn { values: array.as_string_view().clone().to_binary_view(), codes: None }),
            DataType::BinaryView => Ok(TextColumn { values: array.as_binary_view().clone(), codes: None }),
            DataType::Dictionary(code, _) if **code == DataType::UInt32 => {
                let values = TextColumn::new(array.as_dictionary::<UInt32Type>().values())?.values;
                Ok(TextColumn { values, codes: Some(Arc::clone(array)) })
            }
            other => Err(Error::Internal(format!("a column of {other} where text is expected"))),
        }
    }

    /// The bytes of `row`; `None` is NULL.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        let index = match &self.codes {
            None => row,
            Some(codes) if codes.is_null(row) => return None,
            Some(codes) => codes.as_dictionary::<UInt32Type>().keys().values()[row] as usize,
        };
        if self.values.is_null(index) { None } else { Some(self.values.value(index)) }
    }
}

/// At most one byte string per group, replaced at will.
///
/// Replaced strings leave holes in the heap; when those outweigh what is alive, the heap is written anew.
#[derive(Debug, Default)]
pub(crate) struct GroupTexts {
    /// Start and length in the heap; start `ABSENT`: nothing.
    places: Vec<(usize, u32)>,
    heap: Vec<u8>,
    dead_bytes: usize,
}

const ABSENT: usize = usize::MAX;
const DEAD_BYTES_MAX: usize = 1 << 20;

impl GroupTexts {
    /// Makes room for `num_groups` groups; new ones have no string.
    pub(crate) fn resize(&mut self, num_groups: usize) {
        self.places.resize(num_groups, (ABSENT, 0));
    }

    /// The string of `group`.
    pub(crate) fn get(&self, group: usize) -> Option<&[u8]> {
        let (start, length) = self.places[group];
        (start != ABSENT).then(|| &self.heap[start..start + length as usize])
    }

    /// Gives `group` a string.
    pub(crate) fn set(&mut self, group: usize, text: &[u8]) -> Result<()> {
        let length = u32::try_from(text.len()).map_err(|_| Error::InvalidArgument("text too long".to_owned()))?;
        let (start, old_length) = self.places[group];
        if start != ABSENT && old_length >= length {
            self.heap[start..start + text.len()].copy_from_slice(text);
            self.places[group].1 = length;
            self.dead_bytes += (old_length - length) as usize;
            return Ok(());
        }
        if start != ABSENT {
            self.dead_bytes += old_length as usize;
        }
        self.places[group] = (self.heap.len(), length);
        self.heap.extend_from_slice(text);
        if self.dead_bytes > DEAD_BYTES_MAX && self.dead_bytes > self.heap.len() / 2 {
            self.compact();
        }
        Ok(())
    }

    /// The strings of groups `range`, as Utf8View or BinaryView.
    pub(crate) fn array(&self, range: Range<usize>, data_type: &DataType) -> ArrayRef {
        let mut builder = BinaryViewBuilder::with_capacity(range.len());
        range.for_each(|group| builder.append_option(self.get(group)));
        let array = builder.finish();
        if *data_type == DataType::BinaryView {
            return Arc::new(array);
        }
        // SAFETY: every string in the heap was copied whole from a string array.
        Arc::new(unsafe { array.to_string_view_unchecked() })
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        self.places.capacity() * size_of::<(usize, u32)>() + self.heap.capacity()
    }

    fn compact(&mut self) {
        let mut heap = Vec::with_capacity(self.heap.len() - self.dead_bytes);
        for (start, length) in self.places.iter_mut().filter(|(start, _)| *start != ABSENT) {
            let text = &self.heap[*start..*start + *length as usize];
            *start = heap.len();
            heap.extend_from_slice(text);
        }
        self.heap = heap;
        self.dead_bytes = 0;
    }
}
