//! Chains of AND, OR and set operations as shallow trees.
//!
//! The parser makes `a AND b AND c AND d` a tree as deep as the chain is long. All these operators are
//! associative, so the same operands in the same order under a balanced tree mean the same, and every later
//! walk is only logarithmically deep.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, SetOperator, SetQuantifier, Statement, Value, ValueWithSpan, Values, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::too_complex;
use crate::error::Result;

/// How many set operations of different kinds may follow each other without parentheses.
const MIXED_SET_OPERATIONS_MAX: usize = 128;

/// Balances every chain of a statement.
///
/// # Errors
/// 54001 for set operations of different kinds in a chain that is too long.
pub fn balance(statement: &mut Statement) -> Result<()> {
    match statement.visit(&mut Balancer) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(too_complex()),
    }
}

struct Balancer;

impl VisitorMut for Balancer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr {
            let op = op.clone();
            let operands = take_operands(expr, &op);
            *expr = join(operands, &mut |left, right| Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        balance_body(&mut query.body, MIXED_SET_OPERATIONS_MAX)
    }
}

fn balance_body(body: &mut SetExpr, levels: usize) -> ControlFlow<()> {
    let SetExpr::SetOperation { op, set_quantifier, .. } = body else { return ControlFlow::Continue(()) };
    if levels == 0 {
        return ControlFlow::Break(());
    }
    let (op, quantifier) = (*op, *set_quantifier);
    if matches!(op, SetOperator::Union | SetOperator::Intersect) {
        let mut operands = take_branches(body, op, quantifier);
        for operand in &mut operands {
            balance_body(operand, levels - 1)?;
        }
        *body = join(operands, &mut |left, right| SetExpr::SetOperation {
            left: Box::new(left),
            op,
            set_quantifier: quantifier,
            right: Box::new(right),
        });
    } else if let SetExpr::SetOperation { left, right, .. } = body {
        balance_body(left, levels - 1)?;
        balance_body(right, levels - 1)?;
    }
    ControlFlow::Continue(())
}

/// The operands of a chain, in order; leaves a constant behind.
fn take_operands(expr: &mut Expr, op: &BinaryOperator) -> Vec<Expr> {
    let placeholder = || Expr::Value(ValueWithSpan { value: Value::Null, span: Span::empty() });
    let mut pending = vec![std::mem::replace(expr, placeholder())];
    let mut operands = vec![];
    while let Some(next) = pending.pop() {
        match next {
            Expr::BinaryOp { left, op: other, right } if other == *op => {
                pending.push(*right);
                pending.push(*left);
            }
            operand => operands.push(operand),
        }
    }
    operands
}

/// The branches of a chain, in order; leaves an empty VALUES behind.
fn take_branches(body: &mut SetExpr, op: SetOperator, quantifier: SetQuantifier) -> Vec<SetExpr> {
    let placeholder = SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: vec![] });
    let mut pending = vec![std::mem::replace(body, placeholder)];
    let mut branches = vec![];
    while let Some(next) = pending.pop() {
        match next {
            SetExpr::SetOperation { left, op: other, set_quantifier, right } if other == op && set_quantifier == quantifier => {
                pending.push(*right);
                pending.push(*left);
            }
            branch => branches.push(branch),
        }
    }
    branches
}

/// A balanced tree over at least one operand.
fn join<T>(mut operands: Vec<T>, combine: &mut impl FnMut(T, T) -> T) -> T {
    while operands.len() > 1 {
        let mut pairs = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => combine(left, right),
                None => left,
            });
        }
        operands = pairs;
    }
    operands.swap_remove(0)
}
