//! Asking expressions for columns, text and constants.

use super::*;

#[test]
fn texts_for_explain() {
    let shipdate = compare(Comparison::LessOrEqual, column(3, DataType::Date32), literal(Scalar::Date32(10_471)));
    assert_eq!(shipdate.to_string(), "#3 <= date '1998-09-02'");
    assert_eq!(shipdate.display(&["a", "b", "c", "l_shipdate"]).to_string(), "l_shipdate <= date '1998-09-02'");
    let number = |i| column(i, DataType::Int64);
    let sum = arithmetic(Arithmetic::Add, number(0), number(1), DataType::Int64);
    let product = arithmetic(Arithmetic::Multiply, sum.clone(), number(2), DataType::Int64);
    assert_eq!(product.to_string(), "(#0 + #1) * #2");
    let difference = arithmetic(Arithmetic::Subtract, number(2), sum, DataType::Int64);
    assert_eq!(difference.to_string(), "#2 - (#0 + #1)");
    let name = column(0, DataType::Utf8View);
    let either = Expression::Or(vec![
        Expression::And(vec![like(name.clone(), "a'%"), Expression::Not(Box::new(Expression::IsNull(Box::new(name.clone()))))]),
        Expression::Not(Box::new(Expression::InList { operand: Box::new(name), list: vec![text("x"), text("y")] })),
    ]);
    assert_eq!(either.to_string(), "#0 LIKE 'a''%' AND #0 IS NOT NULL OR #0 NOT IN ('x', 'y')");
    assert_eq!(Expression::Not(Box::new(either)).to_string(), "NOT (#0 LIKE 'a''%' AND #0 IS NOT NULL OR #0 NOT IN ('x', 'y'))");
}

#[test]
fn columns_are_found_and_moved() {
    let mut expression = compare(Comparison::Equal, column(4, DataType::Int32), column(1, DataType::Int32));
    assert_eq!(expression.columns().into_iter().collect::<Vec<_>>(), [1, 4]);
    expression.remap_columns(&|index| index * 10);
    assert_eq!(expression.columns().into_iter().collect::<Vec<_>>(), [10, 40]);
    assert!(!expression.is_constant());
}

#[test]
fn constants_fold() {
    let sum = arithmetic(Arithmetic::Add, literal(Scalar::Int32(1)), literal(Scalar::Int32(2)), DataType::Int32);
    assert_eq!(evaluate_constant(&sum), Ok(Scalar::Int32(3)));
    let quotient = arithmetic(Arithmetic::Divide, literal(Scalar::Int32(1)), literal(Scalar::Int32(0)), DataType::Int32);
    assert_eq!(evaluate_constant(&quotient), Err(Error::DivisionByZero));
    assert!(quotient.can_fail() && !sum.can_fail());
}

#[test]
fn deep_expressions_are_no_problem() {
    let mut deep = column(0, DataType::Int64);
    for _ in 0..1_000 {
        deep = arithmetic(Arithmetic::Add, deep, literal(Scalar::Int64(1)), DataType::Int64);
    }
    assert_eq!(shown(&deep, &batch(vec![bigints(&[Some(1)])])).unwrap(), ["1001"]);
    assert!(deep.to_string().ends_with("+ 1 + 1"));
    let wide =
        Expression::Or((0..10_000).map(|i| compare(Comparison::Equal, column(0, DataType::Int64), literal(Scalar::Int64(i)))).collect());
    assert_eq!(selected(&wide, &batch(vec![bigints(&[Some(9_999), Some(10_000)])])).unwrap(), [0]);
}
