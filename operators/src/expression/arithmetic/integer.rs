//! Integer arithmetic: overflow is an error, division truncates, `%` has the sign of the dividend.
//!
//! Sums and differences are computed wrapping while the overflow bits are gathered, which vectorizes; only
//! if some row overflowed are the rows looked at one by one, because what overflowed may be under a NULL.

use arrow::{
    array::{Array, ArrayRef},
    buffer::NullBuffer,
    datatypes::DataType,
};

use crate::{
    Error, Result,
    expression::{
        Arithmetic,
        bits::union_nulls,
        datum::{Datum, Native, Values, values},
    },
    types,
};

/// What the loops need of an integer type.
pub(crate) trait Integer: Native + PartialEq {
    const ZERO: Self;
    fn wrapping(operator: Arithmetic, left: Self, right: Self) -> Self;
    fn checked(operator: Arithmetic, left: Self, right: Self) -> Option<Self>;
    /// Negative if `sum` (wrapped) is not `left + right`.
    fn add_overflow(left: Self, right: Self, sum: Self) -> Self;
    /// Negative if `difference` (wrapped) is not `left - right`.
    fn subtract_overflow(left: Self, right: Self, difference: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn is_negative(self) -> bool;
    fn magnitude(self) -> Self;
    /// Bits in use by numbers whose magnitudes were combined by `or`.
    fn bits(self) -> u32;
    const BITS: u32;
}

macro_rules! integer {
    ($($native:ty),+) => { $(
        impl Integer for $native {
            const ZERO: Self = 0;
            const BITS: u32 = <$native>::BITS;

            #[inline(always)]
            fn wrapping(operator: Arithmetic, left: Self, right: Self) -> Self {
                match operator {
                    Arithmetic::Add => left.wrapping_add(right),
                    Arithmetic::Subtract => left.wrapping_sub(right),
                    _ => left.wrapping_mul(right),
                }
            }

            #[inline(always)]
            fn checked(operator: Arithmetic, left: Self, right: Self) -> Option<Self> {
                match operator {
                    Arithmetic::Add => left.checked_add(right),
                    Arithmetic::Subtract => left.checked_sub(right),
                    Arithmetic::Multiply => left.checked_mul(right),
                    Arithmetic::Divide => left.checked_div(right),
                    // The least number modulo -1 is 0, but its quotient overflows.
                    Arithmetic::Modulo => Some(left.wrapping_rem(right)),
                }
            }

            #[inline(always)]
            fn add_overflow(left: Self, right: Self, sum: Self) -> Self {
                (left ^ sum) & (right ^ sum)
            }

            #[inline(always)]
            fn subtract_overflow(left: Self, right: Self, difference: Self) -> Self {
                (left ^ right) & (left ^ difference)
            }

            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }

            #[inline(always)]
            fn is_negative(self) -> bool {
                self < 0
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                self ^ (self >> (<$native>::BITS - 1))
            }

            #[inline(always)]
            fn bits(self) -> u32 {
                <$native>::BITS - self.leading_zeros()
            }
        }
    )+ };
}

integer!(i16, i32, i64, i128);

/// Computes `left operator right`.
pub(crate) fn arithmetic<T: Integer>(operator: Arithmetic, left: &Datum, right: &Datum, data_type: &DataType) -> Result<ArrayRef> {
    let nulls = union_nulls(left.nulls(), right.nulls());
    let (l, r) = (values::<T>(left)?, values::<T>(right)?);
    let fast = match operator {
        Arithmetic::Add => add(l, r),
        Arithmetic::Subtract => subtract(l, r),
        Arithmetic::Multiply => multiply(l, r),
        Arithmetic::Divide | Arithmetic::Modulo => None,
    };
    let result = match fast {
        Some(result) => result,
        None => row_by_row(operator, l, r, nulls.as_ref(), types::sql_name(data_type))?,
    };
    T::array(data_type, result, nulls)
}

/// Computes one result per row with `f`.
#[inline(always)]
pub(super) fn map_pairs<T: Copy, U: Copy, V>(left: Values<'_, T>, right: Values<'_, U>, mut f: impl FnMut(T, U) -> V) -> Vec<V> {
    match (left, right) {
        (Values::Slice(l), Values::Slice(r)) => l.iter().zip(r).map(|(&l, &r)| f(l, r)).collect(),
        (Values::Slice(l), Values::Constant(r)) => l.iter().map(|&l| f(l, r)).collect(),
        (Values::Constant(l), Values::Slice(r)) => r.iter().map(|&r| f(l, r)).collect(),
        (Values::Constant(l), Values::Constant(r)) => vec![f(l, r)],
    }
}

pub(super) fn add<T: Integer>(left: Values<'_, T>, right: Values<'_, T>) -> Option<Vec<T>> {
    let mut overflow = T::ZERO;
    let sums = map_pairs(left, right, |l, r| {
        let sum = T::wrapping(Arithmetic::Add, l, r);
        overflow = overflow.or(T::add_overflow(l, r, sum));
        sum
    });
    (!overflow.is_negative()).then_some(sums)
}

pub(super) fn subtract<T: Integer>(left: Values<'_, T>, right: Values<'_, T>) -> Option<Vec<T>> {
    let mut overflow = T::ZERO;
    let differences = map_pairs(left, right, |l, r| {
        let difference = T::wrapping(Arithmetic::Subtract, l, r);
        overflow = overflow.or(T::subtract_overflow(l, r, difference));
        difference
    });
    (!overflow.is_negative()).then_some(differences)
}

/// The product if the operands' widths prove that no row overflows.
pub(super) fn multiply<T: Integer>(left: Values<'_, T>, right: Values<'_, T>) -> Option<Vec<T>> {
    let proven = bits_used(left) + bits_used(right) < T::BITS - 1;
    proven.then(|| map_pairs(left, right, |l, r| T::wrapping(Arithmetic::Multiply, l, r)))
}

/// Every value `v` satisfies `-2^bits <= v < 2^bits`; the product of two such of `a` and `b` bits lies within
/// `-2^(a+b) ..= 2^(a+b)`.
pub(super) fn bits_used<T: Integer>(operand: Values<'_, T>) -> u32 {
    match operand {
        Values::Slice(values) => values.iter().fold(T::ZERO, |bits, &v| bits.or(v.magnitude())).bits(),
        Values::Constant(value) => value.magnitude().bits(),
    }
}

fn row_by_row<T: Integer>(
    operator: Arithmetic,
    left: Values<'_, T>,
    right: Values<'_, T>,
    nulls: Option<&NullBuffer>,
    type_name: &'static str,
) -> Result<Vec<T>> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Modulo);
    let mut row = 0;
    let mut error = None;
    let result = map_pairs(left, right, |l, r| {
        let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
        row += 1;
        if is_null {
            return T::ZERO;
        }
        if divides && r == T::ZERO {
            error.get_or_insert(Error::DivisionByZero);
            return T::ZERO;
        }
        T::checked(operator, l, r).unwrap_or_else(|| {
            error.get_or_insert(Error::OutOfRange { type_name });
            T::ZERO
        })
    });
    error.map_or(Ok(result), Err)
}

/// Unary minus.
pub(crate) fn negate<T: Integer>(operand: &Datum) -> Result<ArrayRef> {
    let data_type = operand.data_type();
    let nulls = operand.nulls().cloned();
    let result = match subtract(Values::Constant(T::ZERO), values::<T>(operand)?) {
        Some(result) => result,
        None => {
            row_by_row(Arithmetic::Subtract, Values::Constant(T::ZERO), values::<T>(operand)?, nulls.as_ref(), types::sql_name(&data_type))?
        }
    };
    let array = T::array(&data_type, result, nulls)?;
    debug_assert_eq!(array.data_type(), &data_type);
    Ok(array)
}
