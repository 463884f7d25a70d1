//! The threads: jobs of a private rayon pool that each run tasks until none is ready.
//!
//! Rayon's own queues are not used for tasks: it takes the newest local job first and foreign ones last, so that a
//! query submitted from outside could starve behind chains that respawn themselves. Nothing in a task ever
//! calls back into rayon (`join`, `scope`, `install`): waiting there would run other tasks on the same stack.
//!
//! Deliberately elsewhere: which task is next (`queue.rs`), what a task does (`task.rs`).

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    query::Query,
    queue::{LaneId, Order, ReadyQueue},
    task::Task,
};

/// How long a chain runs before others get their turn, unless one batch takes longer.
const SLICE: Duration = Duration::from_millis(3);

/// Threads and the queue they live on.
pub(super) struct Workers {
    queue: ReadyQueue<(Arc<Query>, Task)>,
    threads: Threads,
    slice: Duration,
}

enum Threads {
    Pool(rayon::ThreadPool),
    /// Whoever submits a query runs it; what is woken later runs on a thread of its own.
    Caller,
}

impl Workers {
    pub(super) fn pool(num_threads: usize) -> Arc<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(num_threads)
            .thread_name(|index| format!("arneb-worker-{index}"))
            .build()
            .expect("a process can start its worker threads");
        let queue = ReadyQueue::new(num_threads, SLICE.as_nanos() as u64, Order::Fair);
        Arc::new(Workers { queue, threads: Threads::Pool(pool), slice: SLICE })
    }

    /// One worker at a time, one batch per slice, in an order that `seed` decides.
    pub(super) fn inline(seed: u64) -> Arc<Self> {
        let queue = ReadyQueue::new(1, 0, Order::Seeded(seed));
        Arc::new(Workers { queue, threads: Threads::Caller, slice: Duration::ZERO })
    }

    pub(super) fn open_lane(&self) -> LaneId {
        self.queue.open_lane()
    }

    /// Removes a lane and what is left in it.
    pub(super) fn close_lane(&self, lane: LaneId) {
        drop(self.queue.close_lane(lane));
    }

    pub(super) fn prefer(&self, lane: LaneId) {
        self.queue.prefer(lane);
    }

    /// Adds the first tasks of a query.
    pub(super) fn submit(self: &Arc<Self>, query: &Arc<Query>, tasks: Vec<(u32, Task)>) {
        let start = self.queue.push(query.lane(), with(query, tasks), false);
        match &self.threads {
            Threads::Pool(_) => self.start(start),
            Threads::Caller if start > 0 => self.work(),
            Threads::Caller => {}
        }
    }

    /// Adds tasks. `returns`: the caller is a worker about to ask for its next task.
    pub(super) fn push(self: &Arc<Self>, query: &Arc<Query>, tasks: Vec<(u32, Task)>, returns: bool) {
        if !tasks.is_empty() {
            self.start(self.queue.push(query.lane(), with(query, tasks), returns));
        }
    }

    fn start(self: &Arc<Self>, count: usize) {
        for _ in 0..count {
            let workers = Arc::clone(self);
            match &self.threads {
                Threads::Pool(pool) => pool.spawn(move || workers.work()),
                // Not on the waking thread: it may hold locks that the woken source needs.
                Threads::Caller => drop(thread::spawn(move || workers.work())),
            }
        }
    }

    fn work(self: &Arc<Self>) {
        let mut started = Instant::now();
        let mut done = None;
        while let Some((ticket, (query, task))) = self.queue.next(done.take()) {
            query.run(task, started + self.slice);
            let now = Instant::now();
            done = Some((ticket, now.duration_since(started).as_nanos() as u64));
            started = now;
        }
    }
}

fn with(query: &Arc<Query>, tasks: Vec<(u32, Task)>) -> Vec<(u32, (Arc<Query>, Task))> {
    tasks.into_iter().map(|(priority, task)| (priority, (Arc::clone(query), task))).collect()
}
