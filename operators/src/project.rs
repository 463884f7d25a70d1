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
