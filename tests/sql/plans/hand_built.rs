//! Subqueries over two small tables, built without SQL: the plan must be free of them afterwards and give the
//! same rows.

use std::sync::Arc;

use arneb::{
    catalog::Catalogs,
    optimizer::{OptimizerContext, optimize},
    plan::{display, logical::*},
};
use arrow::datatypes::{DataType, Field, Schema};
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Arithmetic, Comparison},
};

use crate::oracle::{
    naive::{Tables, evaluate},
    tables::{TestTable, TestTables},
};

fn table_name(table: &str) -> TableName {
    TableName { catalog: "memory".into(), schema: "public".into(), table: table.into() }
}

/// Tables `l` and `r` with the columns `k` and `v`: duplicates, NULLs, keys that only one side has.
fn tables() -> Tables {
    let row = |(k, v): &(Option<i32>, Option<i32>)| {
        let value = |v: &Option<i32>| v.map_or(Scalar::Null(DataType::Int32), Scalar::Int32);
        vec![value(k), value(v)]
    };
    let l = [(Some(1), Some(1)), (Some(1), Some(1)), (Some(2), None), (Some(3), Some(5)), (None, Some(1)), (Some(4), Some(2))];
    let r =
        [(Some(1), Some(1)), (Some(1), Some(2)), (Some(2), Some(7)), (Some(2), None), (None, Some(3)), (Some(5), Some(5)), (Some(4), None)];
    Tables::from([(table_name("l"), l.iter().map(row).collect()), (table_name("r"), r.iter().map(row).collect())])
}

struct Builder {
    columns: Columns,
}

impl Builder {
    fn scan(&mut self, table: &str) -> (LogicalPlan, Expr, Expr) {
        let k = self.columns.add(format!("{table}.k"), DataType::Int32, true);
        let v = self.columns.add(format!("{table}.v"), DataType::Int32, true);
        let scan =
            TableScan { table: table_name(table), alias: table.into(), columns: vec![(k, 0), (v, 1)], filters: vec![], output: None };
        (LogicalPlan::TableScan(scan), Expr::Column(k), Expr::Column(v))
    }

    fn aggregate(&mut self, input: LogicalPlan, function: AggregateFunction, argument: Option<Expr>) -> (LogicalPlan, ColumnId) {
        let id = self.columns.add("a", DataType::Int64, true);
        let call = AggregateExpr { function, arguments: argument.into_iter().collect(), distinct: false, filter: None };
        (LogicalPlan::Aggregate(Aggregate { input: Box::new(input), keys: vec![], aggregates: vec![(id, call)] }), id)
    }
}

fn subquery(kind: SubqueryKind, plan: LogicalPlan, output: Vec<ColumnId>) -> Expr {
    Expr::Subquery(Box::new(Subquery { kind, plan, output }))
}

fn filter(plan: LogicalPlan, conjunct: Expr) -> LogicalPlan {
    plan.filtered(vec![conjunct])
}

/// Optimizes `root`, checks that no subquery is left and that the rows of `output` are the same; gives the text.
fn check(columns: Columns, root: LogicalPlan, output: &[&Expr]) -> String {
    let output = output.iter().map(|e| OutputColumn { name: "x".into(), column: e.as_column().expect("a column") }).collect();
    let query = Query { root, columns, output, ctes: vec![] };
    let sorted = |query: &Query| {
        let mut rows: Vec<String> = evaluate(query, &tables())
            .expect("evaluates")
            .iter()
            .map(|row| row.iter().map(crate::oracle::text).collect::<Vec<_>>().join(" "))
            .collect();
        rows.sort();
        rows
    };
    let before = sorted(&query);
    let catalogs = Catalogs::default();
    let optimized = optimize(query, &OptimizerContext { catalogs: &catalogs }, &mut |_, _| {}).expect("optimizes");
    let text = display::query(&optimized);
    assert_eq!(before, sorted(&optimized), "{text}");
    assert!(!text.contains("ubquery") && !text.contains("Apply"), "{text}");
    text
}

#[test]
fn correlated_exists_is_a_semi_join() {
    let mut b = Builder { columns: Columns::default() };
    let (l, lk, lv) = b.scan("l");
    let (r, rk, _) = b.scan("r");
    let exists = subquery(SubqueryKind::Exists, filter(r, Expr::equal(lk.clone(), rk)), vec![]);
    let text = check(b.columns, filter(l, exists), &[&lk, &lv]);
    assert!(text.contains("Join Semi on (l.k = r.k)"), "{text}");
}

#[test]
fn exists_below_or_is_a_mark() {
    let mut b = Builder { columns: Columns::default() };
    let (l, lk, lv) = b.scan("l");
    let (r, rk, _) = b.scan("r");
    let exists = subquery(SubqueryKind::Exists, filter(r, Expr::equal(lk.clone(), rk)), vec![]);
    let either = Expr::or(vec![exists, Expr::equal(lv.clone(), Expr::Literal(Scalar::Int32(5)))]);
    check(b.columns, filter(l, either), &[&lk, &lv]);
}

#[test]
fn not_in_over_nulls_keeps_its_three_values() {
    let mut b = Builder { columns: Columns::default() };
    let (l, lk, lv) = b.scan("l");
    let (r, rk, rv) = b.scan("r");
    let kind = SubqueryKind::Any { operands: vec![lv.clone()], comparison: Comparison::Equal };
    let any = subquery(kind, filter(r, Expr::equal(lk.clone(), rk)), vec![rv.as_column().expect("a column")]);
    check(b.columns, filter(l, Expr::not(any)), &[&lk, &lv]);
}

#[test]
fn correlated_aggregate_groups_by_its_own_column() {
    let mut b = Builder { columns: Columns::default() };
    let (l, lk, lv) = b.scan("l");
    let (r, rk, rv) = b.scan("r");
    let (max, id) = b.aggregate(filter(r, Expr::equal(rk, lk.clone())), AggregateFunction::Max, Some(rv));
    let less = Expr::compare(Comparison::Less, lv.clone(), subquery(SubqueryKind::Scalar, max, vec![id]));
    let text = check(b.columns, filter(l, less), &[&lk, &lv]);
    assert!(text.contains("Join Inner") && text.contains("by r.k") && text.matches("Scan l").count() == 1, "{text}");
}

#[test]
fn count_of_no_row_is_zero() {
    let mut b = Builder { columns: Columns::default() };
    let (l, lk, lv) = b.scan("l");
    let (r, rk, rv) = b.scan("r");
    let (count, id) = b.aggregate(filter(r, Expr::equal(rk, lk.clone())), AggregateFunction::Count, Some(rv));
    let more = b.columns.add("more", DataType::Int64, true);
    let one = Expr::Literal(Scalar::Int64(1));
    let count =
        count.projected(vec![(more, Expr::Arithmetic(Arithmetic::Add, Box::new(Expr::Column(id)), Box::new(one), DataType::Int64))]);
    let shown = b.columns.add("shown", DataType::Int64, true);
    let project = l.extended(vec![(shown, subquery(SubqueryKind::Scalar, count, vec![more]))]);
    check(b.columns, project, &[&lk, &lv, &Expr::Column(shown)]);
}

#[test]
fn inequality_below_an_aggregate_needs_the_domain() {
    let mut b = Builder { columns: Columns::default() };
    let (l, lk, lv) = b.scan("l");
    let (r, rk, rv) = b.scan("r");
    let below = filter(r, Expr::compare(Comparison::Less, rk, lk.clone()));
    let (count, id) = b.aggregate(below, AggregateFunction::Count, Some(rv));
    let shown = b.columns.add("shown", DataType::Int64, true);
    let project = l.extended(vec![(shown, subquery(SubqueryKind::Scalar, count, vec![id]))]);
    check(b.columns, project, &[&lk, &lv, &Expr::Column(shown)]);
}

#[test]
fn deep_and_long_plans_are_optimized() {
    let catalogs = TestTables([("t".to_owned(), one_column())].into()).catalogs();
    let sum = format!("select x{} from t", " + 1".repeat(250));
    let nested = format!("select x from t where {}x > 1{}", "x in (select x from t where ".repeat(20), ")".repeat(20));
    let long: String = (0..20_000).map(|i| format!(" or x = {i} or x < {i} - 5")).collect();
    let long = format!("select x from t where x > 1{long}");
    for sql in [sum, nested, long] {
        let query = super::bound(&sql, &catalogs).expect("binds");
        optimize(query, &OptimizerContext { catalogs: &catalogs }, &mut |_, _| {}).expect("optimizes");
    }
}

fn one_column() -> TestTable {
    let schema = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
    TestTable { schema: Arc::new(schema), rows: vec![], claimed_rows: 10 }
}
