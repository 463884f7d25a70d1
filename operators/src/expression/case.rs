//! CASE: all branches for all rows where that is cheap and raises no error, otherwise each for the rows that take it.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, new_null_array},
    buffer::{BooleanBuffer, NullBuffer},
    compute,
    datatypes::{DataType, IntervalMonthDayNano},
};

use super::{
    bits::{keep_selected, true_rows},
    cast,
    datum::{Datum, Native, Values, string_views, values},
    evaluator::{Frame, State, evaluate},
    program::{NodeId, Program},
};
use crate::Result;

/// Branches of more cost (about nanoseconds per row) are computed only for the rows that take them.
const EAGER_COST_MAX: f32 = 20.0;

pub(super) fn evaluate_case(
    program: &Program,
    state: &mut State,
    branches: &[(NodeId, NodeId)],
    otherwise: Option<NodeId>,
    data_type: &DataType,
    frame: &Frame<'_>,
) -> Result<Datum> {
    let is_cheap = |id: NodeId| !program.nodes[id].can_fail && program.nodes[id].cost <= EAGER_COST_MAX;
    if branches.iter().all(|(condition, value)| is_cheap(*condition) && is_cheap(*value)) && otherwise.is_none_or(is_cheap) {
        // An overflow in a row of another branch is no error: then row by row.
        if let Ok(value) = eagerly(program, state, branches, otherwise, data_type, frame) {
            return Ok(value);
        }
    }
    lazily(program, state, branches, otherwise, data_type, frame)
}

fn eagerly(
    program: &Program,
    state: &mut State,
    branches: &[(NodeId, NodeId)],
    otherwise: Option<NodeId>,
    data_type: &DataType,
    frame: &Frame<'_>,
) -> Result<Datum> {
    let num_rows = frame.num_rows();
    let mut choices = Vec::with_capacity(branches.len());
    for (condition, value) in branches {
        let condition = true_rows(&evaluate(program, state, *condition, frame)?.into_booleans(num_rows)?);
        choices.push((condition, of_type(evaluate(program, state, *value, frame)?, data_type)?));
    }
    let otherwise = match otherwise {
        Some(otherwise) => of_type(evaluate(program, state, otherwise, frame)?, data_type)?,
        None => Datum::Scalar(crate::Scalar::Null(data_type.clone())),
    };
    choose(choices, otherwise, data_type, num_rows).map(Datum::Array)
}

fn lazily(
    program: &Program,
    state: &mut State,
    branches: &[(NodeId, NodeId)],
    otherwise: Option<NodeId>,
    data_type: &DataType,
    frame: &Frame<'_>,
) -> Result<Datum> {
    let num_rows = frame.num_rows();
    let mut remaining = BooleanBuffer::new_set(num_rows);
    let mut parts = Vec::with_capacity(branches.len() + 1);
    for (condition, value) in branches {
        let num_remaining = remaining.count_set_bits();
        if num_remaining == 0 {
            break;
        }
        let subset = Frame::subset(program, frame, &remaining);
        let condition = evaluate(program, state, *condition, &subset)?.into_booleans(num_remaining)?;
        let taken = keep_selected(&remaining, &true_rows(&condition));
        if let Some(part) = part(program, state, *value, &taken, data_type, frame)? {
            parts.push((taken.clone(), part));
        }
        remaining = &remaining & &!&taken;
    }
    if let Some(otherwise) = otherwise
        && let Some(part) = part(program, state, otherwise, &remaining, data_type, frame)?
    {
        parts.push((remaining, part));
    }
    assemble(&parts, data_type, num_rows).map(Datum::Array)
}

/// The value of a node for the rows of `taken`, one element each; `None` if there is no such row.
fn part(
    program: &Program,
    state: &mut State,
    value: NodeId,
    taken: &BooleanBuffer,
    data_type: &DataType,
    frame: &Frame<'_>,
) -> Result<Option<ArrayRef>> {
    let num_taken = taken.count_set_bits();
    if num_taken == 0 {
        return Ok(None);
    }
    let subset = Frame::subset(program, frame, taken);
    let value = of_type(evaluate(program, state, value, &subset)?, data_type)?;
    Ok(Some(value.into_array(num_taken)))
}

/// Puts together what was computed for disjoint sets of rows; NULL elsewhere.
pub(super) fn assemble(parts: &[(BooleanBuffer, ArrayRef)], data_type: &DataType, num_rows: usize) -> Result<ArrayRef> {
    let null = new_null_array(data_type, 1);
    let mut places = vec![(0, 0); num_rows];
    let mut arrays: Vec<&dyn Array> = vec![null.as_ref()];
    for (rows, values) in parts {
        rows.set_indices().enumerate().for_each(|(position, row)| places[row] = (arrays.len(), position));
        arrays.push(values.as_ref());
    }
    Ok(compute::interleave(&arrays, &places)?)
}

/// `datum` with exactly the type of the whole CASE: other digits of a decimal, texts without dictionary.
pub(super) fn of_type(datum: Datum, data_type: &DataType) -> Result<Datum> {
    match datum {
        Datum::Scalar(scalar) if scalar.data_type() == *data_type || scalar.is_null() => Ok(Datum::Scalar(scalar)),
        Datum::Scalar(scalar) => scalar.cast_to(data_type).map(Datum::Scalar),
        Datum::Array(array) if array.data_type() == data_type => Ok(Datum::Array(array)),
        Datum::Array(array) if *data_type == DataType::Utf8View => Ok(Datum::Array(std::sync::Arc::new(string_views(&array)?))),
        Datum::Array(array) => cast::cast(&array, data_type).map(Datum::Array),
    }
}

/// Per row the value of the first choice whose bit is set, else `otherwise`.
pub(super) fn choose(choices: Vec<(BooleanBuffer, Datum)>, otherwise: Datum, data_type: &DataType, num_rows: usize) -> Result<ArrayRef> {
    match data_type {
        DataType::Int16 => choose_natives::<i16>(&choices, &otherwise, data_type, num_rows),
        DataType::Int32 | DataType::Date32 => choose_natives::<i32>(&choices, &otherwise, data_type, num_rows),
        DataType::Int64 | DataType::Decimal64(..) | DataType::Timestamp(..) | DataType::Time64(_) => {
            choose_natives::<i64>(&choices, &otherwise, data_type, num_rows)
        }
        DataType::Decimal128(..) => choose_natives::<i128>(&choices, &otherwise, data_type, num_rows),
        DataType::Float32 => choose_natives::<f32>(&choices, &otherwise, data_type, num_rows),
        DataType::Float64 => choose_natives::<f64>(&choices, &otherwise, data_type, num_rows),
        DataType::Interval(_) => choose_natives::<IntervalMonthDayNano>(&choices, &otherwise, data_type, num_rows),
        DataType::Boolean => choose_booleans(choices, otherwise, num_rows),
        _ => choose_any(choices, otherwise, num_rows),
    }
}

fn choose_natives<T: Native + Default>(
    choices: &[(BooleanBuffer, Datum)],
    otherwise: &Datum,
    data_type: &DataType,
    num_rows: usize,
) -> Result<ArrayRef> {
    let mut result = match otherwise {
        null if null.is_null_scalar() => vec![T::default(); num_rows],
        other => match values::<T>(other)? {
            Values::Slice(values) => values.to_vec(),
            Values::Constant(value) => vec![value; num_rows],
        },
    };
    // From the last to the first, so that the first true condition has the last word.
    for (rows, choice) in choices.iter().rev() {
        if !choice.is_null_scalar() {
            overwrite(&mut result, rows, values::<T>(choice)?);
        }
    }
    T::array(data_type, result, nulls_of_choices(choices, otherwise, num_rows))
}

fn overwrite<T: Copy>(result: &mut [T], rows: &BooleanBuffer, choice: Values<'_, T>) {
    const LANES: usize = 64;
    let words = rows.bit_chunks();
    let (chunks, rest) = result.as_chunks_mut::<LANES>();
    match choice {
        Values::Constant(value) => {
            for (chunk, word) in chunks.iter_mut().zip(words.iter()) {
                for (lane, slot) in chunk.iter_mut().enumerate() {
                    *slot = if word >> lane & 1 == 1 { value } else { *slot };
                }
            }
        }
        Values::Slice(values) => {
            let (values, _) = values.as_chunks::<LANES>();
            for ((chunk, values), word) in chunks.iter_mut().zip(values).zip(words.iter()) {
                for lane in 0..LANES {
                    chunk[lane] = if word >> lane & 1 == 1 { values[lane] } else { chunk[lane] };
                }
            }
        }
    }
    let first = chunks.len() * LANES;
    for (lane, slot) in rest.iter_mut().enumerate() {
        if words.remainder_bits() >> lane & 1 == 1 {
            *slot = choice.get(first + lane);
        }
    }
}

fn nulls_of_choices(choices: &[(BooleanBuffer, Datum)], otherwise: &Datum, num_rows: usize) -> Option<NullBuffer> {
    let never_null = |datum: &Datum| !datum.is_null_scalar() && datum.nulls().is_none();
    if never_null(otherwise) && choices.iter().all(|(_, choice)| never_null(choice)) {
        return None;
    }
    let valid_rows = |datum: &Datum| match datum.nulls() {
        Some(nulls) => nulls.inner().clone(),
        None if datum.is_null_scalar() => BooleanBuffer::new_unset(num_rows),
        None => BooleanBuffer::new_set(num_rows),
    };
    let mut valid = valid_rows(otherwise);
    for (rows, choice) in choices.iter().rev() {
        valid = &(rows & &valid_rows(choice)) | &(&!rows & &valid);
    }
    Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)
}

fn choose_booleans(choices: Vec<(BooleanBuffer, Datum)>, otherwise: Datum, num_rows: usize) -> Result<ArrayRef> {
    let nulls = nulls_of_choices(&choices, &otherwise, num_rows);
    let mut result = otherwise.into_booleans(num_rows)?.values().clone();
    for (rows, choice) in choices.into_iter().rev() {
        let choice = choice.into_booleans(num_rows)?;
        result = &(&rows & choice.values()) | &(&!&rows & &result);
    }
    Ok(std::sync::Arc::new(BooleanArray::new(result, nulls)))
}

fn choose_any(choices: Vec<(BooleanBuffer, Datum)>, otherwise: Datum, num_rows: usize) -> Result<ArrayRef> {
    let mut arrays = Vec::with_capacity(choices.len() + 1);
    let is_constant = matches!(otherwise, Datum::Scalar(_));
    let mut places: Vec<(usize, usize)> = (0..num_rows).map(|row| (0, if is_constant { 0 } else { row })).collect();
    arrays.push(otherwise.into_array(1));
    let num_choices = choices.len();
    for (index, (rows, choice)) in choices.into_iter().enumerate().rev() {
        let is_constant = matches!(choice, Datum::Scalar(_));
        let array_index = num_choices - index;
        rows.set_indices().for_each(|row| places[row] = (array_index, if is_constant { 0 } else { row }));
        arrays.push(choice.into_array(1));
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(compute::interleave(&arrays, &places)?)
}
