//! Merges runs that are sorted already into one order: what several nodes have sorted, each for itself.
//!
//! ```text
//! run 0: batch, batch, … ─┐
//! run 1: batch, batch, … ─┼─[tournament of the first rows]─► rows in order ─► batches
//! ```
//!
//! Position: used by whoever has all runs in hand, outside a sort's own sink and source. Keys are computed and encoded when a
//! batch is begun, and a batch is let go when its last row is out. Rows with equal keys come in the order of their runs, and of one
//! run in its own.

use std::{cmp::Ordering, vec};

use arrow::datatypes::DataType;
use pipelines::Batch;

use super::{SortKey, build::without_dictionaries, encoder, key::EncodedRows, key::KeyEncoder, run::gather};
use crate::{
    Error, Result,
    input::{InputEvaluator, Inputs},
};

/// A merge of sorted runs.
pub struct RunMerger {
    keys: Keys,
    input_types: Vec<DataType>,
    runs: Vec<RunReader>,
    tournament: Tournament,
}

/// Makes the keys of batches comparable.
struct Keys {
    evaluator: InputEvaluator,
    encoder: KeyEncoder,
}

/// A run and how far it has been read.
struct RunReader {
    batches: vec::IntoIter<Batch>,
    /// `None` when the run is exhausted.
    head: Option<Head>,
}

/// A run's first row that is not out.
struct Head {
    batch: Batch,
    keys: EncodedRows,
    row: usize,
    /// The batch's number among those that the rows being gathered come from.
    place: Option<usize>,
}

impl RunMerger {
    /// A merge of `runs`, each in the order of `keys`, whose columns have `input_types`; texts may be dictionaries batch by batch.
    ///
    /// # Errors
    /// Keys of a type without an order, errors of computing them, and batches of other types.
    pub fn new(keys: &[SortKey], input_types: &[DataType], runs: Vec<Vec<Batch>>) -> Result<Self> {
        let mut inputs = Inputs::default();
        let encoder = encoder(keys, &mut inputs)?;
        let mut merger = RunMerger {
            keys: Keys { evaluator: inputs.evaluator(), encoder },
            input_types: input_types.to_vec(),
            runs: runs.into_iter().map(|run| RunReader { batches: run.into_iter(), head: None }).collect(),
            tournament: Tournament::default(),
        };
        for run in 0..merger.runs.len() {
            merger.begin_batch(run)?;
        }
        let runs = &merger.runs;
        merger.tournament = Tournament::new(runs.len(), |left, right| comes_before(runs, left, right));
        Ok(merger)
    }

    /// The next rows, at most `batch_rows` (at least one); `None` when all are out.
    ///
    /// # Errors
    /// Those of [`RunMerger::new`] for the batches that are begun.
    pub fn next_batch(&mut self, batch_rows: usize) -> Result<Option<Batch>> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut rows: Vec<(usize, usize)> = Vec::new();
        self.runs.iter_mut().filter_map(|run| run.head.as_mut()).for_each(|head| head.place = None);
        while rows.len() < batch_rows.max(1) {
            let winner = self.tournament.winner;
            let Some(head) = self.runs.get_mut(winner).and_then(|run| run.head.as_mut()) else { break };
            let place = *head.place.get_or_insert_with(|| {
                batches.push(head.batch.clone());
                batches.len() - 1
            });
            rows.push((place, head.row));
            head.row += 1;
            if head.row == head.batch.num_rows() {
                self.begin_batch(winner)?;
            }
            let runs = &self.runs;
            self.tournament.replay(|left, right| comes_before(runs, left, right));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        gather(&batches.iter().collect::<Vec<_>>(), &rows).map(Some)
    }

    /// Turns to the next batch of a run that has rows.
    fn begin_batch(&mut self, run: usize) -> Result<()> {
        let reader = &mut self.runs[run];
        reader.head = None;
        if let Some(batch) = reader.batches.find(|batch| !batch.is_empty()) {
            check_types(&batch, &self.input_types)?;
            let keys = self.keys.evaluator.evaluate(&batch)?;
            let keys = self.keys.encoder.encode(&keys)?;
            reader.head = Some(Head { batch: without_dictionaries(batch)?, keys, row: 0, place: None });
        }
        Ok(())
    }
}

/// Batches may come from elsewhere: what they hold decides how they are read.
fn check_types(batch: &Batch, types: &[DataType]) -> Result<()> {
    let is_same = |found: &DataType, expected: &DataType| match (found, expected) {
        (DataType::Decimal64(_, found), DataType::Decimal64(_, expected))
        | (DataType::Decimal128(_, found), DataType::Decimal128(_, expected)) => found == expected,
        _ => crate::aggregate::plain_type(found) == crate::aggregate::plain_type(expected),
    };
    let is_right = batch.columns().len() == types.len() && batch.columns().iter().zip(types).all(|(c, t)| is_same(c.data_type(), t));
    if is_right { Ok(()) } else { Err(Error::Internal("a sorted run has columns of other types than the merge".to_owned())) }
}

/// Whether the first row of run `left` comes before that of run `right`; a run that is exhausted comes last.
fn comes_before(runs: &[RunReader], left: usize, right: usize) -> bool {
    let head = |run: usize| runs.get(run).and_then(|run| run.head.as_ref());
    match (head(left), head(right)) {
        (Some(l), Some(r)) => {
            let prefixes = l.keys.prefixes[l.row].cmp(&r.keys.prefixes[r.row]);
            match prefixes.then_with(|| l.keys.compare_ties(l.row, &r.keys, r.row)) {
                Ordering::Equal => left < right,
                order => order.is_lt(),
            }
        }
        (head, _) => head.is_some(),
    }
}

/// A tree of losers: every inner node keeps who lost there, so that a new first row of the winner's run meets only those on its way up.
#[derive(Default)]
struct Tournament {
    winner: usize,
    /// By node: 1 is the root, nodes `2 n` and `2 n + 1` are below node `n`, run `r` is below node `(r + runs) / 2`.
    losers: Vec<usize>,
}

impl Tournament {
    fn new(num_runs: usize, beats: impl Fn(usize, usize) -> bool) -> Self {
        let mut winners: Vec<usize> = (0..2 * num_runs).map(|node| node.saturating_sub(num_runs)).collect();
        let mut losers = vec![0; num_runs];
        for node in (1..num_runs).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            (winners[node], losers[node]) = if beats(left, right) { (left, right) } else { (right, left) };
        }
        Tournament { winner: winners.get(1).copied().unwrap_or(0), losers }
    }

    /// Finds the winner again after the first row of the last one's run has changed.
    fn replay(&mut self, beats: impl Fn(usize, usize) -> bool) {
        let mut node = (self.winner + self.losers.len()) / 2;
        while node > 0 {
            if beats(self.losers[node], self.winner) {
                std::mem::swap(&mut self.losers[node], &mut self.winner);
            }
            node /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, Int64Array, StringViewArray, UInt32Array},
        compute::{cast, concat, take},
        datatypes::Int64Type,
    };
    use pipelines::testing::batch;
    use proptest::prelude::*;

    use super::*;
    use crate::Expression;

    type Row = (Option<i32>, Option<String>);

    fn key(index: usize, data_type: DataType, (descending, nulls_first): (bool, bool)) -> SortKey {
        SortKey { expression: Expression::column(index, data_type), descending, nulls_first }
    }

    fn types() -> [DataType; 3] {
        [DataType::Int32, DataType::Utf8View, DataType::Int64]
    }

    /// Rows with their numbers; texts coded where `is_coded`.
    fn batch_of(rows: &[Row], numbers: &[i64], is_coded: bool) -> Batch {
        let texts: ArrayRef = Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringViewArray>());
        let texts = if is_coded {
            let codes: UInt32Array = rows.iter().enumerate().map(|(index, row)| row.1.is_some().then_some(index as u32)).collect();
            Arc::new(DictionaryArray::new(codes, texts)) as ArrayRef
        } else {
            texts
        };
        let numbers = Int64Array::from(numbers.to_vec());
        batch(vec![Arc::new(rows.iter().map(|row| row.0).collect::<Int32Array>()), texts, Arc::new(numbers)])
    }

    /// All batches of a merge, in one.
    fn merged(keys: &[SortKey], types: &[DataType], runs: Vec<Vec<Batch>>, batch_rows: usize) -> Option<Vec<ArrayRef>> {
        let mut merger = RunMerger::new(keys, types, runs).unwrap();
        let mut batches = vec![];
        while let Some(batch) = merger.next_batch(batch_rows).unwrap() {
            assert!(!batch.is_empty() && batch.num_rows() <= batch_rows);
            batches.push(batch);
        }
        assert!(merger.next_batch(batch_rows).unwrap().is_none(), "the end stays the end");
        let column = |index: usize| {
            let parts: Vec<_> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
            concat(&parts).unwrap()
        };
        batches.first().map(|first| (0..first.columns().len()).map(column).collect())
    }

    /// The order of rows that a stable sort by the encoded keys gives.
    fn sorted_order(keys: &[SortKey], rows: &Batch) -> Vec<usize> {
        let mut inputs = Inputs::default();
        let encoder = encoder(keys, &mut inputs).unwrap();
        let encoded = encoder.encode(&inputs.evaluator().evaluate(rows).unwrap()).unwrap();
        let mut order: Vec<usize> = (0..rows.num_rows()).collect();
        order.sort_by(|l, r| encoded.prefixes[*l].cmp(&encoded.prefixes[*r]).then_with(|| encoded.compare_ties(*l, &encoded, *r)));
        order
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn runs_merge_into_the_stable_order_of_all_rows(
            runs in prop::collection::vec(prop::collection::vec((prop::option::of(-3..3_i32), prop::option::of("[ab]{0,20}")), 0..40), 0..7),
            directions in any::<[(bool, bool); 2]>(),
            chunk in 1..9_usize,
            batch_rows in 1..30_usize,
        ) {
            let of = |index: usize| key(index, types()[index].clone(), directions[index]);
            for keys in [vec![of(0)], vec![of(1), of(0)], vec![of(0), of(0), of(1)]] {
                let mut number = 0;
                let mut sorted_runs: Vec<Vec<Batch>> = vec![];
                let (mut all, mut numbers) = (vec![], vec![]);
                for (index, rows) in runs.iter().enumerate() {
                    let order = sorted_order(&keys, &batch_of(rows, &vec![0; rows.len()], false));
                    let rows: Vec<Row> = order.into_iter().map(|row| rows[row].clone()).collect();
                    let own: Vec<i64> = rows.iter().map(|_| { number += 1; number }).collect();
                    // Batches of one run are coded and plain in turn; some are empty.
                    let chunks = rows.chunks(chunk).zip(own.chunks(chunk)).enumerate();
                    let mut batches: Vec<Batch> = chunks.map(|(at, (rows, own))| batch_of(rows, own, (at + index) % 2 == 0)).collect();
                    batches.insert(batches.len() / 2, batch_of(&[], &[], false));
                    sorted_runs.push(batches);
                    all.extend(rows);
                    numbers.extend(own);
                }
                let all = batch_of(&all, &numbers, false);
                let order: UInt32Array = sorted_order(&keys, &all).into_iter().map(|row| row as u32).collect();
                let expected: Vec<ArrayRef> = all.columns().iter().map(|column| take(column, &order, None).unwrap()).collect();
                match merged(&keys, &types(), sorted_runs, batch_rows) {
                    Some(found) => prop_assert_eq!(found, expected),
                    None => prop_assert_eq!(all.num_rows(), 0),
                }
            }
        }
    }

    #[test]
    fn keys_may_be_computed_and_equal_ones_come_in_the_order_of_runs() {
        let doubles = |values: &[f64]| batch(vec![Arc::new(Float64Array::from(values.to_vec()))]);
        let negated = Expression::Negate(Box::new(Expression::column(0, DataType::Float64)));
        let keys = [SortKey { expression: negated, descending: false, nulls_first: false }];
        let runs = vec![vec![doubles(&[5.0, 0.0])], vec![doubles(&[7.0]), doubles(&[-0.0, -3.0])]];
        let found = merged(&keys, &[DataType::Float64], runs, 2).unwrap();
        let texts: Vec<String> = found[0].as_primitive::<arrow::datatypes::Float64Type>().values().iter().map(f64::to_string).collect();
        assert_eq!(texts, ["7", "5", "0", "-0", "-3"]);
    }

    #[test]
    fn batches_of_other_types_are_refused() {
        let longs: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let keys = [key(0, DataType::Int64, (false, false))];
        let of = |runs: Vec<Vec<Batch>>| RunMerger::new(&keys, &[DataType::Int64], runs).map(|_| ());
        let ints = cast(&longs, &DataType::Int32).unwrap();
        assert!(of(vec![vec![batch(vec![Arc::clone(&longs)])], vec![batch(vec![ints])]]).is_err());
        assert!(of(vec![vec![batch(vec![Arc::clone(&longs), Arc::clone(&longs)])]]).is_err());
        // The second batch is looked at when its turn comes.
        let late = vec![vec![batch(vec![Arc::clone(&longs)]), batch(vec![Arc::clone(&longs), longs])]];
        let mut merger = RunMerger::new(&keys, &[DataType::Int64], late).unwrap();
        assert!(merger.next_batch(10).is_err());
    }

    #[test]
    fn many_runs_of_many_rows_merge() {
        // Run r has the numbers that leave r when divided by 37.
        let runs = (0..37_i64).map(|run| {
            let values: Vec<i64> = (0..1000).map(|index| index * 37 + run).collect();
            values.chunks(300).map(|values| batch(vec![Arc::new(Int64Array::from(values.to_vec())) as ArrayRef])).collect()
        });
        let found = merged(&[key(0, DataType::Int64, (false, false))], &[DataType::Int64], runs.collect(), 4096).unwrap();
        assert!(found[0].as_primitive::<Int64Type>().values().iter().copied().eq(0..37_000));
    }
}
