//! Who may come in: without users only this machine, unless the configuration says otherwise.
//!
//! Position: asked by both doors, [`super::pgwire`] and [`super::web`], before anything a peer sends is looked at.

use std::net::IpAddr;

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessPolicy {
    /// Processes of this machine.
    LoopbackOnly,
    /// Everybody who reaches the port.
    Trust,
}

/// What a refused peer is told.
pub const REFUSAL: &str = "connections from other hosts are refused because no users are configured";

/// What its operator can do.
pub const HINT: &str = "set auth = \"trust\" in the configuration to allow them";

impl AccessPolicy {
    /// Whether a peer with this address may come in.
    pub fn admits(self, peer: IpAddr) -> bool {
        match self {
            AccessPolicy::Trust => true,
            // A socket for both versions of IP shows 127.0.0.1 as ::ffff:127.0.0.1.
            AccessPolicy::LoopbackOnly => peer.to_canonical().is_loopback(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for (address, is_admitted) in [
            ("127.0.0.1", true),
            ("127.8.9.10", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", false),
            ("10.0.0.1", false),
            ("192.168.1.2", false),
            ("0.0.0.0", false),
            ("::", false),
            ("fe80::1", false),
            // Deprecated: compatible, not mapped.
            ("::127.0.0.1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(AccessPolicy::LoopbackOnly.admits(address), is_admitted, "{address}");
            assert!(AccessPolicy::Trust.admits(address));
        }
    }
}
