//! The extended protocol: statements are parsed once, bound to parameters, and executed through portals that may
//! hand out their rows in pieces.

use std::{fmt::Debug, sync::Arc};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::{Sink, SinkExt, Stream, StreamExt};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type,
        portal::{Portal, PortalExecutionState},
        query::ExtendedQueryHandler,
        results::{DescribePortalResponse, DescribeStatementResponse, FieldInfo, QueryResponse, Response, Tag},
        stmt::{QueryParser, StoredStatement},
        store::{Entry, PortalStore},
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        data::DataRow,
        extendedquery::{Execute, PortalSuspended},
        response::{CommandComplete, EmptyQueryResponse},
    },
};

use super::{
    connection::{Connection, RunningStatement},
    errors::{protocol_violation, to_client},
    parameters::decode,
    rows::RowEncoder,
    startup::ConnectionHandler,
    types::{fields, pg_type, physical},
};
use crate::{
    error::Error,
    execution::results::ResultStream,
    session::{Outcome, Prepared},
    sql::statement::StatementKind,
};

/// Parses and binds on the connection's session.
pub struct Parser {
    connection: Arc<Connection>,
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, types: &[Option<Type>]) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let declared: Vec<Option<DataType>> = types.iter().map(|t| t.as_ref().and_then(physical)).collect();
        let text = sql.to_owned();
        let prepared = self
            .connection
            .with_session(move |session| {
                let mut statements = session.parse(&text)?;
                statements.retain(|s| !matches!(s.kind, StatementKind::Empty));
                if statements.len() > 1 {
                    return Err(Error::syntax("cannot insert multiple commands into a prepared statement"));
                }
                statements.pop().map(|statement| session.prepare(statement, &declared)).transpose()
            })
            .await;
        if prepared.is_err() {
            self.connection.session().lock().statement_failed();
        }
        Ok(prepared.map_err(to_client)?.map(Arc::new))
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        Ok(statement.parameter_types.iter().map(pg_type).collect())
    }

    fn get_result_schema(&self, statement: &Self::Statement, format: Option<&pgwire::api::portal::Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(fields(statement.columns.as_deref().unwrap_or_default(), format))
    }
}

#[async_trait]
impl ExtendedQueryHandler for ConnectionHandler {
    type Statement = Arc<Prepared>;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(Parser { connection: Arc::clone(&self.connection) })
    }

    async fn do_describe_statement<C>(
        &self,
        _client: &mut C,
        target: &StoredStatement<Self::Statement>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &target.statement;
        // What the client declared is what it will send; the rest is what was inferred.
        let inferred = prepared.parameter_types.iter().map(pg_type).enumerate();
        let types = inferred.map(|(i, t)| target.parameter_types.get(i).cloned().flatten().unwrap_or(t)).collect();
        Ok(match &prepared.columns {
            Some(columns) => DescribeStatementResponse::new(types, fields(columns, None)),
            None => DescribeStatementResponse::new(types, vec![]),
        })
    }

    async fn do_describe_portal<C>(&self, _client: &mut C, target: &Portal<Self::Statement>) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let columns = target.statement.statement.columns.as_deref().unwrap_or_default();
        Ok(DescribePortalResponse::new(fields(columns, Some(&target.result_column_format))))
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let result = execute(self, client, &portal, message.max_rows.max(0) as usize).await;
        if result.is_err() {
            self.session().lock().statement_failed();
        }
        client.set_transaction_status(self.transaction_status());
        result?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    /// Never called: `on_execute` sends rows as they come.
    async fn do_query<C>(&self, _client: &mut C, _portal: &Portal<Self::Statement>, _max_rows: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(Response::EmptyQuery)
    }
}

/// Starts the portal if it has not been, and sends up to `max_rows` of its rows (0: all).
async fn execute<C>(connection: &Connection, client: &mut C, portal: &Portal<Arc<Prepared>>, max_rows: usize) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let state = portal.state();
    let mut state = state.lock().await;
    if matches!(*state, PortalExecutionState::Initial) {
        match start(connection, portal).await? {
            Started::Rows(rows) => *state = PortalExecutionState::Suspended(rows),
            Started::Command(tag) => {
                *state = PortalExecutionState::Finished;
                client.feed(PgWireBackendMessage::CommandComplete(CommandComplete::new(tag))).await?;
                return Ok(());
            }
        }
    }
    let mut sent = 0;
    if let PortalExecutionState::Suspended(rows) = &mut *state {
        let rows = rows.data_rows();
        while let Some(row) = rows.next().await {
            client.feed(PgWireBackendMessage::DataRow(row?)).await?;
            sent += 1;
            if sent == max_rows {
                client.feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await?;
                return Ok(());
            }
        }
        *state = PortalExecutionState::Finished;
    }
    client.feed(PgWireBackendMessage::CommandComplete(Tag::new("SELECT").with_rows(sent).into())).await?;
    Ok(())
}

enum Started {
    Rows(QueryResponse),
    Command(String),
}

async fn start(connection: &Connection, portal: &Portal<Arc<Prepared>>) -> PgWireResult<Started> {
    let prepared = Arc::clone(&portal.statement.statement);
    if portal.parameters.len() != prepared.parameter_types.len() {
        return Err(protocol_violation(format!(
            "bind message supplies {} parameters, but the prepared statement requires {}",
            portal.parameters.len(),
            prepared.parameter_types.len()
        )));
    }
    let parameters = portal
        .parameters
        .iter()
        .zip(&prepared.parameter_types)
        .enumerate()
        .map(|(index, (bytes, data_type))| decode(bytes.as_deref(), index, &portal.parameter_format, data_type))
        .collect::<Result<Vec<_>, Error>>()
        .map_err(to_client)?;
    let running = connection.begin_statement();
    let cancel = running.cancel.clone();
    let columns = prepared.columns.clone().unwrap_or_default();
    let outcome = connection
        .with_session(move |session| session.execute(&prepared, &parameters, cancel))
        .await
        .map_err(|error| to_client(running.explain(error)))?;
    Ok(match outcome {
        Outcome::Command(tag) => Started::Command(tag),
        Outcome::Rows(rows) => {
            let fields = fields(&columns, Some(&portal.result_column_format));
            let encoder = RowEncoder::new(&fields);
            Started::Rows(QueryResponse::new(Arc::new(fields), row_stream(rows, encoder, running)))
        }
    })
}

/// The rows of a result, encoded as they come.
fn row_stream(rows: ResultStream, encoder: RowEncoder, running: RunningStatement) -> impl Stream<Item = PgWireResult<DataRow>> + Send {
    let batches = futures::stream::try_unfold((rows, encoder, running), |(mut rows, mut encoder, running)| async move {
        match rows.next().await {
            Ok(Some(batch)) => {
                let encoded = encoder.encode(&batch).map_err(to_client)?;
                Ok(Some((futures::stream::iter(encoded.into_iter().map(Ok)), (rows, encoder, running))))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(to_client(running.explain(error))),
        }
    });
    futures::TryStreamExt::try_flatten(batches)
}
