//! Too much memory, too much SQL: a clear error, and the server lives on.

use crate::client::{Connected, Server, state, text};

/// The first value of an answer, or the SQLSTATE of an error of the server.
async fn outcome(client: &Connected, sql: &str) -> Result<String, String> {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let value = messages.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            Ok(value.unwrap_or_default())
        }
        Err(error) => Err(state(&error).to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_its_memory_fails_alone() {
    let server = Server::with_query_memory(1 << 20).await;
    let client = server.connect().await;
    let hungry = [
        "SELECT l_comment, count(*) FROM tpch.tiny.lineitem GROUP BY l_comment",
        "SELECT l_comment FROM tpch.tiny.lineitem ORDER BY l_comment, l_orderkey",
        "SELECT count(*) FROM tpch.tiny.lineitem a JOIN tpch.tiny.lineitem b ON a.l_comment = b.l_comment",
        "SELECT count(DISTINCT l_comment) FROM tpch.tiny.lineitem",
        "SELECT l_comment FROM tpch.tiny.lineitem INTERSECT SELECT o_comment || l_comment FROM tpch.tiny.orders JOIN tpch.tiny.lineitem ON l_orderkey = o_orderkey",
    ];
    for sql in hungry {
        assert_eq!(outcome(&client, sql).await, Err("53200".to_owned()), "{sql}");
        server.memory_comes_back().await;
        assert_eq!(text(&client, "SELECT count(*) FROM tpch.tiny.lineitem").await, "60175", "after {sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deeply_nested_sql_is_refused_or_answered() {
    let server = Server::start().await;
    let client = server.connect().await;
    let depth = 10_000;
    let nested = |open: &str, inner: &str, close: &str| format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth));
    let texts = [
        nested("(", "1", ")"),
        nested("(SELECT ", "1", ")"),
        nested("NOT ", "true", ""),
        nested("- ", "1", ""),
        nested("abs(", "1", ")"),
        nested("CASE WHEN true THEN ", "1", " END"),
        nested("1 + ", "1", ""),
        nested("'a' || ", "'b'", ""),
        format!("SELECT * FROM {}l{}", "(SELECT * FROM ".repeat(depth), ") x".repeat(depth)),
        format!("SELECT 1 WHERE {}", vec!["1 = 1"; depth].join(" AND ")),
        format!("SELECT 1 WHERE {}", vec!["1 = 2"; depth].join(" OR ")),
        vec!["SELECT 1"; depth].join(" UNION ALL "),
        format!("SELECT count(*) FROM {}", vec!["empty"; 200].join(" CROSS JOIN ")),
        "(".repeat(depth),
        "SELECT ".repeat(depth),
        "/*".repeat(depth),
    ];
    for sql in texts {
        if let Err(code) = outcome(&client, &sql).await {
            // Too complex, not supported, a syntax error: the author's to mend, never ours.
            assert!(["54001", "0A000", "42601", "42712"].contains(&code.as_str()), "{code}: {}", &sql[..60]);
        }
        assert_eq!(text(&client, "SELECT 1").await, "1", "after {}", &sql[..60]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_sql_is_answered() {
    let server = Server::start().await;
    let client = server.connect().await;
    let literal = "x".repeat(1 << 20);
    assert_eq!(text(&client, &format!("SELECT length('{literal}')")).await, "1048576");
    let list: Vec<String> = (1..=100_000).map(|n| n.to_string()).collect();
    let list = list.join(", ");
    assert_eq!(text(&client, &format!("SELECT count(*) FROM r WHERE k IN ({list})")).await, "4");
    assert_eq!(text(&client, &format!("SELECT count(*) FROM l WHERE k NOT IN ({list})")).await, "0");
    let columns: Vec<String> = (0..1_000).map(|n| format!("k + {n}")).collect();
    let row = client.simple_query(&format!("SELECT {} FROM r WHERE k = 3", columns.join(", "))).await.unwrap();
    let is_last = |message: &tokio_postgres::SimpleQueryMessage| matches!(message, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(999) == Some("1002"));
    assert!(row.iter().any(is_last));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_would_fill_the_memory_is_refused() {
    let server = Server::start().await;
    let client = server.connect().await;
    for sql in ["SELECT repeat('x', 2147483647)", "SELECT lpad('x', 2147483647)", "SELECT length(repeat(repeat('x', 1000000), 1000000))"] {
        let code = outcome(&client, sql).await.unwrap_err();
        assert!(["22023", "53200", "54000"].contains(&code.as_str()), "{code}: {sql}");
    }
    assert_eq!(text(&client, "SELECT 1").await, "1");
}
