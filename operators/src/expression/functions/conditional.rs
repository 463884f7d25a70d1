//! COALESCE, NULLIF, GREATEST, LEAST.

use arrow::{
    array::{Array, ArrayRef},
    buffer::{BooleanBuffer, NullBuffer},
    compute,
    datatypes::DataType,
};

use super::arguments::Arguments;
use crate::{
    Result, Scalar,
    expression::{
        Comparison,
        bits::true_rows,
        case::{assemble, choose, of_type},
        compare,
        datum::Datum,
        evaluator::{Frame, State, evaluate},
        program::{NodeId, Program},
    },
};

/// COALESCE whose later arguments are evaluated only for the rows that are still NULL.
pub(in crate::expression) fn evaluate_coalesce(
    program: &Program,
    state: &mut State,
    inputs: &[NodeId],
    data_type: &DataType,
    frame: &Frame<'_>,
) -> Result<Datum> {
    let num_rows = frame.num_rows();
    let mut remaining = BooleanBuffer::new_set(num_rows);
    let mut parts = Vec::new();
    for (position, &input) in inputs.iter().enumerate() {
        let num_remaining = remaining.count_set_bits();
        if num_remaining == 0 {
            break;
        }
        let value = if num_remaining == num_rows {
            evaluate(program, state, input, frame)?
        } else {
            evaluate(program, state, input, &Frame::subset(program, frame, &remaining))?
        };
        let value = of_type(value, data_type)?;
        if value.is_null_scalar() {
            continue;
        }
        let nulls = match &value {
            Datum::Array(array) => array.logical_nulls().filter(|nulls| nulls.null_count() > 0),
            Datum::Scalar(_) => None,
        };
        if position == 0 && nulls.is_none() {
            return Ok(value);
        }
        let array = value.into_array(num_remaining);
        let rest = match nulls {
            None => BooleanBuffer::new_unset(num_rows),
            Some(nulls) => crate::expression::bits::keep_selected(&remaining, &!nulls.inner()),
        };
        parts.push((remaining, array));
        remaining = rest;
    }
    if parts.is_empty() {
        return Ok(Datum::Scalar(Scalar::Null(data_type.clone())));
    }
    // A later part overwrites the rows that were NULL in an earlier one.
    assemble(&parts, data_type, num_rows).map(Datum::Array)
}

/// COALESCE of values that are there already.
pub(super) fn coalesce(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let mut choices = Vec::with_capacity(arguments.count());
    for value in arguments.values {
        choices.push((valid_rows(value, arguments.num_rows), of_type(value.clone(), arguments.data_type)?));
    }
    let otherwise = Datum::Scalar(Scalar::Null(arguments.data_type.clone()));
    choose(choices, otherwise, arguments.data_type, arguments.num_rows)
}

/// NULL if both are equal, else the first.
pub(super) fn null_if(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let first = of_type(arguments.get(0)?.clone(), arguments.data_type)?.into_array(arguments.num_rows);
    let equal = compare::compare(Comparison::Equal, &Datum::Array(first.clone()), arguments.get(1)?, arguments.num_rows)?;
    Ok(compute::nullif(first.as_ref(), &equal)?)
}

/// The greatest that is not NULL.
pub(super) fn greatest(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    extreme(arguments, Comparison::Greater)
}

/// The least that is not NULL.
pub(super) fn least(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    extreme(arguments, Comparison::Less)
}

fn extreme(arguments: &Arguments<'_>, better: Comparison) -> Result<ArrayRef> {
    let num_rows = arguments.num_rows;
    let mut best = of_type(arguments.get(0)?.clone(), arguments.data_type)?.into_array(num_rows);
    for value in &arguments.values[1..] {
        let value = of_type(value.clone(), arguments.data_type)?;
        let is_better = true_rows(&compare::compare(better, &value, &Datum::Array(best.clone()), num_rows)?);
        let best_is_null = !&valid_rows(&Datum::Array(best.clone()), num_rows);
        let taken = &(&is_better | &best_is_null) & &valid_rows(&value, num_rows);
        best = choose(vec![(taken, value)], Datum::Array(best), arguments.data_type, num_rows)?;
    }
    Ok(best)
}

fn valid_rows(datum: &Datum, num_rows: usize) -> BooleanBuffer {
    match datum {
        Datum::Array(array) => array.logical_nulls().map_or_else(|| BooleanBuffer::new_set(num_rows), NullBuffer::into_inner),
        Datum::Scalar(Scalar::Null(_)) => BooleanBuffer::new_unset(num_rows),
        Datum::Scalar(_) => BooleanBuffer::new_set(num_rows),
    }
}
