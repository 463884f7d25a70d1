//! The scalar functions, by family one file each. To add one: a variant here, its row in the table of its
//! family, and its SQL name and overloads in `arneb::sql::functions`.

use serde::{Deserialize, Serialize};

/// A scalar function. Arguments and results are the physical types of [`crate::types`]; unless said
/// otherwise a NULL argument makes the result NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalarFunction {
    // ---- conditional ----
    /// First argument that is not NULL; all of the result's type.
    Coalesce,
    /// NULL if both arguments are equal, else the first.
    NullIf,
    /// Greatest argument that is not NULL.
    Greatest,
    /// Least argument that is not NULL.
    Least,
    // ---- text ----
    /// `upper(text)`
    Upper,
    /// `lower(text)`
    Lower,
    /// `initcap(text)`
    InitCap,
    /// `length(text)` in characters → Int32
    Length,
    /// `octet_length(text)` → Int32
    OctetLength,
    /// `substring(text, start Int32 [, count Int32])`, 1-based, in characters
    Substring,
    /// `left(text, n Int32)`
    Left,
    /// `right(text, n Int32)`
    Right,
    /// `btrim(text [, characters])`
    Trim,
    /// `ltrim(text [, characters])`
    TrimLeft,
    /// `rtrim(text [, characters])`
    TrimRight,
    /// `lpad(text, length Int32 [, fill])`
    PadLeft,
    /// `rpad(text, length Int32 [, fill])`
    PadRight,
    /// `replace(text, from, to)`
    Replace,
    /// `translate(text, from, to)`
    Translate,
    /// `reverse(text)`
    Reverse,
    /// `repeat(text, n Int32)`
    Repeat,
    /// `strpos(text, part)`, 1-based, 0 if absent → Int32
    Position,
    /// `split_part(text, delimiter, n Int32)`
    SplitPart,
    /// `starts_with(text, prefix)` → Boolean
    StartsWith,
    /// `||`: NULL if an argument is NULL; all text
    Concat,
    /// `concat(…)`: NULL arguments are skipped, never NULL; all text
    ConcatSkippingNulls,
    /// `concat_ws(separator, …)`: NULL arguments are skipped; NULL if the separator is
    ConcatWithSeparator,
    /// `ascii(text)` → Int32
    Ascii,
    /// `chr(Int32)` → text
    Chr,
    /// `md5(text)` → text
    Md5,
    /// `text ~ pattern` → Boolean; `regexp_like(text, pattern [, flags])`
    RegexMatch,
    /// `regexp_replace(text, pattern, replacement [, flags])`
    RegexReplace,
    /// `to_char`-free formatting of any value as its text: what `CAST(x AS text)` gives, for `concat`
    ToText,
    // ---- numbers ----
    /// `abs(x)`: type of the argument
    Abs,
    /// `sign(x)`: Float64, or the argument's decimal type with scale 0
    Sign,
    /// `ceil(x)`: Float64, or decimal of scale 0
    Ceil,
    /// `floor(x)`: Float64, or decimal of scale 0
    Floor,
    /// `round(x [, digits Int32])`: Float64 (half to even), or decimal (half away from zero) of the result type's scale
    Round,
    /// `trunc(x [, digits Int32])`: likewise, towards zero
    Truncate,
    /// `sqrt(Float64)`
    Sqrt,
    /// `cbrt(Float64)`
    Cbrt,
    /// `exp(Float64)`
    Exp,
    /// `ln(Float64)`
    Ln,
    /// `log10(Float64)`
    Log10,
    /// `log(base Float64, x Float64)`
    Log,
    /// `power(Float64, Float64)`
    Power,
    /// `pi()`
    Pi,
    /// `degrees(Float64)`
    Degrees,
    /// `radians(Float64)`
    Radians,
    /// `sin(Float64)`
    Sin,
    /// `cos(Float64)`
    Cos,
    /// `tan(Float64)`
    Tan,
    /// `asin(Float64)`
    Asin,
    /// `acos(Float64)`
    Acos,
    /// `atan(Float64)`
    Atan,
    /// `atan2(y Float64, x Float64)`
    Atan2,
    /// `gcd(Int64, Int64)`
    Gcd,
    /// `lcm(Int64, Int64)`
    Lcm,
    // ---- dates ----
    /// `extract(field from x)`: a Utf8 literal field first; Date32, Timestamp, Time or Interval second → `Decimal128(38, 6)`… or Int64 for whole fields as the result type says
    Extract,
    /// `date_trunc(field, timestamp)` → the timestamp's type
    DateTrunc,
    /// `make_date(Int32, Int32, Int32)` → Date32
    MakeDate,
    /// `age(timestamp, timestamp)` → Interval
    Age,
    /// `to_char(date or timestamp, format)` → text
    ToChar,
    /// `to_date(text, format)` → Date32
    ToDate,
}

use arrow::{array::ArrayRef, datatypes::DataType};

use super::{
    datum::Datum,
    evaluator::{Frame, State},
    program::{NodeId, Program},
};
use crate::{Error, Result};

/// Whether it may raise an error for values of its types.
pub(crate) fn can_fail(_function: ScalarFunction) -> bool {
    true
}

/// Whether a NULL argument makes the result NULL.
pub(crate) fn is_strict(_function: ScalarFunction) -> bool {
    true
}

/// Whether later arguments are evaluated only for the rows that need them.
pub(crate) fn is_lazy(_function: ScalarFunction) -> bool {
    false
}

/// The name, for EXPLAIN.
pub(crate) fn sql_name(_function: ScalarFunction) -> &'static str {
    "function"
}

/// Evaluates a lazy function.
pub(super) fn evaluate_lazily(
    _program: &Program,
    _state: &mut State,
    _inputs: &[NodeId],
    _data_type: &DataType,
    _frame: &Frame<'_>,
) -> Result<Datum> {
    Err(Error::Internal("function".into()))
}

/// Applies a function to the values of its arguments.
pub(super) fn apply(function: ScalarFunction, _arguments: &[Datum], _data_type: &DataType, _num_rows: usize) -> Result<ArrayRef> {
    Err(Error::Internal(format!("{function:?} is not available")))
}
