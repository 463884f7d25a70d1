//! The server: configuration into an engine with tables, then the doors until a signal says stop. A file per role.
//!
//! Position: what `arneb` does without a command. Deliberately elsewhere: protocols (`server`), a node's part in a cluster
//! (`cluster::launch`).

mod coordinator;
mod standalone;
mod worker;

use std::{path::Path, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{ServeArguments, default_memory_bytes};
use crate::connectors::parquet::ParquetTable;
use crate::{
    Engine,
    catalog::memory::MemoryCatalog,
    config::{Auth, Config, ConfigError, Format, Role, TableConfig},
    connectors::{Table, csv::CsvTable, tpch::TpchCatalog},
    engine::EngineOptions,
    error::{Error, ErrorKind, Result},
    server::policy::AccessPolicy,
};

/// The file that is read when no other is named.
const DEFAULT_CONFIG: &str = "arneb.toml";

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// A mistake in the configuration, a table that cannot be opened, a port that is taken.
pub fn run(arguments: &ServeArguments) -> Result<()> {
    let config = configuration(arguments)?;
    let role = arguments.role.or(config.cluster.role).unwrap_or(Role::Standalone);
    if role == Role::Worker {
        // Before anything is opened: without it nothing else helps.
        config.cluster.coordinator().map_err(mistake)?;
    }
    let engine = engine(&config, role)?;
    // Statements that wait for their turn and EXPLAIN ANALYZE each hold a thread; others must still find one.
    let num_blocking = 512.max(engine.options.max_running + engine.options.max_queued + 128);
    // Doors need few threads: queries run on the engine's own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(num_blocking)
        .enable_all()
        .thread_name("arneb-io")
        .build()
        .map_err(|error| Error::internal(format!("cannot start the I/O threads: {error}")))?;
    let result = runtime.block_on(async {
        match role {
            Role::Standalone => standalone::serve(engine, &config).await,
            Role::Coordinator => coordinator::serve(engine, &config).await,
            Role::Worker => worker::serve(engine, &config).await,
        }
    });
    // What a client keeps open must not hold up the end.
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    result
}

/// How long threads that are still busy may hold up the end of the process.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

fn mistake(error: ConfigError) -> Error {
    let mut converted = Error::new(ErrorKind::Configuration, "F0000", format!("{}: {}", error.place, error.message));
    converted.hint = error.hint;
    converted
}

fn configuration(arguments: &ServeArguments) -> Result<Config> {
    let mut config = match &arguments.config {
        Some(path) => Config::read(path).map_err(mistake)?,
        None if Path::new(DEFAULT_CONFIG).is_file() => Config::read(Path::new(DEFAULT_CONFIG)).map_err(mistake)?,
        None => Config::default(),
    };
    if let Some(bind) = &arguments.bind {
        config.bind_address.clone_from(bind);
    }
    config.port = arguments.port.unwrap_or(config.port);
    config.max_worker_threads = arguments.threads.map(usize::from).or(config.max_worker_threads);
    config.max_memory_mb = arguments.memory.map(|bytes| (bytes >> 20).max(1)).or(arguments.max_memory_mb).or(config.max_memory_mb);
    Ok(config)
}

/// An engine with the configured tables in `file.default`, and the built-in catalog `tpch`.
///
/// # Errors
/// A table that cannot be opened; the place in the configuration is in the message.
pub fn engine(config: &Config, role: Role) -> Result<Arc<Engine>> {
    let memory_bytes = config.max_memory_mb.map_or_else(default_memory_bytes, |mb| mb << 20);
    let defaults = EngineOptions::default();
    let node_id = match role {
        Role::Worker => config.cluster.worker_id.clone().unwrap_or_else(worker_name),
        role => role.name().to_owned(),
    };
    let engine = Engine::new(EngineOptions {
        node_id,
        num_threads: config.max_worker_threads.unwrap_or(defaults.num_threads),
        memory_bytes,
        query_memory_bytes: config.query_memory_mb.map_or(memory_bytes, |mb| (mb << 20).min(memory_bytes)),
        max_running: config.max_running.unwrap_or(defaults.max_running),
        max_queued: config.max_queued.unwrap_or(defaults.max_queued),
        queue_timeout: config.queue_timeout_s.map_or(defaults.queue_timeout, Duration::from_secs),
        ..defaults
    });
    let files = MemoryCatalog::new();
    for table in &config.tables {
        let opened = open(table).map_err(|mut error| {
            error.message = format!("{}: table \"{}\": {}", table.place, table.name, error.message);
            error
        })?;
        files.add("default", &table.name, opened);
    }
    engine.catalogs.add("file", files);
    engine.catalogs.add("tpch", Arc::new(TpchCatalog));
    Ok(engine)
}

fn open(table: &TableConfig) -> Result<Arc<dyn Table>> {
    Ok(match table.format {
        Format::Parquet => Arc::new(ParquetTable::open(&table.path)?),
        Format::Csv => Arc::new(CsvTable::open(&table.path, table.schema.as_deref())?),
    })
}

/// The name of a worker that was given none: another one each time.
fn worker_name() -> String {
    format!("worker-{}", uuid::Uuid::now_v7())
}

/// The ports of SQL and of the web.
struct ClientPorts {
    address: String,
    listener: TcpListener,
    web_address: String,
    web_listener: TcpListener,
}

async fn client_ports(config: &Config) -> Result<ClientPorts> {
    let (address, listener) = listen(config, config.port, "choose another port with --port, or stop the process that has it").await?;
    let hint = "choose another with web_port in the configuration, or stop the process that has it";
    let (web_address, web_listener) = listen(config, web_port(config)?, hint).await?;
    Ok(ClientPorts { address, listener, web_address, web_listener })
}

fn log_tables(config: &Config) {
    for table in &config.tables {
        tracing::info!(name = table.name, path = table.path, "table");
    }
}

async fn listen(config: &Config, port: u16, hint: &str) -> Result<(String, TcpListener)> {
    let address = format!("{}:{port}", bracketed(&config.bind_address));
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| Error::new(ErrorKind::Resource, "58030", format!("cannot listen on {address}: {error}")).with_hint(hint))?;
    Ok((address, listener))
}

/// The port of the web: as configured, or 1000 above the protocol's.
fn web_port(config: &Config) -> Result<u16> {
    config.web_port.or_else(|| config.port.checked_add(1000)).ok_or_else(|| {
        let message = format!("there is no port 1000 above {} for the web", config.port);
        Error::new(ErrorKind::Configuration, "F0000", message).with_hint("set web_port in the configuration")
    })
}

/// Without users only this machine is admitted, unless the configuration trusts everybody.
fn access_policy(config: &Config) -> AccessPolicy {
    match config.auth {
        None => AccessPolicy::LoopbackOnly,
        Some(Auth::Trust) => AccessPolicy::Trust,
    }
}

/// An IPv6 address in brackets, so that a port can follow it.
fn bracketed(address: &str) -> String {
    if address.contains(':') && !address.starts_with('[') { format!("[{address}]") } else { address.to_owned() }
}

/// The end of the process, which several doors wait for.
#[derive(Clone)]
struct Stop(tokio::sync::watch::Receiver<bool>);

impl Stop {
    /// Comes at the first SIGINT or SIGTERM.
    fn at_signal() -> Stop {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            stop_signal().await;
            sender.send_replace(true);
            // Kept until all who wait have seen it.
            sender.closed().await;
        });
        Stop(receiver)
    }

    /// Resolves when it has come.
    async fn wait(mut self) {
        // A sender that is gone is the end, too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// Ends at the first SIGINT or SIGTERM.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler SIGTERM ends the process by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
