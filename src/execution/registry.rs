//! Every query of this node that waits, runs, or ran lately: what operators see, and how they stop one.
//!
//! Position: `session` registers a query when it begins; the query's parts report through its [`QueryEntry`]; system tables, the web
//! API and metrics read [`QueryInfo`]s. An entry that is dropped before it was finished counts as cancelled, so none can be forgotten.
//! Deliberately elsewhere: who may run ([`super::admission`]), counters of operators ([`super::profile`]).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use pipelines::{CancelToken, GraphMetrics, QueryMemory};
use serde::Serialize;
use uuid::Uuid;

use crate::error::{Error, ErrorKind};

/// Longest text of a query that is kept, in bytes; what is longer is cut.
pub const SQL_BYTES_MAX: usize = 64 << 10;

/// Queries that are remembered after their end.
pub const HISTORY_MAX: usize = 1000;

/// Bytes of text that are remembered of ended queries, all together.
const HISTORY_BYTES_MAX: usize = 16 << 20;

/// Where a query stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum QueryState {
    /// Planned, or waiting for its turn.
    Queued,
    /// At work.
    Running,
    /// All rows were made.
    Finished,
    /// Ended by an error.
    Failed,
    /// Ended because somebody asked for it, or nobody wanted the rows.
    Cancelled,
}

impl QueryState {
    /// All states, in the order of a life.
    pub const ALL: [QueryState; 5] =
        [QueryState::Queued, QueryState::Running, QueryState::Finished, QueryState::Failed, QueryState::Cancelled];

    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            QueryState::Queued => "Queued",
            QueryState::Running => "Running",
            QueryState::Finished => "Finished",
            QueryState::Failed => "Failed",
            QueryState::Cancelled => "Cancelled",
        }
    }

    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, QueryState::Finished | QueryState::Failed | QueryState::Cancelled)
    }
}

/// A query as it is at one moment.
#[derive(Debug, Clone)]
pub struct QueryInfo {
    /// Its name; ids grow with time.
    pub id: Uuid,
    /// Its text, cut at [`SQL_BYTES_MAX`].
    pub sql: String,
    /// Who asked.
    pub user: String,
    /// The client's `application_name`.
    pub application: String,
    /// Where it stands.
    pub state: QueryState,
    /// When it was asked for.
    pub submitted_at: DateTime<Utc>,
    /// From being asked for until it ran, or ended, or now.
    pub queued: Duration,
    /// From being asked for until its end, or now.
    pub elapsed: Duration,
    /// Its place among those that wait, from 1.
    pub queue_position: Option<usize>,
    /// Rows handed to the client.
    pub rows: u64,
    /// Why it failed.
    pub error: Option<QueryFailure>,
    /// Times it was begun: more than 1 after the loss of a node.
    pub attempts: u32,
    /// Why it was begun again, if it was.
    pub restart_reason: Option<String>,
    /// The most memory it held at one time, all nodes together.
    pub peak_memory_bytes: u64,
    /// Units of work that are done.
    pub units_done: u64,
    /// Units of work in all.
    pub units_total: u64,
    /// What each node does for it.
    pub tasks: Vec<TaskInfo>,
}

/// Why a query failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryFailure {
    /// What was wrong.
    pub message: String,
    /// PostgreSQL's code.
    pub sqlstate: &'static str,
}

/// A fragment of a query on one node, all its units together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskInfo {
    /// The fragment.
    pub fragment: u32,
    /// The node's name.
    pub node_id: String,
    /// Where it stands.
    pub state: QueryState,
    /// Units that have ended there.
    pub units_done: u64,
    /// Units that run there now.
    pub units_running: u64,
    /// Rows that were read: from tables and from other fragments.
    pub rows_in: u64,
    /// Rows that were made for other fragments or the client.
    pub rows_out: u64,
    /// Bytes that were sent to other nodes.
    pub bytes_sent: u64,
    /// Time at work, summed over threads.
    pub busy_ns: u64,
    /// Time parked, summed over threads.
    pub blocked_ns: u64,
    /// The most memory the query held on the node at one time.
    pub peak_memory_bytes: u64,
}

/// What became of a request to stop a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is being stopped.
    Stopped,
    /// It had ended before.
    HasEnded,
    /// There is no such query.
    Unknown,
}

/// Numbers since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryTotals {
    /// Queries whose rows were all made.
    pub finished: u64,
    /// Queries that failed.
    pub failed: u64,
    /// Queries that were cancelled.
    pub cancelled: u64,
    /// Rows handed to clients, by all queries.
    pub rows: u64,
}

/// The queries of a node. Cloning shares them.
#[derive(Clone, Default)]
pub struct QueryRegistry(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queries: Mutex<Queries>,
    finished: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    rows: AtomicU64,
}

#[derive(Default)]
struct Queries {
    active: BTreeMap<Uuid, Arc<Record>>,
    /// Oldest end first.
    ended: VecDeque<Arc<Record>>,
    ended_bytes: usize,
}

/// What is known of a query.
struct Record {
    id: Uuid,
    sql: String,
    user: String,
    application: String,
    submitted_at: DateTime<Utc>,
    submitted: Instant,
    cancel: CancelToken,
    rows: AtomicU64,
    life: Mutex<Life>,
}

/// What changes of it.
struct Life {
    state: QueryState,
    /// Its number in the queue, while it waits there.
    ticket: Option<u64>,
    started: Option<Duration>,
    ended: Option<Duration>,
    error: Option<QueryFailure>,
    attempts: u32,
    restart_reason: Option<String>,
    /// Of this node, while it runs.
    memory: Option<Arc<QueryMemory>>,
    peak_memory_bytes: u64,
    units_done: u64,
    units_total: u64,
    tasks: Vec<TaskInfo>,
}

/// A query's own hold on its record. Dropping the last one without [`QueryEntry::finish`] means that the query was cancelled.
pub struct QueryEntry {
    record: Arc<Record>,
    shared: Arc<Shared>,
}

impl QueryRegistry {
    /// Registers a query; `cancel` is what stops it.
    pub fn begin(&self, sql: &str, user: &str, application: &str, cancel: CancelToken) -> Arc<QueryEntry> {
        let record = Arc::new(Record {
            id: Uuid::now_v7(),
            sql: sql[..sql.floor_char_boundary(SQL_BYTES_MAX)].to_owned(),
            user: user.to_owned(),
            application: application.to_owned(),
            submitted_at: Utc::now(),
            submitted: Instant::now(),
            cancel,
            rows: AtomicU64::new(0),
            life: Mutex::new(Life::new()),
        });
        self.0.queries.lock().active.insert(record.id, Arc::clone(&record));
        Arc::new(QueryEntry { record, shared: Arc::clone(&self.0) })
    }

    /// All queries that are known, the youngest first.
    pub fn list(&self) -> Vec<QueryInfo> {
        let (active, ended) = {
            let queries = self.0.queries.lock();
            let active: Vec<Arc<Record>> = queries.active.values().cloned().collect();
            (active, queries.ended.iter().cloned().collect::<Vec<_>>())
        };
        let tickets = tickets(&active);
        let mut queries: Vec<QueryInfo> = active.iter().chain(&ended).map(|record| record.info(&tickets)).collect();
        queries.sort_by_key(|query| std::cmp::Reverse(query.id));
        queries
    }

    /// One query.
    pub fn get(&self, id: Uuid) -> Option<QueryInfo> {
        let (record, active) = {
            let queries = self.0.queries.lock();
            let active: Vec<Arc<Record>> = queries.active.values().cloned().collect();
            let record = queries.active.get(&id).or_else(|| queries.ended.iter().find(|record| record.id == id));
            (Arc::clone(record?), active)
        };
        Some(record.info(&tickets(&active)))
    }

    /// Stops a query, whatever it is doing.
    pub fn cancel(&self, id: Uuid) -> Stop {
        let cancel = {
            let queries = self.0.queries.lock();
            match queries.active.get(&id) {
                Some(record) => record.cancel.clone(),
                None if queries.ended.iter().any(|record| record.id == id) => return Stop::HasEnded,
                None => return Stop::Unknown,
            }
        };
        // Outside the lock: it wakes others, who may look here.
        cancel.cancel();
        Stop::Stopped
    }

    /// How many queries wait and how many run.
    pub fn queued_and_running(&self) -> (usize, usize) {
        let active: Vec<Arc<Record>> = self.0.queries.lock().active.values().cloned().collect();
        let running = active.iter().filter(|record| record.life.lock().state == QueryState::Running).count();
        (active.len() - running, running)
    }

    /// Numbers since the node started.
    pub fn totals(&self) -> QueryTotals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryTotals {
            finished: read(&self.0.finished),
            failed: read(&self.0.failed),
            cancelled: read(&self.0.cancelled),
            rows: read(&self.0.rows),
        }
    }
}

/// The queue's numbers of the queries that wait, in order.
fn tickets(active: &[Arc<Record>]) -> Vec<u64> {
    let mut tickets: Vec<u64> = active.iter().filter_map(|record| record.life.lock().ticket).collect();
    tickets.sort_unstable();
    tickets
}

impl Shared {
    /// Moves a query from those that are active to those that have ended; the oldest of these go.
    fn end(&self, record: &Arc<Record>, state: QueryState) {
        let counter = match state {
            QueryState::Finished => &self.finished,
            QueryState::Failed => &self.failed,
            _ => &self.cancelled,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut queries = self.queries.lock();
        queries.active.remove(&record.id);
        queries.ended_bytes += record.sql.len();
        queries.ended.push_back(Arc::clone(record));
        while queries.ended.len() > HISTORY_MAX || queries.ended_bytes > HISTORY_BYTES_MAX {
            let Some(oldest) = queries.ended.pop_front() else { break };
            queries.ended_bytes -= oldest.sql.len();
        }
    }
}

impl Life {
    fn new() -> Self {
        Life {
            state: QueryState::Queued,
            ticket: None,
            started: None,
            ended: None,
            error: None,
            attempts: 1,
            restart_reason: None,
            memory: None,
            peak_memory_bytes: 0,
            units_done: 0,
            units_total: 0,
            tasks: vec![],
        }
    }

    /// This node's peak, or what the tasks say of their nodes, whichever is more.
    fn peak_memory_bytes(&self) -> u64 {
        let own = self.memory.as_ref().map_or(self.peak_memory_bytes, |memory| memory.peak_bytes() as u64);
        let mut nodes: BTreeMap<&str, u64> = BTreeMap::new();
        for task in &self.tasks {
            let peak = nodes.entry(&task.node_id).or_default();
            *peak = task.peak_memory_bytes.max(*peak);
        }
        own.max(nodes.values().sum())
    }
}

impl Record {
    fn info(&self, tickets: &[u64]) -> QueryInfo {
        let life = self.life.lock();
        let elapsed = life.ended.unwrap_or_else(|| self.submitted.elapsed());
        let is_stopping = !life.state.is_final() && self.cancel.is_cancelled();
        QueryInfo {
            id: self.id,
            sql: self.sql.clone(),
            user: self.user.clone(),
            application: self.application.clone(),
            // A client that does not read its rows learns of the end late; who asked for it should not have to wait.
            state: if is_stopping { QueryState::Cancelled } else { life.state },
            submitted_at: self.submitted_at,
            queued: life.started.unwrap_or(elapsed),
            elapsed,
            queue_position: life.ticket.and_then(|ticket| tickets.binary_search(&ticket).ok()).map(|index| index + 1),
            rows: self.rows.load(Ordering::Relaxed),
            error: life.error.clone(),
            attempts: life.attempts,
            restart_reason: life.restart_reason.clone(),
            peak_memory_bytes: life.peak_memory_bytes(),
            units_done: life.units_done,
            units_total: life.units_total,
            tasks: life.tasks.clone(),
        }
    }
}

impl QueryEntry {
    /// The query's name.
    pub fn id(&self) -> Uuid {
        self.record.id
    }

    /// It has to wait, with this number in the queue; smaller numbers come first.
    pub fn queued(&self, ticket: u64) {
        self.record.life.lock().ticket = Some(ticket);
    }

    /// It runs.
    pub fn running(&self) {
        let mut life = self.record.life.lock();
        life.ticket = None;
        if !life.state.is_final() {
            life.state = QueryState::Running;
            life.started.get_or_insert_with(|| self.record.submitted.elapsed());
        }
    }

    /// What the query holds on this node is counted there.
    pub fn set_memory(&self, memory: Arc<QueryMemory>) {
        self.record.life.lock().memory = Some(memory);
    }

    /// How much of its work is done.
    pub fn set_progress(&self, units_done: u64, units_total: u64) {
        let mut life = self.record.life.lock();
        (life.units_done, life.units_total) = (units_done, units_total);
    }

    /// What each node does for it.
    pub fn set_tasks(&self, tasks: Vec<TaskInfo>) {
        self.record.life.lock().tasks = tasks;
    }

    /// It begins again.
    pub fn restarted(&self, reason: impl Into<String>) {
        let mut life = self.record.life.lock();
        life.attempts += 1;
        life.restart_reason = Some(reason.into());
    }

    /// Rows were handed to the client.
    pub fn add_rows(&self, rows: u64) {
        self.record.rows.fetch_add(rows, Ordering::Relaxed);
        self.shared.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// The counters of the one task of a query that ran on this node alone.
    pub fn set_local_counters(&self, metrics: &GraphMetrics) {
        let rows = self.record.rows.load(Ordering::Relaxed);
        let mut life = self.record.life.lock();
        life.peak_memory_bytes = metrics.peak_memory_bytes;
        if let [task] = life.tasks.as_mut_slice() {
            // Nothing comes into sources.
            let sources = metrics.operators.iter().filter(|operator| operator.batches_in == 0);
            task.rows_in = sources.map(|operator| operator.rows_out).sum();
            task.rows_out = rows;
            task.busy_ns = metrics.operators.iter().map(|operator| operator.busy_ns).sum();
            task.blocked_ns = metrics.operators.iter().map(|operator| operator.blocked_ns).sum();
            task.peak_memory_bytes = metrics.peak_memory_bytes;
            (task.units_done, task.units_running) = (1, 0);
            life.units_done = life.units_total;
        }
    }

    /// It has ended. Only the first call counts.
    pub fn finish(&self, result: Result<(), &Error>) {
        let state = match result {
            Ok(()) => QueryState::Finished,
            Err(error) if error.kind == ErrorKind::Cancelled => QueryState::Cancelled,
            Err(_) => QueryState::Failed,
        };
        {
            let mut life = self.record.life.lock();
            if life.state.is_final() {
                return;
            }
            life.state = state;
            life.ticket = None;
            life.ended = Some(self.record.submitted.elapsed());
            life.error = result.err().map(|error| QueryFailure { message: error.message.clone(), sqlstate: error.sqlstate.0 });
            if let Some(memory) = life.memory.take() {
                life.peak_memory_bytes = life.peak_memory_bytes.max(memory.peak_bytes() as u64);
            }
            for task in life.tasks.iter_mut().filter(|task| !task.state.is_final()) {
                task.state = state;
                task.units_running = 0;
            }
        }
        self.shared.end(&self.record, state);
    }

    /// It has ended because nobody wants its rows.
    pub fn abandon(&self) {
        self.finish(Err(&Error::from(pipelines::Error::Cancelled)));
    }
}

impl Drop for QueryEntry {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl TaskInfo {
    /// A task that has just begun.
    pub fn new(fragment: u32, node_id: impl Into<String>) -> Self {
        TaskInfo {
            fragment,
            node_id: node_id.into(),
            state: QueryState::Running,
            units_done: 0,
            units_running: 0,
            rows_in: 0,
            rows_out: 0,
            bytes_sent: 0,
            busy_ns: 0,
            blocked_ns: 0,
            peak_memory_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(registry: &QueryRegistry, sql: &str) -> Arc<QueryEntry> {
        registry.begin(sql, "ada", "psql", CancelToken::new())
    }

    fn state(registry: &QueryRegistry, id: Uuid) -> QueryState {
        registry.get(id).unwrap().state
    }

    #[test]
    fn a_query_is_seen_from_begin_to_end() {
        let registry = QueryRegistry::default();
        let entry = begin(&registry, "SELECT 1");
        let id = entry.id();
        assert_eq!(state(&registry, id), QueryState::Queued);
        entry.running();
        entry.set_progress(1, 4);
        entry.add_rows(7);
        assert_eq!(registry.queued_and_running(), (0, 1));
        let info = registry.get(id).unwrap();
        assert_eq!((info.state, info.rows, info.units_done, info.units_total), (QueryState::Running, 7, 1, 4));
        assert_eq!((info.sql.as_str(), info.user.as_str(), info.application.as_str()), ("SELECT 1", "ada", "psql"));
        entry.finish(Ok(()));
        drop(entry);
        let info = registry.get(id).unwrap();
        assert_eq!((info.state, info.error), (QueryState::Finished, None));
        assert!(info.queued <= info.elapsed);
        assert_eq!(registry.queued_and_running(), (0, 0));
        assert_eq!(registry.totals(), QueryTotals { finished: 1, rows: 7, ..QueryTotals::default() });
    }

    #[test]
    fn a_failure_keeps_its_message_and_code() {
        let registry = QueryRegistry::default();
        let entry = begin(&registry, "SELECT 1 / 0");
        entry.finish(Err(&Error::new(ErrorKind::Data, "22012", "division by zero")));
        let info = registry.get(entry.id()).unwrap();
        assert_eq!(info.state, QueryState::Failed);
        assert_eq!(info.error.unwrap(), QueryFailure { message: "division by zero".to_owned(), sqlstate: "22012" });
    }

    #[test]
    fn an_entry_that_is_dropped_was_cancelled() {
        let registry = QueryRegistry::default();
        let entry = begin(&registry, "SELECT 1");
        let id = entry.id();
        entry.running();
        drop(entry);
        assert_eq!(state(&registry, id), QueryState::Cancelled);
        assert_eq!(registry.totals().cancelled, 1);
    }

    #[test]
    fn cancelling_sets_the_query_s_token_and_is_seen_at_once() {
        let registry = QueryRegistry::default();
        let cancel = CancelToken::new();
        let entry = registry.begin("SELECT 1", "ada", "", cancel.clone());
        entry.running();
        assert_eq!(registry.cancel(entry.id()), Stop::Stopped);
        assert!(cancel.is_cancelled());
        assert_eq!(state(&registry, entry.id()), QueryState::Cancelled);
        entry.abandon();
        assert_eq!(registry.cancel(entry.id()), Stop::HasEnded);
        assert_eq!(registry.cancel(Uuid::now_v7()), Stop::Unknown);
    }

    #[test]
    fn the_oldest_ended_queries_are_forgotten_and_running_ones_are_not() {
        let registry = QueryRegistry::default();
        let running = begin(&registry, "SELECT 'running'");
        let first = begin(&registry, "SELECT 'first'").id();
        for _ in 0..HISTORY_MAX {
            begin(&registry, "SELECT 'more'");
        }
        assert!(registry.get(first).is_none());
        assert!(registry.get(running.id()).is_some());
        assert_eq!(registry.list().len(), HISTORY_MAX + 1);
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_do_not_pile_up() {
        let registry = QueryRegistry::default();
        let sql = "ä".repeat(SQL_BYTES_MAX);
        for _ in 0..HISTORY_MAX {
            begin(&registry, &sql);
        }
        let kept = registry.list();
        assert!(kept[0].sql.len() <= SQL_BYTES_MAX && kept[0].sql.chars().all(|c| c == 'ä'));
        assert!(kept.iter().map(|query| query.sql.len()).sum::<usize>() <= HISTORY_BYTES_MAX);
    }

    #[test]
    fn the_youngest_query_is_listed_first() {
        let registry = QueryRegistry::default();
        let entries: Vec<_> = (0..5).map(|n| begin(&registry, &n.to_string())).collect();
        entries[3].finish(Ok(()));
        let listed: Vec<String> = registry.list().into_iter().map(|query| query.sql).collect();
        assert_eq!(listed, ["4", "3", "2", "1", "0"]);
    }

    #[test]
    fn the_place_in_the_queue_counts_those_before() {
        let registry = QueryRegistry::default();
        let entries: Vec<_> = (0..3).map(|n| begin(&registry, &n.to_string())).collect();
        entries[2].queued(10);
        entries[0].queued(11);
        let position = |index: usize| registry.get(entries[index].id()).unwrap().queue_position;
        assert_eq!((position(0), position(1), position(2)), (Some(2), None, Some(1)));
        entries[2].running();
        assert_eq!((position(0), position(2)), (Some(1), None));
    }

    #[test]
    fn tasks_end_with_their_query_and_its_memory_is_that_of_all_nodes() {
        let registry = QueryRegistry::default();
        let entry = begin(&registry, "SELECT 1");
        let task = |fragment, node: &str, peak_memory_bytes| TaskInfo { peak_memory_bytes, ..TaskInfo::new(fragment, node) };
        entry.set_tasks(vec![task(0, "a", 5), task(1, "a", 7), task(0, "b", 10)]);
        entry.finish(Ok(()));
        let info = registry.get(entry.id()).unwrap();
        assert_eq!(info.peak_memory_bytes, 17);
        assert!(info.tasks.iter().all(|task| task.state == QueryState::Finished));
    }
}
