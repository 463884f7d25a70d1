//! One rule at a time, in the words of the rule. What many rules do together under many faults is the simulator's.

use operators::runtime_filter::{Members, RuntimeFilter};

use super::testing::{coordinator, leaf, partitioned, plan_of, shapes};
use super::*;
use crate::{
    error::ErrorKind,
    plan::{fragment::FilteredKeys, physical::RuntimeFilterId},
};

const FILTER: RuntimeFilterId = RuntimeFilterId(7);

struct Attempt {
    machine: QueryMachine,
    now: Duration,
}

impl Attempt {
    /// All nodes are ready; the first actions come with it.
    fn started(fragments: Vec<Fragment>, num_workers: usize, recovery: Recovery) -> (Self, Vec<Action>) {
        let config = MachineConfig { plan: Arc::new(plan_of(fragments)), nodes: shapes(num_workers, 2), recovery, speculation: true };
        let mut attempt = Attempt { machine: QueryMachine::new(config), now: Duration::ZERO };
        let mut actions = vec![];
        for node in 0..=num_workers {
            assert!(actions.is_empty(), "nothing starts before all are ready");
            actions = attempt.hear(Event::Ready(NodeIndex(node as u16)));
        }
        assert!(matches!(actions[0], Action::Start));
        (attempt, actions)
    }

    fn hear(&mut self, event: Event) -> Vec<Action> {
        self.machine.step(event, self.now)
    }

    fn later(&mut self, millis: u64) -> &mut Self {
        self.now += Duration::from_millis(millis);
        self
    }

    fn done(&mut self, (node, run): (NodeIndex, UnitRun)) -> Vec<Action> {
        self.hear(Event::Done { node, run })
    }

    fn lost(&mut self, node: u16) -> Vec<Action> {
        self.hear(Event::NodeLost { node: NodeIndex(node), reason: "killed".to_owned() })
    }

    fn part(&mut self, node: u16, value: Option<RuntimeFilter>) -> Vec<Action> {
        self.hear(Event::FilterPart { node: NodeIndex(node), filter: FILTER, unit: None, value })
    }
}

fn runs(actions: &[Action]) -> Vec<(NodeIndex, UnitRun)> {
    let run = |action: &Action| match action {
        Action::Run { node, run, .. } => Some((*node, *run)),
        _ => None,
    };
    actions.iter().filter_map(run).collect()
}

fn forgotten(actions: &[Action]) -> Vec<(NodeIndex, UnitRun)> {
    let run = |action: &Action| match action {
        Action::Forget { node, run } => Some((*node, *run)),
        _ => None,
    };
    actions.iter().filter_map(run).collect()
}

fn restart_reason(actions: &[Action]) -> &str {
    match actions {
        [Action::Restart { reason }] => reason,
        other => panic!("a restart and nothing else was expected: {other:?}"),
    }
}

fn failure(actions: &[Action]) -> &Error {
    match actions {
        [Action::Fail(error)] => error,
        other => panic!("a failure and nothing else was expected: {other:?}"),
    }
}

fn placed(fragment: u32, unit: u32) -> UnitRun {
    UnitRun { id: UnitId { fragment: FragmentId(fragment), unit }, run: 0 }
}

fn range(min: i64, max: i64) -> Option<RuntimeFilter> {
    Some(RuntimeFilter { min, max, members: Members::Unknown })
}

/// A scan that waits for the filter of a fragment of this placement.
fn filtered(maker: Fragment) -> Vec<Fragment> {
    let scan = Fragment { filters_in: vec![FILTER], ..leaf(2) };
    vec![scan, Fragment { filters_out: vec![FILTER], ..maker }]
}

#[test]
fn the_query_succeeds_when_the_root_is_done_and_nothing_comes_after() {
    let (mut attempt, actions) = Attempt::started(vec![leaf(3)], 2, Recovery::Auto);
    let mut running = runs(&actions);
    while let Some(run) = running.pop() {
        running.extend(runs(&attempt.done(run)));
    }
    assert_eq!(attempt.machine.progress().units_done, 3);
    assert!(matches!(attempt.done((NodeIndex::COORDINATOR, placed(1, 0)))[..], [Action::Succeed]));
    assert!(attempt.lost(1).is_empty());
    assert_eq!(attempt.machine.next_deadline(), None);
}

#[test]
fn units_of_a_lost_node_run_again_elsewhere_as_another_run() {
    let (mut attempt, actions) = Attempt::started(vec![leaf(2)], 2, Recovery::Auto);
    let lost = runs(&actions).into_iter().find(|(node, _)| node.0 == 1).unwrap().1;
    let actions = attempt.lost(1);
    assert!(matches!(actions[0], Action::NodeGone { gone: NodeIndex(1) }));
    assert_eq!(runs(&actions), [(NodeIndex(2), UnitRun { id: lost.id, run: 1 })]);
    assert!(attempt.done((NodeIndex(1), lost)).is_empty(), "a lost node is not listened to");
    assert_eq!(attempt.machine.progress().units_done, 0);
}

#[test]
fn an_unfinished_partition_restarts_the_attempt_and_a_finished_one_does_not() {
    let (mut attempt, _) = Attempt::started(vec![leaf(0), partitioned()], 2, Recovery::Auto);
    attempt.done((NodeIndex(1), placed(1, 0)));
    assert!(matches!(attempt.lost(1)[..], [Action::NodeGone { .. }]));
    assert!(restart_reason(&attempt.lost(2)).contains("worker-2 is lost"));
}

#[test]
fn recovery_says_what_a_lost_node_does() {
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 2, Recovery::Restart);
    restart_reason(&attempt.lost(1));
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 2, Recovery::Off);
    let actions = attempt.lost(1);
    assert_eq!((failure(&actions).kind, failure(&actions).sqlstate.0), (ErrorKind::Cluster, "40001"));
}

#[test]
fn a_unit_that_is_lost_with_three_nodes_fails_the_query() {
    let (mut attempt, actions) = Attempt::started(vec![leaf(1)], 5, Recovery::Auto);
    let mut node = runs(&actions)[0].0;
    for _ in 0..2 {
        node = runs(&attempt.lost(node.0))[0].0;
    }
    assert!(failure(&attempt.lost(node.0)).message.contains("unit 0 of fragment 0 has taken three nodes down"));
}

#[test]
fn without_a_node_that_takes_work_the_attempt_is_restarted() {
    let (mut attempt, _) = Attempt::started(vec![leaf(9)], 2, Recovery::Auto);
    attempt.lost(1);
    restart_reason(&attempt.hear(Event::Draining(NodeIndex(2))));
}

#[test]
fn a_draining_node_ends_what_it_has_and_is_given_work_again_when_resumed() {
    let (mut attempt, actions) = Attempt::started(vec![leaf(12)], 2, Recovery::Auto);
    attempt.hear(Event::Draining(NodeIndex(1)));
    let on_one: Vec<_> = runs(&actions).into_iter().filter(|(node, _)| node.0 == 1).collect();
    for run in on_one {
        assert!(runs(&attempt.done(run)).is_empty());
    }
    assert!(runs(&attempt.hear(Event::Resumed(NodeIndex(1)))).iter().all(|(node, _)| node.0 == 1));
    assert_eq!(attempt.machine.progress().fragments[0].units_running, 4);
}

#[test]
fn a_scan_waits_for_its_filter_and_the_node_is_told_once_and_before() {
    let (mut attempt, actions) = Attempt::started(filtered(partitioned()), 2, Recovery::Auto);
    assert!(runs(&actions).is_empty());
    assert!(attempt.part(1, range(5, 9)).is_empty(), "a worker's part is missing");
    let actions = attempt.part(2, range(20, 30));
    for node in [1, 2] {
        let of_node: Vec<_> = actions
            .iter()
            .filter(|action| matches!(action, Action::Filter { node: n, .. } | Action::Run { node: n, .. } if n.0 == node))
            .collect();
        assert!(matches!(of_node[..], [Action::Filter { .. }, Action::Run { .. }]), "{actions:?}");
    }
    let known = actions.iter().find_map(|action| match action {
        Action::Filter { value, .. } => value.clone(),
        _ => None,
    });
    assert!([5, 9, 20, 30].iter().all(|key| known.as_ref().unwrap().contains(*key)));
    assert!(!known.unwrap().contains(31));
}

#[test]
fn a_unit_of_which_no_key_can_pass_a_filter_has_nothing_to_read() {
    let mut fragments = filtered(partitioned());
    let Placement::Leaf { units, .. } = &mut fragments[0].placement else { panic!("a scan is a leaf") };
    units[0].keys = vec![FilteredKeys { filter: FILTER, min: 31, max: 40 }];
    units[1].keys = vec![FilteredKeys { filter: FILTER, min: 30, max: 40 }];
    let (mut attempt, _) = Attempt::started(fragments, 2, Recovery::Auto);
    attempt.part(1, range(5, 9));
    let actions = attempt.part(2, range(20, 30));
    let mut parts: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Run { run, part, .. } => Some((run.id.unit, part.clone())),
            _ => None,
        })
        .collect();
    parts.sort_by_key(|(unit, _)| *unit);
    assert_eq!(parts, [(0, UnitPart::Splits(vec![])), (1, UnitPart::Splits(vec![1]))]);
}

#[test]
fn a_part_that_lets_everything_pass_makes_the_filter_do_so() {
    let (mut attempt, _) = Attempt::started(filtered(partitioned()), 2, Recovery::Auto);
    attempt.part(1, range(5, 9));
    let actions = attempt.part(2, None);
    assert!(matches!(actions[0], Action::Filter { value: None, .. }));
}

#[test]
fn a_maker_that_ends_without_its_part_does_not_leave_scans_waiting() {
    let (mut attempt, _) = Attempt::started(filtered(coordinator()), 1, Recovery::Auto);
    let actions = attempt.done((NodeIndex::COORDINATOR, placed(1, 0)));
    // Nobody is left who wants the scan's rows, so it need not run either.
    assert!(runs(&actions).is_empty());
    let mut fragments = filtered(partitioned());
    fragments.insert(1, partitioned());
    let (mut attempt, _) = Attempt::started(fragments, 1, Recovery::Auto);
    assert_eq!(runs(&attempt.done((NodeIndex(1), placed(2, 0)))).len(), 2);
}

#[test]
fn a_lost_worker_is_not_waited_for_by_the_filter_of_a_leaf() {
    let (mut attempt, _) = Attempt::started(filtered(leaf(1)), 2, Recovery::Auto);
    attempt.part(1, range(5, 9));
    let actions = attempt.lost(2);
    assert!(runs(&actions).iter().any(|(_, run)| run.id.fragment.0 == 0));
}

#[test]
fn a_straggler_gets_one_second_run_and_the_loser_is_forgotten() {
    let (mut attempt, actions) = Attempt::started(vec![leaf(2)], 2, Recovery::Auto);
    let [quick, slow] = runs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(attempt.machine.next_deadline(), None, "nothing is known of how long a unit takes");
    assert!(attempt.later(300).done(quick).is_empty());
    assert_eq!(attempt.machine.next_deadline(), Some(Duration::from_millis(600)));
    assert!(attempt.later(299).hear(Event::Tick).is_empty());
    let second = runs(&attempt.later(1).hear(Event::Tick));
    assert_eq!(second, [(quick.0, UnitRun { id: slow.1.id, run: 1 })]);
    assert_eq!(attempt.machine.next_deadline(), None);
    assert_eq!(forgotten(&attempt.later(50).done(second[0])), [slow]);
    assert!(attempt.done(slow).is_empty());
    assert_eq!(attempt.machine.progress().units_done, 2);
}

#[test]
fn a_second_run_goes_on_when_the_node_of_the_first_is_lost() {
    let (mut attempt, actions) = Attempt::started(vec![leaf(2)], 2, Recovery::Auto);
    let [quick, slow] = runs(&actions)[..] else { panic!("{actions:?}") };
    attempt.later(100).done(quick);
    let second = runs(&attempt.later(200).hear(Event::Tick))[0];
    assert!(runs(&attempt.lost(slow.0.0)).is_empty());
    assert!(forgotten(&attempt.done(second)).is_empty());
    assert_eq!(attempt.machine.progress().units_done, 2);
}

#[test]
fn a_broken_connection_is_probed_once_and_restarts_the_attempt_if_both_ends_live() {
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 3, Recovery::Auto);
    let lost = |reporter| Event::PeerLost { reporter: NodeIndex(reporter), peer: NodeIndex(2), reason: "reset".to_owned() };
    assert!(matches!(attempt.hear(lost(1))[..], [Action::Probe(NodeIndex(2))]));
    assert!(attempt.hear(lost(3)).is_empty());
    assert_eq!(
        restart_reason(&attempt.hear(Event::NodeAlive(NodeIndex(2)))),
        "the connection between worker-1, worker-3 and worker-2 broke: reset"
    );
}

#[test]
fn a_probed_node_that_does_not_answer_is_lost() {
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 2, Recovery::Auto);
    attempt.hear(Event::PeerLost { reporter: NodeIndex(1), peer: NodeIndex(2), reason: "reset".to_owned() });
    assert_eq!(attempt.machine.next_deadline(), Some(Duration::from_secs(6)));
    assert!(attempt.later(5_999).hear(Event::Tick).is_empty());
    let actions = attempt.later(1).hear(Event::Tick);
    assert!(matches!(actions[0], Action::NodeGone { gone: NodeIndex(2) }));
    assert!(attempt.hear(Event::NodeAlive(NodeIndex(2))).is_empty(), "too late");
}

#[test]
fn errors_of_the_user_fail_the_query_and_a_node_that_shuts_down_restarts_it() {
    let failed = |error: &Error| Event::Failed { node: NodeIndex(1), error: error.clone() };
    let divided = Error::new(ErrorKind::Data, "22012", "division by zero");
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 2, Recovery::Auto);
    assert_eq!(failure(&attempt.hear(failed(&divided))), &divided);
    let leaving = Error::new(ErrorKind::Cluster, "57P01", "the node is shutting down");
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 2, Recovery::Auto);
    restart_reason(&attempt.hear(failed(&leaving)));
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 2, Recovery::Off);
    assert_eq!(failure(&attempt.hear(failed(&leaving))), &leaving);
}

#[test]
fn units_whose_rows_nobody_reads_any_more_are_dropped() {
    let (mut attempt, actions) = Attempt::started(vec![leaf(9), partitioned()], 1, Recovery::Auto);
    let running = runs(&actions);
    let actions = attempt.done((NodeIndex(1), placed(1, 0)));
    assert_eq!(forgotten(&actions), running);
    assert!(runs(&actions).is_empty());
    assert_eq!(attempt.machine.progress().units_done, 10);
}

#[test]
fn messages_about_what_does_not_exist_change_nothing() {
    let (mut attempt, _) = Attempt::started(vec![leaf(2)], 1, Recovery::Auto);
    let far = NodeIndex(99);
    let run = placed(42, 7);
    let events = [
        Event::Ready(far),
        Event::Done { node: far, run },
        Event::Done { node: NodeIndex(1), run },
        Event::Done { node: NodeIndex(1), run: placed(0, 77) },
        Event::FilterPart { node: NodeIndex(1), filter: FILTER, unit: None, value: None },
        Event::PeerLost { reporter: NodeIndex(1), peer: far, reason: String::new() },
        Event::NodeAlive(far),
        Event::NodeLost { node: far, reason: String::new() },
        Event::Draining(far),
        Event::Resumed(far),
    ];
    for event in events {
        assert!(attempt.hear(event.clone()).is_empty(), "{event:?}");
    }
}
