//! The queries the engine is measured by.

use super::catalog::query;

/// Every query is bound, without anything in it that the dialect's other statements would need.
#[test]
fn all_queries_bind() {
    for (number, text) in tpch::queries() {
        let query = query(text);
        assert!(!query.output.is_empty(), "Q{number}");
    }
}
