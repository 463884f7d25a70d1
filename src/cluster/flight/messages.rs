//! Typed messages over Flight streams: one value in postcard per `app_metadata`.
//!
//! Position: between raw streams and those who speak over them (`control`, `membership`). Deliberately elsewhere: frames of rows, which
//! use the other fields of `FlightData` too (`exchange`).

use std::marker::PhantomData;

use arrow_flight::FlightData;
use futures::StreamExt;
use serde::{Serialize, de::DeserializeOwned};

use super::{FlightReceiver, FlightSender, client::failure};
use crate::error::{Error, ErrorKind, Result};

/// A message as it is sent.
///
/// # Panics
/// If the type's own `Serialize` fails, which no type of ours does.
pub fn encode<T: Serialize>(message: &T) -> FlightData {
    FlightData { app_metadata: to_bytes(message).into(), ..FlightData::default() }
}

/// A message as it came.
///
/// # Errors
/// The bytes are not a `T`, or more than that.
pub fn decode<T: DeserializeOwned>(data: &FlightData) -> Result<T> {
    from_bytes(&data.app_metadata)
}

pub(crate) fn to_bytes<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).expect("a message can be written")
}

pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(unreadable(&format!("{} bytes too many", rest.len()))),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

fn unreadable(why: &str) -> Error {
    Error::new(ErrorKind::Cluster, "XX000", format!("a message of another node cannot be read: {why}"))
        .with_hint("all nodes of a cluster must run the same version of arneb")
}

/// Sends messages of one type.
pub struct Outbox<T> {
    outbound: FlightSender,
    messages: PhantomData<fn(T)>,
}

impl<T: Serialize> Outbox<T> {
    /// Over a stream; dropping all of its senders ends the direction.
    pub fn new(outbound: FlightSender) -> Self {
        Outbox { outbound, messages: PhantomData }
    }

    /// Sends, without waiting; `false` when the stream is gone.
    pub fn send(&self, message: &T) -> bool {
        self.outbound.send(encode(message)).is_ok()
    }
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Outbox { outbound: self.outbound.clone(), messages: PhantomData }
    }
}

/// Receives messages of one type.
pub struct Inbox<T> {
    inbound: FlightReceiver,
    messages: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Inbox<T> {
    /// Over a stream.
    pub fn new(inbound: FlightReceiver) -> Self {
        Inbox { inbound, messages: PhantomData }
    }

    /// The next message; `None` when the other side has ended its direction, or its connection broke: the two cannot be told
    /// apart on the side that was called, so that messages must say themselves which of them is the last.
    ///
    /// # Errors
    /// The stream broke, or what came is no message.
    pub async fn next(&mut self) -> Option<Result<T>> {
        match self.inbound.next().await? {
            Ok(data) => Some(decode(&data)),
            Err(status) => Some(Err(failure(&status))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{flight::StreamOpen, node::NodeIndex};

    #[test]
    fn what_is_sent_comes() {
        let sent = (NodeIndex(3), "text".to_owned());
        assert_eq!(decode::<(NodeIndex, String)>(&encode(&sent)).unwrap(), sent);
    }

    #[test]
    fn bytes_that_are_no_message_are_errors() {
        let valid = to_bytes(&(NodeIndex(3), "text".to_owned()));
        for length in 0..valid.len() {
            assert!(from_bytes::<(NodeIndex, String)>(&valid[..length]).is_err());
        }
        assert!(from_bytes::<(NodeIndex, String)>(&[valid, vec![0]].concat()).is_err());
        // A length that no memory could hold.
        assert!(from_bytes::<Vec<String>>(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bytes = [noise.to_le_bytes(), noise.rotate_left(17).to_le_bytes()].concat();
            let _ = from_bytes::<StreamOpen>(&bytes[..(noise >> 60) as usize]);
        }
    }
}
