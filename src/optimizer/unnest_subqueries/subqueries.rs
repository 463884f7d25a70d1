//! Step 1 of unnesting: subqueries in expressions become dependent joins below the expression.

use operators::{
    Scalar,
    expression::{Comparison, ScalarFunction},
};

use arrow::datatypes::DataType;

use super::Unnesting;
use crate::{
    error::{Error, Result},
    plan::logical::*,
};

/// What an expression's subqueries have become: the input they are computed over, and the expression.
type Replaced = (LogicalPlan, Expr);

impl Unnesting<'_> {
    /// Plain conjuncts first, then those that are nothing but a subquery (semi and anti joins drop rows), then
    /// those that compute with one.
    pub(super) fn unnest_filter(&mut self, input: LogicalPlan, predicate: Vec<Expr>) -> Result<LogicalPlan> {
        let conjuncts: Vec<Expr> = predicate.into_iter().flat_map(Expr::into_conjuncts).collect();
        let (nested, plain): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(Expr::has_subquery);
        let mut input = input.filtered(plain);
        let mut remaining = vec![];
        for conjunct in nested {
            match conjunct {
                Expr::Subquery(subquery) if !matches!(subquery.kind, SubqueryKind::Scalar) => {
                    input = self.keep_rows(input, *subquery, JoinKind::Semi)?;
                }
                Expr::Not(operand) => match *operand {
                    Expr::Subquery(subquery) if self.is_anti_join(&subquery, &input) => {
                        input = self.keep_rows(input, *subquery, JoinKind::Anti)?;
                    }
                    Expr::Subquery(subquery) if needs_two_anti_joins(&subquery) => {
                        input = self.drop_matched_and_unknown(input, *subquery)?;
                    }
                    operand => remaining.push(Expr::not(operand)),
                },
                other => remaining.push(other),
            }
        }
        let mut tests = vec![];
        for conjunct in remaining {
            let (new_input, test) = self.replace(input, conjunct)?;
            input = new_input;
            tests.push(test);
        }
        Ok(input.filtered(tests))
    }

    /// `NOT EXISTS` always is; `NOT IN` only where no comparison can be NULL: one NULL among the values makes
    /// `NOT IN` reject every row, which an anti join would keep.
    fn is_anti_join(&self, subquery: &Subquery, input: &LogicalPlan) -> bool {
        match &subquery.kind {
            SubqueryKind::Exists => true,
            SubqueryKind::Any { operands, .. } => self.comparisons_are_never_null(operands, subquery, input),
            SubqueryKind::Scalar => false,
        }
    }

    fn comparisons_are_never_null(&self, operands: &[Expr], subquery: &Subquery, input: &LogicalPlan) -> bool {
        let nullable = subquery.plan.nullable_columns(self.columns);
        let known = subquery.plan.output_set();
        subquery.output.iter().all(|id| known.contains(id) && !nullable.contains(id))
            && operands.iter().all(|operand| !operand.has_subquery() && !input.is_nullable(operand, self.columns))
    }

    /// Semi or anti join of `input` with an EXISTS or ANY subquery.
    fn keep_rows(&mut self, input: LogicalPlan, mut subquery: Subquery, kind: JoinKind) -> Result<LogicalPlan> {
        let (input, condition) = self.comparisons(input, &mut subquery)?;
        let right = self.unnest(subquery.plan)?;
        self.eliminate(Join { left: Box::new(input), right: Box::new(right), kind, condition })
    }

    /// `NOT (operands = ANY (subquery))` as a condition: there is no row for which the comparison is true, and none
    /// for which it is NULL.
    fn drop_matched_and_unknown(&mut self, input: LogicalPlan, mut subquery: Subquery) -> Result<LogicalPlan> {
        let (input, condition) = self.comparisons(input, &mut subquery)?;
        let right = self.unnest(subquery.plan)?;
        let (copy, is_unknown) = self.unknown_comparisons(&right, &condition);
        let unmatched = self.eliminate(Join { left: Box::new(input), right: Box::new(right), kind: JoinKind::Anti, condition })?;
        self.eliminate(Join { left: Box::new(unmatched), right: Box::new(copy), kind: JoinKind::Anti, condition: vec![is_unknown] })
    }

    /// A copy of `right`, and that `condition` is NULL for a row of the copy.
    fn unknown_comparisons(&mut self, right: &LogicalPlan, condition: &[Expr]) -> (LogicalPlan, Expr) {
        let (copy, renaming) = right.with_fresh_columns(self.columns);
        let renaming = renaming.into_iter().map(|(old, new)| (old, Expr::Column(new))).collect();
        (copy, Expr::is_null(Expr::and(condition.to_vec())).substituted(&renaming))
    }

    /// The comparisons of ANY with the subquery's columns; none for EXISTS. Subqueries in operands are replaced.
    fn comparisons(&mut self, mut input: LogicalPlan, subquery: &mut Subquery) -> Result<(LogicalPlan, Vec<Expr>)> {
        let SubqueryKind::Any { operands, comparison } = &mut subquery.kind else { return Ok((input, vec![])) };
        let comparison = *comparison;
        let mut replaced = vec![];
        for operand in std::mem::take(operands) {
            let (new_input, operand) = self.replace(input, operand)?;
            input = new_input;
            replaced.push(operand);
        }
        self.give_own_names(&input, subquery);
        let condition =
            replaced.into_iter().zip(&subquery.output).map(|(operand, id)| Expr::compare(comparison, operand, Expr::Column(*id))).collect();
        Ok((input, condition))
    }

    /// A subquery that shows an outer column as its own result gets a column of its own for it.
    fn give_own_names(&mut self, input: &LogicalPlan, subquery: &mut Subquery) {
        let outer = input.output_set();
        let introduced = subquery.plan.output_set();
        let mut additional = vec![];
        for id in &mut subquery.output {
            if outer.contains(id) || !introduced.contains(id) {
                let own = self.columns.duplicate(*id);
                additional.push((own, Expr::Column(*id)));
                *id = own;
            }
        }
        subquery.plan = std::mem::take(&mut subquery.plan).extended(additional);
    }

    /// Conditions of inner joins with subqueries become filters above; those of outer joins belong to the side
    /// that is padded, which then depends on the other one.
    pub(super) fn unnest_join(&mut self, mut join: Join) -> Result<LogicalPlan> {
        if !join.condition.iter().any(Expr::has_subquery) {
            return Ok(LogicalPlan::Join(join));
        }
        let condition = std::mem::take(&mut join.condition).into_iter().flat_map(Expr::into_conjuncts);
        let (nested, plain): (Vec<Expr>, Vec<Expr>) = condition.partition(Expr::has_subquery);
        join.condition = plain;
        match join.kind {
            JoinKind::Inner => self.unnest_filter(LogicalPlan::Join(join), nested),
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti => {
                join.right = Box::new(self.unnest_filter(*join.right, nested)?);
                self.eliminate(join)
            }
            JoinKind::Right => {
                let Join { left, right, condition, .. } = join;
                let left = self.unnest_filter(*left, nested)?;
                self.eliminate(Join { left: right, right: Box::new(left), kind: JoinKind::Left, condition })
            }
            _ => Err(Error::unsupported("a subquery in the condition of a FULL JOIN")),
        }
    }

    /// Subqueries in the expressions of any other node are computed over its input first.
    pub(super) fn unnest_expressions(&mut self, mut plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut nested = false;
        plan.for_each_expr(|expr| nested = nested || expr.has_subquery());
        if !nested {
            return Ok(plan);
        }
        let mut input = match plan.inputs_mut().as_mut_slice() {
            [input] => std::mem::take(*input),
            _ => return Err(Error::internal("a subquery in a node that does not have one input")),
        };
        let mut failed = None;
        plan.for_each_expr_mut(|expr| {
            if failed.is_none() && expr.has_subquery() {
                let taken = std::mem::replace(expr, Expr::boolean(false));
                match self.replace(std::mem::take(&mut input), taken) {
                    Ok((new_input, new_expr)) => (input, *expr) = (new_input, new_expr),
                    Err(error) => failed = Some(error),
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let [slot] = plan.inputs_mut().as_mut_slice() {
            **slot = input;
        }
        Ok(plan)
    }

    /// Replaces every subquery in `expr` by what a join below gives.
    fn replace(&mut self, mut input: LogicalPlan, mut expr: Expr) -> Result<Replaced> {
        if let Expr::Subquery(subquery) = expr {
            return match subquery.kind {
                SubqueryKind::Scalar => self.replace_scalar(input, *subquery),
                SubqueryKind::Exists => self.replace_exists(input, *subquery),
                SubqueryKind::Any { .. } => self.replace_any(input, *subquery),
            };
        }
        let mut failed = None;
        expr.for_each_child_mut(|child| {
            if failed.is_none() && child.has_subquery() {
                let taken = std::mem::replace(child, Expr::boolean(false));
                match self.replace(std::mem::take(&mut input), taken) {
                    Ok((new_input, new_child)) => (input, *child) = (new_input, new_child),
                    Err(error) => failed = Some(error),
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => Ok((input, expr)),
        }
    }

    fn replace_scalar(&mut self, input: LogicalPlan, mut subquery: Subquery) -> Result<Replaced> {
        self.give_own_names(&input, &mut subquery);
        let result = Expr::Column(subquery.output[0]);
        let right = self.unnest(subquery.plan)?;
        let join = Join { left: Box::new(input), right: Box::new(right), kind: JoinKind::Single, condition: vec![] };
        Ok((self.eliminate(join)?, result))
    }

    fn replace_exists(&mut self, input: LogicalPlan, subquery: Subquery) -> Result<Replaced> {
        let right = self.unnest(subquery.plan)?;
        self.mark_rows(input, right, vec![])
    }

    /// `operands = ANY (subquery)` with its three values. One comparison with an uncorrelated subquery is what
    /// a mark join is made for. In all other cases NULL needs care: a NULL in one comparison decides only among
    /// rows for which the others hold, so that a second mark says whether there is a row with a NULL result.
    fn replace_any(&mut self, input: LogicalPlan, mut subquery: Subquery) -> Result<Replaced> {
        let SubqueryKind::Any { operands, .. } = &subquery.kind else {
            return Err(Error::internal("a subquery of another kind than expected"));
        };
        let never_null = self.comparisons_are_never_null(operands, &subquery, &input);
        let (input, condition) = self.comparisons(input, &mut subquery)?;
        let right = self.unnest(subquery.plan)?;
        if never_null {
            return self.mark_rows(input, right, condition);
        }
        if condition.len() == 1 && right.free_columns().is_empty() {
            let mark = self.columns.add("mark", DataType::Boolean, true);
            let plan = input.joined(JoinKind::Mark(mark), right, condition);
            return Ok((plan, Expr::Column(mark)));
        }
        let (copy, is_unknown) = self.unknown_comparisons(&right, &condition);
        let (input, is_true) = self.mark_rows(input, right, condition)?;
        let (input, is_unknown) = self.mark_rows(input, copy, vec![is_unknown])?;
        let value = Expr::Case {
            branches: vec![(is_true, Expr::boolean(true)), (is_unknown, Expr::Literal(Scalar::Null(DataType::Boolean)))],
            otherwise: Some(Box::new(Expr::boolean(false))),
            data_type: DataType::Boolean,
        };
        Ok((input, value))
    }

    /// Whether there is a right row for which `condition` is true; never NULL.
    fn mark_rows(&mut self, input: LogicalPlan, right: LogicalPlan, condition: Vec<Expr>) -> Result<Replaced> {
        let mark = self.columns.add("mark", DataType::Boolean, true);
        let join = Join { left: Box::new(input), right: Box::new(right), kind: JoinKind::Mark(mark), condition };
        let plan = self.eliminate(join)?;
        let is_marked = Expr::Function(ScalarFunction::Coalesce, vec![Expr::Column(mark), Expr::boolean(false)], DataType::Boolean);
        Ok((plan, is_marked))
    }

    /// A comparison that holds for equal values, and where told to also for two NULLs.
    pub(super) fn match_columns(left: ColumnId, right: ColumnId, nulls_match: bool) -> Expr {
        let comparison = if nulls_match { Comparison::NotDistinct } else { Comparison::Equal };
        Expr::compare(comparison, Expr::Column(left), Expr::Column(right))
    }
}

/// Whether a mark join does not do for `NOT (operands = ANY (subquery))`: see [`Unnesting::replace_any`].
fn needs_two_anti_joins(subquery: &Subquery) -> bool {
    matches!(&subquery.kind, SubqueryKind::Any { operands, .. } if operands.len() > 1 || !subquery.plan.free_columns().is_empty())
}
