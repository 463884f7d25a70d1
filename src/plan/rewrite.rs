//! Walks over logical plans and expressions that change them: transformation, substitution, renaming.
//!
//! Position: what the rules of `optimizer` are made of. Deliberately elsewhere: what is known of a plan's rows
//! ([`super::properties`]), and every rewrite with a meaning of its own (one file each in `optimizer`).

use std::collections::{BTreeSet, HashMap};

use operators::{
    Scalar,
    expression::{Comparison, ScalarFunction},
};

use super::logical::*;
use crate::error::Result;

/// Longest list of expressions that is searched for equal ones: generated SQL has conditions of many thousands,
/// and every one would be compared with every other.
pub const COMPARED_MAX: usize = 256;

/// Adds `expr` to `list` unless it is there already (as far as that is looked for, see [`COMPARED_MAX`]).
pub fn add_new(list: &mut Vec<Expr>, expr: Expr) {
    if list.len() > COMPARED_MAX || !list.contains(&expr) {
        list.push(expr);
    }
}

/// What a column is replaced by.
pub type Substitution = HashMap<ColumnId, Expr>;

impl Default for LogicalPlan {
    /// No row of no column: what stands in a plan's place while it is rewritten.
    fn default() -> Self {
        LogicalPlan::Values(Values { columns: vec![], rows: vec![] })
    }
}

impl Expr {
    /// TRUE or FALSE.
    pub fn boolean(value: bool) -> Expr {
        Expr::Literal(Scalar::Boolean(value))
    }

    /// `left comparison right`.
    pub fn compare(comparison: Comparison, left: Expr, right: Expr) -> Expr {
        Expr::Compare(comparison, Box::new(left), Box::new(right))
    }

    /// `left = right`.
    pub fn equal(left: Expr, right: Expr) -> Expr {
        Expr::compare(Comparison::Equal, left, right)
    }

    /// `operand IS NULL`.
    pub fn is_null(operand: Expr) -> Expr {
        Expr::IsNull(Box::new(operand))
    }

    /// `operand IS NOT NULL`.
    pub fn is_not_null(operand: Expr) -> Expr {
        Expr::not(Expr::is_null(operand))
    }

    /// `NOT operand`, as written.
    #[allow(clippy::should_implement_trait, reason = "the node's name; not an operator of Rust expressions")]
    pub fn not(operand: Expr) -> Expr {
        Expr::Not(Box::new(operand))
    }

    /// All of `conjuncts`, nested ANDs flattened; TRUE if there is none.
    pub fn and(conjuncts: Vec<Expr>) -> Expr {
        let mut conjuncts: Vec<Expr> = conjuncts.into_iter().flat_map(Expr::into_conjuncts).collect();
        match conjuncts.len() {
            0 => Expr::boolean(true),
            1 => conjuncts.remove(0),
            _ => Expr::And(conjuncts),
        }
    }

    /// One of `alternatives`, nested ORs flattened; FALSE if there is none.
    pub fn or(alternatives: Vec<Expr>) -> Expr {
        let mut alternatives: Vec<Expr> = alternatives.into_iter().flat_map(Expr::into_alternatives).collect();
        match alternatives.len() {
            0 => Expr::boolean(false),
            1 => alternatives.remove(0),
            _ => Expr::Or(alternatives),
        }
    }

    /// The operands of nested ANDs; any other expression alone.
    pub fn into_conjuncts(self) -> Vec<Expr> {
        match self {
            Expr::And(operands) => operands.into_iter().flat_map(Expr::into_conjuncts).collect(),
            other => vec![other],
        }
    }

    /// The operands of nested ORs; any other expression alone.
    pub fn into_alternatives(self) -> Vec<Expr> {
        match self {
            Expr::Or(operands) => operands.into_iter().flat_map(Expr::into_alternatives).collect(),
            other => vec![other],
        }
    }

    /// Whether this is the constant TRUE.
    pub fn is_true(&self) -> bool {
        matches!(self, Expr::Literal(Scalar::Boolean(true)))
    }

    /// Whether this is the constant FALSE or NULL: as a conjunct of a filter, it lets no row pass.
    pub fn is_never_true(&self) -> bool {
        matches!(self, Expr::Literal(Scalar::Boolean(false) | Scalar::Null(_)))
    }

    /// The column, if this is nothing but one.
    pub fn as_column(&self) -> Option<ColumnId> {
        match self {
            Expr::Column(id) => Some(*id),
            _ => None,
        }
    }

    /// Whether `test` holds for this expression or any operand below it (plans of subqueries excluded).
    pub fn any(&self, test: &dyn Fn(&Expr) -> bool) -> bool {
        let mut found = test(self);
        self.for_each_child(|child| found = found || child.any(test));
        found
    }

    /// Whether a subquery occurs in it.
    pub fn has_subquery(&self) -> bool {
        self.any(&|e| matches!(e, Expr::Subquery(_)))
    }

    /// Whether it uses a column at all.
    pub fn is_constant(&self) -> bool {
        !self.any(&|e| matches!(e, Expr::Column(_) | Expr::Subquery(_)))
    }

    /// Whether its evaluation may fail on some value: division, overflow, casts that check, a function with a
    /// domain. Such an expression must not be evaluated for rows that the query would not have reached.
    pub fn can_fail(&self) -> bool {
        self.any(&|e| match e {
            Expr::Arithmetic(..) | Expr::Negate(_) | Expr::Cast(..) | Expr::Subquery(_) => true,
            Expr::Like { pattern, .. } => !matches!(**pattern, Expr::Literal(_)),
            Expr::Function(function, ..) => !matches!(
                function,
                ScalarFunction::Coalesce
                    | ScalarFunction::NullIf
                    | ScalarFunction::Greatest
                    | ScalarFunction::Least
                    | ScalarFunction::Upper
                    | ScalarFunction::Lower
                    | ScalarFunction::Length
                    | ScalarFunction::StartsWith
                    | ScalarFunction::Concat
            ),
            _ => false,
        })
    }

    /// Rewrites bottom-up: operands first, then the expression itself. Plans of subqueries stay as they are.
    pub fn transform(mut self, rewrite: &mut dyn FnMut(Expr) -> Expr) -> Expr {
        self.for_each_child_mut(|child| {
            let taken = std::mem::replace(child, Expr::Literal(Scalar::Boolean(false)));
            *child = taken.transform(rewrite);
        });
        rewrite(self)
    }

    /// Replaces columns, also where subqueries use them.
    pub fn substitute(&mut self, substitution: &Substitution) {
        if let Expr::Column(id) = self {
            if let Some(replacement) = substitution.get(id) {
                *self = replacement.clone();
            }
            return;
        }
        if let Expr::Subquery(subquery) = self {
            subquery.plan.substitute(substitution);
        }
        self.for_each_child_mut(|child| child.substitute(substitution));
    }

    /// [`Expr::substitute`], by value.
    pub fn substituted(mut self, substitution: &Substitution) -> Expr {
        self.substitute(substitution);
        self
    }
}

impl LogicalPlan {
    /// A filter, or `input` itself if there is nothing to test.
    pub fn filtered(self, predicate: Vec<Expr>) -> LogicalPlan {
        match predicate.is_empty() {
            true => self,
            false => LogicalPlan::Filter { input: Box::new(self), predicate },
        }
    }

    /// A projection on `expressions`.
    pub fn projected(self, expressions: Vec<(ColumnId, Expr)>) -> LogicalPlan {
        LogicalPlan::Project { input: Box::new(self), expressions }
    }

    /// All columns of `self` under their own ids, and `additional` ones.
    pub fn extended(self, additional: Vec<(ColumnId, Expr)>) -> LogicalPlan {
        if additional.is_empty() {
            return self;
        }
        let expressions = self.output().into_iter().map(|id| (id, Expr::Column(id))).chain(additional).collect();
        self.projected(expressions)
    }

    /// A join with `right`.
    pub fn joined(self, kind: JoinKind, right: LogicalPlan, condition: Vec<Expr>) -> LogicalPlan {
        LogicalPlan::Join(Join { left: Box::new(self), right: Box::new(right), kind, condition })
    }

    /// No row of the same columns.
    pub fn emptied(&self) -> LogicalPlan {
        LogicalPlan::Values(Values { columns: self.output(), rows: vec![] })
    }

    /// Whether it is known to have no row.
    pub fn is_empty(&self) -> bool {
        matches!(self, LogicalPlan::Values(values) if values.rows.is_empty())
    }

    /// Replaces every direct input.
    pub fn map_inputs(mut self, rewrite: &mut dyn FnMut(LogicalPlan) -> Result<LogicalPlan>) -> Result<LogicalPlan> {
        for input in self.inputs_mut() {
            *input = rewrite(std::mem::take(input))?;
        }
        Ok(self)
    }

    /// Rewrites bottom-up: inputs first, then the node itself. Plans of subqueries in expressions stay as they are.
    pub fn transform(self, rewrite: &mut dyn FnMut(LogicalPlan) -> Result<LogicalPlan>) -> Result<LogicalPlan> {
        let plan = self.map_inputs(&mut |input| input.transform(rewrite))?;
        rewrite(plan)
    }

    /// Replaces columns in all expressions of the whole tree. Only for columns the tree does not introduce
    /// (outer ones), or for expressions that mean the same at every place.
    pub fn substitute(&mut self, substitution: &Substitution) {
        self.for_each_expr_mut(|expr| expr.substitute(substitution));
        self.inputs_mut().into_iter().for_each(|input| input.substitute(substitution));
    }

    /// A copy that introduces new columns instead of its own, so that both can stand in one query, and what
    /// each column is called in the copy. Outer columns stay.
    pub fn with_fresh_columns(&self, columns: &mut Columns) -> (LogicalPlan, HashMap<ColumnId, ColumnId>) {
        let mut introduced = BTreeSet::new();
        self.collect_introduced(&mut introduced);
        let renaming: HashMap<ColumnId, ColumnId> = introduced.into_iter().map(|id| (id, columns.duplicate(id))).collect();
        let mut copy = self.clone();
        copy.rename(&renaming);
        (copy, renaming)
    }

    /// The columns that come into being in this tree, subqueries included.
    pub fn collect_introduced(&self, into: &mut BTreeSet<ColumnId>) {
        let new = |pairs: &[(ColumnId, Expr)]| -> Vec<ColumnId> {
            pairs.iter().filter(|(id, e)| *e != Expr::Column(*id)).map(|(id, _)| *id).collect()
        };
        match self {
            LogicalPlan::TableScan(scan) => into.extend(scan.columns.iter().map(|(id, _)| *id)),
            LogicalPlan::CteScan(scan) => into.extend(scan.columns.iter().map(|(id, _)| *id)),
            LogicalPlan::Values(values) => into.extend(&values.columns),
            LogicalPlan::Project { expressions, .. } => into.extend(new(expressions)),
            LogicalPlan::Aggregate(aggregate) => {
                into.extend(new(&aggregate.keys));
                into.extend(aggregate.aggregates.iter().map(|(id, _)| *id));
            }
            LogicalPlan::Join(Join { kind: JoinKind::Mark(mark), .. }) | LogicalPlan::Apply(Join { kind: JoinKind::Mark(mark), .. }) => {
                into.insert(*mark);
            }
            LogicalPlan::UnionAll { output, .. } => into.extend(output.iter().map(|(id, _)| *id)),
            LogicalPlan::SetOperation { output, .. } => into.extend(output.iter().map(|(id, ..)| *id)),
            _ => {}
        }
        self.for_each_expr(|expr| collect_introduced_by_subqueries(expr, into));
        self.inputs().into_iter().for_each(|input| input.collect_introduced(into));
    }

    /// Renames columns everywhere: where they are introduced, passed on and used.
    pub fn rename(&mut self, renaming: &HashMap<ColumnId, ColumnId>) {
        let rename = |id: &mut ColumnId| {
            if let Some(new) = renaming.get(id) {
                *id = *new;
            }
        };
        match self {
            LogicalPlan::TableScan(scan) => {
                scan.columns.iter_mut().for_each(|(id, _)| rename(id));
                scan.output.iter_mut().flatten().for_each(rename);
            }
            LogicalPlan::CteScan(scan) => scan.columns.iter_mut().for_each(|(id, _)| rename(id)),
            LogicalPlan::Values(values) => values.columns.iter_mut().for_each(rename),
            LogicalPlan::Project { expressions, .. } => expressions.iter_mut().for_each(|(id, _)| rename(id)),
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.keys.iter_mut().for_each(|(id, _)| rename(id));
                aggregate.aggregates.iter_mut().for_each(|(id, _)| rename(id));
            }
            LogicalPlan::Join(Join { kind: JoinKind::Mark(mark), .. }) | LogicalPlan::Apply(Join { kind: JoinKind::Mark(mark), .. }) => {
                rename(mark);
            }
            LogicalPlan::UnionAll { output, .. } => output.iter_mut().for_each(|(id, inputs)| {
                rename(id);
                inputs.iter_mut().for_each(rename);
            }),
            LogicalPlan::SetOperation { output, .. } => output.iter_mut().for_each(|(id, left, right)| {
                rename(id);
                rename(left);
                rename(right);
            }),
            _ => {}
        }
        self.for_each_expr_mut(|expr| rename_in(expr, renaming));
        self.inputs_mut().into_iter().for_each(|input| input.rename(renaming));
    }
}

fn collect_introduced_by_subqueries(expr: &Expr, into: &mut BTreeSet<ColumnId>) {
    if let Expr::Subquery(subquery) = expr {
        subquery.plan.collect_introduced(into);
    }
    expr.for_each_child(|child| collect_introduced_by_subqueries(child, into));
}

fn rename_in(expr: &mut Expr, renaming: &HashMap<ColumnId, ColumnId>) {
    match expr {
        Expr::Column(id) => {
            if let Some(new) = renaming.get(id) {
                *id = *new;
            }
        }
        Expr::Subquery(subquery) => {
            subquery.plan.rename(renaming);
            for id in &mut subquery.output {
                if let Some(new) = renaming.get(id) {
                    *id = *new;
                }
            }
        }
        _ => {}
    }
    expr.for_each_child_mut(|child| rename_in(child, renaming));
}
