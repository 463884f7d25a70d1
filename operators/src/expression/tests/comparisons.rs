//! Comparisons: NULLs, floats, decimals of two widths, intervals, IN.

use arrow::array::{BooleanArray, Decimal64Array, Decimal128Array, Float64Array};

use super::*;

fn compared(operator: Comparison, left: Scalar, right: Scalar) -> String {
    constant(&compare(operator, literal(left), literal(right))).unwrap()
}

#[test]
fn null_compares_to_nothing_unless_distinct_is_asked() {
    let (one, null) = (|| Scalar::Int32(1), || Scalar::Null(DataType::Int32));
    assert_eq!(compared(Comparison::Equal, one(), null()), "NULL");
    assert_eq!(compared(Comparison::NotEqual, null(), null()), "NULL");
    assert_eq!(compared(Comparison::Distinct, one(), null()), "true");
    assert_eq!(compared(Comparison::Distinct, null(), null()), "false");
    assert_eq!(compared(Comparison::NotDistinct, null(), null()), "true");
    assert_eq!(compared(Comparison::NotDistinct, one(), one()), "true");

    let columns = batch(vec![ints(&[Some(1), Some(1), None, None]), ints(&[Some(1), Some(2), Some(1), None])]);
    let (l, r) = (column(0, DataType::Int32), column(1, DataType::Int32));
    assert_eq!(shown(&compare(Comparison::Less, l.clone(), r.clone()), &columns).unwrap(), ["false", "true", "NULL", "NULL"]);
    assert_eq!(shown(&compare(Comparison::Distinct, l, r), &columns).unwrap(), ["false", "true", "true", "false"]);
}

#[test]
fn floats_have_a_total_order() {
    let values = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN, -f64::NAN];
    // Positions with equal rank are equal.
    let ranks = [0, 1, 2, 2, 3, 4, 5, 6, 6];
    for (l, l_rank) in values.iter().zip(ranks) {
        for (r, r_rank) in values.iter().zip(ranks) {
            for (operator, expected) in
                [(Comparison::Equal, l_rank == r_rank), (Comparison::Less, l_rank < r_rank), (Comparison::GreaterOrEqual, l_rank >= r_rank)]
            {
                let expected = expected.to_string();
                assert_eq!(compared(operator, Scalar::Float64(*l), Scalar::Float64(*r)), expected, "{l} {operator} {r}");
                let narrow = compared(operator, Scalar::Float32(*l as f32), Scalar::Float32(*r as f32));
                if *l != 1e-300 && *r != 1e-300 {
                    assert_eq!(narrow, expected, "{l} {operator} {r}");
                }
            }
            assert_eq!(Scalar::Float64(*l).partial_cmp(&Scalar::Float64(*r)), Some(l_rank.cmp(&r_rank)));
        }
    }
}

#[test]
fn decimals_of_both_widths_compare_by_value() {
    let narrow = Arc::new(Decimal64Array::from(vec![100, 250, -1]).with_precision_and_scale(10, 2).unwrap());
    let wide = Arc::new(Decimal128Array::from(vec![100, 251, -2]).with_precision_and_scale(30, 2).unwrap());
    let wider = Arc::new(Decimal128Array::from(vec![1000, 2510, -20]).with_precision_and_scale(30, 3).unwrap());
    let columns = batch(vec![narrow, wide, wider]);
    let (n, w, v) = (column(0, types::decimal(10, 2)), column(1, types::decimal(30, 2)), column(2, types::decimal(30, 3)));
    assert_eq!(shown(&compare(Comparison::Less, n.clone(), w.clone()), &columns).unwrap(), ["false", "true", "false"]);
    assert_eq!(shown(&compare(Comparison::Equal, v, w), &columns).unwrap(), ["true", "true", "true"]);
    let huge = literal(Scalar::Decimal(10i128.pow(25), 30, 2));
    assert_eq!(shown(&compare(Comparison::Less, n.clone(), huge.clone()), &columns).unwrap(), ["true", "true", "true"]);
    assert_eq!(shown(&compare(Comparison::Less, huge, n), &columns).unwrap(), ["false", "false", "false"]);
}

#[test]
fn intervals_compare_by_their_length() {
    let month = || Scalar::Interval { months: 1, days: 0, nanoseconds: 0 };
    let days = |days| Scalar::Interval { months: 0, days, nanoseconds: 0 };
    assert_eq!(compared(Comparison::Equal, month(), days(30)), "true");
    assert_eq!(compared(Comparison::Less, month(), days(31)), "true");
    assert_eq!(compared(Comparison::Equal, days(1), Scalar::Interval { months: 0, days: 0, nanoseconds: 86_400_000_000_000 }), "true");
}

#[test]
fn texts_and_booleans_and_bytes() {
    let long = "a text that no view holds itself";
    let columns = batch(vec![texts(&[Some("abc"), Some(long), None, Some("")]), texts(&[Some("abd"), Some(long), Some("x"), Some("")])]);
    let (l, r) = (|| column(0, DataType::Utf8View), || column(1, DataType::Utf8View));
    assert_eq!(shown(&compare(Comparison::Equal, l(), r()), &columns).unwrap(), ["false", "true", "NULL", "true"]);
    assert_eq!(shown(&compare(Comparison::Less, l(), r()), &columns).unwrap(), ["true", "false", "NULL", "false"]);
    assert_eq!(shown(&compare(Comparison::Equal, l(), literal(text(long))), &columns).unwrap(), ["false", "true", "NULL", "false"]);
    assert_eq!(shown(&compare(Comparison::NotEqual, literal(text("abc")), l()), &columns).unwrap(), ["false", "true", "NULL", "true"]);
    assert_eq!(compared(Comparison::Less, Scalar::Boolean(false), Scalar::Boolean(true)), "true");
    assert_eq!(compared(Comparison::Less, Scalar::Binary(vec![1]), Scalar::Binary(vec![1, 0])), "true");
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
    let is_true = compare(Comparison::Equal, column(0, DataType::Boolean), literal(Scalar::Boolean(true)));
    assert_eq!(shown(&is_true, &batch(vec![flags])).unwrap(), ["true", "false", "NULL"]);
}

#[test]
fn in_lists_with_null() {
    let within = |list: Vec<Scalar>| Expression::InList { operand: Box::new(column(0, DataType::Int32)), list };
    let values = batch(vec![ints(&[Some(1), Some(2), None])]);
    let null = || Scalar::Null(DataType::Int32);
    assert_eq!(shown(&within(vec![Scalar::Int32(1)]), &values).unwrap(), ["true", "false", "NULL"]);
    assert_eq!(shown(&within(vec![Scalar::Int32(1), null()]), &values).unwrap(), ["true", "NULL", "NULL"]);
    assert_eq!(shown(&within(vec![null()]), &values).unwrap(), ["NULL", "NULL", "NULL"]);
    let far_apart = vec![Scalar::Int32(i32::MIN), Scalar::Int32(2), Scalar::Int32(i32::MAX)];
    assert_eq!(shown(&within(far_apart), &values).unwrap(), ["false", "true", "NULL"]);
}

#[test]
fn in_lists_of_all_types() {
    let one_of = |values: ArrayRef, list: Vec<Scalar>| {
        let operand = Box::new(column(0, values.data_type().clone()));
        shown(&Expression::InList { operand, list }, &batch(vec![values])).unwrap()
    };
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, f64::NAN, 1.0]));
    assert_eq!(one_of(floats, vec![Scalar::Float64(0.0), Scalar::Float64(f64::NAN)]), ["true", "true", "false"]);
    let long = "a text that no view holds itself";
    let words = || texts(&[Some("a"), Some(long), Some("b"), None]);
    assert_eq!(one_of(words(), vec![text("a"), text(long)]), ["true", "true", "false", "NULL"]);
    assert_eq!(one_of(words(), vec![text("b"), text("c")]), ["false", "false", "true", "NULL"]);
    let many: Vec<Scalar> = (0..100_000).map(|i| Scalar::Int64(i * 3)).collect();
    assert_eq!(one_of(bigints(&[Some(299_997), Some(299_998), Some(-3), None]), many), ["true", "false", "false", "NULL"]);
    let wide: ArrayRef = Arc::new(Decimal128Array::from(vec![5, 10i128.pow(30)]).with_precision_and_scale(38, 0).unwrap());
    assert_eq!(one_of(wide.clone(), vec![Scalar::Decimal(10i128.pow(30), 38, 0)]), ["false", "true"]);
    assert_eq!(one_of(wide, vec![Scalar::Decimal(5, 38, 0)]), ["true", "false"]);
}
