//! A coordinator, its workers and what is between them, in virtual time: carries out what the machine says, and lets things go wrong.

mod faults;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    super::{Action, Event, MachineConfig, QueryMachine, Recovery},
    Sabotage,
    network::{Network, Place, Stream},
    random::Random,
    scenario::{Scenario, is_leaf, num_units},
    statistics::Statistics,
    task::{Heard, Said, Task},
    watch::Watch,
};
use crate::{
    cluster::{control::UnitRun, node::NodeIndex, node_scheduler::NodeShape},
    error::Error,
};

use faults::{Fault, random_faults};

/// Virtual microseconds in a millisecond.
const MILLI: u64 = 1000;
/// A node that has been silent for so long is lost.
const LEASE: u64 = 5000 * MILLI;
/// A query that is not over after so many steps is never.
const MAX_STEPS: u64 = 300_000;

/// Everything there is.
pub struct World {
    random: Random,
    scenario: Arc<Scenario>,
    recovery: Recovery,
    speculation: bool,
    sabotage: Option<Sabotage>,
    is_traced: bool,
    network: Network,
    agenda: BTreeMap<(u64, u64), Happening>,
    now: u64,
    steps: u64,
    numbers: u64,
    places: Vec<PlaceState>,
    faults: VecDeque<(u64, Fault)>,
    faults_met: u32,
    attempt: Option<Attempt>,
    num_attempts: u32,
    statistics: Statistics,
    is_over: bool,
}

#[derive(Debug)]
struct PlaceState {
    threads: u16,
    /// Microseconds a step of a unit takes.
    pace: u64,
    is_dead: bool,
    /// Whether the coordinator counts on it for new attempts.
    is_listed: bool,
    is_draining: bool,
    /// What has come while the process was stopped.
    stopped: Option<Vec<Happening>>,
    task: Option<(u32, Task)>,
}

struct Attempt {
    number: u32,
    began: u64,
    machine: QueryMachine,
    /// By node index.
    members: Vec<Place>,
    watch: Watch,
    has_lost: bool,
}

#[derive(Debug)]
enum Happening {
    Arrival(Stream, Message),
    Worked { place: Place, attempt: u32, run: UnitRun },
    Noticed { place: Place, attempt: u32, peer: Place },
    Probed { place: Place, attempt: u32 },
    Told { attempt: u32, event: Event },
    Lost(Place),
    Back(Place),
    Continued(Place),
    Refilled(Place),
    Killed(Place),
    NewAttempt,
}

#[derive(Debug, Clone)]
enum Message {
    Begin { me: NodeIndex, num_workers: usize },
    Heard(Heard),
    Report(Event),
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, sabotage: Option<Sabotage>, is_traced: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = Arc::new(Scenario::random(&mut random));
        let recovery = random.pick(&[Recovery::Auto, Recovery::Auto, Recovery::Auto, Recovery::Auto, Recovery::Restart, Recovery::Off]);
        let num_workers = 1 + random.below(8);
        let mut world = World {
            scenario,
            recovery,
            speculation: random.percent(80),
            sabotage,
            is_traced,
            network: Network::new(10 + random.magnitude(13)),
            agenda: BTreeMap::new(),
            now: 0,
            steps: 0,
            numbers: 0,
            places: vec![],
            faults: random_faults(&mut random).into(),
            faults_met: 0,
            attempt: None,
            num_attempts: 0,
            statistics: Statistics::default(),
            is_over: false,
            random,
        };
        (0..=num_workers).for_each(|_| world.add_place());
        world.after(1, Happening::NewAttempt);
        world
    }

    /// Lets everything happen until the query is over.
    ///
    /// # Errors
    /// What was wrong.
    pub fn run(mut self) -> Result<Statistics, String> {
        while !self.is_over {
            let Some(((now, _), happening)) = self.agenda.pop_first() else { return Err("everybody waits".to_owned()) };
            self.now = now;
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err("it goes on for ever".to_owned());
            }
            while !self.is_over && self.faults.front().is_some_and(|(step, _)| *step <= self.steps) {
                let (_, fault) = self.faults.pop_front().unwrap();
                self.befall(fault)?;
            }
            if !self.is_over {
                self.happen(happening)?;
            }
        }
        Ok(self.statistics)
    }

    fn add_place(&mut self) {
        let pace = self.random.magnitude(13) * self.random.pick(&[1, 1, 1, 1, 1, 50]);
        let threads = 1 + self.random.below(4) as u16;
        let place = PlaceState { threads, pace, is_dead: false, is_listed: true, is_draining: false, stopped: None, task: None };
        self.places.push(place);
    }

    fn after(&mut self, micros: u64, happening: Happening) {
        self.numbers += 1;
        self.agenda.insert((self.now + micros, self.numbers), happening);
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:>12} µs  {}", self.now, what());
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        let place = match &happening {
            Happening::Arrival(stream, message) if !matches!(message, Message::Report(_)) => Some(stream.to),
            Happening::Worked { place, .. } | Happening::Noticed { place, .. } => Some(*place),
            Happening::Probed { place, .. } if !self.places[*place].is_dead => Some(*place),
            _ => None,
        };
        if let Some(place) = place {
            let place = &mut self.places[place];
            if place.is_dead {
                return Ok(());
            }
            if let Some(later) = &mut place.stopped {
                later.push(happening);
                return Ok(());
            }
        }
        match happening {
            Happening::Arrival(stream, message) => {
                if self.network.arrives(stream, self.now) {
                    self.arrive(stream, message)?;
                }
            }
            Happening::Worked { place, attempt, run } => self.hear(place, attempt, Heard::Worked(run))?,
            Happening::Noticed { place, attempt, peer } => self.notice(place, attempt, peer),
            Happening::Probed { place, attempt } => self.probe(place, attempt),
            Happening::Told { attempt, event } => self.tell(attempt, event)?,
            Happening::Lost(place) => self.lose(place)?,
            Happening::Back(place) => {
                let place = &mut self.places[place];
                (place.is_listed, place.is_draining) = (!place.is_dead, false);
            }
            Happening::Continued(place) => {
                self.trace(|| format!("place {place} continues"));
                // Now, or what arrives in the same microsecond would overtake what has waited.
                for later in self.places[place].stopped.take().unwrap_or_default() {
                    self.happen(later)?;
                }
            }
            Happening::Refilled(place) => {
                self.places[place].is_draining = false;
                self.tell_of(place, Event::Resumed)?;
            }
            Happening::Killed(place) => self.kill(place, 1500 * MILLI),
            Happening::NewAttempt => self.begin_attempt(),
        }
        Ok(())
    }

    fn arrive(&mut self, stream: Stream, message: Message) -> Result<(), String> {
        match message {
            // The beginning of an attempt that has been given up can come after that of the next.
            Message::Begin { .. } if self.places[stream.to].task.as_ref().is_some_and(|(attempt, _)| *attempt > stream.attempt) => Ok(()),
            Message::Begin { me, num_workers } => {
                let task = Task::new(self.scenario.clone(), me, num_workers, self.sabotage);
                self.places[stream.to].task = Some((stream.attempt, task));
                self.send(Stream { from: stream.to, to: 0, ..stream }, Message::Report(Event::Ready(me)));
                Ok(())
            }
            Message::Heard(heard) => self.hear(stream.to, stream.attempt, heard),
            Message::Report(event) => self.tell(stream.attempt, event),
        }
    }

    fn send(&mut self, stream: Stream, message: Message) {
        let arrival = self.network.arrival(&mut self.random, stream, self.now);
        self.numbers += 1;
        self.agenda.insert((arrival, self.numbers), Happening::Arrival(stream, message));
    }

    /// A node hears something, and acts.
    fn hear(&mut self, place: Place, attempt: u32, heard: Heard) -> Result<(), String> {
        let Some((of, task)) = &mut self.places[place].task else { return Ok(()) };
        if *of != attempt {
            return Ok(());
        }
        let said = task.hear(heard.clone());
        self.trace(|| format!("place {place} hears {heard:?} and says {said:?}"));
        let Some(members) = self.attempt.as_ref().filter(|now| now.number == attempt).map(|now| now.members.clone()) else { return Ok(()) };
        let node = NodeIndex(members.iter().position(|member| *member == place).unwrap() as u16);
        let report = Stream { attempt, from: place, to: 0, is_data: false };
        for said in said {
            match said {
                Said::Done(run) => self.send(report, Message::Report(Event::Done { node, run })),
                Said::Failed(error) => self.send(report, Message::Report(Event::Failed { node, error })),
                Said::FilterPart(filter, value) => {
                    self.send(report, Message::Report(Event::FilterPart { node, filter, unit: None, value }));
                }
                Said::Data(to, data) => {
                    let stream = Stream { attempt, from: place, to: members[usize::from(to.0)], is_data: true };
                    self.send(stream, Message::Heard(Heard::Data(node, data)));
                }
                Said::Work(run) => {
                    let pace = self.places[place].pace;
                    let micros = self.random.between(1 + pace / 2, 1 + pace);
                    self.after(micros, Happening::Worked { place, attempt, run });
                }
                Said::Wrong(what) => return Err(what),
            }
        }
        Ok(())
    }

    /// The machine is told something, and what it says is done.
    fn tell(&mut self, number: u32, event: Event) -> Result<(), String> {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.number == number) else { return Ok(()) };
        let now = Duration::from_micros(self.now - attempt.began);
        let actions = attempt.machine.step(event.clone(), now);
        if self.is_traced && !(matches!(event, Event::Tick) && actions.is_empty()) {
            eprintln!("{:>12} µs  machine hears {event:?} and says {actions:?}", self.now);
        }
        attempt.watch.check(&self.scenario.plan, &event, &actions)?;
        if actions.last().is_some_and(Action::is_last) {
            if !attempt.machine.step(Event::Tick, now).is_empty() || actions.len() != 1 {
                return Err("more than a last action".to_owned());
            }
        } else {
            attempt.watch.check_state(&attempt.machine, now)?;
            if let Some(deadline) = attempt.machine.next_deadline() {
                let micros = (deadline - now).as_micros() as u64;
                self.after(micros, Happening::Told { attempt: number, event: Event::Tick });
            }
        }
        actions.into_iter().try_for_each(|action| self.perform(action))
    }

    fn perform(&mut self, action: Action) -> Result<(), String> {
        let attempt = self.attempt.as_mut().unwrap();
        let (number, members) = (attempt.number, attempt.members.clone());
        let command = |world: &mut World, node: NodeIndex, heard: Heard| {
            let stream = Stream { attempt: number, from: 0, to: members[usize::from(node.0)], is_data: false };
            world.send(stream, Message::Heard(heard));
        };
        let everybody = (0..members.len() as u16).map(NodeIndex);
        match action {
            Action::Start => everybody.for_each(|node| command(self, node, Heard::Start)),
            Action::Filter { node, filter, value } => {
                self.statistics.filters += u32::from(value.is_some());
                command(self, node, Heard::Filter(filter, value));
            }
            Action::Run { node, run, .. } => {
                self.statistics.second_runs += u32::from(run.run > 0);
                command(self, node, Heard::Run(run));
            }
            Action::Forget { node, run } => {
                self.statistics.forgotten += 1;
                command(self, node, Heard::Forget(run));
            }
            Action::NodeGone { gone } => {
                self.statistics.nodes_gone += 1;
                attempt.has_lost = true;
                everybody.filter(|node| *node != gone).for_each(|node| command(self, node, Heard::NodeGone(gone)));
            }
            Action::Probe(node) => {
                self.statistics.probes += 1;
                let micros = self.random.between(10, 5 * MILLI);
                self.after(micros, Happening::Probed { place: members[usize::from(node.0)], attempt: number });
            }
            Action::Restart { reason } => return self.restart(&reason),
            Action::Fail(error) => return self.fail(&error),
            Action::Succeed => return self.succeed(),
        }
        Ok(())
    }

    fn begin_attempt(&mut self) {
        let is_member = |place: &Place| *place == 0 || self.places[*place].is_listed && !self.places[*place].is_draining;
        let members: Vec<Place> = (0..self.places.len()).filter(is_member).collect();
        if members.len() == 1 {
            // Nobody is left; after a while somebody comes.
            self.add_place();
            self.after(1000 * MILLI, Happening::NewAttempt);
            return;
        }
        let number = self.num_attempts;
        self.num_attempts += 1;
        let shape = |place: &Place| NodeShape { threads: self.places[*place].threads, name: format!("node-{place}") };
        let nodes: Vec<NodeShape> = members.iter().map(shape).collect();
        let num_workers = members.len() - 1;
        let mut watch = Watch::new(&nodes);
        for fragment in self.scenario.plan.fragments.iter().filter(|fragment| !is_leaf(fragment)) {
            let units = num_units(fragment, num_workers) as u16;
            let is_coordinator = matches!(fragment.placement, crate::plan::fragment::Placement::Coordinator);
            (0..units).for_each(|unit| watch.placed(fragment.id, unit.into(), NodeIndex(if is_coordinator { 0 } else { unit + 1 })));
        }
        let config = MachineConfig { plan: self.scenario.plan.clone(), nodes, recovery: self.recovery, speculation: self.speculation };
        let mut machine = QueryMachine::new(config);
        if let Some(Sabotage::Machine(rule)) = self.sabotage {
            machine.broken = Some(rule);
        }
        self.trace(|| format!("attempt {number} on places {members:?}"));
        for (node, place) in members.iter().enumerate() {
            let stream = Stream { attempt: number, from: 0, to: *place, is_data: false };
            self.send(stream, Message::Begin { me: NodeIndex(node as u16), num_workers });
        }
        self.attempt = Some(Attempt { number, began: self.now, machine, members, watch, has_lost: false });
    }

    fn restart(&mut self, reason: &str) -> Result<(), String> {
        self.statistics.restarts += 1;
        self.attempt = None;
        // A fault can end two attempts: one that it hits, and one that begins before it is known.
        if self.num_attempts > 2 * self.faults_met || self.recovery == Recovery::Off {
            return Err(format!("restart {} after {} faults: {reason}", self.num_attempts, self.faults_met));
        }
        let micros = self.random.between(MILLI, 300 * MILLI);
        self.after(micros, Happening::NewAttempt);
        Ok(())
    }

    fn fail(&mut self, error: &Error) -> Result<(), String> {
        let is_due = match error.sqlstate.0 {
            "22012" => self.scenario.failing.is_some(),
            "40001" | "57P01" => self.recovery == Recovery::Off && self.faults_met > 0,
            "53000" => self.faults_met >= 3,
            _ => false,
        };
        self.statistics.failed += 1;
        self.statistics.poisoned += u32::from(error.sqlstate.0 == "53000");
        self.is_over = true;
        if is_due { Ok(()) } else { Err(format!("the query fails after {} faults: {error}", self.faults_met)) }
    }

    fn succeed(&mut self) -> Result<(), String> {
        let attempt = self.attempt.take().unwrap();
        let (_, task) = self.places[0].task.as_ref().unwrap();
        let mut rows = task.result.clone().ok_or("success without a result")?;
        rows.sort_unstable();
        let due = self.scenario.output_of(self.scenario.plan.root().id);
        self.statistics.succeeded += 1;
        self.statistics.survived += u32::from(attempt.has_lost);
        self.is_over = true;
        if rows == due { Ok(()) } else { Err(format!("the result is {rows:?} and should be {due:?}")) }
    }

    fn tell_of(&mut self, place: Place, event: impl Fn(NodeIndex) -> Event) -> Result<(), String> {
        match self.node_of(place) {
            Some((attempt, node)) => self.tell(attempt, event(node)),
            None => Ok(()),
        }
    }

    /// What the place is in the attempt that runs.
    fn node_of(&self, place: Place) -> Option<(u32, NodeIndex)> {
        let attempt = self.attempt.as_ref()?;
        let node = attempt.members.iter().position(|member| *member == place)?;
        Some((attempt.number, NodeIndex(node as u16)))
    }
}
