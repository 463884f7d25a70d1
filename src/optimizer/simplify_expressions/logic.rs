//! AND, OR, NOT, IS NULL, CASE and COALESCE, in three-valued logic: the value stays the same, NULL included.

use operators::{
    Scalar,
    expression::{Comparison, ScalarFunction},
};

use super::{Facts, constants};
use crate::plan::{
    logical::Expr,
    rewrite::{COMPARED_MAX, add_new},
};

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
        if !operand.is_true() {
            add_new(&mut kept, operand);
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
        if !matches!(operand, Expr::Literal(Scalar::Boolean(false))) {
            add_new(&mut kept, operand);
        }
    }
    Expr::or(merge_equalities(kept))
}

/// `x = 1 or x in (2, 3)` is `x in (1, 2, 3)`, NULLs included.
fn merge_equalities(alternatives: Vec<Expr>) -> Vec<Expr> {
    // Lists take the place of the first alternative that tests their operand.
    let mut merged: Vec<Result<Expr, (Expr, Vec<Scalar>)>> = vec![];
    for alternative in alternatives {
        let (operand, list) = match into_list(alternative) {
            Ok(list) => list,
            Err(other) => {
                merged.push(Ok(other));
                continue;
            }
        };
        let searched = merged.iter_mut().take(COMPARED_MAX);
        match searched.filter_map(|known| known.as_mut().err()).find(|(known, _)| *known == operand) {
            Some((_, known)) => known.extend(list),
            None => merged.push(Err((operand, list))),
        }
    }
    merged.into_iter().map(|known| known.unwrap_or_else(|(operand, list)| from_list(operand, list))).collect()
}

/// The operand and the constants it is compared with, if `expr` is IN or an equality with a constant.
fn into_list(expr: Expr) -> Result<(Expr, Vec<Scalar>), Expr> {
    match expr {
        Expr::Compare(Comparison::Equal, operand, value) => match (*operand, *value) {
            (operand, Expr::Literal(value)) if !operand.is_constant() => Ok((operand, vec![value])),
            (operand, value) => Err(Expr::equal(operand, value)),
        },
        Expr::InList { operand, list } => Ok((*operand, list)),
        other => Err(other),
    }
}

fn from_list(operand: Expr, mut list: Vec<Scalar>) -> Expr {
    if list.len() <= COMPARED_MAX {
        let mut distinct: Vec<Scalar> = vec![];
        for value in list {
            if !distinct.contains(&value) {
                distinct.push(value);
            }
        }
        list = distinct;
    }
    match list.as_slice() {
        [value] => Expr::equal(operand, Expr::Literal(value.clone())),
        _ => Expr::InList { operand: Box::new(operand), list },
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
