//! Values of an expression per entry of a string dictionary, and from there per row.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, StringViewArray, UInt32Array},
    buffer::{NullBuffer, ScalarBuffer},
    compute,
    datatypes::{DataType, UInt32Type},
};

use super::{
    bits::mask_of,
    datum::{Datum, unexpected},
};
use crate::Result;

/// What an expression is for every entry of one dictionary, and for NULL.
#[derive(Debug)]
pub(super) struct Lifted {
    /// The dictionary, kept alive so that its address stays its own.
    entries: StringViewArray,
    rows_seen: usize,
    value: EntryValues,
}

#[derive(Debug)]
enum EntryValues {
    NotYet,
    /// Some entry, perhaps one that occurs in no row, raises an error.
    Fails,
    /// The same for all.
    Constant(Datum),
    /// True and valid per entry; the last is for NULL.
    Boolean {
        is_true: Vec<bool>,
        is_valid: Option<Vec<bool>>,
    },
    /// Another dictionary, without duplicates, and per entry its code there; `None`: the codes stay.
    Text {
        codes: Option<UInt32Array>,
        entries: ArrayRef,
    },
    /// Anything else, per entry; the last is for NULL.
    Other(ArrayRef),
}

impl Lifted {
    /// `last` if it is about the dictionary of `array`, else a new one.
    pub(super) fn for_dictionary(last: Option<Lifted>, array: &ArrayRef) -> Result<Lifted> {
        let entries = array.as_any_dictionary().values();
        let entries = entries.as_string_view_opt().ok_or_else(|| unexpected("text", array.data_type()))?;
        match last {
            Some(last) if is_same(&last.entries, entries) => Ok(last),
            _ => Ok(Lifted { entries: entries.clone(), rows_seen: 0, value: EntryValues::NotYet }),
        }
    }

    /// Whether the entries' values shall be computed now, given that `num_rows` more rows need them.
    pub(super) fn wants_entries(&mut self, num_rows: usize) -> bool {
        self.rows_seen = self.rows_seen.saturating_add(num_rows);
        matches!(self.value, EntryValues::NotYet) && self.entries.len() <= self.rows_seen
    }

    /// What to compute with: the entries, then NULL.
    pub(super) fn entries(&self) -> Result<ArrayRef> {
        Ok(compute::concat(&[&self.entries, &StringViewArray::new_null(1)])?)
    }

    /// Keeps what came of it.
    pub(super) fn set(&mut self, value: Result<Datum>) -> Result<()> {
        self.value = match value {
            Err(_) => EntryValues::Fails,
            Ok(Datum::Scalar(scalar)) => EntryValues::Constant(Datum::Scalar(scalar)),
            Ok(Datum::Array(array)) => match array.data_type() {
                DataType::Boolean => booleans(array.as_boolean()),
                DataType::Utf8View => texts(array.as_string_view())?,
                _ => EntryValues::Other(array),
            },
        };
        Ok(())
    }

    /// The values of the rows of `array`, if those of the entries are known.
    pub(super) fn value_of_rows(&self, array: &ArrayRef) -> Result<Option<Datum>> {
        if matches!(self.value, EntryValues::NotYet | EntryValues::Fails) {
            return Ok(None);
        }
        let dictionary = array.as_dictionary_opt::<UInt32Type>().ok_or_else(|| unexpected("a string dictionary", array.data_type()))?;
        let codes = self.codes_of_rows(dictionary.keys());
        let rows: ArrayRef = match &self.value {
            EntryValues::NotYet | EntryValues::Fails => return Ok(None),
            EntryValues::Constant(datum) => return Ok(Some(datum.clone())),
            EntryValues::Boolean { is_true, is_valid } => {
                let nulls = is_valid.as_ref().map(|valid| NullBuffer::new(lookup(valid, &codes)));
                Arc::new(BooleanArray::new(lookup(is_true, &codes), nulls.filter(|nulls| nulls.null_count() > 0)))
            }
            EntryValues::Text { codes: None, entries } => {
                Arc::new(DictionaryArray::<UInt32Type>::try_new(dictionary.keys().clone(), entries.clone())?)
            }
            EntryValues::Text { codes: Some(new_codes), entries } => {
                let codes = UInt32Array::new(codes, None);
                let codes = compute::take(new_codes, &codes, None)?;
                Arc::new(DictionaryArray::<UInt32Type>::try_new(codes.as_primitive().clone(), entries.clone())?)
            }
            EntryValues::Other(values) => compute::take(values.as_ref(), &UInt32Array::new(codes, None), None)?,
        };
        Ok(Some(Datum::Array(rows)))
    }

    /// The rows' codes; NULL has the one after the last entry.
    fn codes_of_rows(&self, keys: &UInt32Array) -> ScalarBuffer<u32> {
        let null_code = self.entries.len() as u32;
        match keys.nulls() {
            None => keys.values().clone(),
            Some(nulls) => {
                let codes = keys.values().iter().enumerate();
                codes.map(|(row, &code)| if nulls.is_valid(row) { code } else { null_code }).collect()
            }
        }
    }
}

fn is_same(left: &StringViewArray, right: &StringViewArray) -> bool {
    left.views().as_ptr() == right.views().as_ptr() && left.len() == right.len()
}

fn booleans(array: &BooleanArray) -> EntryValues {
    let is_valid = array.nulls().map(|nulls| nulls.iter().collect());
    EntryValues::Boolean { is_true: array.values().iter().collect(), is_valid }
}

/// Bit `i` is `table[codes[i]]`.
fn lookup(table: &[bool], codes: &[u32]) -> arrow::buffer::BooleanBuffer {
    if table.len() <= 64 {
        let word = table.iter().enumerate().fold(0u64, |word, (code, &bit)| word | u64::from(bit) << code);
        return mask_of(codes, |code| word >> (code & 63) & 1 == 1);
    }
    mask_of(codes, |code| table[code as usize])
}

fn texts(array: &StringViewArray) -> Result<EntryValues> {
    let mut distinct: HashMap<Option<&str>, u32> = HashMap::with_capacity(array.len());
    let mut firsts: Vec<u32> = Vec::new();
    let mut codes: Vec<Option<u32>> = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        if array.is_null(row) {
            codes.push(None);
            continue;
        }
        let code = *distinct.entry(Some(array.value(row))).or_insert_with(|| {
            firsts.push(row as u32);
            firsts.len() as u32 - 1
        });
        codes.push(Some(code));
    }
    // Only the NULL at the end is NULL and no two entries became one: every row keeps its code.
    if firsts.len() + 1 == array.len() && codes.last() == Some(&None) {
        return Ok(EntryValues::Text { codes: None, entries: Arc::new(array.slice(0, firsts.len())) });
    }
    let entries = compute::take(array, &UInt32Array::from(firsts), None)?;
    Ok(EntryValues::Text { codes: Some(UInt32Array::from(codes)), entries })
}
