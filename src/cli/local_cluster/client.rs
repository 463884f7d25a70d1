//! A SQL client whose every question has an end.
//!
//! Position: part of `local_cluster`; speaks the PostgreSQL protocol through a driver, as any client does.

use std::{fmt, time::Duration};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Values as texts, NULL as `NULL`.
pub type Rows = Vec<Vec<String>>;

/// How long opening a connection may take.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// Why there are no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlFailure {
    /// The server said so.
    Refused {
        /// Its code.
        sqlstate: String,
        /// What was wrong, with detail and hint.
        message: String,
    },
    /// The connection broke, or could not be made.
    Disconnected(String),
    /// Nothing was heard for so long.
    Hang(Duration),
}

impl fmt::Display for SqlFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlFailure::Refused { sqlstate, message } => write!(f, "{message} ({sqlstate})"),
            SqlFailure::Disconnected(reason) => write!(f, "the connection broke: {reason}"),
            SqlFailure::Hang(bound) => write!(f, "no answer within {} s", bound.as_secs()),
        }
    }
}

impl std::error::Error for SqlFailure {}

impl From<tokio_postgres::Error> for SqlFailure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else { return SqlFailure::Disconnected(error.to_string()) };
        let mut message = said.message().to_owned();
        for more in [said.detail(), said.hint()].into_iter().flatten() {
            message.push_str("; ");
            message.push_str(more);
        }
        SqlFailure::Refused { sqlstate: said.code().code().to_owned(), message }
    }
}

/// A client and the task that drives its connection.
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn open(port: u16) -> Result<Connection, SqlFailure> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user("arneb").dbname("file");
        let connecting = tokio::time::timeout(CONNECT_BOUND, config.connect(NoTls)).await;
        let (client, connection) = connecting.map_err(|_| SqlFailure::Hang(CONNECT_BOUND))??;
        let driver = tokio::spawn(async {
            // An error here is also the error of the request that is waiting.
            let _ = connection.await;
        });
        Ok(Connection { client, driver })
    }

    /// Runs a statement; all rows.
    ///
    /// # Errors
    /// What the server said, or that it did not say anything in time.
    pub async fn rows(&self, sql: &str, bound: Duration) -> Result<Rows, SqlFailure> {
        let messages = tokio::time::timeout(bound, self.client.simple_query(sql)).await.map_err(|_| SqlFailure::Hang(bound))??;
        let texts = |message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect()),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(texts).collect())
    }

    /// Sets a setting of the session.
    ///
    /// # Errors
    /// What the server said.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), SqlFailure> {
        self.rows(&format!("SET {name} = {value}"), CONNECT_BOUND).await.map(|_| ())
    }

    /// Asks the server to stop what this client runs.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn cancel(&self) -> Result<(), SqlFailure> {
        Ok(self.client.cancel_token().cancel_query(NoTls).await?)
    }

    /// Closes the socket without a word.
    pub fn leave(&self) {
        self.driver.abort();
    }
}
