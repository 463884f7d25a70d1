//! The carrier of an attempt's frames: data streams to the attempt's other nodes, opened with the attempt's tickets.
//!
//! Position: where `exchange` (frames) and `flight` (streams) meet.

use std::sync::Arc;

use super::{
    control::QueryStart,
    exchange::{DataStreams, Transport},
    flight::{Lane, Peers, StreamOpen, Ticket},
    node::NodeIndex,
};
use crate::error::Error;

/// Carries frames from the node that `start` is for to the attempt's other nodes.
pub fn transport(peers: &Arc<Peers>, start: &QueryStart) -> Arc<dyn Transport> {
    let (peers, attempt, me, key, nodes) = (Arc::clone(peers), start.attempt, start.receiver, start.key, start.nodes.clone());
    DataStreams::new(Box::new(move |to: NodeIndex| {
        let (peers, address) = (Arc::clone(&peers), nodes.get(usize::from(to.0)).map(|node| node.address.clone()));
        Box::pin(async move {
            let address = address.ok_or_else(|| Error::internal("a frame to a node that is not of the query"))?;
            peers.open(Lane::Data, &address, &StreamOpen::Data(Ticket::new(attempt, me, to, &key))).await
        })
    }))
}
