//! Tokens: what every call between nodes carries.
//!
//! ```text
//!   v1 . expiry (seconds since 1970) . nonce (16 bytes, hex) . HMAC-SHA256 of all that under the cluster's secret (hex)
//! ```
//!
//! Position: made by `flight`'s client, checked by its server before anything of the call is looked at. A token proves that its maker
//! knew the secret a moment ago; it does not hide what is sent, and who can listen may use it again until it expires: where
//! the network is not trusted, TLS is needed besides.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::{hmac, rand::SecureRandom};

use super::{Refusal, Security, from_hex, to_hex};

/// Seconds a token is good for.
const LIFETIME: u64 = 60;

/// Seconds by which the clocks of two nodes may differ.
const SKEW: u64 = 30;

const VERSION: &str = "v1";

/// Longer texts are not tokens, and are not looked at.
const LENGTH_MAX: usize = 256;

impl Security {
    /// A new token.
    pub fn token(&self) -> String {
        self.token_at(unix_seconds())
    }

    /// Whether a token was made with the cluster's secret, and lately.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, token: &str) -> Result<(), Refusal> {
        self.check_at(token, unix_seconds())
    }

    fn token_at(&self, now: u64) -> String {
        let mut nonce = [0; 16];
        // Without randomness tokens of one second are equal, which weakens nothing: the nonce only tells calls apart.
        let _ = self.random.fill(&mut nonce);
        let claim = format!("{VERSION}.{}.{}", now + LIFETIME, to_hex(&nonce));
        let mac = hmac::sign(&self.key, claim.as_bytes());
        format!("{claim}.{}", to_hex(mac.as_ref()))
    }

    fn check_at(&self, token: &str, now: u64) -> Result<(), Refusal> {
        if token.len() > LENGTH_MAX {
            return Err(Refusal::Malformed);
        }
        let (claim, mac) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let mac = from_hex(mac).ok_or(Refusal::Malformed)?;
        // The comparison takes the same time wherever they differ.
        hmac::verify(&self.key, claim.as_bytes(), &mac).map_err(|_| Refusal::WrongSecret)?;
        let mut parts = claim.split('.');
        let (Some(VERSION), Some(expiry)) = (parts.next(), parts.next()) else { return Err(Refusal::Malformed) };
        let expiry: u64 = expiry.parse().map_err(|_| Refusal::Malformed)?;
        if expiry.saturating_add(SKEW) < now {
            return Err(Refusal::Expired(now - expiry));
        }
        let latest = now + LIFETIME + SKEW;
        if expiry > latest { Err(Refusal::FromTheFuture(expiry - now - LIFETIME)) } else { Ok(()) }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::security::secret::Secret;

    const NOW: u64 = 1_700_000_000;

    fn security(secret: &str) -> std::sync::Arc<Security> {
        Security::new(&Secret::from_text(secret).unwrap())
    }

    #[test]
    fn a_token_is_good_for_a_minute_and_for_clocks_that_differ_a_little() {
        let security = security("a secret of the cluster");
        let token = security.token_at(NOW);
        for now in [NOW, NOW + 60, NOW + 90, NOW - 30] {
            assert_eq!(security.check_at(&token, now), Ok(()), "{now}");
        }
        assert_eq!(security.check_at(&token, NOW + 91), Err(Refusal::Expired(31)));
        assert_eq!(security.check_at(&token, NOW - 31), Err(Refusal::FromTheFuture(31)));
        assert_eq!(security.check(&security.token()), Ok(()));
    }

    #[test]
    fn a_token_of_another_secret_is_refused() {
        let token = security("another secret").token_at(NOW);
        assert_eq!(security("a secret of the cluster").check_at(&token, NOW), Err(Refusal::WrongSecret));
    }

    #[test]
    fn a_token_changed_anywhere_is_refused() {
        let security = security("a secret of the cluster");
        let token = security.token_at(NOW);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(security.check_at(&changed, NOW).is_err(), "{changed}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let security = security("a secret of the cluster");
        let long = "1".repeat(100_000);
        for text in ["", ".", "...", "v1", "v1.5.6", "v1.5.6.zz", "v1.5.6.äö", &long] {
            assert!(security.check_at(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn two_tokens_differ() {
        let security = security("a secret of the cluster");
        assert_ne!(security.token_at(NOW), security.token_at(NOW));
    }
}
