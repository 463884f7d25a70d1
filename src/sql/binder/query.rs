//! A whole query: WITH, the body, ORDER BY, LIMIT.

use arrow::datatypes::DataType;
use operators::Scalar;
use sqlparser::ast::{self, Spanned};

use super::{
    Binder,
    conversion::Typed,
    scope::{Clause, Environment, Scope, fold},
};
use crate::{
    error::{Error, ErrorKind, Result},
    plan::logical::{ColumnId, Expr, LogicalPlan, SortKey, Values},
};

/// A bound query or part of one. The plan may have more columns than the output.
#[derive(Debug)]
pub struct Relational {
    /// The plan.
    pub plan: LogicalPlan,
    /// What it offers.
    pub output: Vec<Output>,
}

/// A column of a query's result.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its column.
    pub id: ColumnId,
    /// A text literal, NULL or a parameter: text, unless a set operation or a comparison gives it another type.
    pub unknown: Option<Typed>,
}

impl Output {
    /// The column as an operand of whatever gives it a type.
    pub fn typed(&self, data_type: &DataType) -> Typed {
        self.unknown.clone().unwrap_or_else(|| Typed::new(Expr::Column(self.id), data_type.clone()))
    }
}

/// One row without columns: what `SELECT 1` reads from.
pub fn one_row() -> LogicalPlan {
    LogicalPlan::Values(Values { columns: vec![], rows: vec![vec![]] })
}

impl<'a> Binder<'a> {
    /// Binds a query inside those of `parent`.
    pub fn bind_query(&mut self, query: &'a ast::Query, parent: Option<&Environment<'_>>) -> Result<Relational> {
        self.deeper(|binder| {
            let mark = binder.ctes.mark();
            let result = binder.bind_query_with(query, parent);
            binder.ctes.forget(mark);
            result
        })
    }

    fn bind_query_with(&mut self, query: &'a ast::Query, parent: Option<&Environment<'_>>) -> Result<Relational> {
        let ast::Query { with, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } = query;
        let position = self.position(query.span());
        let refuse = |condition: bool, what: &str| if condition { Err(Error::unsupported(what).at(position)) } else { Ok(()) };
        refuse(!locks.is_empty(), "SELECT … FOR UPDATE/SHARE")?;
        refuse(for_clause.is_some(), "FOR XML/JSON/BROWSE")?;
        refuse(settings.is_some() || format_clause.is_some(), "SETTINGS or FORMAT")?;
        refuse(!pipe_operators.is_empty(), "a pipe operator")?;
        if let Some(with) = with {
            self.define_ctes(with, parent)?;
        }
        let order_by = self.order_by_expressions(order_by.as_ref())?;
        let mut relational = match unwrap_parentheses(body) {
            ast::SetExpr::Select(select) => self.bind_select(select, order_by, parent)?,
            other => {
                let relational = self.bind_body(other, parent)?;
                self.sort_by_output(relational, order_by)?
            }
        };
        if let Some((limit, offset)) = self.bind_limit(limit_clause.as_ref(), fetch.as_ref())? {
            relational.plan = LogicalPlan::Limit { input: Box::new(relational.plan), limit, offset };
        }
        Ok(relational)
    }

    /// Binds what stands between WITH and ORDER BY.
    pub fn bind_body(&mut self, body: &'a ast::SetExpr, parent: Option<&Environment<'_>>) -> Result<Relational> {
        match body {
            ast::SetExpr::Select(select) => self.bind_select(select, &[], parent),
            ast::SetExpr::Query(query) => self.bind_query(query, parent),
            ast::SetExpr::SetOperation { op, set_quantifier, .. } => self.bind_set_operation(body, *op, *set_quantifier, parent),
            ast::SetExpr::Values(values) => self.bind_values(values, parent),
            ast::SetExpr::Table(table) => self.bind_table_command(table),
            ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_) => {
                Err(Error::unsupported("a statement that changes data").at(self.position(body.span())))
            }
        }
    }

    /// Text for outputs whose type nothing has determined.
    pub fn settle(&mut self, output: &[Output]) {
        for parameter in output.iter().filter_map(|o| o.unknown.as_ref()?.parameter) {
            self.parameters.settle(parameter, &DataType::Utf8View);
        }
    }

    fn order_by_expressions(&self, order_by: Option<&'a ast::OrderBy>) -> Result<&'a [ast::OrderByExpr]> {
        let Some(order_by) = order_by else { return Ok(&[]) };
        if order_by.interpolate.is_some() {
            return Err(Error::unsupported("INTERPOLATE"));
        }
        match &order_by.kind {
            ast::OrderByKind::Expressions(expressions) => Ok(expressions),
            ast::OrderByKind::All(_) => Err(Error::unsupported("ORDER BY ALL").at(self.position(order_by.span()))),
        }
    }

    /// ORDER BY of a set operation: names and positions of the output only.
    fn sort_by_output(&mut self, relational: Relational, order_by: &'a [ast::OrderByExpr]) -> Result<Relational> {
        if order_by.is_empty() {
            return Ok(relational);
        }
        let output = &relational.output;
        let names: Vec<&str> = output.iter().map(|o| o.name.as_str()).collect();
        let mut keys = vec![];
        for item in order_by {
            let same = |a: usize, b: usize| output[a].id == output[b].id;
            let Some(at) = self.output_position(&item.expr, &names, same, "ORDER BY")? else {
                return Err(Error::unsupported("ORDER BY of a set operation by anything but its columns")
                    .with_hint("put the set operation into FROM, and order the query around it")
                    .at(self.position(item.expr.span())));
            };
            keys.push(self.sort_key(item, Expr::Column(relational.output[at].id))?);
        }
        Ok(Relational { plan: LogicalPlan::Sort { input: Box::new(relational.plan), keys }, output: relational.output })
    }

    /// The one of the output columns called `names` that an ordinal or a bare name means. Several columns of
    /// that name are no matter if they are the `same`.
    ///
    /// # Errors
    /// 42P10 for an ordinal that does not exist, 42702 for a name that several different outputs have.
    pub fn output_position(
        &self,
        expr: &ast::Expr,
        names: &[&str],
        same: impl Fn(usize, usize) -> bool,
        clause: &str,
    ) -> Result<Option<usize>> {
        match expr {
            ast::Expr::Value(value) if !matches!(value.value, ast::Value::Placeholder(_)) => {
                let position = self.position(value.span);
                match ordinal(&value.value) {
                    None => Err(Error::syntax(format!("non-integer constant in {clause}")).at(position)),
                    Some(at) if at >= 1 && at <= names.len() => Ok(Some(at - 1)),
                    Some(at) => Err(Error::binding("42P10", format!("{clause} position {at} is not in select list")).at(position)),
                }
            }
            ast::Expr::Identifier(name) => {
                let folded = fold(name);
                let mut found: Option<usize> = None;
                for (at, _) in names.iter().enumerate().filter(|(_, name)| **name == folded) {
                    match found {
                        Some(first) if !same(first, at) => {
                            let message = format!("{clause} \"{folded}\" is ambiguous");
                            return Err(Error::binding("42702", message).at(self.position(name.span)));
                        }
                        _ => found = found.or(Some(at)),
                    }
                }
                Ok(found)
            }
            _ => Ok(None),
        }
    }

    /// A sort key with PostgreSQL's defaults: NULLs are larger than everything.
    pub fn sort_key(&self, item: &ast::OrderByExpr, expr: Expr) -> Result<SortKey> {
        let ast::OrderByExpr { expr: written, options, with_fill } = item;
        if with_fill.is_some() {
            return Err(Error::unsupported("WITH FILL").at(self.position(written.span())));
        }
        let descending = match &options.sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(ast::OrderBySort::Using(_)) => return Err(Error::unsupported("ORDER BY … USING").at(self.position(written.span()))),
        };
        Ok(SortKey { expr, descending, nulls_first: options.nulls_first.unwrap_or(descending) })
    }

    fn bind_limit(&mut self, clause: Option<&'a ast::LimitClause>, fetch: Option<&'a ast::Fetch>) -> Result<Option<(Option<u64>, u64)>> {
        let (mut limit, mut offset) = (None, 0);
        match clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit: written, offset: written_offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(Error::unsupported("LIMIT … BY"));
                }
                if let Some(expr) = written {
                    limit = self.row_count(expr, "LIMIT")?;
                }
                if let Some(written) = written_offset {
                    offset = self.row_count(&written.value, "OFFSET")?.unwrap_or(0);
                }
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset: expr, .. }) => {
                return Err(Error::syntax("LIMIT #,# syntax is not supported")
                    .with_hint("use separate LIMIT and OFFSET clauses")
                    .at(self.position(expr.span())));
            }
        }
        if let Some(ast::Fetch { with_ties, percent, quantity }) = fetch {
            if *with_ties || *percent {
                return Err(Error::unsupported("FETCH … WITH TIES or PERCENT"));
            }
            limit = match quantity {
                Some(expr) => self.row_count(expr, "LIMIT")?,
                None => Some(1),
            };
        }
        Ok((clause.is_some() || fetch.is_some()).then_some((limit, offset)).filter(|(limit, offset)| limit.is_some() || *offset > 0))
    }

    /// The value of a constant number of rows; `None` for NULL.
    fn row_count(&mut self, expr: &'a ast::Expr, clause: &'static str) -> Result<Option<u64>> {
        let position = self.position(expr.span());
        let scope = Scope::default();
        let environment = Environment { scope: &scope, parent: None, clause: Clause::Limit, collector: None };
        let typed = self.bind_expr(expr, &environment).map_err(|error| match error.sqlstate.0 {
            "42703" => Error::binding("42P10", format!("argument of {clause} must not contain variables")).at(error.position),
            _ => error,
        })?;
        if !typed.is_unknown() && !crate::sql::coercion::is_number(&typed.data_type) {
            let message = format!("argument of {clause} must be type bigint, not type {}", typed.type_name());
            return Err(Error::binding("42804", message).at(position));
        }
        let coerced = self.coerce(typed, &DataType::Int64)?;
        match constant_integer(&coerced) {
            Some(None) => Ok(None),
            Some(Some(rows)) if rows >= 0 => Ok(u64::try_from(rows).ok()),
            Some(Some(_)) => {
                let code = if clause == "LIMIT" { "2201W" } else { "2201X" };
                Err(Error::new(ErrorKind::Data, code, format!("{clause} must not be negative")).at(position))
            }
            None => Err(Error::unsupported(format!("anything but a constant number in {clause}")).at(position)),
        }
    }
}

/// `(SELECT …) ORDER BY` sorts the SELECT itself.
fn unwrap_parentheses(mut body: &ast::SetExpr) -> &ast::SetExpr {
    while let ast::SetExpr::Query(query) = body {
        let ast::Query { with, body: inner, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } =
            &**query;
        let plain = with.is_none() && order_by.is_none() && limit_clause.is_none() && fetch.is_none() && locks.is_empty();
        if !plain || for_clause.is_some() || settings.is_some() || format_clause.is_some() || !pipe_operators.is_empty() {
            break;
        }
        body = inner;
    }
    body
}

fn ordinal(value: &ast::Value) -> Option<usize> {
    match value {
        ast::Value::Number(digits, _) => digits.parse().ok(),
        _ => None,
    }
}

/// The value of an expression of integer constants; `None` if it is none, or overflows.
fn constant_integer(expr: &Expr) -> Option<Option<i64>> {
    use operators::expression::Arithmetic;
    match expr {
        Expr::Literal(Scalar::Null(_)) => Some(None),
        Expr::Literal(Scalar::Int16(v)) => Some(Some(i64::from(*v))),
        Expr::Literal(Scalar::Int32(v)) => Some(Some(i64::from(*v))),
        Expr::Literal(Scalar::Int64(v)) => Some(Some(*v)),
        Expr::Cast(operand, to) if crate::sql::coercion::is_integer(to) => constant_integer(operand),
        Expr::Negate(operand) => match constant_integer(operand)? {
            Some(value) => value.checked_neg().map(Some),
            None => Some(None),
        },
        Expr::Arithmetic(operator, left, right, _) => {
            let (Some(left), Some(right)) = (constant_integer(left)?, constant_integer(right)?) else { return Some(None) };
            let value = match operator {
                Arithmetic::Add => left.checked_add(right),
                Arithmetic::Subtract => left.checked_sub(right),
                Arithmetic::Multiply => left.checked_mul(right),
                Arithmetic::Divide => left.checked_div(right),
                Arithmetic::Modulo => left.checked_rem(right),
            };
            value.map(Some)
        }
        _ => None,
    }
}
