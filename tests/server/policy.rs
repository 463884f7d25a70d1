//! Clients of other hosts: refused without users, admitted when everybody is trusted. A client that comes through an address of this
//! machine other than loopback looks like one.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use arneb::server::policy::{AccessPolicy, HINT, REFUSAL};
use tokio_postgres::{Config, NoTls};

use crate::{
    client::{Server, state, text},
    fixture::{SHAPES, engine},
    http::request,
};

/// An address of this machine that others could reach; `None` if it has none.
fn outer_address() -> Option<IpAddr> {
    // Nothing is sent: connecting only chooses the address to send from.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_other_hosts_are_refused_unless_they_are_trusted() {
    let Some(outer) = outer_address() else {
        println!("skipped: this machine has only a loopback address");
        return;
    };
    let connect = async |port: u16| {
        let mut config = Config::new();
        config.host(outer.to_string()).port(port).user("ada").dbname("memory");
        config.connect(NoTls).await
    };

    let server = Server::at("0.0.0.0", engine(SHAPES[3]), AccessPolicy::LoopbackOnly).await;
    let error = connect(server.address.port()).await.err().expect("the client is refused");
    assert_eq!(state(&error), "28000");
    let told = error.as_db_error().unwrap();
    assert_eq!((told.severity(), told.message(), told.hint()), ("FATAL", REFUSAL, Some(HINT)));
    let web = SocketAddr::new(outer, server.web.port());
    for path in ["/", "/api/v1/queries", "/metrics", "/health/live"] {
        let answer = request(web, "GET", path).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (403, Some(REFUSAL)), "{path}");
    }

    let server = Server::at("0.0.0.0", engine(SHAPES[3]), AccessPolicy::Trust).await;
    let (client, connection) = connect(server.address.port()).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(text(&client, "SELECT 1").await, "1");
    assert_eq!(request(SocketAddr::new(outer, server.web.port()), "GET", "/health/live").await.status, 200);
}
