//! The chaos command as a test: what it finds, users would.

use std::process::Command;

use crate::processes::{PROGRAM, tpch_files, turn};

/// Runs `arneb cluster chaos` over the data of the tests; its output and whether it was content.
async fn chaos(arguments: &[&str]) -> (bool, String) {
    let _turn = turn().await;
    let tables = tpch_files("0.1");
    let data = tables[0].path.parent().unwrap().to_owned();
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = move || {
        let mut command = Command::new(PROGRAM);
        command.args(["--quiet", "cluster", "chaos", "--scale", "0.1", "--data"]).arg(data).args(arguments).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some three minutes: cargo test --test cluster chaos -- --ignored"]
async fn two_minutes_of_disturbances_end_well() {
    let (is_content, text) = chaos(&["--workers", "3", "--minutes", "2", "--seed", "1", "--pause", "4", "--bound", "60"]).await;
    assert!(is_content, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some three minutes: cargo test --test cluster chaos -- --ignored"]
async fn a_kill_at_any_moment_of_a_query_is_survived() {
    let (is_content, text) = chaos(&["--workers", "3", "--seed", "1", "--kill-at", "0.1,0.5,0.9", "--bound", "60"]).await;
    assert!(is_content && !text.contains("failed"), "{text}");
}
