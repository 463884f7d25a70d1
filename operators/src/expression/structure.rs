//! What can be asked of an expression without evaluating it: its type, its columns, its children.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;

use super::{Arithmetic, Expression, cast, functions};
use crate::Scalar;

impl Expression {
    /// Column `index`.
    pub fn column(index: usize, data_type: DataType) -> Self {
        Expression::Column { index, data_type }
    }

    /// The physical type of its values.
    pub fn data_type(&self) -> DataType {
        match self {
            Expression::Column { data_type, .. }
            | Expression::Arithmetic { data_type, .. }
            | Expression::Cast { data_type, .. }
            | Expression::Case { data_type, .. }
            | Expression::Function { data_type, .. } => data_type.clone(),
            Expression::Literal(scalar) => scalar.data_type(),
            Expression::Negate(operand) => operand.data_type(),
            Expression::Compare { .. }
            | Expression::And(_)
            | Expression::Or(_)
            | Expression::Not(_)
            | Expression::IsNull(_)
            | Expression::Like { .. }
            | Expression::InList { .. } => DataType::Boolean,
        }
    }

    /// Calls `visit` on every direct operand, in order.
    pub fn for_each_child<'a>(&'a self, mut visit: impl FnMut(&'a Expression)) {
        match self {
            Expression::Column { .. } | Expression::Literal(_) => {}
            Expression::Compare { left, right, .. } | Expression::Arithmetic { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Expression::And(operands) | Expression::Or(operands) | Expression::Function { arguments: operands, .. } => {
                operands.iter().for_each(visit);
            }
            Expression::Not(operand)
            | Expression::IsNull(operand)
            | Expression::Negate(operand)
            | Expression::Cast { operand, .. }
            | Expression::InList { operand, .. } => visit(operand),
            Expression::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    visit(condition);
                    visit(value);
                }
                otherwise.iter().for_each(|e| visit(e));
            }
            Expression::Like { operand, pattern, .. } => {
                visit(operand);
                visit(pattern);
            }
        }
    }

    /// Calls `visit` on every direct operand, to change it.
    pub fn for_each_child_mut(&mut self, mut visit: impl FnMut(&mut Expression)) {
        match self {
            Expression::Column { .. } | Expression::Literal(_) => {}
            Expression::Compare { left, right, .. } | Expression::Arithmetic { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Expression::And(operands) | Expression::Or(operands) | Expression::Function { arguments: operands, .. } => {
                operands.iter_mut().for_each(visit);
            }
            Expression::Not(operand)
            | Expression::IsNull(operand)
            | Expression::Negate(operand)
            | Expression::Cast { operand, .. }
            | Expression::InList { operand, .. } => visit(operand),
            Expression::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    visit(condition);
                    visit(value);
                }
                otherwise.iter_mut().for_each(|e| visit(e));
            }
            Expression::Like { operand, pattern, .. } => {
                visit(operand);
                visit(pattern);
            }
        }
    }

    /// Positions of all columns it uses.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut used = BTreeSet::new();
        let mut pending = vec![self];
        while let Some(expression) = pending.pop() {
            if let Expression::Column { index, .. } = expression {
                used.insert(*index);
            }
            expression.for_each_child(|child| pending.push(child));
        }
        used
    }

    /// Moves every column: position `i` becomes `new_index(i)`.
    pub fn remap_columns(&mut self, new_index: &impl Fn(usize) -> usize) {
        if let Expression::Column { index, .. } = self {
            *index = new_index(*index);
        }
        self.for_each_child_mut(|child| child.remap_columns(new_index));
    }

    /// Whether it uses no column. (No function is volatile.)
    pub fn is_constant(&self) -> bool {
        let mut pending = vec![self];
        while let Some(expression) = pending.pop() {
            if matches!(expression, Expression::Column { .. }) {
                return false;
            }
            expression.for_each_child(|child| pending.push(child));
        }
        true
    }

    /// Whether computing it for rows that nobody asked for may raise an error: divisions, casts that parse,
    /// functions with a domain. Overflow of sums and products is not counted, or nearly nothing could be
    /// moved; the evaluator itself never reports one for a row that a CASE or AND keeps away.
    pub fn can_fail(&self) -> bool {
        let mut pending = vec![self];
        while let Some(expression) = pending.pop() {
            if expression.can_fail_itself() {
                return true;
            }
            expression.for_each_child(|child| pending.push(child));
        }
        false
    }

    fn can_fail_itself(&self) -> bool {
        match self {
            Expression::Arithmetic { operator: Arithmetic::Divide | Arithmetic::Modulo, right, .. } => match right.as_ref() {
                Expression::Literal(divisor) => divisor.is_zero(),
                _ => true,
            },
            Expression::Cast { operand, data_type } => cast::can_fail(&operand.data_type(), data_type),
            Expression::Like { pattern, .. } => !matches!(pattern.as_ref(), Expression::Literal(_)),
            Expression::Function { function, .. } => functions::can_fail(*function),
            _ => false,
        }
    }
}

impl From<Scalar> for Expression {
    fn from(scalar: Scalar) -> Self {
        Expression::Literal(scalar)
    }
}
