//! Nodes in one process: their exchanges, the wires between them, and graphs that run on a small pool.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    datatypes::{DataType, Int64Type},
};
use operators::Expression;
use parking_lot::Mutex;
use pipelines::{
    Batch, CancelToken, MemoryPool, OperatorId, Pipeline, PipelineGraph, QueryHandle, QueryMemory, QueryOptions, Scheduler, Sink, Source,
    testing::{CollectSink, VecSource},
};

use crate::{
    cluster::{
        control::{InputSpec, QueryAttempt, UnitId, UnitRun, VIRTUAL_CLASSES},
        exchange::{ExchangeConfig, Frame, FrameHeader, Limits, Output, QueryExchange, Transport},
        node::NodeIndex,
    },
    plan::fragment::{ExchangeId, ExchangeSpec, FragmentId, Routing},
};

pub const BATCH_ROWS: usize = 1000;

/// Nodes that send each other frames.
pub struct Nodes {
    pub exchanges: Vec<Arc<QueryExchange>>,
    pub memories: Vec<Arc<QueryMemory>>,
    pub wires: Arc<Wires>,
    pub scheduler: Arc<Scheduler>,
}

/// Where frames go: each is delivered at once, on the sender's thread, unless it is cut or held.
#[derive(Default)]
pub struct Wires {
    nodes: OnceLock<Vec<Weak<QueryExchange>>>,
    is_held: AtomicBool,
    held: Mutex<Vec<(NodeIndex, NodeIndex, Frame)>>,
    cut: OnceLock<fn(&FrameHeader) -> bool>,
    /// Credit used by rows, and credit given back.
    pub charged: AtomicU64,
    pub granted: AtomicU64,
    pub frames: AtomicU64,
    /// Losses that were reported: by whom, of whom.
    pub lost: Mutex<Vec<(NodeIndex, NodeIndex)>>,
    pub errors: Mutex<Vec<String>>,
}

struct Wire {
    me: NodeIndex,
    wires: Arc<Wires>,
}

impl Transport for Wire {
    fn send(&self, to: NodeIndex, frame: Frame) {
        let wires = &self.wires;
        wires.frames.fetch_add(1, Ordering::SeqCst);
        match frame.header {
            FrameHeader::Rows { charge, .. } => drop(wires.charged.fetch_add(u64::from(charge), Ordering::SeqCst)),
            FrameHeader::Credit { bytes, .. } => drop(wires.granted.fetch_add(bytes, Ordering::SeqCst)),
            _ => {}
        }
        if wires.cut.get().is_some_and(|is_cut| is_cut(&frame.header)) {
            return;
        }
        if wires.is_held.load(Ordering::SeqCst) {
            return wires.held.lock().push((self.me, to, frame));
        }
        wires.deliver(self.me, to, frame);
    }
}

impl Wires {
    pub fn deliver(&self, from: NodeIndex, to: NodeIndex, frame: Frame) {
        let Some(exchange) = self.nodes.get().and_then(|nodes| nodes[usize::from(to.0)].upgrade()) else { return };
        let header = frame.header_bytes().unwrap();
        let frame = Frame::from_parts(&header, frame.message, frame.body).unwrap();
        if let Err(error) = exchange.receive(from, frame) {
            self.errors.lock().push(error.to_string());
        }
    }

    /// From now on frames that `is_cut` names are lost.
    pub fn cut(&self, is_cut: fn(&FrameHeader) -> bool) {
        assert!(self.cut.set(is_cut).is_ok());
    }

    /// From now on frames wait.
    pub fn hold(&self) {
        self.is_held.store(true, Ordering::SeqCst);
    }

    /// The frames that wait.
    pub fn take_held(&self) -> Vec<(NodeIndex, NodeIndex, Frame)> {
        std::mem::take(&mut *self.held.lock())
    }

    /// Delivers the frames that wait; none waits any more.
    pub fn release(&self) {
        self.is_held.store(false, Ordering::SeqCst);
        self.take_held().into_iter().for_each(|(from, to, frame)| self.deliver(from, to, frame));
    }
}

impl Nodes {
    pub fn new(num_nodes: usize) -> Nodes {
        Nodes::with(num_nodes, Limits::default(), usize::MAX)
    }

    pub fn with(num_nodes: usize, limits: Limits, memory_bytes: usize) -> Nodes {
        let wires: Arc<Wires> = Arc::default();
        let memory = || QueryMemory::new(MemoryPool::new(memory_bytes), memory_bytes);
        let memories: Vec<_> = (0..num_nodes).map(|_| memory()).collect();
        let exchange = |me: usize| {
            let me_index = NodeIndex(me as u16);
            let (of_wire, of_losses) = (Arc::clone(&wires), Arc::clone(&wires));
            let transport = Arc::new(Wire { me: me_index, wires: of_wire });
            let config = config(me, num_nodes, Arc::clone(&memories[me]));
            QueryExchange::with_limits(config, limits, transport, Box::new(move |node, _| of_losses.lost.lock().push((me_index, node))))
        };
        let exchanges: Vec<_> = (0..num_nodes).map(exchange).collect();
        assert!(wires.nodes.set(exchanges.iter().map(Arc::downgrade).collect()).is_ok());
        Nodes { exchanges, memories, wires, scheduler: Scheduler::new(2) }
    }

    /// Opens the input on each of `receivers`.
    pub fn open(&self, receivers: &[usize], exchange: u32, num_units: u32, is_staged: bool, types: &[DataType]) {
        let spec = InputSpec { exchange: ExchangeId(exchange), num_units, is_staged, types: types.to_vec() };
        receivers.iter().for_each(|node| self.exchanges[*node].open_input(&spec));
    }

    /// Starts a unit on `node` that sends `batches`.
    pub fn send(&self, node: usize, run: UnitRun, outputs: Vec<Output>, batches: Vec<Batch>) -> QueryHandle {
        let types = batches.first().map(|batch| batch.columns().iter().map(|column| column.data_type().clone()).collect());
        let sink = self.exchanges[node].sink(run, outputs, types.unwrap_or_else(|| vec![DataType::Int64]));
        start(&self.scheduler, VecSource::new(batches), sink)
    }

    /// Starts reading an exchange on `node`.
    pub fn read(&self, node: usize, exchange: u32) -> (Arc<CollectSink>, QueryHandle) {
        let sink = CollectSink::new();
        let source = self.exchanges[node].source(ExchangeId(exchange)).unwrap();
        let handle = start(&self.scheduler, source, Arc::clone(&sink) as _);
        (sink, handle)
    }

    pub fn assert_no_errors(&self) {
        assert_eq!(*self.wires.errors.lock(), [""; 0]);
    }

    pub fn assert_memory_is_free(&self) {
        let used: Vec<usize> = self.memories.iter().map(|memory| memory.used_bytes()).collect();
        assert!(used.iter().all(|bytes| *bytes == 0), "{used:?}");
    }
}

pub fn config(me: usize, num_nodes: usize, memory: Arc<QueryMemory>) -> ExchangeConfig {
    let workers = (num_nodes as u16 - 1).max(1);
    let classes = (0..VIRTUAL_CLASSES as u16).map(|class| NodeIndex(if num_nodes == 1 { 0 } else { 1 + class % workers }));
    ExchangeConfig {
        attempt: QueryAttempt { query: uuid::Uuid::nil(), attempt: 0 },
        me: NodeIndex(me as u16),
        num_nodes,
        classes: classes.collect(),
        memory,
        batch_rows: BATCH_ROWS,
        compress: Vec::new(),
    }
}

/// Runs a pipeline without operators.
pub fn start(scheduler: &Arc<Scheduler>, source: Arc<dyn Source>, sink: Arc<dyn Sink>) -> QueryHandle {
    let mut graph = PipelineGraph::new();
    let sink = graph.add_sink(OperatorId(1), sink);
    graph.add_pipeline(Pipeline { name: "test".to_owned(), source: (OperatorId(0), source), operators: vec![], sink, after: vec![] });
    scheduler.submit(graph, options())
}

pub fn options() -> QueryOptions {
    QueryOptions { batch_rows: BATCH_ROWS, memory: QueryMemory::unlimited(), cancel: CancelToken::new(), max_chains: None }
}

/// Fails the test if `future` takes longer than anything should.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("a test hangs")
}

/// Waits until `is_so`.
pub async fn until(is_so: impl Fn() -> bool) {
    soon(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until a sender of `node` has found no credit.
pub async fn stalled(nodes: &Nodes, node: usize) {
    until(|| nodes.exchanges[node].stats().iter().any(|stats| stats.credit_stalls > 0)).await;
}

/// Whether `future` is still not there after a while. To show that something is stuck, which no number of steps can.
pub async fn is_stuck<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(300), future).await.is_err()
}

pub fn unit(unit: u32, run: u16) -> UnitRun {
    UnitRun { id: UnitId { fragment: FragmentId(0), unit }, run }
}

pub fn output(exchange: u32, routing: Routing, receivers: &[usize]) -> Output {
    let spec = ExchangeSpec { id: ExchangeId(exchange), from: FragmentId(0), to: FragmentId(1), routing };
    Output { spec, receivers: receivers.iter().map(|node| NodeIndex(*node as u16)).collect() }
}

pub fn by_column(index: usize, data_type: DataType) -> Routing {
    Routing::Hash(vec![Expression::column(index, data_type)])
}

/// Batches of one column that holds `values`.
pub fn ints(values: std::ops::Range<i64>) -> Vec<Batch> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let all = Batch::new(vec![Arc::clone(&column)], column.len());
    pipelines::testing::split(&[all], BATCH_ROWS)
}

/// The values of the first column of all batches, sorted.
pub fn sorted(batches: &[Batch]) -> Vec<i64> {
    let mut values: Vec<i64> = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    values.sort_unstable();
    values
}
