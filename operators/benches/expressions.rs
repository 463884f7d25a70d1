//! Expression kernels over batches of the size pipelines use; throughput is in rows.
//!
//! `cargo bench -p operators --bench expressions`

use std::{hint::black_box, sync::Arc};

use arrow::{
    array::{ArrayRef, Date32Array, Decimal64Array, StringViewArray},
    datatypes::DataType,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use operators::{
    Expression, Scalar,
    expression::{Arithmetic, Comparison, Evaluator, Predicate, ScalarFunction},
    types,
};
use pipelines::{BATCH_ROWS, Batch};

fn column(index: usize, data_type: DataType) -> Expression {
    Expression::Column { index, data_type }
}

fn arithmetic(operator: Arithmetic, left: Expression, right: Expression, data_type: DataType) -> Expression {
    Expression::Arithmetic { operator, left: Box::new(left), right: Box::new(right), data_type }
}

fn compare(operator: Comparison, left: Expression, right: Scalar) -> Expression {
    Expression::Compare { operator, left: Box::new(left), right: Box::new(Expression::Literal(right)) }
}

fn money(values: impl Fn(i64) -> i64) -> ArrayRef {
    let values: Vec<i64> = (0..BATCH_ROWS as i64).map(values).collect();
    Arc::new(Decimal64Array::from(values).with_data_type(types::decimal(15, 2)))
}

/// Price, discount, tax, ship date, comment.
fn lineitem() -> Batch {
    let words = ["carefully", "special", "final", "requests", "packages", "sleep", "furiously", "accounts", "ideas", "quickly"];
    let comments = (0..BATCH_ROWS).map(|row| {
        let word = |position: usize| words[(row * 7 + position * position * 3) % (words.len() - (row % 2) * 6)];
        format!("{} {} {} {} among the {}", word(1), word(2), word(3), word(4), word(5))
    });
    Batch::new(
        vec![
            money(|row| 90_000 + row * 1_237 % 10_000_000),
            money(|row| row % 11),
            money(|row| row % 9),
            Arc::new(Date32Array::from_iter_values((0..BATCH_ROWS as i32).map(|row| 8_000 + row * 7 % 2_500))),
            Arc::new(StringViewArray::from_iter_values(comments)),
        ],
        BATCH_ROWS,
    )
}

fn disc_price(data_type: DataType) -> Expression {
    let money = types::decimal(15, 2);
    let one = Expression::Literal(Scalar::Decimal(1, 1, 0));
    let rest = arithmetic(Arithmetic::Subtract, one, column(1, money.clone()), types::decimal(16, 2));
    arithmetic(Arithmetic::Multiply, column(0, money), rest, data_type)
}

fn charge(price_type: DataType, data_type: DataType) -> Expression {
    let one = Expression::Literal(Scalar::Decimal(1, 1, 0));
    let tax = arithmetic(Arithmetic::Add, one, column(2, types::decimal(15, 2)), types::decimal(16, 2));
    arithmetic(Arithmetic::Multiply, disc_price(price_type), tax, data_type)
}

fn like(pattern: &str) -> Expression {
    Expression::Like {
        operand: Box::new(column(4, DataType::Utf8View)),
        pattern: Box::new(Expression::Literal(Scalar::Utf8(pattern.into()))),
        escape: Some('\\'),
        case_insensitive: false,
    }
}

fn expressions(criterion: &mut Criterion) {
    let batch = lineitem();
    let narrow = || types::decimal(18, 4);
    let projections = [
        ("q1 disc_price, 64 bits", vec![disc_price(narrow())]),
        ("q1 disc_price, 128 bits", vec![disc_price(types::decimal(31, 4))]),
        ("q1 disc_price and charge, 64 bits", vec![disc_price(narrow()), charge(narrow(), types::decimal(18, 6))]),
        (
            "q1 disc_price and charge, 128 bits",
            vec![disc_price(types::decimal(31, 4)), charge(types::decimal(31, 4), types::decimal(38, 6))],
        ),
        (
            "extract year",
            vec![Expression::Function {
                function: ScalarFunction::Extract,
                arguments: vec![Expression::Literal(Scalar::Utf8("year".into())), column(3, DataType::Date32)],
                data_type: DataType::Int64,
            }],
        ),
        (
            "case blend",
            vec![Expression::Case {
                branches: vec![(compare(Comparison::Less, column(3, DataType::Date32), Scalar::Date32(9_000)), disc_price(narrow()))],
                otherwise: Some(Box::new(Expression::Literal(Scalar::Decimal(0, 18, 4)))),
                data_type: narrow(),
            }],
        ),
    ];
    let mut group = criterion.benchmark_group("expressions");
    group.throughput(Throughput::Elements(BATCH_ROWS as u64));
    for (name, projection) in projections {
        let mut evaluator = Evaluator::new(projection);
        group.bench_function(name, |bencher| bencher.iter(|| evaluator.evaluate(black_box(&batch))));
    }
    let date = || column(3, DataType::Date32);
    let q6 = Expression::And(vec![
        compare(Comparison::GreaterOrEqual, date(), Scalar::Date32(8_766)),
        compare(Comparison::Less, date(), Scalar::Date32(9_131)),
        compare(Comparison::GreaterOrEqual, column(1, types::decimal(15, 2)), Scalar::Decimal(5, 15, 2)),
        compare(Comparison::LessOrEqual, column(1, types::decimal(15, 2)), Scalar::Decimal(7, 15, 2)),
    ]);
    let predicates = [
        ("compare date with constant", compare(Comparison::LessOrEqual, date(), Scalar::Date32(9_000))),
        ("compare decimal with constant", compare(Comparison::Less, column(0, types::decimal(15, 2)), Scalar::Decimal(500_000, 15, 2))),
        ("q6 predicate", q6),
        ("like contains", like("%special%")),
        ("like two words", like("%special%requests%")),
        ("like without a match", like("%Customer%Complaints%")),
    ];
    for (name, predicate) in predicates {
        let mut predicate = Predicate::new(predicate);
        group.bench_function(name, |bencher| bencher.iter(|| predicate.select(black_box(&batch))));
    }
    group.finish();
}

criterion_group!(benches, expressions);
criterion_main!(benches);
