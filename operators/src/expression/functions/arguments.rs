//! The arguments of a function call, and the loops that turn them into a column.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, StringViewBuilder},
    buffer::NullBuffer,
    datatypes::DataType,
};

use crate::{
    Error, Result,
    expression::datum::{Datum, Native, Texts, Values, values},
};

/// What a function is called with: an argument is one value per row or one for all; the NULL scalar only
/// reaches functions that are not strict.
pub(super) struct Arguments<'a> {
    pub(super) name: &'static str,
    pub(super) values: &'a [Datum],
    /// Type of the result.
    pub(super) data_type: &'a DataType,
    pub(super) num_rows: usize,
}

impl Arguments<'_> {
    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, index: usize) -> Result<&Datum> {
        self.values.get(index).ok_or_else(|| Error::Internal(format!("{} lacks argument {index}", self.name)))
    }

    /// As an array; NULLs if there is no such argument.
    pub(super) fn array(&self, index: usize) -> ArrayRef {
        match self.values.get(index) {
            Some(datum) => datum.clone().into_array(self.num_rows),
            None => arrow::array::new_null_array(self.data_type, self.num_rows),
        }
    }

    pub(super) fn texts(&self, index: usize) -> Result<Texts> {
        Texts::of(self.get(index)?)
    }

    pub(super) fn natives<T: Native>(&self, index: usize) -> Result<Values<'_, T>> {
        values(self.get(index)?)
    }

    /// Where an argument is NULL.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        self.values.iter().fold(None, |nulls, datum| match datum {
            Datum::Array(array) => NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref()),
            Datum::Scalar(_) => nulls,
        })
    }

    /// One value per row without a NULL.
    pub(super) fn map<V: Native + Default>(&self, f: impl FnMut(usize) -> Result<V>) -> Result<ArrayRef> {
        let nulls = self.nulls();
        let values = map_rows(self.num_rows, nulls.as_ref(), f)?;
        V::array(self.data_type, values, nulls)
    }

    /// One boolean per row without a NULL.
    pub(super) fn map_to_boolean(&self, f: impl FnMut(usize) -> Result<bool>) -> Result<ArrayRef> {
        let nulls = self.nulls();
        let values = map_rows(self.num_rows, nulls.as_ref(), f)?;
        Ok(Arc::new(BooleanArray::new(values.into(), nulls)))
    }

    /// One text per row without a NULL, appended to an empty string.
    pub(super) fn map_to_text(&self, mut f: impl FnMut(usize, &mut String) -> Result<()>) -> Result<ArrayRef> {
        let nulls = self.nulls();
        let mut builder = StringViewBuilder::with_capacity(self.num_rows);
        let mut text = String::new();
        for row in 0..self.num_rows {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                builder.append_null();
                continue;
            }
            text.clear();
            f(row, &mut text)?;
            builder.append_value(&text);
        }
        Ok(Arc::new(builder.finish()))
    }

    /// One part of argument `0` per row without a NULL.
    pub(super) fn map_to_part(&self, mut f: impl for<'t> FnMut(usize, &'t str) -> Result<&'t str>) -> Result<ArrayRef> {
        let nulls = self.nulls();
        let texts = self.texts(0)?;
        let mut builder = StringViewBuilder::with_capacity(self.num_rows);
        for row in 0..self.num_rows {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                builder.append_null();
            } else {
                builder.append_value(f(row, texts.get(row))?);
            }
        }
        Ok(Arc::new(builder.finish()))
    }
}

fn map_rows<V: Default>(num_rows: usize, nulls: Option<&NullBuffer>, mut f: impl FnMut(usize) -> Result<V>) -> Result<Vec<V>> {
    (0..num_rows).map(|row| if nulls.is_some_and(|nulls| nulls.is_null(row)) { Ok(V::default()) } else { f(row) }).collect()
}
