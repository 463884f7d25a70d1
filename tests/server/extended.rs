//! The extended protocol: prepared statements, parameters, portals.

use tokio_postgres::types::Type;

use crate::client::{Raw, Server, state};

#[tokio::test(flavor = "multi_thread")]
async fn types_of_parameters_are_inferred() {
    let server = Server::start().await;
    let client = server.connect().await;
    let cases: &[(&str, &[Type])] = &[
        ("SELECT * FROM r WHERE k = $1", &[Type::INT4]),
        ("SELECT * FROM r WHERE w > $1 AND k < $2", &[Type::INT8, Type::INT4]),
        ("SELECT * FROM l WHERE v = $1 OR v LIKE $2", &[Type::TEXT, Type::TEXT]),
        ("SELECT * FROM types WHERE f < $1", &[Type::FLOAT8]),
        ("SELECT * FROM types WHERE d = $1", &[Type::NUMERIC]),
        ("SELECT * FROM types WHERE day >= $1 AND at < $2", &[Type::DATE, Type::TIMESTAMP]),
        ("SELECT * FROM types WHERE flag = $1", &[Type::BOOL]),
        ("SELECT $1::date, $2::bigint", &[Type::DATE, Type::INT8]),
        ("SELECT k FROM l LIMIT $1", &[Type::INT8]),
        ("SELECT $1 + 1", &[Type::INT4]),
        ("SELECT $1", &[Type::TEXT]),
        ("SELECT k IN ($1, $2) FROM l", &[Type::INT4, Type::INT4]),
        ("SELECT coalesce(k, $1) FROM l", &[Type::INT4]),
        ("SELECT CASE WHEN $1 THEN 1 END", &[Type::BOOL]),
        ("SELECT upper($1)", &[Type::TEXT]),
    ];
    for (sql, types) in cases {
        let statement = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(statement.params(), *types, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_prepared_once_and_run_often() {
    let server = Server::start().await;
    let client = server.connect().await;
    let statement = client.prepare("SELECT w FROM r WHERE k = $1 ORDER BY w").await.unwrap();
    let names: Vec<_> = statement.columns().iter().map(|c| (c.name(), c.type_().clone())).collect();
    assert_eq!(names, [("w", Type::INT8)]);
    for (key, expected) in [(2, vec![20i64, 21]), (3, vec![30]), (99, vec![])] {
        let rows = client.query(&statement, &[&key]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), expected, "{key}");
    }
    // No row has a key that equals NULL.
    assert!(client.query(&statement, &[&None::<i32>]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_every_type_arrive() {
    let server = Server::start().await;
    let client = server.connect().await;
    let id = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>();
    let query = |column: &str| format!("SELECT id FROM types WHERE {column} = $1");
    assert_eq!(id(client.query(&query("i"), &[&-7i32]).await.unwrap()), [2]);
    assert_eq!(id(client.query(&query("b"), &[&i64::MIN]).await.unwrap()), [6]);
    assert_eq!(id(client.query(&query("f"), &[&-2.25f64]).await.unwrap()), [2]);
    assert_eq!(id(client.query(&query("s"), &[&"äöü %_"]).await.unwrap()), [5]);
    assert_eq!(id(client.query("SELECT id FROM types WHERE flag = $1 ORDER BY id", &[&true]).await.unwrap()), [1, 4]);
    // Days since 2000-01-01: the 29th of February of that year.
    assert_eq!(id(client.query(&query("day"), &[&Raw(59i32.to_be_bytes().to_vec())]).await.unwrap()), [5]);
    // Microseconds before 2000-01-01.
    assert_eq!(id(client.query(&query("at"), &[&Raw((-1i64).to_be_bytes().to_vec())]).await.unwrap()), [4]);
    // -9.99: two groups of four digits, weight 0, negative, scale 2.
    let words: [u16; 6] = [2, 0, 0x4000, 2, 9, 9900];
    assert_eq!(id(client.query(&query("d"), &[&Raw(words.iter().flat_map(|w| w.to_be_bytes()).collect())]).await.unwrap()), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_types_are_kept() {
    let server = Server::start().await;
    let client = server.connect().await;
    let statement = client.prepare_typed("SELECT $1", &[Type::INT8]).await.unwrap();
    assert_eq!(statement.params(), [Type::INT8]);
    assert_eq!(client.query_one(&statement, &[&7i64]).await.unwrap().get::<_, i64>(0), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes_of_a_parameter_are_an_error() {
    let server = Server::start().await;
    let client = server.connect().await;
    let error = client.query("SELECT id FROM types WHERE i = $1", &[&Raw(vec![1, 2, 3])]).await.unwrap_err();
    assert_eq!(state(&error), "22P03");
    let error = client.query("SELECT id FROM types WHERE s = $1", &[&Raw(vec![0xff, 0xfe])]).await.unwrap_err();
    assert_eq!(state(&error), "22021");
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_gives_its_rows_in_pieces() {
    let server = Server::start().await;
    let mut connected = server.connect().await;
    let transaction = connected.client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT l_orderkey FROM tpch.tiny.lineitem ORDER BY l_orderkey, l_linenumber", &[]).await.unwrap();
    let mut keys: Vec<i64> = vec![];
    loop {
        let piece = transaction.query_portal(&portal, 10_000).await.unwrap();
        keys.extend(piece.iter().map(|row| row.get::<_, i64>(0)));
        if piece.len() < 10_000 {
            break;
        }
    }
    assert_eq!(keys.len(), 60_175);
    assert!(keys.is_sorted());
    transaction.commit().await.unwrap();
    server.memory_comes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_take_turns() {
    let server = Server::start().await;
    let mut connected = server.connect().await;
    let transaction = connected.client.transaction().await.unwrap();
    let first = transaction.bind("SELECT id FROM types ORDER BY id", &[]).await.unwrap();
    let second = transaction.bind("SELECT id FROM types ORDER BY id DESC", &[]).await.unwrap();
    let mut told = vec![];
    for portal in [&first, &second, &first, &second] {
        told.extend(transaction.query_portal(portal, 2).await.unwrap().iter().map(|row| row.get::<_, i32>(0)));
    }
    assert_eq!(told, [1, 2, 6, 5, 3, 4, 4, 3]);
    transaction.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_left_behind_gives_its_memory_back() {
    let server = Server::start().await;
    let mut connected = server.connect().await;
    let transaction = connected.client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT l_comment FROM tpch.tiny.lineitem ORDER BY l_comment", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 5).await.unwrap().len(), 5);
    drop(portal);
    transaction.commit().await.unwrap();
    drop(connected);
    server.memory_comes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_only_can_be_prepared() {
    let server = Server::start().await;
    let client = server.connect().await;
    assert_eq!(state(&client.prepare("SELECT 1; SELECT 2").await.unwrap_err()), "42601");
    assert_eq!(state(&client.prepare("SELECT nothere FROM l").await.unwrap_err()), "42703");
    // After an error the connection goes on.
    assert_eq!(client.query_one("SELECT 2", &[]).await.unwrap().get::<_, i32>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_have_no_rows() {
    let server = Server::start().await;
    let client = server.connect().await;
    assert_eq!(client.execute("SET application_name = 'y'", &[]).await.unwrap(), 0);
    assert_eq!(client.execute("SELECT * FROM l", &[]).await.unwrap(), 7);
    assert!(client.query("", &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_queries_are_answered_in_order() {
    let server = Server::start().await;
    let client = server.connect().await;
    let one = client.query_one("SELECT 1 + $1", &[&1i32]);
    let failing = client.query("SELECT 1 / (k - 1) FROM l", &[]);
    let two = client.query_one("SELECT 2 + $1", &[&1i32]);
    let (one, failing, two) = tokio::join!(one, failing, two);
    assert_eq!(one.unwrap().get::<_, i32>(0), 2);
    assert_eq!(state(&failing.unwrap_err()), "22012");
    assert_eq!(two.unwrap().get::<_, i32>(0), 3);
}
