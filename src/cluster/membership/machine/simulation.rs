//! The machine among workers that are killed, stopped, restarted and cut off at random, over a network that delays, reorders, duplicates
//! and loses what is said: thousands of small histories, each given by its seed.
//!
//! What must hold at every moment: of one name at most one node is live; every node that joined is reported lost or left once, and no
//! other is; a node is lost only when it is dead, stopped, or has fenced itself. And when the trouble is over, every live worker is in
//! the cluster, and no dead one.

use std::collections::BTreeMap;

use super::{tests::node, *};
use crate::cluster::membership::messages::ToNode;

const TIMING: Timing = Timing { heartbeat: Duration::from_millis(500), lease: Duration::from_secs(5) };
const WORKERS: usize = 3;
const TROUBLE: Duration = Duration::from_secs(40);
/// Longer than a lease, a refusal's pause, and a new registration.
const QUIET: Duration = Duration::from_secs(30);

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// A process of a worker; the next start of it is another incarnation.
struct Worker {
    name: String,
    incarnation: u64,
    address: String,
    is_running: bool,
    stopped_until: Now,
    stream: Option<StreamId>,
    opened: Now,
    renewed: Now,
    is_member: bool,
    is_draining: bool,
    has_left: bool,
    sent: Vec<Now>,
}

impl Worker {
    fn must_have_fenced(&self, now: Now) -> bool {
        now >= self.renewed + TIMING.lease
    }
}

#[derive(Clone)]
enum Coming {
    ToMachine(Event),
    ToWorker(StreamId, ToNode),
    Closed(StreamId),
    Connect(usize),
    Beat(usize, StreamId),
    Restart(usize),
    Trouble,
    Tick,
}

struct World {
    seed: u64,
    random: Random,
    machine: Machine,
    now: Now,
    coming: BTreeMap<(Now, u64), Coming>,
    sequence: u64,
    workers: Vec<Worker>,
    streams: u64,
    incarnations: u64,
    /// Who is in the cluster, as was announced.
    announced: BTreeMap<NodeId, Incarnation>,
    events: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let machine = Machine::new(node("coordinator", 1, "c:1"), vec![], TIMING);
        let mut world = World {
            seed,
            random: Random(seed),
            machine,
            now: Duration::ZERO,
            coming: BTreeMap::new(),
            sequence: 0,
            workers: vec![],
            streams: 0,
            incarnations: 10,
            announced: BTreeMap::new(),
            events: 0,
        };
        for index in 0..WORKERS {
            world.workers.push(Worker {
                name: format!("w{index}"),
                incarnation: 0,
                address: format!("w{index}:1"),
                is_running: false,
                stopped_until: Duration::ZERO,
                stream: None,
                opened: Duration::ZERO,
                renewed: Duration::ZERO,
                is_member: false,
                is_draining: false,
                has_left: false,
                sent: vec![],
            });
            world.later(Duration::ZERO, Coming::Restart(index));
        }
        world.later(Duration::ZERO, Coming::Tick);
        world.later(Duration::from_secs(1), Coming::Trouble);
        world
    }

    fn later(&mut self, delay: Duration, what: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + delay, self.sequence), what);
    }

    fn is_quiet(&self) -> bool {
        self.now >= TROUBLE
    }

    /// Over the network: late, and in times of trouble sometimes twice or never.
    fn send(&mut self, what: Coming, may_be_lost: bool) {
        let trouble = !self.is_quiet();
        if trouble && may_be_lost && self.random.percent(5) {
            return;
        }
        if trouble && self.random.percent(10) {
            let delay = self.random.millis(1, 400);
            self.later(delay, what.clone());
        }
        let delay = if trouble { self.random.millis(1, 120) } else { self.random.millis(1, 5) };
        self.later(delay, what);
    }

    fn run(&mut self) {
        while let Some(entry) = self.coming.first_entry() {
            let ((time, _), what) = entry.remove_entry();
            if time > TROUBLE + QUIET {
                break;
            }
            self.now = time;
            self.happen(what);
        }
        self.check_end();
    }

    fn happen(&mut self, what: Coming) {
        match what {
            Coming::ToMachine(event) => self.step(event),
            Coming::Tick => {
                self.step(Event::Tick);
                let delay = self.machine.deadline().saturating_sub(self.now).max(Duration::from_millis(1));
                self.later(delay.min(Duration::from_millis(25)), Coming::Tick);
            }
            Coming::ToWorker(stream, message) => self.told(stream, message),
            Coming::Closed(stream) => self.closed(stream),
            Coming::Connect(index) => self.connect(index),
            Coming::Beat(index, stream) => self.beat(index, stream),
            Coming::Restart(index) => self.restart(index),
            Coming::Trouble => self.trouble(),
        }
    }

    fn step(&mut self, event: Event) {
        for action in self.machine.step(event, self.now) {
            match action {
                Action::Tell(stream, message) => self.send(Coming::ToWorker(stream, message), false),
                Action::Close(stream) => self.send(Coming::Closed(stream), false),
                Action::Knock(knock, address) => self.knock(knock, &address),
                Action::Announce(event) => self.announced(&event),
            }
        }
    }

    fn announced(&mut self, event: &NodeEvent) {
        self.events += 1;
        let (seed, now) = (self.seed, self.now);
        match event {
            NodeEvent::Joined(info) => {
                let before = self.announced.insert(info.id.clone(), info.incarnation);
                assert_eq!(before, None, "seed {seed} at {now:?}: {} joined twice", info.id);
            }
            NodeEvent::Left { id, incarnation } => self.gone(id, *incarnation),
            NodeEvent::Lost { id, incarnation, reason } => {
                self.gone(id, *incarnation);
                let worker = self.workers.iter().find(|worker| worker.name == id.0).unwrap();
                let is_well = worker.is_running
                    && worker.incarnation == incarnation.0
                    && worker.is_member
                    && worker.stopped_until <= now
                    && !worker.must_have_fenced(now);
                assert!(!is_well, "seed {seed} at {now:?}: {id} is well, and lost: {reason}");
            }
            NodeEvent::Draining { id, incarnation } | NodeEvent::Resumed { id, incarnation } => {
                assert_eq!(self.announced.get(id), Some(incarnation), "seed {seed} at {now:?}: {event:?}");
            }
        }
    }

    fn gone(&mut self, id: &NodeId, incarnation: Incarnation) {
        let before = self.announced.remove(id);
        assert_eq!(before, Some(incarnation), "seed {} at {:?}: {id} is gone and was not there", self.seed, self.now);
    }

    /// The truth at the time of the answer, or in times of trouble nothing.
    fn knock(&mut self, knock: KnockId, address: &str) {
        let there = self.workers.iter().find(|worker| worker.is_running && worker.address == address);
        let answer = match there {
            Some(worker) if worker.stopped_until > self.now => Answer::Silent("no answer".to_owned()),
            Some(worker) => Answer::Here(Incarnation(worker.incarnation)),
            None => Answer::Refused("connection refused".to_owned()),
        };
        let is_silent = !self.is_quiet() && self.random.percent(10);
        let answer = if is_silent { Answer::Silent("lost".to_owned()) } else { answer };
        self.send(Coming::ToMachine(Event::Knocked(knock, answer)), false);
    }

    fn restart(&mut self, index: usize) {
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let moves = self.random.percent(20);
        let worker = &mut self.workers[index];
        if worker.is_running {
            return;
        }
        if moves {
            worker.address = format!("w{index}:{incarnation}");
        }
        worker.incarnation = incarnation;
        (worker.is_running, worker.stopped_until) = (true, self.now);
        (worker.is_member, worker.is_draining, worker.has_left, worker.stream) = (false, false, false, None);
        self.later(Duration::from_millis(1), Coming::Connect(index));
    }

    fn connect(&mut self, index: usize) {
        let worker = &self.workers[index];
        if !worker.is_running || worker.stream.is_some() || worker.has_left {
            return;
        }
        if worker.stopped_until > self.now {
            let wait = worker.stopped_until - self.now;
            return self.later(wait, Coming::Connect(index));
        }
        self.fence_if_due(index);
        self.streams += 1;
        let (stream, now) = (StreamId(self.streams), self.now);
        let worker = &mut self.workers[index];
        (worker.stream, worker.opened, worker.sent) = (Some(stream), now, vec![]);
        let info = node(&worker.name, worker.incarnation, &worker.address);
        self.send(Coming::ToMachine(Event::Opened(stream, Box::new(info), vec![])), false);
        self.later(Duration::from_millis(1), Coming::Beat(index, stream));
        // A stream that never gets through is given up.
        self.later(Duration::from_secs(3), Coming::Closed(stream));
    }

    fn fence_if_due(&mut self, index: usize) {
        if self.workers[index].is_member && self.workers[index].must_have_fenced(self.now) {
            self.fence(index);
        }
    }

    fn fence(&mut self, index: usize) {
        self.incarnations += 1;
        let worker = &mut self.workers[index];
        (worker.incarnation, worker.is_member, worker.is_draining) = (self.incarnations, false, false);
        self.let_go(index);
    }

    /// Gives the stream up, and looks for the coordinator again.
    fn let_go(&mut self, index: usize) {
        if let Some(stream) = self.workers[index].stream.take() {
            self.send(Coming::ToMachine(Event::Broken(stream, "closed".to_owned())), true);
        }
        let pause = self.random.millis(50, 300);
        self.later(pause, Coming::Connect(index));
    }

    fn beat(&mut self, index: usize, stream: StreamId) {
        let worker = &self.workers[index];
        if !worker.is_running || worker.stream != Some(stream) {
            return;
        }
        if worker.stopped_until > self.now {
            let wait = worker.stopped_until - self.now;
            return self.later(wait, Coming::Beat(index, stream));
        }
        if worker.is_member && worker.must_have_fenced(self.now) {
            return self.fence(index);
        }
        let load = Load { memory_used_bytes: 0, running_tasks: u32::from(self.random.percent(30)) };
        let worker = &mut self.workers[index];
        let number = worker.sent.len() as u64;
        worker.sent.push(self.now);
        let is_draining = worker.is_draining;
        self.send(Coming::ToMachine(Event::Beat(stream, number, load, is_draining)), true);
        let next = if self.is_quiet() { TIMING.heartbeat } else { self.random.millis(400, 700) };
        self.later(next, Coming::Beat(index, stream));
    }

    fn of_stream(&self, stream: StreamId) -> Option<usize> {
        self.workers.iter().position(|worker| worker.is_running && worker.stream == Some(stream))
    }

    fn told(&mut self, stream: StreamId, message: ToNode) {
        let Some(index) = self.of_stream(stream) else { return };
        if self.workers[index].stopped_until > self.now {
            let wait = self.workers[index].stopped_until - self.now;
            return self.later(wait, Coming::ToWorker(stream, message));
        }
        let worker = &mut self.workers[index];
        match message {
            ToNode::Welcome { .. } => worker.renewed = worker.renewed.max(worker.opened),
            ToNode::Joined => worker.is_member = true,
            ToNode::Ack(number) => worker.renewed = worker.renewed.max(worker.sent[number as usize]),
            ToNode::Drain => worker.is_draining = true,
            ToNode::Resume => worker.is_draining = false,
            ToNode::Drained => {
                (worker.stream, worker.is_member, worker.has_left) = (None, false, true);
                self.kill(index);
            }
            ToNode::Refused(_) if worker.is_member => self.fence(index),
            ToNode::Refused(_) => self.let_go(index),
            ToNode::Fenced(_) => self.fence(index),
        }
    }

    fn closed(&mut self, stream: StreamId) {
        let Some(index) = self.of_stream(stream) else { return };
        let worker = &self.workers[index];
        // The time-out of the opening, which has long succeeded.
        let has_been_heard = worker.renewed >= worker.opened && worker.is_member;
        let is_time_out = self.now == worker.opened + Duration::from_secs(3);
        if !(is_time_out && has_been_heard) {
            self.let_go(index);
        }
    }

    fn kill(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        (worker.is_running, worker.is_member) = (false, false);
        if let Some(stream) = worker.stream.take() {
            let may_be_lost = self.random.percent(50);
            self.send(Coming::ToMachine(Event::Broken(stream, "reset".to_owned())), may_be_lost);
        }
        if self.random.percent(80) && !self.is_quiet() {
            let pause = self.random.millis(5, 8000);
            self.later(pause, Coming::Restart(index));
        }
    }

    fn trouble(&mut self) {
        if self.is_quiet() {
            let ids: Vec<NodeId> = self.workers.iter().map(|worker| NodeId(worker.name.clone())).collect();
            return ids.into_iter().for_each(|id| self.step(Event::Resume(id)));
        }
        let index = self.random.below(WORKERS as u64) as usize;
        let id = NodeId(self.workers[index].name.clone());
        let incarnation = Incarnation(self.workers[index].incarnation);
        match self.random.below(8) {
            0 | 1 if self.workers[index].is_running => self.kill(index),
            2 => self.workers[index].stopped_until = self.now + self.random.millis(100, 9000),
            3 if self.workers[index].is_running => self.let_go(index),
            4 | 5 => self.send(Coming::ToMachine(Event::Suspected(id, incarnation, "a peer says so".to_owned())), true),
            6 => self.send(Coming::ToMachine(Event::Drain(id)), true),
            7 => self.send(Coming::ToMachine(Event::Resume(id)), true),
            _ => {}
        }
        let pause = self.random.millis(10, 2500);
        self.later(pause, Coming::Trouble);
    }

    fn check_end(&self) {
        let seed = self.seed;
        for worker in &self.workers {
            let known = self.announced.get(&NodeId(worker.name.clone())).copied();
            let expected = (worker.is_running && !worker.has_left).then_some(Incarnation(worker.incarnation));
            assert_eq!(known, expected, "seed {seed}: {} after all trouble; {:?}", worker.name, self.machine.nodes(self.now));
        }
        let live = self.machine.nodes(self.now).into_iter().filter(|node| node.state.is_live());
        for node in live {
            let is_settled = matches!(node.state, NodeState::Active | NodeState::Draining);
            assert!(is_settled, "seed {seed}: {node:?}");
        }
    }
}

#[test]
fn any_history_of_trouble_leaves_the_coordinator_with_the_truth() {
    let mut events = 0;
    for seed in 0..2000 {
        let mut world = World::new(seed);
        world.run();
        events += world.events;
    }
    assert!(events > 20_000, "the histories are too quiet to show anything: {events} events");
}
