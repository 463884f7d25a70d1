//! The plans of the 22 queries at scale 10, as all rules together make them.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::DataType;
use operators::expression::Comparison;

use super::{
    OptimizerContext, optimize,
    testing::{shape, tpch_sf10},
};
use crate::{
    catalog::Catalogs,
    plan::logical::{ColumnId, Expr, LogicalPlan, Query},
    sql::{
        binder::{BindContext, Parameters, bind},
        parser,
        statement::StatementKind,
    },
};

/// Binds and optimizes a query over the catalog.
pub(crate) fn optimized(catalogs: &Catalogs, text: &str) -> Query {
    let search_path = ["sf10".to_owned()];
    let views = HashMap::new();
    let context = BindContext { catalogs, default_catalog: "tpch", search_path: &search_path, views: &views, now_us: 0, user: "test" };
    let statement = parser::parse(text).expect("parses").swap_remove(0);
    let StatementKind::Query(query) = &statement.kind else { panic!("a query") };
    let bound = bind(query, &statement.text, Parameters::Types(&[]), &context).expect("binds");
    optimize(bound.query, &OptimizerContext { catalogs }, &mut |_, _| {}).expect("optimizes")
}

/// CTEs, then the query.
fn shapes(query: &Query) -> String {
    let ctes = query.ctes.iter().map(|cte| format!("with {} ", shape(&cte.plan)));
    ctes.chain([shape(&query.root)]).collect()
}

#[test]
fn join_orders() {
    let catalogs = tpch_sf10();
    let shapes = tpch::queries().map(|(number, text)| format!("Q{number:<2} {}", shapes(&optimized(&catalogs, text))));
    insta::assert_snapshot!(shapes.collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_condition_is_applied_twice() {
    fn check(plan: &LogicalPlan, text: &str) {
        if let LogicalPlan::Join(join) = plan {
            let keys: Vec<_> = join.condition.iter().filter_map(sides).collect();
            let distinct: BTreeSet<_> = keys.iter().collect();
            assert_eq!(keys.len(), distinct.len(), "{:?} in {text}", join.condition);
        }
        plan.inputs().into_iter().for_each(|input| check(input, text));
    }
    fn sides(conjunct: &Expr) -> Option<BTreeSet<ColumnId>> {
        let Expr::Compare(Comparison::Equal, left, right) = conjunct else { return None };
        Some(BTreeSet::from([left.as_column()?, right.as_column()?]))
    }
    let catalogs = tpch_sf10();
    tpch::queries().for_each(|(_, text)| check(&optimized(&catalogs, text).root, text));
}

#[test]
fn products_of_prices_and_rates_are_64_bits_wide() {
    fn widest(plan: &LogicalPlan, query: &Query) -> usize {
        let mut wide = 0;
        if let LogicalPlan::Aggregate(aggregate) = plan {
            let arguments = aggregate.aggregates.iter().flat_map(|(_, call)| &call.arguments);
            wide += arguments.filter(|argument| matches!(argument.data_type(&query.columns), DataType::Decimal128(..))).count();
        }
        wide + plan.inputs().into_iter().map(|input| widest(input, query)).sum::<usize>()
    }
    let catalogs = tpch_sf10();
    for number in [1, 3, 5, 6, 7, 8, 9, 10, 14, 19] {
        let query = optimized(&catalogs, tpch::query(number).expect("a query"));
        assert_eq!(widest(&query.root, &query), 0, "query {number}");
    }
}
