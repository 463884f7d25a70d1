//! `arneb cluster local`: what it prints works, and nothing is left when it ends.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use arneb::cli::local_cluster::{Connection, GLANCE, PATIENCE, free_port};

use crate::{
    http,
    processes::{PROGRAM, tpch_files, turn},
};

/// The command; killed when it is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let mut child = Command::new(PROGRAM).args(["cluster", "local"]).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Running { child, lines }
    }

    /// The first line with this text.
    fn line(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| panic!("no line with {text:?}: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number after the last colon.
fn port(line: &str) -> u16 {
    line.rsplit(':').next().unwrap().trim().parse().unwrap_or_else(|_| panic!("no port in {line:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_cluster_is_one_command() {
    let _turn = turn().await;
    let tables = tpch_files("0.01");
    let data = tables[0].path.parent().unwrap().display().to_string();
    let wanted_port = free_port().unwrap().to_string();
    let mut running = Running::start(&["--workers", "2", "--scale", "0.01", "--threads", "1", "--port", &wanted_port, "--data", &data]);
    let sql_port = port(&running.line("SQL "));
    let web_port = port(&running.line("web "));
    running.line("Ctrl-C");

    let client = Connection::open(sql_port).await.unwrap();
    assert_eq!(client.rows("SELECT count(*) FROM lineitem", PATIENCE).await.unwrap(), [["60175"]]);
    let workers = client.rows("SELECT node_id FROM system.nodes WHERE role = 'worker' AND state = 'active' ORDER BY 1", PATIENCE).await;
    assert_eq!(workers.unwrap(), [["worker-1"], ["worker-2"]]);
    let (status, body) = http::request(web_port, "GET", "/api/v1/cluster").await;
    assert!(status == 200 && body.contains("\"worker_count\":2"), "{status} {body}");
    drop(client);

    assert!(Command::new("kill").arg("-TERM").arg(running.child.id().to_string()).status().unwrap().success());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = running.child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "the command does not end");
        tokio::time::sleep(GLANCE).await;
    };
    assert!(status.success(), "{status}");
    for port in [sql_port, web_port] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "something still listens on {port}");
    }
}
