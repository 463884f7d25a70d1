//! Units that are run twice, lost, abandoned; and what is left in memory afterwards.

use arrow::datatypes::DataType;
use pipelines::Batch;

use super::nodes::{Nodes, ints, is_stuck, output, soon, sorted, start, unit, until};
use crate::{
    cluster::{
        exchange::{Frame, FrameHeader, Limits, Output},
        node::NodeIndex,
    },
    plan::fragment::{ExchangeId, Routing},
};

fn gathering(num_units: u32, is_staged: bool) -> Nodes {
    let nodes = Nodes::new(3);
    nodes.open(&[0], 1, num_units, is_staged, &[DataType::Int64]);
    nodes
}

fn to_coordinator() -> Vec<Output> {
    vec![output(1, Routing::Gather, &[0])]
}

/// The frames of run `run` of unit 0, sent by `node`, not delivered.
async fn frames_of_run(nodes: &Nodes, node: usize, run: u16, batches: Vec<Batch>) -> Vec<(NodeIndex, NodeIndex, Frame)> {
    nodes.wires.hold();
    soon(nodes.send(node, unit(0, run), to_coordinator(), batches)).await.unwrap();
    nodes.wires.take_held()
}

#[tokio::test]
async fn a_unit_that_is_run_twice_counts_once_whichever_order_its_frames_come_in() {
    for order in 0..4 {
        let nodes = gathering(1, true);
        let mut first = frames_of_run(&nodes, 1, 0, ints(0..500)).await;
        let mut second = frames_of_run(&nodes, 2, 1, ints(0..500)).await;
        assert!(first.len() >= 2 && second.len() >= 2, "rows and an end");
        let (first_end, second_end) = (first.pop().unwrap(), second.pop().unwrap());
        let frames = match order {
            0 => [first, vec![first_end], second, vec![second_end]].concat(),
            1 => [second, vec![second_end], first, vec![first_end]].concat(),
            2 => [first, second, vec![second_end], vec![first_end]].concat(),
            _ => [second, first, vec![second_end, first_end]].concat(),
        };
        nodes.wires.release();
        frames.into_iter().for_each(|(from, to, frame)| nodes.wires.deliver(from, to, frame));
        // Both have been acknowledged.
        soon(nodes.exchanges[1].delivered(unit(0, 0))).await;
        soon(nodes.exchanges[2].delivered(unit(0, 1))).await;
        let (sink, reader) = nodes.read(0, 1);
        soon(reader).await.unwrap();
        assert_eq!(sorted(&sink.batches()), (0..500).collect::<Vec<_>>(), "order {order}");
        nodes.assert_no_errors();
        nodes.assert_memory_is_free();
    }
}

#[tokio::test]
async fn staged_rows_surface_only_when_their_unit_has_ended() {
    let nodes = gathering(1, true);
    let (sink, reader) = nodes.read(0, 1);
    let mut frames = frames_of_run(&nodes, 1, 0, ints(0..500)).await;
    let end = frames.pop().unwrap();
    nodes.wires.release();
    frames.into_iter().for_each(|(from, to, frame)| nodes.wires.deliver(from, to, frame));
    assert!(nodes.memories[0].used_bytes() >= 4000, "staged rows are reserved");
    assert_eq!(nodes.exchanges[0].ready_bytes(ExchangeId(1)), 0);
    nodes.wires.deliver(end.0, end.1, end.2);
    soon(reader).await.unwrap();
    assert_eq!(sink.num_rows(), 500);
    nodes.assert_memory_is_free();
}

#[tokio::test]
async fn a_part_of_a_lost_nodes_unit_never_surfaces() {
    let nodes = gathering(2, true);
    let whole = frames_of_run(&nodes, 1, 0, ints(0..500)).await;
    let (late, early) = (whole.last().unwrap().clone(), whole[..whole.len() - 1].to_vec());
    nodes.wires.release();
    early.into_iter().for_each(|(from, to, frame)| nodes.wires.deliver(from, to, frame));
    nodes.exchanges.iter().for_each(|exchange| exchange.node_gone(NodeIndex(1)));
    assert_eq!(nodes.memories[0].used_bytes(), 0, "what it had not ended is dropped");
    // Its end comes after all: nobody listens.
    nodes.wires.deliver(late.0, late.1, late.2);
    let (sink, reader) = nodes.read(0, 1);
    soon(nodes.send(2, unit(0, 1), to_coordinator(), ints(1000..1010))).await.unwrap();
    soon(nodes.send(2, unit(1, 0), to_coordinator(), ints(2000..2010))).await.unwrap();
    soon(reader).await.unwrap();
    assert_eq!(sorted(&sink.batches()), (1000..1010).chain(2000..2010).collect::<Vec<_>>());
    nodes.assert_no_errors();
}

#[tokio::test]
async fn a_unit_is_delivered_when_every_receiver_has_acknowledged_it_or_is_gone() {
    let nodes = Nodes::new(3);
    nodes.open(&[0, 2], 1, 1, true, &[DataType::Int64]);
    nodes.wires.cut(|header| matches!(header, FrameHeader::Ack { .. }));
    soon(nodes.send(1, unit(0, 0), vec![output(1, Routing::Broadcast, &[0, 2])], ints(0..10))).await.unwrap();
    let mut delivered = Box::pin(nodes.exchanges[1].delivered(unit(0, 0)));
    assert!(is_stuck(&mut delivered).await);
    nodes.exchanges[1].node_gone(NodeIndex(2));
    assert!(is_stuck(&mut delivered).await, "one has not acknowledged");
    nodes.exchanges[1].node_gone(NodeIndex(0));
    soon(delivered).await;
    // What was never sent has been delivered.
    soon(nodes.exchanges[1].delivered(unit(7, 7))).await;
}

#[tokio::test]
async fn an_abandoned_run_is_dropped_even_if_frames_of_it_come_later() {
    let nodes = gathering(1, true);
    let mut frames = frames_of_run(&nodes, 1, 0, ints(0..20_000)).await;
    let late = frames.remove(0);
    nodes.wires.release();
    frames.pop();
    frames.into_iter().for_each(|(from, to, frame)| nodes.wires.deliver(from, to, frame));
    assert!(nodes.memories[0].used_bytes() > 0);
    nodes.exchanges[1].abandon(unit(0, 0));
    soon(nodes.exchanges[1].delivered(unit(0, 0))).await;
    nodes.wires.deliver(late.0, late.1, late.2);
    assert_eq!(nodes.memories[0].used_bytes(), 0);
    soon(nodes.send(2, unit(0, 1), to_coordinator(), ints(0..20))).await.unwrap();
    let (sink, reader) = nodes.read(0, 1);
    soon(reader).await.unwrap();
    assert_eq!(sink.num_rows(), 20);
    nodes.assert_no_errors();
}

#[tokio::test]
async fn an_abandoned_runs_sink_ends_its_pipeline() {
    let nodes = gathering(1, true);
    let sink = nodes.exchanges[1].sink(unit(0, 0), to_coordinator(), vec![DataType::Int64]);
    nodes.exchanges[1].abandon(unit(0, 0));
    soon(start(&nodes.scheduler, pipelines::testing::VecSource::new(ints(0..100_000)), sink)).await.unwrap();
    assert_eq!(nodes.wires.frames.load(std::sync::atomic::Ordering::SeqCst), 1, "that it is abandoned, and nothing else");
}

#[tokio::test]
async fn rows_that_do_not_fit_into_memory_fail_their_reader() {
    let nodes = Nodes::with(2, Limits::default(), 100_000);
    nodes.open(&[0], 1, 1, true, &[DataType::Int64]);
    soon(nodes.send(1, unit(0, 0), to_coordinator(), ints(0..100_000))).await.unwrap();
    let (_, reader) = nodes.read(0, 1);
    let error = soon(reader).await.unwrap_err();
    assert!(matches!(error, pipelines::Error::MemoryExceeded { .. }), "{error}");
    assert_eq!(crate::Error::from(error).sqlstate.0, "53200");
    // The sender was told that nothing is wanted.
    soon(nodes.exchanges[1].delivered(unit(0, 0))).await;
    nodes.assert_memory_is_free();
    nodes.assert_no_errors();
}

#[tokio::test]
async fn closing_frees_everything_and_wakes_everybody() {
    for is_staged in [true, false] {
        let nodes = gathering(2, is_staged);
        nodes.wires.cut(|header| matches!(header, FrameHeader::Ack { .. }));
        soon(nodes.send(1, unit(0, 0), to_coordinator(), ints(0..5000))).await.unwrap();
        assert!(nodes.memories[0].used_bytes() > 0);
        let delivered = nodes.exchanges[1].delivered(unit(0, 0));
        let (_, reader) = nodes.read(0, 1);
        nodes.exchanges.iter().for_each(|exchange| exchange.close());
        soon(delivered).await;
        assert!(matches!(soon(reader).await, Err(pipelines::Error::Cancelled)));
        nodes.assert_memory_is_free();
        // Whoever still runs notices nothing.
        soon(nodes.send(1, unit(1, 0), to_coordinator(), ints(0..5000))).await.unwrap();
        nodes.assert_memory_is_free();
        nodes.assert_no_errors();
    }
}

#[tokio::test]
async fn memory_is_free_when_a_reader_gives_up() {
    let nodes = gathering(2, true);
    soon(nodes.send(1, unit(0, 0), to_coordinator(), ints(0..5000))).await.unwrap();
    assert!(nodes.memories[0].used_bytes() > 0);
    drop(nodes.exchanges[0].source(ExchangeId(1)).unwrap());
    nodes.assert_memory_is_free();
    soon(nodes.send(2, unit(1, 0), to_coordinator(), ints(0..5000))).await.unwrap();
    soon(nodes.exchanges[2].delivered(unit(1, 0))).await;
    nodes.assert_memory_is_free();
}

#[tokio::test]
async fn a_chain_that_waits_is_woken_by_the_last_end() {
    let nodes = gathering(1, true);
    let (sink, mut reader) = nodes.read(0, 1);
    assert!(is_stuck(&mut reader).await);
    soon(nodes.send(1, unit(0, 0), to_coordinator(), vec![])).await.unwrap();
    soon(reader).await.unwrap();
    assert_eq!(sink.num_rows(), 0);
}

#[tokio::test]
async fn a_lost_peer_is_reported_once_and_rows_for_it_are_discarded() {
    let nodes = gathering(1, true);
    nodes.exchanges[1].peer_lost(NodeIndex(0), "gone".to_owned());
    nodes.exchanges[1].peer_lost(NodeIndex(0), "still gone".to_owned());
    assert_eq!(*nodes.wires.lost.lock(), [(NodeIndex(1), NodeIndex(0))]);
    soon(nodes.send(1, unit(0, 0), to_coordinator(), ints(0..50_000))).await.unwrap();
    let mut delivered = Box::pin(nodes.exchanges[1].delivered(unit(0, 0)));
    assert!(is_stuck(&mut delivered).await, "rows that were discarded have not been delivered");
    nodes.exchanges[1].node_gone(NodeIndex(0));
    soon(delivered).await;
    until(|| nodes.memories[0].used_bytes() == 0).await;
}

#[tokio::test]
async fn what_no_node_sends_is_an_error() {
    let nodes = gathering(1, true);
    let exchange = &nodes.exchanges[0];
    let (id, from) = (ExchangeId(1), NodeIndex(1));
    let end = |exchange, unit_number, rows| Frame::bare(FrameHeader::End { exchange, run: unit(unit_number, 0), rows });
    for (what, from, frame) in [
        ("an unknown node", NodeIndex(9), end(id, 0, 0)),
        ("itself", NodeIndex(0), end(id, 0, 0)),
        ("an unknown exchange", from, end(ExchangeId(5), 0, 0)),
        ("an unknown unit", from, end(id, 5, 0)),
        ("rows that are missing", from, end(id, 0, 10)),
        ("an answer to nothing", from, Frame::bare(FrameHeader::Credit { exchange: id, bytes: 1 })),
        (
            "rows without rows",
            from,
            Frame::bare(FrameHeader::Rows { exchange: id, run: unit(0, 0), rows: 5, charge: 0, is_exhausted: false }),
        ),
    ] {
        assert!(exchange.receive(from, frame).is_err(), "{what}");
    }
}
