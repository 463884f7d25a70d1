//! Every kind of join against a naive nested loop over the same rows, with every structure forced in turn.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, Date32Array, Decimal64Array, Decimal128Array, DictionaryArray, Float64Array, Int16Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, StringViewArray, TimestampMicrosecondArray, UInt32Array,
    },
    compute,
    datatypes::{DataType, IntervalMonthDayNano},
    util::display::array_value_to_string,
};
use pipelines::{After, Batch, CancelToken, Flow, LocalContext, OperatorId, Output, Pipeline, PipelineGraph, Poll, QueryMemory, testing};
use proptest::prelude::*;

use super::{HashJoin, Join, JoinKey, JoinKind, JoinSpec, table::Structure};
use crate::{
    Error, Expression,
    expression::Comparison,
    runtime_filter::{Members, RuntimeFilterSlot},
    types,
};

const KINDS: [JoinKind; 11] = [
    JoinKind::Inner,
    JoinKind::ProbeOuter,
    JoinKind::BuildOuter,
    JoinKind::FullOuter,
    JoinKind::ProbeSemi,
    JoinKind::ProbeAnti,
    JoinKind::ProbeMark,
    JoinKind::ProbeSingle,
    JoinKind::BuildSemi,
    JoinKind::BuildAnti,
    JoinKind::BuildMark,
];

/// How key values (small integers) are represented in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Int16,
    Int32,
    Int64,
    /// Far apart, so that neither arrays nor bitmaps hold them.
    Sparse,
    Date,
    Timestamp,
    Decimal64,
    Decimal128,
    Float,
    Interval,
    ShortText,
    LongText,
    /// Dictionaries and plain strings by turns.
    MixedText,
}

const FORMS: [Form; 13] = [
    Form::Int16,
    Form::Int32,
    Form::Int64,
    Form::Sparse,
    Form::Date,
    Form::Timestamp,
    Form::Decimal64,
    Form::Decimal128,
    Form::Float,
    Form::Interval,
    Form::ShortText,
    Form::LongText,
    Form::MixedText,
];

impl Form {
    fn data_type(self) -> DataType {
        match self {
            Form::Int16 => DataType::Int16,
            Form::Int32 => DataType::Int32,
            Form::Int64 | Form::Sparse => DataType::Int64,
            Form::Date => DataType::Date32,
            Form::Timestamp => types::timestamp(),
            Form::Decimal64 => DataType::Decimal64(15, 2),
            Form::Decimal128 => DataType::Decimal128(30, 2),
            Form::Float => DataType::Float64,
            Form::Interval => types::interval(),
            Form::ShortText | Form::LongText | Form::MixedText => DataType::Utf8View,
        }
    }

    fn column(self, values: &[Option<i64>], batch: usize) -> ArrayRef {
        let text = |prefix: &str| values.iter().map(|v| v.map(|v| format!("{prefix}{v}"))).collect::<Vec<_>>();
        match self {
            Form::Int16 => Arc::new(values.iter().map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
            Form::Int32 => Arc::new(values.iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
            Form::Int64 => Arc::new(values.iter().copied().collect::<Int64Array>()),
            Form::Sparse => Arc::new(values.iter().map(|v| v.map(|v| v * 0x0012_3456_789a_bcde)).collect::<Int64Array>()),
            Form::Date => Arc::new(values.iter().map(|v| v.map(|v| v as i32)).collect::<Date32Array>()),
            Form::Timestamp => Arc::new(values.iter().copied().collect::<TimestampMicrosecondArray>()),
            Form::Decimal64 => Arc::new(values.iter().copied().collect::<Decimal64Array>().with_precision_and_scale(15, 2).unwrap()),
            Form::Decimal128 => {
                Arc::new(values.iter().map(|v| v.map(i128::from)).collect::<Decimal128Array>().with_precision_and_scale(30, 2).unwrap())
            }
            Form::Float => Arc::new(values.iter().map(|v| v.map(|v| v as f64)).collect::<Float64Array>()),
            Form::Interval => {
                Arc::new(values.iter().map(|v| v.map(|v| IntervalMonthDayNano::new(0, v as i32, 0))).collect::<IntervalMonthDayNanoArray>())
            }
            Form::ShortText => Arc::new(StringViewArray::from_iter(text("k"))),
            Form::LongText => Arc::new(StringViewArray::from_iter(text("a key of more than twelve bytes "))),
            Form::MixedText if batch.is_multiple_of(2) => Arc::new(StringViewArray::from_iter(text("a key of more than twelve bytes "))),
            Form::MixedText => dictionary(&text("a key of more than twelve bytes ")),
        }
    }
}

fn dictionary(strings: &[Option<String>]) -> ArrayRef {
    let mut distinct: Vec<&String> = strings.iter().flatten().collect();
    distinct.sort();
    distinct.dedup();
    let codes: UInt32Array = strings.iter().map(|s| s.as_ref().map(|s| distinct.binary_search(&s).unwrap() as u32)).collect();
    Arc::new(DictionaryArray::new(codes, Arc::new(StringViewArray::from_iter_values(distinct))))
}

/// Two keys and a value.
type Row = [Option<i64>; 3];

/// Columns: key 0, key 1, value, row number.
const NUM_COLUMNS: usize = 4;

fn batches(rows: &[Row], forms: [Form; 2], batch_rows: usize, shift: usize) -> Vec<Batch> {
    let column = |chunk: &[Row], index: usize| chunk.iter().map(|row| row[index]).collect::<Vec<_>>();
    let chunks = rows.chunks(batch_rows).enumerate().map(|(number, chunk)| {
        let ids = Int64Array::from_iter_values((0..chunk.len()).map(|i| (number * batch_rows + i) as i64));
        let columns: Vec<ArrayRef> = vec![
            forms[0].column(&column(chunk, 0), number + shift),
            forms[1].column(&column(chunk, 1), number + shift),
            Arc::new(Int64Array::from(column(chunk, 2))),
            Arc::new(ids),
        ];
        Batch::new(columns, chunk.len())
    });
    chunks.collect()
}

fn column_types(forms: [Form; 2]) -> Vec<DataType> {
    vec![forms[0].data_type(), forms[1].data_type(), DataType::Int64, DataType::Int64]
}

#[derive(Debug, Clone)]
struct Case {
    name: &'static str,
    probe: Vec<Row>,
    build: Vec<Row>,
    num_keys: usize,
    nulls_match: bool,
    /// `probe.value < build.value`
    residual: bool,
}

impl Case {
    fn new(name: &'static str, probe: Vec<Row>, build: Vec<Row>) -> Self {
        Case { name, probe, build, num_keys: 1, nulls_match: false, residual: false }
    }

    fn spec(&self, kind: JoinKind, probe_forms: [Form; 2], build_forms: [Form; 2]) -> JoinSpec {
        let (probe_types, build_types) = (column_types(probe_forms), column_types(build_forms));
        let column = |index: usize, types: &[DataType]| Expression::Column { index, data_type: types[index].clone() };
        let keys = (0..self.num_keys)
            .map(|key| JoinKey { probe: column(key, &probe_types), build: column(key, &build_types), nulls_match: self.nulls_match })
            .collect();
        let residual = self.residual.then(|| Expression::Compare {
            operator: Comparison::Less,
            left: Box::new(Expression::Column { index: 2, data_type: DataType::Int64 }),
            right: Box::new(Expression::Column { index: NUM_COLUMNS + 2, data_type: DataType::Int64 }),
        });
        let keeps_probe = kind.emits_probe_side();
        let keeps_build = !matches!(kind, JoinKind::ProbeSemi | JoinKind::ProbeAnti | JoinKind::ProbeMark);
        JoinSpec {
            kind,
            keys,
            residual,
            probe_types,
            build_types,
            probe_output: if keeps_probe { vec![3, 0] } else { vec![] },
            build_output: if keeps_build { vec![0, 3, 2] } else { vec![] },
            runtime_filters: Vec::new(),
            estimated_build_rows: 0,
        }
    }

    /// Whether a pair matches, in three-valued logic.
    fn verdict(&self, probe: &Row, build: &Row) -> Option<bool> {
        let mut verdicts: Vec<Option<bool>> = (0..self.num_keys)
            .map(|key| match (probe[key], build[key]) {
                (Some(p), Some(b)) => Some(p == b),
                (p, b) if self.nulls_match => Some(p == b),
                _ => None,
            })
            .collect();
        if self.residual {
            verdicts.push(probe[2].zip(build[2]).map(|(p, b)| p < b));
        }
        if verdicts.contains(&Some(false)) {
            Some(false)
        } else if verdicts.contains(&None) {
            None
        } else {
            Some(true)
        }
    }

    /// The rows that come out, each as its cells; `None` if a second match is an error.
    fn expected(&self, spec: &JoinSpec, probe_cells: &[Vec<String>], build_cells: &[Vec<String>]) -> Option<Vec<Vec<String>>> {
        use JoinKind::*;
        let cells = |cells: &[String], output: &[usize]| output.iter().map(|c| cells[*c].clone()).collect::<Vec<_>>();
        let of_probe = |p: usize| cells(&probe_cells[p], &spec.probe_output);
        let of_build = |b: usize| cells(&build_cells[b], &spec.build_output);
        let no_probe = vec!["NULL".to_owned(); spec.probe_output.len()];
        let no_build = vec!["NULL".to_owned(); spec.build_output.len()];
        let verdicts: Vec<Vec<Option<bool>>> = self.probe.iter().map(|p| self.build.iter().map(|b| self.verdict(p, b)).collect()).collect();
        let or = |verdicts: Vec<Option<bool>>| match (verdicts.contains(&Some(true)), verdicts.contains(&None)) {
            (true, _) => "true",
            (false, true) => "NULL",
            _ => "false",
        };
        let probe_marks: Vec<&str> = verdicts.iter().map(|of_row| or(of_row.clone())).collect();
        let build_marks: Vec<&str> = (0..self.build.len()).map(|b| or(verdicts.iter().map(|of_row| of_row[b]).collect())).collect();
        let mut rows = Vec::new();
        if matches!(spec.kind, Inner | ProbeOuter | BuildOuter | FullOuter | ProbeSingle) {
            for (p, of_row) in verdicts.iter().enumerate() {
                let matches: Vec<usize> = (0..self.build.len()).filter(|b| of_row[*b] == Some(true)).collect();
                if spec.kind == ProbeSingle && matches.len() > 1 {
                    return None;
                }
                rows.extend(matches.iter().map(|b| [of_probe(p), of_build(*b)].concat()));
            }
        }
        for (p, mark) in probe_marks.iter().enumerate() {
            match spec.kind {
                ProbeOuter | FullOuter | ProbeSingle if *mark != "true" => rows.push([of_probe(p), no_build.clone()].concat()),
                ProbeSemi if *mark == "true" => rows.push(of_probe(p)),
                ProbeAnti if *mark != "true" => rows.push(of_probe(p)),
                ProbeMark => rows.push([of_probe(p), vec![(*mark).to_owned()]].concat()),
                _ => {}
            }
        }
        for (b, mark) in build_marks.iter().enumerate() {
            match spec.kind {
                BuildOuter | FullOuter if *mark != "true" => rows.push([no_probe.clone(), of_build(b)].concat()),
                BuildSemi if *mark == "true" => rows.push(of_build(b)),
                BuildAnti if *mark != "true" => rows.push(of_build(b)),
                BuildMark => rows.push([of_build(b), vec![(*mark).to_owned()]].concat()),
                _ => {}
            }
        }
        rows.sort();
        Some(rows)
    }

    fn check(&self, kind: JoinKind, probe_forms: [Form; 2], build_forms: [Form; 2], structure: Option<Structure>, batch_rows: usize) {
        let spec = self.spec(kind, probe_forms, build_forms);
        let probe = batches(&self.probe, probe_forms, batch_rows, 0);
        let build = batches(&self.build, build_forms, batch_rows, 1);
        let expected = self.expected(&spec, &cells(&probe), &cells(&build));
        let mut join = Join::with_spec(spec);
        join.forced_structure = structure;
        let join = Arc::new(HashJoin { join: Arc::new(join) });
        let result = run(&join, &build, &probe, batch_rows);
        let context = || format!("{}: {kind:?}, keys {probe_forms:?}/{build_forms:?}, {structure:?}, batches of {batch_rows}", self.name);
        match (result, expected) {
            (Ok(result), Some(expected)) => {
                assert!(result.iter().all(|batch| batch.num_rows() > 0), "an empty batch: {}", context());
                let mut rows = cells(&result);
                rows.sort();
                assert_eq!(rows, expected, "{}", context());
            }
            (Err(error), None) => assert_eq!(error.reason::<Error>(), Some(&Error::MoreThanOneRow), "{}", context()),
            (result, expected) => panic!("{}: got {result:?} instead of {expected:?}", context()),
        }
    }
}

/// Rows as their cells' texts.
fn cells(batches: &[Batch]) -> Vec<Vec<String>> {
    let cell = |column: &ArrayRef, row: usize| {
        let is_null = column.logical_nulls().is_some_and(|nulls| nulls.is_null(row));
        if is_null { "NULL".to_owned() } else { array_value_to_string(column, row).unwrap() }
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| batch.columns().iter().map(|c| cell(c, row)).collect())).collect()
}

struct Collect(Vec<Batch>);

impl Output for Collect {
    fn push(&mut self, batch: Batch) -> pipelines::Result<Flow> {
        if !batch.is_empty() {
            self.0.push(batch);
        }
        Ok(Flow::Continue)
    }
}

fn context(chain: usize, batch_rows: usize) -> LocalContext {
    LocalContext { chain, num_chains: 2, batch_rows, memory: QueryMemory::unlimited(), cancel: CancelToken::new() }
}

/// Builds and probes with two chains each that take batches by turns.
fn run(join: &Arc<HashJoin>, build: &[Batch], probe: &[Batch], batch_rows: usize) -> pipelines::Result<Vec<Batch>> {
    run_build(join, build, batch_rows)?;
    let mut output = Collect(Vec::new());
    let operator = join.probe();
    for chain in 0..2 {
        let mut local = operator.local(&context(chain, batch_rows))?;
        for batch in probe.iter().skip(chain).step_by(2) {
            if local.push(batch.clone(), &mut output)? == Flow::Finished {
                break;
            }
        }
        local.finish(&mut output)?;
    }
    let source = join.unmatched();
    for chain in 0..2 {
        let mut local = source.local(&context(chain, batch_rows))?;
        while let Poll::Batch(batch) = local.next(std::task::Waker::noop())? {
            output.0.push(batch);
        }
    }
    Ok(output.0)
}

fn run_build(join: &Arc<HashJoin>, build: &[Batch], batch_rows: usize) -> pipelines::Result<()> {
    let sink = join.build_sink();
    for chain in 0..2 {
        let mut local = sink.local(&context(chain, batch_rows))?;
        for batch in build.iter().skip(chain).step_by(2) {
            assert_eq!(local.push(batch.clone())?, Flow::Continue);
        }
        local.combine()?;
    }
    (0..sink.begin_finish()?).rev().try_for_each(|part| sink.finish_part(part))?;
    sink.finish()
}

/// Rows with keys from a short list and values that differ.
fn rows(keys: &[Option<i64>], second: impl Fn(usize) -> Option<i64>) -> Vec<Row> {
    keys.iter().enumerate().map(|(i, key)| [*key, second(i), if i % 5 == 4 { None } else { Some((i % 7) as i64) }]).collect()
}

fn some(keys: impl IntoIterator<Item = i64>) -> Vec<Option<i64>> {
    keys.into_iter().map(Some).collect()
}

fn cases() -> Vec<Case> {
    let plain = |keys: &[Option<i64>]| rows(keys, |i| Some((i % 3) as i64));
    let with_nulls = |keys: &[Option<i64>]| rows(keys, |i| if i % 4 == 3 { None } else { Some((i % 3) as i64) });
    let mut cases = vec![
        Case::new("unique", plain(&some([5, 1, 9, 3, 100])), plain(&some([3, 4, 5, 6, 7, 8]))),
        Case::new("dense and in order", plain(&some([5, 1, 9, 3, 100])), plain(&some(0..12))),
        Case::new("unique with gaps and in order", plain(&some([5, 1, 9, 3, 100])), plain(&some([-7, 1, 2, 5, 64, 65, 100]))),
        Case::new("no match", plain(&some([1, 2, 3])), plain(&some([4, 5, 6]))),
        Case::new("duplicates on both sides", plain(&some([1, 2, 2, 3, 1, 4])), plain(&some([2, 1, 1, 2, 2, 5, 5]))),
        Case::new(
            "NULL keys on both sides",
            plain(&[Some(1), None, Some(2), None, Some(7)]),
            plain(&[None, Some(1), Some(1), None, Some(3)]),
        ),
        Case::new("NULL keys of the probe side", plain(&[Some(1), None, Some(2)]), plain(&some([1, 1, 3]))),
        Case::new("NULL keys of the build side", plain(&some([1, 2])), plain(&[None, Some(1), Some(3)])),
        Case::new("only NULL keys in the build side", plain(&[Some(1), None]), plain(&[None, None])),
        Case::new("empty build side", plain(&[Some(1), None]), Vec::new()),
        Case::new("empty probe side", Vec::new(), plain(&[Some(1), None, Some(1)])),
        Case::new("both empty", Vec::new(), Vec::new()),
    ];
    let duplicates: Vec<Case> = cases.clone();
    cases.extend(duplicates.iter().map(|case| Case { residual: true, ..case.clone() }));
    cases.extend(duplicates.iter().map(|case| Case { nulls_match: true, ..case.clone() }));
    let keys = [Some(1), None, Some(2), Some(1), Some(2), None, Some(3), Some(1), None, Some(2), Some(4)];
    let others = [Some(2), Some(1), None, Some(1), Some(5), Some(2), None, Some(1), Some(2)];
    let two = Case { num_keys: 2, ..Case::new("two keys, some NULL", with_nulls(&keys), with_nulls(&others)) };
    cases.push(Case { residual: true, ..two.clone() });
    cases.push(Case { nulls_match: true, ..two.clone() });
    cases.push(Case { nulls_match: true, residual: true, ..two.clone() });
    cases.push(two);
    cases.push(Case {
        num_keys: 2,
        ..Case::new("two keys, none NULL", plain(&some([1, 2, 3, 1, 2, 3])), plain(&some([1, 2, 2, 1, 3, 3, 1])))
    });
    cases.push(Case { num_keys: 2, ..Case::new("two keys, no build side", plain(&some([1, 2])), Vec::new()) });
    cases
}

#[test]
fn every_kind_gives_what_a_nested_loop_gives() {
    for case in cases() {
        for kind in KINDS {
            for batch_rows in [1, 3, 8192] {
                case.check(kind, [Form::Int64; 2], [Form::Int64; 2], None, batch_rows);
            }
        }
    }
}

#[test]
fn every_structure_gives_the_same() {
    for case in cases() {
        for kind in KINDS {
            for structure in [Structure::Dense, Structure::Direct, Structure::Rank, Structure::Membership, Structure::Unchained] {
                case.check(kind, [Form::Int64; 2], [Form::Int64; 2], Some(structure), 3);
            }
        }
    }
}

#[test]
fn every_key_type_gives_the_same() {
    for case in cases() {
        for kind in KINDS {
            for form in FORMS {
                case.check(kind, [form; 2], [form; 2], None, 3);
            }
        }
    }
}

#[test]
fn both_widths_of_decimals_and_both_forms_of_strings_match_each_other() {
    for case in cases() {
        for kind in KINDS {
            case.check(kind, [Form::Decimal64; 2], [Form::Decimal128; 2], None, 3);
            case.check(kind, [Form::Decimal128; 2], [Form::Decimal64; 2], None, 3);
            case.check(kind, [Form::LongText, Form::Int32], [Form::MixedText, Form::Int32], None, 2);
            case.check(kind, [Form::MixedText, Form::Sparse], [Form::LongText, Form::Sparse], None, 2);
        }
    }
}

#[test]
fn joins_without_keys_compare_every_pair() {
    for case in cases().into_iter().filter(|case| case.num_keys == 1) {
        let case = Case { num_keys: 0, ..case };
        for kind in KINDS {
            for batch_rows in [1, 3, 8192] {
                case.check(kind, [Form::Int64; 2], [Form::Int64; 2], None, batch_rows);
            }
        }
    }
}

#[test]
fn a_single_build_row_is_crossed_with_every_probe_row() {
    let probe: Vec<Row> = (0..20).map(|i| [Some(i), Some(i), if i % 6 == 5 { None } else { Some(i) }]).collect();
    for residual in [false, true] {
        let build = vec![[Some(1), None, Some(10)]];
        let case = Case { num_keys: 0, residual, ..Case::new("one row", probe.clone(), build) };
        for kind in KINDS {
            case.check(kind, [Form::Int64; 2], [Form::LongText; 2], None, 7);
        }
    }
}

#[test]
fn a_probe_row_with_more_matches_than_a_batch_comes_out_in_several() {
    let build: Vec<Row> = (0..700).map(|i| [Some(i % 2), None, Some(i)]).collect();
    let probe: Vec<Row> = (0..9).map(|i| [Some(i % 3), None, Some(i * 50)]).collect();
    for residual in [false, true] {
        let case = Case { residual, ..Case::new("1:N", probe.clone(), build.clone()) };
        for kind in KINDS {
            for structure in [Structure::Direct, Structure::Rank, Structure::Unchained] {
                case.check(kind, [Form::Int64; 2], [Form::Int64; 2], Some(structure), 64);
            }
        }
        let case = Case { num_keys: 0, ..case };
        KINDS.into_iter().for_each(|kind| case.check(kind, [Form::Int64; 2], [Form::Int64; 2], None, 64));
    }
    let case = Case::new("1:N", probe, build);
    let spec = case.spec(JoinKind::Inner, [Form::Int64; 2], [Form::Int64; 2]);
    let (build, probe) = (batches(&case.build, [Form::Int64; 2], 64, 0), batches(&case.probe, [Form::Int64; 2], 64, 0));
    let result = run(&HashJoin::new(spec), &build, &probe, 64).unwrap();
    assert!(result.iter().all(|batch| batch.num_rows() <= 2048 + 256), "batches stay bounded");
}

#[test]
fn floats_match_as_in_postgresql() {
    // NaN = NaN, whatever its bits, and 0 = -0.
    let probe = vec![f64::NAN, 0.0, -0.0, 1.5, f64::INFINITY];
    let build = vec![-f64::NAN, -0.0, 2.5, f64::INFINITY];
    let key = |index: usize| Expression::Column { index, data_type: DataType::Float64 };
    let spec = JoinSpec {
        kind: JoinKind::Inner,
        keys: vec![JoinKey { probe: key(0), build: key(0), nulls_match: false }],
        residual: None,
        probe_types: vec![DataType::Float64, DataType::Int64],
        build_types: vec![DataType::Float64, DataType::Int64],
        probe_output: vec![1],
        build_output: vec![1],
        runtime_filters: Vec::new(),
        estimated_build_rows: 0,
    };
    let batch = |values: Vec<f64>| {
        let ids = Int64Array::from_iter_values(0..values.len() as i64);
        testing::batch(vec![Arc::new(Float64Array::from(values)), Arc::new(ids)])
    };
    let result = run(&HashJoin::new(spec), &[batch(build)], &[batch(probe)], 8192).unwrap();
    let mut pairs = cells(&result);
    pairs.sort();
    assert_eq!(pairs, [["0", "0"], ["1", "1"], ["2", "1"], ["4", "3"]]);
}

#[test]
fn intervals_match_by_their_length() {
    let column = |values: Vec<IntervalMonthDayNano>| testing::batch(vec![Arc::new(IntervalMonthDayNanoArray::from(values)) as ArrayRef]);
    let key = Expression::Column { index: 0, data_type: types::interval() };
    let spec = JoinSpec {
        kind: JoinKind::ProbeSemi,
        keys: vec![JoinKey { probe: key.clone(), build: key, nulls_match: false }],
        residual: None,
        probe_types: vec![types::interval()],
        build_types: vec![types::interval()],
        probe_output: vec![0],
        build_output: vec![],
        runtime_filters: Vec::new(),
        estimated_build_rows: 0,
    };
    let probe = column(vec![IntervalMonthDayNano::new(1, 0, 0), IntervalMonthDayNano::new(0, 31, 0)]);
    let build = column(vec![IntervalMonthDayNano::new(0, 29, 86_400_000_000_000)]);
    let result = run(&HashJoin::new(spec), &[build], &[probe], 8192).unwrap();
    assert_eq!(cells(&result).len(), 1, "a month is 30 days");
}

fn filter_of(kind: JoinKind, build: &[Row], form: Form, nulls_match: bool) -> Option<Arc<crate::runtime_filter::RuntimeFilter>> {
    let slot = RuntimeFilterSlot::new();
    let case = Case { nulls_match, ..Case::new("filter", Vec::new(), build.to_vec()) };
    let spec = JoinSpec { runtime_filters: vec![Some(Arc::clone(&slot))], ..case.spec(kind, [form; 2], [form; 2]) };
    run_build(&HashJoin::new(spec), &batches(build, [form; 2], 3, 0), 3).unwrap();
    slot.get()
}

#[test]
fn runtime_filters_let_through_exactly_the_keys_of_a_narrow_build_side() {
    let build: Vec<Row> = [3, 8, 8, 70, 1000].iter().map(|k| [Some(*k), None, None]).chain([[None; 3]]).collect();
    for kind in [JoinKind::Inner, JoinKind::ProbeSemi, JoinKind::BuildOuter, JoinKind::BuildSemi, JoinKind::BuildAnti] {
        for form in [Form::Int16, Form::Int32, Form::Int64, Form::Date, Form::Decimal64] {
            let filter = filter_of(kind, &build, form, false).expect("a filter");
            assert_eq!((filter.min, filter.max), (3, 1000));
            for key in -10..1100 {
                assert_eq!(filter.contains(key), [3, 8, 70, 1000].contains(&key), "{kind:?} {form:?} {key}");
            }
        }
    }
}

#[test]
fn runtime_filters_of_wide_build_sides_let_their_keys_through_and_few_others() {
    let build: Vec<Row> = (0..1000).map(|k| [Some(k), None, None]).collect();
    let filter = filter_of(JoinKind::Inner, &build, Form::Sparse, false).expect("a filter");
    assert!(matches!(filter.members, Members::Bloom(_)));
    assert!((0..1000).all(|k| filter.contains(k * 0x0012_3456_789a_bcde)));
    let wrong = (0..1000).filter(|k| filter.contains(k * 0x0012_3456_789a_bcde + 1)).count();
    assert!(wrong < 50, "{wrong} of 1000");
}

#[test]
fn runtime_filters_of_empty_build_sides_let_nothing_through() {
    let filter = filter_of(JoinKind::Inner, &[], Form::Int64, false).expect("a filter");
    assert!(filter.min > filter.max);
    assert!([i64::MIN, -1, 0, 1, i64::MAX].iter().all(|key| !filter.contains(*key)));
}

#[test]
fn there_is_no_runtime_filter_where_unmatched_or_null_probe_rows_matter() {
    let build: Vec<Row> = vec![[Some(1), None, None], [None, None, None]];
    use JoinKind::*;
    for kind in [ProbeOuter, FullOuter, ProbeAnti, ProbeMark, ProbeSingle, BuildMark] {
        assert!(filter_of(kind, &build, Form::Int64, false).is_none(), "{kind:?}");
    }
    assert!(filter_of(Inner, &build, Form::Int64, true).is_none(), "NULL matches NULL");
    assert!(filter_of(Inner, &build[..1], Form::Int64, true).is_some(), "no NULL to match");
    assert!(filter_of(Inner, &build, Form::LongText, false).is_none());
}

#[test]
fn an_empty_build_side_ends_the_probe_at_once() {
    let probe = batches(&[[Some(1), None, None]], [Form::Int64; 2], 8192, 0);
    for kind in KINDS {
        let case = Case::new("empty", Vec::new(), Vec::new());
        let join = HashJoin::new(case.spec(kind, [Form::Int64; 2], [Form::Int64; 2]));
        run_build(&join, &[], 8192).unwrap();
        let mut local = join.probe().local(&context(0, 8192)).unwrap();
        let flow = local.push(probe[0].clone(), &mut Collect(Vec::new())).unwrap();
        use JoinKind::*;
        let ends = matches!(kind, Inner | ProbeSemi | BuildOuter | BuildSemi | BuildAnti | BuildMark);
        assert_eq!(flow == Flow::Finished, ends, "{kind:?}");
    }
}

#[test]
fn small_outputs_are_pushed_together() {
    let case = Case::new("few", (0..3000).map(|i| [Some(i), None, None]).collect(), vec![[Some(5), None, None], [Some(2995), None, None]]);
    let spec = case.spec(JoinKind::Inner, [Form::Int64, Form::MixedText], [Form::Int64, Form::MixedText]);
    let (build, probe) =
        (batches(&case.build, [Form::Int64, Form::MixedText], 1, 0), batches(&case.probe, [Form::Int64, Form::MixedText], 100, 0));
    let join = HashJoin::new(spec);
    run_build(&join, &build, 8192).unwrap();
    let result = testing::run_operator(join.probe(), probe).unwrap();
    assert_eq!(result.iter().map(Batch::num_rows).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_join_that_keeps_every_probe_row_does_not_copy_its_columns() {
    let case = Case::new("all", (0..100).map(|i| [Some(i), None, None]).collect(), (0..1000).map(|i| [Some(i), None, None]).collect());
    for kind in [JoinKind::Inner, JoinKind::ProbeOuter, JoinKind::ProbeSemi] {
        let join = HashJoin::new(case.spec(kind, [Form::Int64; 2], [Form::Int64; 2]));
        run_build(&join, &batches(&case.build, [Form::Int64; 2], 100, 0), 8192).unwrap();
        let mut probe = batches(&case.probe, [Form::Int64; 2], 8192, 0);
        // 100 rows would be held back; three times as many are not.
        let columns: Vec<ArrayRef> = probe[0].columns().iter().map(|c| compute::concat(&[c, c, c]).unwrap()).collect();
        probe[0] = Batch::new(columns, 300);
        let result = testing::run_operator(join.probe(), probe.clone()).unwrap();
        assert!(Arc::ptr_eq(result[0].column(0), probe[0].column(3)), "{kind:?}");
    }
}

#[test]
fn string_columns_of_the_build_side_stay_dictionaries_where_they_are_small() {
    let key = |index: usize, data_type: DataType| Expression::Column { index, data_type };
    let spec = JoinSpec {
        kind: JoinKind::Inner,
        keys: vec![JoinKey { probe: key(0, DataType::Int64), build: key(0, DataType::Int64), nulls_match: false }],
        residual: None,
        probe_types: vec![DataType::Int64],
        build_types: vec![DataType::Int64, DataType::Utf8View],
        probe_output: vec![0],
        build_output: vec![1],
        runtime_filters: Vec::new(),
        estimated_build_rows: 0,
    };
    let text = |strings: &[&str]| dictionary(&strings.iter().map(|s| Some((*s).to_owned())).collect::<Vec<_>>());
    let build = [
        testing::batch(vec![Arc::new(Int64Array::from(vec![1, 2])), text(&["red", "blue"])]),
        testing::batch(vec![Arc::new(Int64Array::from(vec![3, 4])), text(&["green", "red"])]),
    ];
    let probe = testing::batch(vec![Arc::new(Int64Array::from(vec![4, 3, 1])) as ArrayRef]);
    let result = run(&HashJoin::new(spec), &build, &[probe], 8192).unwrap();
    assert_eq!(result[0].column(1).data_type(), &types::string_dictionary());
    assert_eq!(cells(&result), [["4", "red"], ["3", "green"], ["1", "red"]]);
}

#[test]
fn the_build_side_counts_against_the_memory_of_the_query() {
    let case = Case::new("memory", Vec::new(), (0..10_000).map(|i| [Some(i), None, None]).collect());
    let join = HashJoin::new(case.spec(JoinKind::Inner, [Form::Int64; 2], [Form::Int64; 2]));
    let memory = QueryMemory::new(pipelines::MemoryPool::new(100_000), 100_000);
    let mut local = join.build_sink().local(&LocalContext { memory: Arc::clone(&memory), ..context(0, 8192) }).unwrap();
    let result = batches(&case.build, [Form::Int64; 2], 1000, 0).into_iter().map(|batch| local.push(batch)).find(Result::is_err);
    assert!(matches!(result, Some(Err(pipelines::Error::MemoryExceeded { .. }))), "{result:?}");
    drop(local);
    drop(join);
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn a_graph_of_several_chains_gives_every_row_once() {
    let build: Vec<Row> = (0..500).map(|i| [Some(i * 3 % 500), None, Some(i)]).collect();
    let probe: Vec<Row> = (0..900).map(|i| [Some(i * 7 % 600), None, Some(i)]).collect();
    let case = Case::new("graph", probe, build);
    let forms = [Form::Int64, Form::MixedText];
    for (kind, seed) in KINDS.into_iter().zip(1..) {
        let spec = case.spec(kind, forms, forms);
        let (build, probe) = (batches(&case.build, forms, 37, 0), batches(&case.probe, forms, 41, 0));
        let expected = case.expected(&spec, &cells(&probe), &cells(&build));
        let join = HashJoin::new(spec);
        let mut graph = PipelineGraph::new();
        let collect = testing::CollectSink::new();
        let build_sink = graph.add_sink(OperatorId(0), join.build_sink());
        let result_sink = graph.add_sink(OperatorId(1), collect.clone());
        let pipeline = |name: &str, source, operators, sink, after| Pipeline {
            name: name.into(),
            source: (OperatorId(2), source),
            operators,
            sink,
            after,
        };
        graph.add_pipeline(pipeline("build", testing::VecSource::new(build), vec![], build_sink, vec![]));
        let operators = vec![(OperatorId(3), join.probe())];
        let id =
            graph.add_pipeline(pipeline("probe", testing::VecSource::new(probe), operators, result_sink, vec![After::Sink(build_sink)]));
        graph.add_pipeline(pipeline(
            "unmatched",
            join.unmatched(),
            vec![],
            result_sink,
            vec![After::Pipeline(id), After::Sink(build_sink)],
        ));
        testing::run_graph(graph, seed).unwrap();
        let mut rows = cells(&collect.batches());
        rows.sort();
        assert_eq!(Some(rows), expected, "{kind:?}");
    }
}

#[test]
fn structures_are_chosen_from_the_rows_that_came() {
    let structure = |keys: Vec<i64>, kind: JoinKind| {
        let case = Case::new("choice", Vec::new(), keys.into_iter().map(|k| [Some(k), None, None]).collect());
        let join = HashJoin::new(case.spec(kind, [Form::Int64; 2], [Form::Int64; 2]));
        run_build(&join, &batches(&case.build, [Form::Int64; 2], 8192, 0), 8192).unwrap();
        join.join.side().unwrap().table.structure()
    };
    assert_eq!(structure((5..100_000).collect(), JoinKind::Inner), Structure::Dense);
    assert_eq!(structure((5..100_000).map(|k| k * 4).collect(), JoinKind::Inner), Structure::Rank);
    assert_eq!(structure((5..100_000).rev().collect(), JoinKind::Inner), Structure::Direct);
    assert_eq!(structure((5..100_000).rev().map(|k| k * 100).collect(), JoinKind::Inner), Structure::Rank);
    assert_eq!(structure((5..100_000).rev().map(|k| k * 100).collect(), JoinKind::ProbeSemi), Structure::Membership);
    assert_eq!(structure((5..100_000).map(|k| k * 100_000).collect(), JoinKind::Inner), Structure::Unchained);
    assert_eq!(structure(vec![i64::MIN, i64::MAX], JoinKind::Inner), Structure::Unchained);
}

fn key() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 8 => (0i64..12).prop_map(Some), 1 => (-300i64..300).prop_map(Some)]
}

fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((key(), key(), key()).prop_map(|(a, b, c)| [a, b, c]), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_joins_give_what_a_nested_loop_gives(
        probe in some_rows(), build in some_rows(), num_keys in 0usize..3, nulls_match: bool, residual: bool,
        probe_form in 0usize..FORMS.len(), batch_rows in 1usize..20, forced in 0usize..6,
    ) {
        let case = Case { num_keys, nulls_match, residual, ..Case::new("random", probe, build) };
        let form = FORMS[probe_form];
        let structures = [None, Some(Structure::Dense), Some(Structure::Direct), Some(Structure::Rank), Some(Structure::Membership), Some(Structure::Unchained)];
        for kind in KINDS {
            case.check(kind, [form, Form::Int64], [form, Form::Int64], structures[forced], batch_rows);
        }
    }
}

#[test]
fn parts_of_the_build_side_may_be_finished_on_several_threads() {
    for step in [1, 3, 100_000] {
        let keys: Vec<i64> = (0..20_000).map(|i| (i * 7919 % 20_000) / 2 * step).collect();
        let case = Case::new(
            "threads",
            keys[..500].iter().map(|k| [Some(*k), None, None]).collect(),
            keys.iter().map(|k| [Some(*k), None, None]).collect(),
        );
        for structure in [Structure::Direct, Structure::Rank, Structure::Unchained] {
            let mut join = Join::with_spec(case.spec(JoinKind::Inner, [Form::Int64; 2], [Form::Int64; 2]));
            join.forced_structure = Some(structure);
            let join = Arc::new(HashJoin { join: Arc::new(join) });
            let sink = join.build_sink();
            let mut local = sink.local(&LocalContext { num_chains: 8, ..context(0, 8192) }).unwrap();
            batches(&case.build, [Form::Int64; 2], 1000, 0)
                .into_iter()
                .for_each(|batch| assert_eq!(local.push(batch).unwrap(), Flow::Continue));
            local.combine().unwrap();
            let num_parts = sink.begin_finish().unwrap();
            let sink = &sink;
            std::thread::scope(|scope| (0..num_parts).for_each(|part| drop(scope.spawn(move || sink.finish_part(part).unwrap()))));
            sink.finish().unwrap();
            let probe = batches(&case.probe, [Form::Int64; 2], 8192, 0);
            let result = testing::run_operator(join.probe(), probe).unwrap();
            assert_eq!(result.iter().map(Batch::num_rows).sum::<usize>(), 1000, "{structure:?}, step {step}");
        }
    }
}

#[test]
fn a_long_loop_over_pairs_can_be_cancelled() {
    let rows: Vec<Row> = (0..2000).map(|i| [Some(i), None, Some(i)]).collect();
    let case = Case { num_keys: 0, residual: true, ..Case::new("cancel", rows.clone(), rows) };
    let join = HashJoin::new(case.spec(JoinKind::ProbeSemi, [Form::Int64; 2], [Form::Int64; 2]));
    run_build(&join, &batches(&case.build, [Form::Int64; 2], 8192, 0), 8192).unwrap();
    let context = context(0, 100);
    let mut local = join.probe().local(&context).unwrap();
    context.cancel.cancel();
    let result = local.push(batches(&case.probe, [Form::Int64; 2], 8192, 0).remove(0), &mut Collect(Vec::new()));
    assert!(matches!(result, Err(pipelines::Error::Cancelled)), "{result:?}");
}
