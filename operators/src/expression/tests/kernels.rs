//! The fast kernels against one value at a time, on random columns with NULLs and extreme values.

use arrow::array::{Decimal64Array, Decimal128Array};
use proptest::{collection::vec, option, prelude::*};

use super::*;

const COMPARISONS: [Comparison; 8] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
    Comparison::Distinct,
    Comparison::NotDistinct,
];

fn integers() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -1_000i64..1_000,
        1 => any::<i64>(),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1), Just(1 << 32), Just(-(1i64 << 31))],
    ]
}

fn rows() -> impl Strategy<Value = Vec<(Option<i64>, Option<i64>)>> {
    vec((option::weighted(0.9, integers()), option::weighted(0.9, integers())), 1..200)
}

fn small_rows() -> impl Strategy<Value = Vec<(Option<i64>, Option<i64>)>> {
    vec((option::weighted(0.9, -5_000_000i64..5_000_000), option::weighted(0.9, -3_000i64..3_000)), 1..200)
}

fn naive_comparison(operator: Comparison, left: Option<i64>, right: Option<i64>) -> Option<bool> {
    match operator {
        Comparison::Distinct => return Some(left != right),
        Comparison::NotDistinct => return Some(left == right),
        _ => {}
    }
    let (left, right) = (left?, right?);
    Some(match operator {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        _ => left >= right,
    })
}

/// The exact result at the scale that needs no rounding; the first error in the order of rows is one of
/// those that may be reported.
fn naive_arithmetic(operator: Arithmetic, left: Option<i64>, right: Option<i64>) -> Option<Option<i128>> {
    let (Some(left), Some(right)) = (left, right) else { return Some(None) };
    let (left, right) = (i128::from(left), i128::from(right));
    Some(Some(match operator {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide if right == 0 => return None,
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo if right == 0 => return None,
        Arithmetic::Modulo => left % right,
    }))
}

/// Results as texts, `None` if any row fails or leaves `range`.
fn expected(operator: Arithmetic, rows: &[(Option<i64>, Option<i64>)], fits: impl Fn(i128) -> bool, scale: i8) -> Option<Vec<String>> {
    rows.iter()
        .map(|(left, right)| match naive_arithmetic(operator, *left, *right)? {
            None => Some("NULL".to_owned()),
            Some(value) if fits(value) => Some(Scalar::Decimal(value, 38, scale).to_string()),
            Some(_) => None,
        })
        .collect()
}

fn columns(rows: &[(Option<i64>, Option<i64>)]) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
    rows.iter().copied().unzip()
}

fn narrow(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Decimal64Array::from(values.to_vec()).with_data_type(types::decimal(18, 2)))
}

fn wide(values: &[Option<i64>]) -> ArrayRef {
    let values: Vec<Option<i128>> = values.iter().map(|v| v.map(i128::from)).collect();
    Arc::new(Decimal128Array::from(values).with_data_type(types::decimal(38, 2)))
}

fn check_arithmetic(rows: &[(Option<i64>, Option<i64>)]) {
    let (left, right) = columns(rows);
    let fits_64 = |value: i128| i64::try_from(value).is_ok();
    let fits_128 = |value: i128| value.unsigned_abs() < 10u128.pow(38);
    for operator in [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Modulo] {
        let batch = batch(vec![bigints(&left), bigints(&right)]);
        let integer = arithmetic(operator, column(0, DataType::Int64), column(1, DataType::Int64), DataType::Int64);
        assert_eq!(shown(&integer, &batch).ok(), expected(operator, rows, fits_64, 0), "{operator}");
    }
    for (operator, scale) in [(Arithmetic::Add, 2), (Arithmetic::Subtract, 2), (Arithmetic::Multiply, 4), (Arithmetic::Modulo, 2)] {
        for (l, l_type) in [(narrow(&left), types::decimal(18, 2)), (wide(&left), types::decimal(38, 2))] {
            for (r, r_type) in [(narrow(&right), types::decimal(18, 2)), (wide(&right), types::decimal(38, 2))] {
                let batch = batch(vec![l.clone(), r]);
                let of = |data_type| {
                    let expression = arithmetic(operator, column(0, l_type.clone()), column(1, r_type.clone()), data_type);
                    shown(&expression, &batch).ok()
                };
                assert_eq!(of(types::decimal(18, scale)), expected(operator, rows, fits_64, scale), "{operator} in 64 bits");
                assert_eq!(of(types::decimal(38, scale)), expected(operator, rows, fits_128, scale), "{operator} in 128 bits");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arithmetic_is_exact(rows in rows()) {
        check_arithmetic(&rows);
    }

    #[test]
    fn arithmetic_of_small_numbers_is_exact(rows in small_rows()) {
        check_arithmetic(&rows);
    }

    #[test]
    fn comparisons_agree(rows in rows(), constant in option::weighted(0.9, integers())) {
        let (left, right) = columns(&rows);
        let batch = batch(vec![bigints(&left), bigints(&right), narrow(&left), wide(&right)]);
        for operator in COMPARISONS {
            let text = |value: Option<bool>| value.map_or("NULL".to_owned(), |v| v.to_string());
            let pairs: Vec<String> = rows.iter().map(|(l, r)| text(naive_comparison(operator, *l, *r))).collect();
            let (l, r) = (column(0, DataType::Int64), column(1, DataType::Int64));
            prop_assert_eq!(shown(&compare(operator, l.clone(), r), &batch).unwrap(), pairs.clone());
            let (narrow, wide) = (column(2, types::decimal(18, 2)), column(3, types::decimal(38, 2)));
            prop_assert_eq!(shown(&compare(operator, narrow.clone(), wide), &batch).unwrap(), pairs);
            let with_constant: Vec<String> = rows.iter().map(|(l, _)| text(naive_comparison(operator, *l, constant))).collect();
            let value = constant.map_or(Scalar::Null(DataType::Int64), Scalar::Int64);
            prop_assert_eq!(shown(&compare(operator, l, literal(value)), &batch).unwrap(), with_constant.clone());
            let value = constant.map_or(Scalar::Null(types::decimal(38, 2)), |v| Scalar::Decimal(i128::from(v), 38, 2));
            prop_assert_eq!(shown(&compare(operator, narrow, literal(value)), &batch).unwrap(), with_constant);
        }
    }

    #[test]
    fn predicates_select_what_their_value_says(rows in rows(), a in integers(), b in -900i64..900) {
        let (left, right) = columns(&rows);
        let batch = batch(vec![bigints(&left), bigints(&right)]);
        let (l, r) = (|| column(0, DataType::Int64), || column(1, DataType::Int64));
        let number = |value| literal(Scalar::Int64(value));
        let quotient = arithmetic(Arithmetic::Modulo, number(7), r(), DataType::Int64);
        let predicate = Expression::And(vec![
            compare(Comparison::NotEqual, r(), number(0)),
            Expression::Or(vec![compare(Comparison::Less, l(), number(a)), compare(Comparison::Greater, r(), number(b))]),
            compare(Comparison::NotEqual, quotient, number(3)),
            Expression::Not(Box::new(Expression::InList { operand: Box::new(l()), list: vec![Scalar::Int64(a), Scalar::Int64(b)] })),
        ]);
        let expected: Vec<usize> = (0..rows.len()).filter(|&row| {
            let (l, r) = rows[row];
            let Some(l) = l else { return false };
            r.is_some_and(|r| r != 0 && (l < a || r > b) && 7i64.wrapping_rem(r) != 3) && l != a && l != b
        }).collect();
        prop_assert_eq!(selected(&predicate, &batch).unwrap(), expected);
    }
}
