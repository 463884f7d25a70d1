//! Real connections over loopback: what passes, who is turned away, and what is left when a node dies.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket, flight_service_client::FlightServiceClient,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tonic::{Code, Request, Status, transport::Channel};

use super::{
    Doors, FlightReceiver, FlightSender, MESSAGE_BYTES_MAX, StreamOpen,
    client::{Knock, Lane, Peers, is_refusal},
    messages,
    server::{Routes, serve},
};
use crate::{
    cluster::security::{Security, secret::Secret, tls::Tls},
    config::TlsConfig,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends back what comes, and answers `echo`.
#[derive(Default)]
struct Echo {
    calls: AtomicUsize,
    opens: Mutex<Vec<StreamOpen>>,
}

#[tonic::async_trait]
impl Doors for Echo {
    async fn stream(&self, open: StreamOpen, outbound: FlightSender, mut inbound: FlightReceiver) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.opens.lock().push(open.clone());
        if matches!(open, StreamOpen::Data(_)) {
            return Err(Status::failed_precondition("there is no such query"));
        }
        tokio::spawn(async move {
            while let Some(Ok(data)) = inbound.next().await
                && outbound.send(data).is_ok()
            {}
        });
        Ok(())
    }

    async fn action(&self, kind: &str, body: Bytes) -> Result<Bytes, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match kind {
            "echo" => Ok(body),
            "sleep" => std::future::pending().await,
            _ => Err(Status::invalid_argument(format!("\"{kind}\" is no question"))),
        }
    }
}

/// A node with a runtime of its own, so that it can be killed.
struct Node {
    runtime: Option<tokio::runtime::Runtime>,
    address: String,
    doors: Arc<Echo>,
}

impl Node {
    fn start(security: Arc<Security>) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let doors = Arc::new(Echo::default());
        let served: Arc<dyn Doors> = doors.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            serve(listener, served, security, Routes::default(), std::future::pending()).await.unwrap();
        });
        Node { runtime: Some(runtime), address, doors }
    }

    /// Closes all its sockets, as the end of a process does.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn security() -> Arc<Security> {
    Security::new(&Secret::from_text("the secret of this cluster").unwrap())
}

fn message(text: &str) -> FlightData {
    messages::encode(&text.to_owned())
}

async fn next(inbound: &mut FlightReceiver) -> Option<Result<FlightData, Status>> {
    tokio::time::timeout(PATIENCE, inbound.next()).await.expect("nothing comes")
}

#[tokio::test]
async fn messages_pass_in_order_and_the_end_is_seen() {
    let node = Node::start(security());
    let peers = Peers::new(security());
    let (outbound, mut inbound) = peers.open(Lane::Control, &node.address, &StreamOpen::Control).await.unwrap();
    for i in 0..100 {
        outbound.send(message(&i.to_string())).unwrap();
    }
    for i in 0..100 {
        let data = next(&mut inbound).await.unwrap().unwrap();
        assert_eq!(messages::decode::<String>(&data).unwrap(), i.to_string());
    }
    drop(outbound);
    assert!(next(&mut inbound).await.is_none());
    assert_eq!(*node.doors.opens.lock(), [StreamOpen::Control]);
    let echoed = peers.action(&node.address, "echo", Bytes::from_static(b"abc"), PATIENCE).await.unwrap();
    assert_eq!(echoed, "abc");
}

#[tokio::test]
async fn a_refusal_is_told_and_is_not_taken_for_a_broken_connection() {
    let node = Node::start(security());
    let peers = Peers::new(security());
    let ticket = super::Ticket::new(
        crate::cluster::control::QueryAttempt { query: uuid::Uuid::from_u128(1), attempt: 0 },
        crate::cluster::node::NodeIndex(1),
        crate::cluster::node::NodeIndex(2),
        &[0; 32],
    );
    let error = peers.open(Lane::Data, &node.address, &StreamOpen::Data(ticket)).await.err().unwrap();
    assert_eq!(error.message, "there is no such query");
    assert!(is_refusal(&error));
    let error = peers.action(&node.address, "what", Bytes::new(), PATIENCE).await.err().unwrap();
    assert_eq!(error.message, "\"what\" is no question");
    assert!(is_refusal(&error));
    let error = peers.action(&node.address, "sleep", Bytes::new(), Duration::from_millis(50)).await.err().unwrap();
    assert!(!is_refusal(&error));
    assert!(error.message.ends_with("no answer to \"sleep\" in 50ms"), "{error}");
}

async fn stranger(address: &str) -> FlightServiceClient<Channel> {
    FlightServiceClient::new(tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap())
}

/// Every call of Flight, with a header.
async fn call_all(address: &str, authorization: Option<&str>) -> Vec<(&'static str, Code)> {
    fn request<T>(message: T, authorization: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        request
    }
    fn code<T>(result: Result<T, Status>) -> Code {
        result.err().map_or(Code::Ok, |status| status.code())
    }
    let mut client = stranger(address).await;
    let first = || FlightData {
        flight_descriptor: Some(FlightDescriptor::new_cmd(messages::to_bytes(&StreamOpen::Control))),
        ..FlightData::default()
    };
    let action = || Action { r#type: "echo".to_owned(), body: Bytes::new() };
    vec![
        ("DoExchange", code(client.do_exchange(request(stream::iter([first()]), authorization)).await)),
        ("DoAction", code(client.do_action(request(action(), authorization)).await)),
        ("Handshake", code(client.handshake(request(stream::iter([HandshakeRequest::default()]), authorization)).await)),
        ("ListFlights", code(client.list_flights(request(Criteria::default(), authorization)).await)),
        ("GetFlightInfo", code(client.get_flight_info(request(FlightDescriptor::default(), authorization)).await)),
        ("PollFlightInfo", code(client.poll_flight_info(request(FlightDescriptor::default(), authorization)).await)),
        ("GetSchema", code(client.get_schema(request(FlightDescriptor::default(), authorization)).await)),
        ("DoGet", code(client.do_get(request(Ticket::default(), authorization)).await)),
        ("DoPut", code(client.do_put(request(stream::iter([first()]), authorization)).await)),
        ("ListActions", code(client.list_actions(request(Empty::default(), authorization)).await)),
    ]
}

#[tokio::test]
async fn strangers_can_call_nothing() {
    let node = Node::start(security());
    let other = Security::new(&Secret::from_text("the secret of another cluster").unwrap());
    let right = security().token();
    // As it was made a day ago: the expiry is part of what is signed, so it cannot be made longer either.
    let mut parts: Vec<String> = right.split('.').map(str::to_owned).collect();
    parts[1] = (parts[1].parse::<u64>().unwrap() - 86_400).to_string();
    for authorization in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer x".to_owned()),
        Some(right.clone()),
        Some(format!("Basic {right}")),
        Some(format!("Bearer {}", other.token())),
        Some(format!("Bearer {}", parts.join("."))),
    ] {
        for (call, code) in call_all(&node.address, authorization.as_deref()).await {
            assert_eq!(code, Code::Unauthenticated, "{call} with {authorization:?}");
        }
    }
    assert_eq!(node.doors.calls.load(Ordering::Relaxed), 0);
    let error = Peers::new(other).open(Lane::Control, &node.address, &StreamOpen::Control).await.err().unwrap();
    assert!(error.message.contains("all nodes of a cluster need the same ARNEB_CLUSTER_SECRET"), "{error}");
    assert!(is_refusal(&error));
}

#[tokio::test]
async fn calls_that_arneb_has_no_use_for_are_unimplemented() {
    let node = Node::start(security());
    let authorization = format!("Bearer {}", security().token());
    for (call, code) in call_all(&node.address, Some(&authorization)).await {
        let expected = if ["DoExchange", "DoAction"].contains(&call) { Code::Ok } else { Code::Unimplemented };
        assert_eq!(code, expected, "{call}");
    }
}

#[tokio::test]
async fn bad_bytes_are_refused_and_the_node_lives_on() {
    let node = Node::start(security());
    let mut client = stranger(&node.address).await.max_encoding_message_size(usize::MAX);
    let mut noise: u64 = 7;
    for round in 0..200 {
        let bytes: Vec<u8> = (0..round % 40)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 56) as u8
            })
            .collect();
        let descriptor = (round > 0).then(|| FlightDescriptor::new_cmd([&[9], bytes.as_slice()].concat()));
        let first = FlightData { flight_descriptor: descriptor, ..FlightData::default() };
        let mut request = Request::new(stream::iter([first]));
        request.metadata_mut().insert("authorization", format!("Bearer {}", security().token()).parse().unwrap());
        let status = client.do_exchange(request).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "round {round}: {status:?}");
    }
    let mut request = Request::new(Action { r#type: "echo".to_owned(), body: Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]) });
    request.metadata_mut().insert("authorization", format!("Bearer {}", security().token()).parse().unwrap());
    assert!(client.do_action(request).await.is_err());
    // Not HTTP at all.
    let mut raw = TcpStream::connect(&node.address).await.unwrap();
    raw.write_all(&[0xff; 4096]).await.unwrap();
    let peers = Peers::new(security());
    assert_eq!(peers.action(&node.address, "echo", Bytes::from_static(b"x"), PATIENCE).await.unwrap(), "x");
}

#[tokio::test]
async fn plain_http_is_answered_on_the_same_port() {
    let node = Node::start(security());
    let mut raw = TcpStream::connect(&node.address).await.unwrap();
    raw.write_all(b"GET /health HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, raw.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}

#[tokio::test]
async fn a_killed_node_breaks_its_streams_and_is_gone_for_who_knocks() {
    let mut node = Node::start(security());
    let peers = Peers::new(security());
    let (_outbound, mut inbound) = peers.open(Lane::Control, &node.address, &StreamOpen::Control).await.unwrap();
    assert_eq!(peers.knock(&node.address, "echo", PATIENCE).await, Knock::Answered(Bytes::new()));
    assert!(matches!(peers.knock(&node.address, "sleep", Duration::from_millis(50)).await, Knock::Silent(_)));
    node.kill();
    assert!(!matches!(next(&mut inbound).await, Some(Ok(_))));
    let mut knock = peers.knock(&node.address, "echo", PATIENCE).await;
    // The threads of the killed runtime may take a moment to close the listener.
    while !matches!(knock, Knock::Refused(_)) {
        knock = peers.knock(&node.address, "echo", PATIENCE).await;
    }
    let error = peers.open(Lane::Control, &node.address, &StreamOpen::Control).await.err().unwrap();
    assert!(!is_refusal(&error));
    assert!(error.message.starts_with(&format!("cannot reach the node at {}", node.address)), "{error}");
}

/// A port that passes everything on, and counts connections.
async fn counting_port(to: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let to = to.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(&to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn control_and_rows_have_a_connection_each_which_all_streams_share() {
    let node = Node::start(security());
    let (address, connections) = counting_port(node.address.clone()).await;
    let (address, peers) = (address.to_string(), Peers::new(security()));
    let mut streams = vec![];
    for lane in [Lane::Control, Lane::Data, Lane::Control, Lane::Data] {
        streams.push(peers.open(lane, &address, &StreamOpen::Control).await.unwrap());
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    peers.forget(&address);
    let _another = peers.open(Lane::Control, &address, &StreamOpen::Control).await.unwrap();
    assert_eq!(connections.load(Ordering::Relaxed), 3);
    for (outbound, inbound) in &mut streams {
        outbound.send(message("still here")).unwrap();
        assert!(next(inbound).await.unwrap().is_ok());
    }
}

/// An authority, and a certificate of it for 127.0.0.1.
fn certificates(directory: &std::path::Path, name: &str) -> TlsConfig {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec![]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let authority = parameters.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::from_params(&parameters, &key);
    let node_key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&node_key, &issuer).unwrap();
    let write = |what: &str, text: String| {
        let path = directory.join(format!("{name}.{what}.pem"));
        std::fs::write(&path, text).unwrap();
        path
    };
    TlsConfig { ca: write("ca", authority.pem()), cert: write("cert", certificate.pem()), key: write("key", node_key.serialize_pem()) }
}

#[tokio::test]
async fn with_certificates_only_nodes_of_the_same_authority_can_talk() {
    let directory = tempfile::tempdir().unwrap();
    let with_tls = |config: &TlsConfig| {
        let secret = Secret::from_text("the secret of this cluster").unwrap();
        Arc::new(Security::with_tls(&secret, Some(Tls::read(config).unwrap())))
    };
    let (ours, theirs) = (certificates(directory.path(), "ours"), certificates(directory.path(), "theirs"));
    let node = Node::start(with_tls(&ours));
    let ask = async |peers: Arc<Peers>| peers.action(&node.address, "echo", Bytes::from_static(b"x"), PATIENCE).await;
    assert_eq!(ask(Peers::new(with_tls(&ours))).await.unwrap(), "x");
    // Trusts the node, but has a certificate of somebody else.
    let stranger = TlsConfig { ca: ours.ca.clone(), ..theirs.clone() };
    assert!(ask(Peers::new(with_tls(&stranger))).await.is_err());
    // Has a certificate of the authority, but does not trust the node.
    let distrustful = TlsConfig { ca: theirs.ca.clone(), ..ours.clone() };
    assert!(ask(Peers::new(with_tls(&distrustful))).await.is_err());
    assert!(ask(Peers::new(security())).await.is_err());
    assert_eq!(node.doors.calls.load(Ordering::Relaxed), 1);
    assert!(Tls::read(&TlsConfig { ca: directory.path().join("missing"), ..ours }).is_err());
}
