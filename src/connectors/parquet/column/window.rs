//! What has been read of one column for one window of rows.
//!
//! Position: filled by [`super::ColumnReader::read`], tested by filters, appended to outputs. Holds codes as long as all pages of the
//! window are dictionary-encoded, values otherwise. Its memory is reused window after window.

use std::sync::Arc;

use arrow::{array::ArrayRef, buffer::NullBuffer, datatypes::DataType};

use super::{
    dictionary::Dictionary,
    fixed::{self, Lanes},
    text::Views,
};
use crate::connectors::parquet::{mask, output, schema::Layout};

/// Values or codes of some rows of a window, in order.
#[derive(Debug)]
pub struct ColumnWindow {
    layout: Layout,
    /// Codes, while `dictionary` is set; of NULLs: 0.
    pub codes: Vec<u32>,
    /// What the codes stand for; `None`: the rows are in `lanes` or `views`.
    pub dictionary: Option<Arc<Dictionary>>,
    /// Values of a fixed width; of NULLs: 0.
    pub lanes: Lanes,
    /// Text and binary values; of NULLs: empty.
    pub views: Views,
    /// A bit per row, set where there is a value; empty: no NULLs.
    pub validity: Vec<u64>,
    rows: usize,
}

impl ColumnWindow {
    /// An empty window of a column.
    pub fn new(layout: Layout) -> Self {
        let width = if let Layout::Fixed(width) = layout { width } else { 1 };
        ColumnWindow {
            layout,
            codes: Vec::new(),
            dictionary: None,
            lanes: Lanes::new(width),
            views: Views::default(),
            validity: Vec::new(),
            rows: 0,
        }
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.codes.clear();
        self.dictionary = None;
        self.lanes.clear();
        self.views.clear();
        self.validity.clear();
        self.rows = 0;
    }

    /// Whether codes of `dictionary` can be appended to `codes`; turns the codes so far into values if not.
    pub fn begin_codes(&mut self, dictionary: &Arc<Dictionary>) -> bool {
        match &self.dictionary {
            Some(current) => Arc::ptr_eq(current, dictionary),
            None if self.rows == 0 => {
                self.dictionary = Some(Arc::clone(dictionary));
                true
            }
            None => false,
        }
    }

    /// Turns codes into values: a page that is not dictionary-encoded follows.
    pub fn begin_values(&mut self) {
        if let Some(dictionary) = self.dictionary.take() {
            let codes = std::mem::take(&mut self.codes);
            self.gather(&dictionary, &codes);
            self.codes = codes;
            self.codes.clear();
        }
    }

    /// Appends the values of `codes`.
    pub fn gather(&mut self, dictionary: &Dictionary, codes: &[u32]) {
        match dictionary {
            Dictionary::Fixed { bytes, .. } => self.lanes.gather(bytes, codes),
            Dictionary::Text(text) => self.views.gather(text, codes),
        }
    }

    /// Appends `count` rows of whatever stands for NULL.
    pub fn append_default(&mut self, count: usize) {
        output::append_defaults(&mut self.lanes, &mut self.views, self.layout, count);
    }

    /// Spreads the rows appended behind the first `kept` over the set bits of `validity`, `rows` in all.
    pub fn spread(&mut self, kept: usize, rows: usize, validity: &[u64]) {
        match (&self.dictionary, self.layout) {
            (Some(_), _) => fixed::spread(&mut self.codes, kept, rows, validity),
            (None, Layout::Fixed(_)) => self.lanes.spread(kept, rows, validity),
            (None, _) => fixed::spread(&mut self.views.views, kept, rows, validity),
        }
    }

    /// Takes note of `rows` appended rows; `validity` says which are NULL.
    pub fn finish_rows(&mut self, rows: usize, validity: Option<&[u64]>) {
        if validity.is_some() && self.validity.is_empty() {
            mask::fill(&mut self.validity, self.rows);
        }
        if validity.is_some() || !self.validity.is_empty() {
            mask::append(&mut self.validity, self.rows, validity, rows);
        }
        self.rows += rows;
    }

    /// The rows as an Arrow array of values, for predicates.
    pub fn to_array(&self, data_type: &DataType) -> ArrayRef {
        let nulls = output::null_buffer(&self.validity, self.rows);
        self.values_array(data_type, nulls)
    }

    fn values_array(&self, data_type: &DataType, nulls: Option<NullBuffer>) -> ArrayRef {
        match (&self.dictionary, self.layout) {
            (Some(dictionary), Layout::Fixed(width)) => {
                let mut lanes = Lanes::new(width);
                if let Dictionary::Fixed { bytes, .. } = &**dictionary {
                    lanes.gather(bytes, &self.codes);
                }
                output::fixed_array(lanes, data_type, nulls)
            }
            (Some(dictionary), layout) => {
                let mut views = Views::default();
                if let Dictionary::Text(text) = &**dictionary {
                    views.gather(text, &self.codes);
                }
                views.take_array(layout == Layout::Text, nulls)
            }
            (None, Layout::Fixed(_)) => output::fixed_array(self.lanes.clone(), data_type, nulls),
            (None, layout) => self.views.clone().take_array(layout == Layout::Text, nulls),
        }
    }
}
