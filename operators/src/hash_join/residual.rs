//! Evaluates the condition that must hold besides the keys, on candidate pairs.
//!
//! Only the columns the condition names are gathered; the others' places are taken by columns of NULL
//! without memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, NullArray};
use pipelines::Batch;

use crate::{Error, Expression, Result, expression::Evaluator};

/// A condition over probe columns followed by build columns. One per chain.
pub(super) struct Residual {
    evaluator: Evaluator,
    /// Per column of the probe side: whether the condition names it.
    probe: Vec<bool>,
    /// Per column of the build side: where the kept columns have it, if the condition names it.
    build: Vec<Option<usize>>,
}

impl Residual {
    /// `stored` are the build columns that are kept, in order.
    pub(super) fn new(condition: &Expression, num_probe_columns: usize, num_build_columns: usize, stored: &[usize]) -> Self {
        let named = condition.columns();
        Residual {
            evaluator: Evaluator::new(vec![condition.clone()]),
            probe: (0..num_probe_columns).map(|column| named.contains(&column)).collect(),
            build: (0..num_build_columns)
                .map(|column| if named.contains(&(num_probe_columns + column)) { stored.iter().position(|s| *s == column) } else { None })
                .collect(),
        }
    }

    /// True, false or NULL for each of `num_pairs` pairs, whose columns the functions gather: `probe` by the
    /// column's index, `build` by its place among the kept columns.
    pub(super) fn evaluate(
        &mut self,
        num_pairs: usize,
        mut probe: impl FnMut(usize) -> Result<ArrayRef>,
        mut build: impl FnMut(usize) -> Result<ArrayRef>,
    ) -> Result<BooleanArray> {
        let mut columns = Vec::with_capacity(self.probe.len() + self.build.len());
        for (column, named) in self.probe.iter().enumerate() {
            columns.push(if *named { probe(column)? } else { placeholder(num_pairs) });
        }
        for place in &self.build {
            columns.push(match place {
                Some(place) => build(*place)?,
                None => placeholder(num_pairs),
            });
        }
        let result = self.evaluator.evaluate(&Batch::new(columns, num_pairs))?.pop();
        match result {
            Some(array) if array.as_boolean_opt().is_some() => Ok(array.as_boolean().clone()),
            _ => Err(Error::Internal("a join condition is not boolean".into())),
        }
    }
}

fn placeholder(num_rows: usize) -> ArrayRef {
    Arc::new(NullArray::new(num_rows))
}

/// Whether row `index` is true, neither false nor NULL.
#[inline]
pub(super) fn is_true(condition: &BooleanArray, index: usize) -> bool {
    condition.value(index) && condition.is_valid(index)
}
