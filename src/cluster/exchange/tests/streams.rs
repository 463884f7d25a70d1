//! Data streams, over channels in memory instead of connections.

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicUsize, Ordering},
};

use arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::DataType,
};
use arrow_flight::FlightData;
use futures::StreamExt;
use parking_lot::Mutex;
use pipelines::{
    Batch, QueryMemory, Scheduler,
    testing::{CollectSink, VecSource, split},
};
use tokio::sync::mpsc::unbounded_channel;

use super::nodes::{BATCH_ROWS, by_column, config, ints, output, soon, sorted, start, unit, until};
use crate::{
    cluster::{
        control::InputSpec,
        exchange::{DataStreams, QueryExchange, StreamOpener, serve_data_stream},
        flight::{FlightReceiver, FlightSender},
        node::NodeIndex,
    },
    error::Error,
    plan::fragment::{ExchangeId, Routing},
};

/// Nodes that are connected by data streams.
struct Cluster {
    exchanges: Vec<Arc<QueryExchange>>,
    network: Arc<Network>,
    scheduler: Arc<Scheduler>,
}

#[derive(Default)]
struct Network {
    nodes: OnceLock<Vec<Weak<QueryExchange>>>,
    opened: AtomicUsize,
    /// Tasks that serve streams and have not ended.
    served: AtomicUsize,
    lost: Mutex<Vec<(usize, NodeIndex)>>,
}

impl Network {
    /// A stream: what each end sends into and reads from.
    fn connect(self: &Arc<Self>, from: NodeIndex, to: NodeIndex) -> (FlightSender, FlightReceiver) {
        let ((there, there_end), (back, back_end)) = (unbounded_channel::<FlightData>(), unbounded_channel::<FlightData>());
        let receiver = |end| {
            futures::stream::unfold(end, |mut end: tokio::sync::mpsc::UnboundedReceiver<FlightData>| async move {
                end.recv().await.map(|data| (Ok(data), end))
            })
        };
        self.opened.fetch_add(1, Ordering::SeqCst);
        let exchange = self.nodes.get().unwrap()[usize::from(to.0)].upgrade().unwrap();
        let network = Arc::clone(self);
        network.served.fetch_add(1, Ordering::SeqCst);
        let inbound = receiver(there_end).boxed();
        tokio::spawn(async move {
            serve_data_stream(exchange, from, back, inbound).await;
            network.served.fetch_sub(1, Ordering::SeqCst);
        });
        (there, receiver(back_end).boxed())
    }
}

impl Cluster {
    fn new(num_nodes: usize, compress: bool) -> Cluster {
        let network: Arc<Network> = Arc::default();
        let exchange = |me: usize| {
            let (of_streams, of_losses) = (Arc::clone(&network), Arc::clone(&network));
            let opener: StreamOpener = Box::new(move |to| {
                let network = Arc::clone(&of_streams);
                Box::pin(async move { Ok(network.connect(NodeIndex(me as u16), to)) })
            });
            let mut config = config(me, num_nodes, QueryMemory::unlimited());
            config.compress = vec![compress; num_nodes];
            QueryExchange::new(config, DataStreams::new(opener), Box::new(move |node, _| of_losses.lost.lock().push((me, node))))
        };
        let exchanges: Vec<_> = (0..num_nodes).map(exchange).collect();
        assert!(network.nodes.set(exchanges.iter().map(Arc::downgrade).collect()).is_ok());
        Cluster { exchanges, network, scheduler: Scheduler::new(2) }
    }

    fn open(&self, node: usize, num_units: u32, is_staged: bool) {
        self.exchanges[node].open_input(&InputSpec { exchange: ExchangeId(1), num_units, is_staged, types: vec![DataType::Int64] });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_travel_over_streams_and_streams_end_with_the_query() {
    for is_staged in [true, false] {
        let cluster = Cluster::new(4, false);
        let mut readers = Vec::new();
        for node in 1..4 {
            cluster.open(node, 4, is_staged);
            let sink = CollectSink::new();
            let source = cluster.exchanges[node].source(ExchangeId(1)).unwrap();
            readers.push((Arc::clone(&sink), start(&cluster.scheduler, source, sink)));
        }
        for node in 0..4 {
            let outputs = vec![output(1, by_column(0, DataType::Int64), &[1, 2, 3])];
            let sink = cluster.exchanges[node].sink(unit(node as u32, 0), outputs, vec![DataType::Int64]);
            let from = node as i64 * 1_000_000;
            soon(start(&cluster.scheduler, VecSource::new(ints(from..from + 1_000_000)), sink)).await.unwrap();
            soon(cluster.exchanges[node].delivered(unit(node as u32, 0))).await;
        }
        let mut batches = Vec::new();
        for (sink, handle) in readers {
            soon(handle).await.unwrap();
            batches.extend(sink.batches());
        }
        assert_eq!(sorted(&batches), (0..4_000_000).collect::<Vec<_>>());
        assert_eq!(cluster.network.opened.load(Ordering::SeqCst), 9, "one stream per pair of nodes");
        cluster.exchanges.iter().for_each(|exchange| exchange.close());
        until(|| cluster.network.served.load(Ordering::SeqCst) == 0).await;
        assert_eq!(*cluster.network.lost.lock(), []);
    }
}

#[tokio::test]
async fn a_receiver_that_goes_away_is_a_lost_peer() {
    let cluster = Cluster::new(2, false);
    let network = Arc::clone(&cluster.network);
    // A stream whose other end is dropped at once.
    let opener: StreamOpener = Box::new(|_| Box::pin(async { Ok((unbounded_channel().0, futures::stream::empty().boxed())) }));
    let losses = Arc::clone(&network);
    let config = config(1, 2, QueryMemory::unlimited());
    let sender = QueryExchange::new(config, DataStreams::new(opener), Box::new(move |node, _| losses.lost.lock().push((1, node))));
    let sink = sender.sink(unit(0, 0), vec![output(1, Routing::Gather, &[0])], vec![DataType::Int64]);
    soon(start(&cluster.scheduler, VecSource::new(ints(0..1_000_000)), sink)).await.unwrap();
    until(|| !network.lost.lock().is_empty()).await;
    assert_eq!(*network.lost.lock(), [(1, NodeIndex(0))]);
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_a_lost_peer() {
    let lost: Arc<Mutex<Vec<String>>> = Arc::default();
    let opener: StreamOpener = Box::new(|_| Box::pin(async { Err(Error::internal("nobody answers")) }));
    let losses = Arc::clone(&lost);
    let config = config(1, 2, QueryMemory::unlimited());
    let sender = QueryExchange::new(config, DataStreams::new(opener), Box::new(move |_, why| losses.lock().push(why)));
    let sink = sender.sink(unit(0, 0), vec![output(1, Routing::Gather, &[0])], vec![DataType::Int64]);
    soon(start(&Scheduler::new(1), VecSource::new(ints(0..1_000_000)), sink)).await.unwrap();
    until(|| !lost.lock().is_empty()).await;
    assert_eq!(*lost.lock(), ["nobody answers"]);
}

#[tokio::test]
async fn a_stream_that_carries_no_frames_is_given_up() {
    let cluster = Cluster::new(2, false);
    cluster.open(0, 1, true);
    let (there, _back) = cluster.network.connect(NodeIndex(1), NodeIndex(0));
    there.send(FlightData { app_metadata: vec![0xff; 20].into(), ..FlightData::default() }).unwrap();
    until(|| cluster.network.served.load(Ordering::SeqCst) == 0).await;
    assert_eq!(*cluster.network.lost.lock(), [(0, NodeIndex(1))]);
}

/// Bytes that `values` take on the way to a node on another host.
async fn bytes_sent(values: Vec<i64>) -> u64 {
    let cluster = Cluster::new(2, true);
    cluster.open(0, 1, true);
    let (num_rows, column): (_, ArrayRef) = (values.len(), Arc::new(Int64Array::from(values.clone())));
    let sink = cluster.exchanges[1].sink(unit(0, 0), vec![output(1, Routing::Gather, &[0])], vec![DataType::Int64]);
    let batches = split(&[Batch::new(vec![column], num_rows)], BATCH_ROWS);
    soon(start(&cluster.scheduler, VecSource::new(batches), sink)).await.unwrap();
    let collected = CollectSink::new();
    let source = cluster.exchanges[0].source(ExchangeId(1)).unwrap();
    soon(start(&cluster.scheduler, source, Arc::clone(&collected) as _)).await.unwrap();
    let mut expected = values;
    expected.sort_unstable();
    assert_eq!(sorted(&collected.batches()), expected);
    cluster.exchanges[1].stats()[0].sent[0].2
}

#[tokio::test]
async fn rows_are_compressed_where_that_helps() {
    let rows = 100_000u64;
    assert!(bytes_sent(vec![7; rows as usize]).await < rows * 8 / 4);
    // Numbers without a pattern.
    let random: Vec<i64> =
        (0..rows).map(|row| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (row << 17)).wrapping_mul(0xd6e8_feb8_6659_fd93) as i64).collect();
    assert!(bytes_sent(random).await >= rows * 8);
}
