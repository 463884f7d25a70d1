//! Expressions over constants alone become constants.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use operators::{Scalar, expression::Comparison};

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

/// The value of an expression over literals.
fn evaluate(expr: &Expr) -> Option<Scalar> {
    match expr {
        Expr::Compare(comparison, left, right) => match (&**left, &**right) {
            (Expr::Literal(left), Expr::Literal(right)) => compare(*comparison, left, right).map(Scalar::Boolean),
            _ => None,
        },
        Expr::Not(operand) => match **operand {
            Expr::Literal(Scalar::Boolean(value)) => Some(Scalar::Boolean(!value)),
            _ => None,
        },
        Expr::IsNull(operand) => match &**operand {
            Expr::Literal(value) => Some(Scalar::Boolean(value.is_null())),
            _ => None,
        },
        _ => None,
    }
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
