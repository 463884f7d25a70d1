//! INTERSECT and EXCEPT, distinct and ALL, by counting rows of both sides in a hash table.
//!
//! Both inputs go into one aggregation whose keys are all columns, with a column added that is NULL in rows
//! of the right side: `count(*)` and `count(side)` then tell how many rows of either side a group has.
//! The source repeats every group as often as the operator says.

use std::{sync::Arc, task::Waker};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, UInt32Array},
    compute::take,
    datatypes::{DataType, Int64Type},
};
use pipelines::{Batch, Flow, LocalContext, LocalSink, LocalSource, Poll, Result, Sink, Source, metrics::Counters};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Expression,
    aggregate::{Aggregate, AggregateCall, AggregateFunction, AggregateSpec},
};

/// Which rows come out. With `l` and `r` copies of a row on the two sides:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SetOperator {
    /// One if `l > 0` and `r > 0`.
    Intersect,
    /// `min(l, r)`.
    IntersectAll,
    /// One if `l > 0` and `r = 0`.
    Except,
    /// `max(l - r, 0)`.
    ExceptAll,
}

impl SetOperator {
    /// How often a row comes out that the sides have `left` and `right` times.
    fn copies(self, left: i64, right: i64) -> i64 {
        match self {
            SetOperator::Intersect => i64::from(left > 0 && right > 0),
            SetOperator::IntersectAll => left.min(right),
            SetOperator::Except => i64::from(left > 0 && right == 0),
            SetOperator::ExceptAll => (left - right).max(0),
        }
    }
}

/// A set operation of two inputs with the same column types; NULLs are equal to each other.
pub struct SetOperation {
    operator: SetOperator,
    groups: Arc<Aggregate>,
    num_columns: usize,
}

impl SetOperation {
    /// A set operation that is about to be placed into a graph.
    pub fn new(operator: SetOperator, types: Vec<DataType>) -> Arc<Self> {
        let num_columns = types.len();
        let column = |(index, data_type): (usize, &DataType)| Expression::Column { index, data_type: data_type.clone() };
        let keys: Vec<Expression> = types.iter().enumerate().map(column).collect();
        let side = Expression::Column { index: num_columns, data_type: DataType::Boolean };
        let count = |function, arguments| AggregateCall { function, arguments, distinct: false, filter: None, data_type: DataType::Int64 };
        let groups = Aggregate::new(AggregateSpec {
            key_bounds: vec![None; num_columns],
            keys,
            aggregates: vec![count(AggregateFunction::CountStar, vec![]), count(AggregateFunction::Count, vec![side])],
            input_types: types.into_iter().chain([DataType::Boolean]).collect(),
            estimated_groups: 0,
        });
        Arc::new(SetOperation { operator, groups, num_columns })
    }

    /// Where the left input's rows go.
    pub fn left_sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(SideSink { rows: self.groups.sink(), is_left: true })
    }

    /// Where the right input's rows go, after the left sink has finished.
    pub fn right_sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(SideSink { rows: self.groups.sink(), is_left: false })
    }

    /// The result, after the right sink has finished.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(SetSource { groups: self.groups.source(), operator: self.operator, num_columns: self.num_columns })
    }
}

/// The sink of one side. Only the right one, which is the second, completes the aggregation.
struct SideSink {
    rows: Arc<dyn Sink>,
    is_left: bool,
}

impl Sink for SideSink {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        Ok(Box::new(LocalSide { rows: self.rows.local(context)?, is_left: self.is_left }))
    }

    fn begin_finish(&self) -> Result<usize> {
        if self.is_left { Ok(0) } else { self.rows.begin_finish() }
    }

    fn finish_part(&self, part: usize) -> Result<()> {
        self.rows.finish_part(part)
    }

    fn finish(&self) -> Result<()> {
        if self.is_left { Ok(()) } else { self.rows.finish() }
    }

    fn report(&self, counters: &mut Counters) {
        if !self.is_left {
            self.rows.report(counters);
        }
    }
}

struct LocalSide {
    rows: Box<dyn LocalSink>,
    is_left: bool,
}

impl LocalSink for LocalSide {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        let num_rows = batch.num_rows();
        let side: ArrayRef =
            if self.is_left { Arc::new(BooleanArray::from(vec![true; num_rows])) } else { Arc::new(BooleanArray::new_null(num_rows)) };
        self.rows.push(Batch::new(batch.into_columns().into_iter().chain([side]).collect(), num_rows))
    }

    fn combine(self: Box<Self>) -> Result<()> {
        self.rows.combine()
    }
}

struct SetSource {
    groups: Arc<dyn Source>,
    operator: SetOperator,
    num_columns: usize,
}

impl Source for SetSource {
    fn max_chains(&self) -> Option<usize> {
        self.groups.max_chains()
    }

    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        let groups = self.groups.local(context)?;
        let (operator, num_columns, batch_rows) = (self.operator, self.num_columns, context.batch_rows.max(1));
        Ok(Box::new(LocalSet { groups, operator, num_columns, batch_rows, pending: None }))
    }
}

struct LocalSet {
    groups: Box<dyn LocalSource>,
    operator: SetOperator,
    num_columns: usize,
    batch_rows: usize,
    pending: Option<Pending>,
}

/// Groups that are going out.
struct Pending {
    columns: Vec<ArrayRef>,
    copies: Vec<i64>,
    /// The group whose copies come next.
    group: usize,
}

impl Pending {
    fn new(batch: Batch, operator: SetOperator, num_columns: usize) -> Self {
        let counts = |index: usize| batch.column(num_columns + index).as_primitive::<Int64Type>().values().to_vec();
        let (all, left) = (counts(0), counts(1));
        let copies = all.iter().zip(&left).map(|(all, left)| operator.copies(*left, all - left)).collect();
        Pending { columns: batch.into_columns().into_iter().take(num_columns).collect(), copies, group: 0 }
    }

    /// The next rows, at most `batch_rows`.
    fn next(&mut self, batch_rows: usize) -> crate::Result<Batch> {
        let mut rows: Vec<u32> = Vec::new();
        while rows.len() < batch_rows && self.group < self.copies.len() {
            let room = (batch_rows - rows.len()) as i64;
            let copies = self.copies[self.group].min(room);
            rows.extend(std::iter::repeat_n(self.group as u32, copies as usize));
            self.copies[self.group] -= copies;
            if self.copies[self.group] == 0 {
                self.group += 1;
            }
        }
        let num_rows = rows.len();
        let rows = UInt32Array::from(rows);
        let columns =
            self.columns.iter().map(|column| take(column, &rows, None)).collect::<std::result::Result<_, _>>().map_err(Error::from)?;
        Ok(Batch::new(columns, num_rows))
    }
}

impl LocalSource for LocalSet {
    fn next(&mut self, waker: &Waker) -> Result<Poll> {
        loop {
            if let Some(pending) = &mut self.pending {
                let rows = pending.next(self.batch_rows)?;
                if !rows.is_empty() {
                    return Ok(Poll::Batch(rows));
                }
                self.pending = None;
            }
            match self.groups.next(waker)? {
                Poll::Batch(batch) => self.pending = Some(Pending::new(batch, self.operator, self.num_columns)),
                other => return Ok(other),
            }
        }
    }

    fn report(&mut self, counters: &mut Counters) {
        self.groups.report(counters);
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int32Array, StringViewArray},
        util::display::array_value_to_string,
    };
    use pipelines::{
        After, OperatorId, Pipeline, PipelineGraph,
        testing::{CollectSink, VecSource, batch, run_graph, split},
    };

    use super::*;

    fn side(numbers: &[Option<i32>]) -> Batch {
        let texts = numbers.iter().map(|number| number.map(|number| format!("text {}", number / 10))).collect::<StringViewArray>();
        batch(vec![Arc::new(Int32Array::from(numbers.to_vec())), Arc::new(texts)])
    }

    /// The numbers of the result in order; NULL is empty.
    fn result(operator: SetOperator, left: &[Option<i32>], right: &[Option<i32>], batch_rows: usize, seed: u64) -> Vec<String> {
        let operation = SetOperation::new(operator, vec![DataType::Int32, DataType::Utf8View]);
        let mut graph = PipelineGraph::new();
        let pipeline =
            |source, sink, after| Pipeline { name: "test".to_owned(), source: (OperatorId(0), source), operators: vec![], sink, after };
        let left_sink = graph.add_sink(OperatorId(1), operation.left_sink());
        let right_sink = graph.add_sink(OperatorId(2), operation.right_sink());
        let output = CollectSink::new();
        let output_sink = graph.add_sink(OperatorId(3), Arc::clone(&output) as _);
        let source = |rows: &[Option<i32>]| VecSource::new(split(&[side(rows)], batch_rows));
        graph.add_pipeline(pipeline(source(left), left_sink, vec![]));
        graph.add_pipeline(pipeline(source(right), right_sink, vec![After::Sink(left_sink)]));
        graph.add_pipeline(pipeline(operation.source(), output_sink, vec![After::Sink(right_sink)]));
        run_graph(graph, seed).unwrap();
        let numbers =
            |batch: &Batch| (0..batch.num_rows()).map(|row| array_value_to_string(batch.column(0), row).unwrap()).collect::<Vec<_>>();
        let mut rows: Vec<String> = output.batches().iter().flat_map(numbers).collect();
        rows.sort();
        rows
    }

    #[test]
    fn rows_come_out_as_often_as_the_operator_says() {
        let left = [Some(1), Some(1), Some(1), Some(20), None, None, Some(30)];
        let right = [Some(1), Some(1), None, Some(40), Some(30), Some(30)];
        let cases: [(SetOperator, &[&str]); 4] = [
            (SetOperator::Intersect, &["", "1", "30"]),
            (SetOperator::IntersectAll, &["", "1", "1", "30"]),
            (SetOperator::Except, &["20"]),
            (SetOperator::ExceptAll, &["", "1", "20"]),
        ];
        for (operator, expected) in cases {
            for (batch_rows, seed) in [(1, 0), (3, 1), (100, 2)] {
                assert_eq!(result(operator, &left, &right, batch_rows, seed), expected, "{operator:?}");
            }
        }
    }

    #[test]
    fn a_side_without_rows_is_an_empty_set() {
        let rows = [Some(1), None, Some(1)];
        assert_eq!(result(SetOperator::Except, &rows, &[], 3, 0), ["", "1"]);
        assert_eq!(result(SetOperator::ExceptAll, &rows, &[], 3, 0), ["", "1", "1"]);
        assert!(result(SetOperator::IntersectAll, &[], &rows, 3, 0).is_empty());
        assert!(result(SetOperator::Intersect, &[], &[], 3, 0).is_empty());
    }

    #[test]
    fn many_copies_come_out_in_several_batches() {
        let many = vec![Some(7); 3 * pipelines::BATCH_ROWS];
        assert_eq!(result(SetOperator::ExceptAll, &many, &[Some(7)], 5000, 1).len(), 3 * pipelines::BATCH_ROWS - 1);
    }
}
