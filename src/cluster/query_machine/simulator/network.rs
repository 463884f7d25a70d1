//! Messages on their way: they come in order on a stream, in any order on different ones, and not at all after a stream is cut.

use std::collections::BTreeMap;

use super::random::Random;

/// A place where messages come from and go to: 0 is the coordinator.
pub type Place = usize;

/// One direction of a connection of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// Of which attempt.
    pub attempt: u32,
    /// From where.
    pub from: Place,
    /// To where.
    pub to: Place,
    /// Whether it carries rows; if not, commands or reports.
    pub is_data: bool,
}

/// All streams there have been.
#[derive(Debug)]
pub struct Network {
    streams: BTreeMap<Stream, State>,
    /// Microseconds a message takes at most.
    pub latency: u64,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    cut: Option<u64>,
}

impl Network {
    /// Without streams.
    pub fn new(latency: u64) -> Self {
        Network { streams: BTreeMap::new(), latency }
    }

    /// When a message that is sent now arrives.
    pub fn arrival(&mut self, random: &mut Random, stream: Stream, now: u64) -> u64 {
        let state = self.streams.entry(stream).or_default();
        state.last = (state.last + 1).max(now + random.between(10, self.latency));
        state.last
    }

    /// What would arrive later on this stream is lost.
    pub fn cut(&mut self, stream: Stream, at: u64) {
        let state = self.streams.entry(stream).or_default();
        state.cut = Some(state.cut.map_or(at, |cut| cut.min(at)));
    }

    /// All that a place has sent in an attempt, and that would arrive later, is lost.
    pub fn cut_all_from(&mut self, from: Place, at: impl Fn(Stream) -> u64) {
        for (stream, state) in self.streams.iter_mut().filter(|(stream, _)| stream.from == from) {
            let at = at(*stream);
            state.cut = Some(state.cut.map_or(at, |cut| cut.min(at)));
        }
    }

    /// Whether a message that arrives now does arrive.
    pub fn arrives(&self, stream: Stream, now: u64) -> bool {
        self.streams.get(&stream).is_none_or(|state| state.cut.is_none_or(|cut| now <= cut))
    }
}
