//! The functions SQL can call: names, overloads, result types.
//!
//! Position: asked by `binder::call`. What a function computes is written beside
//! `operators::expression::ScalarFunction` and `operators::aggregate::AggregateFunction`; functions with a
//! grammar or typing of their own (COALESCE, EXTRACT, concat, …) are in `binder::call`.

use arrow::datatypes::DataType;
use operators::{aggregate::AggregateFunction, expression::ScalarFunction as F, types};

use super::coercion::{self, decimal_with};

/// The type of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// text
    Text,
    /// integer
    Int,
    /// bigint
    Long,
    /// double precision
    Double,
    /// numeric, with its own digits
    Decimal,
    /// any number, as it is
    Number,
    /// date
    Date,
    /// timestamp
    Timestamp,
    /// timestamp with time zone
    TimestampTz,
    /// interval
    Interval,
}

/// The type of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    /// text
    Text,
    /// integer
    Int,
    /// bigint
    Long,
    /// double precision
    Double,
    /// boolean
    Boolean,
    /// date
    Date,
    /// interval
    Interval,
    /// The type of the argument at this position.
    Argument(usize),
    /// The first argument without digits after the point.
    WholeDecimal,
    /// The first argument with as many digits after the point as the second says.
    RoundedDecimal,
}

/// One way to call a function.
#[derive(Debug, Clone, Copy)]
pub struct Overload {
    /// Lower case.
    pub name: &'static str,
    /// What it computes.
    pub function: F,
    /// Types of the arguments.
    pub arguments: &'static [Argument],
    /// How many of the last arguments may be missing.
    pub optional: usize,
    /// What comes out.
    pub returns: Returns,
}

const fn row(name: &'static str, function: F, arguments: &'static [Argument], returns: Returns) -> Overload {
    Overload { name, function, arguments, optional: 0, returns }
}

const fn optional(name: &'static str, function: F, arguments: &'static [Argument], optional: usize, returns: Returns) -> Overload {
    Overload { name, function, arguments, optional, returns }
}

use Argument::{Date, Decimal, Double, Int, Interval, Long, Number, Text, Timestamp, TimestampTz};

/// All of them, name by name.
pub const OVERLOADS: &[Overload] = &[
    // ---- text ----
    row("upper", F::Upper, &[Text], Returns::Text),
    row("lower", F::Lower, &[Text], Returns::Text),
    row("initcap", F::InitCap, &[Text], Returns::Text),
    row("length", F::Length, &[Text], Returns::Int),
    row("char_length", F::Length, &[Text], Returns::Int),
    row("character_length", F::Length, &[Text], Returns::Int),
    row("octet_length", F::OctetLength, &[Text], Returns::Int),
    optional("substring", F::Substring, &[Text, Int, Int], 1, Returns::Text),
    optional("substr", F::Substring, &[Text, Int, Int], 1, Returns::Text),
    row("left", F::Left, &[Text, Int], Returns::Text),
    row("right", F::Right, &[Text, Int], Returns::Text),
    optional("btrim", F::Trim, &[Text, Text], 1, Returns::Text),
    optional("trim", F::Trim, &[Text, Text], 1, Returns::Text),
    optional("ltrim", F::TrimLeft, &[Text, Text], 1, Returns::Text),
    optional("rtrim", F::TrimRight, &[Text, Text], 1, Returns::Text),
    optional("lpad", F::PadLeft, &[Text, Int, Text], 1, Returns::Text),
    optional("rpad", F::PadRight, &[Text, Int, Text], 1, Returns::Text),
    row("replace", F::Replace, &[Text, Text, Text], Returns::Text),
    row("translate", F::Translate, &[Text, Text, Text], Returns::Text),
    row("reverse", F::Reverse, &[Text], Returns::Text),
    row("repeat", F::Repeat, &[Text, Int], Returns::Text),
    row("strpos", F::Position, &[Text, Text], Returns::Int),
    row("split_part", F::SplitPart, &[Text, Text, Int], Returns::Text),
    row("starts_with", F::StartsWith, &[Text, Text], Returns::Boolean),
    row("ascii", F::Ascii, &[Text], Returns::Int),
    row("chr", F::Chr, &[Int], Returns::Text),
    row("md5", F::Md5, &[Text], Returns::Text),
    optional("regexp_like", F::RegexMatch, &[Text, Text, Text], 1, Returns::Boolean),
    optional("regexp_replace", F::RegexReplace, &[Text, Text, Text, Text], 1, Returns::Text),
    // ---- numbers ----
    row("abs", F::Abs, &[Number], Returns::Argument(0)),
    row("sign", F::Sign, &[Double], Returns::Double),
    row("sign", F::Sign, &[Decimal], Returns::WholeDecimal),
    row("ceil", F::Ceil, &[Double], Returns::Double),
    row("ceil", F::Ceil, &[Decimal], Returns::WholeDecimal),
    row("ceiling", F::Ceil, &[Double], Returns::Double),
    row("ceiling", F::Ceil, &[Decimal], Returns::WholeDecimal),
    row("floor", F::Floor, &[Double], Returns::Double),
    row("floor", F::Floor, &[Decimal], Returns::WholeDecimal),
    row("round", F::Round, &[Double], Returns::Double),
    row("round", F::Round, &[Decimal], Returns::WholeDecimal),
    row("round", F::Round, &[Decimal, Int], Returns::RoundedDecimal),
    row("trunc", F::Truncate, &[Double], Returns::Double),
    row("trunc", F::Truncate, &[Decimal], Returns::WholeDecimal),
    row("trunc", F::Truncate, &[Decimal, Int], Returns::RoundedDecimal),
    row("sqrt", F::Sqrt, &[Double], Returns::Double),
    row("cbrt", F::Cbrt, &[Double], Returns::Double),
    row("exp", F::Exp, &[Double], Returns::Double),
    row("ln", F::Ln, &[Double], Returns::Double),
    row("log10", F::Log10, &[Double], Returns::Double),
    row("log", F::Log10, &[Double], Returns::Double),
    row("log", F::Log, &[Double, Double], Returns::Double),
    row("power", F::Power, &[Double, Double], Returns::Double),
    row("pow", F::Power, &[Double, Double], Returns::Double),
    row("pi", F::Pi, &[], Returns::Double),
    row("degrees", F::Degrees, &[Double], Returns::Double),
    row("radians", F::Radians, &[Double], Returns::Double),
    row("sin", F::Sin, &[Double], Returns::Double),
    row("cos", F::Cos, &[Double], Returns::Double),
    row("tan", F::Tan, &[Double], Returns::Double),
    row("asin", F::Asin, &[Double], Returns::Double),
    row("acos", F::Acos, &[Double], Returns::Double),
    row("atan", F::Atan, &[Double], Returns::Double),
    row("atan2", F::Atan2, &[Double, Double], Returns::Double),
    row("gcd", F::Gcd, &[Long, Long], Returns::Long),
    row("lcm", F::Lcm, &[Long, Long], Returns::Long),
    // ---- dates ----
    row("date_trunc", F::DateTrunc, &[Text, Timestamp], Returns::Argument(1)),
    row("date_trunc", F::DateTrunc, &[Text, TimestampTz], Returns::Argument(1)),
    row("make_date", F::MakeDate, &[Int, Int, Int], Returns::Date),
    row("age", F::Age, &[Timestamp, Timestamp], Returns::Interval),
    row("age", F::Age, &[TimestampTz, TimestampTz], Returns::Interval),
    row("to_char", F::ToChar, &[Timestamp, Text], Returns::Text),
    row("to_char", F::ToChar, &[TimestampTz, Text], Returns::Text),
    row("to_char", F::ToChar, &[Date, Text], Returns::Text),
    row("to_date", F::ToDate, &[Text, Text], Returns::Date),
];

/// The aggregate functions by name.
pub const AGGREGATES: &[(&str, AggregateFunction)] = &[
    ("count", AggregateFunction::Count),
    ("sum", AggregateFunction::Sum),
    ("min", AggregateFunction::Min),
    ("max", AggregateFunction::Max),
    ("avg", AggregateFunction::Average),
    ("bool_and", AggregateFunction::BoolAnd),
    ("every", AggregateFunction::BoolAnd),
    ("bool_or", AggregateFunction::BoolOr),
    ("stddev", AggregateFunction::StddevSamp),
    ("stddev_samp", AggregateFunction::StddevSamp),
    ("stddev_pop", AggregateFunction::StddevPop),
    ("variance", AggregateFunction::VarSamp),
    ("var_samp", AggregateFunction::VarSamp),
    ("var_pop", AggregateFunction::VarPop),
    ("string_agg", AggregateFunction::StringAgg),
];

/// Functions that `binder::call` types itself; for hints.
pub const SPECIAL: &[&str] = &[
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "concat",
    "concat_ws",
    "mod",
    "div",
    "date_part",
    "extract",
    "overlay",
    "position",
    "date",
    "now",
    "version",
    "current_schema",
    "current_database",
    "pg_typeof",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
];

/// What an argument is converted to, and how far that is from its own type; `None` if it cannot be.
fn fit(argument: Argument, given: &DataType) -> Option<(DataType, u32)> {
    let to = match argument {
        Text => DataType::Utf8View,
        Int => DataType::Int32,
        Long => DataType::Int64,
        Double => DataType::Float64,
        Date => DataType::Date32,
        Timestamp => types::timestamp(),
        TimestampTz => types::timestamptz(),
        Interval => types::interval(),
        Number if *given == DataType::Null => DataType::Float64,
        Number => return coercion::is_number(given).then(|| (given.clone(), 0)),
        Decimal if *given == DataType::Null => types::decimal(types::DECIMAL128_DIGITS_MAX, types::QUOTIENT_SCALE),
        Decimal => {
            let (precision, scale) = coercion::as_decimal(given)?;
            let distance = if types::decimal_digits(given).is_some() { 0 } else { 3 };
            return Some((types::decimal(precision, scale), distance));
        }
    };
    let distance = match given {
        given if *given == to => 0,
        // Text is what an unknown literal is first, double precision what numbers are, without time zone.
        DataType::Null if matches!(argument, Text | Double) => 1,
        DataType::Null => 2,
        _ if !coercion::is_implicit(given, &to) => return None,
        DataType::Date32 if argument == TimestampTz => 1,
        DataType::Date32 => 2,
        _ if argument == Double => 2,
        _ => 1,
    };
    Some((to, distance))
}

/// The overload that fits arguments of these types best, and what they are converted to.
pub fn resolve(name: &str, given: &[DataType]) -> Option<(&'static Overload, Vec<DataType>)> {
    let candidates =
        OVERLOADS.iter().filter(|o| o.name == name && given.len() <= o.arguments.len() && given.len() >= o.arguments.len() - o.optional);
    let fitting = candidates.filter_map(|overload| {
        let fits: Vec<(DataType, u32)> = overload.arguments.iter().zip(given).map(|(a, g)| fit(*a, g)).collect::<Option<_>>()?;
        let distance: u32 = fits.iter().map(|(_, distance)| distance).sum();
        Some((distance, overload, fits.into_iter().map(|(to, _)| to).collect()))
    });
    fitting.min_by_key(|(distance, ..)| *distance).map(|(_, overload, types)| (overload, types))
}

/// Whether there is a scalar function of that name.
pub fn is_known(name: &str) -> bool {
    OVERLOADS.iter().any(|o| o.name == name) || SPECIAL.contains(&name)
}

/// All names, for hints.
pub fn names() -> impl Iterator<Item = &'static str> {
    OVERLOADS.iter().map(|o| o.name).chain(AGGREGATES.iter().map(|(name, _)| *name)).chain(SPECIAL.iter().copied())
}

/// The type of an overload's result. `digits` is the second argument of `round`, if it is a constant.
pub fn result_type(returns: Returns, arguments: &[DataType], digits: Option<i32>) -> DataType {
    match returns {
        Returns::Text => DataType::Utf8View,
        Returns::Int => DataType::Int32,
        Returns::Long => DataType::Int64,
        Returns::Double => DataType::Float64,
        Returns::Boolean => DataType::Boolean,
        Returns::Date => DataType::Date32,
        Returns::Interval => types::interval(),
        Returns::Argument(at) => arguments[at].clone(),
        Returns::WholeDecimal => rounded(&arguments[0], 0),
        Returns::RoundedDecimal => {
            let own = types::decimal_digits(&arguments[0]).map_or(0, |(_, scale)| scale);
            // Without a constant the digits that are cut off become zeros.
            let scale = digits.map_or(own, |d| d.clamp(0, i32::from(types::DECIMAL128_DIGITS_MAX)) as i8);
            rounded(&arguments[0], scale)
        }
    }
}

/// A decimal at another scale; rounding may carry into one more digit.
fn rounded(data_type: &DataType, scale: i8) -> DataType {
    let (precision, own) = types::decimal_digits(data_type).unwrap_or((types::DECIMAL128_DIGITS_MAX, 0));
    decimal_with(i32::from(precision) - i32::from(own) + 1, scale)
}

/// What an aggregate's argument is converted to, and the type of its result; `None` if it takes no such argument.
pub fn aggregate_types(function: AggregateFunction, argument: &DataType) -> Option<(DataType, DataType)> {
    use AggregateFunction as A;
    let average = DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, types::QUOTIENT_SCALE);
    let is_number = coercion::is_number(argument);
    let result = match function {
        A::CountStar | A::Count => DataType::Int64,
        A::Sum => match argument {
            DataType::Int16 | DataType::Int32 => DataType::Int64,
            DataType::Int64 => DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, 0),
            DataType::Float32 | DataType::Float64 => argument.clone(),
            other => DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, types::decimal_digits(other)?.1),
        },
        A::Average if coercion::is_float(argument) => DataType::Float64,
        A::Average if is_number => average,
        A::Min | A::Max if !matches!(argument, DataType::Boolean | DataType::BinaryView) => argument.clone(),
        A::First => argument.clone(),
        A::BoolAnd | A::BoolOr if *argument == DataType::Boolean => DataType::Boolean,
        A::StddevSamp | A::StddevPop | A::VarSamp | A::VarPop if is_number => return Some((DataType::Float64, DataType::Float64)),
        A::StringAgg if *argument == DataType::Utf8View => DataType::Utf8View,
        _ => return None,
    };
    Some((argument.clone(), result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overload_with_the_nearest_types_is_taken() {
        let decimal = types::decimal(15, 2);
        let cases = [
            ("round", vec![DataType::Int32], DataType::Float64),
            ("round", vec![decimal.clone()], types::decimal(14, 0)),
            ("round", vec![decimal.clone(), DataType::Int32], types::decimal(16, 2)),
            ("abs", vec![DataType::Int16], DataType::Int16),
            ("sqrt", vec![decimal], DataType::Float64),
            ("date_trunc", vec![DataType::Null, DataType::Date32], types::timestamptz()),
            ("date_trunc", vec![DataType::Null, types::timestamp()], types::timestamp()),
            ("substr", vec![DataType::Utf8View, DataType::Int32], DataType::Utf8View),
        ];
        for (name, given, expected) in cases {
            let (overload, converted) = resolve(name, &given).unwrap_or_else(|| panic!("{name} {given:?}"));
            assert_eq!(result_type(overload.returns, &converted, None), expected, "{name} {given:?}");
        }
        assert!(resolve("round", &[DataType::Utf8View]).is_none());
        assert!(resolve("substr", &[DataType::Utf8View]).is_none());
    }
}
