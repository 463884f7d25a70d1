//! Expressions over constants alone become constants.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use operators::{
    Expression, Scalar,
    expression::{Comparison, evaluate_constant},
};

use super::Facts;
use crate::plan::logical::Expr;

/// The constant that `expr` is, if it is one and its evaluation does not fail.
pub(super) fn fold(expr: Expr, facts: Facts<'_>) -> Expr {
    if matches!(expr, Expr::Literal(_) | Expr::Column(_) | Expr::Subquery(_)) {
        return expr;
    }
    if is_null(&expr) {
        return Expr::Literal(Scalar::Null(expr.data_type(facts.columns)));
    }
    let mut all_literals = true;
    expr.for_each_child(|child| all_literals = all_literals && matches!(child, Expr::Literal(_)));
    if !all_literals {
        return expr;
    }
    match evaluate(&expr) {
        Some(value) if value.is_null() => Expr::Literal(Scalar::Null(expr.data_type(facts.columns))),
        Some(value) if value.data_type() == expr.data_type(facts.columns) => Expr::Literal(value),
        _ => expr,
    }
}

/// Whether an operand that is NULL makes it NULL.
fn is_null(expr: &Expr) -> bool {
    let null = |e: &Expr| matches!(e, Expr::Literal(Scalar::Null(_)));
    match expr {
        Expr::Compare(Comparison::Distinct | Comparison::NotDistinct, ..) => false,
        Expr::Compare(_, left, right) => null(left) || null(right),
        Expr::Arithmetic(_, left, right, _) => null(left) || null(right),
        Expr::Not(operand) | Expr::Negate(operand) | Expr::Cast(operand, _) => null(operand),
        Expr::Like { operand, pattern, .. } => null(operand) || null(pattern),
        Expr::InList { operand, .. } => null(operand),
        _ => false,
    }
}

/// The value of an expression over literals; `None` where its evaluation fails.
fn evaluate(expr: &Expr) -> Option<Scalar> {
    evaluate_constant(&of_constants(expr)?).ok()
}

/// `expr` for the operators to evaluate; `None` if it is none over constants.
fn of_constants(expr: &Expr) -> Option<Expression> {
    let boxed = |e: &Expr| of_constants(e).map(Box::new);
    let all = |exprs: &[Expr]| exprs.iter().map(of_constants).collect::<Option<Vec<_>>>();
    Some(match expr {
        Expr::Column(_) | Expr::Subquery(_) => return None,
        Expr::Literal(value) => Expression::Literal(value.clone()),
        Expr::Compare(operator, left, right) => Expression::Compare { operator: *operator, left: boxed(left)?, right: boxed(right)? },
        Expr::And(operands) => Expression::And(all(operands)?),
        Expr::Or(operands) => Expression::Or(all(operands)?),
        Expr::Not(operand) => Expression::Not(boxed(operand)?),
        Expr::IsNull(operand) => Expression::IsNull(boxed(operand)?),
        Expr::Arithmetic(operator, left, right, data_type) => {
            Expression::Arithmetic { operator: *operator, left: boxed(left)?, right: boxed(right)?, data_type: data_type.clone() }
        }
        Expr::Negate(operand) => Expression::Negate(boxed(operand)?),
        Expr::Cast(operand, data_type) => Expression::Cast { operand: boxed(operand)?, data_type: data_type.clone() },
        Expr::Case { branches, otherwise, data_type } => Expression::Case {
            branches: branches.iter().map(|(c, v)| Some((of_constants(c)?, of_constants(v)?))).collect::<Option<Vec<_>>>()?,
            otherwise: match otherwise {
                Some(value) => Some(boxed(value)?),
                None => None,
            },
            data_type: data_type.clone(),
        },
        Expr::Like { operand, pattern, escape, case_insensitive } => {
            Expression::Like { operand: boxed(operand)?, pattern: boxed(pattern)?, escape: *escape, case_insensitive: *case_insensitive }
        }
        Expr::InList { operand, list } => Expression::InList { operand: boxed(operand)?, list: list.clone() },
        Expr::Function(function, arguments, data_type) => {
            Expression::Function { function: *function, arguments: all(arguments)?, data_type: data_type.clone() }
        }
    })
}

/// Whether a comparison of two constants holds; `None` where it is NULL or the types have no order here.
pub(super) fn compare(comparison: Comparison, left: &Scalar, right: &Scalar) -> Option<bool> {
    let order = match (left.is_null(), right.is_null()) {
        (true, true) => {
            return (matches!(comparison, Comparison::Distinct | Comparison::NotDistinct)).then_some(comparison == Comparison::NotDistinct);
        }
        (true, false) | (false, true) => {
            return (matches!(comparison, Comparison::Distinct | Comparison::NotDistinct)).then_some(comparison == Comparison::Distinct);
        }
        (false, false) => order(left, right)?,
    };
    Some(match comparison {
        Comparison::Equal | Comparison::NotDistinct => order.is_eq(),
        Comparison::NotEqual | Comparison::Distinct => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}

/// The order of two constants of one type. Floats are left out: their zeros and NaN need the operators' rules.
pub(super) fn order(left: &Scalar, right: &Scalar) -> Option<Ordering> {
    use Scalar::*;
    Some(match (left, right) {
        (Boolean(l), Boolean(r)) => l.cmp(r),
        (Int16(l), Int16(r)) => l.cmp(r),
        (Int32(l), Int32(r)) | (Date32(l), Date32(r)) => l.cmp(r),
        (Int64(l), Int64(r)) | (Timestamp(l), Timestamp(r)) | (TimestampTz(l), TimestampTz(r)) | (Time(l), Time(r)) => l.cmp(r),
        (Decimal(l, _, left_scale), Decimal(r, _, right_scale)) if left_scale == right_scale => l.cmp(r),
        (Utf8(l), Utf8(r)) => l.as_bytes().cmp(r.as_bytes()),
        (Binary(l), Binary(r)) => l.cmp(r),
        _ => return None,
    })
}

/// NULL as a condition.
pub(super) fn unknown() -> Expr {
    Expr::Literal(Scalar::Null(DataType::Boolean))
}
