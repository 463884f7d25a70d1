//! Evaluation over batches: shared subexpressions, dictionaries, guarded branches, predicates.

use super::*;

#[test]
fn discounted_price_is_exact() {
    let prices = Arc::new(arrow::array::Decimal64Array::from(vec![2116823, 3307894]).with_precision_and_scale(15, 2).unwrap());
    let discounts = Arc::new(arrow::array::Decimal64Array::from(vec![4, 10]).with_precision_and_scale(15, 2).unwrap());
    let money = types::decimal(15, 2);
    let rest = arithmetic(Arithmetic::Subtract, literal(Scalar::Decimal(1, 1, 0)), column(1, money.clone()), types::decimal(16, 2));
    for data_type in [types::decimal(18, 4), types::decimal(31, 4)] {
        let price = arithmetic(Arithmetic::Multiply, column(0, money.clone()), rest.clone(), data_type);
        let batch = batch(vec![prices.clone(), discounts.clone()]);
        assert_eq!(shown(&price, &batch).unwrap(), ["20321.5008", "29771.0460"]);
    }
}

#[test]
fn dictionary_and_plain_texts_give_the_same() {
    let modes = ["AIR", "SHIP", "MAIL"];
    let codes = [Some(0), Some(2), None, Some(1), Some(0)];
    let plain: Vec<Option<&str>> = codes.iter().map(|code| code.map(|code: u32| modes[code as usize])).collect();
    let mode = column(0, DataType::Utf8View);
    let case = Expression::Case {
        branches: vec![(like(mode.clone(), "%I%"), literal(Scalar::Int32(1)))],
        otherwise: None,
        data_type: DataType::Int32,
    };
    for expression in [
        compare(Comparison::Equal, mode.clone(), literal(text("AIR"))),
        compare(Comparison::Greater, mode.clone(), literal(text("B"))),
        compare(Comparison::Distinct, mode.clone(), literal(text("AIR"))),
        Expression::InList { operand: Box::new(mode.clone()), list: vec![text("MAIL"), text("SHIP")] },
        Expression::IsNull(Box::new(mode.clone())),
        like(mode.clone(), "%I%"),
        case,
    ] {
        let expected = shown(&expression, &batch(vec![texts(&plain)])).unwrap();
        let from_dictionary = shown(&expression, &batch(vec![dictionary(&codes, &modes)])).unwrap();
        assert_eq!(from_dictionary, expected, "{expression}");
    }
}

#[test]
fn entries_that_no_row_has_raise_no_error() {
    let number = cast(column(0, DataType::Utf8View), DataType::Int32);
    let batch = batch(vec![dictionary(&[Some(0), Some(2)], &["1", "x", "3"])]);
    let mut evaluator = Evaluator::new(vec![number]);
    for _ in 0..3 {
        assert_eq!(*evaluator.evaluate(&batch).unwrap()[0], *ints(&[Some(1), Some(3)]));
    }
}

#[test]
fn case_guards_its_branches() {
    let x = || column(0, DataType::Int32);
    let guarded = Expression::Case {
        branches: vec![(compare(Comparison::Equal, x(), literal(Scalar::Int32(0))), literal(Scalar::Int32(-1)))],
        otherwise: Some(Box::new(arithmetic(Arithmetic::Divide, literal(Scalar::Int32(10)), x(), DataType::Int32))),
        data_type: DataType::Int32,
    };
    let values = batch(vec![ints(&[Some(0), Some(3), None, Some(-4)])]);
    assert_eq!(shown(&guarded, &values).unwrap(), ["-1", "3", "NULL", "-2"]);

    let small = compare(Comparison::Less, x(), literal(Scalar::Int32(10)));
    let large = arithmetic(Arithmetic::Multiply, x(), literal(Scalar::Int32(100_000_000)), DataType::Int32);
    let guarded = Expression::Case { branches: vec![(small, large)], otherwise: None, data_type: DataType::Int32 };
    let values = batch(vec![ints(&[Some(2), Some(1_000)])]);
    assert_eq!(shown(&guarded, &values).unwrap(), ["200000000", "NULL"]);
}

#[test]
fn conjuncts_that_can_fail_see_only_rows_that_passed_the_others() {
    let x = || column(0, DataType::Int32);
    let quotient = arithmetic(Arithmetic::Divide, literal(Scalar::Int32(12)), x(), DataType::Int32);
    let predicate = Expression::And(vec![
        compare(Comparison::Greater, quotient, literal(Scalar::Int32(2))),
        compare(Comparison::NotEqual, x(), literal(Scalar::Int32(0))),
    ]);
    let values = batch(vec![ints(&[Some(0), Some(3), None, Some(6), Some(4)])]);
    assert_eq!(selected(&predicate, &values).unwrap(), [1, 4]);
}

#[test]
fn predicates_say_all_none_or_some() {
    let below = |limit| compare(Comparison::Less, column(0, DataType::Int32), literal(Scalar::Int32(limit)));
    let values = batch(vec![ints(&(0..200).map(Some).collect::<Vec<_>>())]);
    assert_eq!(Predicate::new(below(200)).select(&values).unwrap(), Selection::All);
    assert_eq!(Predicate::new(below(0)).select(&values).unwrap(), Selection::None);
    assert_eq!(selected(&below(3), &values).unwrap(), [0, 1, 2]);
    assert_eq!(selected(&Expression::And(vec![below(70), below(5), below(9)]), &values).unwrap(), [0, 1, 2, 3, 4]);
}

#[test]
fn common_subexpressions_and_plain_columns() {
    let x = || column(0, DataType::Int64);
    let sum = || arithmetic(Arithmetic::Add, x(), literal(Scalar::Int64(1)), DataType::Int64);
    let square = arithmetic(Arithmetic::Multiply, sum(), sum(), DataType::Int64);
    let input = bigints(&[Some(1), None]);
    let columns = Evaluator::new(vec![square, x(), sum()]).evaluate(&batch(vec![input.clone()])).unwrap();
    assert_eq!(*columns[0], *bigints(&[Some(4), None]));
    assert!(Arc::ptr_eq(&columns[1], &input));
    assert_eq!(*columns[2], *bigints(&[Some(2), None]));
}

#[test]
fn blends_over_many_rows() {
    // More than one word of 64 rows and a rest, with NULLs in a branch.
    let values: Vec<Option<i64>> = (0..150).map(|i| (i % 10 != 3).then_some(i)).collect();
    let x = || column(0, DataType::Int64);
    let below = |limit| compare(Comparison::Less, x(), literal(Scalar::Int64(limit)));
    let expression = Expression::Case {
        branches: vec![(below(20), literal(Scalar::Int64(-1))), (below(100), x())],
        otherwise: None,
        data_type: DataType::Int64,
    };
    let expected: Vec<String> = values
        .iter()
        .map(|value| match value {
            Some(v) if *v < 20 => "-1".to_owned(),
            Some(v) if *v < 100 => v.to_string(),
            _ => "NULL".to_owned(),
        })
        .collect();
    assert_eq!(shown(&expression, &batch(vec![bigints(&values)])).unwrap(), expected);
}

#[test]
fn equal_texts_over_many_rows() {
    let words: Vec<Option<&str>> = (0..150).map(|i| Some(["MAIL", "SHIP", "a text that no view holds itself"][i % 3])).collect();
    let is_ship = compare(Comparison::Equal, column(0, DataType::Utf8View), literal(text("SHIP")));
    let rows = selected(&is_ship, &batch(vec![texts(&words)])).unwrap();
    assert_eq!(rows, (0..150).filter(|i| i % 3 == 1).collect::<Vec<_>>());
}
