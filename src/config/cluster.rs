//! `[cluster]`: what a node is among others.
//!
//! Position: a section of the file, read by [`super::Config`]; the keys a worker cannot do without are asked for when its role
//! is known, as that can come from the command line. Deliberately elsewhere: reading the files it names (`cluster::security`).

use std::path::PathBuf;

use toml::de::DeValue;

use super::{ConfigError, Role, Section};
use crate::execution::distributed::{DistributionMode, RecoveryMode};

/// `[cluster]`
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// Role where `--role` is absent.
    pub role: Option<Role>,
    /// Port of Flight; `None`: 9090.
    pub rpc_port: Option<u16>,
    /// Where a worker finds its coordinator: `host:port`.
    pub coordinator_address: Option<String>,
    /// A worker's name.
    pub worker_id: Option<String>,
    /// Where other nodes reach this one: `host:port`; `None`: found out.
    pub advertised_address: Option<String>,
    /// The file with the cluster's secret; `None`: one in the user's state directory.
    pub secret_file: Option<PathBuf>,
    /// Certificates for TLS between nodes; `None`: no TLS.
    pub tls: Option<TlsConfig>,
    /// Milliseconds between two signs of life of a worker.
    pub heartbeat_ms: u64,
    /// Milliseconds without one after which a worker is lost.
    pub lease_ms: u64,
    /// Seconds a query waits for a worker where there is none.
    pub no_worker_grace_s: u64,
    /// Queries that read fewer MiB than this run on the coordinator alone.
    pub small_query_mb: usize,
    /// Which queries run on workers.
    pub distribution: DistributionMode,
    /// What is done when a worker is lost.
    pub recovery: RecoveryMode,
    /// MiB of a result that are held back until the query has ended, so that it can be run again unnoticed.
    pub holdback_mb: usize,
}

/// `tls` of `[cluster]`: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificate of the authority that all nodes' certificates are of.
    pub ca: PathBuf,
    /// This node's certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        ClusterConfig {
            role: None,
            rpc_port: None,
            coordinator_address: None,
            worker_id: None,
            advertised_address: None,
            secret_file: None,
            tls: None,
            heartbeat_ms: 500,
            lease_ms: 5000,
            no_worker_grace_s: 30,
            small_query_mb: 16,
            distribution: DistributionMode::Auto,
            recovery: RecoveryMode::Auto,
            holdback_mb: 64,
        }
    }
}

impl ClusterConfig {
    /// Port of Flight.
    pub fn rpc_port(&self) -> u16 {
        self.rpc_port.unwrap_or(9090)
    }

    /// Where the coordinator is, which a worker must know.
    ///
    /// # Errors
    /// Nobody has said it.
    pub fn coordinator(&self) -> Result<&str, ConfigError> {
        self.coordinator_address.as_deref().ok_or_else(|| ConfigError {
            place: "[cluster]".to_owned(),
            message: "a worker needs the address of its coordinator, and \"cluster.coordinator_address\" is missing".to_owned(),
            hint: Some("add to [cluster] a line: coordinator_address = \"host:9090\"".to_owned()),
        })
    }
}

const KEYS: &[&str] = &[
    "role",
    "rpc_port",
    "coordinator_address",
    "worker_id",
    "advertised_address",
    "secret_file",
    "tls",
    "heartbeat_ms",
    "lease_ms",
    "no_worker_grace_s",
    "small_query_mb",
    "distribution",
    "recovery",
    "holdback_mb",
];

/// The section, or its defaults where there is none.
pub(super) fn read(root: &Section<'_>) -> Result<ClusterConfig, ConfigError> {
    let defaults = ClusterConfig::default();
    let Some(section) = subsection(root, "cluster", "cluster", "a section [cluster]", KEYS)? else { return Ok(defaults) };
    let roles = [("standalone", Role::Standalone), ("coordinator", Role::Coordinator), ("worker", Role::Worker)];
    let distributions = [("auto", DistributionMode::Auto), ("always", DistributionMode::Always), ("never", DistributionMode::Never)];
    let recoveries = [("auto", RecoveryMode::Auto), ("restart", RecoveryMode::Restart), ("off", RecoveryMode::Off)];
    let number = |key, range, default| Ok::<u64, ConfigError>(section.number(key, range)?.map_or(default, |n| n as u64));
    let config = ClusterConfig {
        role: section.choice("role", &roles)?,
        rpc_port: section.number("rpc_port", 1..=65_535)?.map(|n| n as u16),
        coordinator_address: address(&section, "coordinator_address")?,
        worker_id: worker_id(&section)?,
        advertised_address: advertised_address(&section)?,
        secret_file: section.text("secret_file")?.map(PathBuf::from),
        tls: tls(&section)?,
        heartbeat_ms: number("heartbeat_ms", 10..=60_000, defaults.heartbeat_ms)?,
        lease_ms: number("lease_ms", 50..=3_600_000, defaults.lease_ms)?,
        no_worker_grace_s: number("no_worker_grace_s", 0..=86_400, defaults.no_worker_grace_s)?,
        small_query_mb: number("small_query_mb", 0..=1_048_576, defaults.small_query_mb as u64)? as usize,
        distribution: section.choice("distribution", &distributions)?.unwrap_or(defaults.distribution),
        recovery: section.choice("recovery", &recoveries)?.unwrap_or(defaults.recovery),
        holdback_mb: number("holdback_mb", 0..=1_048_576, defaults.holdback_mb as u64)? as usize,
    };
    if config.lease_ms < 4 * config.heartbeat_ms {
        let message = format!(
            "\"cluster.lease_ms\" is {} and must be at least four times \"cluster.heartbeat_ms\", which is {}",
            config.lease_ms, config.heartbeat_ms
        );
        let hint = "a worker is suspected after three heartbeats that did not come, and lost when its lease has run out".to_owned();
        let key = if section.get("lease_ms").is_some() { "lease_ms" } else { "heartbeat_ms" };
        let span = section.get(key).expect("one of them is not its default").span();
        return Err(section.document.error(span, message, Some(hint)));
    }
    Ok(config)
}

fn subsection<'a>(
    parent: &Section<'a>,
    key: &str,
    name: &'static str,
    what: &str,
    keys: &[&str],
) -> Result<Option<Section<'a>>, ConfigError> {
    let Some(value) = parent.get(key) else { return Ok(None) };
    let DeValue::Table(table) = value.get_ref() else { return Err(parent.wrong_type(key, value, what)) };
    Section::new(parent.document, name, table, value.span(), keys).map(Some)
}

fn tls(cluster: &Section<'_>) -> Result<Option<TlsConfig>, ConfigError> {
    let what = "{ ca = \"…\", cert = \"…\", key = \"…\" }";
    let Some(section) = subsection(cluster, "tls", "cluster.tls", what, &["ca", "cert", "key"])? else { return Ok(None) };
    let path = |key| section.required_text(key).map(PathBuf::from);
    Ok(Some(TlsConfig { ca: path("ca")?, cert: path("cert")?, key: path("key")? }))
}

fn worker_id(section: &Section<'_>) -> Result<Option<String>, ConfigError> {
    let Some(id) = section.text("worker_id")? else { return Ok(None) };
    let wrong = |why: &str| {
        let span = section.get("worker_id").expect("it was just read").span();
        Err(section.document.error(span, format!("\"cluster.worker_id\" cannot be \"{}\": {why}", id.escape_debug()), None))
    };
    if id == "coordinator" {
        return wrong("that is the coordinator's name");
    }
    if id.len() > 128 || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("a name has no spaces, and at most 128 characters");
    }
    Ok(Some(id))
}

fn advertised_address(section: &Section<'_>) -> Result<Option<String>, ConfigError> {
    let key = "advertised_address";
    let Some(address) = address(section, key)? else { return Ok(None) };
    if address.starts_with("0.0.0.0:") || address.starts_with("[::]:") {
        let span = section.get(key).expect("it was just read").span();
        let hint = "leave it out to have it found out, or name an address that other nodes can connect to".to_owned();
        return Err(section.document.error(span, format!("\"cluster.{key}\" cannot be {address}: that is no node's address"), Some(hint)));
    }
    Ok(Some(address))
}

fn address(section: &Section<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(text) = section.text(key)? else { return Ok(None) };
    match node_address(&text) {
        Ok(address) => Ok(Some(address)),
        Err(why) => {
            let span = section.get(key).expect("it was just read").span();
            let hint = "write \"host:port\", such as \"10.0.0.1:9090\", \"node-1.example.com:9090\" or \"[fd00::1]:9090\"".to_owned();
            Err(section.document.error(span, format!("\"{}\" cannot be \"{text}\": {why}", section.path(key)), Some(hint)))
        }
    }
}

/// A node's address as `host:port`; `http://` before it is taken off.
///
/// # Errors
/// What is wrong with it.
pub fn node_address(text: &str) -> Result<String, String> {
    let text = text.trim();
    let address = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    let address = address.strip_suffix('/').unwrap_or(address);
    let (host, port) = match address.rsplit_once(':') {
        _ if address.parse::<std::net::Ipv6Addr>().is_ok() => return Err("an IPv6 address must be in brackets".to_owned()),
        Some((host, port)) => (host, port),
        None => return Err("there is no port".to_owned()),
    };
    match port.parse::<u16>() {
        Ok(0) | Err(_) => return Err(format!("\"{port}\" is no port")),
        Ok(_) => {}
    }
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    if !is_host {
        return Err(format!("\"{host}\" is no host"));
    }
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Auth, Config};

    fn error(text: &str) -> ConfigError {
        Config::parse("arneb.toml", text).unwrap_err()
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            auth = "trust"
            [cluster]
            role = "worker"
            rpc_port = 9091
            coordinator_address = "http://node-1:9090"
            worker_id = "w1"
            advertised_address = "[fd00::2]:9091"
            secret_file = "cluster.key"
            tls = { ca = "ca.pem", cert = "w1.pem", key = "w1.key" }
            heartbeat_ms = 100
            lease_ms = 1000
            no_worker_grace_s = 1
            small_query_mb = 0
            distribution = "always"
            recovery = "restart"
            holdback_mb = 7
        "#;
        let config = Config::parse("arneb.toml", text).unwrap();
        assert_eq!(config.auth, Some(Auth::Trust));
        let expected = ClusterConfig {
            role: Some(Role::Worker),
            rpc_port: Some(9091),
            coordinator_address: Some("node-1:9090".to_owned()),
            worker_id: Some("w1".to_owned()),
            advertised_address: Some("[fd00::2]:9091".to_owned()),
            secret_file: Some("cluster.key".into()),
            tls: Some(TlsConfig { ca: "ca.pem".into(), cert: "w1.pem".into(), key: "w1.key".into() }),
            heartbeat_ms: 100,
            lease_ms: 1000,
            no_worker_grace_s: 1,
            small_query_mb: 0,
            distribution: DistributionMode::Always,
            recovery: RecoveryMode::Restart,
            holdback_mb: 7,
        };
        assert_eq!(config.cluster, expected);
        assert_eq!(config.cluster.coordinator().unwrap(), "node-1:9090");
    }

    #[test]
    fn an_absent_section_has_the_defaults() {
        assert_eq!(Config::parse("arneb.toml", "").unwrap().cluster, ClusterConfig::default());
        assert_eq!(Config::parse("arneb.toml", "[cluster]").unwrap().cluster, ClusterConfig::default());
        let missing = ClusterConfig::default().coordinator().unwrap_err();
        assert!(missing.message.contains("coordinator_address"), "{missing}");
    }

    #[test]
    fn mistakes_name_their_line_and_key() {
        for (line, message) in [
            ("heartbeat = 1", "unknown key \"heartbeat\" in [cluster]"),
            ("coordinator_address = \"node\"", "\"cluster.coordinator_address\" cannot be \"node\": there is no port"),
            ("coordinator_address = \"node:0\"", "\"cluster.coordinator_address\" cannot be \"node:0\": \"0\" is no port"),
            ("coordinator_address = \"node:99999\"", "\"cluster.coordinator_address\" cannot be \"node:99999\": \"99999\" is no port"),
            ("coordinator_address = \":9090\"", "\"cluster.coordinator_address\" cannot be \":9090\": \"\" is no host"),
            ("coordinator_address = \"a b:9090\"", "\"cluster.coordinator_address\" cannot be \"a b:9090\": \"a b\" is no host"),
            ("coordinator_address = \"::1\"", "\"cluster.coordinator_address\" cannot be \"::1\": an IPv6 address must be in brackets"),
            ("advertised_address = \"0.0.0.0:9090\"", "\"cluster.advertised_address\" cannot be 0.0.0.0:9090: that is no node's address"),
            ("worker_id = \"coordinator\"", "\"cluster.worker_id\" cannot be \"coordinator\": that is the coordinator's name"),
            ("worker_id = \"a b\"", "\"cluster.worker_id\" cannot be \"a b\": a name has no spaces, and at most 128 characters"),
            ("tls = { ca = \"a\", cert = \"b\" }", "\"cluster.tls.key\" is missing"),
            ("tls = { ca = \"a\", crt = \"b\", key = \"c\" }", "unknown key \"crt\" in [cluster.tls]"),
            ("recovery = \"on\"", "\"cluster.recovery\" cannot be \"on\""),
            ("lease_ms = 1000", "\"cluster.lease_ms\" is 1000 and must be at least four times \"cluster.heartbeat_ms\", which is 500"),
        ] {
            let error = error(&format!("[cluster]\n{line}\n"));
            assert_eq!((error.place.as_str(), error.message.as_str()), ("arneb.toml:2", message), "{line}");
        }
        assert_eq!(error("auth = \"password\"").message, "\"auth\" cannot be \"password\"");
    }

    #[test]
    fn addresses_are_hosts_with_ports() {
        for (text, expected) in [
            ("127.0.0.1:9090", Some("127.0.0.1:9090")),
            ("http://127.0.0.1:9090/", Some("127.0.0.1:9090")),
            (" node_1.cluster.local:1 ", Some("node_1.cluster.local:1")),
            ("[::1]:9090", Some("[::1]:9090")),
            ("[::1:9090", None),
            ("http://:9090", None),
            ("host/path:9090", None),
            ("user@host:9090", None),
            ("", None),
        ] {
            assert_eq!(node_address(text).ok().as_deref(), expected, "{text}");
        }
    }
}
