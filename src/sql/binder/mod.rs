//! Names into columns, text into types: a parsed query becomes a logical plan.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use operators::Scalar;
use sqlparser::ast;

use crate::{catalog::Catalogs, error::Result, plan::logical::Query};

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
    /// Types as far as the client gave them; the others are inferred.
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

/// Binds a query. `text` is the statement's text, for positions.
///
/// # Errors
/// Unknown names (42P01, 42703, 42883), types that do not fit (42804), what is not supported (0A000), each
/// with its position.
pub fn bind(_query: &ast::Query, _text: &str, _parameters: Parameters<'_>, _context: &BindContext<'_>) -> Result<Bound> {
    Err(crate::Error::unsupported("this"))
}
