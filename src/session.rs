//! A session: one client's settings, views and statements, and the life of a query read aloud.
//!
//! Position: under `server::pgwire` and the command line, above everything else. Deliberately elsewhere: the
//! protocol (portals, formats, the transaction state byte).

use std::sync::Arc;

use arrow::datatypes::DataType;
use operators::Scalar;
use pipelines::CancelToken;

use crate::{engine::Engine, error::Result, execution::results::ResultStream, sql::statement::Statement};

/// One client's state.
pub struct Session {
    engine: Arc<Engine>,
}

/// A statement that has been bound once: what the protocol must tell before it runs.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement; bound again when executed, with the values of its parameters.
    pub statement: Statement,
    /// Types of `$1`, `$2`, …, as given or inferred.
    pub parameter_types: Vec<DataType>,
    /// Columns of the result; `None` for statements that return no rows.
    pub columns: Option<Vec<ResultColumn>>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultColumn {
    /// Header.
    pub name: String,
    /// Physical type; strings as `Utf8View`.
    pub data_type: DataType,
}

/// What executing a statement gives.
pub enum Outcome {
    /// Rows, as they are computed.
    Rows(ResultStream),
    /// Done; the protocol's command tag ("SET", "CREATE VIEW", "BEGIN").
    Command(String),
}

impl Session {
    /// A session with default settings.
    pub fn new(engine: Arc<Engine>) -> Self {
        Session { engine }
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Splits and parses a text of several statements.
    ///
    /// # Errors
    /// Syntax errors, with a position in `text`.
    pub fn parse(&self, text: &str) -> Result<Vec<Statement>> {
        crate::sql::parser::parse(text)
    }

    /// Binds a statement once, to learn the types of its parameters and result.
    ///
    /// # Errors
    /// Whatever binding says, with a position in the statement's text.
    pub fn prepare(&self, _statement: Statement, _parameter_types: &[Option<DataType>]) -> Result<Prepared> {
        Err(crate::Error::unsupported("this"))
    }

    /// Executes a prepared statement. Returns as soon as its first rows can be asked for; `cancel` stops it,
    /// and so does dropping the result.
    ///
    /// # Errors
    /// Whatever goes wrong before the first row.
    pub fn execute(&mut self, _prepared: &Prepared, _parameters: &[Scalar], _cancel: CancelToken) -> Result<Outcome> {
        Err(crate::Error::unsupported("this"))
    }
}
