//! The five rules against deadlock, each with the scenario that is stuck without it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use arrow::datatypes::DataType;
use pipelines::{
    After, Batch, Flow, LocalContext, LocalSink, OperatorId, Pipeline, PipelineGraph, QueryHandle, Result, Scheduler, Sink,
    testing::{CollectSink, VecSource},
};

use super::nodes::{Nodes, ints, is_stuck, options, output, soon, stalled, start, unit};
use crate::{
    cluster::{
        exchange::{Frame, FrameHeader, Limits},
        node::NodeIndex,
    },
    plan::fragment::{ExchangeId, Routing},
};

const LIMITS: Limits = Limits {
    exclusive_bytes: 64 << 10,
    grant_bytes: 8 << 10,
    floating_step_bytes: 16 << 10,
    floating_bytes: 64 << 10,
    released_bytes: 64 << 10,
};

const PROBE: u32 = 1;
const BUILD: u32 = 2;

/// A join on node 0 reads its build side to the end before it takes a row of its probe side; node 1 sends both.
fn join() -> (Nodes, QueryHandle) {
    let nodes = Nodes::with(2, LIMITS, usize::MAX);
    nodes.open(&[0], PROBE, 1, false, &[DataType::Int64]);
    nodes.open(&[0], BUILD, 1, false, &[DataType::Int64]);
    let mut graph = PipelineGraph::new();
    let (build, probe) = (graph.add_sink(OperatorId(0), CollectSink::new()), graph.add_sink(OperatorId(1), CollectSink::new()));
    for (exchange, sink, after) in [(BUILD, build, vec![]), (PROBE, probe, vec![After::Sink(build)])] {
        let source = nodes.exchanges[0].source(ExchangeId(exchange)).unwrap();
        graph.add_pipeline(Pipeline { name: "join".to_owned(), source: (OperatorId(2), source), operators: vec![], sink, after });
    }
    let handle = nodes.scheduler.submit(graph, options());
    (nodes, handle)
}

/// The probe side is sent until it finds no credit, then the build side.
async fn send_both(nodes: &Nodes) -> [QueryHandle; 2] {
    let probe = nodes.send(1, unit(0, 0), vec![output(PROBE, Routing::Gather, &[0])], ints(0..200_000));
    stalled(nodes, 1).await;
    let build = nodes.send(1, unit(0, 1), vec![output(BUILD, Routing::Gather, &[0])], ints(0..200_000));
    [probe, build]
}

#[tokio::test]
async fn rule_1_every_channel_has_credit_of_its_own() {
    let (nodes, join) = join();
    let sent = send_both(&nodes).await;
    soon(join).await.unwrap();
    for sent in sent {
        soon(sent).await.unwrap();
    }
}

#[tokio::test]
async fn without_rule_1_what_is_not_read_uses_up_the_credit_of_what_is() {
    let (nodes, mut join) = join();
    nodes.exchanges[1].share_one_account();
    let _sent = send_both(&nodes).await;
    assert!(is_stuck(&mut join).await);
}

/// Delivers what is sent, in order. One that blocks does not take rows of an exchange of which much waits to be read.
async fn demultiplex(nodes: &Nodes, blocks: bool) {
    let mut queues: HashMap<(NodeIndex, NodeIndex), VecDeque<Frame>> = HashMap::new();
    loop {
        for (from, to, frame) in nodes.wires.take_held() {
            queues.entry((from, to)).or_default().push_back(frame);
        }
        for ((from, to), queue) in &mut queues {
            while let Some(frame) = queue.pop_front() {
                let waits = match frame.header {
                    FrameHeader::Rows { exchange, .. } => nodes.exchanges[usize::from(to.0)].ready_bytes(exchange) > 16 << 10,
                    _ => false,
                };
                if blocks && waits {
                    queue.push_front(frame);
                    break;
                }
                nodes.wires.deliver(*from, *to, frame);
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn rule_2_the_demultiplexer_never_blocks() {
    let (nodes, join) = join();
    nodes.wires.hold();
    let both = async {
        let sent = send_both(&nodes).await;
        join.await.unwrap();
        sent
    };
    tokio::select! {
        sent = soon(both) => drop(sent),
        () = demultiplex(&nodes, false) => {}
    }
    nodes.assert_no_errors();
}

#[tokio::test]
async fn without_rule_2_what_is_not_read_stands_before_what_is() {
    let (nodes, mut join) = join();
    nodes.wires.hold();
    let stuck = async {
        let _sent = send_both(&nodes).await;
        is_stuck(&mut join).await
    };
    tokio::select! {
        is_stuck = soon(stuck) => assert!(is_stuck),
        () = demultiplex(&nodes, true) => {}
    }
}

/// A unit that waits for credit, and then its reader gives up.
async fn give_up(nodes: &Nodes) -> QueryHandle {
    nodes.open(&[0], PROBE, 1, false, &[DataType::Int64]);
    let sent = nodes.send(1, unit(0, 0), vec![output(PROBE, Routing::Gather, &[0])], ints(0..1_000_000));
    stalled(nodes, 1).await;
    drop(nodes.exchanges[0].source(ExchangeId(PROBE)).unwrap());
    sent
}

#[tokio::test]
async fn rule_3_dropping_an_input_tells_its_senders() {
    let nodes = Nodes::with(2, LIMITS, usize::MAX);
    let sent = give_up(&nodes).await;
    soon(sent).await.unwrap();
    soon(nodes.exchanges[1].delivered(unit(0, 0))).await;
}

#[tokio::test]
async fn without_rule_3_senders_wait_for_a_reader_that_has_gone() {
    let nodes = Nodes::with(2, LIMITS, usize::MAX);
    nodes.wires.cut(|header| matches!(header, FrameHeader::Cancel { .. }));
    let mut sent = give_up(&nodes).await;
    assert!(is_stuck(&mut sent).await);
}

/// A sink that waits on its thread where it should have its chain parked.
struct BlockingSink(Arc<dyn Sink>, Arc<AtomicBool>);

struct LocalBlockingSink(Box<dyn LocalSink>, Arc<AtomicBool>);

impl Sink for BlockingSink {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        Ok(Box::new(LocalBlockingSink(self.0.local(context)?, Arc::clone(&self.1))))
    }

    fn finish(&self) -> Result<()> {
        self.0.finish()
    }
}

impl LocalSink for LocalBlockingSink {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        while !self.0.is_ready(Waker::noop())? && !self.1.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.0.push(batch)
    }

    fn combine(self: Box<Self>) -> Result<()> {
        self.0.combine()
    }
}

/// A node with one thread sends to itself; `wrap` is put around the sink.
fn send_to_itself(wrap: impl Fn(Arc<dyn Sink>) -> Arc<dyn Sink>) -> (Nodes, [QueryHandle; 2]) {
    let mut nodes = Nodes::with(1, LIMITS, usize::MAX);
    nodes.scheduler = Scheduler::new(1);
    nodes.open(&[0], PROBE, 1, false, &[DataType::Int64]);
    let sink = nodes.exchanges[0].sink(unit(0, 0), vec![output(PROBE, Routing::Gather, &[0])], vec![DataType::Int64]);
    let sent = start(&nodes.scheduler, VecSource::new(ints(0..200_000)), wrap(sink));
    let (_, reader) = nodes.read(0, PROBE);
    (nodes, [sent, reader])
}

#[tokio::test]
async fn rule_4_a_sink_without_credit_parks_its_chain() {
    let (_nodes, handles) = send_to_itself(|sink| sink);
    for handle in handles {
        soon(handle).await.unwrap();
    }
}

#[tokio::test]
async fn without_rule_4_no_thread_is_left_to_read() {
    let is_over = Arc::new(AtomicBool::new(false));
    let (_nodes, [mut sent, reader]) = send_to_itself(|sink| Arc::new(BlockingSink(sink, Arc::clone(&is_over))));
    assert!(is_stuck(&mut sent).await);
    is_over.store(true, Ordering::SeqCst);
    soon(sent).await.unwrap();
    soon(reader).await.unwrap();
}

/// A unit waits for credit from a node to which nothing passes any more. Answers the command that the coordinator has for it.
async fn clogged(nodes: &Nodes) -> (QueryHandle, impl FnOnce() + use<>) {
    nodes.open(&[0], PROBE, 1, false, &[DataType::Int64]);
    nodes.wires.hold();
    let sent = nodes.send(1, unit(0, 0), vec![output(PROBE, Routing::Gather, &[0])], ints(0..1_000_000));
    stalled(nodes, 1).await;
    let exchange = Arc::clone(&nodes.exchanges[1]);
    (sent, move || exchange.node_gone(NodeIndex(0)))
}

#[tokio::test]
async fn rule_5_commands_do_not_come_on_the_connection_of_rows() {
    let nodes = Nodes::with(2, LIMITS, usize::MAX);
    let (sent, command) = clogged(&nodes).await;
    command();
    soon(sent).await.unwrap();
    soon(nodes.exchanges[1].delivered(unit(0, 0))).await;
}

#[tokio::test]
async fn without_rule_5_the_command_that_would_help_waits_behind_rows() {
    let nodes = Nodes::with(2, LIMITS, usize::MAX);
    let (mut sent, command) = clogged(&nodes).await;
    let mut connection: VecDeque<Box<dyn FnOnce()>> =
        nodes.wires.take_held().into_iter().map(|_| Box::new(|| {}) as Box<dyn FnOnce()>).collect();
    connection.push_back(Box::new(command));
    assert!(is_stuck(&mut sent).await);
    // Once the connection passes something again, it is over.
    connection.into_iter().for_each(|message| message());
    soon(sent).await.unwrap();
}
