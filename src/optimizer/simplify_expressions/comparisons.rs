//! Comparisons, IN and LIKE: the column left, the constant right, and no cast around the column where the
//! constant can be cast instead.

use arrow::datatypes::{DataType, TimeUnit};
use operators::{Scalar, expression::Comparison, types};

use super::{Facts, constants};
use crate::plan::{
    logical::{Columns, Expr},
    rewrite::COMPARED_MAX,
};

const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;

pub(super) fn simplify(expr: Expr, facts: Facts<'_>) -> Expr {
    match expr {
        Expr::Compare(comparison, left, right) if left.is_constant() && !right.is_constant() => {
            simplify(Expr::Compare(mirrored(comparison), right, left), facts)
        }
        Expr::Compare(comparison, left, right) if left == right => of_itself(comparison, left, right, facts),
        Expr::Compare(comparison, left, right) => match (&*left, &*right) {
            (Expr::Cast(operand, _), Expr::Literal(value)) => {
                uncast(comparison, operand, value, facts.columns).unwrap_or(Expr::Compare(comparison, left, right))
            }
            _ => Expr::Compare(comparison, left, right),
        },
        Expr::InList { operand, list } => in_list(*operand, list, facts),
        Expr::Like { operand, pattern, escape, case_insensitive } => match &*pattern {
            Expr::Literal(Scalar::Utf8(text))
                if !case_insensitive && !text.contains(['%', '_']) && !escape.is_some_and(|e| text.contains(e)) =>
            {
                Expr::Compare(Comparison::Equal, operand, pattern)
            }
            _ => Expr::Like { operand, pattern, escape, case_insensitive },
        },
        other => other,
    }
}

/// The comparison with its operands exchanged.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        other => other,
    }
}

fn of_itself(comparison: Comparison, left: Box<Expr>, right: Box<Expr>, facts: Facts<'_>) -> Expr {
    let is_null_safe = matches!(comparison, Comparison::Distinct | Comparison::NotDistinct);
    if left.can_fail() || left.has_subquery() || (!is_null_safe && facts.may_be_null(&left)) {
        return Expr::Compare(comparison, left, right);
    }
    use Comparison::*;
    Expr::boolean(matches!(comparison, Equal | LessOrEqual | GreaterOrEqual | NotDistinct))
}

fn in_list(operand: Expr, mut list: Vec<Scalar>, facts: Facts<'_>) -> Expr {
    if let Expr::Cast(inner, _) = &operand
        && let Some(step) = Grid::of_cast(&inner.data_type(facts.columns), &operand.data_type(facts.columns))
    {
        // Constants between two values of the narrow type equal none of them.
        let narrow: Option<Vec<Scalar>> = list
            .iter()
            .map(|value| step.split(value))
            .filter(|split| !matches!(split, Some((_, false))))
            .map(|split| step.value(split?.0))
            .collect();
        if let Some(narrow) = narrow.filter(|narrow| !narrow.is_empty()) {
            return in_list((**inner).clone(), narrow, facts);
        }
    }
    if list.len() <= COMPARED_MAX {
        let mut distinct: Vec<Scalar> = vec![];
        for value in list {
            if !distinct.contains(&value) {
                distinct.push(value);
            }
        }
        list = distinct;
    }
    match (list.as_slice(), &operand) {
        ([value], _) => Expr::equal(operand, Expr::Literal(value.clone())),
        (values, Expr::Literal(operand)) if values.iter().all(|value| constants::order(operand, value).is_some()) => {
            Expr::boolean(values.iter().any(|value| constants::order(operand, value).is_some_and(|order| order.is_eq())))
        }
        _ => Expr::InList { operand: Box::new(operand), list },
    }
}

/// `cast(operand) comparison value` without the cast.
fn uncast(comparison: Comparison, operand: &Expr, value: &Scalar, columns: &Columns) -> Option<Expr> {
    let grid = Grid::of_cast(&operand.data_type(columns), &value.data_type())?;
    let (below, is_exact) = grid.split(value)?;
    let comparison = match (is_exact, comparison) {
        (true, comparison) => comparison,
        // Between two values of the narrow type: less than it is at most the lower one.
        (false, Comparison::Less | Comparison::LessOrEqual) => Comparison::LessOrEqual,
        (false, Comparison::Greater | Comparison::GreaterOrEqual) => Comparison::Greater,
        (false, _) => return None,
    };
    Some(Expr::compare(comparison, operand.clone(), Expr::Literal(grid.value(below)?)))
}

/// A cast that loses nothing, seen as whole numbers: values of the narrow type are every `step`th of the wide one.
struct Grid {
    narrow: DataType,
    step: i128,
}

impl Grid {
    fn of_cast(narrow: &DataType, wide: &DataType) -> Option<Grid> {
        let step = match (narrow, wide) {
            (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, None)) => MICROSECONDS_PER_DAY,
            (DataType::Int16, DataType::Int32 | DataType::Int64) | (DataType::Int32, DataType::Int64) => 1,
            _ => {
                let narrow_scale = match narrow {
                    DataType::Int16 | DataType::Int32 | DataType::Int64 => 0,
                    other => types::decimal_digits(other)?.1,
                };
                let (_, wide_scale) = types::decimal_digits(wide)?;
                10i128.checked_pow(u32::try_from(i16::from(wide_scale) - i16::from(narrow_scale)).ok()?)?
            }
        };
        Some(Grid { narrow: narrow.clone(), step })
    }

    /// The largest value of the narrow type that is not above `value`, and whether it is equal.
    fn split(&self, value: &Scalar) -> Option<(i128, bool)> {
        let wide = match value {
            Scalar::Int16(v) => i128::from(*v),
            Scalar::Int32(v) => i128::from(*v),
            Scalar::Int64(v) | Scalar::Timestamp(v) => i128::from(*v),
            Scalar::Decimal(v, ..) => *v,
            _ => return None,
        };
        Some((wide.div_euclid(self.step), wide.rem_euclid(self.step) == 0))
    }

    /// A value of the narrow type, if it holds it.
    fn value(&self, value: i128) -> Option<Scalar> {
        match &self.narrow {
            DataType::Date32 => Some(Scalar::Date32(value.try_into().ok()?)),
            DataType::Int16 => Some(Scalar::Int16(value.try_into().ok()?)),
            DataType::Int32 => Some(Scalar::Int32(value.try_into().ok()?)),
            DataType::Int64 => Some(Scalar::Int64(value.try_into().ok()?)),
            other => {
                let (precision, scale) = types::decimal_digits(other)?;
                let fits = value.unsigned_abs() < 10u128.checked_pow(u32::from(precision))?;
                fits.then_some(Scalar::Decimal(value, precision, scale))
            }
        }
    }
}
