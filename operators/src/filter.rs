//! Keeps the rows for which a predicate is true.
//!
//! Position: above sources that could not apply the predicate themselves, and above joins. Rows that pass are
//! copied together column by column; a batch that passes whole goes on untouched.

use std::sync::Arc;

use arrow::{array::BooleanArray, compute::FilterBuilder};
use pipelines::{Batch, Flow, LocalContext, LocalOperator, Operator, Output, Result};

use crate::{
    Expression,
    expression::{Predicate, Selection},
};

/// An operator that keeps the rows for which `predicate` is true (neither false nor NULL).
pub fn filter(predicate: Expression) -> Arc<dyn Operator> {
    Arc::new(Filter { predicate })
}

struct Filter {
    predicate: Expression,
}

impl Operator for Filter {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
        Ok(Box::new(LocalFilter { predicate: Predicate::new(self.predicate.clone()) }))
    }
}

struct LocalFilter {
    predicate: Predicate,
}

impl LocalOperator for LocalFilter {
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        match self.predicate.select(&batch)? {
            Selection::All => output.push(batch),
            Selection::None => Ok(Flow::Continue),
            Selection::Some(mask) => output.push(keep(&batch, mask.into())?),
        }
    }
}

/// The rows of `batch` whose bit is set.
fn keep(batch: &Batch, mask: BooleanArray) -> Result<Batch> {
    let filter = FilterBuilder::new(&mask).optimize().build();
    let columns = batch.columns().iter().map(|column| filter.filter(column.as_ref())).collect::<Result<_, _>>()?;
    Ok(Batch::new(columns, filter.count()))
}
