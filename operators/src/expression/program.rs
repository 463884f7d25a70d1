//! Expressions compiled for evaluation: a list of nodes in which equal subexpressions are one, constants are
//! folded, and what can be prepared once (patterns, IN lists) is.

use std::{collections::HashMap, fmt::Debug};

use arrow::datatypes::DataType;

use super::{
    Arithmetic, Comparison, Expression, ScalarFunction, cast, evaluator, functions,
    in_list::InSet,
    like::{LikeOptions, Matcher},
};
use crate::{Result, Scalar};

/// Position of a node; its inputs have smaller ones.
pub(crate) type NodeId = usize;

#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) nodes: Vec<Node>,
    known: HashMap<String, NodeId>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) operation: Operation,
    pub(crate) data_type: DataType,
    /// The node of the one text column it depends on, if it depends on no other: it can be computed once per
    /// dictionary entry.
    pub(crate) text_column: Option<NodeId>,
    /// Whether evaluating it for rows that nobody asked for may raise an error (overflow aside).
    pub(crate) can_fail: bool,
    /// Rough nanoseconds per row, with everything below.
    pub(crate) cost: f32,
    /// Used more than once: its value is kept while a batch is evaluated.
    pub(crate) shared: bool,
    columns: Columns,
}

/// Which columns a node depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Columns {
    None,
    One(NodeId),
    Many,
}

impl Columns {
    fn and(self, other: Columns) -> Columns {
        match (self, other) {
            (Columns::None, any) | (any, Columns::None) => any,
            (Columns::One(l), Columns::One(r)) if l == r => Columns::One(l),
            _ => Columns::Many,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Operation {
    Column(usize),
    Constant(Scalar),
    Compare(Comparison, NodeId, NodeId),
    And(Vec<NodeId>),
    Or(Vec<NodeId>),
    Not(NodeId),
    IsNull(NodeId),
    Arithmetic(Arithmetic, NodeId, NodeId),
    Negate(NodeId),
    Cast(NodeId),
    Case(Vec<(NodeId, NodeId)>, Option<NodeId>),
    /// The matcher if the pattern is constant (and why it is none, if it is bad).
    Like(NodeId, NodeId, LikeOptions, Option<Result<Matcher>>),
    InList(NodeId, InSet),
    Function(ScalarFunction, Vec<NodeId>),
}

impl Operation {
    /// How many values it is computed from.
    pub(crate) fn num_inputs(&self) -> usize {
        let mut count = 0;
        self.for_each_input(|_| count += 1);
        count
    }

    /// Calls `visit` on every input.
    pub(crate) fn for_each_input(&self, mut visit: impl FnMut(NodeId)) {
        match self {
            Operation::Column(_) | Operation::Constant(_) => {}
            Operation::Compare(_, left, right) | Operation::Arithmetic(_, left, right) | Operation::Like(left, right, ..) => {
                visit(*left);
                visit(*right);
            }
            Operation::And(inputs) | Operation::Or(inputs) | Operation::Function(_, inputs) => {
                inputs.iter().copied().for_each(visit);
            }
            Operation::Not(input)
            | Operation::IsNull(input)
            | Operation::Negate(input)
            | Operation::Cast(input)
            | Operation::InList(input, _) => visit(*input),
            Operation::Case(branches, otherwise) => {
                for (condition, value) in branches {
                    visit(*condition);
                    visit(*value);
                }
                otherwise.iter().copied().for_each(visit);
            }
        }
    }
}

/// Longest IN list that is compared with others to find a common subexpression.
const COMPARED_LIST_MAX: usize = 64;

impl Program {
    /// Adds an expression; returns the node of its value.
    pub(crate) fn add(&mut self, expression: &Expression) -> NodeId {
        let data_type = expression.data_type();
        match expression {
            Expression::Column { index, .. } => self.node(Operation::Column(*index), data_type, Some(index)),
            Expression::Literal(scalar) => self.node(Operation::Constant(scalar.clone()), data_type, Some(scalar)),
            Expression::Compare { operator, left, right } => {
                let (left, right) = (self.add(left), self.add(right));
                self.node(Operation::Compare(*operator, left, right), data_type, Some((operator, left, right)))
            }
            Expression::And(operands) => {
                let inputs = self.add_all(operands);
                let key = ("and", inputs.clone());
                self.node(Operation::And(inputs), data_type, Some(key))
            }
            Expression::Or(operands) => {
                let inputs = self.add_all(operands);
                let key = ("or", inputs.clone());
                self.node(Operation::Or(inputs), data_type, Some(key))
            }
            Expression::Not(operand) => {
                let input = self.add(operand);
                self.node(Operation::Not(input), data_type, Some(("not", input)))
            }
            Expression::IsNull(operand) => {
                let input = self.add(operand);
                self.node(Operation::IsNull(input), data_type, Some(("is null", input)))
            }
            Expression::Arithmetic { operator, left, right, data_type } => {
                let (left, right) = (self.add(left), self.add(right));
                let key = (operator, left, right, data_type);
                self.node(Operation::Arithmetic(*operator, left, right), data_type.clone(), Some(key))
            }
            Expression::Negate(operand) => {
                let input = self.add(operand);
                self.node(Operation::Negate(input), data_type, Some(("negate", input)))
            }
            Expression::Cast { operand, data_type } => {
                let input = self.add(operand);
                self.node(Operation::Cast(input), data_type.clone(), Some(("cast", input, data_type)))
            }
            Expression::Case { branches, otherwise, .. } => {
                let branches: Vec<_> = branches.iter().map(|(c, v)| (self.add(c), self.add(v))).collect();
                let otherwise = otherwise.as_ref().map(|e| self.add(e));
                let key = ("case", branches.clone(), otherwise, data_type.clone());
                self.node(Operation::Case(branches, otherwise), data_type, Some(key))
            }
            Expression::Like { operand, pattern, escape, case_insensitive } => {
                let (input, pattern) = (self.add(operand), self.add(pattern));
                let options = LikeOptions { escape: *escape, case_insensitive: *case_insensitive };
                let matcher = match &self.nodes[pattern].operation {
                    Operation::Constant(Scalar::Utf8(text)) => Some(Matcher::new(text, options)),
                    _ => None,
                };
                let key = ("like", input, pattern, escape, case_insensitive);
                self.node(Operation::Like(input, pattern, options, matcher), data_type, Some(key))
            }
            Expression::InList { operand, list } => {
                let input = self.add(operand);
                let key = (list.len() <= COMPARED_LIST_MAX).then_some(("in", input, list));
                self.node(Operation::InList(input, InSet::new(list)), data_type, key)
            }
            Expression::Function { function, arguments, data_type } => {
                let inputs = self.add_all(arguments);
                let key = (function, inputs.clone(), data_type);
                self.node(Operation::Function(*function, inputs), data_type.clone(), Some(key))
            }
        }
    }

    fn add_all(&mut self, expressions: &[Expression]) -> Vec<NodeId> {
        expressions.iter().map(|e| self.add(e)).collect()
    }

    /// The node of an operation: an equal one, if `key` (everything that makes it what it is) was seen before.
    fn node(&mut self, operation: Operation, data_type: DataType, key: Option<impl Debug>) -> NodeId {
        let key = key.map(|key| format!("{key:?}"));
        if let Some(&known) = key.as_ref().and_then(|key| self.known.get(key)) {
            self.nodes[known].shared = true;
            return known;
        }
        let (mut columns, mut can_fail, mut cost) = (Columns::None, false, 0.0);
        operation.for_each_input(|input| {
            let input = &self.nodes[input];
            columns = columns.and(input.columns);
            can_fail |= input.can_fail;
            cost += input.cost;
        });
        let id = self.nodes.len();
        if matches!(operation, Operation::Column(_)) {
            columns = Columns::One(id);
        }
        can_fail |= self.can_fail_itself(&operation, &data_type);
        cost += self.own_cost(&operation);
        let text_column = match columns {
            Columns::One(column) if column != id && self.nodes[column].data_type == DataType::Utf8View => Some(column),
            _ => None,
        };
        self.nodes.push(Node { operation, data_type, text_column, can_fail, cost, shared: false, columns });
        self.fold(id);
        if let Some(key) = key {
            self.known.insert(key, id);
        }
        id
    }

    /// Replaces a node without columns by its value. One that fails stays: it fails when a row asks for it.
    fn fold(&mut self, id: NodeId) {
        let node = &self.nodes[id];
        if node.columns != Columns::None || matches!(node.operation, Operation::Constant(_)) {
            return;
        }
        if let Ok(scalar) = evaluator::evaluate_node_once(self, id) {
            let node = &mut self.nodes[id];
            node.operation = Operation::Constant(scalar);
            node.can_fail = false;
            node.cost = 0.0;
        }
    }

    fn can_fail_itself(&self, operation: &Operation, data_type: &DataType) -> bool {
        match operation {
            Operation::Arithmetic(Arithmetic::Divide | Arithmetic::Modulo, _, divisor) => match &self.nodes[*divisor].operation {
                Operation::Constant(divisor) => divisor.is_zero(),
                _ => true,
            },
            Operation::Cast(input) => cast::can_fail(&self.nodes[*input].data_type, data_type),
            Operation::Like(.., matcher) => !matches!(matcher, Some(Ok(_))),
            Operation::Function(function, _) => functions::can_fail(*function),
            _ => false,
        }
    }

    fn own_cost(&self, operation: &Operation) -> f32 {
        let is_text = |id: NodeId| self.nodes[id].data_type == DataType::Utf8View;
        match operation {
            Operation::Column(_) | Operation::Constant(_) => 0.0,
            Operation::Compare(_, left, _) => {
                if is_text(*left) {
                    3.0
                } else {
                    0.2
                }
            }
            Operation::And(inputs) | Operation::Or(inputs) => 0.05 * inputs.len() as f32,
            Operation::Not(_) | Operation::IsNull(_) => 0.05,
            Operation::Arithmetic(operator, ..) => match operator {
                Arithmetic::Divide | Arithmetic::Modulo => 5.0,
                _ => 0.5,
            },
            Operation::Negate(_) => 0.3,
            Operation::Cast(input) => {
                if is_text(*input) {
                    30.0
                } else {
                    1.0
                }
            }
            Operation::Case(branches, _) => 1.0 * branches.len() as f32,
            Operation::Like(..) => 30.0,
            Operation::InList(input, _) => {
                if is_text(*input) {
                    10.0
                } else {
                    1.0
                }
            }
            Operation::Function(..) => 10.0,
        }
    }
}
