//! The machine, event by event.

use super::*;
use crate::cluster::membership::messages::ToNode;

const TIMING: Timing = Timing { heartbeat: Duration::from_millis(500), lease: Duration::from_secs(5) };
const LOAD: Load = Load { memory_used_bytes: 7, running_tasks: 2 };
const IDLE: Load = Load { memory_used_bytes: 0, running_tasks: 0 };

pub(super) fn node(name: &str, incarnation: u64, address: &str) -> NodeInfo {
    NodeInfo {
        id: NodeId(name.to_owned()),
        incarnation: Incarnation(incarnation),
        address: address.to_owned(),
        threads: 2,
        memory_bytes: 1 << 30,
        version: "1.0".to_owned(),
        protocol: 1,
    }
}

/// A machine, and the time.
struct World {
    machine: Machine,
    now: Now,
}

impl World {
    fn new() -> Self {
        World { machine: Machine::new(node("coordinator", 1, "c:1"), vec![], TIMING), now: Duration::ZERO }
    }

    /// With the node `w` of incarnation 10 on stream 1, joined.
    fn with_node() -> Self {
        let mut world = World::new();
        world.open(1, node("w", 10, "w:1"));
        world.step(Event::Knocked(KnockId(1), Answer::Here(Incarnation(10))));
        assert_eq!(world.state(), NodeState::Active);
        world
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.machine.step(event, self.now)
    }

    fn open(&mut self, stream: u64, info: NodeInfo) -> Vec<Action> {
        self.step(Event::Opened(StreamId(stream), Box::new(info), vec![]))
    }

    fn beat(&mut self, stream: u64, load: Load, is_draining: bool) -> Vec<Action> {
        self.step(Event::Beat(StreamId(stream), 0, load, is_draining))
    }

    /// Lets time pass, with a tick whenever the machine wants one.
    fn pass(&mut self, milliseconds: u64) -> Vec<Action> {
        let end = self.now + Duration::from_millis(milliseconds);
        let mut actions = vec![];
        while self.machine.deadline() <= end {
            self.now = self.machine.deadline().max(self.now);
            actions.extend(self.step(Event::Tick));
        }
        self.now = end;
        actions
    }

    fn state(&self) -> NodeState {
        self.machine.nodes(self.now)[0].state
    }

    fn suspect(&mut self) -> Vec<Action> {
        self.step(Event::Suspected(NodeId("w".to_owned()), Incarnation(10), "a peer says so".to_owned()))
    }
}

fn knock(actions: &[Action]) -> KnockId {
    let knocks: Vec<KnockId> = actions.iter().filter_map(|a| if let Action::Knock(knock, _) = a { Some(*knock) } else { None }).collect();
    assert_eq!(knocks.len(), 1, "{actions:?}");
    knocks[0]
}

fn events(actions: &[Action]) -> Vec<NodeEvent> {
    actions.iter().filter_map(|a| if let Action::Announce(event) = a { Some(event.clone()) } else { None }).collect()
}

fn lost(actions: &[Action]) -> String {
    match events(actions).as_slice() {
        [NodeEvent::Lost { reason, .. }] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

fn refusal(actions: &[Action]) -> String {
    match actions {
        [Action::Tell(_, ToNode::Refused(why)), Action::Close(_)] => why.clone(),
        other => panic!("{other:?}"),
    }
}

fn refused() -> Answer {
    Answer::Refused("connection refused".to_owned())
}

#[test]
fn a_node_that_can_be_reached_joins() {
    let mut world = World::new();
    let info = node("w", 10, "w:1");
    let welcome = ToNode::Welcome { coordinator: Incarnation(1), timing: TIMING };
    let actions = world.open(1, info.clone());
    assert_eq!(actions, [Action::Tell(StreamId(1), welcome), Action::Knock(KnockId(1), "w:1".to_owned())]);
    assert_eq!(world.state(), NodeState::Joining);
    let actions = world.step(Event::Knocked(KnockId(1), Answer::Here(Incarnation(10))));
    assert_eq!(actions, [Action::Tell(StreamId(1), ToNode::Joined), Action::Announce(NodeEvent::Joined(info))]);
}

#[test]
fn a_node_that_cannot_be_reached_is_refused_with_the_reason() {
    let mut world = World::new();
    world.open(1, node("w", 10, "w:1"));
    let mut refusals = vec![];
    for _ in 0..20 {
        let actions = world.pass(500);
        match actions.as_slice() {
            [Action::Knock(knock, _)] => assert_eq!(world.step(Event::Knocked(*knock, refused())), []),
            [] => {
                world.step(Event::Knocked(KnockId(1), refused()));
            }
            _ => refusals.push(refusal(&actions)),
        }
        if !refusals.is_empty() {
            break;
        }
    }
    assert!(refusals[0].contains("cannot reach the worker at w:1: connection refused"), "{refusals:?}");
    assert_eq!(world.machine.nodes(world.now), []);
}

#[test]
fn a_node_at_whose_address_another_answers_is_refused() {
    let mut world = World::new();
    world.open(1, node("w", 10, "w:1"));
    let actions = world.step(Event::Knocked(KnockId(1), Answer::Here(Incarnation(11))));
    assert!(refusal(&actions).contains("w:1: another node answers there"));
}

#[test]
fn a_killed_node_is_dead_after_two_knocks() {
    let mut world = World::with_node();
    world.pass(300);
    let actions = world.step(Event::Broken(StreamId(1), "reset".to_owned()));
    assert_eq!(world.state(), NodeState::Suspect);
    let began = world.now;
    let first = knock(&actions);
    assert_eq!(world.step(Event::Knocked(first, refused())), []);
    let second = knock(&world.pass(100));
    let actions = world.step(Event::Knocked(second, refused()));
    assert_eq!(lost(&actions), "its stream to the coordinator broke: reset, and nobody is at w:1: connection refused");
    assert!(world.now - began < Duration::from_millis(300));
    assert_eq!(events(&world.pass(20_000)), []);
}

#[test]
fn a_node_without_heartbeats_is_suspected_and_then_lost() {
    let mut world = World::with_node();
    assert_eq!(world.pass(1400), []);
    let first = knock(&world.pass(200));
    assert_eq!(world.state(), NodeState::Suspect);
    world.step(Event::Knocked(first, Answer::Silent("no answer".to_owned())));
    let mut actions = vec![];
    for _ in 0..8 {
        actions = world.pass(500);
        match actions.iter().find_map(|a| if let Action::Knock(knock, _) = a { Some(*knock) } else { None }) {
            Some(knock) => drop(world.step(Event::Knocked(knock, Answer::Here(Incarnation(10))))),
            None => break,
        }
    }
    assert_eq!(lost(&actions), "no heartbeat for 5.0 s");
    assert!(matches!(actions[0], Action::Tell(StreamId(1), ToNode::Fenced(_))));
    assert_eq!(actions[1], Action::Close(StreamId(1)));
}

#[test]
fn a_heartbeat_clears_a_suspicion_for_want_of_heartbeats() {
    let mut world = World::with_node();
    let first = knock(&world.pass(1600));
    world.beat(1, LOAD, false);
    assert_eq!(world.state(), NodeState::Active);
    // The knock that is under way no longer matters.
    assert_eq!(world.step(Event::Knocked(first, refused())), []);
    assert_eq!(world.state(), NodeState::Active);
}

#[test]
fn a_peers_suspicion_is_cleared_by_an_answer_and_not_by_a_heartbeat_that_was_under_way() {
    let mut world = World::with_node();
    let first = knock(&world.suspect());
    world.beat(1, LOAD, false);
    assert_eq!(world.state(), NodeState::Suspect);
    world.step(Event::Knocked(first, Answer::Here(Incarnation(10))));
    assert_eq!(world.state(), NodeState::Active);
}

#[test]
fn a_node_that_beats_but_cannot_be_reached_stays_suspect_and_lives() {
    let mut world = World::with_node();
    let mut actions = world.suspect();
    for _ in 0..40 {
        let knocks: Vec<_> = actions.iter().filter_map(|a| if let Action::Knock(knock, _) = a { Some(*knock) } else { None }).collect();
        for knock in knocks {
            assert_eq!(events(&world.step(Event::Knocked(knock, refused()))), []);
        }
        actions = world.pass(250);
        world.beat(1, LOAD, false);
        assert_eq!(world.state(), NodeState::Suspect);
    }
}

#[test]
fn a_node_that_comes_back_with_a_new_stream_is_active_again() {
    let mut world = World::with_node();
    world.step(Event::Broken(StreamId(1), "reset".to_owned()));
    let actions = world.open(2, node("w", 10, "w:1"));
    assert!(actions.contains(&Action::Tell(StreamId(2), ToNode::Joined)));
    assert_eq!((world.state(), events(&actions)), (NodeState::Active, vec![]));
    assert_eq!(world.beat(1, LOAD, false), []);
    assert_eq!(world.step(Event::Broken(StreamId(1), "late".to_owned())), []);
    assert_eq!(world.state(), NodeState::Active);
}

#[test]
fn a_dead_incarnation_is_told_so() {
    let mut world = World::with_node();
    world.pass(10_000);
    assert_eq!(world.state(), NodeState::Dead);
    let actions = world.open(2, node("w", 10, "w:1"));
    assert!(matches!(actions[..], [Action::Tell(StreamId(2), ToNode::Fenced(_)), Action::Close(StreamId(2))]), "{actions:?}");
    assert_eq!(world.beat(1, LOAD, false), []);
    assert_eq!(world.state(), NodeState::Dead);
}

#[test]
fn a_new_start_replaces_the_old_one_which_is_lost() {
    let mut world = World::with_node();
    let actions = world.open(2, node("w", 11, "w:1"));
    assert!(actions.contains(&Action::Close(StreamId(2))));
    let actions = world.step(Event::Knocked(knock(&actions), Answer::Here(Incarnation(11))));
    assert_eq!(lost(&actions), "a newer start of it answers at its address");
    let actions = world.open(3, node("w", 11, "w:1"));
    let actions = world.step(Event::Knocked(knock(&actions), Answer::Here(Incarnation(11))));
    assert_eq!(events(&actions), [NodeEvent::Joined(node("w", 11, "w:1"))]);
    // What comes late of the old one changes nothing.
    let actions = world.open(4, node("w", 10, "w:1"));
    assert!(matches!(actions[0], Action::Tell(StreamId(4), ToNode::Fenced(_))));
    assert_eq!(world.step(Event::Suspected(NodeId("w".to_owned()), Incarnation(10), "late".to_owned())), []);
    assert_eq!(world.state(), NodeState::Active);
}

#[test]
fn what_comes_late_of_an_earlier_start_does_not_replace_the_one_that_is_there() {
    let mut world = World::with_node();
    let actions = world.open(2, node("w", 9, "w:1"));
    let actions = world.step(Event::Knocked(knock(&actions), Answer::Here(Incarnation(10))));
    assert_eq!((events(&actions), world.state()), (vec![], NodeState::Active));
}

#[test]
fn a_name_that_a_live_node_has_is_taken() {
    let mut world = World::with_node();
    let why = refusal(&world.open(2, node("w", 11, "elsewhere:1")));
    assert_eq!(why, "the worker_id \"w\" is taken by the node at w:1: every worker needs its own [cluster] worker_id");
    assert_eq!(world.state(), NodeState::Active);
    assert!(refusal(&world.open(3, node("coordinator", 12, "w:2"))).contains("cannot be called \"coordinator\""));
}

#[test]
fn nodes_of_another_version_or_with_other_tables_are_refused() {
    let mut world = World::new();
    let why = refusal(&world.open(1, NodeInfo { version: "1.1".to_owned(), ..node("w", 10, "w:1") }));
    assert!(why.starts_with("the coordinator runs arneb 1.0 (protocol 1), and the worker arneb 1.1 (protocol 1)"), "{why}");
    assert!(refusal(&world.open(2, NodeInfo { protocol: 2, ..node("w", 10, "w:1") })).contains("protocol 2"));
    let tables = vec![TableFingerprint { name: "file.default.t".to_owned(), columns: vec![], rows: 1, splits: 1 }];
    let why = refusal(&world.step(Event::Opened(StreamId(3), Box::new(node("w", 10, "w:1")), tables)));
    assert!(why.starts_with("table file.default.t is missing on the coordinator"), "{why}");
    assert_eq!(world.machine.nodes(world.now), []);
}

#[test]
fn a_node_that_others_drain_stays_when_nothing_runs_any_more() {
    let mut world = World::with_node();
    let id = NodeId("w".to_owned());
    world.step(Event::Drain(id.clone()));
    for _ in 0..10 {
        assert_eq!(events(&world.beat(1, IDLE, true)), []);
    }
    assert_eq!(world.state(), NodeState::Draining);
    assert_eq!(events(&world.step(Event::Resume(id.clone()))), [NodeEvent::Resumed { id, incarnation: Incarnation(10) }]);
}

#[test]
fn a_node_that_asked_to_drain_leaves_when_nothing_runs_any_more() {
    let mut world = World::with_node();
    let id = NodeId("w".to_owned());
    let actions = world.step(Event::AskDrain(StreamId(1)));
    assert_eq!(actions[0], Action::Tell(StreamId(1), ToNode::Drain));
    assert_eq!(events(&actions), [NodeEvent::Draining { id: id.clone(), incarnation: Incarnation(10) }]);
    assert_eq!(world.step(Event::Drain(id.clone())), []);
    for (load, knows) in [(IDLE, false), (LOAD, true), (IDLE, true), (LOAD, true), (IDLE, true)] {
        world.beat(1, load, knows);
        assert_eq!(world.state(), NodeState::Draining);
    }
    let actions = world.beat(1, IDLE, true);
    assert_eq!(events(&actions), [NodeEvent::Left { id, incarnation: Incarnation(10) }]);
    assert!(actions.contains(&Action::Tell(StreamId(1), ToNode::Drained)));
    assert_eq!(events(&world.pass(20_000)), []);
    assert_eq!(world.state(), NodeState::Left);
}

#[test]
fn a_drain_can_be_taken_back_and_outlives_a_suspicion() {
    let mut world = World::with_node();
    let id = NodeId("w".to_owned());
    world.step(Event::AskDrain(StreamId(1)));
    let first = knock(&world.suspect());
    world.step(Event::Knocked(first, Answer::Here(Incarnation(10))));
    assert_eq!(world.state(), NodeState::Draining);
    let actions = world.step(Event::Resume(id.clone()));
    assert_eq!(events(&actions), [NodeEvent::Resumed { id, incarnation: Incarnation(10) }]);
    assert_eq!(world.state(), NodeState::Active);
    world.beat(1, IDLE, true);
    world.beat(1, IDLE, true);
    assert_eq!(world.state(), NodeState::Active);
}

#[test]
fn a_node_that_stops_with_work_is_lost_and_without_work_after_a_drain_has_left() {
    let mut world = World::with_node();
    world.beat(1, LOAD, false);
    assert_eq!(lost(&world.step(Event::Leaving(StreamId(1)))), "it was stopped");
    let mut world = World::with_node();
    world.step(Event::AskDrain(StreamId(1)));
    let actions = world.step(Event::Leaving(StreamId(1)));
    assert_eq!(events(&actions), [NodeEvent::Left { id: NodeId("w".to_owned()), incarnation: Incarnation(10) }]);
}

#[test]
fn nobody_is_lost_because_the_coordinator_stood_still() {
    let mut world = World::with_node();
    world.pass(400);
    world.now += Duration::from_secs(60);
    assert_eq!(events(&world.step(Event::Tick)), []);
    world.beat(1, LOAD, false);
    assert_eq!(world.state(), NodeState::Active);
    // And a node that does not come back is lost as always.
    world.pass(6000);
    assert_eq!(world.state(), NodeState::Dead);
}

#[test]
fn what_is_gone_is_listed_for_a_while() {
    let mut world = World::new();
    for i in 0..100 {
        let name = format!("w{i}");
        let actions = world.open(i, node(&name, i, &name));
        world.step(Event::Knocked(knock(&actions), Answer::Here(Incarnation(i))));
        world.step(Event::Leaving(StreamId(i)));
        world.pass(1);
    }
    let nodes = world.machine.nodes(world.now);
    assert_eq!(nodes.len(), LISTED_MAX);
    assert!(nodes.iter().all(|node| node.state == NodeState::Dead && node.reason.as_deref() == Some("it was stopped")));
    assert!(!nodes.iter().any(|node| node.info.id.0 == "w0"));
}
