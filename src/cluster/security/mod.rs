//! Who may talk to a node: one secret for the whole cluster, tokens made from it, tickets for streams of rows, and TLS.
//!
//! | file | what |
//! |---|---|
//! | [`secret`] | where the cluster's secret comes from |
//! | [`token`] | what every call carries: a proof, good for a minute, that the caller knows the secret |
//! | [`ticket`] | what a stream of rows carries besides: a proof that the query's coordinator allows it |
//! | [`tls`] | certificates of both sides, where they are configured |
//!
//! Position: used by `flight` for every call, in both directions. Deliberately elsewhere: what an authenticated caller may do; nodes
//! of one cluster trust each other.

pub mod secret;
pub mod ticket;
pub mod tls;
pub mod token;

use std::{fmt, sync::Arc};

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use self::{secret::Secret, tls::Tls};
use crate::{
    config::ClusterConfig,
    error::{Error, Result},
};

/// What a node needs to prove itself to others, and to check them.
pub struct Security {
    key: hmac::Key,
    random: SystemRandom,
    tls: Option<Tls>,
}

/// Why a caller was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token.
    NoToken,
    /// It is not a token.
    Malformed,
    /// It was not made with this cluster's secret.
    WrongSecret,
    /// It was good until this many seconds ago.
    Expired(u64),
    /// It is good for longer than tokens are: by this many seconds.
    FromTheFuture(u64),
    /// The ticket was not made by the coordinator of the query attempt.
    WrongTicket,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoToken => f.write_str("the call carries no token of this cluster"),
            Refusal::Malformed => f.write_str("the call carries a token that cannot be read"),
            Refusal::WrongSecret => f.write_str(
                "the token was made with another secret: all nodes of a cluster need the same ARNEB_CLUSTER_SECRET or [cluster] secret_file",
            ),
            Refusal::Expired(seconds) => {
                write!(f, "the token expired {seconds} seconds ago: if that is not so, the clocks of the nodes differ")
            }
            Refusal::FromTheFuture(seconds) => {
                write!(f, "the token was made {seconds} seconds in the future: the clocks of the nodes differ")
            }
            Refusal::WrongTicket => f.write_str("the ticket of the stream was not made by the coordinator of its query"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Security {
    /// With a secret, and without TLS.
    pub fn new(secret: &Secret) -> Arc<Self> {
        Arc::new(Security::with_tls(secret, None))
    }

    /// As a node's configuration says; the default secret file is made if it is not there.
    ///
    /// # Errors
    /// A secret or certificate that cannot be read or should not be used; the message says why.
    pub fn open(config: &ClusterConfig) -> Result<Arc<Self>> {
        let secret = Secret::load(config.secret_file.as_deref())?;
        let tls = config.tls.as_ref().map(Tls::read).transpose()?;
        Ok(Arc::new(Security::with_tls(&secret, tls)))
    }

    /// With a secret, and with certificates where they are given.
    pub fn with_tls(secret: &Secret, tls: Option<Tls>) -> Self {
        Security { key: hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()), random: SystemRandom::new(), tls }
    }

    /// A key that signs the tickets of one query attempt.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn attempt_key(&self) -> Result<[u8; 32]> {
        random_bytes(&self.random)
    }

    /// The certificates.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }
}

/// Bytes nobody can guess.
fn random_bytes<const N: usize>(random: &SystemRandom) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| Error::internal("the operating system gives no random bytes"))?;
    Ok(bytes)
}

/// Bytes as hexadecimal digits.
fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).map(char::from).collect()
}

/// The bytes that hexadecimal digits stand for.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
