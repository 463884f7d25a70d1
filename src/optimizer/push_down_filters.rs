//! Moves conjuncts down to where they drop rows earliest, and on the way makes outer joins inner ones.
//!
//! Position: after unnesting and the rules that split conditions into conjuncts; before joins are ordered, so
//! that cross joins have got their equalities. Conjuncts end up in scans, in join conditions, or as a filter
//! above what they cannot pass: limits, aggregates they test the result of, the padded side of outer joins.
//!
//! A conjunct that fixes or bounds a column also holds for the columns that are equal to it (`a = b` and
//! `a < 5` give `b < 5`), so that both sides of a join are reduced.

use std::collections::{BTreeSet, HashMap};

use operators::{Scalar, expression::Comparison};

use super::{OptimizerContext, rule::Rule};
use crate::{
    error::Result,
    plan::{
        logical::*,
        rewrite::{Substitution, add_new},
    },
};

/// The rule.
pub struct PushDownFilters;

impl Rule for PushDownFilters {
    fn name(&self) -> &'static str {
        "push_down_filters"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        for cte in &mut query.ctes {
            cte.plan = push(std::mem::take(&mut cte.plan), vec![], &query.columns);
        }
        query.root = push(query.root, vec![], &query.columns);
        Ok(query)
    }
}

/// `plan` with only the rows for which all `conjuncts` hold.
fn push(plan: LogicalPlan, conjuncts: Vec<Expr>, columns: &Columns) -> LogicalPlan {
    match plan {
        LogicalPlan::Filter { input, predicate } => {
            let mut all = vec![];
            predicate.into_iter().flat_map(Expr::into_conjuncts).chain(conjuncts).for_each(|conjunct| add(&mut all, conjunct));
            push(*input, all, columns)
        }
        LogicalPlan::Project { input, expressions } => {
            let substitution: Substitution = expressions.iter().cloned().collect();
            let conjuncts = conjuncts.into_iter().map(|conjunct| conjunct.substituted(&substitution)).collect();
            push(*input, conjuncts, columns).projected(expressions)
        }
        LogicalPlan::Sort { input, keys } => LogicalPlan::Sort { input: Box::new(push(*input, conjuncts, columns)), keys },
        LogicalPlan::Aggregate(aggregate) => push_below_groups(aggregate, conjuncts, columns),
        LogicalPlan::UnionAll { inputs, output } => {
            let below = |index: usize| -> Substitution { output.iter().map(|(id, from)| (*id, Expr::Column(from[index]))).collect() };
            let inputs =
                inputs.into_iter().enumerate().map(|(index, input)| push(input, substituted(&conjuncts, &below(index)), columns)).collect();
            LogicalPlan::UnionAll { inputs, output }
        }
        LogicalPlan::SetOperation { operator, left, right, output } => {
            let of_left: Substitution = output.iter().map(|(id, left, _)| (*id, Expr::Column(*left))).collect();
            let of_right: Substitution = output.iter().map(|(id, _, right)| (*id, Expr::Column(*right))).collect();
            let left = Box::new(push(*left, substituted(&conjuncts, &of_left), columns));
            let right = Box::new(push(*right, substituted(&conjuncts, &of_right), columns));
            LogicalPlan::SetOperation { operator, left, right, output }
        }
        LogicalPlan::TableScan(mut scan) => {
            let (own, constant): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(|conjunct| !conjunct.is_constant());
            own.into_iter().for_each(|conjunct| add(&mut scan.filters, conjunct));
            LogicalPlan::TableScan(scan).filtered(constant)
        }
        LogicalPlan::Join(join) => push_into_join(join, conjuncts, columns),
        mut barrier => {
            for input in barrier.inputs_mut() {
                *input = push(std::mem::take(input), vec![], columns);
            }
            barrier.filtered(conjuncts)
        }
    }
}

fn add(conjuncts: &mut Vec<Expr>, conjunct: Expr) {
    if !conjunct.is_true() {
        add_new(conjuncts, conjunct);
    }
}

fn substituted(conjuncts: &[Expr], substitution: &Substitution) -> Vec<Expr> {
    conjuncts.iter().map(|conjunct| conjunct.clone().substituted(substitution)).collect()
}

/// A test of keys alone drops whole groups: their rows can go before. One group over everything stays.
fn push_below_groups(mut aggregate: Aggregate, conjuncts: Vec<Expr>, columns: &Columns) -> LogicalPlan {
    let keys: Substitution = aggregate.keys.iter().cloned().collect();
    let (of_keys, of_results): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(|conjunct| {
        let used = conjunct.columns();
        !used.is_empty() && used.iter().all(|id| keys.contains_key(id))
    });
    *aggregate.input = push(std::mem::take(&mut *aggregate.input), substituted(&of_keys, &keys), columns);
    LogicalPlan::Aggregate(aggregate).filtered(of_results)
}

/// Where a join's conjuncts go.
struct Split {
    left: Vec<Expr>,
    right: Vec<Expr>,
    condition: Vec<Expr>,
    above: Vec<Expr>,
}

fn push_into_join(join: Join, conjuncts: Vec<Expr>, columns: &Columns) -> LogicalPlan {
    let mut join = simplify_outer_join(join, &conjuncts);
    if let Some(plan) = anti_join_of_padded(&mut join, &conjuncts, columns) {
        return push(plan, conjuncts, columns);
    }
    let left_columns = join.left.output_set();
    let right_columns = join.right.output_set();
    let split = split(&mut join, conjuncts, columns, &left_columns, &right_columns);
    join.condition = split.condition;
    *join.left = push(*join.left, split.left, columns);
    *join.right = push(*join.right, split.right, columns);
    spread_facts(&mut join, columns);
    LogicalPlan::Join(join).filtered(split.above)
}

fn split(
    join: &mut Join,
    conjuncts: Vec<Expr>,
    columns: &Columns,
    left_columns: &BTreeSet<ColumnId>,
    right_columns: &BTreeSet<ColumnId>,
) -> Split {
    let mut split = Split { left: vec![], right: vec![], condition: vec![], above: vec![] };
    let is_left = |e: &Expr| e.columns().is_subset(left_columns);
    let is_right = |e: &Expr| e.columns().is_subset(right_columns);
    for conjunct in conjuncts {
        let to = match join.kind {
            JoinKind::Full => &mut split.above,
            _ if is_left(&conjunct) => &mut split.left,
            JoinKind::Inner if is_right(&conjunct) => &mut split.right,
            JoinKind::Inner => &mut split.condition,
            _ => &mut split.above,
        };
        add(to, conjunct);
    }
    for conjunct in std::mem::take(&mut join.condition).into_iter().flat_map(Expr::into_conjuncts) {
        // Of a mark join, a conjunct that is NULL for a right row is not as good as one that is false.
        let may_go_right = match join.kind {
            JoinKind::Full => false,
            JoinKind::Mark(_) => is_right(&conjunct) && !join.right.is_nullable(&conjunct, columns),
            _ => is_right(&conjunct),
        };
        let to = match join.kind {
            JoinKind::Inner | JoinKind::Semi if is_left(&conjunct) => &mut split.left,
            _ if may_go_right && !conjunct.is_constant() => &mut split.right,
            _ => &mut split.condition,
        };
        add(to, conjunct);
    }
    split
}

/// A filter that drops padded rows makes the padding useless. Right joins become left ones.
fn simplify_outer_join(mut join: Join, conjuncts: &[Expr]) -> Join {
    if join.kind == JoinKind::Right {
        std::mem::swap(&mut join.left, &mut join.right);
        join.kind = JoinKind::Left;
    }
    if !matches!(join.kind, JoinKind::Left | JoinKind::Full) {
        return join;
    }
    let drops_padded = |side: &LogicalPlan| {
        let columns = side.output_set();
        conjuncts.iter().any(|conjunct| !conjunct.columns().is_disjoint(&columns) && conjunct.rejects_nulls_of(&columns))
    };
    match (join.kind, drops_padded(&join.left), drops_padded(&join.right)) {
        (JoinKind::Left, _, true) | (JoinKind::Full, true, true) => join.kind = JoinKind::Inner,
        (JoinKind::Full, true, false) => join.kind = JoinKind::Left,
        (JoinKind::Full, false, true) => {
            std::mem::swap(&mut join.left, &mut join.right);
            join.kind = JoinKind::Left;
        }
        _ => {}
    }
    join
}

/// `left join r on … where r.c is null`, when `c` is NULL only in padded rows, keeps just the rows without a match.
fn anti_join_of_padded(join: &mut Join, conjuncts: &[Expr], columns: &Columns) -> Option<LogicalPlan> {
    if join.kind != JoinKind::Left {
        return None;
    }
    let right_columns = join.right.output();
    let nullable = join.right.nullable_columns(columns);
    let never_matches_as_null = |id: ColumnId| join.condition.iter().any(|conjunct| conjunct.rejects_nulls_of(&BTreeSet::from([id])));
    let is_padding = |id: &ColumnId| right_columns.contains(id) && (!nullable.contains(id) || never_matches_as_null(*id));
    let tests_padding =
        |conjunct: &Expr| matches!(conjunct, Expr::IsNull(operand) if operand.as_column().is_some_and(|id| is_padding(&id)));
    if !conjuncts.iter().any(tests_padding) {
        return None;
    }
    let null = |id: &ColumnId| (*id, Expr::Literal(Scalar::Null(columns.get(*id).data_type.clone())));
    let padding = right_columns.iter().map(null).collect();
    let Join { left, right, condition, .. } =
        std::mem::replace(join, Join { left: Box::default(), right: Box::default(), kind: JoinKind::Anti, condition: vec![] });
    Some(left.joined(JoinKind::Anti, *right, condition).extended(padding))
}

/// What is known of one side's columns is told to the other side where the condition says they are equal.
fn spread_facts(join: &mut Join, columns: &Columns) {
    let (to_left, to_right) = match join.kind {
        JoinKind::Inner | JoinKind::Semi => (true, true),
        JoinKind::Left | JoinKind::Anti | JoinKind::Single => (false, true),
        _ => return,
    };
    let (left_columns, right_columns) = (join.left.output_set(), join.right.output_set());
    let mut equal = vec![];
    for conjunct in &join.condition {
        if let Some((left, right)) = conjunct.as_equality_of(&left_columns, &right_columns) {
            equal.extend(left.as_column().zip(right.as_column()));
        }
    }
    if equal.is_empty() {
        return;
    }
    let (left_facts, right_facts) = (facts(&join.left), facts(&join.right));
    let new = |from: &[Expr], known: &[Expr], pairs: &mut dyn Iterator<Item = (ColumnId, ColumnId)>| -> Vec<Expr> {
        let mut new = vec![];
        for (source, target) in pairs {
            let renaming = HashMap::from([(source, Expr::Column(target))]);
            let about_source = from.iter().filter(|fact| fact.columns().contains(&source));
            about_source
                .map(|fact| fact.clone().substituted(&renaming))
                .filter(|fact| !known.contains(fact))
                .for_each(|fact| add(&mut new, fact));
        }
        new
    };
    if to_right {
        let derived = new(&left_facts, &right_facts, &mut equal.iter().copied());
        if !derived.is_empty() {
            *join.right = push(std::mem::take(&mut *join.right), derived, columns);
        }
    }
    if to_left {
        let derived = new(&right_facts, &left_facts, &mut equal.iter().map(|(left, right)| (*right, *left)));
        if !derived.is_empty() {
            *join.left = push(std::mem::take(&mut *join.left), derived, columns);
        }
    }
}

/// Conjuncts that compare one output column with constants and hold for every row.
fn facts(plan: &LogicalPlan) -> Vec<Expr> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let output = plan.output_set();
            scan.filters.iter().filter(|f| is_fact(f) && f.columns().is_subset(&output)).cloned().collect()
        }
        LogicalPlan::Filter { input, predicate } => {
            predicate.iter().filter(|conjunct| is_fact(conjunct)).cloned().chain(facts(input)).collect()
        }
        LogicalPlan::Project { input, expressions } => {
            let mut known = vec![];
            for fact in facts(input) {
                for (id, expr) in expressions {
                    if let Some(source) = expr.as_column().filter(|source| fact.columns().contains(source)) {
                        known.push(fact.clone().substituted(&HashMap::from([(source, Expr::Column(*id))])));
                    }
                }
            }
            known
        }
        LogicalPlan::Aggregate(aggregate) => {
            let passed_on = |id: ColumnId| aggregate.keys.iter().any(|(key, expr)| *key == id && expr.as_column() == Some(id));
            facts(&aggregate.input).into_iter().filter(|fact| fact.columns().into_iter().all(passed_on)).collect()
        }
        LogicalPlan::Sort { input, .. } | LogicalPlan::Limit { input, .. } => facts(input),
        LogicalPlan::Join(join) => match join.kind {
            JoinKind::Inner => facts(&join.left).into_iter().chain(facts(&join.right)).collect(),
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti | JoinKind::Mark(_) | JoinKind::Single => facts(&join.left),
            JoinKind::Right => facts(&join.right),
            JoinKind::Full => vec![],
        },
        _ => vec![],
    }
}

fn is_fact(conjunct: &Expr) -> bool {
    match conjunct {
        Expr::Compare(Comparison::NotEqual | Comparison::Distinct | Comparison::NotDistinct, ..) => false,
        Expr::Compare(_, left, right) => {
            matches!((&**left, &**right), (Expr::Column(_), Expr::Literal(_)) | (Expr::Literal(_), Expr::Column(_)))
        }
        Expr::InList { operand, .. } => operand.as_column().is_some(),
        Expr::Or(alternatives) => alternatives.iter().all(is_fact) && conjunct.columns().len() == 1,
        _ => false,
    }
}
