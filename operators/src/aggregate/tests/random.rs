//! Random rows against a naive aggregation: sums in 128 bits, sets for DISTINCT.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::DataType,
};
use pipelines::testing::batch;
use proptest::prelude::*;

use super::{super::AggregateFunction::*, *};

type Row = (Option<i64>, Option<u8>, Option<i64>);

fn row() -> impl Strategy<Value = Row> {
    let key = prop_oneof![4 => (-3..3_i64).prop_map(Some), 1 => Just(None), 1 => any::<i64>().prop_map(Some), 1 => Just(Some(i64::MIN))];
    let word = prop_oneof![5 => (0..4_u8).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![4 => (-9..9_i64).prop_map(Some), 1 => Just(None), 1 => Just(Some(i64::MAX)), 1 => Just(Some(i64::MIN))];
    (key, word, value)
}

const WORDS: [&str; 4] = ["", "b", "c and more than twelve", "d"];

fn batch_of(rows: &[Row], codes: bool) -> Batch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let words = if codes {
        dictionary(&WORDS, &rows.iter().map(|row| row.1.map(u32::from)).collect::<Vec<_>>())
    } else {
        text(&rows.iter().map(|row| row.1.map(|word| WORDS[word as usize])).collect::<Vec<_>>())
    };
    let values: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
    batch(vec![keys, words, values])
}

fn naive(rows: &[Row]) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<(Option<i64>, Option<u8>), Vec<Option<i64>>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry((row.0, row.1)).or_default().push(row.2));
    let shown = |value: Option<String>| value.unwrap_or_default();
    let group = |((key, word), values): (&(Option<i64>, Option<u8>), &Vec<Option<i64>>)| {
        let known: Vec<i64> = values.iter().flatten().copied().collect();
        let some = |value: i128| (!known.is_empty()).then(|| value.to_string());
        let distinct: BTreeSet<i64> = known.iter().copied().collect();
        vec![
            shown(key.map(|key| key.to_string())),
            shown(word.map(|word| WORDS[word as usize].to_owned())),
            values.len().to_string(),
            known.len().to_string(),
            shown(some(known.iter().map(|value| i128::from(*value)).sum())),
            shown(known.iter().min().map(i64::to_string)),
            shown(known.iter().max().map(i64::to_string)),
            distinct.len().to_string(),
            shown(some(distinct.iter().map(|value| i128::from(*value)).sum())),
        ]
    };
    let mut rows: Vec<Vec<String>> = groups.iter().map(group).collect();
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_rows_by_any_layout(
        chunks in prop::collection::vec((prop::collection::vec(row(), 1..40), any::<bool>()), 1..6),
        bounds in prop_oneof![Just(None), Just(Some((-3, 2))), Just(Some((0, 1)))],
        groups_max in 1..20_usize,
        seed in any::<u64>(),
    ) {
        let batches: Vec<Batch> = chunks.iter().map(|(rows, codes)| batch_of(rows, *codes)).collect();
        let argument = || vec![column(2, DataType::Int64)];
        let sum = DataType::Decimal128(38, 0);
        let calls = vec![
            call(CountStar, vec![], DataType::Int64),
            call(Count, argument(), DataType::Int64),
            call(Sum, argument(), sum.clone()),
            call(Min, argument(), DataType::Int64),
            call(Max, argument(), DataType::Int64),
            AggregateCall { distinct: true, ..call(Count, argument(), DataType::Int64) },
            AggregateCall { distinct: true, ..call(Sum, argument(), sum) },
        ];
        let spec = AggregateSpec { key_bounds: vec![bounds, None], ..spec(&batches, 2, calls) };
        let all: Vec<Row> = chunks.into_iter().flat_map(|(rows, _)| rows).collect();
        let expected = naive(&all);
        let small = Limits { groups_max, partition_bits: 2, merged_at_once_max: groups_max };
        prop_assert_eq!(rows(&spec, None, &batches, seed).unwrap(), expected.clone());
        prop_assert_eq!(rows(&spec, Some(small), &batches, seed).unwrap(), expected);
    }
}
