//! What is known of one node.
//!
//! Position: a row of the machine's table.

use super::{Answer, KNOCK_PAUSE, KnockId, Load, NodeInfo, NodeState, NodeStatus, Now, StreamId, Timing};

pub(super) struct Record {
    pub(super) info: NodeInfo,
    pub(super) state: NodeState,
    /// Its stream, while it has one; messages of all others are not its.
    pub(super) stream: Option<StreamId>,
    pub(super) registered_at: Now,
    pub(super) last_beat: Now,
    pub(super) load: Load,
    /// Remembered while the node is suspect.
    pub(super) is_draining: bool,
    /// Whether it was the node that asked for it: then it leaves when it has finished. One that others drain stays, and can be resumed.
    pub(super) wants_to_stop: bool,
    pub(super) idle_beats: u32,
    pub(super) suspicion: Option<Suspicion>,
    pub(super) suspected_at: Now,
    pub(super) knocking: Knocking,
    /// Why it is dead or gone.
    pub(super) end: Option<String>,
    pub(super) ended_at: Now,
}

/// Why a node may be dead.
pub(super) struct Suspicion {
    pub(super) why: String,
    pub(super) cleared_by: Answers,
}

/// What shows that a node lives after all, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answers {
    /// A beat, where beats were missing.
    Beat,
    /// The answer to a knock, where a peer's stream broke: a beat may have been sent before that.
    Knock,
    /// A new stream, where the old one broke: without one no beat can come.
    Stream,
}

#[derive(Default)]
pub(super) struct Knocking {
    /// What has not been answered yet.
    pub(super) current: Option<KnockId>,
    /// When to knock again.
    pub(super) next: Option<Now>,
    /// Times in a row that nobody was there.
    pub(super) refusals: u32,
    pub(super) last_answer: Option<Answer>,
}

impl Record {
    pub(super) fn joining(info: NodeInfo, stream: StreamId, now: Now) -> Self {
        Record {
            info,
            state: NodeState::Joining,
            stream: Some(stream),
            registered_at: now,
            last_beat: now,
            load: Load::default(),
            is_draining: false,
            wants_to_stop: false,
            idle_beats: 0,
            suspicion: None,
            suspected_at: now,
            knocking: Knocking::default(),
            end: None,
            ended_at: now,
        }
    }

    /// The node has shown itself in this way; where that is enough it is suspect no longer.
    pub(super) fn clear(&mut self, shown: Answers) {
        let is_enough = |suspicion: &Suspicion| match suspicion.cleared_by {
            Answers::Beat => shown != Answers::Knock,
            cleared_by => shown >= cleared_by,
        };
        if self.state == NodeState::Suspect && self.suspicion.as_ref().is_none_or(is_enough) {
            self.state = if self.is_draining { NodeState::Draining } else { NodeState::Active };
            self.suspicion = None;
            self.knocking = Knocking::default();
        }
    }

    /// How long after one knock the next is: soon, where a broken stream says that the process may just be ending.
    pub(super) fn knock_pause(&self, timing: Timing) -> Now {
        match &self.suspicion {
            Some(suspicion) if suspicion.cleared_by == Answers::Stream => KNOCK_PAUSE.min(timing.heartbeat),
            _ => timing.heartbeat,
        }
    }

    pub(super) fn end(&mut self, state: NodeState, why: String, now: Now) {
        self.state = state;
        self.stream = None;
        self.suspicion = None;
        self.knocking = Knocking::default();
        self.load = Load::default();
        self.end = Some(why);
        self.ended_at = now;
    }

    pub(super) fn status(&self, now: Now) -> NodeStatus {
        NodeStatus {
            info: self.info.clone(),
            state: self.state,
            heartbeat_age: now.saturating_sub(self.last_beat),
            running_tasks: self.load.running_tasks,
            memory_used_bytes: self.load.memory_used_bytes,
            reason: self.end.clone().or_else(|| self.suspicion.as_ref().map(|suspicion| suspicion.why.clone())),
        }
    }
}
