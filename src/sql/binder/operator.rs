//! Operators: logic, arithmetic, text; comparisons are in `comparison`.

use arrow::datatypes::DataType;
use chrono::{Days, Months, NaiveDate};
use operators::{
    Scalar,
    expression::{Arithmetic, Comparison, ScalarFunction},
    types,
};
use sqlparser::ast::{BinaryOperator as Op, Expr as Ast, Spanned, UnaryOperator};

use super::{
    Binder,
    conversion::{Typed, digits_type},
    expression::{and, or},
    scope::Environment,
};
use crate::{
    error::{Error, ErrorKind, Result},
    plan::logical::Expr,
    sql::coercion::{self, as_decimal, decimal_with, is_float, is_integer, is_number},
};

impl<'a> Binder<'a> {
    /// `left op right`
    pub fn bind_binary(&mut self, left: &'a Ast, op: &Op, right: &'a Ast, environment: &Environment<'_>) -> Result<Typed> {
        if let Some(comparison) = comparison(op) {
            return self.bind_comparison(comparison, left, right, environment);
        }
        if matches!(op, Op::And | Op::Or) {
            return self.bind_logic(left, op, right, environment);
        }
        let l = self.bind_expr(left, environment)?;
        let r = self.bind_expr(right, environment)?;
        match op {
            Op::Plus => self.arithmetic(Arithmetic::Add, l, r),
            Op::Minus => self.arithmetic(Arithmetic::Subtract, l, r),
            Op::Multiply => self.arithmetic(Arithmetic::Multiply, l, r),
            Op::Divide => self.arithmetic(Arithmetic::Divide, l, r),
            Op::Modulo => self.arithmetic(Arithmetic::Modulo, l, r),
            Op::PGExp => self.call("power", vec![l, r]),
            Op::StringConcat => self.concatenate(l, r),
            Op::PGRegexMatch => self.regex(l, r, false, false),
            Op::PGRegexIMatch => self.regex(l, r, true, false),
            Op::PGRegexNotMatch => self.regex(l, r, false, true),
            Op::PGRegexNotIMatch => self.regex(l, r, true, true),
            Op::PGLikeMatch => self.like(l, r, Some('\\'), false, false),
            Op::PGILikeMatch => self.like(l, r, Some('\\'), false, true),
            Op::PGNotLikeMatch => self.like(l, r, Some('\\'), true, false),
            Op::PGNotILikeMatch => self.like(l, r, Some('\\'), true, true),
            Op::PGStartsWith => self.call("starts_with", vec![l, r]),
            Op::PGCustomBinaryOperator(parts) => match parts.iter().map(|p| p.trim_matches('"')).collect::<Vec<_>>().as_slice() {
                ["~"] | ["pg_catalog", "~"] => self.regex(l, r, false, false),
                ["~~"] | ["pg_catalog", "~~"] => self.like(l, r, Some('\\'), false, false),
                _ => Err(Error::unsupported(format!("the operator {op}"))),
            },
            _ => Err(Error::unsupported(format!("the operator {op}"))),
        }
    }

    fn bind_logic(&mut self, left: &'a Ast, op: &Op, right: &'a Ast, environment: &Environment<'_>) -> Result<Typed> {
        let name = if *op == Op::And { "AND" } else { "OR" };
        let mut operands = vec![];
        for side in [left, right] {
            let typed = self.bind_expr(side, environment)?;
            operands.push(self.condition(typed, name).map_err(|e| e.at(self.position(side.span())))?);
        }
        Ok(Typed::boolean(if *op == Op::And { and(operands) } else { or(operands) }))
    }

    /// `op operand`
    pub fn bind_unary(&mut self, op: UnaryOperator, operand: &'a Ast, environment: &Environment<'_>) -> Result<Typed> {
        let typed = self.bind_expr(operand, environment)?;
        match op {
            UnaryOperator::Not => {
                let condition = self.condition(typed, "NOT")?;
                Ok(Typed::boolean(Expr::Not(Box::new(condition))))
            }
            UnaryOperator::Plus if is_number(&typed.data_type) || typed.is_unknown() => {
                let typed = self.give_type(typed, &DataType::Float64)?;
                Ok(typed)
            }
            UnaryOperator::Minus => self.negate(typed),
            UnaryOperator::PGAbs => self.call("abs", vec![typed]),
            UnaryOperator::PGSquareRoot => self.call("sqrt", vec![typed]),
            UnaryOperator::PGCubeRoot => self.call("cbrt", vec![typed]),
            UnaryOperator::Plus => Err(Error::binding("42883", format!("operator does not exist: + {}", typed.type_name()))),
            _ => Err(Error::unsupported(format!("the operator {op}"))),
        }
    }

    fn negate(&mut self, typed: Typed) -> Result<Typed> {
        let typed = self.give_type(typed, &DataType::Float64)?;
        if !is_number(&typed.data_type) && !matches!(typed.data_type, DataType::Interval(_)) {
            return Err(Error::binding("42883", format!("operator does not exist: - {}", typed.type_name())));
        }
        if let Some(negated) = typed.constant().and_then(negated) {
            return Ok(Typed::literal(negated));
        }
        Ok(Typed::new(Expr::Negate(Box::new(typed.expr)), typed.data_type))
    }

    /// `left op right` with numbers, dates, timestamps, intervals.
    pub fn arithmetic(&mut self, op: Arithmetic, left: Typed, right: Typed) -> Result<Typed> {
        let (left, right) = self.arithmetic_types(op, left, right)?;
        if is_number(&left.data_type) && is_number(&right.data_type) {
            return self.number_arithmetic(op, left, right);
        }
        self.time_arithmetic(op, left, right)
    }

    /// Gives a side of unknown type the type the operator most likely wants: that of the other side.
    fn arithmetic_types(&mut self, op: Arithmetic, left: Typed, right: Typed) -> Result<(Typed, Typed)> {
        let wanted = |other: &DataType| match other {
            DataType::Null | DataType::Utf8View => DataType::Int32,
            // `date + '1 day'` is an interval, `date - '2020-01-01'` a date, as in PostgreSQL.
            DataType::Date32 | DataType::Timestamp(..) if op == Arithmetic::Add => types::interval(),
            DataType::Interval(_) if matches!(op, Arithmetic::Multiply | Arithmetic::Divide) => DataType::Float64,
            other => other.clone(),
        };
        let (left_wanted, right_wanted) = (wanted(&right.data_type), wanted(&left.data_type));
        Ok((self.give_type(left, &left_wanted)?, self.give_type(right, &right_wanted)?))
    }

    fn number_arithmetic(&mut self, op: Arithmetic, left: Typed, right: Typed) -> Result<Typed> {
        let common = coercion::common_type(&left.data_type, &right.data_type).ok_or_else(|| no_operator(symbol(op), &left, &right))?;
        if is_float(&common) && op == Arithmetic::Modulo {
            return Err(no_operator(symbol(op), &left, &right));
        }
        if is_integer(&common) || is_float(&common) {
            let (l, r) = (self.coerce(left, &common)?, self.coerce(right, &common)?);
            return Ok(Typed::new(Expr::Arithmetic(op, Box::new(l), Box::new(r), common.clone()), common));
        }
        let (l_type, r_type) = (exact_type(&left), exact_type(&right));
        let (Some((lp, ls)), Some((rp, rs))) = (as_decimal(&l_type), as_decimal(&r_type)) else {
            return Err(no_operator(symbol(op), &left, &right));
        };
        let whole = (i32::from(lp) - i32::from(ls)).max(i32::from(rp) - i32::from(rs));
        let data_type = match op {
            Arithmetic::Add | Arithmetic::Subtract => decimal_with(whole + 1, ls.max(rs)),
            Arithmetic::Multiply => {
                let scale = i32::from(ls) + i32::from(rs);
                if scale > i32::from(types::DECIMAL128_DIGITS_MAX) {
                    return Err(Error::new(ErrorKind::Data, "22003", format!("a product with {scale} digits after the point"))
                        .with_hint("cast a factor to a numeric type with fewer digits after the point"));
                }
                decimal_with(i32::from(lp) + i32::from(rp) - scale, scale as i8)
            }
            Arithmetic::Divide => DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, types::QUOTIENT_SCALE.max(ls).max(rs)),
            Arithmetic::Modulo => decimal_with(whole, ls.max(rs)),
        };
        let (l, r) = (self.coerce(left, &l_type)?, self.coerce(right, &r_type)?);
        Ok(Typed::new(Expr::Arithmetic(op, Box::new(l), Box::new(r), data_type.clone()), data_type))
    }

    fn time_arithmetic(&mut self, op: Arithmetic, left: Typed, right: Typed) -> Result<Typed> {
        use Arithmetic::{Add, Divide, Multiply, Subtract};
        use DataType::{Date32, Interval, Time64, Timestamp};
        if let (Some(l), Some(r)) = (left.constant(), right.constant())
            && let Some(result) = fold_time(op, l, r)
        {
            return Ok(Typed::literal(result));
        }
        let error = no_operator(symbol(op), &left, &right);
        let (l, r) = (left.data_type.clone(), right.data_type.clone());
        // The types both sides are brought to, and that of the result.
        let (l_to, r_to, result) = match (op, &l, &r) {
            (Add | Subtract, Date32, DataType::Int16 | DataType::Int32) => (Date32, DataType::Int32, Date32),
            (Add, DataType::Int16 | DataType::Int32, Date32) => return self.arithmetic(op, right, left),
            (Subtract, Date32, Date32) => (Date32, Date32, DataType::Int32),
            (Add | Subtract, Date32, Interval(_)) => (types::timestamp(), types::interval(), types::timestamp()),
            (Add | Subtract, Timestamp(..), Interval(_)) => (l.clone(), r.clone(), l.clone()),
            (Add, Interval(_), Date32 | Timestamp(..) | Time64(_)) => return self.arithmetic(op, right, left),
            (Subtract, Date32 | Timestamp(..), Date32 | Timestamp(..)) => {
                let common = coercion::common_type(&l, &r).ok_or_else(|| error.clone())?;
                (common.clone(), common, types::interval())
            }
            (Add | Subtract, Time64(_), Interval(_)) => (l.clone(), r.clone(), l.clone()),
            (Subtract, Time64(_), Time64(_)) => (l.clone(), r.clone(), types::interval()),
            (Add | Subtract, Interval(_), Interval(_)) => (l.clone(), r.clone(), l.clone()),
            (Multiply | Divide, Interval(_), number) if is_number(number) => (l.clone(), DataType::Float64, l.clone()),
            (Multiply, number, Interval(_)) if is_number(number) => return self.arithmetic(op, right, left),
            _ => return Err(error),
        };
        let (l, r) = (self.coerce(left, &l_to)?, self.coerce(right, &r_to)?);
        Ok(Typed::new(Expr::Arithmetic(op, Box::new(l), Box::new(r), result.clone()), result))
    }

    /// `||`: anything beside a text becomes text.
    fn concatenate(&mut self, left: Typed, right: Typed) -> Result<Typed> {
        let is_text = |side: &Typed| side.is_unknown() || side.data_type == DataType::Utf8View;
        if !is_text(&left) && !is_text(&right) {
            return Err(no_operator("||", &left, &right));
        }
        let mut arguments = vec![];
        for side in [left, right] {
            match self.coerce(side, &DataType::Utf8View)? {
                Expr::Function(ScalarFunction::Concat, inner, _) => arguments.extend(inner),
                other => arguments.push(other),
            }
        }
        Ok(Typed::new(Expr::Function(ScalarFunction::Concat, arguments, DataType::Utf8View), DataType::Utf8View))
    }

    fn regex(&mut self, text: Typed, pattern: Typed, case_insensitive: bool, negated: bool) -> Result<Typed> {
        let name = if case_insensitive { "~*" } else { "~" };
        for side in [&text, &pattern] {
            if !side.is_unknown() && side.data_type != DataType::Utf8View {
                return Err(no_operator(name, &text, &pattern));
            }
        }
        let mut arguments = vec![self.coerce(text, &DataType::Utf8View)?, self.coerce(pattern, &DataType::Utf8View)?];
        if case_insensitive {
            arguments.push(Expr::Literal(Scalar::Utf8("i".to_owned())));
        }
        let matches = Expr::Function(ScalarFunction::RegexMatch, arguments, DataType::Boolean);
        Ok(Typed::boolean(if negated { Expr::Not(Box::new(matches)) } else { matches }))
    }
}

/// Of a number as written the type of just its digits, so that `1 - x` has no more digits than it needs.
fn exact_type(typed: &Typed) -> DataType {
    match typed.constant() {
        Some(constant) => digits_type(constant),
        None => match as_decimal(&typed.data_type) {
            Some((precision, scale)) => types::decimal(precision, scale),
            None => typed.data_type.clone(),
        },
    }
}

fn negated(constant: &Scalar) -> Option<Scalar> {
    Some(match constant {
        Scalar::Int16(v) => Scalar::Int16(v.checked_neg()?),
        Scalar::Int32(v) => Scalar::Int32(v.checked_neg()?),
        // The smallest integer is written as the negative of a number that is one too large.
        Scalar::Int64(v) => match i32::try_from(v.checked_neg()?) {
            Ok(small) => Scalar::Int32(small),
            Err(_) => Scalar::Int64(-v),
        },
        Scalar::Decimal(v, 19, 0) if *v == -i128::from(i64::MIN) => Scalar::Int64(i64::MIN),
        Scalar::Decimal(v, precision, scale) => Scalar::Decimal(-v, *precision, *scale),
        Scalar::Float32(v) => Scalar::Float32(-v),
        Scalar::Float64(v) => Scalar::Float64(-v),
        Scalar::Interval { months, days, nanoseconds } => {
            Scalar::Interval { months: months.checked_neg()?, days: days.checked_neg()?, nanoseconds: nanoseconds.checked_neg()? }
        }
        _ => return None,
    })
}

/// Dates and timestamps with intervals and days, of constants; `None` if the engine has to compute it.
fn fold_time(op: Arithmetic, left: &Scalar, right: &Scalar) -> Option<Scalar> {
    let sign = match op {
        Arithmetic::Add => 1,
        Arithmetic::Subtract => -1,
        _ => return None,
    };
    match (left, right) {
        (Scalar::Date32(days), Scalar::Int32(n)) => days.checked_add(n.checked_mul(sign)?).map(Scalar::Date32),
        (Scalar::Date32(days), Scalar::Interval { months, days: more, nanoseconds }) => {
            let start = i64::from(*days).checked_mul(coercion::DAY_US)?;
            shift(start, (*months, *more, *nanoseconds), sign).map(Scalar::Timestamp)
        }
        (Scalar::Timestamp(us), Scalar::Interval { months, days, nanoseconds }) => {
            shift(*us, (*months, *days, *nanoseconds), sign).map(Scalar::Timestamp)
        }
        (Scalar::TimestampTz(us), Scalar::Interval { months, days, nanoseconds }) => {
            shift(*us, (*months, *days, *nanoseconds), sign).map(Scalar::TimestampTz)
        }
        (Scalar::Interval { .. }, Scalar::Date32(_) | Scalar::Timestamp(_) | Scalar::TimestampTz(_)) if sign == 1 => {
            fold_time(op, right, left)
        }
        _ => None,
    }
}

/// Months first (the last day of a month at most), then days, then the time, as PostgreSQL does.
fn shift(us: i64, (months, days, nanoseconds): (i32, i32, i64), sign: i32) -> Option<i64> {
    let date = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let day = us.div_euclid(coercion::DAY_US);
    let forward = |date: NaiveDate, days: i64| match u64::try_from(days) {
        Ok(days) => date.checked_add_days(Days::new(days)),
        Err(_) => date.checked_sub_days(Days::new(days.unsigned_abs())),
    };
    let mut date = forward(date, day)?;
    let months = months.checked_mul(sign)?;
    date = match u32::try_from(months) {
        Ok(months) => date.checked_add_months(Months::new(months))?,
        Err(_) => date.checked_sub_months(Months::new(months.unsigned_abs()))?,
    };
    date = forward(date, i64::from(days) * i64::from(sign))?;
    let day = date.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days();
    let time = us.rem_euclid(coercion::DAY_US).checked_add(nanoseconds.checked_mul(i64::from(sign))? / 1000)?;
    day.checked_mul(coercion::DAY_US)?.checked_add(time)
}

/// The comparison that an operator is.
pub fn comparison(op: &Op) -> Option<Comparison> {
    Some(match op {
        Op::Eq => Comparison::Equal,
        Op::NotEq => Comparison::NotEqual,
        Op::Lt => Comparison::Less,
        Op::LtEq => Comparison::LessOrEqual,
        Op::Gt => Comparison::Greater,
        Op::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn symbol(op: Arithmetic) -> &'static str {
    match op {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Modulo => "%",
    }
}

/// 42883 for an operator.
pub fn no_operator(name: &str, left: &Typed, right: &Typed) -> Error {
    Error::binding("42883", format!("operator does not exist: {} {name} {}", left.type_name(), right.type_name()))
        .with_hint("no operator matches the given name and argument types. You might need to add explicit type casts")
}
