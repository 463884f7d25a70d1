//! Which share of rows passes a filter, and what is left of the columns.
//!
//! Position: between the nodes that filter and [`super::expressions`]. Conjuncts over one column are taken together (a range
//! has two ends); others are taken to be independent. Where footers say nothing: the customary guesses below.

use std::collections::BTreeMap;

use operators::{
    Scalar,
    expression::{Comparison, ScalarFunction},
};

use crate::plan::logical::{ColumnId, Columns, Expr};

use super::{ColumnEstimate, Estimate, expressions, ranges};

/// One side of a range of which no bounds are known, and comparisons of two columns.
const INEQUALITY: f64 = 1.0 / 3.0;
/// A condition of which nothing is known.
const OPAQUE: f64 = 0.2;
/// LIKE with an anchored beginning.
const LIKE_PREFIX: f64 = 0.05;
/// LIKE with a part to be found anywhere.
const LIKE_ANYWHERE: f64 = 0.08;
/// No filter is believed to keep less than this.
const SELECTIVITY_MIN: f64 = 1e-9;

/// Rows of `input` that pass all `conjuncts`.
pub(super) fn filter(input: Estimate, conjuncts: &[Expr], columns: &Columns) -> Estimate {
    let selectivity = conjunction(conjuncts, &input, columns);
    narrowed(input, conjuncts, selectivity)
}

/// Rows of `input` that pass all `conjuncts` when their share is known.
pub(super) fn narrowed(input: Estimate, conjuncts: &[Expr], selectivity: f64) -> Estimate {
    let constraints = Constraints::of(conjuncts);
    let rows = (input.rows * selectivity).max(input.rows.min(1.0));
    let mut before = input.columns.clone();
    let mut estimate = input.thinned(rows);
    for (id, constraint) in &constraints.by_column {
        let Some(column) = before.remove(id) else { continue };
        estimate.columns.insert(*id, constraint.apply(column, rows));
    }
    for (left, right) in conjuncts.iter().filter_map(column_pair) {
        intersect(&mut estimate, left, right);
    }
    estimate
}

/// Both columns hold only values that are in both ranges, when rows where they differ are gone.
pub(super) fn intersect(estimate: &mut Estimate, left: ColumnId, right: ColumnId) {
    let (a, b) = (estimate.column(left), estimate.column(right));
    let min = larger(a.min.clone(), b.min.clone());
    let max = smaller(a.max.clone(), b.max.clone());
    let distinct = a.distinct.min(b.distinct);
    for (id, column) in [(left, a), (right, b)] {
        let column = ColumnEstimate { min: min.clone(), max: max.clone(), distinct, null_fraction: 0.0, ..column };
        estimate.columns.insert(id, column);
    }
}

fn larger(a: Option<Scalar>, b: Option<Scalar>) -> Option<Scalar> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if ranges::compare(&a, &b).is_some_and(|order| order.is_lt()) { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn smaller(a: Option<Scalar>, b: Option<Scalar>) -> Option<Scalar> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if ranges::compare(&a, &b).is_some_and(|order| order.is_gt()) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The share of rows for which all conjuncts are true.
pub(super) fn conjunction(conjuncts: &[Expr], input: &Estimate, columns: &Columns) -> f64 {
    let constraints = Constraints::of(conjuncts);
    let ranges = constraints.by_column.iter().map(|(id, constraint)| constraint.selectivity(&input.column(*id)));
    let others = constraints.others.iter().map(|expr| selectivity(expr, input, columns));
    ranges.chain(others).product::<f64>().clamp(SELECTIVITY_MIN, 1.0)
}

/// The share of rows for which `expr` is true.
pub(super) fn selectivity(expr: &Expr, input: &Estimate, columns: &Columns) -> f64 {
    let share = match expr {
        Expr::Literal(Scalar::Boolean(true)) => 1.0,
        Expr::Literal(_) => 0.0,
        Expr::And(operands) => conjunction(operands, input, columns),
        Expr::Or(operands) => disjunction(operands, input, columns),
        Expr::Not(operand) => match &**operand {
            // `<>` as the parser may have left it: NULLs pass neither.
            Expr::IsNull(_) | Expr::Or(_) | Expr::And(_) | Expr::Like { .. } | Expr::InList { .. } | Expr::Compare(..) => {
                1.0 - selectivity(operand, input, columns)
            }
            _ => 1.0 - selectivity(operand, input, columns).min(0.5),
        },
        Expr::IsNull(operand) => expressions::of_expression(operand, input, columns).null_fraction,
        Expr::Column(_) => 0.5,
        Expr::Compare(operator, left, right) => comparison(*operator, left, right, input, columns),
        Expr::InList { operand, list } => {
            let column = expressions::of_expression(operand, input, columns);
            let mut constraint = Constraint::default();
            constraint.add_list(list);
            constraint.selectivity(&column)
        }
        Expr::Like { operand, pattern, .. } => like(operand, pattern, input, columns),
        Expr::Function(ScalarFunction::StartsWith, ..) => LIKE_PREFIX,
        Expr::Function(ScalarFunction::RegexMatch, ..) => LIKE_ANYWHERE,
        _ => OPAQUE,
    };
    share.clamp(0.0, 1.0)
}

fn disjunction(operands: &[Expr], input: &Estimate, columns: &Columns) -> f64 {
    let shares: Vec<f64> = operands.iter().map(|operand| selectivity(operand, input, columns)).collect();
    let subjects: Vec<_> = operands.iter().map(|operand| column_against_constant(operand).map(|(id, ..)| id)).collect();
    let excludes_each_other = subjects.first().is_some_and(|first| first.is_some() && subjects.iter().all(|id| id == first));
    if excludes_each_other {
        return shares.iter().sum();
    }
    1.0 - shares.iter().map(|share| 1.0 - share).product::<f64>()
}

fn comparison(operator: Comparison, left: &Expr, right: &Expr, input: &Estimate, columns: &Columns) -> f64 {
    let (subject, operator, constant) = match (left, right) {
        (_, Expr::Literal(scalar)) => (left, operator, scalar),
        (Expr::Literal(scalar), _) => (right, mirrored(operator), scalar),
        _ => return two_sided(operator, left, right, input, columns),
    };
    let column = expressions::of_expression(subject, input, columns);
    let mut constraint = Constraint::default();
    if constraint.add(operator, constant) { constraint.selectivity(&column) } else { OPAQUE }
}

fn two_sided(operator: Comparison, left: &Expr, right: &Expr, input: &Estimate, columns: &Columns) -> f64 {
    let (a, b) = (expressions::of_expression(left, input, columns), expressions::of_expression(right, input, columns));
    let equal = 1.0 / a.distinct.max(b.distinct).max(1.0);
    let not_null = (1.0 - a.null_fraction) * (1.0 - b.null_fraction);
    match operator {
        Comparison::Equal => equal * not_null,
        Comparison::NotDistinct => equal,
        Comparison::NotEqual => (1.0 - equal) * not_null,
        Comparison::Distinct => 1.0 - equal,
        Comparison::Less | Comparison::LessOrEqual => ordered(&a, &b) * not_null,
        Comparison::Greater | Comparison::GreaterOrEqual => ordered(&b, &a) * not_null,
    }
}

/// How likely `a < b` is: certain or impossible where their ranges do not meet.
fn ordered(a: &ColumnEstimate, b: &ColumnEstimate) -> f64 {
    let below = |a: &Option<Scalar>, b: &Option<Scalar>| match (a, b) {
        (Some(a), Some(b)) => ranges::compare(a, b).is_some_and(|order| order.is_lt()),
        _ => false,
    };
    if below(&a.max, &b.min) {
        1.0
    } else if below(&b.max, &a.min) {
        0.0
    } else {
        INEQUALITY
    }
}

fn like(operand: &Expr, pattern: &Expr, input: &Estimate, columns: &Columns) -> f64 {
    let Expr::Literal(Scalar::Utf8(pattern)) = pattern else { return OPAQUE };
    let Some(wildcard) = pattern.find(['%', '_']) else {
        return 1.0 / expressions::of_expression(operand, input, columns).distinct.max(1.0);
    };
    if pattern.bytes().all(|byte| byte == b'%') {
        1.0
    } else if wildcard > 0 {
        LIKE_PREFIX
    } else {
        LIKE_ANYWHERE
    }
}

/// `column operator constant`, in either order.
pub(super) fn column_against_constant(expr: &Expr) -> Option<(ColumnId, Comparison, &Scalar)> {
    match expr {
        Expr::Compare(operator, left, right) => match (&**left, &**right) {
            (Expr::Column(id), Expr::Literal(scalar)) => Some((*id, *operator, scalar)),
            (Expr::Literal(scalar), Expr::Column(id)) => Some((*id, mirrored(*operator), scalar)),
            _ => None,
        },
        _ => None,
    }
}

fn column_pair(expr: &Expr) -> Option<(ColumnId, ColumnId)> {
    match expr {
        Expr::Compare(Comparison::Equal, left, right) => match (&**left, &**right) {
            (Expr::Column(left), Expr::Column(right)) if left != right => Some((*left, *right)),
            _ => None,
        },
        _ => None,
    }
}

fn mirrored(operator: Comparison) -> Comparison {
    match operator {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        symmetric => symmetric,
    }
}

/// Conjuncts sorted by the one column they constrain.
struct Constraints<'e> {
    by_column: BTreeMap<ColumnId, Constraint>,
    others: Vec<&'e Expr>,
}

/// What conjuncts ask of one column.
#[derive(Default)]
struct Constraint {
    low: Option<Scalar>,
    high: Option<Scalar>,
    /// Values that are allowed; `None`: all.
    among: Option<Vec<Scalar>>,
    excluded: usize,
}

impl<'e> Constraints<'e> {
    fn of(conjuncts: &'e [Expr]) -> Self {
        let mut constraints = Constraints { by_column: BTreeMap::new(), others: Vec::new() };
        for conjunct in conjuncts {
            constraints.add(conjunct);
        }
        constraints
    }

    fn add(&mut self, conjunct: &'e Expr) {
        if let Expr::And(operands) = conjunct {
            operands.iter().for_each(|operand| self.add(operand));
            return;
        }
        if let Some((id, operator, scalar)) = column_against_constant(conjunct)
            && self.by_column.entry(id).or_default().add(operator, scalar)
        {
            return;
        }
        if let Expr::InList { operand, list } = conjunct
            && let Expr::Column(id) = **operand
        {
            self.by_column.entry(id).or_default().add_list(list);
            return;
        }
        self.others.push(conjunct);
    }
}

impl Constraint {
    /// Adds a comparison; false if it says nothing here.
    fn add(&mut self, operator: Comparison, scalar: &Scalar) -> bool {
        if scalar.is_null() {
            return false;
        }
        match operator {
            Comparison::Equal | Comparison::NotDistinct => self.add_list(std::slice::from_ref(scalar)),
            Comparison::NotEqual => self.excluded += 1,
            Comparison::Less | Comparison::LessOrEqual => self.high = smaller(self.high.take(), Some(scalar.clone())),
            Comparison::Greater | Comparison::GreaterOrEqual => self.low = larger(self.low.take(), Some(scalar.clone())),
            Comparison::Distinct => return false,
        }
        true
    }

    fn add_list(&mut self, list: &[Scalar]) {
        let list = list.iter().filter(|scalar| !scalar.is_null());
        self.among = Some(match self.among.take() {
            Some(before) => before.into_iter().filter(|scalar| list.clone().any(|other| other == scalar)).collect(),
            None => list.cloned().collect(),
        });
    }

    fn selectivity(&self, column: &ColumnEstimate) -> f64 {
        let distinct = column.distinct.max(1.0);
        let mut share = match &self.among {
            Some(values) => values.iter().filter(|value| self.allows(value) && may_hold(column, value)).count() as f64 / distinct,
            None => self.range_share(column),
        };
        share *= (1.0 - self.excluded as f64 / distinct).max(0.0);
        (share * (1.0 - column.null_fraction)).clamp(0.0, 1.0)
    }

    fn allows(&self, value: &Scalar) -> bool {
        let is = |order: Option<std::cmp::Ordering>, not: std::cmp::Ordering| order != Some(not);
        self.low.as_ref().is_none_or(|low| is(ranges::compare(value, low), std::cmp::Ordering::Less))
            && self.high.as_ref().is_none_or(|high| is(ranges::compare(value, high), std::cmp::Ordering::Greater))
    }

    fn range_share(&self, column: &ColumnEstimate) -> f64 {
        let (low, high) = (self.low.as_ref(), self.high.as_ref());
        if low.is_none() && high.is_none() {
            return 1.0;
        }
        if let Some(normal) = column.distribution {
            let above = low.and_then(ranges::position).map_or(1.0, |low| tail((low - normal.mean) / normal.deviation));
            let beyond = high.and_then(ranges::position).map_or(0.0, |high| tail((high - normal.mean) / normal.deviation));
            return (above - beyond).max(SELECTIVITY_MIN);
        }
        let guess = INEQUALITY.powi(i32::from(low.is_some()) + i32::from(high.is_some()));
        let (Some(min), Some(max)) = (&column.min, &column.max) else { return guess };
        let (Some(first), Some(last)) = (ranges::position(min), ranges::position(max)) else { return guess };
        let step = ranges::step(min);
        let start = low.and_then(ranges::position).map_or(first, |low| low.max(first));
        let end = high.and_then(ranges::position).map_or(last, |high| high.min(last));
        if start > end {
            return 0.0;
        }
        let width = last - first + step;
        if width <= 0.0 { 1.0 } else { ((end - start + step) / width).clamp(0.0, 1.0) }
    }

    /// The column where only allowed values are left.
    fn apply(&self, mut column: ColumnEstimate, rows: f64) -> ColumnEstimate {
        let (distinct, domain) = match &self.among {
            Some(values) => (column.distinct.min(values.len() as f64), column.domain.min(values.len() as f64)),
            None => {
                let share = self.range_share(&column) * (1.0 - self.excluded as f64 / column.distinct.max(1.0)).max(0.0);
                (column.distinct * share, column.domain * share)
            }
        };
        let low = self.among.as_ref().map_or(self.low.clone(), |values| extreme(values, larger_first).or(self.low.clone()));
        let high = self.among.as_ref().map_or(self.high.clone(), |values| extreme(values, smaller_first).or(self.high.clone()));
        column.min = larger(column.min, low);
        column.max = smaller(column.max, high);
        column.distinct = distinct.min(rows).max(1.0);
        column.domain = domain.max(column.distinct);
        column.null_fraction = 0.0;
        column.distribution = None;
        column
    }
}

fn larger_first(a: Scalar, b: Scalar) -> Option<Scalar> {
    ranges::compare(&a, &b).map(|order| if order.is_gt() { b } else { a })
}

fn smaller_first(a: Scalar, b: Scalar) -> Option<Scalar> {
    ranges::compare(&a, &b).map(|order| if order.is_lt() { b } else { a })
}

/// Folds `values` by `choose`; `None` if there is none or they cannot be compared.
fn extreme(values: &[Scalar], choose: fn(Scalar, Scalar) -> Option<Scalar>) -> Option<Scalar> {
    let mut values = values.iter().cloned();
    let first = values.next()?;
    // A single NaN is not comparable with itself.
    ranges::compare(&first, &first)?;
    values.try_fold(first, choose)
}

fn may_hold(column: &ColumnEstimate, value: &Scalar) -> bool {
    let below = column.min.as_ref().and_then(|min| ranges::compare(value, min)).is_some_and(|order| order.is_lt());
    let above = column.max.as_ref().and_then(|max| ranges::compare(value, max)).is_some_and(|order| order.is_gt());
    !below && !above
}

/// The share of a standard normal distribution above `z` (the logistic approximation of Bowling et al. 2009, which is good to 0.0002).
fn tail(z: f64) -> f64 {
    1.0 / (1.0 + (0.07056 * z.powi(3) + 1.5976 * z).exp())
}
