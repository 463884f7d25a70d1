//! Types of `$n` from their surroundings, and their values in plans.

use arrow::datatypes::DataType;
use operators::{Scalar, types};

use super::catalog::bind_with;
use crate::sql::binder::Parameters;

fn inferred(text: &str) -> Vec<DataType> {
    match bind_with(text, Parameters::Types(&[]), &[]) {
        Ok(bound) => bound.parameter_types,
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn the_first_use_gives_a_parameter_its_type() {
    let cases = [
        ("select $1", vec![DataType::Utf8View]),
        ("select 1 from orders where o_orderdate < $1", vec![DataType::Date32]),
        ("select 1 from orders where $2 = o_orderkey and o_comment = $1", vec![DataType::Utf8View, DataType::Int64]),
        ("select 1 from lineitem where l_discount between $1 and $2", vec![types::decimal(15, 2); 2]),
        ("select 1 from orders where o_orderkey in ($1, $2)", vec![DataType::Int64; 2]),
        ("select 1 from orders where o_comment like $1", vec![DataType::Utf8View]),
        ("select $1::date", vec![DataType::Date32]),
        ("select $1 + 1", vec![DataType::Int32]),
        ("select not $1", vec![DataType::Boolean]),
        ("select x from a limit $1 offset $2", vec![DataType::Int64; 2]),
        ("select substring(z, $1, $2) from a", vec![DataType::Int32; 2]),
        ("select coalesce(x, $1) from b", vec![DataType::Int64]),
        ("select case when $1 then $2 else 1.5 end", vec![DataType::Boolean, types::decimal(2, 1)]),
        ("select $1 union all select x from b", vec![DataType::Int64]),
        ("select 1 from b where x in (select $1)", vec![DataType::Int64]),
        ("select $3", vec![DataType::Utf8View; 3]),
        ("select o_orderdate + $1::int from orders", vec![DataType::Int32]),
    ];
    for (text, expected) in cases {
        assert_eq!(inferred(text), expected, "{text}");
    }
}

#[test]
fn given_types_stay() {
    let given = [Some(DataType::Int64), None];
    let bound = bind_with("select $1 = 1, $2 = $1", Parameters::Types(&given), &[]).expect("bound");
    assert_eq!(bound.parameter_types, [DataType::Int64, DataType::Int64]);
    let given = [Some(DataType::Utf8View)];
    let error = bind_with("select $1 = 1", Parameters::Types(&given), &[]).expect_err("text = integer");
    assert_eq!((error.sqlstate.0, error.message.as_str()), ("42883", "operator does not exist: text = integer"));
}

#[test]
fn values_have_the_types_that_were_announced() {
    let text = "select $1 * d as p, $1 as q from all_types where d > $1 limit $2";
    let announced = bind_with(text, Parameters::Types(&[]), &[]).expect("bound");
    let values = [Scalar::Decimal(150, 15, 2), Scalar::Int64(3)];
    let bound = bind_with(text, Parameters::Values(&values), &[]).expect("bound");
    let types = |bound: &crate::sql::binder::Bound| -> Vec<DataType> {
        bound.query.output.iter().map(|o| bound.query.columns.get(o.column).data_type.clone()).collect()
    };
    assert_eq!(types(&announced), types(&bound));
    let plan = crate::plan::display::query(&bound.query);
    assert!(plan.contains("1.50") && plan.contains("Limit 3"), "{plan}");
    let error = bind_with("select $1, $2", Parameters::Values(&[Scalar::Int32(1)]), &[]).expect_err("one value");
    assert_eq!((error.sqlstate.0, error.position), ("42P02", Some(12)));
}
