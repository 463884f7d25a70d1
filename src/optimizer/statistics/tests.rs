//! Estimates against what is known of TPC-H at scale 10.

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Arithmetic, Comparison, ScalarFunction},
};

use super::{
    super::testing::{Plans, date, joined, money, tpch_sf10},
    *,
};

fn rows(plans: &Plans, plan: &LogicalPlan) -> f64 {
    let catalogs = tpch_sf10();
    Estimator::new(&catalogs, &plans.query(plan.clone())).estimate(plan).unwrap().rows
}

/// Whether `estimated` is within `factor` of `actual`.
fn assert_within(what: &str, estimated: f64, actual: f64, factor: f64) {
    assert!(estimated <= actual * factor && estimated >= actual / factor, "{what}: {estimated} instead of {actual}");
}

#[test]
fn filters_of_scans() {
    use Comparison::*;
    type Filters = Box<dyn Fn(&Plans) -> Vec<Expr>>;
    let cases: Vec<(&str, &str, Filters, f64, f64)> = vec![
        (
            "query 1",
            "lineitem",
            Box::new(|p| vec![p.compare("l_shipdate", LessOrEqual, Scalar::Date32(date(1998, 9, 2)))]),
            59_142_609.0,
            1.05,
        ),
        (
            "query 6",
            "lineitem",
            Box::new(|p| {
                let mut filters = p.between("l_shipdate", date(1994, 1, 1), date(1995, 1, 1)).to_vec();
                filters.push(p.compare("l_discount", GreaterOrEqual, money(5)));
                filters.push(p.compare("l_discount", LessOrEqual, money(7)));
                filters.push(p.compare("l_quantity", Less, money(2400)));
                filters
            }),
            1_139_264.0,
            1.3,
        ),
        (
            "a quarter of orders",
            "orders",
            Box::new(|p| p.between("o_orderdate", date(1993, 7, 1), date(1993, 10, 1)).to_vec()),
            573_671.0,
            1.1,
        ),
        ("a segment", "customer", Box::new(|p| vec![p.is_text("c_mktsegment", "BUILDING")]), 300_276.0, 1.05),
        ("one key", "orders", Box::new(|p| vec![p.compare("o_orderkey", Equal, Scalar::Int64(7))]), 1.0, 1.01),
        ("a key beyond all", "orders", Box::new(|p| vec![p.compare("o_orderkey", Equal, Scalar::Int64(70_000_000))]), 1.0, 1.01),
        (
            "some sizes",
            "part",
            Box::new(|p| {
                let list = [49, 14, 23, 45, 19, 3, 36, 9].map(Scalar::Int32).to_vec();
                vec![Expr::InList { operand: Box::new(p.column("p_size")), list }]
            }),
            320_000.0,
            1.05,
        ),
        ("not a brand", "part", Box::new(|p| vec![p.compare("p_brand", NotEqual, Scalar::Utf8("Brand#45".into()))]), 1_920_000.0, 1.01),
        (
            "either of two brands",
            "part",
            Box::new(|p| vec![Expr::or(vec![p.is_text("p_brand", "Brand#12"), p.is_text("p_brand", "Brand#23")])]),
            160_000.0,
            1.01,
        ),
        ("what a sample measures", "part", Box::new(|p| vec![p.like("p_name", "%green%")]), 109_400.0, 1.01),
        ("nothing", "part", Box::new(|p| vec![p.is_text("p_brand", "Brand#12"), p.is_text("p_brand", "Brand#13")]), 1.0, 1.01),
    ];
    for (what, table, filters, actual, factor) in cases {
        let mut plans = Plans::default();
        let plan = plans.scan_where(table, table, |plans| filters(plans));
        assert_within(what, rows(&plans, &plan), actual, factor);
    }
}

#[test]
fn the_year_of_a_date_is_a_function_of_few_values() {
    let mut plans = Plans::default();
    let scan = plans.scan("orders", "orders");
    let year = Expr::Function(
        ScalarFunction::Extract,
        vec![Expr::Literal(Scalar::Utf8("year".into())), plans.column("o_orderdate")],
        DataType::Int64,
    );
    let id = plans.add("o_year", DataType::Int64);
    let plan = scan.projected(vec![(id, year)]);
    let catalogs = tpch_sf10();
    let estimate = Estimator::new(&catalogs, &plans.query(plan.clone())).estimate(&plan).unwrap().column(id);
    assert_eq!((estimate.min, estimate.max), (Some(Scalar::Int64(1992)), Some(Scalar::Int64(1998))));
    assert_eq!(estimate.distinct, 7.0);
}

#[test]
fn foreign_key_joins_keep_the_share_that_the_key_side_keeps() {
    let mut plans = Plans::default();
    let lineitem = plans.scan("lineitem", "lineitem");
    let part = plans.scan_where("part", "part", |p| vec![p.is_text("p_brand", "Brand#23"), p.is_text("p_container", "MED BOX")]);
    let plan = joined(vec![lineitem, part], vec![plans.equal("l_partkey", "p_partkey")]);
    assert_within("query 17", rows(&plans, &plan), 59_986_052.0 / 1000.0, 1.05);
}

#[test]
fn composite_keys_are_not_multiplied() {
    let mut plans = Plans::default();
    let relations = ["part", "partsupp", "lineitem", "supplier"].map(|table| plans.scan(table, table)).to_vec();
    let conjuncts = vec![
        plans.equal("p_partkey", "l_partkey"),
        plans.equal("ps_partkey", "l_partkey"),
        plans.equal("s_suppkey", "l_suppkey"),
        plans.equal("ps_suppkey", "l_suppkey"),
    ];
    let plan = joined(relations.clone(), conjuncts.clone());
    assert_within("all lines", rows(&plans, &plan), 59_986_052.0, 1.05);
    // Another order of the same joins has the same estimate.
    let reversed = joined(relations.into_iter().rev().collect(), conjuncts.into_iter().rev().collect());
    assert_within("in any order", rows(&plans, &reversed), rows(&plans, &plan), 1.000_001);
}

#[test]
fn a_class_of_equal_columns_counts_once() {
    // Query 5: the nation of the supplier is that of the customer.
    let mut plans = Plans::default();
    let relations = ["customer", "supplier", "nation"].map(|table| plans.scan(table, table)).to_vec();
    let conjuncts = vec![
        plans.equal("c_nationkey", "s_nationkey"),
        plans.equal("s_nationkey", "n_nationkey"),
        plans.equal("c_nationkey", "n_nationkey"),
    ];
    assert_within("pairs of a nation", rows(&plans, &joined(relations, conjuncts)), 1.5e6 * 1e5 / 25.0, 1.01);
}

#[test]
fn joins_of_other_kinds() {
    let mut plans = Plans::default();
    let customer = plans.scan("customer", "customer");
    let orders = plans.scan("orders", "orders");
    let on = vec![plans.equal("c_custkey", "o_custkey")];
    for (kind, actual) in [
        (JoinKind::Semi, 999_982.0),
        (JoinKind::Anti, 500_018.0),
        (JoinKind::Left, 15_500_018.0),
        (JoinKind::Full, 15_500_018.0),
        (JoinKind::Right, 15_000_000.0),
        (JoinKind::Mark(ColumnId(0)), 1_500_000.0),
    ] {
        let plan = customer.clone().joined(kind, orders.clone(), on.clone());
        assert_within(&format!("{kind:?}"), rows(&plans, &plan), actual, 1.05);
    }
}

#[test]
fn groups_are_bounded_by_values_rows_and_keys() {
    let mut plans = Plans::default();
    let count = |plans: &mut Plans, table: &str, keys: &[&str]| {
        let scan = plans.scan(table, table);
        let argument = plans.column(keys[0]);
        let plan = plans.aggregate(scan, keys, "n", AggregateFunction::Count, argument, DataType::Int64);
        rows(plans, &plan)
    };
    assert_within("flags", count(&mut plans, "lineitem", &["l_returnflag", "l_linestatus"]), 6.0, 1.01);
    assert_within("orders", count(&mut plans, "lineitem", &["l_orderkey"]), 15e6, 1.05);
    assert_within("a key and what it determines", count(&mut plans, "customer", &["c_custkey", "c_name", "c_acctbal"]), 1.5e6, 1.01);
}

#[test]
fn having_on_a_sum_is_the_tail_of_a_distribution() {
    // Query 18: 624 of 15 million orders have more than 300 pieces.
    let mut plans = Plans::default();
    let scan = plans.scan("lineitem", "lineitem");
    let quantity = plans.column("l_quantity");
    let groups = plans.aggregate(scan, &["l_orderkey"], "quantity", AggregateFunction::Sum, quantity, DataType::Decimal128(38, 2));
    let having = plans.compare("quantity", Comparison::Greater, Scalar::Decimal(30_000, 38, 2));
    let estimated = rows(&plans, &groups.filtered(vec![having]));
    assert!(estimated < 15_000.0, "{estimated}");
}

#[test]
fn bounds_of_computations_hold() {
    let mut plans = Plans::default();
    let scan = plans.scan("lineitem", "lineitem");
    let one = Expr::Literal(Scalar::Decimal(100, 3, 2));
    let arithmetic = |operator, left: Expr, right: Expr, precision: u8, scale: i8| {
        Expr::Arithmetic(operator, Box::new(left), Box::new(right), operators::types::decimal(precision, scale))
    };
    let net = arithmetic(Arithmetic::Subtract, one.clone(), plans.column("l_discount"), 16, 2);
    let revenue = arithmetic(Arithmetic::Multiply, plans.column("l_extendedprice"), net.clone(), 31, 4);
    let quotient = arithmetic(Arithmetic::Divide, plans.column("l_quantity"), net.clone(), 38, 4);
    let unbounded = arithmetic(Arithmetic::Divide, plans.column("l_quantity"), plans.column("l_discount"), 38, 4);
    let catalogs = tpch_sf10();
    let mut estimator = Estimator::new(&catalogs, &plans.query(scan.clone()));
    let input = estimator.estimate(&scan).unwrap();
    let bounds = |expr: &Expr| {
        let estimate = estimator.expression(expr, &input);
        match (estimate.min, estimate.max) {
            (Some(Scalar::Decimal(min, ..)), Some(Scalar::Decimal(max, ..))) => Some((min, max)),
            (None, None) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bounds(&net), Some((90, 100)));
    // 900.91 * 0.90 and 104949.50 * 1.00, at four digits.
    assert_eq!(bounds(&revenue), Some((8_108_190, 1_049_495_000)));
    // 1.00 / 1.00 and 50.00 / 0.90 = 55.5556, one unit of rounding added.
    assert_eq!(bounds(&quotient), Some((9_999, 555_556)));
    assert_eq!(bounds(&unbounded), None);
    let case = Expr::Case {
        branches: vec![(plans.is_text("l_returnflag", "R"), revenue)],
        otherwise: Some(Box::new(Expr::Literal(Scalar::Decimal(0, 31, 4)))),
        data_type: DataType::Decimal128(31, 4),
    };
    assert_eq!(bounds(&case), Some((0, 1_049_495_000)));
    assert_eq!(bounds(&Expr::Negate(Box::new(plans.column("l_tax")))), Some((-8, 0)));
}
