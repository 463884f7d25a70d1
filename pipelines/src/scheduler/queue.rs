//! The ready tasks of all queries, and which of them is next.
//!
//! Every query has a lane. Between lanes, the one with the least virtual time is next: virtual time is
//! consumed time, and old queries are charged more for it than young ones, so that a short query
//! overtakes a long one (the idea of Wagner, Kohn and Neumann, "Self-Tuning Query Scheduling for Analytical
//! Workloads", SIGMOD 2021, with three steps instead of a continuous decay). Within a lane the lowest
//! priority number is next, then the oldest.
//!
//! Position: workers call [`ReadyQueue::next`] about once per time slice, hence one lock for everything,
//! the count of active workers included: who adds a task and who goes to sleep cannot miss each other.
//! Deliberately elsewhere: threads; the answers say how many to start.

use std::collections::BTreeMap;

use super::sync::{Mutex, MutexGuard, lock};

/// A query's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId(u64);

/// How the next task is chosen.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// The lane with the least virtual time, its tasks by priority.
    Fair,
    /// Any task of any lane, by a pseudo-random sequence; for tests.
    Seeded(u64),
}

/// What a worker owes for the task it took.
#[derive(Debug)]
pub struct Ticket {
    lane: LaneId,
    /// Charged in advance, so that other workers spread over other lanes meanwhile.
    charged_ns: u64,
}

/// The queue; `T` is a task.
pub struct ReadyQueue<T> {
    max_workers: usize,
    /// Assumed length of a task, until it is known.
    slice_ns: u64,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    lanes: BTreeMap<LaneId, Lane<T>>,
    order: Order,
    next_lane: u64,
    next_sequence: u64,
    /// Workers that look for tasks or run one, and those about to be started.
    active_workers: usize,
    /// Virtual time of the lane that ran last; a lane that was idle gets no credit for it.
    floor_ns: u64,
}

struct Lane<T> {
    tasks: BTreeMap<(u32, u64), T>,
    virtual_ns: u64,
    consumed_ns: u64,
}

impl<T> ReadyQueue<T> {
    /// A queue that keeps at most `max_workers` workers busy.
    pub fn new(max_workers: usize, slice_ns: u64, order: Order) -> Self {
        let inner = Inner { lanes: BTreeMap::new(), order, next_lane: 0, next_sequence: 0, active_workers: 0, floor_ns: 0 };
        ReadyQueue { max_workers, slice_ns, inner: Mutex::new(inner) }
    }

    /// A lane for a new query.
    pub fn open_lane(&self) -> LaneId {
        let mut inner = self.lock();
        let id = LaneId(inner.next_lane);
        inner.next_lane += 1;
        let virtual_ns = inner.floor_ns;
        inner.lanes.insert(id, Lane { tasks: BTreeMap::new(), virtual_ns, consumed_ns: 0 });
        id
    }

    /// Removes a lane; answers what was still in it.
    pub fn close_lane(&self, lane: LaneId) -> Vec<T> {
        self.lock().lanes.remove(&lane).map(|lane| lane.tasks.into_values().collect()).unwrap_or_default()
    }

    /// Lets a lane go first from now on: its query is dead and only has to be cleared away.
    pub fn prefer(&self, lane: LaneId) {
        if let Some(lane) = self.lock().lanes.get_mut(&lane) {
            lane.virtual_ns = 0;
        }
    }

    /// Adds tasks with their priorities (0 is first). Answers how many workers have to be started; they count
    /// as active already. `returns`: the caller is a worker that asks for its next task right away, so that
    /// one of the tasks needs no other.
    ///
    /// Tasks for a closed lane are dropped.
    pub fn push(&self, lane: LaneId, tasks: Vec<(u32, T)>, returns: bool) -> usize {
        let count = tasks.len();
        let mut inner = self.lock();
        let Inner { lanes, next_sequence, floor_ns, .. } = &mut *inner;
        let Some(lane) = lanes.get_mut(&lane) else { return 0 };
        if lane.tasks.is_empty() && lane.virtual_ns > 0 {
            lane.virtual_ns = lane.virtual_ns.max(*floor_ns);
        }
        for (priority, task) in tasks {
            lane.tasks.insert((priority, *next_sequence), task);
            *next_sequence += 1;
        }
        let start = count.saturating_sub(usize::from(returns)).min(self.max_workers - inner.active_workers);
        inner.active_workers += start;
        start
    }

    /// The next task of an active worker; `None` and the worker is not active any more. `done` is the
    /// task it had before and the nanoseconds it took.
    pub fn next(&self, done: Option<(Ticket, u64)>) -> Option<(Ticket, T)> {
        let mut inner = self.lock();
        if let Some((ticket, taken_ns)) = done {
            inner.settle(ticket, taken_ns);
        }
        let next = inner.take(self.slice_ns);
        if next.is_none() {
            inner.active_workers -= 1;
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        lock(&self.inner)
    }
}

impl<T> Inner<T> {
    fn settle(&mut self, ticket: Ticket, taken_ns: u64) {
        if let Some(lane) = self.lanes.get_mut(&ticket.lane) {
            lane.virtual_ns = lane.virtual_ns.saturating_sub(ticket.charged_ns) + lane.price(taken_ns);
            lane.consumed_ns += taken_ns;
        }
    }

    fn take(&mut self, slice_ns: u64) -> Option<(Ticket, T)> {
        let (id, key) = match &mut self.order {
            Order::Fair => {
                let ready = self.lanes.iter().filter(|(_, lane)| !lane.tasks.is_empty());
                let (id, lane) = ready.min_by_key(|(id, lane)| (lane.virtual_ns, **id))?;
                (*id, *lane.tasks.keys().next()?)
            }
            Order::Seeded(state) => {
                let keys: Vec<_> = self.lanes.iter().flat_map(|(id, lane)| lane.tasks.keys().map(|key| (*id, *key))).collect();
                *keys.get(random(state) as usize % keys.len().max(1))?
            }
        };
        let lane = self.lanes.get_mut(&id)?;
        let task = lane.tasks.remove(&key)?;
        let charged_ns = lane.price(slice_ns);
        self.floor_ns = self.floor_ns.max(lane.virtual_ns);
        lane.virtual_ns += charged_ns;
        Some((Ticket { lane: id, charged_ns }, task))
    }
}

impl<T> Lane<T> {
    /// Virtual time for `taken_ns` of a query of this age: a quarter for the first 100 ms, half up to 1 s.
    fn price(&self, taken_ns: u64) -> u64 {
        const MILLISECOND_NS: u64 = 1_000_000;
        match self.consumed_ns / MILLISECOND_NS {
            0..100 => taken_ns,
            100..1000 => taken_ns * 2,
            _ => taken_ns * 4,
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): any seed will do, and a shift keeps the result within 32 bits.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs one simulated worker for `steps` tasks of 3 ms; every task goes back into its lane.
    fn run(queue: &ReadyQueue<LaneId>, done: &mut Option<(Ticket, u64)>, steps: usize) -> Vec<LaneId> {
        (0..steps)
            .map(|_| {
                let (ticket, lane) = queue.next(done.take()).expect("the lanes are never empty");
                queue.push(lane, vec![(1, lane)], true);
                *done = Some((ticket, 3 * MS));
                lane
            })
            .collect()
    }

    #[test]
    fn a_young_query_gets_most_of_the_time_and_an_idle_one_no_credit() {
        let queue = ReadyQueue::new(1, 3 * MS, Order::Fair);
        let old = queue.open_lane();
        assert_eq!(queue.push(old, vec![(1, old)], false), 1);
        let mut done = None;
        assert_eq!(run(&queue, &mut done, 1000), vec![old; 1000]);

        let young = queue.open_lane();
        assert_eq!(queue.push(young, vec![(1, young)], false), 0, "the only worker is active");
        let order = run(&queue, &mut done, 25);
        let of_young = order.iter().filter(|lane| **lane == young).count();
        assert!((18..=22).contains(&of_young), "four of five slices go to the young query, not {of_young} of 25");

        // Three seconds of idleness of the young query are not saved up.
        let order = run(&queue, &mut done, 3000);
        let of_young = order[2900..].iter().filter(|lane| **lane == young).count();
        assert!((45..=55).contains(&of_young), "two old queries share evenly, not {of_young} of 100");
    }

    #[test]
    fn priority_then_age_decides_within_a_lane() {
        let queue = ReadyQueue::new(1, MS, Order::Fair);
        let lane = queue.open_lane();
        queue.push(lane, vec![(2, "second pipeline"), (1, "first"), (1, "first again"), (0, "finish")], false);
        let mut taken = Vec::new();
        let mut done = None;
        while let Some((ticket, task)) = queue.next(done.take()) {
            taken.push(task);
            done = Some((ticket, MS));
        }
        assert_eq!(taken, ["finish", "first", "first again", "second pipeline"]);
    }

    #[test]
    fn workers_are_started_up_to_the_limit_and_counted_out_when_nothing_is_left() {
        let queue = ReadyQueue::new(2, MS, Order::Fair);
        let lane = queue.open_lane();
        assert_eq!(queue.push(lane, vec![(1, ()), (1, ()), (1, ())], false), 2);
        for _ in 0..3 {
            assert!(queue.next(None).is_some());
        }
        assert!(queue.next(None).is_none());
        assert_eq!(queue.push(lane, vec![(1, ())], true), 0, "the worker that is left takes it");
        assert_eq!(queue.push(lane, vec![(1, ())], false), 1);
    }

    #[test]
    fn workers_spread_over_lanes_before_any_task_is_done() {
        let queue = ReadyQueue::new(2, MS, Order::Fair);
        let (a, b) = (queue.open_lane(), queue.open_lane());
        queue.push(a, vec![(1, "a"), (1, "a")], false);
        queue.push(b, vec![(1, "b"), (1, "b")], false);
        let first = queue.next(None).map(|(_, task)| task);
        let second = queue.next(None).map(|(_, task)| task);
        assert_eq!((first, second), (Some("a"), Some("b")));
    }

    #[test]
    fn a_closed_lane_gives_back_its_tasks_and_takes_no_more() {
        let queue = ReadyQueue::new(1, MS, Order::Fair);
        let lane = queue.open_lane();
        queue.push(lane, vec![(1, 7)], false);
        assert_eq!(queue.close_lane(lane), [7]);
        assert_eq!(queue.push(lane, vec![(1, 8)], false), 0);
        assert!(queue.next(None).is_none());
    }
}
