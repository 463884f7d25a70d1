//! The PostgreSQL protocol over sessions.
//!
//! Position: the door for SQL. The crate `pgwire` reads and writes messages; here they are given a meaning, a file
//! each: [`startup`] (who is there), [`simple`] (one text, several statements), [`extended`] (prepare, bind,
//! execute), [`cancel`] (stop), [`rows`] and [`parameters`] (values to and from bytes), [`types`] (OIDs),
//! [`errors`]. What all messages of one client share is [`connection`].
//!
//! Deliberately elsewhere: SQL and its errors (`session`). Queries run on the engine's pool; planning runs on
//! tokio's blocking threads; only waiting happens here.

pub mod cancel;
pub mod connection;
pub mod errors;
pub mod extended;
pub mod parameters;
pub mod rows;
pub mod simple;
pub mod startup;
pub mod types;

use std::{future::Future, sync::Arc};

use pgwire::{
    api::{PgWireServerHandlers, auth, cancel as cancel_api, query},
    tokio::process_socket,
};
use tokio::net::{TcpListener, TcpStream};

use crate::{engine::Engine, server::policy::AccessPolicy};
use cancel::Cancellations;
use connection::Connection;
use startup::ConnectionHandler;

/// Answers clients that `policy` admits on `listener` until `stop` ends; then open queries are cancelled and connections closed.
pub async fn serve(engine: Arc<Engine>, listener: TcpListener, policy: AccessPolicy, stop: impl Future<Output = ()>) {
    let cancellations = Arc::new(Cancellations::default());
    let mut connections = tokio::task::JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            // Ended connections are collected as they end, so that the set does not grow.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (engine, cancellations) = (Arc::clone(&engine), Arc::clone(&cancellations));
                    let is_admitted = policy.admits(peer.ip());
                    connections.spawn(async move {
                        if let Err(error) = answer(engine, cancellations, stream, is_admitted).await {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: let some connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
    cancellations.cancel_all();
    connections.shutdown().await;
}

async fn answer(engine: Arc<Engine>, cancellations: Arc<Cancellations>, stream: TcpStream, is_admitted: bool) -> std::io::Result<()> {
    // A peer that is not admitted must not stop queries either: it finds nobody's.
    let cancellations = if is_admitted { cancellations } else { Arc::default() };
    // The same socket a second time: to see that the client has left while its query runs.
    let stream = stream.into_std()?;
    let watched = TcpStream::from_std(stream.try_clone()?)?;
    let connection = Arc::new(Connection::new(engine.session(), cancellations, watched));
    let handlers = Handlers { handler: Arc::new(ConnectionHandler { connection: Arc::clone(&connection), is_admitted }) };
    let result = process_socket(TcpStream::from_std(stream)?, None, handlers).await;
    connection.close();
    result
}

/// What the crate asks for the handler of every kind of message: they are all the connection.
struct Handlers {
    handler: Arc<ConnectionHandler>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl query::SimpleQueryHandler> {
        Arc::clone(&self.handler)
    }

    fn extended_query_handler(&self) -> Arc<impl query::ExtendedQueryHandler> {
        Arc::clone(&self.handler)
    }

    fn startup_handler(&self) -> Arc<impl auth::StartupHandler> {
        Arc::clone(&self.handler)
    }

    fn cancel_handler(&self) -> Arc<impl cancel_api::CancelHandler> {
        self.handler.cancellations()
    }
}
