//! `arneb tpch run --connect`: the 22 queries through the protocol, every answer checked.

use arneb::cli::{
    Arguments, Command, TpchCommand,
    tpch_run::{RunReport, Verdict, measure},
};
use clap::Parser;

use crate::client::Server;

/// What the command does with these options and the server's address.
async fn run(server: &Server, options: &[&str]) -> RunReport {
    let address = server.address.to_string();
    let text = [&["arneb", "tpch", "run", "--connect", &address], options].concat();
    let arguments = match Arguments::try_parse_from(text).unwrap().command {
        Some(Command::Tpch(TpchCommand::Run(arguments))) => arguments,
        other => panic!("{other:?}"),
    };
    tokio::task::spawn_blocking(move || measure(&arguments)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_22_queries_give_the_known_answers() {
    let server = Server::start().await;
    let report = run(&server, &["--scale", "0.01", "--search-path", "tpch.tiny"]).await;
    assert_eq!(report.queries.iter().map(|query| query.query).collect::<Vec<_>>(), (1..=22).collect::<Vec<_>>());
    assert!(report.queries.iter().all(|query| query.verdict == Verdict::Ok && query.rows_scanned.is_none()), "{report}");
    assert_eq!(report.server, Some(server.address.to_string()));
    server.memory_comes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_scale_is_wrong_and_a_query_that_fails_does_not_end_the_run() {
    let server = Server::start().await;
    let report = run(&server, &["--scale", "0.1", "--search-path", "tpch.tiny", "--queries", "6,1", "--runs", "2"]).await;
    assert!(!report.is_right() && report.queries.iter().all(|query| query.verdict == Verdict::Wrong), "{report}");
    assert_eq!(report.queries[0].all_seconds.len(), 2);
    // Nothing is called lineitem where the session looks.
    let report = run(&server, &["--scale", "0.01", "--queries", "6,1"]).await;
    assert_eq!(report.queries.len(), 2);
    for query in &report.queries {
        assert_eq!(query.verdict, Verdict::Failed);
        assert_eq!(query.message.as_deref(), Some("relation \"lineitem\" does not exist (42P01)"));
    }
}
