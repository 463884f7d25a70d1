//! Errors as clients see them: SQLSTATE, severity, message, position.

use tokio_postgres::error::ErrorPosition;

use crate::client::Server;

#[tokio::test(flavor = "multi_thread")]
async fn errors_carry_their_state_and_place() {
    let server = Server::start().await;
    let client = server.connect().await;
    // The place is marked by | and counted in characters, not bytes.
    let cases = [
        ("SELECT |nothere FROM l", "42703"),
        ("SELECT 'äöü', |nothere FROM l", "42703"),
        ("SELECT * FROM |nothere", "42P01"),
        ("SELECT 1 FROM l, r WHERE |k = 1", "42702"),
        ("SELECT |nofunction(1)", "42883"),
        ("SELECT |v, sum(k) FROM l", "42803"),
        ("SELECT 1\nFROM l\nWHERE |nothere = 1", "42703"),
        ("SELECT 1; SELECT |nothere", "42703"),
    ];
    for (marked, expected) in cases {
        let place = marked.chars().position(|c| c == '|').unwrap() as u32 + 1;
        let sql = marked.replace('|', "");
        let error = client.simple_query(&sql).await.unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
        assert_eq!((error.code().code(), error.severity()), (expected, "ERROR"), "{sql}");
        assert_eq!(error.position(), Some(&ErrorPosition::Original(place)), "{sql}");
        assert!(!error.message().is_empty(), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_rows_arrive_after_the_first_rows() {
    let server = Server::start().await;
    let client = server.connect().await;
    for sql in ["SELECT 1 / (k - 3) FROM l", "SELECT count(*) FROM tpch.tiny.lineitem WHERE 1 / (l_orderkey - 60000) > 2"] {
        let error = client.query(sql, &[]).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("22012"), "{sql}");
    }
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    server.memory_comes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_speak_the_protocol_harms_nobody() {
    use tokio::io::AsyncWriteExt;

    let server = Server::start().await;
    let client = server.connect().await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 64], &[0, 0, 0, 8, 4, 210, 22, 47], b"", &[0, 0, 0, 9, 0, 3, 0, 0, 0]] {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        drop(stream);
    }
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}
