//! Arithmetic: [`integer`], [`float`], [`decimal`] and [`temporal`]; this file only chooses.

mod decimal;
mod float;
mod integer;
mod temporal;

pub(crate) use decimal::{power_of_ten, rescale};

use arrow::{array::ArrayRef, datatypes::DataType};

use super::{Arithmetic, datum::Datum};
use crate::{Error, Result};

/// Computes `left operator right`; neither is a NULL scalar, not both are scalars.
pub(crate) fn arithmetic(operator: Arithmetic, left: &Datum, right: &Datum, data_type: &DataType, num_rows: usize) -> Result<ArrayRef> {
    match data_type {
        DataType::Decimal64(..) | DataType::Decimal128(..) => decimal::arithmetic(operator, left, right, data_type, num_rows),
        DataType::Float32 => float::arithmetic::<f32>(operator, left, right, data_type),
        DataType::Float64 => float::arithmetic::<f64>(operator, left, right, data_type),
        DataType::Int16 | DataType::Int32 | DataType::Int64 if left.data_type() == right.data_type() && left.data_type() == *data_type => {
            match data_type {
                DataType::Int16 => integer::arithmetic::<i16>(operator, left, right, data_type),
                DataType::Int32 => integer::arithmetic::<i32>(operator, left, right, data_type),
                _ => integer::arithmetic::<i64>(operator, left, right, data_type),
            }
        }
        _ => temporal::arithmetic(operator, left, right, data_type, num_rows),
    }
}

/// Unary minus.
pub(crate) fn negate(operand: &Datum, num_rows: usize) -> Result<ArrayRef> {
    let data_type = operand.data_type();
    match &data_type {
        DataType::Int16 => integer::negate::<i16>(operand),
        DataType::Int32 => integer::negate::<i32>(operand),
        DataType::Int64 => integer::negate::<i64>(operand),
        DataType::Float32 => float::negate::<f32>(operand),
        DataType::Float64 => float::negate::<f64>(operand),
        DataType::Decimal64(..) => integer::negate::<i64>(operand),
        DataType::Decimal128(..) => integer::negate::<i128>(operand),
        DataType::Interval(_) => temporal::negate(operand, num_rows),
        other => Err(Error::Internal(format!("cannot negate {other}"))),
    }
}
