//! Names into columns, text into types: a parsed query becomes a logical plan.
//!
//! One file per kind of thing that is bound: [`query`] (WITH, ORDER BY, LIMIT), [`set_operation`], [`select`]
//! with [`aggregate`], [`from`] with [`table`], [`cte`]; [`expression`] with [`operator`], [`comparison`],
//! [`call`], [`subquery`], [`literal`], [`datatype`]; [`scope`] knows which names are visible where,
//! [`parameter`] what `$n` stands for, [`conversion`] puts casts into plans.
//!
//! A plan that comes out is correct but naive: joins in the order written, filters where they stood,
//! subqueries inside expressions. All of that is the optimizer's.

mod aggregate;
mod call;
mod comparison;
mod conversion;
mod cte;
mod datatype;
mod expression;
mod from;
mod literal;
mod naming;
mod operator;
mod parameter;
mod query;
mod scope;
mod select;
mod set_operation;
mod subquery;
mod table;

use std::collections::{HashMap, HashSet};

use arrow::datatypes::DataType;
use operators::Scalar;
use sqlparser::{ast, tokenizer::Span};

use super::{parser, position};
use crate::{
    catalog::Catalogs,
    error::{Error, Result},
    plan::logical::{ColumnId, Columns, Expr, OutputColumn, Query},
};

pub use datatype::parameter_type;

/// What names mean in a session.
pub struct BindContext<'a> {
    /// Tables.
    pub catalogs: &'a Catalogs,
    /// Catalog for names without one.
    pub default_catalog: &'a str,
    /// Schemas for names without one, in order.
    pub search_path: &'a [String],
    /// The session's views by lower-case name.
    pub views: &'a HashMap<String, View>,
    /// `now()` and `current_date`: microseconds since 1970 UTC, the same for a whole statement.
    pub now_us: i64,
    /// `current_user`.
    pub user: &'a str,
}

/// A view of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Column names, if given.
    pub columns: Vec<String>,
    /// Its query.
    pub query: Box<ast::Query>,
}

/// What stands for `$1`, `$2`, …
#[derive(Debug, Clone)]
pub enum Parameters<'a> {
    /// Types as far as the client gave them; the others are inferred. The plan holds NULLs in their place.
    Types(&'a [Option<DataType>]),
    /// Values.
    Values(&'a [Scalar]),
}

/// A bound query.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The plan.
    pub query: Query,
    /// Types of all parameters, given or inferred.
    pub parameter_types: Vec<DataType>,
}

/// Stack of the thread that binds; what a statement of the deepest nesting that is allowed needs at most.
const STACK_BYTES: usize = 256 << 20;
/// Levels of expressions and queries that the calling thread's own stack is surely good for.
const LEVELS_WITHOUT_CARE: usize = 32;
/// Levels of expressions and queries within each other, views included.
const LEVELS_MAX: usize = 400;

/// Binds a query. `text` is the statement's text, for positions; those in errors are characters of `text`, so
/// whoever cut it out of a longer message adds [`super::statement::Statement::offset`].
///
/// # Errors
/// Unknown names (42P01, 42703, 42883), types that do not fit (42804), what is not supported (0A000), each
/// with its position.
pub fn bind(query: &ast::Query, text: &str, parameters: Parameters<'_>, context: &BindContext<'_>) -> Result<Bound> {
    match Binder::new(text, &parameters, context, LEVELS_WITHOUT_CARE).bind(query) {
        Err(Failure::TooDeep) => {
            let deep = || Binder::new(text, &parameters, context, LEVELS_MAX).bind(query).map_err(Failure::into_error);
            parser::on_large_stack(STACK_BYTES, deep)
        }
        Err(Failure::Error(error)) => Err(error),
        Ok(bound) => Ok(bound),
    }
}

/// Why a query was not bound.
enum Failure {
    /// The limit of levels was met.
    TooDeep,
    Error(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::TooDeep => parser::too_complex(),
            Failure::Error(error) => error,
        }
    }
}

/// Everything that is known while a query is bound.
struct Binder<'a> {
    context: &'a BindContext<'a>,
    /// The statement's text; `None` inside a view, whose text is not the statement's.
    text: Option<&'a str>,
    /// All columns so far.
    columns: Columns,
    /// Columns that an outer join may have filled with NULL.
    nulled: HashSet<ColumnId>,
    parameters: parameter::ParameterTypes<'a>,
    ctes: cte::Ctes<'a>,
    /// Views being expanded.
    open_views: Vec<String>,
    /// Nodes of expressions that were copied (BETWEEN, CASE x WHEN): their number can explode.
    copied: usize,
    level: usize,
    level_max: usize,
    too_deep: bool,
}

impl<'a> Binder<'a> {
    fn new(text: &'a str, parameters: &Parameters<'a>, context: &'a BindContext<'a>, level_max: usize) -> Self {
        Binder {
            context,
            text: Some(text),
            columns: Columns::default(),
            nulled: HashSet::new(),
            parameters: parameter::ParameterTypes::new(parameters),
            ctes: cte::Ctes::default(),
            open_views: vec![],
            copied: 0,
            level: 0,
            level_max,
            too_deep: false,
        }
    }

    fn bind(mut self, query: &'a ast::Query) -> std::result::Result<Bound, Failure> {
        let result = self.bind_query(query, None);
        if self.too_deep {
            return Err(Failure::TooDeep);
        }
        let relation = result.map_err(Failure::Error)?;
        self.settle(&relation.output);
        let output = relation.output.into_iter().map(|o| OutputColumn { name: o.name, column: o.id }).collect();
        let mut query = Query { root: relation.plan, columns: self.columns, output, ctes: vec![] };
        self.ctes.place(&mut query);
        Ok(Bound { query, parameter_types: self.parameters.into_types() })
    }

    /// Calls `work` one level deeper.
    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.level >= self.level_max {
            self.too_deep = true;
            return Err(parser::too_complex());
        }
        self.level += 1;
        let result = work(self);
        self.level -= 1;
        result
    }

    /// The character at which `span` starts.
    fn position(&self, span: Span) -> Option<usize> {
        self.text.and_then(|text| position::of_span(text, span))
    }

    /// Whether `expr` may be NULL.
    fn is_nullable(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Column(id) => self.columns.get(*id).nullable || self.nulled.contains(id),
            Expr::Literal(scalar) => scalar.is_null(),
            Expr::IsNull(_) => false,
            Expr::Compare(operators::expression::Comparison::Distinct | operators::expression::Comparison::NotDistinct, ..) => false,
            Expr::Case { branches, otherwise, .. } => {
                otherwise.as_ref().is_none_or(|e| self.is_nullable(e)) || branches.iter().any(|(_, value)| self.is_nullable(value))
            }
            Expr::Function(operators::expression::ScalarFunction::Coalesce, arguments, _) => arguments.iter().all(|a| self.is_nullable(a)),
            Expr::Function(operators::expression::ScalarFunction::NullIf, ..) => true,
            Expr::Subquery(subquery) => !matches!(subquery.kind, crate::plan::logical::SubqueryKind::Exists),
            other => {
                let mut nullable = false;
                other.for_each_child(|child| nullable = nullable || self.is_nullable(child));
                nullable || matches!(other, Expr::InList { list, .. } if list.iter().any(Scalar::is_null))
            }
        }
    }
}

#[cfg(test)]
mod tests;
