//! AND, OR, NOT, IS NULL, CASE and COALESCE, in three-valued logic: the value stays the same, NULL included.

use operators::{
    Scalar,
    expression::{Comparison, ScalarFunction},
};

use super::{Facts, constants};
use crate::plan::logical::Expr;

pub(super) fn simplify(expr: Expr, facts: Facts<'_>) -> Expr {
    match expr {
        Expr::And(operands) => and(operands),
        Expr::Or(operands) => or(operands),
        Expr::Not(operand) => not(*operand),
        Expr::IsNull(operand) if !facts.may_be_null(&operand) && !operand.can_fail() => Expr::boolean(false),
        Expr::Case { branches, otherwise, data_type } => {
            let mut kept = vec![];
            let mut last = otherwise;
            for (condition, value) in branches {
                if condition.is_true() {
                    last = Some(Box::new(value));
                    break;
                }
                if !condition.is_never_true() {
                    kept.push((condition, value));
                }
            }
            match (kept.is_empty(), last) {
                (true, Some(value)) => *value,
                (true, None) => Expr::Literal(Scalar::Null(data_type)),
                (false, otherwise) => Expr::Case { branches: kept, otherwise, data_type },
            }
        }
        Expr::Function(ScalarFunction::Coalesce, arguments, data_type) => {
            let mut kept: Vec<Expr> = vec![];
            for argument in arguments {
                if matches!(argument, Expr::Literal(Scalar::Null(_))) || kept.contains(&argument) {
                    continue;
                }
                let ends = !facts.may_be_null(&argument);
                kept.push(argument);
                if ends {
                    break;
                }
            }
            match kept.len() {
                0 => Expr::Literal(Scalar::Null(data_type)),
                1 => kept.remove(0),
                _ => Expr::Function(ScalarFunction::Coalesce, kept, data_type),
            }
        }
        other => other,
    }
}

fn and(operands: Vec<Expr>) -> Expr {
    let mut kept: Vec<Expr> = vec![];
    for operand in operands.into_iter().flat_map(Expr::into_conjuncts) {
        if matches!(operand, Expr::Literal(Scalar::Boolean(false))) {
            return operand;
        }
        if !operand.is_true() && !kept.contains(&operand) {
            kept.push(operand);
        }
    }
    Expr::and(kept)
}

fn or(operands: Vec<Expr>) -> Expr {
    let mut kept: Vec<Expr> = vec![];
    for operand in operands.into_iter().flat_map(Expr::into_alternatives) {
        if operand.is_true() {
            return operand;
        }
        if !matches!(operand, Expr::Literal(Scalar::Boolean(false))) && !kept.contains(&operand) {
            kept.push(operand);
        }
    }
    Expr::or(merge_equalities(kept))
}

/// `x = 1 or x in (2, 3)` is `x in (1, 2, 3)`, NULLs included.
fn merge_equalities(alternatives: Vec<Expr>) -> Vec<Expr> {
    let mut merged: Vec<Expr> = vec![];
    for alternative in alternatives {
        let Some((operand, list)) = as_list(&alternative) else {
            merged.push(alternative);
            continue;
        };
        let known = merged.iter_mut().find(|other| as_list(other).is_some_and(|(known, _)| known == operand));
        match known {
            Some(other) => {
                let mut all = as_list(other).map(|(_, list)| list).unwrap_or_default();
                list.into_iter().for_each(|value| {
                    if !all.contains(&value) {
                        all.push(value);
                    }
                });
                *other = Expr::InList { operand: Box::new(operand.clone()), list: all };
            }
            None => merged.push(alternative),
        }
    }
    merged
}

fn as_list(expr: &Expr) -> Option<(&Expr, Vec<Scalar>)> {
    match expr {
        Expr::Compare(Comparison::Equal, operand, value) => match &**value {
            Expr::Literal(value) if !operand.is_constant() => Some((operand, vec![value.clone()])),
            _ => None,
        },
        Expr::InList { operand, list } => Some((operand, list.clone())),
        _ => None,
    }
}

fn not(operand: Expr) -> Expr {
    match operand {
        Expr::Not(operand) => *operand,
        Expr::Literal(Scalar::Null(_)) => constants::unknown(),
        Expr::Compare(comparison, left, right) => Expr::Compare(negated(comparison), left, right),
        Expr::And(operands) => or(operands.into_iter().map(not).collect()),
        Expr::Or(operands) => and(operands.into_iter().map(not).collect()),
        other => Expr::not(other),
    }
}

/// The comparison that is true where this one is false; both are NULL where one is.
fn negated(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
        Comparison::Distinct => Comparison::NotDistinct,
        Comparison::NotDistinct => Comparison::Distinct,
    }
}
