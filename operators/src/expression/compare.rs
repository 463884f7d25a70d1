//! Comparisons, column with column or constant, as branch-free loops that pack bits.
//!
//! Order is PostgreSQL's: NaN equals itself and is greater than every other float, -0 equals 0, texts compare
//! by their bytes (collation "C"), intervals by their length with months of 30 days.

use std::cmp::Ordering;

use arrow::{
    array::{Array, AsArray, BinaryViewArray, BooleanArray, StringViewArray},
    buffer::BooleanBuffer,
    compute::kernels::cmp,
    datatypes::{DataType, IntervalMonthDayNano, i256},
};

use super::{
    Comparison,
    bits::{mask_of, mask_of_equal, mask_of_pairs, union_nulls},
    datum::{Datum, Native, Values, string_views, unexpected, values},
};
use crate::{Error, Result, Scalar, types};

/// Compares two operands, not both scalars. NULL where either is NULL, but for the DISTINCT operators.
pub(crate) fn compare(operator: Comparison, left: &Datum, right: &Datum, num_rows: usize) -> Result<BooleanArray> {
    if matches!(operator, Comparison::Distinct | Comparison::NotDistinct) {
        return distinct(operator, left, right, num_rows);
    }
    if left.is_null_scalar() || right.is_null_scalar() {
        return Ok(BooleanArray::new_null(num_rows));
    }
    let mask = compare_values(operator, left, right, num_rows)?;
    Ok(BooleanArray::new(mask, union_nulls(left.nulls(), right.nulls())))
}

fn distinct(operator: Comparison, left: &Datum, right: &Datum, num_rows: usize) -> Result<BooleanArray> {
    let left_valid = valid(left, num_rows);
    let right_valid = valid(right, num_rows);
    let both = &left_valid & &right_valid;
    let differ = if left.is_null_scalar() || right.is_null_scalar() {
        BooleanBuffer::new_unset(num_rows)
    } else {
        &compare_values(Comparison::NotEqual, left, right, num_rows)? & &both
    };
    let distinct = &differ | &(&left_valid ^ &right_valid);
    Ok(BooleanArray::new(if operator == Comparison::Distinct { distinct } else { !&distinct }, None))
}

fn valid(datum: &Datum, num_rows: usize) -> BooleanBuffer {
    match datum.nulls() {
        Some(nulls) => nulls.inner().clone(),
        None if datum.is_null_scalar() => BooleanBuffer::new_unset(num_rows),
        None => BooleanBuffer::new_set(num_rows),
    }
}

fn compare_values(operator: Comparison, left: &Datum, right: &Datum, num_rows: usize) -> Result<BooleanBuffer> {
    let (left_type, right_type) = (left.data_type(), right.data_type());
    match (&left_type, &right_type) {
        (DataType::Int16, DataType::Int16) => natives::<i16>(operator, left, right),
        (DataType::Int32, DataType::Int32) | (DataType::Date32, DataType::Date32) => natives::<i32>(operator, left, right),
        (DataType::Int64, DataType::Int64)
        | (DataType::Timestamp(..), DataType::Timestamp(..))
        | (DataType::Time64(_), DataType::Time64(_)) => natives::<i64>(operator, left, right),
        (DataType::Float32, DataType::Float32) => natives::<f32>(operator, left, right),
        (DataType::Float64, DataType::Float64) => natives::<f64>(operator, left, right),
        (DataType::Interval(_), DataType::Interval(_)) => natives::<IntervalMonthDayNano>(operator, left, right),
        (DataType::Boolean, DataType::Boolean) => booleans(operator, left, right, num_rows),
        (DataType::BinaryView, DataType::BinaryView) => binaries(operator, left, right),
        (DataType::Decimal64(..) | DataType::Decimal128(..), DataType::Decimal64(..) | DataType::Decimal128(..)) => {
            decimals(operator, left, right, num_rows)
        }
        (DataType::Utf8View | DataType::Dictionary(..), DataType::Utf8View | DataType::Dictionary(..)) => texts(operator, left, right),
        _ => Err(Error::Internal(format!("cannot compare {left_type} with {right_type}"))),
    }
}

/// A value with PostgreSQL's order as that of plain integers.
pub(crate) trait Ordered: Native {
    type Key: Ord + Copy;
    fn key(self) -> Self::Key;
}

macro_rules! ordered_by_itself {
    ($($native:ty),+) => { $(
        impl Ordered for $native {
            type Key = $native;
            #[inline(always)]
            fn key(self) -> $native {
                self
            }
        }
    )+ };
}

ordered_by_itself!(i16, i32, i64, i128);

impl Ordered for f64 {
    type Key = i64;
    #[inline(always)]
    fn key(self) -> i64 {
        // -0.0 + 0.0 is 0.0; flipping the lower bits of negative numbers turns sign-magnitude into two's complement.
        let bits = (self + 0.0).to_bits() as i64;
        if self.is_nan() { i64::MAX } else { bits ^ ((bits >> 63) as u64 >> 1) as i64 }
    }
}

impl Ordered for f32 {
    type Key = i32;
    #[inline(always)]
    fn key(self) -> i32 {
        let bits = (self + 0.0).to_bits() as i32;
        if self.is_nan() { i32::MAX } else { bits ^ ((bits >> 31) as u32 >> 1) as i32 }
    }
}

/// Nanoseconds of an interval for comparisons: PostgreSQL counts 30 days to a month and 24 hours to a day.
pub(crate) fn interval_length(interval: IntervalMonthDayNano) -> i128 {
    const DAY_NS: i128 = 86_400_000_000_000;
    (i128::from(interval.months) * 30 + i128::from(interval.days)) * DAY_NS + i128::from(interval.nanoseconds)
}

impl Ordered for IntervalMonthDayNano {
    type Key = i128;
    #[inline(always)]
    fn key(self) -> i128 {
        interval_length(self)
    }
}

/// The operator after its operands changed sides.
pub(crate) fn flip(operator: Comparison) -> Comparison {
    match operator {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

fn natives<T: Ordered>(operator: Comparison, left: &Datum, right: &Datum) -> Result<BooleanBuffer> {
    match (values::<T>(left)?, values::<T>(right)?) {
        (Values::Slice(left), Values::Slice(right)) => Ok(slice_with_slice(operator, left, right)),
        (Values::Slice(left), Values::Constant(right)) => Ok(slice_with_constant(operator, left, right)),
        (Values::Constant(left), Values::Slice(right)) => Ok(slice_with_constant(flip(operator), right, left)),
        (Values::Constant(_), Values::Constant(_)) => Err(Error::Internal("two constants compared as columns".into())),
    }
}

fn slice_with_constant<T: Ordered>(operator: Comparison, values: &[T], constant: T) -> BooleanBuffer {
    let constant = constant.key();
    match operator {
        Comparison::Equal | Comparison::NotDistinct => mask_of(values, |v| v.key() == constant),
        Comparison::NotEqual | Comparison::Distinct => mask_of(values, |v| v.key() != constant),
        Comparison::Less => mask_of(values, |v| v.key() < constant),
        Comparison::LessOrEqual => mask_of(values, |v| v.key() <= constant),
        Comparison::Greater => mask_of(values, |v| v.key() > constant),
        Comparison::GreaterOrEqual => mask_of(values, |v| v.key() >= constant),
    }
}

fn slice_with_slice<T: Ordered>(operator: Comparison, left: &[T], right: &[T]) -> BooleanBuffer {
    match operator {
        Comparison::Equal | Comparison::NotDistinct => mask_of_pairs(left, right, |l, r| l.key() == r.key()),
        Comparison::NotEqual | Comparison::Distinct => mask_of_pairs(left, right, |l, r| l.key() != r.key()),
        Comparison::Less => mask_of_pairs(left, right, |l, r| l.key() < r.key()),
        Comparison::LessOrEqual => mask_of_pairs(left, right, |l, r| l.key() <= r.key()),
        Comparison::Greater => mask_of_pairs(left, right, |l, r| l.key() > r.key()),
        Comparison::GreaterOrEqual => mask_of_pairs(left, right, |l, r| l.key() >= r.key()),
    }
}

/// Whether two values that compare as `ordering` satisfy the operator.
pub(crate) fn satisfies(operator: Comparison, ordering: Ordering) -> bool {
    match operator {
        Comparison::Equal | Comparison::NotDistinct => ordering.is_eq(),
        Comparison::NotEqual | Comparison::Distinct => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    }
}

// ---- decimals: two widths, and (only if a planner was careless) two scales ----

fn decimals(operator: Comparison, left: &Datum, right: &Datum, num_rows: usize) -> Result<BooleanBuffer> {
    let scale = |datum: &Datum| types::decimal_digits(&datum.data_type()).map_or(0, |(_, scale)| scale);
    let (left_scale, right_scale) = (scale(left), scale(right));
    if left_scale != right_scale {
        return decimals_of_two_scales(operator, left, left_scale, right, right_scale, num_rows);
    }
    match (width(left), width(right)) {
        (Width::Narrow, Width::Narrow) => natives::<i64>(operator, left, right),
        (Width::Wide, Width::Wide | Width::Constant(_)) | (Width::Constant(_), Width::Wide) => natives::<i128>(operator, left, right),
        (Width::Narrow, Width::Constant(value)) => narrow_with_constant(operator, left, value, num_rows),
        (Width::Constant(value), Width::Narrow) => narrow_with_constant(flip(operator), right, value, num_rows),
        _ => {
            let (left, right) = (widened(left)?, widened(right)?);
            Ok(slice_with_slice(operator, &left, &right))
        }
    }
}

enum Width {
    Narrow,
    Wide,
    Constant(i128),
}

fn width(datum: &Datum) -> Width {
    match datum {
        Datum::Scalar(Scalar::Decimal(value, ..)) => Width::Constant(*value),
        other if matches!(other.data_type(), DataType::Decimal64(..)) => Width::Narrow,
        _ => Width::Wide,
    }
}

fn narrow_with_constant(operator: Comparison, column: &Datum, constant: i128, num_rows: usize) -> Result<BooleanBuffer> {
    let Values::Slice(slice) = values::<i64>(column)? else {
        return Err(Error::Internal("two constants compared as columns".into()));
    };
    match i64::try_from(constant) {
        Ok(constant) => Ok(slice_with_constant(operator, slice, constant)),
        // Every 64-bit number lies on the same side of it.
        Err(_) if satisfies(operator, 0.cmp(&constant)) => Ok(BooleanBuffer::new_set(num_rows)),
        Err(_) => Ok(BooleanBuffer::new_unset(num_rows)),
    }
}

fn widened(datum: &Datum) -> Result<Vec<i128>> {
    match datum {
        Datum::Array(array) => match (i64::slice(array.as_ref()), i128::slice(array.as_ref())) {
            (Some(narrow), _) => Ok(narrow.iter().map(|&v| i128::from(v)).collect()),
            (_, Some(wide)) => Ok(wide.to_vec()),
            _ => Err(unexpected("numeric", array.data_type())),
        },
        Datum::Scalar(_) => Err(Error::Internal("two constants compared as columns".into())),
    }
}

fn decimals_of_two_scales(
    operator: Comparison,
    left: &Datum,
    left_scale: i8,
    right: &Datum,
    right_scale: i8,
    num_rows: usize,
) -> Result<BooleanBuffer> {
    let scale = left_scale.max(right_scale);
    let side = |datum: &Datum, own_scale: i8| -> Result<Vec<i256>> {
        let factor = i256::from_i128(10).wrapping_pow(u32::from((scale - own_scale).unsigned_abs()));
        let array = datum.clone().into_array(num_rows);
        let wide = widened(&Datum::Array(array))?;
        Ok(wide.into_iter().map(|v| i256::from_i128(v).wrapping_mul(factor)).collect())
    };
    let (left, right) = (side(left, left_scale)?, side(right, right_scale)?);
    Ok(mask_of_pairs(&left, &right, |l, r| satisfies(operator, l.cmp(&r))))
}

// ---- booleans, texts, bytes ----

fn booleans(operator: Comparison, left: &Datum, right: &Datum, num_rows: usize) -> Result<BooleanBuffer> {
    let left = left.clone().into_booleans(num_rows)?;
    let right = right.clone().into_booleans(num_rows)?;
    let (l, r) = (left.values(), right.values());
    Ok(match operator {
        Comparison::Equal | Comparison::NotDistinct => !&(l ^ r),
        Comparison::NotEqual | Comparison::Distinct => l ^ r,
        Comparison::Less => &!l & r,
        Comparison::LessOrEqual => &!l | r,
        Comparison::Greater => l & &!r,
        Comparison::GreaterOrEqual => l | &!r,
    })
}

fn texts(operator: Comparison, left: &Datum, right: &Datum) -> Result<BooleanBuffer> {
    match (left, right) {
        (Datum::Array(left), Datum::Scalar(Scalar::Utf8(right))) => texts_with_constant(operator, &string_views(left)?, right),
        (Datum::Scalar(Scalar::Utf8(left)), Datum::Array(right)) => texts_with_constant(flip(operator), &string_views(right)?, left),
        (Datum::Array(left), Datum::Array(right)) => arrow_compare(operator, &string_views(left)?, &string_views(right)?),
        _ => Err(Error::Internal("two constants compared as columns".into())),
    }
}

/// Longest text that a view holds itself.
pub(crate) const INLINE_BYTES_MAX: usize = 12;

/// The view of a text of at most [`INLINE_BYTES_MAX`] bytes: equal texts have equal views.
pub(crate) fn inline_view(text: &[u8]) -> u128 {
    let mut bytes = [0u8; 16];
    bytes[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
    bytes[4..4 + text.len()].copy_from_slice(text);
    u128::from_le_bytes(bytes)
}

fn texts_with_constant(operator: Comparison, column: &StringViewArray, constant: &str) -> Result<BooleanBuffer> {
    let short = constant.len() <= INLINE_BYTES_MAX;
    match operator {
        Comparison::Equal if short => Ok(mask_of_equal(column.views(), inline_view(constant.as_bytes()))),
        Comparison::NotEqual if short => Ok(!&mask_of_equal(column.views(), inline_view(constant.as_bytes()))),
        _ => arrow_compare(operator, column, &arrow::array::Scalar::new(StringViewArray::from(vec![constant]))),
    }
}

fn binaries(operator: Comparison, left: &Datum, right: &Datum) -> Result<BooleanBuffer> {
    let scalar = |bytes: &[u8]| arrow::array::Scalar::new(BinaryViewArray::from(vec![bytes]));
    match (left, right) {
        (Datum::Array(left), Datum::Scalar(Scalar::Binary(right))) => arrow_compare(operator, left.as_binary_view(), &scalar(right)),
        (Datum::Scalar(Scalar::Binary(left)), Datum::Array(right)) => arrow_compare(operator, &scalar(left), right.as_binary_view()),
        (Datum::Array(left), Datum::Array(right)) => arrow_compare(operator, left.as_binary_view(), right.as_binary_view()),
        _ => Err(Error::Internal("two constants compared as columns".into())),
    }
}

fn arrow_compare(operator: Comparison, left: &dyn arrow::array::Datum, right: &dyn arrow::array::Datum) -> Result<BooleanBuffer> {
    let compared = match operator {
        Comparison::Equal | Comparison::NotDistinct => cmp::eq(left, right),
        Comparison::NotEqual | Comparison::Distinct => cmp::neq(left, right),
        Comparison::Less => cmp::lt(left, right),
        Comparison::LessOrEqual => cmp::lt_eq(left, right),
        Comparison::Greater => cmp::gt(left, right),
        Comparison::GreaterOrEqual => cmp::gt_eq(left, right),
    }?;
    Ok(compared.values().clone())
}
