//! Copies chosen rows of columns together, and columns behind one another.
//!
//! Position: the build side when it is complete, and every output of the joins. String columns may mix
//! both their forms; dictionaries are kept where that costs little memory.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanBufferBuilder, DictionaryArray, PrimitiveArray, StringViewArray, UInt32Array, make_array,
        new_null_array,
    },
    buffer::{NullBuffer, ScalarBuffer},
    compute,
    datatypes::{ArrowPrimitiveType, DataType, UInt32Type},
};

use super::table::NO_ROW;
use crate::Result;

/// A dictionary of at most this many strings is kept for a batch of any size.
const DICTIONARY_KEPT_MAX: usize = 256;
/// Dictionaries of several batches are merged if they have at most this many strings together.
const DICTIONARY_MERGED_MAX: usize = 1 << 16;

/// The rows of `array` that `rows` names; NULL where it is NULL.
pub(super) fn take<T: ArrowPrimitiveType>(array: &ArrayRef, rows: &PrimitiveArray<T>) -> Result<ArrayRef> {
    Ok(compute::take(array, rows, None)?)
}

/// Row numbers as the array that [`take`] wants.
pub(super) fn indices(rows: &[u32]) -> UInt32Array {
    UInt32Array::new(rows.to_vec().into(), None)
}

/// As [`indices`]; [`NO_ROW`] becomes NULL.
pub(super) fn indices_or_null(rows: &[u32]) -> UInt32Array {
    let valid = NullBuffer::from_iter(rows.iter().map(|row| *row != NO_ROW));
    if valid.null_count() == 0 {
        return indices(rows);
    }
    let rows: ScalarBuffer<u32> = rows.iter().map(|row| if *row == NO_ROW { 0 } else { *row }).collect();
    UInt32Array::new(rows, Some(valid))
}

/// A column as the build side keeps it until it is complete: strings of few rows do not hold on to whole
/// pages or large dictionaries.
pub(super) fn compact(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_dictionary::<UInt32Type>();
            if dictionary.values().len() <= dictionary.len().max(DICTIONARY_KEPT_MAX) {
                return Ok(Arc::clone(array));
            }
            compact(&take(dictionary.values(), dictionary.keys())?)?
        }
        DataType::Utf8View => {
            let strings = array.as_string_view();
            let held: usize = strings.data_buffers().iter().map(|b| b.len()).sum();
            if held > 2 * strings.total_buffer_bytes_used() { Arc::new(strings.gc()) } else { Arc::clone(array) }
        }
        DataType::BinaryView => {
            let strings = array.as_binary_view();
            let held: usize = strings.data_buffers().iter().map(|b| b.len()).sum();
            if held > 2 * strings.total_buffer_bytes_used() { Arc::new(strings.gc()) } else { Arc::clone(array) }
        }
        _ => Arc::clone(array),
    })
}

/// The columns behind one another, with strings copied into few buffers; of type `data_type` if there are none.
pub(super) fn concat_compact(arrays: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let all = concat(arrays, data_type)?;
    Ok(match all.data_type() {
        DataType::Utf8View if all.as_string_view().data_buffers().len() > 1 => Arc::new(all.as_string_view().gc()),
        DataType::BinaryView if all.as_binary_view().data_buffers().len() > 1 => Arc::new(all.as_binary_view().gc()),
        _ => all,
    })
}

/// The columns behind one another; of type `data_type` if there are none.
pub(super) fn concat(arrays: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    if arrays.is_empty() {
        return Ok(new_null_array(data_type, 0));
    }
    if arrays.len() == 1 {
        return Ok(Arc::clone(&arrays[0]));
    }
    let num_dictionaries = arrays.iter().filter(|a| matches!(a.data_type(), DataType::Dictionary(..))).count();
    if num_dictionaries == 0 {
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        return Ok(compute::concat(&arrays)?);
    }
    if num_dictionaries == arrays.len()
        && let Some(merged) = concat_dictionaries(arrays)
    {
        return Ok(merged);
    }
    let views = arrays.iter().map(to_views).collect::<Result<Vec<_>>>()?;
    concat(&views, data_type)
}

fn to_views(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_dictionary::<UInt32Type>();
            compact(&take(dictionary.values(), dictionary.keys())?)
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// One dictionary for all, if there is only one or they are small.
fn concat_dictionaries(arrays: &[ArrayRef]) -> Option<ArrayRef> {
    let mut distinct: Vec<&ArrayRef> = Vec::new();
    let mut which = Vec::with_capacity(arrays.len());
    for array in arrays {
        let values = array.as_dictionary::<UInt32Type>().values();
        let known = distinct.iter().rposition(|d| Arc::ptr_eq(d, values));
        which.push(known.unwrap_or(distinct.len()));
        if known.is_none() {
            distinct.push(values);
        }
        if distinct.len() > 1 && distinct.iter().map(|d| d.len()).sum::<usize>() > DICTIONARY_MERGED_MAX {
            return None;
        }
    }
    if distinct.iter().any(|d| d.logical_null_count() > 0 || d.data_type() != &DataType::Utf8View) {
        return None;
    }
    let (values, codes) = merge_dictionaries(&distinct);
    let num_rows = arrays.iter().map(|a| a.len()).sum();
    let mut keys: Vec<u32> = Vec::with_capacity(num_rows);
    for (array, which) in arrays.iter().zip(which) {
        let array = array.as_dictionary::<UInt32Type>();
        match &codes[which] {
            None => keys.extend_from_slice(array.keys().values()),
            // What lies under a NULL may be no code at all.
            Some(codes) => keys.extend(array.keys().values().iter().map(|key| codes.get(*key as usize).copied().unwrap_or(0))),
        }
    }
    let nulls = concat_nulls(arrays.iter().map(|a| (a.as_dictionary::<UInt32Type>().keys().nulls(), a.len())), num_rows);
    let keys = UInt32Array::new(keys.into(), nulls);
    DictionaryArray::try_new(keys, values).ok().map(|array| Arc::new(array) as ArrayRef)
}

/// The strings of all dictionaries, and per dictionary the new code of every old one (`None`: unchanged).
fn merge_dictionaries(distinct: &[&ArrayRef]) -> (ArrayRef, Vec<Option<Vec<u32>>>) {
    if distinct.len() == 1 {
        return (Arc::clone(distinct[0]), vec![None]);
    }
    let mut code_of: HashMap<&str, u32> = HashMap::new();
    let mut strings: Vec<&str> = Vec::new();
    let codes = distinct.iter().map(|dictionary| {
        let strings_of = dictionary.as_string_view();
        let codes = (0..strings_of.len()).map(|index| {
            let string = strings_of.value(index);
            *code_of.entry(string).or_insert_with(|| {
                strings.push(string);
                strings.len() as u32 - 1
            })
        });
        Some(codes.collect())
    });
    let codes = codes.collect();
    (Arc::new(StringViewArray::from_iter_values(strings)), codes)
}

/// The validity of columns behind one another; `None` if nothing is NULL.
pub(super) fn concat_nulls<'a>(
    nulls: impl Iterator<Item = (Option<&'a NullBuffer>, usize)> + Clone,
    num_rows: usize,
) -> Option<NullBuffer> {
    if nulls.clone().all(|(nulls, _)| nulls.is_none_or(|nulls| nulls.null_count() == 0)) {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(num_rows);
    for (nulls, len) in nulls {
        match nulls {
            Some(nulls) => valid.append_buffer(nulls.inner()),
            None => valid.append_n(len, true),
        }
    }
    Some(NullBuffer::new(valid.finish()))
}

/// `num_rows` NULLs of a type.
pub(super) fn nulls(data_type: &DataType, num_rows: usize) -> ArrayRef {
    match data_type {
        DataType::Null => make_array(arrow::array::ArrayData::new_null(&DataType::Null, num_rows)),
        _ => new_null_array(data_type, num_rows),
    }
}
