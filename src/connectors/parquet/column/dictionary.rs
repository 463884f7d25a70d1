//! The dictionary of a column chunk: the values its codes stand for, in the engine's form.

use arrow::{array::ArrayRef, buffer::NullBuffer, datatypes::DataType};

use super::{fixed::Lanes, text::TextDictionary};
use crate::connectors::parquet::{
    chunk_bytes::PADDING,
    fault::{Decoded, corrupt},
    output,
    schema::{Layout, Reading},
};

/// A dictionary.
#[derive(Debug)]
pub enum Dictionary {
    /// Values of a fixed width, little-endian, one after the other.
    Fixed {
        /// The values.
        bytes: Vec<u8>,
        /// How many.
        len: usize,
    },
    /// Text or binary values.
    Text(TextDictionary),
}

impl Dictionary {
    /// Of the `count` values in `page`, which ends with [`PADDING`] bytes.
    pub fn new(page: Vec<u8>, count: usize, reading: &Reading) -> Decoded<Self> {
        let end = page.len() - PADDING;
        let converted = reading.conversion.apply(&page[..end], count)?;
        match reading.layout {
            Layout::Fixed(width) => {
                let mut bytes = converted.unwrap_or_else(|| {
                    let mut page = page;
                    page.truncate(end);
                    page
                });
                if count.checked_mul(width).is_none_or(|length| length > bytes.len()) {
                    return corrupt("a dictionary has fewer values than its header says");
                }
                bytes.truncate(count * width);
                Ok(Dictionary::Fixed { bytes, len: count })
            }
            layout => {
                let (page, end) = match converted {
                    Some(mut bytes) => {
                        let end = bytes.len();
                        bytes.resize(end + PADDING, 0);
                        (bytes, end)
                    }
                    None => (page, end),
                };
                Ok(Dictionary::Text(TextDictionary::new(page, end, count, layout == Layout::Text)?))
            }
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Dictionary::Fixed { len, .. } => *len,
            Dictionary::Text(text) => text.len(),
        }
    }

    /// The entries as an array, for predicates; followed by one NULL if asked for.
    pub fn to_array(&self, reading: &Reading, with_null: bool) -> ArrayRef {
        match (self, reading.layout) {
            (Dictionary::Text(text), _) if with_null => text.with_null(),
            (Dictionary::Text(text), _) => text.array.clone(),
            (Dictionary::Fixed { bytes, len }, layout) => fixed_array(bytes, *len, layout, &reading.data_type, with_null),
        }
    }
}

fn fixed_array(bytes: &[u8], len: usize, layout: Layout, data_type: &DataType, with_null: bool) -> ArrayRef {
    let width = if let Layout::Fixed(width) = layout { width } else { 1 };
    let mut padded = bytes.to_vec();
    let rows = len + usize::from(with_null);
    padded.resize(rows * width, 0);
    let mut lanes = Lanes::new(width);
    // The bytes were made `rows` lanes long just now.
    let appended = lanes.append(&padded, rows);
    debug_assert!(appended.is_ok());
    let nulls = with_null.then(|| NullBuffer::from_iter((0..rows).map(|i| i < len)));
    output::fixed_array(lanes, data_type, nulls)
}
