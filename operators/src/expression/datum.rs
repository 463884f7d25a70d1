//! What an expression evaluates to before anybody needs a column: an array, or one value for all rows.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringViewArray},
    buffer::{NullBuffer, ScalarBuffer},
    datatypes::*,
};

use crate::{Error, Result, Scalar};

/// An array of as many rows as the batch, or one value for all of them.
#[derive(Debug, Clone)]
pub(crate) enum Datum {
    Array(ArrayRef),
    Scalar(Scalar),
}

impl Datum {
    /// As an array of `num_rows`.
    pub(crate) fn into_array(self, num_rows: usize) -> ArrayRef {
        match self {
            Datum::Array(array) => array,
            Datum::Scalar(scalar) => scalar.to_array(num_rows),
        }
    }

    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Datum::Array(array) => array.data_type().clone(),
            Datum::Scalar(scalar) => scalar.data_type(),
        }
    }

    pub(crate) fn is_null_scalar(&self) -> bool {
        matches!(self, Datum::Scalar(Scalar::Null(_)))
    }

    /// Where it is NULL; a NULL scalar must have been dealt with.
    pub(crate) fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Datum::Array(array) => array.nulls(),
            Datum::Scalar(_) => None,
        }
    }

    /// As booleans.
    pub(crate) fn into_booleans(self, num_rows: usize) -> Result<BooleanArray> {
        match self {
            Datum::Array(array) => match array.as_boolean_opt() {
                Some(booleans) => Ok(booleans.clone()),
                None => Err(unexpected("boolean", array.data_type())),
            },
            Datum::Scalar(Scalar::Boolean(value)) => Ok(Scalar::Boolean(value).to_array(num_rows).as_boolean().clone()),
            Datum::Scalar(Scalar::Null(_)) => Ok(BooleanArray::new_null(num_rows)),
            Datum::Scalar(other) => Err(unexpected("boolean", &other.data_type())),
        }
    }
}

/// A type that the planner should have kept away.
pub(crate) fn unexpected(what: &str, data_type: &DataType) -> Error {
    Error::Internal(format!("{what} expected, got {data_type}"))
}

/// The values of an operand: one per row, or one for all. Under NULLs stands anything.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a, T> {
    Slice(&'a [T]),
    Constant(T),
}

impl<T: Copy> Values<'_, T> {
    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> T {
        match self {
            Values::Slice(values) => values[row],
            Values::Constant(value) => *value,
        }
    }
}

/// A fixed-width value as Arrow keeps it; several SQL types share one.
pub(crate) trait Native: Copy + Send + Sync + 'static {
    fn slice(array: &dyn Array) -> Option<&[Self]>;
    fn constant(scalar: &Scalar) -> Option<Self>;
    /// An array of `data_type`, which must be one that is kept as `Self`.
    fn array(data_type: &DataType, values: Vec<Self>, nulls: Option<NullBuffer>) -> Result<ArrayRef>;
}

/// The values of `datum` if it is kept as `T`.
pub(crate) fn values<T: Native>(datum: &Datum) -> Result<Values<'_, T>> {
    match datum {
        Datum::Array(array) => T::slice(array.as_ref()).map(Values::Slice),
        Datum::Scalar(scalar) => T::constant(scalar).map(Values::Constant),
    }
    .ok_or_else(|| unexpected(std::any::type_name::<T>(), &datum.data_type()))
}

fn primitive<T: ArrowPrimitiveType>(data_type: &DataType, values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    std::sync::Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_data_type(data_type.clone()))
}

macro_rules! native {
    ($native:ty, $( $pattern:pat => $arrow:ty ),+ ; $( $scalar:pat => $value:expr ),+) => {
        impl Native for $native {
            fn slice(array: &dyn Array) -> Option<&[Self]> {
                match array.data_type() {
                    $( $pattern => Some(array.as_primitive::<$arrow>().values()), )+
                    _ => None,
                }
            }

            fn constant(scalar: &Scalar) -> Option<Self> {
                match scalar {
                    $( $scalar => $value, )+
                    _ => None,
                }
            }

            fn array(data_type: &DataType, values: Vec<Self>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
                match data_type {
                    $( $pattern => Ok(primitive::<$arrow>(data_type, values, nulls)), )+
                    other => Err(unexpected(stringify!($native), other)),
                }
            }
        }
    };
}

native!(i16, DataType::Int16 => Int16Type; Scalar::Int16(v) => Some(*v));
native!(i32, DataType::Int32 => Int32Type, DataType::Date32 => Date32Type; Scalar::Int32(v) | Scalar::Date32(v) => Some(*v));
native!(
    i64,
    DataType::Int64 => Int64Type,
    DataType::Decimal64(..) => Decimal64Type,
    DataType::Timestamp(TimeUnit::Microsecond, _) => TimestampMicrosecondType,
    DataType::Time64(TimeUnit::Microsecond) => Time64MicrosecondType;
    Scalar::Int64(v) | Scalar::Timestamp(v) | Scalar::TimestampTz(v) | Scalar::Time(v) => Some(*v),
    Scalar::Decimal(v, ..) => i64::try_from(*v).ok()
);
native!(i128, DataType::Decimal128(..) => Decimal128Type; Scalar::Decimal(v, ..) => Some(*v));
native!(f32, DataType::Float32 => Float32Type; Scalar::Float32(v) => Some(*v));
native!(f64, DataType::Float64 => Float64Type; Scalar::Float64(v) => Some(*v));
native!(
    IntervalMonthDayNano,
    DataType::Interval(IntervalUnit::MonthDayNano) => IntervalMonthDayNanoType;
    Scalar::Interval { months, days, nanoseconds } => Some(IntervalMonthDayNano::new(*months, *days, *nanoseconds))
);

/// Texts as views; a dictionary is looked up row by row.
pub(crate) fn string_views(array: &ArrayRef) -> Result<StringViewArray> {
    match array.data_type() {
        DataType::Utf8View => Ok(array.as_string_view().clone()),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let texts = arrow::compute::take(dictionary.values().as_ref(), dictionary.keys(), None)?;
            texts.as_string_view_opt().cloned().ok_or_else(|| unexpected("text", array.data_type()))
        }
        other => Err(unexpected("text", other)),
    }
}

/// One text per row, or one for all.
pub(crate) enum Texts {
    Views(StringViewArray),
    Constant(String),
}

impl Texts {
    pub(crate) fn of(datum: &Datum) -> Result<Texts> {
        match datum {
            Datum::Array(array) => Ok(Texts::Views(string_views(array)?)),
            Datum::Scalar(Scalar::Utf8(text)) => Ok(Texts::Constant(text.clone())),
            Datum::Scalar(other) => Err(unexpected("text", &other.data_type())),
        }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls().is_some_and(|nulls| nulls.is_null(row))
    }

    pub(crate) fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Texts::Views(views) => views.nulls(),
            Texts::Constant(_) => None,
        }
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> &str {
        match self {
            Texts::Views(views) => views.value(row),
            Texts::Constant(text) => text,
        }
    }
}
