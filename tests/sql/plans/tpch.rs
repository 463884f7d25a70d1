//! The rewritten plans of the 22 TPC-H queries, before joins are ordered.

use crate::oracle::tables::{TestTable, TestTables};

fn tables() -> TestTables {
    let table = |table: tpch::Table| {
        let content = TestTable { schema: table.schema(), rows: vec![], claimed_rows: table.row_count(1.0) };
        (table.name().to_owned(), content)
    };
    TestTables(tpch::Table::ALL.into_iter().map(table).collect())
}

#[test]
fn queries_are_rewritten() {
    let catalogs = tables().catalogs();
    for (number, text) in tpch::queries() {
        insta::assert_snapshot!(format!("q{number:02}"), super::rewritten(text, &catalogs));
    }
}
