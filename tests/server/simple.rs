//! The simple protocol: texts of several statements, rows as text, settings.

use tokio_postgres::SimpleQueryMessage;

use crate::client::{Server, state, text, texts};

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_of_one_message_are_answered_in_order() {
    let server = Server::start().await;
    let client = server.connect().await;
    let messages =
        client.simple_query("SELECT 1 AS a; ; SELECT k, w FROM r WHERE k = 2 ORDER BY w; SET application_name = 'x'").await.unwrap();
    let told: Vec<String> = messages
        .iter()
        .map(|message| match message {
            SimpleQueryMessage::RowDescription(columns) => columns.iter().map(|c| c.name()).collect::<Vec<_>>().join(","),
            SimpleQueryMessage::Row(row) => format!("row {}", row.get(0).unwrap()),
            SimpleQueryMessage::CommandComplete(count) => format!("done {count}"),
            _ => "other".to_owned(),
        })
        .collect();
    assert_eq!(told, ["a", "row 1", "done 1", "k,w", "row 2", "row 2", "done 2", "done 0"]);
    assert_eq!(text(&client, "SHOW application_name").await, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_error_ends_a_message() {
    let server = Server::start().await;
    let client = server.connect().await;
    let error = client.simple_query("SELECT 1; SELECT 1 / 0; SET application_name = 'after'").await.unwrap_err();
    assert_eq!(state(&error), "22012");
    assert_eq!(text(&client, "SHOW application_name").await, "");
    // A message that does not parse runs nothing at all.
    let error = client.simple_query("SET application_name = 'before'; SELEC 1").await.unwrap_err();
    assert_eq!(state(&error), "42601");
    assert_eq!(text(&client, "SHOW application_name").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_message_is_no_error() {
    let server = Server::start().await;
    let client = server.connect().await;
    for sql in ["", " ", ";", "-- a comment"] {
        assert!(texts(&client, sql).await.is_empty(), "{sql:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_have_the_text_of_postgresql() {
    let server = Server::start().await;
    let client = server.connect().await;
    let rows = texts(&client, "SELECT i, b, d, f, s, day, at, flag FROM types ORDER BY id").await;
    let expected = [
        "10|10000000000|10.50|1.5|apple|1995-01-01|1995-01-01 12:00:00|t",
        "-7|NULL|-9.99|-2.25|Banana|1970-01-01|NULL|f",
        "NULL|-1|NULL|0||NULL|1970-01-01 00:00:00|NULL",
        "0|0|0.00|NULL|NULL|1999-12-31|1999-12-31 23:59:59.999999|t",
        "2147483647|9223372036854775807|99999999.99|1e+300|äöü %_|2000-02-29|2024-02-29 12:34:56.123456|f",
        "-2147483648|-9223372036854775808|0.01|NaN|apple pie|2024-02-29|1969-12-31 23:59:59.999999|NULL",
    ];
    let joined = |row: &Vec<Option<String>>| row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|");
    assert_eq!(rows.iter().map(joined).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_many_batches_arrive_whole() {
    let server = Server::start().await;
    let client = server.connect().await;
    let rows = texts(&client, "SELECT l_orderkey, l_comment FROM tpch.tiny.lineitem").await;
    assert_eq!(rows.len(), 60_175);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_set_shown_and_reset() {
    let server = Server::start().await;
    let client = server.connect().await;
    assert_eq!(text(&client, "SHOW client_encoding").await, "UTF8");
    assert_eq!(text(&client, "SHOW standard_conforming_strings").await, "on");
    client.batch_execute("SET search_path = 'elsewhere'").await.unwrap();
    assert_eq!(text(&client, "SHOW search_path").await, "elsewhere");
    assert_eq!(state(&client.simple_query("SELECT * FROM l").await.unwrap_err()), "42P01");
    client.batch_execute("RESET search_path").await.unwrap();
    assert_eq!(texts(&client, "SELECT * FROM l").await.len(), 7);
    client.batch_execute("SET my.own = 'value'").await.unwrap();
    assert_eq!(text(&client, "SHOW my.own").await, "value");
    assert_eq!(state(&client.simple_query("SET nothere = 1").await.unwrap_err()), "42704");
    assert_eq!(state(&client.simple_query("SHOW nothere").await.unwrap_err()), "42704");
    // Settings are the session's own.
    let other = server.connect().await;
    client.batch_execute("SET application_name = 'one'").await.unwrap();
    assert_eq!(text(&other, "SHOW application_name").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_prepared_statements_are_the_session_s_own() {
    let server = Server::start().await;
    let client = server.connect().await;
    let other = server.connect().await;
    client.batch_execute("CREATE VIEW big AS SELECT w FROM r WHERE w > 30; PREPARE p AS SELECT $1 + 1").await.unwrap();
    assert_eq!(texts(&client, "SELECT * FROM big").await.len(), 2);
    assert_eq!(text(&client, "EXECUTE p(41)").await, "42");
    assert_eq!(state(&other.simple_query("SELECT * FROM big").await.unwrap_err()), "42P01");
    assert_eq!(state(&other.simple_query("EXECUTE p(41)").await.unwrap_err()), "26000");
    client.batch_execute("DEALLOCATE p").await.unwrap();
    assert_eq!(state(&client.simple_query("EXECUTE p(41)").await.unwrap_err()), "26000");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_at_the_same_time_get_their_own_answers() {
    let server = Server::start().await;
    let mut tasks = vec![];
    for number in 0..8 {
        let client = server.connect().await;
        tasks.push(tokio::spawn(async move {
            for round in 0..5 {
                let sql = format!("SELECT {number} * 100 + {round} + (SELECT count(*) FROM tpch.tiny.nation)");
                assert_eq!(text(&client, &sql).await, (number * 100 + round + 25).to_string());
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    server.memory_comes_back().await;
}
