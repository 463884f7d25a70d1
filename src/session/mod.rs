//! A session: one client's settings, views and statements, and the life of a query read aloud.
//!
//! Position: under `server::pgwire` and the command line, above everything else. Deliberately elsewhere: the
//! protocol (portals, formats), phases of a query between binding and rows (`execution::query`).

pub mod settings;

use std::{collections::HashMap, sync::Arc, time::Instant};

use arrow::{
    array::{ArrayRef, StringViewArray},
    datatypes::DataType,
};
use operators::Scalar;
use pipelines::{Batch, CancelToken};
use sqlparser::ast;

use crate::{
    engine::Engine,
    error::{Error, Result},
    execution::{
        profile::{Phases, Profile},
        query::{self, PlannedQuery},
        registry::QueryEntry,
        results::ResultStream,
    },
    sql::{
        binder::{BindContext, Bound, Parameters, View, bind, parameter_type},
        statement::{Statement, StatementKind},
    },
};
use settings::Settings;

/// One client's state.
pub struct Session {
    engine: Arc<Engine>,
    settings: Settings,
    views: HashMap<String, View>,
    prepared: HashMap<String, Prepared>,
    transaction: Transaction,
    user: String,
}

/// Where the session stands in a transaction; the protocol's state byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    /// Outside (`I`).
    Idle,
    /// Inside (`T`).
    Active,
    /// Inside one that failed: only its end is accepted (`E`).
    Failed,
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
    /// Physical type; string columns may arrive as dictionaries all the same.
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
        let settings = Settings::new(&engine.options);
        Session {
            engine,
            settings,
            views: HashMap::new(),
            prepared: HashMap::new(),
            transaction: Transaction::Idle,
            user: "arneb".to_owned(),
        }
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The settings; the protocol sets those of its startup message, and reports some.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who `current_user` is.
    pub fn set_user(&mut self, user: impl Into<String>) {
        self.user = user.into();
    }

    /// Where the session stands in a transaction.
    pub fn transaction(&self) -> Transaction {
        self.transaction
    }

    /// To be called when a statement failed, also after its first rows.
    pub fn statement_failed(&mut self) {
        if self.transaction == Transaction::Active {
            self.transaction = Transaction::Failed;
        }
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
    pub fn prepare(&self, statement: Statement, parameter_types: &[Option<DataType>]) -> Result<Prepared> {
        self.check_transaction(&statement)?;
        let mut prepared = Prepared { statement, parameter_types: vec![], columns: None };
        match &prepared.statement.kind {
            StatementKind::Query(query) => {
                let bound = self.bind(query, &prepared.statement, Parameters::Types(parameter_types))?;
                prepared.columns = Some(result_columns(&bound));
                prepared.parameter_types = bound.parameter_types;
            }
            StatementKind::Explain { query, .. } => {
                prepared.parameter_types = self.bind(query, &prepared.statement, Parameters::Types(parameter_types))?.parameter_types;
                prepared.columns = Some(vec![text_column("QUERY PLAN")]);
            }
            StatementKind::Show(name) if name == "all" => {
                prepared.columns = Some(vec![text_column("name"), text_column("setting"), text_column("description")]);
            }
            StatementKind::Show(name) => prepared.columns = Some(vec![text_column(name)]),
            StatementKind::ShowTables => {
                prepared.columns = Some(vec![text_column("table_catalog"), text_column("table_schema"), text_column("table_name")]);
            }
            StatementKind::Execute { name, .. } => prepared.columns = self.prepared(name)?.columns.clone(),
            _ => {}
        }
        Ok(prepared)
    }

    /// Executes a prepared statement. Returns as soon as its first rows can be asked for; `cancel` stops it,
    /// and so does dropping the result.
    ///
    /// # Errors
    /// Whatever goes wrong before the first row.
    pub fn execute(&mut self, prepared: &Prepared, parameters: &[Scalar], cancel: CancelToken) -> Result<Outcome> {
        self.check_transaction(&prepared.statement)?;
        let outcome = self.run(prepared, parameters, cancel);
        if outcome.is_err() {
            self.statement_failed();
        }
        outcome
    }

    fn run(&mut self, prepared: &Prepared, parameters: &[Scalar], cancel: CancelToken) -> Result<Outcome> {
        let statement = &prepared.statement;
        let command = |tag: &str| Ok(Outcome::Command(tag.to_owned()));
        match &statement.kind {
            StatementKind::Query(query) => Ok(Outcome::Rows(self.query(query, statement, parameters, cancel)?)),
            StatementKind::Explain { distributed: true, query, .. } => {
                self.explain_distributed(query, statement, parameters).map(Outcome::Rows)
            }
            StatementKind::Explain { analyze, json, distributed: false, query } => {
                self.explain(query, statement, parameters, *analyze, *json, cancel).map(Outcome::Rows)
            }
            StatementKind::CreateView { name, columns, or_replace, query } => {
                self.create_view(name, columns, *or_replace, query, statement)?;
                command("CREATE VIEW")
            }
            StatementKind::DropView { names, if_exists } => {
                self.drop_views(names, *if_exists)?;
                command("DROP VIEW")
            }
            StatementKind::Begin => {
                self.transaction = Transaction::Active;
                command("BEGIN")
            }
            StatementKind::Commit => {
                let tag = if self.transaction == Transaction::Failed { "ROLLBACK" } else { "COMMIT" };
                self.transaction = Transaction::Idle;
                command(tag)
            }
            StatementKind::Rollback => {
                self.transaction = Transaction::Idle;
                command("ROLLBACK")
            }
            StatementKind::Savepoint(tag) => {
                if *tag == "ROLLBACK" && self.transaction == Transaction::Failed {
                    self.transaction = Transaction::Active;
                }
                command(tag)
            }
            StatementKind::Set { name, value } => {
                self.settings.set(name, value.as_deref())?;
                command("SET")
            }
            StatementKind::Reset(name) => {
                match name {
                    Some(name) => self.settings.set(name, None)?,
                    None => self.settings = Settings::new(&self.engine.options),
                }
                command("RESET")
            }
            StatementKind::Show(name) => Ok(Outcome::Rows(self.show(name)?)),
            StatementKind::ShowTables => Ok(Outcome::Rows(self.show_tables())),
            StatementKind::Prepare { name, parameter_types, statement } => {
                if self.prepared.contains_key(name) {
                    return Err(Error::binding("42P05", format!("prepared statement \"{name}\" already exists")));
                }
                let types = parameter_types.iter().map(|t| parameter_type(t).map(Some)).collect::<Result<Vec<_>>>()?;
                let prepared = self.prepare((**statement).clone(), &types)?;
                self.prepared.insert(name.clone(), prepared);
                command("PREPARE")
            }
            StatementKind::Execute { name, parameters } => {
                let prepared = self.prepared(name)?.clone();
                let values = self.evaluate_arguments(parameters, &prepared.parameter_types)?;
                self.run(&prepared, &values, cancel)
            }
            StatementKind::Deallocate(name) => {
                match name {
                    Some(name) => {
                        self.prepared(name)?;
                        self.prepared.remove(name);
                    }
                    None => self.prepared.clear(),
                }
                command("DEALLOCATE")
            }
            StatementKind::DiscardAll => {
                self.prepared.clear();
                self.views.clear();
                self.settings = Settings::new(&self.engine.options);
                command("DISCARD ALL")
            }
            StatementKind::Empty => command(""),
        }
    }

    /// The life of a query: bind → optimize and plan → run.
    fn query(&self, query: &ast::Query, statement: &Statement, parameters: &[Scalar], cancel: CancelToken) -> Result<ResultStream> {
        self.registered(statement, cancel.clone(), |entry| {
            let planned = self.plan(query, statement, Parameters::Values(parameters))?;
            Ok(query::start(&self.engine, planned, self.settings.distribution(), cancel, entry)?.rows)
        })
    }

    fn plan(&self, query: &ast::Query, statement: &Statement, parameters: Parameters<'_>) -> Result<PlannedQuery> {
        let start = Instant::now();
        let bound = self.bind(query, statement, parameters)?;
        let phases = Phases { bind_ns: start.elapsed().as_nanos() as u64, ..Phases::default() };
        query::plan(&self.engine, bound.query, phases)
    }

    /// Makes the query known while `work` plans and starts it; an error of `work` is its end.
    fn registered<T>(&self, statement: &Statement, cancel: CancelToken, work: impl FnOnce(Arc<QueryEntry>) -> Result<T>) -> Result<T> {
        let application = self.settings.get("application_name").unwrap_or_default();
        let entry = self.engine.registry.begin(&statement.text, &self.user, application, cancel);
        let result = work(Arc::clone(&entry));
        if let Err(error) = &result {
            entry.finish(Err(error));
        }
        result
    }

    fn explain(
        &self,
        query: &ast::Query,
        statement: &Statement,
        parameters: &[Scalar],
        analyze: bool,
        json: bool,
        cancel: CancelToken,
    ) -> Result<ResultStream> {
        let profile = self.profile(query, statement, parameters, analyze, cancel)?;
        let lines = if json {
            serde_json::to_string_pretty(&[&profile])
                .map_err(|error| Error::internal(error.to_string()))?
                .lines()
                .map(str::to_owned)
                .collect()
        } else {
            profile.text()
        };
        Ok(text_rows(vec![text_column("QUERY PLAN")], lines.into_iter().map(|line| vec![line]).collect()))
    }

    /// How a query would be cut for the cluster.
    fn explain_distributed(&self, query: &ast::Query, statement: &Statement, parameters: &[Scalar]) -> Result<ResultStream> {
        let distributor = self.engine.distributor.get().ok_or_else(|| {
            Error::unsupported("EXPLAIN (DISTRIBUTED) without a cluster").with_hint("ask a server that was started with --role coordinator")
        })?;
        let planned = self.plan(query, statement, Parameters::Values(parameters))?;
        let lines = distributor.explain(&self.engine, &planned, self.settings.distribution())?;
        Ok(text_rows(vec![text_column("QUERY PLAN")], lines.into_iter().map(|line| vec![line]).collect()))
    }

    /// The plan of a query; with `run`, after running it and dropping its rows, what happened too.
    fn profile(&self, query: &ast::Query, statement: &Statement, parameters: &[Scalar], run: bool, cancel: CancelToken) -> Result<Profile> {
        if !run {
            let planned = self.plan(query, statement, Parameters::Values(parameters))?;
            return Ok(Profile::new(&statement.text, &planned.plan, planned.phases, None));
        }
        self.registered(statement, cancel.clone(), |entry| {
            let planned = self.plan(query, statement, Parameters::Values(parameters))?;
            let mut running = query::start(&self.engine, planned, self.settings.distribution(), cancel, entry)?;
            while running.rows.next_blocking()?.is_some() {}
            Ok(running.profile(&statement.text))
        })
    }

    /// Starts a query so that its profile can be had after its rows; for the benchmark command.
    ///
    /// # Errors
    /// Whatever goes wrong before the first row.
    pub fn start_query(&self, statement: &Statement, cancel: CancelToken) -> Result<query::RunningQuery> {
        let StatementKind::Query(query) = &statement.kind else { return Err(Error::unsupported("a statement that is not a query")) };
        self.registered(statement, cancel.clone(), |entry| {
            let planned = self.plan(query, statement, Parameters::Values(&[]))?;
            query::start(&self.engine, planned, self.settings.distribution(), cancel, entry)
        })
    }

    fn bind(&self, query: &ast::Query, statement: &Statement, parameters: Parameters<'_>) -> Result<Bound> {
        let now = chrono::Utc::now();
        let search_path = self.settings.search_path();
        let context = BindContext {
            catalogs: &self.engine.catalogs,
            default_catalog: &self.engine.options.default_catalog,
            search_path: &search_path,
            views: &self.views,
            now_us: now.timestamp_micros(),
            user: &self.user,
        };
        bind(query, &statement.text, parameters, &context).map_err(|mut error| {
            error.position = error.position.map(|position| position + statement.offset);
            error
        })
    }

    fn check_transaction(&self, statement: &Statement) -> Result<()> {
        let ends = matches!(
            statement.kind,
            StatementKind::Commit | StatementKind::Rollback | StatementKind::Savepoint("ROLLBACK") | StatementKind::Empty
        );
        if self.transaction == Transaction::Failed && !ends {
            return Err(Error::binding("25P02", "current transaction is aborted, commands ignored until end of transaction block"));
        }
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<&Prepared> {
        self.prepared.get(name).ok_or_else(|| Error::binding("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    /// The values of EXECUTE's arguments: the one row of a query that selects them.
    fn evaluate_arguments(&self, arguments: &[ast::Expr], types: &[DataType]) -> Result<Vec<Scalar>> {
        if arguments.len() != types.len() {
            let message = format!("wrong number of parameters: expected {}, got {}", types.len(), arguments.len());
            return Err(Error::binding("42601", message));
        }
        if arguments.is_empty() {
            return Ok(vec![]);
        }
        let text = format!("SELECT {}", arguments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        let statement = self.parse(&text)?.remove(0);
        let StatementKind::Query(query) = &statement.kind else { return Err(Error::internal("a SELECT is not a query")) };
        let planned = self.plan(query, &statement, Parameters::Values(&[]))?;
        let mut running = query::start_within(&self.engine, planned, CancelToken::new())?;
        let row = running.rows.next_blocking()?.ok_or_else(|| Error::internal("a SELECT without FROM gave no row"))?;
        row.columns().iter().zip(types).map(|(column, wanted)| Ok(Scalar::from_array(column, 0)?.cast_to(wanted)?)).collect()
    }

    fn create_view(
        &mut self,
        name: &ast::ObjectName,
        columns: &[String],
        or_replace: bool,
        query: &ast::Query,
        statement: &Statement,
    ) -> Result<()> {
        let key = view_key(name)?;
        if self.views.contains_key(&key) && !or_replace {
            return Err(Error::binding("42P07", format!("relation \"{key}\" already exists")));
        }
        let bound = self.bind(query, statement, Parameters::Types(&[]))?;
        if columns.len() > bound.query.output.len() {
            return Err(Error::binding("42601", "CREATE VIEW specifies more column names than columns"));
        }
        self.views.insert(key, View { columns: columns.to_vec(), query: Box::new(query.clone()) });
        Ok(())
    }

    fn drop_views(&mut self, names: &[ast::ObjectName], if_exists: bool) -> Result<()> {
        for name in names {
            let key = view_key(name)?;
            if self.views.remove(&key).is_none() && !if_exists {
                return Err(Error::binding("42P01", format!("view \"{key}\" does not exist")));
            }
        }
        Ok(())
    }

    fn show(&self, name: &str) -> Result<ResultStream> {
        if name == "all" {
            let columns = vec![text_column("name"), text_column("setting"), text_column("description")];
            let rows = self.settings.iter().map(|(name, value)| vec![name.to_owned(), value.to_owned(), String::new()]).collect();
            return Ok(text_rows(columns, rows));
        }
        let value = self.settings.get(name)?;
        Ok(text_rows(vec![text_column(name)], vec![vec![value.to_owned()]]))
    }

    fn show_tables(&self) -> ResultStream {
        let columns = vec![text_column("table_catalog"), text_column("table_schema"), text_column("table_name")];
        let mut rows = vec![];
        for catalog in self.engine.catalogs.names() {
            let Some(entry) = self.engine.catalogs.catalog(&catalog) else { continue };
            for schema in entry.schemas() {
                rows.extend(entry.tables(&schema).into_iter().map(|table| vec![catalog.clone(), schema.clone(), table]));
            }
        }
        text_rows(columns, rows)
    }
}

/// Views live in the session, outside every schema: a name with a schema is refused.
fn view_key(name: &ast::ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => {
            Ok(if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() })
        }
        _ => Err(Error::unsupported("a view in a schema").with_hint("views belong to the session: give a name without a schema")),
    }
}

fn result_columns(bound: &Bound) -> Vec<ResultColumn> {
    let columns = &bound.query.columns;
    bound
        .query
        .output
        .iter()
        .map(|output| ResultColumn { name: output.name.clone(), data_type: columns.get(output.column).data_type.clone() })
        .collect()
}

fn text_column(name: &str) -> ResultColumn {
    ResultColumn { name: name.to_owned(), data_type: DataType::Utf8View }
}

fn text_rows(columns: Vec<ResultColumn>, rows: Vec<Vec<String>>) -> ResultStream {
    let arrays: Vec<ArrayRef> = (0..columns.len())
        .map(|index| Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row[index].as_str()))) as ArrayRef)
        .collect();
    ResultStream::fixed(columns, vec![Batch::new(arrays, rows.len())])
}
