//! What all sessions of a node share: threads, memory, catalogs, and the list of its queries.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use pipelines::{MemoryPool, Scheduler};

use crate::{
    catalog::{
        Catalogs,
        system::{self, SystemCatalog},
    },
    execution::nodes::{Nodes, StandaloneNode},
    execution::{admission::Admission, distributed::Distributor, registry::QueryRegistry},
    session::Session,
};

/// How a node runs queries.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The node's name.
    pub node_id: String,
    /// Threads of the pool.
    pub num_threads: usize,
    /// Memory of the node, in bytes.
    pub memory_bytes: usize,
    /// Memory one query may use, in bytes.
    pub query_memory_bytes: usize,
    /// Queries that may run at the same time.
    pub max_running: usize,
    /// Queries that may wait for their turn; each has a thread that waits with it.
    pub max_queued: usize,
    /// How long a query may wait.
    pub queue_timeout: Duration,
    /// Rows to aim for in one batch; tests make it tiny.
    pub batch_rows: usize,
    /// The catalog and schema a new session's unqualified names are looked up in.
    pub default_catalog: String,
    /// See `default_catalog`.
    pub default_schema: String,
}

/// The engine of a node.
pub struct Engine {
    /// How it was set up.
    pub options: EngineOptions,
    /// The pool.
    pub scheduler: Arc<Scheduler>,
    /// The memory budget.
    pub memory: Arc<MemoryPool>,
    /// The tables.
    pub catalogs: Catalogs,
    /// The queries.
    pub registry: QueryRegistry,
    /// Which of them may run.
    pub admission: Admission,
    /// The nodes it knows; itself alone until it is told otherwise.
    pub nodes: Nodes,
    /// Who runs queries on other nodes, where there are some.
    pub distributor: OnceLock<Arc<dyn Distributor>>,
    /// When it was made.
    pub started: Instant,
}

impl Engine {
    /// An engine without tables but those that describe it.
    pub fn new(options: EngineOptions) -> Arc<Self> {
        let memory = MemoryPool::new(options.memory_bytes);
        let registry = QueryRegistry::default();
        let itself = StandaloneNode::new(&options.node_id, options.num_threads, Arc::clone(&memory), registry.clone());
        let nodes = Nodes::new(Arc::new(itself));
        let catalogs = Catalogs::default();
        catalogs.add(system::NAME, Arc::new(SystemCatalog::new(registry.clone(), nodes.clone())));
        Arc::new(Engine {
            scheduler: Scheduler::new(options.num_threads),
            admission: Admission::new(options.max_running, options.max_queued, options.queue_timeout),
            memory,
            catalogs,
            registry,
            nodes,
            distributor: OnceLock::new(),
            started: Instant::now(),
            options,
        })
    }

    /// A new session of a client.
    pub fn session(self: &Arc<Self>) -> Session {
        Session::new(Arc::clone(self))
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        let num_threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        EngineOptions {
            node_id: "standalone".to_owned(),
            num_threads,
            memory_bytes: 4 << 30,
            query_memory_bytes: 4 << 30,
            max_running: 64,
            max_queued: 256,
            queue_timeout: Duration::from_secs(300),
            batch_rows: pipelines::BATCH_ROWS,
            default_catalog: "file".to_owned(),
            default_schema: "default".to_owned(),
        }
    }
}
