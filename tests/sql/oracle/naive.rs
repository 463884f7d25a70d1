//! A row-at-a-time evaluator of logical plans, correlated subqueries included: nothing is clever here, so that
//! what it says can be trusted. Subqueries and dependent joins are evaluated once per outer row.

use std::{cell::Cell, cmp::Ordering, collections::HashMap};

use arneb::plan::logical::*;
use arrow::datatypes::DataType;
use operators::{Scalar, aggregate::AggregateFunction, expression::Comparison, set_operation::SetOperator, types};

use super::scalar::{self, group_key, null, unsupported};

/// Why a query has no result.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    DivisionByZero,
    Overflow,
    MoreThanOneRow,
    /// The evaluator does not know it.
    Unsupported(String),
}

pub type Outcome<T> = Result<T, Failure>;

/// Values by column.
pub type Row = HashMap<ColumnId, Scalar>;

/// Rows of tables, columns in the order of their schemas.
pub type Tables = HashMap<TableName, Vec<Vec<Scalar>>>;

/// Pairs of rows that joins may look at in one query; some would take minutes.
const PAIRS_MAX: u64 = 300_000;

/// The rows of `query`, in order where it has one.
pub fn evaluate(query: &Query, tables: &Tables) -> Outcome<Vec<Vec<Scalar>>> {
    let mut naive = Naive { tables, columns: &query.columns, ctes: HashMap::new(), pairs: Cell::new(0) };
    for cte in &query.ctes {
        let rows = naive.plan(&cte.plan, &Row::new())?;
        naive.ctes.insert(cte.id, rows.iter().map(|row| cte.output.iter().map(|id| row[id].clone()).collect()).collect());
    }
    let rows = naive.plan(&query.root, &Row::new())?;
    Ok(rows.into_iter().map(|row| query.output.iter().map(|o| row[&o.column].clone()).collect()).collect())
}

struct Naive<'a> {
    tables: &'a Tables,
    columns: &'a Columns,
    ctes: HashMap<CteId, Vec<Vec<Scalar>>>,
    pairs: Cell<u64>,
}

fn joined(left: &Row, right: &Row) -> Row {
    left.iter().chain(right).map(|(id, value)| (*id, value.clone())).collect()
}

fn is_true(value: &Scalar) -> bool {
    *value == Scalar::Boolean(true)
}

fn keyed(values: &[Scalar]) -> String {
    values.iter().map(group_key).collect::<Vec<_>>().join("|")
}

impl Naive<'_> {
    /// The rows of `plan` for one row of the outer queries.
    fn plan(&self, plan: &LogicalPlan, outer: &Row) -> Outcome<Vec<Row>> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let read = |row: &Vec<Scalar>| scan.columns.iter().map(|(id, index)| (*id, row[*index].clone())).collect::<Row>();
                let mut rows = vec![];
                for row in self.tables[&scan.table].iter().map(read) {
                    if self.all(&scan.filters, &joined(outer, &row))? {
                        rows.push(row);
                    }
                }
                if let Some(output) = &scan.output {
                    rows.iter_mut().for_each(|row| row.retain(|id, _| output.contains(id)));
                }
                Ok(rows)
            }
            LogicalPlan::CteScan(scan) => {
                Ok(self.ctes[&scan.cte].iter().map(|row| scan.columns.iter().map(|(id, i)| (*id, row[*i].clone())).collect()).collect())
            }
            LogicalPlan::Values(values) => {
                Ok(values.rows.iter().map(|row| values.columns.iter().copied().zip(row.iter().cloned()).collect()).collect())
            }
            LogicalPlan::Filter { input, predicate } => {
                let mut kept = vec![];
                for row in self.plan(input, outer)? {
                    if self.all(predicate, &joined(outer, &row))? {
                        kept.push(row);
                    }
                }
                Ok(kept)
            }
            LogicalPlan::Project { input, expressions } => {
                let project = |row: Row| {
                    let known = joined(outer, &row);
                    expressions.iter().map(|(id, e)| Ok((*id, self.expr(e, &known)?))).collect::<Outcome<Row>>()
                };
                self.plan(input, outer)?.into_iter().map(project).collect()
            }
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => self.join(join, outer),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, outer),
            LogicalPlan::Sort { input, keys } => self.sort(self.plan(input, outer)?, keys, outer),
            LogicalPlan::Limit { input, limit, offset } => {
                let rows = self.plan(input, outer)?.into_iter().skip(*offset as usize);
                Ok(rows.take(limit.map_or(usize::MAX, |n| n as usize)).collect())
            }
            LogicalPlan::UnionAll { inputs, output } => {
                let mut rows = vec![];
                for (index, input) in inputs.iter().enumerate() {
                    for row in self.plan(input, outer)? {
                        let known = joined(outer, &row);
                        rows.push(output.iter().map(|(id, sources)| (*id, known[&sources[index]].clone())).collect());
                    }
                }
                Ok(rows)
            }
            LogicalPlan::SetOperation { operator, left, right, output } => {
                let left_ids: Vec<ColumnId> = output.iter().map(|(_, left, _)| *left).collect();
                let right_ids: Vec<ColumnId> = output.iter().map(|(_, _, right)| *right).collect();
                let left = self.tuples(left, &left_ids, outer)?;
                let right = self.tuples(right, &right_ids, outer)?;
                let rows = set_operation(*operator, left, &right);
                Ok(rows.into_iter().map(|row| output.iter().map(|(id, ..)| *id).zip(row).collect()).collect())
            }
        }
    }

    fn tuples(&self, plan: &LogicalPlan, ids: &[ColumnId], outer: &Row) -> Outcome<Vec<Vec<Scalar>>> {
        let rows = self.plan(plan, outer)?;
        Ok(rows.iter().map(|row| joined(outer, row)).map(|row| ids.iter().map(|id| row[id].clone()).collect()).collect())
    }

    fn join(&self, join: &Join, outer: &Row) -> Outcome<Vec<Row>> {
        let nulls = |plan: &LogicalPlan| plan.output().into_iter().map(|id| (id, null())).collect::<Row>();
        let mut rows = vec![];
        let left_rows = self.plan(&join.left, outer)?;
        let fixed_right = match join.right.free_columns().is_disjoint(&join.left.output_set()) {
            true => Some(self.plan(&join.right, outer)?),
            false => None,
        };
        let mut right_matched = vec![false; fixed_right.as_ref().map_or(0, Vec::len)];
        for left in &left_rows {
            let known = joined(outer, left);
            let dependent;
            let right_rows = match &fixed_right {
                Some(rows) => rows,
                None => {
                    dependent = self.plan(&join.right, &known)?;
                    &dependent
                }
            };
            self.pairs.set(self.pairs.get() + right_rows.len() as u64);
            if self.pairs.get() > PAIRS_MAX {
                return unsupported("a join of that many rows");
            }
            let mut matches = vec![];
            let mut unknown = false;
            for (index, right) in right_rows.iter().enumerate() {
                match self.conjunction(&join.condition, &joined(&known, right))? {
                    Scalar::Boolean(true) => matches.push(index),
                    Scalar::Boolean(false) => {}
                    _ => unknown = true,
                }
            }
            for index in &matches {
                if let Some(matched) = right_matched.get_mut(*index) {
                    *matched = true;
                }
            }
            let pairs = matches.iter().map(|index| joined(left, &right_rows[*index]));
            match join.kind {
                JoinKind::Inner | JoinKind::Right => rows.extend(pairs),
                JoinKind::Left | JoinKind::Full | JoinKind::Single => {
                    if join.kind == JoinKind::Single && matches.len() > 1 {
                        return Err(Failure::MoreThanOneRow);
                    }
                    rows.extend(pairs);
                    if matches.is_empty() {
                        rows.push(joined(left, &nulls(&join.right)));
                    }
                }
                JoinKind::Semi if !matches.is_empty() => rows.push(left.clone()),
                JoinKind::Anti if matches.is_empty() => rows.push(left.clone()),
                JoinKind::Semi | JoinKind::Anti => {}
                JoinKind::Mark(mark) => {
                    let value = if !matches.is_empty() {
                        Scalar::Boolean(true)
                    } else if unknown {
                        null()
                    } else {
                        Scalar::Boolean(false)
                    };
                    rows.push(joined(left, &Row::from([(mark, value)])));
                }
            }
        }
        if let (JoinKind::Right | JoinKind::Full, Some(right_rows)) = (join.kind, &fixed_right) {
            let unmatched = right_rows.iter().zip(&right_matched).filter(|(_, matched)| !**matched);
            rows.extend(unmatched.map(|(right, _)| joined(&nulls(&join.left), right)));
        }
        Ok(rows)
    }

    fn aggregate(&self, aggregate: &Aggregate, outer: &Row) -> Outcome<Vec<Row>> {
        let mut groups: Vec<(Vec<Scalar>, Vec<Row>)> = vec![];
        let mut index: HashMap<String, usize> = HashMap::new();
        for row in self.plan(&aggregate.input, outer)? {
            let known = joined(outer, &row);
            let keys = aggregate.keys.iter().map(|(_, e)| self.expr(e, &known)).collect::<Outcome<Vec<_>>>()?;
            let place = *index.entry(keyed(&keys)).or_insert(groups.len());
            if place == groups.len() {
                groups.push((keys, vec![]));
            }
            groups[place].1.push(known);
        }
        if groups.is_empty() && aggregate.keys.is_empty() {
            groups.push((vec![], vec![]));
        }
        let mut rows = vec![];
        for (keys, members) in groups {
            let mut row: Row = aggregate.keys.iter().map(|(id, _)| *id).zip(keys).collect();
            for (id, call) in &aggregate.aggregates {
                row.insert(*id, self.call(call, &members)?);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn call(&self, call: &AggregateExpr, rows: &[Row]) -> Outcome<Scalar> {
        let mut values: Vec<Scalar> = vec![];
        let mut seen = std::collections::HashSet::new();
        for row in rows {
            if let Some(filter) = &call.filter
                && !is_true(&self.expr(filter, row)?)
            {
                continue;
            }
            let value = match call.arguments.first() {
                Some(argument) => self.expr(argument, row)?,
                None => Scalar::Boolean(true),
            };
            if !call.distinct || seen.insert(group_key(&value)) {
                values.push(value);
            }
        }
        if call.function == AggregateFunction::First {
            return Ok(values.first().cloned().unwrap_or_else(null));
        }
        values.retain(|value| !value.is_null());
        let argument_type = call.arguments.first().map_or(DataType::Null, |a| a.data_type(self.columns));
        aggregate_values(call.function, &values, &argument_type)
    }

    fn sort(&self, rows: Vec<Row>, keys: &[SortKey], outer: &Row) -> Outcome<Vec<Row>> {
        let mut keyed_rows = vec![];
        for row in rows {
            let known = joined(outer, &row);
            let values = keys.iter().map(|key| self.expr(&key.expr, &known)).collect::<Outcome<Vec<_>>>()?;
            keyed_rows.push((values, row));
        }
        keyed_rows.sort_by(|(left, _), (right, _)| {
            let mut orders = keys.iter().zip(left.iter().zip(right)).map(|(key, (l, r))| match (l.is_null(), r.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) if key.nulls_first => Ordering::Less,
                (true, false) => Ordering::Greater,
                (false, true) if key.nulls_first => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => {
                    let order = scalar::order(l, r).unwrap_or(Ordering::Equal);
                    if key.descending { order.reverse() } else { order }
                }
            });
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        Ok(keyed_rows.into_iter().map(|(_, row)| row).collect())
    }

    fn all(&self, conjuncts: &[Expr], row: &Row) -> Outcome<bool> {
        Ok(is_true(&self.conjunction(conjuncts, row)?))
    }

    /// Kleene AND; stops at the first false operand.
    fn conjunction(&self, conjuncts: &[Expr], row: &Row) -> Outcome<Scalar> {
        let mut result = Scalar::Boolean(true);
        for conjunct in conjuncts {
            match self.expr(conjunct, row)? {
                Scalar::Boolean(true) => {}
                Scalar::Boolean(false) => return Ok(Scalar::Boolean(false)),
                _ => result = null(),
            }
        }
        Ok(result)
    }

    fn expr(&self, expr: &Expr, row: &Row) -> Outcome<Scalar> {
        let not = |value: Scalar| match value {
            Scalar::Boolean(v) => Scalar::Boolean(!v),
            _ => null(),
        };
        match expr {
            Expr::Column(id) => Ok(row[id].clone()),
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Compare(comparison, left, right) => scalar::compare(*comparison, &self.expr(left, row)?, &self.expr(right, row)?),
            Expr::And(operands) => self.conjunction(operands, row),
            Expr::Or(operands) => {
                let mut result = Scalar::Boolean(false);
                for operand in operands {
                    match self.expr(operand, row)? {
                        Scalar::Boolean(false) => {}
                        Scalar::Boolean(true) => return Ok(Scalar::Boolean(true)),
                        _ => result = null(),
                    }
                }
                Ok(result)
            }
            Expr::Not(operand) => Ok(not(self.expr(operand, row)?)),
            Expr::IsNull(operand) => Ok(Scalar::Boolean(self.expr(operand, row)?.is_null())),
            Expr::Arithmetic(operator, left, right, data_type) => {
                scalar::arithmetic(*operator, &self.expr(left, row)?, &self.expr(right, row)?, data_type)
            }
            Expr::Negate(operand) => scalar::negate(&self.expr(operand, row)?),
            Expr::Cast(operand, data_type) => scalar::cast(&self.expr(operand, row)?, data_type),
            Expr::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    if is_true(&self.expr(condition, row)?) {
                        return self.expr(value, row);
                    }
                }
                otherwise.as_ref().map_or(Ok(null()), |value| self.expr(value, row))
            }
            Expr::Like { operand, pattern, escape, case_insensitive } => match (self.expr(operand, row)?, self.expr(pattern, row)?) {
                (Scalar::Utf8(text), Scalar::Utf8(pattern)) => {
                    let fold = |s: String| if *case_insensitive { s.to_lowercase() } else { s };
                    let (text, pattern): (Vec<char>, Vec<char>) = (fold(text).chars().collect(), fold(pattern).chars().collect());
                    Ok(Scalar::Boolean(scalar::like(&text, &pattern, *escape)))
                }
                _ => Ok(null()),
            },
            Expr::InList { operand, list } => {
                let operand = self.expr(operand, row)?;
                any(list.iter().map(|value| scalar::compare(Comparison::Equal, &operand, value)))
            }
            Expr::Function(function, arguments, data_type) => {
                let arguments = arguments.iter().map(|a| self.expr(a, row)).collect::<Outcome<Vec<_>>>()?;
                scalar::function(*function, &arguments, data_type)
            }
            Expr::Subquery(subquery) => self.subquery(subquery, row),
        }
    }

    fn subquery(&self, subquery: &Subquery, row: &Row) -> Outcome<Scalar> {
        let rows = self.tuples(&subquery.plan, &subquery.output, row)?;
        match &subquery.kind {
            SubqueryKind::Scalar if rows.len() > 1 => Err(Failure::MoreThanOneRow),
            SubqueryKind::Scalar => Ok(rows.into_iter().next().map_or_else(null, |mut values| values.remove(0))),
            SubqueryKind::Exists => Ok(Scalar::Boolean(!rows.is_empty())),
            SubqueryKind::Any { operands, comparison } => {
                let operands = operands.iter().map(|o| self.expr(o, row)).collect::<Outcome<Vec<_>>>()?;
                any(rows.iter().map(|values| {
                    let mut result = Scalar::Boolean(true);
                    for (operand, value) in operands.iter().zip(values) {
                        match scalar::compare(*comparison, operand, value)? {
                            Scalar::Boolean(true) => {}
                            Scalar::Boolean(false) => return Ok(Scalar::Boolean(false)),
                            _ => result = null(),
                        }
                    }
                    Ok(result)
                }))
            }
        }
    }
}

/// Kleene OR of all.
fn any(values: impl Iterator<Item = Outcome<Scalar>>) -> Outcome<Scalar> {
    let mut result = Scalar::Boolean(false);
    for value in values {
        match value? {
            Scalar::Boolean(true) => return Ok(Scalar::Boolean(true)),
            Scalar::Boolean(false) => {}
            _ => result = null(),
        }
    }
    Ok(result)
}

fn set_operation(operator: SetOperator, left: Vec<Vec<Scalar>>, right: &[Vec<Scalar>]) -> Vec<Vec<Scalar>> {
    let mut on_right: HashMap<String, usize> = HashMap::new();
    right.iter().for_each(|row| *on_right.entry(keyed(row)).or_default() += 1);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let keep = |row: &Vec<Scalar>| {
        let right_copies = on_right.get(&keyed(row)).copied().unwrap_or(0);
        let nth = seen.entry(keyed(row)).or_default();
        *nth += 1;
        match operator {
            SetOperator::Intersect => *nth == 1 && right_copies > 0,
            SetOperator::IntersectAll => *nth <= right_copies,
            SetOperator::Except => *nth == 1 && right_copies == 0,
            SetOperator::ExceptAll => *nth > right_copies,
        }
    };
    let mut keep = keep;
    left.into_iter().filter(|row| keep(row)).collect()
}

fn aggregate_values(function: AggregateFunction, values: &[Scalar], argument_type: &DataType) -> Outcome<Scalar> {
    use AggregateFunction::*;
    let sum_type = match argument_type {
        DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Int64 => types::decimal(38, 0),
        DataType::Float32 => DataType::Float32,
        DataType::Float64 => DataType::Float64,
        other => types::decimal_digits(other).map_or(DataType::Null, |(_, scale)| types::decimal(38, scale)),
    };
    let sum = |to: &DataType| {
        let mut total: Option<Scalar> = None;
        for value in values {
            let value = scalar::cast(value, to)?;
            total = Some(match total {
                None => value,
                Some(total) => scalar::arithmetic(operators::expression::Arithmetic::Add, &total, &value, to)?,
            });
        }
        Ok(total.unwrap_or_else(null))
    };
    let best = |wanted: Ordering| {
        let mut best: Option<&Scalar> = None;
        for value in values {
            if best.is_none() || scalar::order(value, best.expect("set"))? == wanted {
                best = Some(value);
            }
        }
        Ok(best.cloned().unwrap_or_else(null))
    };
    match function {
        CountStar | Count => Ok(Scalar::Int64(values.len() as i64)),
        Sum => sum(&sum_type),
        Min => best(Ordering::Less),
        Max => best(Ordering::Greater),
        Average => {
            let total = if sum_type == DataType::Int64 { sum(&types::decimal(38, 0))? } else { sum(&sum_type)? };
            let to = match argument_type {
                DataType::Float32 | DataType::Float64 => DataType::Float64,
                _ => types::decimal(38, types::QUOTIENT_SCALE),
            };
            let count = scalar::cast(
                &Scalar::Int64(values.len() as i64),
                &if to == DataType::Float64 { DataType::Float64 } else { types::decimal(19, 0) },
            )?;
            scalar::arithmetic(operators::expression::Arithmetic::Divide, &total, &count, &to)
        }
        BoolAnd | BoolOr if values.is_empty() => Ok(null()),
        BoolAnd => Ok(Scalar::Boolean(values.iter().all(is_true))),
        BoolOr => Ok(Scalar::Boolean(values.iter().any(is_true))),
        other => unsupported(other),
    }
}
