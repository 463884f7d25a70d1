//! Every row arrives where it should, once.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Decimal64Array, Decimal128Array, DictionaryArray, Int64Array, StringArray, StringViewArray, UInt32Array,
    },
    compute,
    datatypes::{DataType, Int64Type, UInt32Type},
};
use operators::{Expression, sort::SortKey};
use pipelines::{
    Batch,
    testing::{CollectSink, split},
};

use super::{
    every_type,
    nodes::{BATCH_ROWS, Nodes, by_column, ints, output, soon, sorted, start, unit},
};
use crate::plan::fragment::{ExchangeId, Routing};

/// Rows as text, sorted: what two sets of batches are compared by.
fn rows(batches: &[Batch]) -> Vec<String> {
    let text = |batch: &Batch| {
        let columns: Vec<StringArray> = batch.columns().iter().map(as_text).collect();
        (0..batch.num_rows())
            .map(|row| columns.iter().map(|column| if column.is_null(row) { "∅" } else { column.value(row) }).collect::<Vec<_>>().join("|"))
            .collect::<Vec<_>>()
    };
    let mut rows: Vec<String> = batches.iter().flat_map(text).collect();
    rows.sort();
    rows
}

fn as_text(column: &ArrayRef) -> StringArray {
    // Without names of time zones, which it takes another crate to know.
    let column = match column.data_type() {
        DataType::Timestamp(..) => &compute::cast(column, &DataType::Int64).unwrap(),
        _ => column,
    };
    let options = arrow::util::display::FormatOptions::default().with_null("∅");
    let formatter = arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap();
    (0..column.len()).map(|row| Some(formatter.value(row).to_string())).collect()
}

fn types(batch: &Batch) -> Vec<DataType> {
    batch.columns().iter().map(|column| column.data_type().clone()).collect()
}

/// Sends `batch` from every node of three and answers what each of the receivers got.
async fn send_from_everywhere(batch: &Batch, types: &[DataType], routing: Routing, receivers: &[usize]) -> Vec<Vec<Batch>> {
    let nodes = Nodes::new(3);
    nodes.open(receivers, 7, 3, true, types);
    let readers: Vec<_> = receivers.iter().map(|node| nodes.read(*node, 7)).collect();
    for node in 0..3 {
        let (from, run) = (node * batch.num_rows() / 3, unit(node as u32, 0));
        let share = batch.slice(from, (node + 1) * batch.num_rows() / 3 - from);
        let sent = nodes.send(node, run, vec![output(7, routing.clone(), receivers)], split(&[share], BATCH_ROWS));
        soon(sent).await.unwrap();
        soon(nodes.exchanges[node].delivered(run)).await;
    }
    let mut arrived = Vec::new();
    for (sink, handle) in readers {
        soon(handle).await.unwrap();
        arrived.push(sink.batches());
    }
    nodes.assert_no_errors();
    nodes.assert_memory_is_free();
    arrived
}

#[tokio::test]
async fn each_row_arrives_once_by_hash() {
    let batch = every_type(20_000);
    for key in 0..batch.columns().len() {
        let arrived = send_from_everywhere(&batch, &types(&batch), by_column(key, batch.column(key).data_type().clone()), &[1, 2]).await;
        assert!(arrived.iter().all(|batches| !batches.is_empty()), "key {key}: all rows went to one node");
        assert_eq!(rows(&arrived.concat()), rows(std::slice::from_ref(&batch)), "key {key}");
    }
}

#[tokio::test]
async fn each_row_arrives_once_at_every_receiver_of_a_broadcast() {
    let batch = every_type(5_000);
    for arrived in send_from_everywhere(&batch, &types(&batch), Routing::Broadcast, &[1, 2]).await {
        assert_eq!(rows(&arrived), rows(std::slice::from_ref(&batch)));
    }
}

#[tokio::test]
async fn each_row_arrives_once_at_the_coordinator() {
    let batch = every_type(5_000);
    let arrived = send_from_everywhere(&batch, &types(&batch), Routing::Gather, &[0]).await;
    assert_eq!(rows(&arrived[0]), rows(&[batch]));
}

#[tokio::test]
async fn rows_without_columns_arrive() {
    let arrived = send_from_everywhere(&Batch::new(vec![], 5_000), &[], Routing::Gather, &[0]).await;
    assert_eq!(arrived[0].iter().map(Batch::num_rows).sum::<usize>(), 5_000);
}

#[tokio::test]
async fn dictionaries_are_written_out() {
    let entries: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a text that is longer than a view"), None, Some("short")]));
    let codes = UInt32Array::from_iter((0..3000u32).map(|row| (row % 7 != 0).then_some(row % 3)));
    let dictionary: ArrayRef = Arc::new(DictionaryArray::<UInt32Type>::try_new(codes, entries).unwrap());
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3000));
    let plain = Batch::new(vec![compute::cast(&dictionary, &DataType::Utf8View).unwrap(), Arc::clone(&numbers)], 3000);
    let batch = Batch::new(vec![dictionary, numbers], 3000);
    for routing in [by_column(0, DataType::Utf8View), by_column(1, DataType::Int64)] {
        let arrived = send_from_everywhere(&batch, &types(&batch), routing, &[1, 2]).await.concat();
        assert!(arrived.iter().all(|batch| *batch.column(0).data_type() == DataType::Utf8View));
        assert_eq!(rows(&arrived), rows(std::slice::from_ref(&plain)));
    }
}

#[tokio::test]
async fn keys_that_are_equal_meet_on_one_node() {
    let keys: Vec<i64> = (0..1000).collect();
    let narrow: ArrayRef = Arc::new(Decimal64Array::from(keys.clone()).with_precision_and_scale(10, 2).unwrap());
    let wide = Decimal128Array::from_iter_values(keys.iter().map(|key| i128::from(*key)));
    let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(38, 2).unwrap());
    let mut homes = Vec::new();
    for keys_column in [narrow, wide] {
        let key_type = keys_column.data_type().clone();
        let batch = Batch::new(vec![Arc::new(Int64Array::from(keys.clone())) as ArrayRef, keys_column], 1000);
        let arrived = send_from_everywhere(&batch, &types(&batch), by_column(1, key_type), &[1, 2]).await;
        homes.push(arrived.iter().map(|batches| sorted(batches)).collect::<Vec<_>>());
    }
    assert_eq!(homes[0], homes[1]);
}

#[tokio::test]
async fn computed_keys_route_too() {
    let negated = Expression::Negate(Box::new(Expression::column(0, DataType::Int64)));
    let arrived = send_from_everywhere(&ints(0..1000)[0], &[DataType::Int64], Routing::Hash(vec![negated]), &[1, 2]).await;
    assert_eq!(sorted(&arrived.concat()), (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_of_any_size_arrive_in_frames_of_bounded_size() {
    let nodes = Nodes::new(2);
    nodes.open(&[0], 1, 1, true, &[DataType::Utf8View]);
    let texts: Vec<String> = (0..300).map(|row| "x".repeat(if row == 150 { 3 << 20 } else { 20_000 })).collect();
    let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
    let (sink, reader) = nodes.read(0, 1);
    let sent = nodes.send(1, unit(0, 0), vec![output(1, Routing::Gather, &[0])], vec![Batch::new(vec![column], 300)]);
    soon(sent).await.unwrap();
    soon(reader).await.unwrap();
    let sizes: Vec<usize> = sink.batches().iter().map(|batch| batch.column(0).as_string_view().total_bytes_len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), texts.iter().map(String::len).sum::<usize>());
    assert_eq!(sizes.iter().filter(|bytes| **bytes > 1 << 20).count(), 1, "{sizes:?}");
    let stats = nodes.exchanges[1].stats();
    assert_eq!(stats[0].sent[0].1, 300);
    assert_eq!(stats[0].sent[0].3, sizes.len() as u64);
}

#[tokio::test]
async fn small_batches_travel_together() {
    let nodes = Nodes::new(2);
    nodes.open(&[0], 1, 1, false, &[DataType::Int64]);
    let (sink, reader) = nodes.read(0, 1);
    let batches = (0..100).flat_map(|at| ints(at * 10..at * 10 + 10)).collect();
    soon(nodes.send(1, unit(0, 0), vec![output(1, Routing::Gather, &[0])], batches)).await.unwrap();
    soon(reader).await.unwrap();
    assert_eq!(sorted(&sink.batches()), (0..1000).collect::<Vec<_>>());
    // One frame per chain at most.
    assert!(nodes.exchanges[1].stats()[0].sent[0].3 <= 2, "{:?}", nodes.exchanges[1].stats());
}

#[tokio::test]
async fn rows_for_the_own_node_are_not_encoded() {
    let nodes = Nodes::new(1);
    nodes.open(&[0], 1, 1, true, &[DataType::Int64]);
    let (sink, reader) = nodes.read(0, 1);
    soon(nodes.send(0, unit(0, 0), vec![output(1, Routing::Gather, &[0])], ints(0..50_000))).await.unwrap();
    soon(nodes.exchanges[0].delivered(unit(0, 0))).await;
    soon(reader).await.unwrap();
    assert_eq!(sorted(&sink.batches()), (0..50_000).collect::<Vec<_>>());
    assert_eq!(nodes.exchanges[0].stats()[0].sent, [(0, 50_000, 0, 0)]);
}

#[tokio::test]
async fn several_outputs_get_all_rows_each() {
    let nodes = Nodes::new(3);
    nodes.open(&[0], 1, 1, true, &[DataType::Int64]);
    nodes.open(&[1, 2], 2, 1, true, &[DataType::Int64]);
    let readers = [nodes.read(0, 1), nodes.read(1, 2), nodes.read(2, 2)];
    let outputs = vec![output(1, Routing::Gather, &[0]), output(2, by_column(0, DataType::Int64), &[1, 2])];
    soon(nodes.send(2, unit(0, 0), outputs, ints(0..3000))).await.unwrap();
    let mut batches = Vec::new();
    for (sink, handle) in readers {
        soon(handle).await.unwrap();
        batches.push(sink.batches());
    }
    assert_eq!(sorted(&batches[0]), (0..3000).collect::<Vec<_>>());
    assert_eq!(sorted(&batches[1..].concat()), (0..3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn sorted_units_are_merged() {
    let nodes = Nodes::new(3);
    nodes.open(&[0], 1, 2, false, &[DataType::Int64]);
    let keys = vec![SortKey { expression: Expression::column(0, DataType::Int64), descending: false, nulls_first: false }];
    let sink = CollectSink::new();
    let merged = nodes.exchanges[0].merge_source(ExchangeId(1), keys.clone()).unwrap();
    assert!(merged.is_ordered());
    let reader = start(&nodes.scheduler, merged, Arc::clone(&sink) as _);
    for node in 1..3 {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..5000).map(|row| row * 2 + node as i64 - 1)));
        let one_chain = split(&[Batch::new(vec![values], 5000)], 5000);
        let routing = Routing::Merge(keys.clone());
        soon(nodes.send(node, unit(node as u32 - 1, 0), vec![output(1, routing, &[0])], one_chain)).await.unwrap();
    }
    soon(reader).await.unwrap();
    let values: Vec<i64> = sink.batches().iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(values, (0..10_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn mistakes_of_the_plan_are_errors() {
    let nodes = Nodes::new(3);
    assert!(nodes.exchanges[0].source(ExchangeId(9)).is_err(), "an input that is not open");
    nodes.open(&[0], 1, 1, true, &[DataType::Int64]);
    let _first = nodes.exchanges[0].source(ExchangeId(1)).unwrap();
    assert!(nodes.exchanges[0].source(ExchangeId(1)).is_err(), "an input that is read twice");
    let missing = output(2, by_column(0, DataType::Int64), &[1]);
    assert!(soon(nodes.send(1, unit(0, 0), vec![missing], ints(0..10))).await.is_err(), "a class without a receiver");
}
