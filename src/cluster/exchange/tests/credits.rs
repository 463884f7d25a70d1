//! Credit: nobody sends more than was granted and one batch, and nobody starves.

use std::sync::atomic::Ordering;

use arrow::datatypes::DataType;

use super::nodes::{Nodes, ints, is_stuck, output, soon, sorted, stalled, start, unit, until};
use crate::{
    cluster::exchange::{FrameHeader, Limits, Output},
    plan::fragment::{ExchangeId, Routing},
};

const LIMITS: Limits =
    Limits { exclusive_bytes: 64 << 10, grant_bytes: 8 << 10, floating_step_bytes: 0, floating_bytes: 0, released_bytes: 64 << 10 };
/// What chains may have gathered and not sent, on a pool of two threads: a frame's worth of rows each, and a batch.
const OVERSHOOT: u64 = 2 * (4 * 1000 + 1000) * 8;

fn to_coordinator() -> Vec<Output> {
    vec![output(1, Routing::Gather, &[0])]
}

fn gathering(limits: Limits, num_units: u32, is_staged: bool) -> Nodes {
    let nodes = Nodes::with(3, limits, usize::MAX);
    nodes.open(&[0], 1, num_units, is_staged, &[DataType::Int64]);
    nodes
}

#[tokio::test]
async fn a_sender_stops_when_nothing_is_taken_and_goes_on_when_it_is() {
    let nodes = gathering(LIMITS, 1, false);
    let mut sent = nodes.send(1, unit(0, 0), to_coordinator(), ints(0..500_000));
    stalled(&nodes, 1).await;
    assert!(is_stuck(&mut sent).await);
    let charged = nodes.wires.charged.load(Ordering::SeqCst);
    assert!((64 << 10..=(64 << 10) + OVERSHOOT).contains(&charged), "{charged}");
    assert!(nodes.memories[0].used_bytes() as u64 >= charged, "what waits is reserved");
    let (sink, reader) = nodes.read(0, 1);
    soon(sent).await.unwrap();
    soon(reader).await.unwrap();
    assert_eq!(sorted(&sink.batches()), (0..500_000).collect::<Vec<_>>());
    let (charged, granted) = (nodes.wires.charged.load(Ordering::SeqCst), nodes.wires.granted.load(Ordering::SeqCst));
    assert!(charged <= (64 << 10) + granted + OVERSHOOT, "{charged} sent, {granted} granted");
    let stats = &nodes.exchanges[1].stats()[0];
    assert!(stats.credit_stalls > 0 && stats.blocked_ns > 0, "{stats:?}");
    nodes.assert_memory_is_free();
    nodes.assert_no_errors();
}

#[tokio::test]
async fn staged_rows_use_no_credit_until_readers_are_behind() {
    let nodes = gathering(LIMITS, 20, true);
    // Much more than the channel's credit, in one unit.
    soon(nodes.send(1, unit(0, 0), to_coordinator(), ints(0..100_000))).await.unwrap();
    soon(nodes.exchanges[1].delivered(unit(0, 0))).await;
    assert!(nodes.exchanges[0].ready_bytes(ExchangeId(1)) >= 800_000);
    // Now they are behind: what is staged has to wait.
    let mut second = nodes.send(1, unit(1, 0), to_coordinator(), ints(0..100_000));
    stalled(&nodes, 1).await;
    assert!(is_stuck(&mut second).await);
    let (sink, reader) = nodes.read(0, 1);
    soon(second).await.unwrap();
    for number in 2..20 {
        soon(nodes.send(2, unit(number, 0), to_coordinator(), ints(0..1))).await.unwrap();
    }
    soon(reader).await.unwrap();
    assert_eq!(sink.num_rows(), 200_018);
    nodes.assert_memory_is_free();
}

#[tokio::test]
async fn of_many_senders_to_a_slow_reader_nobody_starves() {
    let nodes = gathering(LIMITS, 16, false);
    let senders: Vec<_> =
        (0..16).map(|number| nodes.send(1 + number % 2, unit(number as u32, 0), to_coordinator(), ints(0..20_000))).collect();
    let (sink, reader) = nodes.read(0, 1);
    for sent in senders {
        soon(sent).await.unwrap();
    }
    soon(reader).await.unwrap();
    assert_eq!(sink.num_rows(), 16 * 20_000);
    nodes.assert_memory_is_free();
}

#[tokio::test]
async fn a_sender_that_runs_out_gets_more_while_the_pool_has_some_and_the_pool_gets_it_back() {
    let limits = Limits { floating_step_bytes: 100 << 10, floating_bytes: 100 << 10, ..LIMITS };
    let nodes = gathering(limits, 1, false);
    nodes.open(&[0], 2, 1, false, &[DataType::Int64]);
    for exchange in [1u16, 2] {
        let before = nodes.wires.charged.load(Ordering::SeqCst);
        let mut sent = nodes.send(1, unit(0, exchange), vec![output(u32::from(exchange), Routing::Gather, &[0])], ints(0..500_000));
        until(|| nodes.exchanges[1].stats().iter().any(|stats| stats.exchange == u32::from(exchange) && stats.credit_stalls > 0)).await;
        assert!(is_stuck(&mut sent).await);
        let charged = nodes.wires.charged.load(Ordering::SeqCst) - before;
        assert!(charged >= 164 << 10, "{charged}");
        let (_, reader) = nodes.read(0, u32::from(exchange));
        soon(sent).await.unwrap();
        soon(reader).await.unwrap();
    }
}

#[tokio::test]
async fn every_receiver_needs_credit() {
    let nodes = Nodes::with(3, LIMITS, usize::MAX);
    nodes.open(&[0, 2], 1, 1, false, &[DataType::Int64]);
    // One reads, the other does not.
    let (_, fast) = nodes.read(0, 1);
    let mut sent = nodes.send(1, unit(0, 0), vec![output(1, Routing::Broadcast, &[0, 2])], ints(0..500_000));
    stalled(&nodes, 1).await;
    assert!(is_stuck(&mut sent).await);
    let (_, slow) = nodes.read(2, 1);
    soon(sent).await.unwrap();
    soon(fast).await.unwrap();
    soon(slow).await.unwrap();
}

#[tokio::test]
async fn a_unit_whose_receivers_all_cancelled_ends_early() {
    let nodes = gathering(LIMITS, 1, false);
    let sent = nodes.send(1, unit(0, 0), to_coordinator(), ints(0..3_000_000));
    stalled(&nodes, 1).await;
    drop(nodes.exchanges[0].source(ExchangeId(1)).unwrap());
    soon(sent).await.unwrap();
    soon(nodes.exchanges[1].delivered(unit(0, 0))).await;
    assert!(nodes.wires.charged.load(Ordering::SeqCst) <= (64 << 10) + OVERSHOOT);
    // A later unit learns it before its first row.
    let sink = nodes.exchanges[1].sink(unit(1, 0), to_coordinator(), vec![DataType::Int64]);
    let before = nodes.wires.frames.load(Ordering::SeqCst);
    soon(start(&nodes.scheduler, pipelines::testing::VecSource::new(ints(0..10_000)), sink)).await.unwrap();
    assert_eq!(nodes.wires.frames.load(Ordering::SeqCst), before);
    nodes.assert_memory_is_free();
}

#[tokio::test]
async fn who_has_not_sent_learns_of_the_cancellation_at_its_first_frame() {
    let nodes = gathering(LIMITS, 4, true);
    drop(nodes.exchanges[0].source(ExchangeId(1)).unwrap());
    assert_eq!(nodes.wires.frames.load(Ordering::SeqCst), 0);
    soon(nodes.send(2, unit(0, 0), to_coordinator(), ints(0..500_000))).await.unwrap();
    soon(nodes.exchanges[2].delivered(unit(0, 0))).await;
    assert!(nodes.wires.charged.load(Ordering::SeqCst) <= 2 * OVERSHOOT);
    nodes.assert_no_errors();
}

#[tokio::test]
async fn credit_that_is_lost_is_missed() {
    // The tests above can fail: without credit coming back, a sender stays where it is.
    let nodes = gathering(LIMITS, 1, false);
    nodes.wires.cut(|header| matches!(header, FrameHeader::Credit { .. }));
    let (_, _reader) = nodes.read(0, 1);
    let mut sent = nodes.send(1, unit(0, 0), to_coordinator(), ints(0..500_000));
    stalled(&nodes, 1).await;
    assert!(is_stuck(&mut sent).await);
}
