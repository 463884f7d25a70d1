//! The simple protocol: one text, any number of statements, rows as text.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, PgWireConnectionState,
        query::{SimpleQueryHandler, send_ready_for_query},
        results::{Response, Tag},
        store::PortalStore,
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        data::RowDescription,
        response::{CommandComplete, EmptyQueryResponse},
        simplequery::Query,
        startup::ParameterStatus,
    },
};

use super::{
    connection::{Connection, RunningStatement},
    errors::to_client,
    rows::RowEncoder,
    startup::{ConnectionHandler, reported},
    types::fields,
};
use crate::{
    error::Error,
    execution::results::ResultStream,
    session::Outcome,
    sql::statement::{Statement, StatementKind},
};

#[async_trait]
impl SimpleQueryHandler for ConnectionHandler {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.set_state(PgWireConnectionState::QueryInProgress);
        let result = run_text(self, client, query.query).await;
        if result.is_err() {
            self.session().lock().statement_failed();
        }
        client.set_transaction_status(self.transaction_status());
        result?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        send_ready_for_query(client, client.transaction_status()).await
    }

    /// Never called: `on_query` sends rows as they come instead of collecting responses.
    async fn do_query<C>(&self, _client: &mut C, _query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Ok(vec![])
    }
}

/// Runs all statements of a text; the first error ends it.
async fn run_text<C>(connection: &Connection, client: &mut C, text: String) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let statements = connection.with_session(move |session| session.parse(&text)).await.map_err(to_client)?;
    let mut is_empty = true;
    for statement in statements {
        if matches!(statement.kind, StatementKind::Empty) {
            continue;
        }
        is_empty = false;
        // Each statement has its own time and sees the settings that those before it made.
        let running = connection.begin_statement();
        run_statement(connection, client, statement, &running).await?;
    }
    if is_empty {
        client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
    }
    Ok(())
}

async fn run_statement<C>(connection: &Connection, client: &mut C, statement: Statement, running: &RunningStatement) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let to_client = |error: Error| to_client(running.explain(error));
    let changes_settings = matches!(statement.kind, StatementKind::Set { .. } | StatementKind::Reset(_) | StatementKind::DiscardAll);
    let before = reported(connection.session().lock().settings());
    let cancel = running.cancel.clone();
    let outcome = connection
        .with_session(move |session| {
            let prepared = session.prepare(statement, &[])?;
            session.execute(&prepared, &[], cancel)
        })
        .await
        .map_err(to_client)?;
    match outcome {
        Outcome::Command(tag) => {
            if changes_settings {
                report_changes(client, &before, connection).await?;
            }
            client.feed(PgWireBackendMessage::CommandComplete(CommandComplete::new(tag))).await?;
        }
        Outcome::Rows(mut rows) => {
            let description = fields(rows.columns(), None);
            let described = RowDescription::new(description.iter().map(Into::into).collect());
            client.feed(PgWireBackendMessage::RowDescription(described)).await?;
            let count = send_rows(client, &mut rows, &mut RowEncoder::new(&description), running).await?;
            client.feed(PgWireBackendMessage::CommandComplete(Tag::new("SELECT").with_rows(count).into())).await?;
        }
    }
    Ok(())
}

/// Sends all rows; answers how many.
async fn send_rows<C>(client: &mut C, rows: &mut ResultStream, encoder: &mut RowEncoder, running: &RunningStatement) -> PgWireResult<usize>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let mut count = 0;
    while let Some(batch) = rows.next().await.map_err(|error| to_client(running.explain(error)))? {
        for row in encoder.encode(&batch).map_err(to_client)? {
            client.feed(PgWireBackendMessage::DataRow(row)).await?;
        }
        count += batch.num_rows();
    }
    Ok(count)
}

/// Tells the client which reported settings have other values than `before`.
async fn report_changes<C>(client: &mut C, before: &std::collections::HashMap<String, String>, connection: &Connection) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let after = reported(connection.session().lock().settings());
    for (name, value) in after {
        if before.get(&name) != Some(&value) {
            client.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name, value))).await?;
        }
    }
    Ok(())
}
