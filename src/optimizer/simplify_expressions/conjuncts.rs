//! Conditions, of which only TRUE counts: what all conjuncts together say of one column.

use std::collections::BTreeSet;

use operators::{
    Scalar,
    expression::{Comparison, ScalarFunction},
};

use super::{Facts, constants};
use crate::plan::{
    logical::Expr,
    rewrite::{COMPARED_MAX, add_new},
};

/// Conjuncts that are all true for the same rows; `None` if there is no such row.
pub(super) fn simplify(conjuncts: Vec<Expr>, facts: Facts<'_>) -> Option<Vec<Expr>> {
    let mut kept: Vec<Expr> = vec![];
    for conjunct in conjuncts.into_iter().flat_map(Expr::into_conjuncts).map(|e| condition(e, facts)).flat_map(Expr::into_conjuncts) {
        if conjunct.is_never_true() {
            return None;
        }
        if !conjunct.is_true() {
            add_new(&mut kept, conjunct);
        }
    }
    if kept.len() > COMPARED_MAX {
        return Some(kept);
    }
    let kept = combine(kept)?;
    Some(without_implied_null_tests(kept))
}

/// An expression that is true for the same rows, be it NULL or FALSE for others.
fn condition(expr: Expr, facts: Facts<'_>) -> Expr {
    match expr {
        Expr::Or(alternatives) => {
            let alternatives = alternatives.into_iter().map(|e| condition(e, facts));
            let mut kept: Vec<Expr> = vec![];
            for alternative in alternatives.filter(|alternative| !alternative.is_never_true()) {
                if alternative.is_true() {
                    return alternative;
                }
                kept.push(alternative);
            }
            Expr::or(kept)
        }
        Expr::And(conjuncts) => match simplify(conjuncts, facts) {
            Some(conjuncts) => Expr::and(conjuncts),
            None => Expr::boolean(false),
        },
        Expr::Function(ScalarFunction::Coalesce, mut arguments, _) if arguments.len() == 2 && arguments[1].is_never_true() => {
            condition(arguments.swap_remove(0), facts)
        }
        Expr::Not(operand) => match *operand {
            // A function that is never NULL: what it is not is FALSE.
            Expr::Function(ScalarFunction::Coalesce, mut arguments, _) if arguments.len() == 2 && arguments[1].is_true() => {
                condition(Expr::not(arguments.swap_remove(0)), facts)
            }
            operand => Expr::not(operand),
        },
        Expr::Compare(Comparison::Equal, left, right) if left == right && !left.can_fail() && !left.has_subquery() => {
            Expr::is_not_null(*left)
        }
        other => other,
    }
}

/// Combines comparisons of the same operand with constants: the narrowest range, the common values.
fn combine(conjuncts: Vec<Expr>) -> Option<Vec<Expr>> {
    let mut kept: Vec<Expr> = vec![];
    for conjunct in conjuncts {
        let mut conjunct = Some(conjunct);
        for known in &mut kept {
            match conjunct.as_ref().map_or(Both::Needed, |new| both(known, new)) {
                Both::Needed => {}
                Both::Are(expr) => {
                    *known = expr;
                    conjunct = None;
                }
                Both::Never => return None,
            }
        }
        if let Some(conjunct) = conjunct
            && !kept.contains(&conjunct)
        {
            kept.push(conjunct);
        }
    }
    Some(kept)
}

/// What two conjuncts are together.
enum Both {
    Needed,
    Are(Expr),
    Never,
}

fn both(first: &Expr, second: &Expr) -> Both {
    use Comparison::*;
    match (as_comparison(first), as_comparison(second)) {
        (Some((x, a, first_value)), Some((y, b, second_value))) if x == y => {
            let Some(order) = constants::order(first_value, second_value) else { return Both::Needed };
            let keep = |keep_first: bool| Both::Are(if keep_first { first.clone() } else { second.clone() });
            match (a, b) {
                (Equal, _) => {
                    if constants::compare(b, first_value, second_value) == Some(true) {
                        keep(true)
                    } else {
                        Both::Never
                    }
                }
                (_, Equal) => {
                    if constants::compare(a, second_value, first_value) == Some(true) {
                        keep(false)
                    } else {
                        Both::Never
                    }
                }
                (Less | LessOrEqual, Less | LessOrEqual) => keep(order.is_lt() || (order.is_eq() && a == Less)),
                (Greater | GreaterOrEqual, Greater | GreaterOrEqual) => keep(order.is_gt() || (order.is_eq() && a == Greater)),
                (Less | LessOrEqual, Greater | GreaterOrEqual) if order.is_lt() => Both::Never,
                (Greater | GreaterOrEqual, Less | LessOrEqual) if order.is_gt() => Both::Never,
                (Less, Greater | GreaterOrEqual) | (LessOrEqual, Greater) if order.is_eq() => Both::Never,
                (Greater, Less | LessOrEqual) | (GreaterOrEqual, Less) if order.is_eq() => Both::Never,
                _ => Both::Needed,
            }
        }
        _ => match (values_of(first), values_of(second)) {
            (Some((x, list)), _) if tests_only(second, x) => passing(x, list, second),
            (_, Some((y, list))) if tests_only(first, y) => passing(y, list, first),
            _ => Both::Needed,
        },
    }
}

fn as_comparison(expr: &Expr) -> Option<(&Expr, Comparison, &Scalar)> {
    match expr {
        Expr::Compare(comparison, operand, value) if !matches!(comparison, Comparison::Distinct | Comparison::NotDistinct) => {
            match &**value {
                Expr::Literal(value) if !operand.is_constant() => Some((operand, *comparison, value)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn values_of(expr: &Expr) -> Option<(&Expr, &[Scalar])> {
    match expr {
        Expr::InList { operand, list } => Some((operand, list)),
        _ => None,
    }
}

/// Whether `expr` is a comparison or IN of `operand` with constants.
fn tests_only(expr: &Expr, operand: &Expr) -> bool {
    as_comparison(expr).is_some_and(|(x, ..)| x == operand) || values_of(expr).is_some_and(|(x, _)| x == operand)
}

/// `operand in (list)` and `test` together: the values that pass it.
fn passing(operand: &Expr, list: &[Scalar], test: &Expr) -> Both {
    let passes = |value: &Scalar| match (as_comparison(test), values_of(test)) {
        _ if value.is_null() => Some(false),
        (Some((_, comparison, constant)), _) => constants::compare(comparison, value, constant),
        (_, Some((_, others))) => {
            let known = others.iter().filter(|other| !other.is_null());
            let orders: Option<Vec<_>> = known.map(|other| constants::order(value, other)).collect();
            Some(orders?.into_iter().any(|order| order.is_eq()))
        }
        _ => None,
    };
    let mut kept = vec![];
    for value in list {
        match passes(value) {
            Some(true) => kept.push(value.clone()),
            Some(false) => {}
            None => return Both::Needed,
        }
    }
    match kept.len() {
        0 => Both::Never,
        1 => Both::Are(Expr::equal(operand.clone(), Expr::Literal(kept.remove(0)))),
        _ => Both::Are(Expr::InList { operand: Box::new(operand.clone()), list: kept }),
    }
}

/// `x is not null` says nothing new beside a conjunct that is never true for NULL.
fn without_implied_null_tests(conjuncts: Vec<Expr>) -> Vec<Expr> {
    let tested = |conjunct: &Expr| match conjunct {
        Expr::Not(operand) => match &**operand {
            Expr::IsNull(operand) => operand.as_column(),
            _ => None,
        },
        _ => None,
    };
    let is_implied = |conjunct: &Expr| {
        tested(conjunct).is_some_and(|id| {
            let nulls = BTreeSet::from([id]);
            conjuncts.iter().any(|other| tested(other).is_none() && !other.has_subquery() && other.rejects_nulls_of(&nulls))
        })
    };
    let implied: Vec<bool> = conjuncts.iter().map(is_implied).collect();
    conjuncts.into_iter().zip(implied).filter(|(_, implied)| !implied).map(|(conjunct, _)| conjunct).collect()
}
