//! Transactions: nothing is written, but clients rely on their states.

use crate::client::{Server, state, text};

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_only_the_end_of_the_transaction_is_accepted() {
    let server = Server::start().await;
    let client = server.connect().await;
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(text(&client, "SELECT 1").await, "1");
    assert_eq!(state(&client.simple_query("SELECT nothere FROM l").await.unwrap_err()), "42703");
    assert_eq!(state(&client.simple_query("SELECT 1").await.unwrap_err()), "25P02");
    assert_eq!(state(&client.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(text(&client, "SELECT 2").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_extended_protocol_and_of_rows_fail_the_transaction_too() {
    let server = Server::start().await;
    let client = server.connect().await;
    for sql in ["SELECT nothere", "SELECT 1 / (k - 1) FROM l", "SELECT 1 / 0"] {
        client.batch_execute("BEGIN").await.unwrap();
        client.query(sql, &[]).await.unwrap_err();
        assert_eq!(state(&client.simple_query("SELECT 1").await.unwrap_err()), "25P02", "{sql}");
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(text(&client, "SELECT 3").await, "3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_takes_a_failed_transaction_back() {
    let server = Server::start().await;
    let client = server.connect().await;
    client.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    client.simple_query("SELECT 1 / 0").await.unwrap_err();
    client.batch_execute("ROLLBACK TO SAVEPOINT s").await.unwrap();
    assert_eq!(text(&client, "SELECT 4").await, "4");
    client.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_a_transaction_errors_are_forgotten() {
    let server = Server::start().await;
    let client = server.connect().await;
    client.simple_query("SELECT 1 / 0").await.unwrap_err();
    assert_eq!(text(&client, "SELECT 5").await, "5");
    client.batch_execute("COMMIT; ROLLBACK").await.unwrap();
}
