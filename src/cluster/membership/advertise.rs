//! The address a node tells others to reach it at.
//!
//! Position: asked for by `heartbeat` before each registration, when the coordinator's name has an address. A node that
//! listens on all its addresses does not know which of them others can reach, but the one its packets to the coordinator leave by is
//! a good answer: it is on the coordinator's network.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket},
};

/// What an address is found out from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// `[cluster] advertised_address`.
    pub configured: Option<String>,
    /// The address the node listens on.
    pub bind_address: String,
    /// The port of Flight.
    pub port: u16,
}

impl Advertise {
    /// `host:port`, never an address that means "all".
    ///
    /// # Errors
    /// The coordinator's name cannot be looked up, or there is no way to it. This may wait for a name server.
    pub fn address(&self, coordinator: &str) -> io::Result<String> {
        if let Some(configured) = &self.configured {
            return Ok(configured.clone());
        }
        let bare = self.bind_address.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => Ok(SocketAddr::new(way_to(coordinator)?, self.port).to_string()),
            Ok(ip) => Ok(SocketAddr::new(ip, self.port).to_string()),
            Err(_) => Ok(format!("{}:{}", self.bind_address, self.port)),
        }
    }
}

/// The address by which packets to `peer` leave this machine. Nothing is sent.
fn way_to(peer: &str) -> io::Result<IpAddr> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("\"{peer}\" has no address"));
    for address in peer.to_socket_addrs()? {
        let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(address).and_then(|()| socket.local_addr())) {
            Ok(local) if !local.ip().is_unspecified() => return Ok(local.ip()),
            Ok(_) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(configured: Option<&str>, bind: &str) -> String {
        let configured = configured.map(str::to_owned);
        Advertise { configured, bind_address: bind.to_owned(), port: 9091 }.address("127.0.0.1:9090").unwrap()
    }

    #[test]
    fn a_configured_address_has_precedence() {
        assert_eq!(advertised(Some("node-1:19091"), "0.0.0.0"), "node-1:19091");
    }

    #[test]
    fn a_specific_address_is_told_as_it_is() {
        assert_eq!(advertised(None, "10.1.2.3"), "10.1.2.3:9091");
        assert_eq!(advertised(None, "::1"), "[::1]:9091");
        assert_eq!(advertised(None, "[::1]"), "[::1]:9091");
        assert_eq!(advertised(None, "node-1"), "node-1:9091");
    }

    #[test]
    fn all_addresses_become_the_one_that_leads_to_the_coordinator() {
        assert_eq!(advertised(None, "0.0.0.0"), "127.0.0.1:9091");
        assert_eq!(advertised(None, "::"), "127.0.0.1:9091");
    }

    #[test]
    fn a_coordinator_without_address_is_an_error() {
        let advertise = Advertise { configured: None, bind_address: "0.0.0.0".to_owned(), port: 1 };
        assert!(advertise.address("no port").is_err());
    }
}
