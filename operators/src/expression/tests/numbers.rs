//! Arithmetic on integers, floats and decimals.

use arrow::array::{Decimal64Array, Decimal128Array, Float64Array};

use super::*;

const OPERATORS: [Arithmetic; 5] = [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Modulo];

fn of_ints(operator: Arithmetic, left: i32, right: i32) -> Result<String> {
    constant(&arithmetic(operator, literal(Scalar::Int32(left)), literal(Scalar::Int32(right)), DataType::Int32))
}

#[test]
fn integers() {
    let out_of_range = || Err(Error::OutOfRange { type_name: "integer" });
    for (operator, left, right, expected) in [
        (Arithmetic::Add, i32::MAX, 1, out_of_range()),
        (Arithmetic::Subtract, i32::MIN, 1, out_of_range()),
        (Arithmetic::Multiply, 65_536, 32_768, out_of_range()),
        (Arithmetic::Multiply, -65_536, 32_768, Ok("-2147483648".into())),
        (Arithmetic::Divide, -7, 2, Ok("-3".into())),
        (Arithmetic::Divide, i32::MIN, -1, out_of_range()),
        (Arithmetic::Divide, 1, 0, Err(Error::DivisionByZero)),
        (Arithmetic::Modulo, -7, 2, Ok("-1".into())),
        (Arithmetic::Modulo, 7, -2, Ok("1".into())),
        (Arithmetic::Modulo, i32::MIN, -1, Ok("0".into())),
        (Arithmetic::Modulo, 1, 0, Err(Error::DivisionByZero)),
    ] {
        assert_eq!(of_ints(operator, left, right), expected, "{left} {operator} {right}");
    }
    let negated = |scalar| constant(&Expression::Negate(Box::new(literal(scalar))));
    assert_eq!(negated(Scalar::Int64(i64::MIN)), Err(Error::OutOfRange { type_name: "bigint" }));
    assert_eq!(negated(Scalar::Int16(5)).unwrap(), "-5");
    assert_eq!(negated(Scalar::Decimal(-125, 5, 2)).unwrap(), "1.25");
}

#[test]
fn what_stands_under_a_null_raises_no_error() {
    let nulls = arrow::buffer::NullBuffer::from(vec![true, false]);
    let values: ArrayRef = Arc::new(Int32Array::new(vec![6, i32::MIN].into(), Some(nulls.clone())));
    let divisors: ArrayRef = Arc::new(Int32Array::new(vec![3, 0].into(), Some(nulls)));
    let columns = batch(vec![values, divisors]);
    for (operator, expected) in OPERATORS.into_iter().zip(["9", "3", "18", "2", "0"]) {
        let result = arithmetic(operator, column(0, DataType::Int32), column(1, DataType::Int32), DataType::Int32);
        assert_eq!(shown(&result, &columns).unwrap(), [expected, "NULL"]);
    }
}

#[test]
fn floats() {
    let of = |operator, left: f64, right: f64| {
        constant(&arithmetic(operator, literal(Scalar::Float64(left)), literal(Scalar::Float64(right)), DataType::Float64))
    };
    let out_of_range = Err(Error::OutOfRange { type_name: "double precision" });
    assert_eq!(of(Arithmetic::Multiply, 1e200, 1e200), out_of_range);
    assert_eq!(of(Arithmetic::Multiply, 1e-200, 1e-200), out_of_range);
    assert_eq!(of(Arithmetic::Add, f64::INFINITY, 1.0).unwrap(), "Infinity");
    assert_eq!(of(Arithmetic::Divide, 1.0, 0.0), Err(Error::DivisionByZero));
    assert_eq!(of(Arithmetic::Divide, f64::NAN, 0.0).unwrap(), "NaN");
    assert_eq!(of(Arithmetic::Divide, 0.0, 5.0).unwrap(), "0");
    assert_eq!(of(Arithmetic::Divide, 1.0, f64::INFINITY).unwrap(), "0");
    let column_of: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN)]));
    let half = arithmetic(Arithmetic::Divide, column(0, DataType::Float64), literal(Scalar::Float64(2.0)), DataType::Float64);
    assert_eq!(shown(&half, &batch(vec![column_of])).unwrap(), ["0.5", "NULL", "NaN"]);
}

#[test]
fn decimals_are_exact_and_round_half_away_from_zero() {
    let of = |operator, left, right, precision, scale| constant(&arithmetic(operator, left, right, types::decimal(precision, scale)));
    assert_eq!(of(Arithmetic::Add, decimal("1.5", 2, 1), decimal("0.25", 3, 2), 10, 2).unwrap(), "1.75");
    assert_eq!(of(Arithmetic::Add, decimal("1.5", 2, 1), decimal("0.25", 3, 2), 30, 2).unwrap(), "1.75");
    assert_eq!(of(Arithmetic::Multiply, decimal("1.05", 3, 2), decimal("0.5", 2, 1), 10, 2).unwrap(), "0.53");
    assert_eq!(of(Arithmetic::Multiply, decimal("-1.05", 3, 2), decimal("0.5", 2, 1), 10, 2).unwrap(), "-0.53");
    assert_eq!(of(Arithmetic::Divide, decimal("2", 1, 0), decimal("3", 1, 0), 38, 16).unwrap(), "0.6666666666666667");
    assert_eq!(of(Arithmetic::Divide, decimal("-1", 1, 0), decimal("8", 1, 0), 10, 2).unwrap(), "-0.13");
    assert_eq!(of(Arithmetic::Divide, decimal("10", 2, 0), decimal("0.00", 3, 2), 10, 2), Err(Error::DivisionByZero));
    assert_eq!(of(Arithmetic::Modulo, decimal("-7.5", 2, 1), decimal("2", 1, 0), 10, 1).unwrap(), "-1.5");
    assert_eq!(of(Arithmetic::Modulo, decimal("1", 1, 0), decimal("0", 1, 0), 10, 1), Err(Error::DivisionByZero));
}

#[test]
fn wide_decimals_use_more_than_128_bits_where_they_must() {
    let nines = "9".repeat(38);
    let of = |operator, left, right, scale| constant(&arithmetic(operator, left, right, DataType::Decimal128(38, scale)));
    assert_eq!(of(Arithmetic::Add, decimal(&nines, 38, 0), decimal("1", 38, 0), 0), Err(Error::NumericOverflow));
    assert_eq!(of(Arithmetic::Multiply, decimal(&nines, 38, 0), decimal("10", 38, 0), 0), Err(Error::NumericOverflow));
    // 10^20 * 10^-1 at scale 20: the exact product has more than 38 digits, the result has not.
    let large = decimal("100000000000000000000.0000000000", 38, 10);
    assert_eq!(of(Arithmetic::Multiply, large.clone(), decimal("0.1000000000", 38, 10), 5).unwrap(), "10000000000000000000.00000");
    assert_eq!(of(Arithmetic::Divide, large, decimal("3", 38, 0), 16).unwrap(), "33333333333333333333.3333333333333333");
}

#[test]
fn narrow_results_that_do_not_fit_are_errors() {
    let left: ArrayRef = Arc::new(Decimal64Array::from(vec![i64::MAX, 5]).with_precision_and_scale(18, 0).unwrap());
    let right: ArrayRef = Arc::new(Decimal64Array::from(vec![1, i64::MAX]).with_precision_and_scale(18, 0).unwrap());
    let columns = batch(vec![left, right]);
    let (l, r) = (|| column(0, types::decimal(18, 0)), || column(1, types::decimal(18, 0)));
    for operator in [Arithmetic::Add, Arithmetic::Multiply] {
        let narrow = arithmetic(operator, l(), r(), types::decimal(18, 0));
        assert_eq!(shown(&narrow, &columns), Err(Error::NumericOverflow));
    }
    let wide = arithmetic(Arithmetic::Multiply, l(), r(), types::decimal(36, 0));
    assert_eq!(shown(&wide, &columns).unwrap(), [i64::MAX.to_string(), (i128::from(i64::MAX) * 5).to_string()]);
}

#[test]
fn both_widths_mix() {
    let narrow: ArrayRef = Arc::new(Decimal64Array::from(vec![Some(150), None]).with_precision_and_scale(5, 2).unwrap());
    let wide: ArrayRef = Arc::new(Decimal128Array::from(vec![Some(20), Some(1)]).with_precision_and_scale(20, 1).unwrap());
    let columns = batch(vec![narrow, wide]);
    let (n, w) = (|| column(0, types::decimal(5, 2)), || column(1, types::decimal(20, 1)));
    let of = |operator, left, right, scale| shown(&arithmetic(operator, left, right, types::decimal(30, scale)), &columns).unwrap();
    assert_eq!(of(Arithmetic::Add, n(), w(), 2), ["3.50", "NULL"]);
    assert_eq!(of(Arithmetic::Subtract, w(), n(), 2), ["0.50", "NULL"]);
    assert_eq!(of(Arithmetic::Multiply, n(), w(), 3), ["3.000", "NULL"]);
    assert_eq!(of(Arithmetic::Divide, n(), w(), 4), ["0.7500", "NULL"]);
}
