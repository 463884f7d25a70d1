//! The server under test, and what the tests ask of its clients.

use std::{
    error::Error as StdError,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arneb::{
    Engine,
    config::Role,
    connectors::tpch::TpchCatalog,
    engine::EngineOptions,
    server::{
        self,
        policy::AccessPolicy,
        web::{WebOptions, serve_web},
    },
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_postgres::{
    Client, Config, Error, NoTls, SimpleQueryMessage,
    types::{FromSql, Type},
};

use crate::fixture::{SHAPES, engine};

/// How long a slow machine may take for what should be quick.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server; it stops when this is dropped.
pub struct Server {
    pub engine: Arc<Engine>,
    pub address: SocketAddr,
    pub web: SocketAddr,
    _stop: [oneshot::Sender<()>; 2],
}

/// A client whose connection is driven by a task of its own.
pub struct Connected {
    pub client: Client,
    pub driver: JoinHandle<()>,
}

impl Server {
    /// Serves the tables of the fixture.
    pub async fn start() -> Server {
        Server::of(engine(SHAPES[3])).await
    }

    /// Serves TPC-H with little memory for a query.
    pub async fn with_query_memory(query_memory_bytes: usize) -> Server {
        let engine =
            Engine::new(EngineOptions { num_threads: 2, query_memory_bytes, default_catalog: "tpch".into(), ..EngineOptions::default() });
        engine.catalogs.add("tpch", Arc::new(TpchCatalog));
        Server::of(engine).await
    }

    /// Serves an engine to this machine.
    pub async fn of(engine: Arc<Engine>) -> Server {
        Server::at("127.0.0.1", engine, AccessPolicy::LoopbackOnly).await
    }

    /// Serves an engine on an address to whom `policy` admits.
    pub async fn at(address: &str, engine: Arc<Engine>, policy: AccessPolicy) -> Server {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let web_listener = TcpListener::bind((address, 0)).await.unwrap();
        let (address, web) = (listener.local_addr().unwrap(), web_listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server::pgwire::serve(Arc::clone(&engine), listener, policy, async {
            let _ = stopped.await;
        }));
        let (stop_web, web_stopped) = oneshot::channel();
        let options = WebOptions { role: Role::Standalone, policy, host_name: Some("db.example".to_owned()) };
        tokio::spawn(serve_web(Arc::clone(&engine), web_listener, options, async {
            let _ = web_stopped.await;
        }));
        Server { engine, address, web, _stop: [stop, stop_web] }
    }

    pub async fn connect(&self) -> Connected {
        let mut config = Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port()).user("ada").dbname("memory");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        let driver = tokio::spawn(async {
            // An error here is also the error of the request that is waiting.
            let _ = connection.await;
        });
        Connected { client, driver }
    }

    /// Waits until queries have given back all memory.
    pub async fn memory_comes_back(&self) {
        let start = Instant::now();
        while self.engine.memory.used_bytes() > 0 {
            assert!(start.elapsed() < PATIENCE, "{} bytes are still reserved", self.engine.memory.used_bytes());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl std::ops::Deref for Connected {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// SQLSTATE of an error from the server.
pub fn state(error: &Error) -> &str {
    error.code().unwrap_or_else(|| panic!("not an error of the server: {error}")).code()
}

/// Rows of a simple query as text; `None` is NULL.
pub async fn texts(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// The single value of a simple query.
pub async fn text(client: &Client, sql: &str) -> String {
    texts(client, sql).await.remove(0).remove(0).expect("not NULL")
}

/// A value's bytes as they were sent, of any type.
#[derive(Debug, PartialEq)]
pub struct Raw(pub Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Raw, Box<dyn StdError + Sync + Send>> {
        Ok(Raw(bytes.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl tokio_postgres::types::ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<tokio_postgres::types::IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(tokio_postgres::types::IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}
