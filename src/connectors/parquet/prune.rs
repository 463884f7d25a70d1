//! Whether a row group can hold a row that passes, judged by the bounds in its footer.
//!
//! Position: applied when a scan is made (filters) and when a morsel is taken (runtime filters). True is always a legal answer.

use std::cmp::Ordering;

use operators::{
    Expression, Scalar,
    expression::Comparison,
    runtime_filter::{Members, RuntimeFilter},
};

use super::bounds::{Bounds, as_integer, compare};

/// What is known of a column in a row group.
pub struct ColumnFacts {
    /// Its values.
    pub bounds: Bounds,
    /// Its NULLs.
    pub null_count: Option<u64>,
}

/// Whether some row can pass `filter`; `facts` tells of a column by its position in the filter.
pub fn may_pass(filter: &Expression, facts: &impl Fn(usize) -> ColumnFacts) -> bool {
    match filter {
        Expression::And(operands) => operands.iter().all(|operand| may_pass(operand, facts)),
        Expression::Or(operands) => operands.iter().any(|operand| may_pass(operand, facts)),
        Expression::Compare { operator, left, right } => match (&**left, &**right) {
            (Expression::Column { index, .. }, Expression::Literal(literal)) => may_compare(*operator, &facts(*index), literal),
            (Expression::Literal(literal), Expression::Column { index, .. }) => may_compare(swapped(*operator), &facts(*index), literal),
            _ => true,
        },
        Expression::InList { operand, list } => match &**operand {
            Expression::Column { index, .. } => {
                let facts = facts(*index);
                list.iter().any(|literal| may_compare(Comparison::Equal, &facts, literal))
            }
            _ => true,
        },
        Expression::IsNull(operand) => match &**operand {
            Expression::Column { index, .. } => facts(*index).null_count != Some(0),
            _ => true,
        },
        Expression::Not(operand) => match &**operand {
            Expression::IsNull(inner) => match &**inner {
                Expression::Column { index, .. } => facts(*index).bounds != Bounds::AllNull,
                _ => true,
            },
            _ => true,
        },
        Expression::Literal(Scalar::Boolean(false) | Scalar::Null(_)) => false,
        _ => true,
    }
}

fn swapped(operator: Comparison) -> Comparison {
    match operator {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        other => other,
    }
}

fn may_compare(operator: Comparison, facts: &ColumnFacts, literal: &Scalar) -> bool {
    if matches!(operator, Comparison::Distinct | Comparison::NotDistinct) {
        return true;
    }
    let (min, max) = match &facts.bounds {
        Bounds::Unknown => return true,
        Bounds::AllNull => return false,
        Bounds::Between(min, max) => (min, max),
    };
    if literal.is_null() {
        return false;
    }
    // NaN is above all bounds, and writers leave it out of them.
    let is_float = matches!(literal, Scalar::Float32(_) | Scalar::Float64(_));
    let (Some(with_min), Some(with_max)) = (compare(literal, min), compare(literal, max)) else { return true };
    match operator {
        Comparison::Equal => with_min.is_ge() && with_max.is_le(),
        Comparison::NotEqual => is_float || with_min != Ordering::Equal || with_max != Ordering::Equal,
        Comparison::Less => with_min.is_gt(),
        Comparison::LessOrEqual => with_min.is_ge(),
        Comparison::Greater => is_float || with_max.is_lt(),
        Comparison::GreaterOrEqual => is_float || with_max.is_le(),
        Comparison::Distinct | Comparison::NotDistinct => true,
    }
}

/// How the keys of a row group relate to a runtime filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// No row can pass.
    None,
    /// Rows must be tested.
    Some,
    /// Every row passes, but for NULLs.
    All,
}

/// How a row group with these bounds relates to `filter`.
pub fn overlap(filter: &RuntimeFilter, bounds: &Bounds) -> Overlap {
    if filter.min > filter.max || *bounds == Bounds::AllNull {
        return Overlap::None;
    }
    let Bounds::Between(min, max) = bounds else { return Overlap::Some };
    let (Some(min), Some(max)) = (as_integer(min), as_integer(max)) else { return Overlap::Some };
    if !filter.overlaps(min, max) {
        return Overlap::None;
    }
    if matches!(filter.members, Members::Unknown) && filter.min <= min && max <= filter.max { Overlap::All } else { Overlap::Some }
}
