//! What all sessions of a node share: threads, memory, catalogs.

use std::sync::Arc;

use pipelines::{MemoryPool, Scheduler};

use crate::{catalog::Catalogs, session::Session};

/// How a node runs queries.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Threads of the pool.
    pub num_threads: usize,
    /// Memory of the node, in bytes.
    pub memory_bytes: usize,
    /// Memory one query may use, in bytes.
    pub query_memory_bytes: usize,
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
}

impl Engine {
    /// An engine without tables.
    pub fn new(options: EngineOptions) -> Arc<Self> {
        Arc::new(Engine {
            scheduler: Scheduler::new(options.num_threads),
            memory: MemoryPool::new(options.memory_bytes),
            catalogs: Catalogs::default(),
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
            num_threads,
            memory_bytes: 4 << 30,
            query_memory_bytes: 4 << 30,
            batch_rows: pipelines::BATCH_ROWS,
            default_catalog: "file".to_owned(),
            default_schema: "default".to_owned(),
        }
    }
}
