//! What an aggregation or a sort reads of its input: each expression once, whoever asks for it.

use arrow::{array::ArrayRef, datatypes::DataType};
use pipelines::Batch;

use crate::{Expression, Result, expression::Evaluator};

/// Expressions over the input, numbered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inputs {
    expressions: Vec<Expression>,
}

impl Inputs {
    /// The number of `expression`, which is added unless it is there.
    pub(crate) fn add(&mut self, expression: &Expression) -> usize {
        self.expressions.iter().position(|known| known == expression).unwrap_or_else(|| {
            self.expressions.push(expression.clone());
            self.expressions.len() - 1
        })
    }

    /// The type of input `index`.
    pub(crate) fn data_type(&self, index: usize) -> DataType {
        self.expressions[index].data_type()
    }

    /// One chain's evaluation of all inputs.
    pub(crate) fn evaluator(&self) -> InputEvaluator {
        let column = |expression: &Expression| match expression {
            Expression::Column { index, .. } => Some(*index),
            _ => None,
        };
        match self.expressions.iter().map(column).collect() {
            Some(columns) => InputEvaluator::Columns(columns),
            None => InputEvaluator::Expressions(Box::new(Evaluator::new(self.expressions.clone()))),
        }
    }
}

/// Computes the inputs of batches.
pub(crate) enum InputEvaluator {
    /// Columns of the batch as they are.
    Columns(Vec<usize>),
    /// Anything.
    Expressions(Box<Evaluator>),
}

impl InputEvaluator {
    /// One column per input, in the order of their numbers.
    pub(crate) fn evaluate(&mut self, batch: &Batch) -> Result<Vec<ArrayRef>> {
        match self {
            InputEvaluator::Columns(columns) => Ok(columns.iter().map(|index| batch.column(*index).clone()).collect()),
            InputEvaluator::Expressions(evaluator) => evaluator.evaluate(batch),
        }
    }
}
