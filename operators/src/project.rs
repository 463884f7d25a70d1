//! Computes columns.
//!
//! Position: wherever a plan needs new columns, other ones or another order. References to columns cost nothing.

use std::sync::Arc;

use pipelines::{Batch, Flow, LocalContext, LocalOperator, Operator, Output, Result};

use crate::{Expression, expression::Evaluator};

/// An operator whose output columns are `expressions` over its input's; common parts are computed once.
pub fn project(expressions: Vec<Expression>) -> Arc<dyn Operator> {
    Arc::new(Project { expressions })
}

struct Project {
    expressions: Vec<Expression>,
}

impl Operator for Project {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
        Ok(Box::new(LocalProject { evaluator: Evaluator::new(self.expressions.clone()) }))
    }
}

struct LocalProject {
    evaluator: Evaluator,
}

impl LocalOperator for LocalProject {
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        let columns = self.evaluator.evaluate(&batch)?;
        output.push(Batch::new(columns, batch.num_rows()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, AsArray, Int64Array},
        datatypes::{DataType, Int64Type},
    };
    use pipelines::testing::{batch, run_operator};

    use super::*;
    use crate::{Scalar, expression::Arithmetic};

    #[test]
    fn computes_passes_on_and_repeats_columns() {
        let x = || Expression::column(0, DataType::Int64);
        let doubled =
            Expression::Arithmetic { operator: Arithmetic::Add, left: Box::new(x()), right: Box::new(x()), data_type: DataType::Int64 };
        let input: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let expressions = vec![doubled, x(), x(), Scalar::Int64(7).into()];
        let output = run_operator(project(expressions), vec![batch(vec![input.clone()])]).unwrap().remove(0);
        assert_eq!(output.num_rows(), 3);
        assert_eq!(*output.column(0).as_primitive::<Int64Type>(), Int64Array::from(vec![Some(2), None, Some(6)]));
        assert!(Arc::ptr_eq(output.column(1), &input) && Arc::ptr_eq(output.column(2), &input));
        assert_eq!(*output.column(3).as_primitive::<Int64Type>(), Int64Array::from(vec![7, 7, 7]));
    }

    #[test]
    fn rows_without_columns_keep_their_number() {
        let output = run_operator(project(vec![]), vec![batch(vec![Arc::new(Int64Array::from(vec![1, 2]))])]).unwrap();
        assert_eq!(output.iter().map(Batch::num_rows).sum::<usize>(), 2);
    }
}
