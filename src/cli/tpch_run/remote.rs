//! The queries on a server, through the PostgreSQL protocol: a client like any other.
//!
//! Position: what `arneb tpch run --connect` does. The server must have the eight tables under their plain names, or a schema with
//! them must be given. A query that fails does not end the run; where the connection has gone with it, the next one makes a new one.

use std::{error::Error as _, fmt, str::FromStr, time::Duration};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::{
    OutputFormat, RunArguments,
    report::{QueryReport, RunReport, timed},
};
use crate::error::{Error, ErrorKind, Result};

/// How long to wait for a server to answer the first message.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// PostgreSQL's port.
const DEFAULT_PORT: u16 = 5432;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Name or address.
    pub host: String,
    /// Port of the PostgreSQL protocol.
    pub port: u16,
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no address of a server: expected HOST:PORT, or [ADDRESS]:PORT for IPv6");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|port| *port > 0),
            None => port.is_empty().then_some(DEFAULT_PORT),
        };
        match port {
            Some(port) if !host.is_empty() => Ok(ServerAddress { host: host.to_owned(), port }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Runs the queries on the server at `address`. Blocks: not for a thread that drives tasks.
///
/// # Errors
/// 08001 when no server is there, and its error when it does not let us in; not a query that fails.
pub(super) fn measure(address: &ServerAddress, arguments: &RunArguments) -> Result<RunReport> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| Error::internal(error.to_string()))?;
    let mut client = connect(&runtime, address, arguments)?;
    let mut queries = vec![];
    for number in arguments.numbers() {
        if client.is_closed() {
            match connect(&runtime, address, arguments) {
                Ok(again) => client = again,
                Err(error) => {
                    queries.push(QueryReport::failed(number, format!("{} ({})", error.message, error.sqlstate.0)));
                    continue;
                }
            }
        }
        let report = run_query(&runtime, &client, number, arguments)?;
        if arguments.output == OutputFormat::Table && arguments.runs > 1 {
            eprintln!("query {number}: {:.3} s", report.seconds);
        }
        queries.push(report);
    }
    Ok(RunReport { server: Some(address.to_string()), ..RunReport::new(arguments.scale, queries) })
}

fn connect(runtime: &Runtime, address: &ServerAddress, arguments: &RunArguments) -> Result<Client> {
    let mut config = Config::new();
    config
        .host(&address.host)
        .port(address.port)
        .user(&arguments.user)
        .dbname(&arguments.database)
        .application_name("arneb tpch run")
        .connect_timeout(CONNECT_TIMEOUT);
    let failed = |error: tokio_postgres::Error| {
        let what = format!("cannot connect to {address}: {}", reason(&error));
        let error = Error::new(ErrorKind::Connector, "08001", what);
        error.with_hint("a server must be listening there: start one with arneb, and see its port in its log")
    };
    runtime.block_on(async {
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        // An error of the connection is also the error of the request that waits for it.
        tokio::spawn(connection);
        if let Some(path) = &arguments.search_path {
            client.batch_execute(&search_path(path)).await.map_err(|error| {
                let what = format!("{address} does not take the search path \"{path}\": {}", reason(&error));
                Error::new(ErrorKind::Connector, "08004", what)
            })?;
        }
        Ok(client)
    })
}

fn search_path(path: &str) -> String {
    format!("SET search_path = '{}'", path.replace('\'', "''"))
}

fn run_query(runtime: &Runtime, client: &Client, number: usize, arguments: &RunArguments) -> Result<QueryReport> {
    let sql = tpch::query(number).ok_or_else(|| Error::internal("a query number was not checked"))?;
    let executed = timed(arguments.runs, || runtime.block_on(client.simple_query(sql)).map_err(|error| reason(&error)));
    Ok(match executed {
        Ok((messages, seconds)) => QueryReport::answered(number, arguments.scale, &rows(&messages), seconds),
        Err(message) => QueryReport::failed(number, message),
    })
}

fn rows(messages: &[SimpleQueryMessage]) -> Vec<Vec<String>> {
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).unwrap_or("NULL").to_owned()).collect()),
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// What a server said, with its SQLSTATE; else what went wrong underneath.
fn reason(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(answer), _) => format!("{} ({})", answer.message(), answer.code().code()),
        (None, Some(source)) => source.to_string(),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command, TpchCommand, tpch_run};

    fn arguments(more: &[&str]) -> RunArguments {
        let parsed = Arguments::try_parse_from(["arneb", "tpch", "run"].iter().chain(more)).unwrap();
        match parsed.command {
            Some(Command::Tpch(TpchCommand::Run(arguments))) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_hosts_and_ports() {
        let of = |host: &str, port| Some(ServerAddress { host: host.to_owned(), port });
        for (text, expected) in [
            ("127.0.0.1:5433", of("127.0.0.1", 5433)),
            ("db.example", of("db.example", 5432)),
            ("[::1]:7", of("::1", 7)),
            ("[::1]", of("::1", 5432)),
            ("", None),
            (":5432", None),
            ("host:", None),
            ("host:0", None),
            ("host:x", None),
            ("::1", None),
            ("[::1]7", None),
            ("[::1]:", None),
        ] {
            assert_eq!(text.parse::<ServerAddress>().ok(), expected, "{text}");
        }
        assert_eq!(ServerAddress { host: "::1".to_owned(), port: 7 }.to_string(), "[::1]:7");
    }

    #[test]
    fn nobody_listening_is_an_error_that_says_so() {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = tpch_run::measure(&arguments(&["--connect", &format!("127.0.0.1:{port}")])).unwrap_err();
        assert_eq!(error.sqlstate.0, "08001");
        assert!(error.message.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{error}");
        assert!(error.message.to_lowercase().contains("refused") && error.hint.is_some(), "{error}");
    }

    #[test]
    fn what_is_of_this_process_does_not_go_with_a_server() {
        for option in [["--threads", "2"], ["--memory", "1GB"], ["--data", "x"], ["--profiles", "x"]] {
            let text = ["arneb", "tpch", "run", "--connect", "localhost"].into_iter().chain(option);
            assert!(Arguments::try_parse_from(text).is_err(), "{option:?}");
        }
        assert!(Arguments::try_parse_from(["arneb", "tpch", "run", "--search-path", "sf1"]).is_err());
        assert_eq!(arguments(&["--connect", "localhost"]).connect.unwrap().port, 5432);
        assert!(arguments(&[]).connect.is_none());
    }

    #[test]
    fn a_search_path_is_quoted() {
        assert_eq!(search_path("tpch.sf1, o'x"), "SET search_path = 'tpch.sf1, o''x'");
    }
}
