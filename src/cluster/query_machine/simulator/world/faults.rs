//! What goes wrong, and when: after so many steps of the simulation, so that every moment is as likely as any other.

use super::{
    super::{
        network::{Place, Stream},
        random::Random,
    },
    Happening, LEASE, MILLI, Message, World,
};
use crate::{
    cluster::query_machine::Event,
    error::{Error, ErrorKind},
};

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process ends; the coordinator learns of it soon.
    Kill,
    /// A machine falls silent; the coordinator learns of it late, or by asking.
    Silence,
    /// A process is stopped for this many microseconds.
    Pause(u64),
    /// A data connection breaks, and both ends live.
    Break,
    /// A node is to take no more work; perhaps it is to later.
    Drain,
    /// A node says that it shuts down.
    Leave,
}

/// The faults of a run: after which step, and what.
pub fn random_faults(random: &mut Random) -> Vec<(u64, Fault)> {
    let count = random.pick(&[0, 1, 1, 1, 2, 2, 3, 5]);
    let mut faults: Vec<(u64, Fault)> = (0..count).map(|_| (random.magnitude(10), random_fault(random))).collect();
    faults.sort_by_key(|(step, _)| *step);
    faults
}

fn random_fault(random: &mut Random) -> Fault {
    match random.below(12) {
        0..=3 => Fault::Kill,
        4 => Fault::Silence,
        5..=7 => Fault::Pause(random.magnitude(24)),
        8 | 9 => Fault::Break,
        10 => Fault::Drain,
        _ => Fault::Leave,
    }
}

impl World {
    pub(super) fn befall(&mut self, fault: Fault) -> Result<(), String> {
        let alive: Vec<Place> = (1..self.places.len()).filter(|place| !self.places[*place].is_dead).collect();
        if alive.is_empty() {
            return Ok(());
        }
        let place = self.random.pick(&alive);
        self.faults_met += 1;
        self.trace(|| format!("fault: {fault:?} of place {place}"));
        match fault {
            Fault::Kill => self.kill(place, 1500 * MILLI),
            Fault::Silence => self.kill(place, 10_000 * MILLI),
            Fault::Pause(micros) => self.pause(place, micros),
            Fault::Break => self.break_connection(),
            Fault::Drain => {
                self.places[place].is_draining = true;
                if self.random.percent(50) {
                    let micros = self.random.magnitude(20);
                    self.after(micros, Happening::Refilled(place));
                }
                self.tell_of(place, Event::Draining)?;
            }
            Fault::Leave => {
                self.places[place].is_draining = true;
                let error = Error::new(ErrorKind::Cluster, "57P01", "the node is shutting down");
                if let Some((attempt, node)) = self.node_of(place).filter(|_| self.places[place].stopped.is_none()) {
                    let stream = Stream { attempt, from: place, to: 0, is_data: false };
                    self.send(stream, Message::Report(Event::Failed { node, error }));
                }
                let micros = self.random.magnitude(15);
                self.after(micros, Happening::Killed(place));
            }
        }
        Ok(())
    }

    /// A place is no more. The coordinator knows after `known_within` at the latest, its peers perhaps earlier.
    pub(super) fn kill(&mut self, place: Place, known_within: u64) {
        self.places[place].is_dead = true;
        let (now, latency) = (self.now, self.network.latency);
        let random = &mut self.random;
        let cuts: Vec<u64> = (0..16).map(|_| now + random.between(0, latency)).collect();
        self.network.cut_all_from(place, |stream| cuts[stream.to % cuts.len()]);
        let micros = self.random.between(MILLI, known_within);
        self.after(micros, Happening::Lost(place));
        self.let_peers_notice(place, 30, known_within);
    }

    fn pause(&mut self, place: Place, micros: u64) {
        if self.places[place].stopped.is_some() {
            return;
        }
        self.places[place].stopped = Some(vec![]);
        self.after(micros, Happening::Continued(place));
        if micros > LEASE {
            self.after(LEASE, Happening::Lost(place));
            self.after(micros + 500 * MILLI, Happening::Back(place));
        }
        if micros > 2000 * MILLI {
            self.let_peers_notice(place, 10, micros);
        }
    }

    fn let_peers_notice(&mut self, peer: Place, percent: u64, within: u64) {
        let Some((attempt, _)) = self.node_of(peer) else { return };
        for place in self.attempt.as_ref().unwrap().members.clone() {
            if place != peer && self.random.percent(percent) {
                let micros = self.random.magnitude(24) % within;
                self.after(micros, Happening::Noticed { place, attempt, peer });
            }
        }
    }

    fn break_connection(&mut self) {
        let Some(attempt) = &self.attempt else { return };
        let (number, members) = (attempt.number, attempt.members.clone());
        let (one, other) = (self.random.pick(&members), self.random.pick(&members));
        if one == other {
            return;
        }
        self.cut_data(number, one, other);
        for (place, peer, percent) in [(one, other, 100), (other, one, 50)] {
            if self.random.percent(percent) {
                let micros = self.random.magnitude(20);
                self.after(micros, Happening::Noticed { place, attempt: number, peer });
            }
        }
    }

    fn cut_data(&mut self, attempt: u32, one: Place, other: Place) {
        for (from, to) in [(one, other), (other, one)] {
            self.network.cut(Stream { attempt, from, to, is_data: true }, self.now);
        }
    }

    /// A node gives a connection up and tells the coordinator.
    pub(super) fn notice(&mut self, place: Place, attempt: u32, peer: Place) {
        self.cut_data(attempt, place, peer);
        let (Some((now, reporter)), Some((_, peer))) = (self.node_of(place), self.node_of(peer)) else { return };
        if now == attempt {
            let stream = Stream { attempt, from: place, to: 0, is_data: false };
            self.send(stream, Message::Report(Event::PeerLost { reporter, peer, reason: "reset".to_owned() }));
        }
    }

    pub(super) fn probe(&mut self, place: Place, attempt: u32) {
        let Some((_, node)) = self.node_of(place).filter(|(now, _)| *now == attempt) else { return };
        let micros = self.random.between(10, 5 * MILLI);
        if !self.places[place].is_dead {
            self.after(micros, Happening::Told { attempt, event: Event::NodeAlive(node) });
        } else if self.random.percent(50) {
            self.after(micros, Happening::Lost(place));
        }
    }

    pub(super) fn lose(&mut self, place: Place) -> Result<(), String> {
        self.places[place].is_listed = false;
        self.tell_of(place, |node| Event::NodeLost { node, reason: "no heartbeat".to_owned() })
    }
}
