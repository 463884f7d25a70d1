//! Aggregation as a whole: every function and every layout against answers worked out by hand or naively.

mod functions;
mod layouts;
mod random;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, DictionaryArray, StringViewArray, UInt32Array},
    datatypes::DataType,
    util::display::array_value_to_string,
};
use pipelines::{
    After, Batch, OperatorId, Pipeline, PipelineGraph,
    testing::{CollectSink, VecSource, run_graph, split},
};

use super::{Aggregate, AggregateCall, AggregateFunction, AggregateSpec, Limits, Shared};
use crate::Expression;

/// Column `index` of a batch.
fn column(index: usize, data_type: DataType) -> Expression {
    Expression::Column { index, data_type }
}

/// A call over columns of the input.
fn call(function: AggregateFunction, arguments: Vec<Expression>, data_type: DataType) -> AggregateCall {
    AggregateCall { function, arguments, distinct: false, filter: None, data_type }
}

/// Column 0 is the key, calls are over the others.
fn spec(batches: &[Batch], num_keys: usize, aggregates: Vec<AggregateCall>) -> AggregateSpec {
    let input_types: Vec<DataType> = batches[0].columns().iter().map(|column| super::plain_type(column.data_type())).collect();
    let keys = (0..num_keys).map(|key| column(key, input_types[key].clone())).collect();
    AggregateSpec { keys, aggregates, input_types, key_bounds: vec![None; num_keys], estimated_groups: 0 }
}

/// The rows of an aggregation over `batches` by several chains, as sorted texts; NULL is empty.
fn rows(spec: &AggregateSpec, limits: Option<Limits>, batches: &[Batch], seed: u64) -> Result<Vec<Vec<String>>, pipelines::Error> {
    let limits = limits.unwrap_or_else(|| Limits::for_groups(spec.estimated_groups));
    let aggregate = Arc::new(Aggregate { shared: Shared::new(spec, limits).map(Arc::new) });
    let mut graph = PipelineGraph::new();
    let sink = graph.add_sink(OperatorId(1), aggregate.sink());
    let pipeline = |name: &str, source, sink, after| Pipeline {
        name: name.to_owned(),
        source: (OperatorId(0), source),
        operators: vec![],
        sink,
        after,
    };
    graph.add_pipeline(pipeline("build", VecSource::new(batches.to_vec()), sink, vec![]));
    let output = CollectSink::new();
    let result = graph.add_sink(OperatorId(2), Arc::clone(&output) as _);
    graph.add_pipeline(pipeline("read", aggregate.source(), result, vec![After::Sink(sink)]));
    run_graph(graph, seed)?;
    let mut rows = texts(&output.batches());
    rows.sort();
    Ok(rows)
}

/// As [`rows`], whatever the size of batches and the order of chains, which must not matter.
fn agreed_rows(spec: &AggregateSpec, limits: Option<Limits>, batches: &[Batch]) -> Vec<Vec<String>> {
    let expected = rows(spec, limits, batches, 0).unwrap();
    for (batch_rows, seed) in [(1, 1), (3, 2), (3, 3)] {
        assert_eq!(rows(spec, limits, &split(batches, batch_rows), seed).unwrap(), expected, "batches of {batch_rows} rows, seed {seed}");
    }
    expected
}

fn texts(batches: &[Batch]) -> Vec<Vec<String>> {
    let row = |batch: &Batch, row: usize| batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap()).collect();
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |index| row(batch, index))).collect()
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<StringViewArray>())
}

/// A text column behind codes; the dictionary has the entries given, codes are positions in it.
fn dictionary(entries: &[&str], codes: &[Option<u32>]) -> ArrayRef {
    let values: ArrayRef = Arc::new(entries.iter().copied().map(Some).collect::<StringViewArray>());
    Arc::new(DictionaryArray::new(codes.iter().copied().collect::<UInt32Array>(), values))
}

/// Rows of texts, for comparing.
fn expect(rows: &[&[&str]]) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect();
    rows.sort();
    rows
}
