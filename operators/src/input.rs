//! What an aggregation or a sort reads of its input: each expression once, whoever asks for it.

use arrow::{array::ArrayRef, datatypes::DataType};
use pipelines::Batch;

use crate::{Error, Expression, Result};

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
    pub(crate) fn data_type(&self, index: usize) -> Result<DataType> {
        match &self.expressions[index] {
            Expression::Column { data_type, .. } => Ok(data_type.clone()),
            Expression::Literal(value) => Ok(value.data_type()),
            other => Err(Error::Internal(format!("{other:?} is not evaluated yet"))),
        }
    }

    /// One chain's evaluation of all inputs.
    pub(crate) fn evaluator(&self) -> InputEvaluator {
        InputEvaluator { expressions: self.expressions.clone() }
    }
}

/// Computes the inputs of batches.
pub(crate) struct InputEvaluator {
    expressions: Vec<Expression>,
}

impl InputEvaluator {
    /// One column per input, in the order of their numbers.
    pub(crate) fn evaluate(&mut self, batch: &Batch) -> Result<Vec<ArrayRef>> {
        let column = |expression: &Expression| match expression {
            Expression::Column { index, .. } => Ok(batch.column(*index).clone()),
            other => Err(Error::Internal(format!("{other:?} is not evaluated yet"))),
        };
        self.expressions.iter().map(column).collect()
    }
}
