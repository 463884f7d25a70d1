//! Tickets: a stream of rows belongs to one query attempt, and only that attempt's coordinator can allow it.
//!
//! Position: made by the node that sends rows, with the key that came with the fragments; checked by the one that receives, which got
//! the same key. So a ticket dies with its attempt, and one of another attempt or another pair of nodes opens nothing.

use ring::hmac;

use super::Refusal;
use crate::cluster::{control::QueryAttempt, flight::Ticket, node::NodeIndex};

impl Ticket {
    /// A ticket for the stream of rows between two nodes.
    pub fn new(attempt: QueryAttempt, from: NodeIndex, to: NodeIndex, key: &[u8; 32]) -> Self {
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &claim(attempt, from, to));
        Ticket { attempt, from, to, mac: mac.as_ref().to_vec() }
    }

    /// Whether the ticket was made with the attempt's key, for just this stream.
    ///
    /// # Errors
    /// It was not.
    pub fn verify(&self, key: &[u8; 32]) -> Result<(), Refusal> {
        let claim = claim(self.attempt, self.from, self.to);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &claim, &self.mac).map_err(|_| Refusal::WrongTicket)
    }
}

/// Fixed widths: no two tickets have the same bytes.
fn claim(attempt: QueryAttempt, from: NodeIndex, to: NodeIndex) -> Vec<u8> {
    let mut claim = b"arneb ticket 1".to_vec();
    claim.extend_from_slice(attempt.query.as_bytes());
    claim.extend_from_slice(&attempt.attempt.to_le_bytes());
    claim.extend_from_slice(&from.0.to_le_bytes());
    claim.extend_from_slice(&to.0.to_le_bytes());
    claim
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8; 32] = &[7; 32];

    fn ticket() -> Ticket {
        Ticket::new(QueryAttempt { query: uuid::Uuid::from_u128(5), attempt: 1 }, NodeIndex(1), NodeIndex(2), KEY)
    }

    #[test]
    fn a_ticket_opens_the_stream_it_was_made_for() {
        assert_eq!(ticket().verify(KEY), Ok(()));
    }

    #[test]
    fn a_ticket_that_was_changed_opens_nothing() {
        let changes: [fn(&mut Ticket); 7] = [
            |t| t.attempt.query = uuid::Uuid::from_u128(6),
            |t| t.attempt.attempt = 2,
            |t| t.from = NodeIndex(3),
            |t| t.to = NodeIndex(0),
            |t| std::mem::swap(&mut t.from, &mut t.to),
            |t| t.mac[31] ^= 1,
            |t| t.mac.clear(),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut ticket = ticket();
            change(&mut ticket);
            assert_eq!(ticket.verify(KEY), Err(Refusal::WrongTicket), "change {index}");
        }
        assert_eq!(ticket().verify(&[8; 32]), Err(Refusal::WrongTicket));
    }
}
