//! Plans before and after the optimizer: that they mean the same, and that they look as they should.

mod hand_built;
pub mod random;
mod topics;
mod tpch;

use std::collections::HashMap;

use arneb::{
    catalog::Catalogs,
    optimizer::{OptimizerContext, rules},
    plan::{display, logical::Query},
    sql::{
        binder::{BindContext, Parameters, bind},
        parser::parse,
        statement::StatementKind,
    },
};

use crate::oracle::tables::{CATALOG, SCHEMA};

/// Rules that choose between plans: what they choose is tested beside them, and not for these texts to fix.
const CHOOSING_RULES: [&str; 4] = ["aggregate_before_outer_join", "narrow_decimals", "order_joins", "share_subplans"];

/// The bound plan of a query.
pub fn bound(text: &str, catalogs: &Catalogs) -> arneb::Result<Query> {
    let search_path = [SCHEMA.to_owned()];
    let views = HashMap::new();
    let context = BindContext { catalogs, default_catalog: CATALOG, search_path: &search_path, views: &views, now_us: 0, user: "ada" };
    let statement = parse(text)?.swap_remove(0);
    match &statement.kind {
        StatementKind::Query(query) => Ok(bind(query, &statement.text, Parameters::Values(&[]), &context)?.query),
        other => panic!("{other:?} is no query"),
    }
}

/// The text of the plan after the rules that need no statistics.
fn rewritten(text: &str, catalogs: &Catalogs) -> String {
    let mut query = bound(text, catalogs).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for rule in rules().iter().filter(|rule| !CHOOSING_RULES.contains(&rule.name())) {
        query = rule.apply(query, &OptimizerContext { catalogs }).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    display::query(&query)
}
