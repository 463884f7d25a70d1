//! Texts joined by delimiters, in the order of arrival.

use std::{any::Any, ops::Range, sync::Arc};

use arrow::array::{ArrayRef, StringViewBuilder};

use super::{Accumulator, GroupIds, downcast, text::TextColumn};
use crate::{Error, Result};

/// What a group has joined so far. Every text is preceded by its delimiter, the first one too: only so can
/// the shares of two chains be joined later. The result leaves the first delimiter out.
#[derive(Debug, Clone)]
struct Joined {
    bytes: Vec<u8>,
    first_delimiter_bytes: usize,
}

/// `string_agg(text, delimiter)`; a NULL text is skipped, a NULL delimiter is empty.
#[derive(Debug, Default)]
pub(crate) struct StringAgg {
    groups: Vec<Option<Joined>>,
    heap_bytes: usize,
}

impl Accumulator for StringAgg {
    fn resize(&mut self, num_groups: usize) {
        self.groups.resize(num_groups, None);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let (texts, delimiters) = (TextColumn::new(&arguments[0])?, TextColumn::new(&arguments[1])?);
        for (row, group) in groups.ids().iter().enumerate() {
            let Some(text) = texts.get(row) else { continue };
            let delimiter = delimiters.get(row).unwrap_or_default();
            let joined =
                self.groups[*group as usize].get_or_insert_with(|| Joined { bytes: Vec::new(), first_delimiter_bytes: delimiter.len() });
            joined.bytes.extend_from_slice(delimiter);
            joined.bytes.extend_from_slice(text);
            self.heap_bytes += delimiter.len() + text.len();
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            let Some(more) = &from.groups[*from_group as usize] else { continue };
            self.heap_bytes += more.bytes.len();
            match &mut self.groups[*group as usize] {
                Some(joined) => joined.bytes.extend_from_slice(&more.bytes),
                none => *none = Some(more.clone()),
            }
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(range.len());
        for joined in &self.groups[range] {
            match joined {
                None => builder.append_null(),
                Some(joined) => {
                    let bytes = &joined.bytes[joined.first_delimiter_bytes..];
                    let text = str::from_utf8(bytes).map_err(|error| Error::Internal(error.to_string()))?;
                    builder.try_append_value(text)?;
                }
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    fn num_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Option<Joined>>() + self.heap_bytes
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::<Self>::default()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
