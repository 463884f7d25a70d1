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

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, AsArray, Int32Array},
        datatypes::{DataType, Int32Type},
    };
    use pipelines::testing::{batch, run_operator};

    use super::*;
    use crate::{Scalar, expression::Comparison};

    fn below(limit: i32) -> Expression {
        Expression::Compare {
            operator: Comparison::Less,
            left: Box::new(Expression::column(0, DataType::Int32)),
            right: Box::new(Scalar::Int32(limit).into()),
        }
    }

    fn kept(limit: i32, batches: &[&[Option<i32>]]) -> Vec<Option<i32>> {
        let batches = batches.iter().map(|values| batch(vec![Arc::new(Int32Array::from(values.to_vec())) as ArrayRef])).collect();
        let kept = run_operator(filter(below(limit)), batches).unwrap();
        kept.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().iter().collect::<Vec<_>>()).collect()
    }

    #[test]
    fn keeps_rows_for_which_the_predicate_is_true() {
        let rows: [&[Option<i32>]; 3] = [&[Some(1), None, Some(9), Some(3)], &[Some(7)], &[None, Some(2)]];
        assert_eq!(kept(5, &rows), [Some(1), Some(3), Some(2)]);
        assert_eq!(kept(100, &rows), [Some(1), Some(9), Some(3), Some(7), Some(2)]);
        assert_eq!(kept(0, &rows), []);
    }

    #[test]
    fn a_predicate_that_fails_ends_the_query() {
        let quotient = Expression::Arithmetic {
            operator: crate::expression::Arithmetic::Divide,
            left: Box::new(Scalar::Int32(1).into()),
            right: Box::new(Expression::column(0, DataType::Int32)),
            data_type: DataType::Int32,
        };
        let predicate = Expression::IsNull(Box::new(quotient));
        let error = run_operator(filter(predicate), vec![batch(vec![Arc::new(Int32Array::from(vec![0]))])]).unwrap_err();
        assert_eq!(error.reason::<crate::Error>(), Some(&crate::Error::DivisionByZero));
    }
}
