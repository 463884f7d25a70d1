//! Join orders of TPC-H at scale 10. Probe sides stand left, build sides right.

use arrow::datatypes::DataType;
use operators::{Scalar, aggregate::AggregateFunction, expression::Comparison};

use super::super::testing::{Plans, date, joined, shape, tpch_sf10};
use super::*;
use crate::plan::logical::{Expr, JoinKind, LogicalPlan};

fn ordered(plans: &Plans, root: LogicalPlan) -> String {
    let catalogs = tpch_sf10();
    let query = OrderJoins.apply(plans.query(root), &OptimizerContext { catalogs: &catalogs }).unwrap();
    shape(&query.root)
}

#[test]
fn query_3_builds_from_the_smallest_upwards() {
    let mut p = Plans::default();
    let relations = vec![
        p.scan_where("customer", "customer", |p| vec![p.is_text("c_mktsegment", "BUILDING")]),
        p.scan_where("orders", "orders", |p| vec![p.compare("o_orderdate", Comparison::Less, Scalar::Date32(date(1995, 3, 15)))]),
        p.scan_where("lineitem", "lineitem", |p| vec![p.compare("l_shipdate", Comparison::Greater, Scalar::Date32(date(1995, 3, 15)))]),
    ];
    let conjuncts = vec![p.equal("c_custkey", "o_custkey"), p.equal("l_orderkey", "o_orderkey")];
    assert_eq!(ordered(&p, joined(relations, conjuncts)), "(lineitem (orders customer))");
}

#[test]
fn query_5_keeps_lines_on_the_probe_side() {
    let mut p = Plans::default();
    let relations = vec![
        p.scan("customer", "customer"),
        p.scan_where("orders", "orders", |p| p.between("o_orderdate", date(1994, 1, 1), date(1995, 1, 1)).to_vec()),
        p.scan("lineitem", "lineitem"),
        p.scan("supplier", "supplier"),
        p.scan("nation", "nation"),
        p.scan_where("region", "region", |p| vec![p.is_text("r_name", "ASIA")]),
    ];
    let conjuncts = vec![
        p.equal("c_custkey", "o_custkey"),
        p.equal("l_orderkey", "o_orderkey"),
        p.equal("l_suppkey", "s_suppkey"),
        p.equal("c_nationkey", "s_nationkey"),
        p.equal("s_nationkey", "n_nationkey"),
        p.equal("n_regionkey", "r_regionkey"),
    ];
    let shape = ordered(&p, joined(relations, conjuncts));
    assert_eq!(shape, "((lineitem (orders (customer (nation region)))) supplier)");
}

#[test]
fn query_9_joins_parts_to_their_suppliers_first() {
    let mut p = Plans::default();
    let relations = vec![
        p.scan_where("part", "part", |p| vec![p.like("p_name", "%green%")]),
        p.scan("supplier", "supplier"),
        p.scan("lineitem", "lineitem"),
        p.scan("partsupp", "partsupp"),
        p.scan("orders", "orders"),
        p.scan("nation", "nation"),
    ];
    let conjuncts = vec![
        p.equal("s_suppkey", "l_suppkey"),
        p.equal("ps_suppkey", "l_suppkey"),
        p.equal("ps_partkey", "l_partkey"),
        p.equal("p_partkey", "l_partkey"),
        p.equal("o_orderkey", "l_orderkey"),
        p.equal("s_nationkey", "n_nationkey"),
    ];
    let shape = ordered(&p, joined(relations, conjuncts));
    assert!(shape.contains("(lineitem (partsupp part))"), "{shape}");
}

#[test]
fn query_18_tests_orders_before_they_are_joined() {
    let mut p = Plans::default();
    let relations = vec![p.scan("customer", "customer"), p.scan("orders", "orders"), p.scan("lineitem", "lineitem")];
    let inner = p.scan("lineitem", "l2");
    let quantity = p.column("l2.l_quantity");
    let groups = p.aggregate(inner, &["l2.l_orderkey"], "total", AggregateFunction::Sum, quantity, DataType::Decimal128(38, 2));
    let large = groups.filtered(vec![p.compare("total", Comparison::Greater, Scalar::Decimal(30_000, 38, 2))]);
    let conjuncts = vec![p.equal("c_custkey", "o_custkey"), p.equal("o_orderkey", "l_orderkey")];
    let plan = joined(relations, conjuncts).joined(JoinKind::Semi, large, vec![p.equal("o_orderkey", "l2.l_orderkey")]);
    let shape = ordered(&p, plan);
    assert!(shape.contains("(orders semi g[l2])"), "{shape}");
    assert!(shape.starts_with("(lineitem "), "{shape}");
}

#[test]
fn query_21_tests_lines_after_they_are_joined() {
    let mut p = Plans::default();
    let late = |p: &Plans, alias: &str| {
        Expr::compare(Comparison::Greater, p.column(&format!("{alias}.l_receiptdate")), p.column(&format!("{alias}.l_commitdate")))
    };
    let relations = vec![
        p.scan("supplier", "supplier"),
        p.scan_where("lineitem", "l1", |p| vec![late(p, "l1")]),
        p.scan_where("orders", "orders", |p| vec![p.is_text("o_orderstatus", "F")]),
        p.scan_where("nation", "nation", |p| vec![p.is_text("n_name", "SAUDI ARABIA")]),
    ];
    let conjuncts =
        vec![p.equal("s_suppkey", "l1.l_suppkey"), p.equal("o_orderkey", "l1.l_orderkey"), p.equal("s_nationkey", "n_nationkey")];
    let other = |p: &Plans, alias: &str| {
        let supplier = Expr::compare(Comparison::NotEqual, p.column(&format!("{alias}.l_suppkey")), p.column("l1.l_suppkey"));
        vec![p.equal(&format!("{alias}.l_orderkey"), "l1.l_orderkey"), supplier]
    };
    let l2 = p.scan("lineitem", "l2");
    let l3 = p.scan_where("lineitem", "l3", |p| vec![late(p, "l3")]);
    let plan = joined(relations, conjuncts).joined(JoinKind::Semi, l2, other(&p, "l2")).joined(JoinKind::Anti, l3, other(&p, "l3"));
    let shape = ordered(&p, plan);
    assert!(shape.contains("(l1 (supplier nation))"), "{shape}");
    assert!(!shape.contains("(l1 semi") && !shape.contains("(l1 anti"), "{shape}");
}

#[test]
fn a_query_without_joins_stays_as_it_is() {
    let mut p = Plans::default();
    let scan = p.scan("region", "region");
    let query = p.query(scan.filtered(vec![p.is_text("r_name", "ASIA")]));
    let catalogs = tpch_sf10();
    assert_eq!(OrderJoins.apply(query.clone(), &OptimizerContext { catalogs: &catalogs }).unwrap(), query);
}

#[test]
fn every_condition_is_applied_once_and_where_its_columns_are() {
    let mut p = Plans::default();
    let relations = vec![p.scan("nation", "n1"), p.scan("nation", "n2"), p.scan("supplier", "supplier"), p.scan("customer", "customer")];
    let pair = |p: &Plans, a: &str, b: &str| Expr::and(vec![p.is_text("n1.n_name", a), p.is_text("n2.n_name", b)]);
    let either = Expr::or(vec![pair(&p, "FRANCE", "GERMANY"), pair(&p, "GERMANY", "FRANCE")]);
    let conjuncts = vec![
        p.equal("s_nationkey", "n1.n_nationkey"),
        p.equal("c_nationkey", "n2.n_nationkey"),
        either.clone(),
        p.is_text("c_mktsegment", "BUILDING"),
        Expr::compare(Comparison::Greater, p.column("s_acctbal"), p.column("c_acctbal")),
        Expr::Literal(Scalar::Boolean(true)),
    ];
    let catalogs = tpch_sf10();
    let query = p.query(joined(relations, conjuncts));
    let ordered = OrderJoins.apply(query, &OptimizerContext { catalogs: &catalogs }).unwrap();
    let mut found = 0;
    check(&ordered.root, &mut found);
    assert_eq!(found, 6);
    // Nor are equalities applied twice when the tree brings them.
    let again = OrderJoins.apply(ordered.clone(), &OptimizerContext { catalogs: &catalogs }).unwrap();
    let mut found = 0;
    check(&again.root, &mut found);
    assert_eq!(found, 6);
}

/// Counts conjuncts and checks that each uses only columns of its inputs.
fn check(plan: &LogicalPlan, found: &mut usize) {
    let available: std::collections::BTreeSet<_> = plan.inputs().into_iter().flat_map(|input| input.output()).collect();
    plan.for_each_expr(|expr| {
        *found += 1;
        assert!(expr.columns().is_subset(&available));
    });
    plan.inputs().into_iter().for_each(|input| check(input, found));
}

#[test]
fn left_joins_move_with_the_relation_they_pad() {
    let mut p = Plans::default();
    let orders = p.scan_where("orders", "orders", |p| p.between("o_orderdate", date(1994, 1, 1), date(1994, 1, 2)).to_vec());
    let relations = vec![p.scan("customer", "customer"), orders];
    let lineitem = p.scan("lineitem", "lineitem");
    let padded = joined(relations, vec![p.equal("c_custkey", "o_custkey")]).joined(
        JoinKind::Left,
        lineitem,
        vec![p.equal("o_orderkey", "l_orderkey")],
    );
    let is_padded = Expr::is_null(p.column("l_orderkey"));
    let catalogs = tpch_sf10();
    let query = OrderJoins.apply(p.query(padded.filtered(vec![is_padded.clone()])), &OptimizerContext { catalogs: &catalogs }).unwrap();
    // The condition on the padded side stays above the padding.
    let text = below(&query.root, &is_padded).expect("the condition is still there");
    assert!(text.contains("left lineitem"), "{text}");
}

/// The shape of the input of the filter that has `conjunct`.
fn below(plan: &LogicalPlan, conjunct: &Expr) -> Option<String> {
    match plan {
        LogicalPlan::Filter { input, predicate } if predicate.contains(conjunct) => Some(shape(input)),
        _ => plan.inputs().into_iter().find_map(|input| below(input, conjunct)),
    }
}
