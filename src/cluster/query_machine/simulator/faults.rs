//! What goes wrong, and when: after so many steps of the simulation, so that every moment is as likely as any other.

use super::random::Random;

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
