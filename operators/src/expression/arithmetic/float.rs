//! Floating-point arithmetic. As in PostgreSQL, finite operands never give infinity or (from a product or
//! quotient of numbers other than 0) zero: that is an error, and so is a division by zero.

use arrow::{array::ArrayRef, buffer::NullBuffer, datatypes::DataType};

use super::integer::map_pairs;
use crate::{
    Error, Result,
    expression::{
        Arithmetic,
        bits::union_nulls,
        datum::{Datum, Native, Values, values},
    },
    types,
};

/// What the loops need of a float type.
pub(crate) trait Float: Native {
    const ZERO: Self;
    fn apply(operator: Arithmetic, left: Self, right: Self) -> Self;
    fn is_zero(self) -> bool;
    fn is_infinite(self) -> bool;
    fn is_nan(self) -> bool;
    fn minus(self) -> Self;
}

macro_rules! float {
    ($($native:ty),+) => { $(
        impl Float for $native {
            const ZERO: Self = 0.0;

            #[inline(always)]
            fn apply(operator: Arithmetic, left: Self, right: Self) -> Self {
                match operator {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide => left / right,
                    Arithmetic::Modulo => left % right,
                }
            }

            #[inline(always)]
            fn is_zero(self) -> bool {
                self == 0.0
            }

            #[inline(always)]
            fn is_infinite(self) -> bool {
                <$native>::is_infinite(self)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$native>::is_nan(self)
            }

            #[inline(always)]
            fn minus(self) -> Self {
                -self
            }
        }
    )+ };
}

float!(f32, f64);

/// Computes `left operator right`.
pub(crate) fn arithmetic<T: Float>(operator: Arithmetic, left: &Datum, right: &Datum, data_type: &DataType) -> Result<ArrayRef> {
    let nulls = union_nulls(left.nulls(), right.nulls());
    let (l, r) = (values::<T>(left)?, values::<T>(right)?);
    let result = match operator {
        Arithmetic::Add => apply::<T, 0>(l, r),
        Arithmetic::Subtract => apply::<T, 1>(l, r),
        Arithmetic::Multiply => apply::<T, 2>(l, r),
        Arithmetic::Divide => apply::<T, 3>(l, r),
        Arithmetic::Modulo => apply::<T, 4>(l, r),
    };
    let (result, suspicious) = result;
    if suspicious {
        find_error(operator, l, r, &result, nulls.as_ref(), types::sql_name(data_type))?;
    }
    T::array(data_type, result, nulls)
}

const OPERATORS: [Arithmetic; 5] = [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Modulo];

/// The results, and whether one may be an error: one loop per operator, so that each vectorizes.
fn apply<T: Float, const OPERATOR: usize>(left: Values<'_, T>, right: Values<'_, T>) -> (Vec<T>, bool) {
    let operator = OPERATORS[OPERATOR];
    let mut suspicious = false;
    let result = map_pairs(left, right, |l, r| {
        let value = T::apply(operator, l, r);
        suspicious |= value.is_infinite() | value.is_nan();
        suspicious |= OPERATOR >= 2 && value.is_zero() & !l.is_zero();
        value
    });
    (result, suspicious)
}

fn find_error<T: Float>(
    operator: Arithmetic,
    left: Values<'_, T>,
    right: Values<'_, T>,
    result: &[T],
    nulls: Option<&NullBuffer>,
    type_name: &'static str,
) -> Result<()> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Modulo);
    for (row, value) in result.iter().enumerate() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        let (l, r) = (left.get(row), right.get(row));
        if divides && r.is_zero() && !l.is_nan() {
            return Err(Error::DivisionByZero);
        }
        let overflow = value.is_infinite() && !l.is_infinite() && !r.is_infinite();
        let underflow = matches!(operator, Arithmetic::Multiply | Arithmetic::Divide)
            && value.is_zero()
            && !l.is_zero()
            && !r.is_zero()
            && !r.is_infinite();
        if overflow || underflow {
            return Err(Error::OutOfRange { type_name });
        }
    }
    Ok(())
}

/// Unary minus.
pub(crate) fn negate<T: Float>(operand: &Datum) -> Result<ArrayRef> {
    let result = map_pairs(values::<T>(operand)?, Values::Constant(T::ZERO), |v, _| v.minus());
    T::array(&operand.data_type(), result, operand.nulls().cloned())
}
