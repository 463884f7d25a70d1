//! Output columns of a scan: what survives of each window is appended here until a batch is full.
//!
//! Position: between [`super::column`] and the batches. Text keeps codes and the chunk's dictionary while that dictionary is small;
//! then whoever compares, groups or transforms it can do so once per entry.

use std::sync::Arc;

use arrow::{
    array::{ArrayData, ArrayRef, BooleanArray, DictionaryArray, PrimitiveArray, make_array},
    buffer::{BooleanBuffer, Buffer, NullBuffer},
    datatypes::{DataType, UInt32Type},
};

use super::{
    column::{
        ColumnWindow, Dictionary,
        fixed::{Lanes, with_lanes},
        text::Views,
    },
    mask,
    schema::Layout,
};

/// The largest dictionary that travels with a batch; larger ones cost more to look at than the batch's rows.
const DICTIONARY_ENTRIES_MAX: usize = 2048;

/// A column under construction.
#[derive(Debug)]
pub struct OutputColumn {
    data_type: DataType,
    layout: Layout,
    lanes: Lanes,
    views: Views,
    codes: Vec<u32>,
    /// While set, rows are in `codes`.
    dictionary: Option<Arc<Dictionary>>,
    validity: Vec<u64>,
    rows: usize,
    scratch: Vec<u32>,
}

impl OutputColumn {
    /// An empty column.
    pub fn new(data_type: DataType, layout: Layout) -> Self {
        let width = if let Layout::Fixed(width) = layout { width } else { 1 };
        OutputColumn {
            data_type,
            layout,
            lanes: Lanes::new(width),
            views: Views::default(),
            codes: Vec::new(),
            dictionary: None,
            validity: Vec::new(),
            rows: 0,
            scratch: Vec::new(),
        }
    }

    /// Appends the rows of `window` that are selected (a bit per row it holds); `None` selects all.
    pub fn append(&mut self, window: &ColumnWindow, selected: Option<&[u64]>) {
        let rows = selected.map_or(window.num_rows(), mask::count);
        match &window.dictionary {
            Some(dictionary) => self.append_codes(window, dictionary, selected),
            None => {
                self.leave_codes();
                self.lanes.append_lanes(&window.lanes, selected);
                self.views.append_views(&window.views, selected);
            }
        }
        self.append_validity(window, selected, rows);
        self.rows += rows;
    }

    fn append_codes(&mut self, window: &ColumnWindow, dictionary: &Arc<Dictionary>, selected: Option<&[u64]>) {
        let keeps_codes = matches!(**dictionary, Dictionary::Text(_))
            && self.layout == Layout::Text
            && dictionary.len() <= DICTIONARY_ENTRIES_MAX
            && dictionary.len() > 0
            && (self.rows == 0 || self.dictionary.as_ref().is_some_and(|current| Arc::ptr_eq(current, dictionary)));
        if keeps_codes {
            self.dictionary = Some(Arc::clone(dictionary));
            match selected {
                None => self.codes.extend_from_slice(&window.codes),
                Some(selected) => mask::compress(&window.codes, selected, &mut self.codes),
            }
            return;
        }
        self.leave_codes();
        let codes = match selected {
            None => &window.codes,
            Some(selected) => {
                self.scratch.clear();
                mask::compress(&window.codes, selected, &mut self.scratch);
                &self.scratch
            }
        };
        match &**dictionary {
            // Only NULLs: there is nothing to gather from.
            _ if dictionary.len() == 0 => append_defaults(&mut self.lanes, &mut self.views, self.layout, codes.len()),
            Dictionary::Fixed { bytes, .. } => self.lanes.gather(bytes, codes),
            Dictionary::Text(text) => self.views.gather(text, codes),
        }
    }

    fn leave_codes(&mut self) {
        if let Some(dictionary) = self.dictionary.take() {
            if let Dictionary::Text(text) = &*dictionary {
                self.views.gather(text, &self.codes);
            }
            self.codes.clear();
        }
    }

    fn append_validity(&mut self, window: &ColumnWindow, selected: Option<&[u64]>, rows: usize) {
        if window.validity.is_empty() && self.validity.is_empty() {
            return;
        }
        if self.validity.is_empty() {
            mask::fill(&mut self.validity, self.rows);
        }
        match (window.validity.is_empty(), selected) {
            (true, _) => mask::append(&mut self.validity, self.rows, None, rows),
            (false, None) => mask::append(&mut self.validity, self.rows, Some(&window.validity), rows),
            (false, Some(selected)) => {
                let inner: Vec<u64> = window.validity.iter().zip(selected).map(|(v, s)| v & s).collect();
                mask::append(&mut self.validity, self.rows, Some(&mask::extract(&inner, selected)), rows);
            }
        }
    }

    /// The rows so far as an array; the column is empty afterwards.
    pub fn take_array(&mut self) -> ArrayRef {
        let nulls = null_buffer(&self.validity, self.rows);
        self.validity.clear();
        self.rows = 0;
        if let Some(dictionary) = self.dictionary.take()
            && let Dictionary::Text(text) = &*dictionary
        {
            let keys = PrimitiveArray::<UInt32Type>::new(std::mem::take(&mut self.codes).into(), nulls);
            // SAFETY: codes were checked against the dictionary when they were read.
            return Arc::new(unsafe { DictionaryArray::new_unchecked(keys, Arc::clone(&text.array)) });
        }
        match self.layout {
            Layout::Fixed(width) => {
                let lanes = std::mem::replace(&mut self.lanes, Lanes::new(width));
                fixed_array(lanes, &self.data_type, nulls)
            }
            layout => {
                self.views.compact();
                self.views.take_array(layout == Layout::Text, nulls)
            }
        }
    }
}

/// Appends `count` rows of whatever stands for NULL.
pub fn append_defaults(lanes: &mut Lanes, views: &mut Views, layout: Layout, count: usize) {
    match layout {
        Layout::Fixed(_) => {
            let kept = lanes.len();
            lanes.spread(kept, count, &vec![0; count.div_ceil(64)]);
        }
        _ => views.views.resize(views.views.len() + count, 0),
    }
}

/// Arrow's form of `validity`; `None` when it is empty (no NULLs).
pub fn null_buffer(validity: &[u64], rows: usize) -> Option<NullBuffer> {
    if validity.is_empty() {
        return None;
    }
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(validity.to_vec()), 0, rows));
    (nulls.null_count() > 0).then_some(nulls)
}

/// An array of `data_type` over lanes of its width.
///
/// # Panics
/// When the width is not the type's.
pub fn fixed_array(lanes: Lanes, data_type: &DataType, nulls: Option<NullBuffer>) -> ArrayRef {
    if let Lanes::Byte(bytes) = lanes {
        let bits = BooleanBuffer::from_iter(bytes.iter().map(|byte| *byte != 0));
        return Arc::new(BooleanArray::new(bits, nulls));
    }
    let rows = lanes.len();
    let buffer = with_lanes!(lanes, values => Buffer::from_vec(values));
    let data = ArrayData::builder(data_type.clone()).len(rows).add_buffer(buffer).nulls(nulls);
    make_array(data.build().expect("lanes are as wide as their type"))
}
