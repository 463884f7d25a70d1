//! The beginning of a connection: who the client is, which settings it wants, what it is told.
//!
//! Any user and any database are accepted without a password; who may connect is decided by the peer's address
//! (`server::policy`).

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures::Sink;
use pgwire::{
    api::{
        ClientInfo, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
        auth::{ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation, save_startup_parameters_to_metadata},
    },
    error::{PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, PgWireFrontendMessage},
};

use super::{
    connection::Connection,
    errors::{refused, to_client},
};
use crate::{error::Result, session::settings::Settings};

/// Numbers of connections; shared so that they differ.
static PIDS: std::sync::LazyLock<RandomPidSecretKeyGenerator> = std::sync::LazyLock::new(RandomPidSecretKeyGenerator::default);

/// Settings that are told at the start and after each change, in the spelling clients know.
pub const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

struct Reported(HashMap<String, String>);

impl ServerParameterProvider for Reported {
    fn server_parameters<C: ClientInfo>(&self, _client: &C) -> Option<HashMap<String, String>> {
        Some(self.0.clone())
    }
}

#[async_trait]
impl StartupHandler for ConnectionHandler {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = &message else { return Ok(()) };
        protocol_negotiation(client, startup).await?;
        if !self.is_admitted {
            return Err(refused());
        }
        save_startup_parameters_to_metadata(client, startup);
        let reported = {
            let mut session = self.session().lock();
            if let Some(user) = client.metadata().get("user") {
                session.set_user(user);
            }
            apply(session.settings_mut(), client.metadata()).map_err(to_client)?;
            let mut reported = reported(session.settings());
            if let Some(user) = client.metadata().get("user") {
                reported.insert("session_authorization".to_owned(), user.clone());
            }
            reported
        };
        let (pid, secret) = PIDS.generate(client);
        client.set_pid_and_secret_key(pid, secret.clone());
        self.cancellations().register(pid, secret, &self.connection);
        self.logged_in(pid);
        finish_authentication(client, &Reported(reported)).await
    }
}

/// The connection as the crate's handlers of messages, one trait a file.
#[derive(Clone)]
pub struct ConnectionHandler {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Whether its peer may log in.
    pub is_admitted: bool,
}

impl std::ops::Deref for ConnectionHandler {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// The reported settings and their values.
pub fn reported(settings: &Settings) -> HashMap<String, String> {
    REPORTED.iter().filter_map(|name| Some(((*name).to_owned(), settings.get(name).ok()?.to_owned()))).collect()
}

/// Sets what the startup message asks for; what is no setting here is ignored, as it may be one elsewhere.
fn apply(settings: &mut Settings, parameters: &HashMap<String, String>) -> Result<()> {
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in command_line_settings(value) {
                    settings.set(&name, Some(&value))?;
                }
            }
            name if settings.get(name).is_ok() => settings.set(name, Some(value))?,
            _ => {}
        }
    }
    Ok(())
}

/// The settings in `options`: `-c name=value` and `--name=value`.
fn command_line_settings(options: &str) -> Vec<(String, String)> {
    let mut words = options.split_whitespace();
    let mut settings = vec![];
    while let Some(word) = words.next() {
        let assignment = match word {
            "-c" => words.next().unwrap_or_default(),
            word => word.strip_prefix("-c").or_else(|| word.strip_prefix("--")).unwrap_or_default(),
        };
        if let Some((name, value)) = assignment.split_once('=') {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_hold_settings() {
        let found = command_line_settings("-c search_path=sf1 --statement-timeout=5s -cgeqo=off");
        let expected = [("search_path", "sf1"), ("statement_timeout", "5s"), ("geqo", "off")];
        assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}
