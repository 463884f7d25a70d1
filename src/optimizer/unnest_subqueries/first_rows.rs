//! `ORDER BY … LIMIT 1` in a correlated subquery: the first row of every group.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use operators::{aggregate::AggregateFunction, expression::Comparison};

use super::Unnesting;
use crate::{
    error::{Error, Result},
    plan::logical::*,
};

/// Every key of the order reads the input once more.
const SORT_KEYS_MAX: usize = 3;

impl Unnesting<'_> {
    /// Of the rows of `input` that agree in `groups` (NULLs agree), the first one by `keys`.
    ///
    /// Key by key, only the rows stay that have the group's best value; of the rows that are left, which are
    /// equal in all keys, an aggregation takes any.
    ///
    /// # Errors
    /// When there are more than [`SORT_KEYS_MAX`] keys.
    pub(super) fn first_row_of_each(&mut self, input: LogicalPlan, groups: &BTreeSet<ColumnId>, keys: Vec<SortKey>) -> Result<LogicalPlan> {
        if keys.len() > SORT_KEYS_MAX {
            return Err(Error::unsupported(format!("ORDER BY with more than {SORT_KEYS_MAX} keys and LIMIT in a correlated subquery")));
        }
        let output = input.output();
        let mut rows = input;
        for key in keys {
            rows = self.best_of_each(rows, groups, key);
        }
        let keys = groups.iter().map(|id| (*id, Expr::Column(*id))).collect();
        let mut originals = vec![];
        let mut aggregates = vec![];
        for id in output.into_iter().filter(|id| !groups.contains(id)) {
            let first = self.columns.duplicate(id);
            let call =
                AggregateExpr { function: AggregateFunction::First, arguments: vec![Expr::Column(id)], distinct: false, filter: None };
            aggregates.push((first, call));
            originals.push((id, Expr::Column(first)));
        }
        Ok(LogicalPlan::Aggregate(Aggregate { input: Box::new(rows), keys, aggregates }).extended(originals))
    }

    /// The rows whose `key` is its group's first one.
    fn best_of_each(&mut self, rows: LogicalPlan, groups: &BTreeSet<ColumnId>, key: SortKey) -> LogicalPlan {
        let (copy, renaming) = rows.with_fresh_columns(self.columns);
        let in_copy = key.expr.clone().substituted(&renaming.iter().map(|(old, new)| (*old, Expr::Column(*new))).collect());
        let data_type = key.expr.data_type(self.columns);
        let best = self.columns.add("best", data_type, true);
        let has_null = self.columns.add("has_null", DataType::Boolean, true);
        let function = if key.descending { AggregateFunction::Max } else { AggregateFunction::Min };
        let plain = |function, argument| AggregateExpr { function, arguments: vec![argument], distinct: false, filter: None };
        let mut condition = vec![];
        let mut copy_keys = vec![];
        for id in groups {
            let copied = renaming.get(id).copied().unwrap_or(*id);
            copy_keys.push((copied, Expr::Column(copied)));
            condition.push(Self::match_columns(*id, copied, true));
        }
        let aggregates =
            vec![(best, plain(function, in_copy.clone())), (has_null, plain(AggregateFunction::BoolOr, Expr::is_null(in_copy)))];
        let bests = LogicalPlan::Aggregate(Aggregate { input: Box::new(copy), keys: copy_keys, aggregates });
        let is_best = Expr::compare(Comparison::NotDistinct, key.expr.clone(), Expr::Column(best));
        condition.push(match key.nulls_first {
            false => is_best,
            true => Expr::Case {
                branches: vec![(Expr::Column(has_null), Expr::is_null(key.expr))],
                otherwise: Some(Box::new(is_best)),
                data_type: DataType::Boolean,
            },
        });
        rows.joined(JoinKind::Semi, bests, condition)
    }
}
