//! The real psql, where it is installed.

use std::{
    net::SocketAddr,
    process::{Command, Output},
};

use crate::client::Server;

/// What psql prints for some commands; `None` where it is not installed.
async fn psql(address: SocketAddr, arguments: &'static [&'static str]) -> Option<(String, String)> {
    let run = move || -> std::io::Result<Output> {
        Command::new("psql")
            .args([
                "--no-psqlrc",
                "--host",
                &address.ip().to_string(),
                "--port",
                &address.port().to_string(),
                "--username",
                "ada",
                "memory",
            ])
            .args(arguments)
            .env("PGCONNECT_TIMEOUT", "30")
            .env("PAGER", "cat")
            .output()
    };
    match tokio::task::spawn_blocking(run).await.unwrap() {
        Ok(output) => Some((String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: psql is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_shows_a_table() {
    let server = Server::start().await;
    let Some((out, err)) = psql(server.address, &["-c", "SELECT k, v FROM l ORDER BY k, v LIMIT 3"]).await else { return };
    assert_eq!(err, "");
    assert_eq!(out, " k | v \n---+---\n 1 | a\n 2 | b\n 2 | c\n(3 rows)\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_points_at_a_mistake() {
    let server = Server::start().await;
    let Some((out, err)) = psql(server.address, &["-c", "SELECT k, nothere FROM l"]).await else { return };
    assert_eq!(out, "");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines[..3], ["ERROR:  column \"nothere\" does not exist", "LINE 1: SELECT k, nothere FROM l", "                  ^"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_runs_several_commands_and_variables() {
    let server = Server::start().await;
    let arguments = &[
        "-A",
        "-t",
        "-v",
        "key=2",
        "-c",
        "SET application_name = 'test'",
        "-c",
        "SHOW application_name",
        "-c",
        "SELECT 1; SELECT NULL",
        "-c",
        "\\echo done",
    ];
    let Some((out, err)) = psql(server.address, arguments).await else { return };
    assert_eq!((out.as_str(), err.as_str()), ("SET\ntest\n1\n\ndone\n", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_prints_csv_of_every_type() {
    let server = Server::start().await;
    let Some((out, err)) = psql(server.address, &["--csv", "-c", "SELECT * FROM types WHERE id IN (1, 4) ORDER BY id"]).await else {
        return;
    };
    assert_eq!(err, "");
    let expected = "id,i,b,d,f,s,day,at,flag\n\
                    1,10,10000000000,10.50,1.5,apple,1995-01-01,1995-01-01 12:00:00,t\n\
                    4,0,0,0.00,,,1999-12-31,1999-12-31 23:59:59.999999,t\n";
    assert_eq!(out, expected);
}
