//! Who is not let in: strangers at the Flight port, workers with another secret, workers whose tables differ.

use std::time::Instant;

use arneb::cli::local_cluster::{GLANCE, PATIENCE, WorkerOptions};
use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket, flight_service_client::FlightServiceClient,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};

use crate::processes::{TestCluster, tpch_files};

/// What strangers show instead of a token of the cluster.
const CREDENTIALS: &[Option<&str>] = &[
    None,
    Some(""),
    Some("Bearer"),
    Some("Bearer x"),
    Some("Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    Some("Bearer 9223372036854775807.00000000.00000000000000000000000000000000000000000000000000000000000000"),
    Some("Basic YXJuZWI6YXJuZWI="),
];

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_at_every_flight_call() {
    let mut cluster = TestCluster::start(1).await;
    let (coordinator, worker) = (cluster.ports().rpc, cluster.worker(1).rpc_port());
    for port in [coordinator, worker] {
        let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
        for credentials in CREDENTIALS {
            for (call, code) in all_calls(channel.clone(), *credentials).await {
                // What no node offers may also be unknown to it.
                let is_offered = matches!(call, "DoExchange" | "DoAction");
                let is_refused = matches!(code, Code::Unauthenticated | Code::PermissionDenied);
                assert!(is_refused || (!is_offered && code == Code::Unimplemented), "{call} with {credentials:?} on {port}: {code:?}");
            }
        }
    }
    cluster.wait_quiet().await.unwrap();
    assert_eq!(cluster.distributed("SELECT count(*) FROM lineitem").await, [["60175"]]);
}

/// How each call of the protocol ends.
async fn all_calls(channel: Channel, credentials: Option<&str>) -> Vec<(&'static str, Code)> {
    let mut client = FlightServiceClient::new(channel);
    let descriptor = || FlightDescriptor { cmd: b"\x01".to_vec().into(), ..FlightDescriptor::default() };
    let data = || futures::stream::iter([FlightData { flight_descriptor: Some(descriptor()), ..FlightData::default() }]);
    let handshake = futures::stream::iter([HandshakeRequest::default()]);
    let action = Action { r#type: "probe".into(), ..Action::default() };
    vec![
        ("Handshake", stream_code(client.handshake(with(credentials, handshake)).await).await),
        ("ListFlights", stream_code(client.list_flights(with(credentials, Criteria::default())).await).await),
        ("GetFlightInfo", code(client.get_flight_info(with(credentials, descriptor())).await)),
        ("PollFlightInfo", code(client.poll_flight_info(with(credentials, descriptor())).await)),
        ("GetSchema", code(client.get_schema(with(credentials, descriptor())).await)),
        ("DoGet", stream_code(client.do_get(with(credentials, Ticket::default())).await).await),
        ("DoPut", stream_code(client.do_put(with(credentials, data())).await).await),
        ("DoExchange", stream_code(client.do_exchange(with(credentials, data())).await).await),
        ("DoAction", stream_code(client.do_action(with(credentials, action)).await).await),
        ("ListActions", stream_code(client.list_actions(with(credentials, Empty {})).await).await),
    ]
}

fn with<T>(credentials: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(credentials) = credentials {
        request.metadata_mut().insert("authorization", credentials.parse().unwrap());
    }
    request
}

fn code<T>(answer: Result<Response<T>, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// A refusal may come instead of the stream, or as its first message.
async fn stream_code<T>(answer: Result<Response<Streaming<T>>, Status>) -> Code {
    match answer {
        Err(status) => status.code(),
        Ok(response) => {
            let message = tokio::time::timeout(PATIENCE, response.into_inner().message()).await.expect("a refusal in time");
            message.map_or_else(|status| status.code(), |_| Code::Ok)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_at_the_flight_port_harms_nobody() {
    let mut cluster = TestCluster::start(1).await;
    cluster.remember_files().await;
    let mut random = arneb::cli::local_cluster::random::Random::new(1);
    for port in [cluster.ports().rpc, cluster.worker(1).rpc_port()] {
        for length in [0, 1, 100, 100_000] {
            let noise: Vec<u8> = (0..length).map(|_| random.number() as u8).collect();
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
            for head in [b"".as_slice(), b"GET / HTTP/1.1\r\n\r\n", preface] {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // The node may hang up at any time.
                let _ = stream.write_all(head).await;
                let _ = stream.write_all(&noise).await;
            }
        }
    }
    assert_eq!(cluster.distributed("SELECT count(*) FROM lineitem").await, [["60175"]]);
    cluster.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_secret_is_refused_and_says_why() {
    let mut cluster = TestCluster::start(1).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let state_directory = Some(elsewhere.path().to_owned());
    let stranger = cluster.add_worker(WorkerOptions { state_directory, ..WorkerOptions::default() }).unwrap();
    logs(&mut cluster, stranger, |line| line.to_lowercase().contains("secret")).await;
    let states = cluster.worker_states().await.unwrap();
    assert_ne!(states.get("worker-2").map(String::as_str), Some("active"), "{states:?}");
    assert_eq!(cluster.distributed("SELECT count(*) FROM lineitem").await, [["60175"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_table_differs_is_refused_with_the_table_s_name() {
    let mut cluster = TestCluster::start(1).await;
    let mut tables = tpch_files("0.01");
    // The same columns, other rows.
    let other = tpch_files("0.02").into_iter().find(|table| table.name == "partsupp").unwrap();
    *tables.iter_mut().find(|table| table.name == "partsupp").unwrap() = other;
    let differing = cluster.add_worker(WorkerOptions { tables: Some(tables), ..WorkerOptions::default() }).unwrap();
    logs(&mut cluster, differing, |line| line.contains("partsupp") && is_complaint(line)).await;
    let states = cluster.worker_states().await.unwrap();
    assert_ne!(states.get("worker-2").map(String::as_str), Some("active"), "{states:?}");
    assert_eq!(cluster.distributed("SELECT count(*) FROM partsupp").await, [["8000"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_table_is_refused_with_the_table_s_name() {
    let mut cluster = TestCluster::start(1).await;
    let tables = tpch_files("0.01").into_iter().filter(|table| table.name != "partsupp").collect();
    let lacking = cluster.add_worker(WorkerOptions { tables: Some(tables), ..WorkerOptions::default() }).unwrap();
    logs(&mut cluster, lacking, |line| line.contains("partsupp") && is_complaint(line)).await;
    let states = cluster.worker_states().await.unwrap();
    assert_ne!(states.get("worker-2").map(String::as_str), Some("active"), "{states:?}");
}

fn is_complaint(line: &str) -> bool {
    ["WARN", "ERROR", "error:"].iter().any(|mark| line.contains(mark))
}

/// Waits until a line of the worker's log is as it should be.
async fn logs(cluster: &mut TestCluster, worker: usize, is_wanted: impl Fn(&str) -> bool) {
    let start = Instant::now();
    while !cluster.worker(worker).log().lines().any(&is_wanted) {
        assert!(start.elapsed() < PATIENCE, "the worker does not say why it is refused");
        tokio::time::sleep(GLANCE).await;
    }
}
