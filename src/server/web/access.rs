//! Before any request is looked at: who sends it, and on whose behalf.
//!
//! A browser on an admitted machine sends requests for any page it shows. Two checks keep foreign pages out: the name it thinks it
//! talks to (`Host`) must be one of ours, which a name that was re-bound to our address is not; and a page that wants to change
//! something (`Origin`) must come from the same place. Requests that only read are asked for a known `Host` where only this machine is
//! admitted: elsewhere, names of services and proxies are legitimate.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};

use super::{WebState, answer::refusal};
use crate::server::policy::{self, AccessPolicy};

/// Refuses, or lets the request pass.
pub async fn check(State(state): State<WebState>, request: Request, next: Next) -> Response {
    // Without an address the peer is nobody.
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let options = &state.options;
    let is_admitted = match peer {
        Some(peer) => options.policy.admits(peer),
        None => options.policy == AccessPolicy::Trust,
    };
    if !is_admitted {
        return refusal(StatusCode::FORBIDDEN, policy::REFUSAL, Some(policy::HINT));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let own_name = options.host_name.as_deref();
    if (changes || options.policy == AccessPolicy::LoopbackOnly) && !is_ours(request.headers(), own_name) {
        let hint = "use an address of the server, localhost, or its configured name";
        return refusal(StatusCode::FORBIDDEN, "the request is for another host", Some(hint));
    }
    if changes && !is_same_origin(request.headers()) {
        return refusal(StatusCode::FORBIDDEN, "the request comes from a page of another site", None);
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether `Host` is an address, `localhost`, or `own_name`.
fn is_ours(headers: &HeaderMap, own_name: Option<&str>) -> bool {
    let Some(host) = text(headers, header::HOST) else { return false };
    let name = without_port(host);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    is_address || name.eq_ignore_ascii_case("localhost") || own_name.is_some_and(|own| name.eq_ignore_ascii_case(own))
}

/// Whether `Origin`, if there is one, is the place the request was sent to. Programs send none.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if headers.get(header::ORIGIN).is_none() {
        return true;
    }
    let authority = text(headers, header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match (authority, text(headers, header::HOST)) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// A host without its port; IPv6 addresses keep their brackets.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn addresses_localhost_and_the_configured_name_are_ours() {
        for host in ["127.0.0.1:6432", "127.0.0.1", "[::1]:6432", "[::1]", "localhost:6432", "LOCALHOST", "10.0.0.7:80", "db.example:6432"]
        {
            assert!(is_ours(&headers(host, None), Some("db.example")), "{host}");
        }
        for host in ["evil.example:6432", "localhost.evil.example", "db.example.evil", "", ":6432", "127.0.0.1.evil.example"] {
            assert!(!is_ours(&headers(host, None), Some("db.example")), "{host}");
        }
        assert!(!is_ours(&HeaderMap::new(), None));
    }

    #[test]
    fn a_page_may_change_only_the_server_it_came_from() {
        assert!(is_same_origin(&headers("127.0.0.1:6432", None)));
        assert!(is_same_origin(&headers("127.0.0.1:6432", Some("http://127.0.0.1:6432"))));
        for origin in ["http://evil.example", "http://127.0.0.1:8080", "null", "http://127.0.0.1", "127.0.0.1:6432"] {
            assert!(!is_same_origin(&headers("127.0.0.1:6432", Some(origin))), "{origin}");
        }
    }
}
