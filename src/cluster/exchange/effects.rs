//! What is left to do when a lock has been released: wake chains, tell other nodes.
//!
//! Position: answered by the parts that decide, carried out by [`super::query_exchange`]. So no lock is held while another is taken,
//! while a waker runs, or while a frame is handed to the transport.

use std::task::Waker;

use super::frame::FrameHeader;
use crate::cluster::node::NodeIndex;

/// In this order: frames, then wakers.
#[derive(Debug, Default)]
#[must_use = "somebody waits for it"]
pub(crate) struct Effects {
    /// To be sent; the own node is a receiver like others.
    pub frames: Vec<(NodeIndex, FrameHeader)>,
    /// To be woken.
    pub wakers: Vec<Waker>,
}

impl Effects {
    /// Only wakers.
    pub(super) fn wake(wakers: Vec<Waker>) -> Effects {
        Effects { frames: Vec::new(), wakers }
    }

    /// One more frame.
    pub(super) fn send(&mut self, to: NodeIndex, header: FrameHeader) {
        self.frames.push((to, header));
    }
}

/// Keeps `waker` unless one that wakes the same is kept already.
pub(super) fn keep_waker(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|kept| kept.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
