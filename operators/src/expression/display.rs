//! Expressions as SQL-like text, for EXPLAIN and messages.

use std::fmt;

use super::{Arithmetic, Comparison, Expression, functions};
use crate::{Scalar, types};

/// At most this many elements of an IN list are shown.
const LIST_SHOWN_MAX: usize = 8;

impl Expression {
    /// The text, with columns called by their `names`; `#3` where a name is missing.
    pub fn display<'a, S: AsRef<str>>(&'a self, names: &'a [S]) -> impl fmt::Display + 'a {
        let name = |index: usize| names.get(index).map(|n| n.as_ref().to_owned());
        fmt::from_fn(move |f| write_expression(self, &name, Binding::Loose, f))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_expression(self, &|_| None, Binding::Loose, f)
    }
}

/// How tightly an expression's outermost operator binds, loosest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Loose,
    Or,
    And,
    Not,
    Compare,
    Add,
    Multiply,
    Tight,
}

fn binding(expression: &Expression) -> Binding {
    match expression {
        Expression::Or(operands) if operands.len() > 1 => Binding::Or,
        Expression::And(operands) if operands.len() > 1 => Binding::And,
        Expression::Not(operand) => match operand.as_ref() {
            Expression::IsNull(_) | Expression::Like { .. } | Expression::InList { .. } => Binding::Compare,
            _ => Binding::Not,
        },
        Expression::Compare { .. } | Expression::IsNull(_) | Expression::Like { .. } | Expression::InList { .. } => Binding::Compare,
        Expression::Arithmetic { operator: Arithmetic::Add | Arithmetic::Subtract, .. } => Binding::Add,
        Expression::Arithmetic { .. } => Binding::Multiply,
        _ => Binding::Tight,
    }
}

type Names<'a> = &'a dyn Fn(usize) -> Option<String>;

fn write_expression(expression: &Expression, names: Names<'_>, outer: Binding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let own = binding(expression);
    let parentheses = own < outer;
    if parentheses {
        f.write_str("(")?;
    }
    write_bare(expression, names, own, f)?;
    if parentheses {
        f.write_str(")")?;
    }
    Ok(())
}

fn write_bare(expression: &Expression, names: Names<'_>, own: Binding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match expression {
        Expression::Column { index, .. } => match names(*index) {
            Some(name) => f.write_str(&name),
            None => write!(f, "#{index}"),
        },
        Expression::Literal(scalar) => write_literal(scalar, f),
        Expression::Compare { operator, left, right } => {
            write_expression(left, names, Binding::Add, f)?;
            write!(f, " {operator} ")?;
            write_expression(right, names, Binding::Add, f)
        }
        Expression::And(operands) => write_joined(operands, " AND ", names, own.max(Binding::And), f),
        Expression::Or(operands) => write_joined(operands, " OR ", names, own.max(Binding::Or), f),
        Expression::Not(operand) => match operand.as_ref() {
            Expression::IsNull(inner) => {
                write_expression(inner, names, Binding::Add, f)?;
                f.write_str(" IS NOT NULL")
            }
            Expression::Like { operand, pattern, escape, case_insensitive } => {
                write_like(operand, pattern, *escape, *case_insensitive, true, names, f)
            }
            Expression::InList { operand, list } => write_in_list(operand, list, true, names, f),
            other => {
                f.write_str("NOT ")?;
                write_expression(other, names, Binding::Compare, f)
            }
        },
        Expression::IsNull(operand) => {
            write_expression(operand, names, Binding::Add, f)?;
            f.write_str(" IS NULL")
        }
        Expression::Arithmetic { operator, left, right, .. } => {
            write_expression(left, names, own, f)?;
            write!(f, " {operator} ")?;
            let right_binding = if own == Binding::Add { Binding::Multiply } else { Binding::Tight };
            write_expression(right, names, right_binding, f)
        }
        Expression::Negate(operand) => {
            f.write_str("-")?;
            write_expression(operand, names, Binding::Tight, f)
        }
        Expression::Cast { operand, data_type } => {
            f.write_str("CAST(")?;
            write_expression(operand, names, Binding::Loose, f)?;
            match types::decimal_digits(data_type) {
                Some((precision, scale)) => write!(f, " AS numeric({precision},{scale}))"),
                None => write!(f, " AS {})", types::sql_name(data_type)),
            }
        }
        Expression::Case { branches, otherwise, .. } => {
            f.write_str("CASE")?;
            for (condition, value) in branches {
                f.write_str(" WHEN ")?;
                write_expression(condition, names, Binding::Loose, f)?;
                f.write_str(" THEN ")?;
                write_expression(value, names, Binding::Loose, f)?;
            }
            if let Some(otherwise) = otherwise {
                f.write_str(" ELSE ")?;
                write_expression(otherwise, names, Binding::Loose, f)?;
            }
            f.write_str(" END")
        }
        Expression::Like { operand, pattern, escape, case_insensitive } => {
            write_like(operand, pattern, *escape, *case_insensitive, false, names, f)
        }
        Expression::InList { operand, list } => write_in_list(operand, list, false, names, f),
        Expression::Function { function, arguments, .. } => {
            write!(f, "{}(", functions::sql_name(*function))?;
            write_joined(arguments, ", ", names, Binding::Loose, f)?;
            f.write_str(")")
        }
    }
}

fn write_joined(operands: &[Expression], separator: &str, names: Names<'_>, inner: Binding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, operand) in operands.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write_expression(operand, names, inner, f)?;
    }
    Ok(())
}

fn write_like(
    operand: &Expression,
    pattern: &Expression,
    escape: Option<char>,
    case_insensitive: bool,
    negated: bool,
    names: Names<'_>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write_expression(operand, names, Binding::Add, f)?;
    f.write_str(if negated { " NOT " } else { " " })?;
    f.write_str(if case_insensitive { "ILIKE " } else { "LIKE " })?;
    write_expression(pattern, names, Binding::Add, f)?;
    match escape {
        Some('\\') => Ok(()),
        Some(c) => write!(f, " ESCAPE '{c}'"),
        None => f.write_str(" ESCAPE ''"),
    }
}

fn write_in_list(operand: &Expression, list: &[Scalar], negated: bool, names: Names<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write_expression(operand, names, Binding::Add, f)?;
    f.write_str(if negated { " NOT IN (" } else { " IN (" })?;
    for (i, scalar) in list.iter().take(LIST_SHOWN_MAX).enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write_literal(scalar, f)?;
    }
    if list.len() > LIST_SHOWN_MAX {
        write!(f, ", … {} more", list.len() - LIST_SHOWN_MAX)?;
    }
    f.write_str(")")
}

fn write_literal(scalar: &Scalar, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let type_prefix = match scalar {
        Scalar::Date32(_) => "date ",
        Scalar::Timestamp(_) => "timestamp ",
        Scalar::TimestampTz(_) => "timestamptz ",
        Scalar::Time(_) => "time ",
        Scalar::Interval { .. } => "interval ",
        Scalar::Binary(_) => "bytea ",
        Scalar::Utf8(_) => "",
        Scalar::Null(_) => return f.write_str("NULL"),
        _ => return write!(f, "{scalar}"),
    };
    write!(f, "{type_prefix}'{}'", scalar.to_string().replace('\'', "''"))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Distinct => "IS DISTINCT FROM",
            Comparison::NotDistinct => "IS NOT DISTINCT FROM",
        })
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Modulo => "%",
        })
    }
}
