//! A parsed statement: which kind it is, and the text it came from.

use sqlparser::ast;

/// A parsed statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Its text alone, as the client wrote it.
    pub text: String,
    /// Characters of the message's text before this statement's: positions in errors are relative to the whole message.
    pub offset: usize,
    /// What it does.
    pub kind: StatementKind,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
pub enum StatementKind {
    /// SELECT, VALUES, WITH, TABLE.
    Query(Box<ast::Query>),
    /// EXPLAIN of a query.
    Explain {
        /// Runs it and shows what happened.
        analyze: bool,
        /// JSON instead of text.
        json: bool,
        /// As it is cut for the nodes of a cluster.
        distributed: bool,
        /// Of what.
        query: Box<ast::Query>,
    },
    /// CREATE [OR REPLACE] VIEW; the view lives as long as the session.
    CreateView {
        /// As written.
        name: ast::ObjectName,
        /// Column names, if given.
        columns: Vec<String>,
        /// Replaces an existing one.
        or_replace: bool,
        /// What it shows.
        query: Box<ast::Query>,
    },
    /// DROP VIEW.
    DropView {
        /// As written.
        names: Vec<ast::ObjectName>,
        /// No error if absent.
        if_exists: bool,
    },
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO: the command tag.
    Savepoint(&'static str),
    /// SET: name (lower case) and value as text; `None`: DEFAULT.
    Set {
        /// Setting.
        name: String,
        /// New value.
        value: Option<String>,
    },
    /// RESET of a setting, or of all.
    Reset(Option<String>),
    /// SHOW of a setting (lower case), "all" included.
    Show(String),
    /// SHOW TABLES.
    ShowTables,
    /// PREPARE name AS query.
    Prepare {
        /// Name.
        name: String,
        /// Declared parameter types, as SQL.
        parameter_types: Vec<ast::DataType>,
        /// The statement.
        statement: Box<Statement>,
    },
    /// EXECUTE name (parameters).
    Execute {
        /// Name.
        name: String,
        /// Constant expressions.
        parameters: Vec<ast::Expr>,
    },
    /// DEALLOCATE one or all.
    Deallocate(Option<String>),
    /// DISCARD ALL.
    DiscardAll,
    /// Nothing between two semicolons.
    Empty,
}
