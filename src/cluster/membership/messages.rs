//! What a worker and its coordinator say to each other over a membership stream.
//!
//! Position: postcard over Flight, after `StreamOpen::Membership` has opened the stream with who the worker is. A refusal comes as a
//! message too, not as a status: so the worker can tell "never", "not now" and "not under this number" apart.

use serde::{Deserialize, Serialize};

use super::Timing;
use crate::cluster::node::Incarnation;

/// The question by which a coordinator finds out whether a node is there; the answer is its [`Incarnation`], in postcard.
pub const PROBE: &str = "probe";

/// What a node has to do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Bytes of its memory budget in use.
    pub memory_used_bytes: u64,
    /// Tasks that run.
    pub running_tasks: u32,
}

/// From a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// First: the address the worker reached the coordinator at, which other nodes can therefore use too.
    ReachedAt(String),
    /// A sign of life.
    Beat {
        /// Counts up; is sent back.
        number: u64,
        /// What the worker has to do.
        load: Load,
        /// Whether it knows that it is draining.
        is_draining: bool,
    },
    /// It wants to stop when it has finished what it has.
    AskDrain,
    /// It stops now.
    Leave,
}

/// To a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToNode {
    /// The worker is registered; it gets work when the coordinator has reached it.
    Welcome {
        /// Which start of the coordinator this is.
        coordinator: Incarnation,
        /// How often to give signs of life, and how long one is good for.
        timing: Timing,
    },
    /// The worker gets work from now on.
    Joined,
    /// A sign of life has come.
    Ack(u64),
    /// The worker is to finish what it has.
    Drain,
    /// It is to go on as before.
    Resume,
    /// It has finished, nobody will ask anything of it any more.
    Drained,
    /// It cannot be in this cluster as it is.
    Refused(String),
    /// It was declared dead under its incarnation, and must drop everything and take another.
    Fenced(String),
}
