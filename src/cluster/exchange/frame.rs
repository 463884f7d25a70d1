//! Frames: what travels between two nodes of a query attempt.
//!
//! Position: made by [`super::query_exchange`], carried by a [`super::Transport`]. The header travels as postcard; rows travel as an
//! Arrow IPC message (`message`) and its body, see [`super::rows_codec`]. Deliberately elsewhere: how frames become Flight messages
//! ([`super::data_stream`]).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::control::UnitRun,
    error::{Error, ErrorKind, Result},
    plan::fragment::ExchangeId,
};

/// A header, and for rows what the header is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What it says.
    pub header: FrameHeader,
    /// Of rows: the Arrow IPC message.
    pub message: Bytes,
    /// Of rows: the message's body.
    pub body: Bytes,
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameHeader {
    /// From sender to receiver: rows of a unit.
    Rows {
        /// On the way through which exchange.
        exchange: ExchangeId,
        /// Made by which run of which unit.
        run: UnitRun,
        /// How many.
        rows: u32,
        /// Credit they use, in bytes; to be given back.
        charge: u32,
        /// Whether the sender has no credit left after this frame.
        is_exhausted: bool,
    },
    /// From sender to receiver: the unit has ended well.
    End {
        /// In which exchange.
        exchange: ExchangeId,
        /// Which run of which unit.
        run: UnitRun,
        /// Rows it has sent to this receiver, all in all.
        rows: u64,
    },
    /// From sender to receiver: the run has failed or is not wanted.
    Abandon {
        /// In which exchange.
        exchange: ExchangeId,
        /// Which run of which unit.
        run: UnitRun,
    },
    /// From receiver to sender: so many bytes more may come.
    Credit {
        /// Through which exchange.
        exchange: ExchangeId,
        /// How many.
        bytes: u64,
    },
    /// From receiver to sender: the end of the unit has arrived, and so have its rows.
    Ack {
        /// In which exchange.
        exchange: ExchangeId,
        /// Which run of which unit.
        run: UnitRun,
    },
    /// From receiver to sender: no row of the exchange is wanted any more.
    Cancel {
        /// Which exchange.
        exchange: ExchangeId,
    },
}

impl Frame {
    /// A frame without rows.
    pub fn bare(header: FrameHeader) -> Frame {
        Frame { header, message: Bytes::new(), body: Bytes::new() }
    }

    /// The header as bytes.
    ///
    /// # Errors
    /// None that can be expected.
    pub fn header_bytes(&self) -> Result<Bytes> {
        let bytes = postcard::to_stdvec(&self.header).map_err(|error| Error::internal(format!("a frame's header: {error}")))?;
        Ok(bytes.into())
    }

    /// Puts a frame together again.
    ///
    /// # Errors
    /// If the header is none.
    pub fn from_parts(header: &[u8], message: Bytes, body: Bytes) -> Result<Frame> {
        let header = match postcard::take_from_bytes(header) {
            Ok((header, [])) => header,
            _ => return Err(bad_frame("its header cannot be read")),
        };
        Ok(Frame { header, message, body })
    }
}

/// 08P01: another node sent what no node sends.
pub(super) fn bad_frame(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Cluster, "08P01", format!("bad frame from another node: {why}"))
        .with_hint("make sure that all nodes run the same version of the program")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{cluster::control::UnitId, plan::fragment::FragmentId};

    #[test]
    fn every_header_comes_back() {
        let run = UnitRun { id: UnitId { fragment: FragmentId(3), unit: 70_000 }, run: 2 };
        let exchange = ExchangeId(u32::MAX);
        for header in [
            FrameHeader::Rows { exchange, run, rows: 8192, charge: u32::MAX, is_exhausted: true },
            FrameHeader::End { exchange, run, rows: u64::MAX },
            FrameHeader::Abandon { exchange, run },
            FrameHeader::Credit { exchange, bytes: 1 << 40 },
            FrameHeader::Ack { exchange, run },
            FrameHeader::Cancel { exchange },
        ] {
            let frame = Frame { header, message: Bytes::from_static(b"message"), body: Bytes::from_static(b"body") };
            let bytes = frame.header_bytes().unwrap();
            assert_eq!(Frame::from_parts(&bytes, frame.message.clone(), frame.body.clone()).unwrap(), frame);
            let longer = [&bytes[..], &[0]].concat();
            assert!(Frame::from_parts(&longer, Bytes::new(), Bytes::new()).is_err(), "bytes that are left over");
        }
    }

    proptest! {
        #[test]
        fn random_headers_never_panic(header in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Frame::from_parts(&header, Bytes::new(), Bytes::new());
        }
    }
}
