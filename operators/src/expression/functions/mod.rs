//! The scalar functions, by family one file each. To add one: a variant here, its line in [`entry`], and its
//! SQL name and overloads in `arneb::sql::functions`.

mod arguments;
mod conditional;
mod date;
mod date_format;
mod date_parse;
mod extract;
mod math;
mod md5;
mod regex;
mod string;

use arrow::{array::ArrayRef, datatypes::DataType};
use serde::{Deserialize, Serialize};

use self::arguments::Arguments;
pub(super) use self::conditional::evaluate_coalesce;
use super::{cast, datum::Datum};
use crate::{Error, Result};

/// A scalar function. Arguments and results are the physical types of [`crate::types`]; unless said
/// otherwise a NULL argument makes the result NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalarFunction {
    // ---- conditional ----
    /// First argument that is not NULL; all of the result's type.
    Coalesce,
    /// NULL if both arguments (of one type) are equal, else the first.
    NullIf,
    /// Greatest argument that is not NULL; all of the result's type.
    Greatest,
    /// Least argument that is not NULL; all of the result's type.
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
    /// What `CAST(x AS text)` gives, for any type: arguments of `concat`
    ToText,
    // ---- numbers ----
    /// `abs(x)`: type of the argument
    Abs,
    /// `sign(x)`: Float64, or decimal of the result type's scale
    Sign,
    /// `ceil(x)`: Float64, or decimal of the result type's scale, usually 0
    Ceil,
    /// `floor(x)`: Float64, or decimal of the result type's scale, usually 0
    Floor,
    /// `round(x [, digits Int32])`: Float64 (half to even), or decimal (half away from zero); a decimal is rounded to
    /// `digits` (default 0) and then shown with the result type's scale
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
    /// `extract(field from x)`: a Utf8 literal field first; Date32, Timestamp, Time or Interval second. The result
    /// is what the node's type says: a decimal of scale 6 (PostgreSQL's numeric) for any field, Int32 or Int64 for
    /// whole fields (year, month, day, quarter, week, dow, …; a fraction would be cut off), or Float64
    Extract,
    /// `date_trunc(field, x)`: a Utf8 field first; Timestamp (either kind) or Interval second → its type
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

/// What the evaluator knows of a function.
struct Entry {
    /// For EXPLAIN.
    name: &'static str,
    apply: fn(&Arguments<'_>) -> Result<ArrayRef>,
    /// Whether it may raise an error for values of its types.
    can_fail: bool,
    /// Whether a NULL argument makes the result NULL.
    is_strict: bool,
}

impl Entry {
    /// A function that is NULL where an argument is, and never fails.
    fn total(name: &'static str, apply: fn(&Arguments<'_>) -> Result<ArrayRef>) -> Entry {
        Entry { name, apply, can_fail: false, is_strict: true }
    }

    /// A function that is NULL where an argument is, and fails for some values.
    fn partial(name: &'static str, apply: fn(&Arguments<'_>) -> Result<ArrayRef>) -> Entry {
        Entry { name, apply, can_fail: true, is_strict: true }
    }

    /// A function that looks at NULLs itself.
    fn lenient(name: &'static str, apply: fn(&Arguments<'_>) -> Result<ArrayRef>) -> Entry {
        Entry { name, apply, can_fail: false, is_strict: false }
    }
}

fn entry(function: ScalarFunction) -> Entry {
    use ScalarFunction as F;
    match function {
        F::Coalesce => Entry::lenient("coalesce", conditional::coalesce),
        F::NullIf => Entry::lenient("nullif", conditional::null_if),
        F::Greatest => Entry::lenient("greatest", conditional::greatest),
        F::Least => Entry::lenient("least", conditional::least),
        F::Upper => Entry::total("upper", string::upper),
        F::Lower => Entry::total("lower", string::lower),
        F::InitCap => Entry::total("initcap", string::init_cap),
        F::Length => Entry::total("length", string::length),
        F::OctetLength => Entry::total("octet_length", string::octet_length),
        F::Substring => Entry::partial("substring", string::substring),
        F::Left => Entry::total("left", string::left),
        F::Right => Entry::total("right", string::right),
        F::Trim => Entry::total("btrim", string::trim),
        F::TrimLeft => Entry::total("ltrim", string::trim_left),
        F::TrimRight => Entry::total("rtrim", string::trim_right),
        F::PadLeft => Entry::partial("lpad", string::pad_left),
        F::PadRight => Entry::partial("rpad", string::pad_right),
        F::Replace => Entry::partial("replace", string::replace),
        F::Translate => Entry::total("translate", string::translate),
        F::Reverse => Entry::total("reverse", string::reverse),
        F::Repeat => Entry::partial("repeat", string::repeat),
        F::Position => Entry::total("strpos", string::position),
        F::SplitPart => Entry::partial("split_part", string::split_part),
        F::StartsWith => Entry::total("starts_with", string::starts_with),
        F::Concat => Entry::total("textcat", string::concat),
        F::ConcatSkippingNulls => Entry::lenient("concat", string::concat_skipping_nulls),
        F::ConcatWithSeparator => Entry::lenient("concat_ws", string::concat_with_separator),
        F::Ascii => Entry::total("ascii", string::ascii),
        F::Chr => Entry::partial("chr", string::chr),
        F::Md5 => Entry::total("md5", string::md5),
        F::RegexMatch => Entry::partial("regexp_like", regex::matches),
        F::RegexReplace => Entry::partial("regexp_replace", regex::replace),
        F::ToText => Entry::total("text", |arguments| cast::cast(&arguments.array(0), &DataType::Utf8View)),
        F::Abs => Entry::partial("abs", math::abs),
        F::Sign => Entry::total("sign", math::sign),
        F::Ceil => Entry::total("ceil", math::ceil),
        F::Floor => Entry::total("floor", math::floor),
        F::Round => Entry::partial("round", math::round),
        F::Truncate => Entry::partial("trunc", math::truncate),
        F::Sqrt => Entry::partial("sqrt", math::sqrt),
        F::Cbrt => Entry::total("cbrt", math::cbrt),
        F::Exp => Entry::partial("exp", math::exp),
        F::Ln => Entry::partial("ln", math::ln),
        F::Log10 => Entry::partial("log10", math::log10),
        F::Log => Entry::partial("log", math::log),
        F::Power => Entry::partial("power", math::power),
        F::Pi => Entry::total("pi", math::pi),
        F::Degrees => Entry::partial("degrees", math::degrees),
        F::Radians => Entry::total("radians", math::radians),
        F::Sin => Entry::partial("sin", math::sin),
        F::Cos => Entry::partial("cos", math::cos),
        F::Tan => Entry::partial("tan", math::tan),
        F::Asin => Entry::partial("asin", math::asin),
        F::Acos => Entry::partial("acos", math::acos),
        F::Atan => Entry::total("atan", math::atan),
        F::Atan2 => Entry::total("atan2", math::atan2),
        F::Gcd => Entry::partial("gcd", math::gcd),
        F::Lcm => Entry::partial("lcm", math::lcm),
        F::Extract => Entry::total("extract", extract::extract),
        F::DateTrunc => Entry::partial("date_trunc", date::truncate),
        F::MakeDate => Entry::partial("make_date", date::make_date),
        F::Age => Entry::partial("age", date::age),
        F::ToChar => Entry::total("to_char", date_format::to_char),
        F::ToDate => Entry::partial("to_date", date_parse::to_date),
    }
}

/// Whether it may raise an error for values of its types.
pub(crate) fn can_fail(function: ScalarFunction) -> bool {
    entry(function).can_fail
}

/// Whether a NULL argument makes the result NULL.
pub(crate) fn is_strict(function: ScalarFunction) -> bool {
    entry(function).is_strict
}

/// The name, for EXPLAIN.
pub(crate) fn sql_name(function: ScalarFunction) -> &'static str {
    entry(function).name
}

/// Applies a function to the values of its arguments.
pub(super) fn apply(function: ScalarFunction, values: &[Datum], data_type: &DataType, num_rows: usize) -> Result<ArrayRef> {
    let entry = entry(function);
    let result = (entry.apply)(&Arguments { name: entry.name, values, data_type, num_rows })?;
    if result.len() != num_rows {
        return Err(Error::Internal(format!("{} gave {} rows for {num_rows}", entry.name, result.len())));
    }
    Ok(result)
}
