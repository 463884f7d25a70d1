//! Who may run: at most so many queries at once, a bounded queue before them, and an end to waiting.
//!
//! Position: asked by [`super::query`] between planning and running, on a thread that may block. A [`Permit`] is held by the query's
//! rows and gives its place to the next in line when they end, are dropped, or the query is cancelled.
//! Deliberately elsewhere: memory, which is bounded per query and node by `pipelines::memory`.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use pipelines::CancelToken;

use super::registry::QueryEntry;
use crate::error::{Error, ErrorKind, Result};

/// The door that queries wait at.
pub struct Admission {
    gate: Arc<Gate>,
}

struct Gate {
    max_running: usize,
    max_queued: usize,
    timeout: Duration,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    running: usize,
    /// First come, first served. Whoever was taken out of it by [`Gate::leave`] has a place.
    waiting: VecDeque<Arc<Waiter>>,
    next_ticket: u64,
}

/// A query in the queue.
struct Waiter {
    gate: Weak<Gate>,
    changed: Condvar,
}

/// The right to run.
#[must_use = "dropping the permit gives the place away"]
pub struct Permit(Option<Arc<Place>>);

/// A place among those that run.
struct Place {
    gate: Arc<Gate>,
    is_free: AtomicBool,
}

impl Admission {
    /// Lets `max_running` queries run (at least one) and `max_queued` wait, none longer than `timeout`.
    pub fn new(max_running: usize, max_queued: usize, timeout: Duration) -> Self {
        let gate = Gate { max_running: max_running.max(1), max_queued, timeout, line: Mutex::default() };
        Admission { gate: Arc::new(gate) }
    }

    /// Waits for a place; blocks the thread.
    ///
    /// # Errors
    /// 53300 when the queue is full or the wait is too long, 57014 when the query is cancelled.
    pub fn admit(&self, entry: &QueryEntry, cancel: &CancelToken) -> Result<Permit> {
        let waiter = {
            let mut line = self.gate.line.lock();
            if line.waiting.is_empty() && line.running < self.gate.max_running {
                line.running += 1;
                None
            } else if line.waiting.len() >= self.gate.max_queued {
                return Err(self.gate.queue_is_full());
            } else {
                let waiter = Arc::new(Waiter { gate: Arc::downgrade(&self.gate), changed: Condvar::new() });
                line.waiting.push_back(Arc::clone(&waiter));
                entry.queued(line.next_ticket);
                line.next_ticket += 1;
                Some(waiter)
            }
        };
        if let Some(waiter) = waiter {
            cancel.wake_on_cancel(Waker::from(Arc::clone(&waiter)));
            self.gate.wait(&waiter, cancel)?;
        }
        Ok(Permit::new(Arc::clone(&self.gate), cancel))
    }

    /// How many may run.
    pub fn max_running(&self) -> usize {
        self.gate.max_running
    }

    /// How many run now and how many wait.
    pub fn running_and_waiting(&self) -> (usize, usize) {
        let line = self.gate.line.lock();
        (line.running, line.waiting.len())
    }
}

impl Gate {
    /// Until the waiter has been given a place.
    fn wait(&self, waiter: &Arc<Waiter>, cancel: &CancelToken) -> Result<()> {
        let deadline = Instant::now() + self.timeout;
        let mut line = self.line.lock();
        loop {
            let Some(position) = line.waiting.iter().position(|other| Arc::ptr_eq(other, waiter)) else { return Ok(()) };
            if cancel.is_cancelled() {
                line.waiting.remove(position);
                return Err(pipelines::Error::Cancelled.into());
            }
            if Instant::now() >= deadline {
                line.waiting.remove(position);
                return Err(self.waited_too_long());
            }
            waiter.changed.wait_until(&mut line, deadline);
        }
    }

    /// A place becomes free: the first in line has it, or nobody.
    fn leave(&self) {
        let mut line = self.line.lock();
        match line.waiting.pop_front() {
            Some(next) => {
                next.changed.notify_one();
            }
            None => line.running -= 1,
        }
    }

    fn queue_is_full(&self) -> Error {
        let message = format!("too many queries: {} are running and {} are waiting", self.max_running, self.max_queued);
        refusal(message)
    }

    fn waited_too_long(&self) -> Error {
        let seconds = self.timeout.as_secs_f64();
        refusal(format!("the query waited {seconds} s for one of {} running queries to end", self.max_running))
    }
}

fn refusal(message: String) -> Error {
    Error::new(ErrorKind::Resource, "53300", message).with_hint(
        "try again later, look at system.queries for what is running, or raise max_running, max_queued or \
         queue_timeout_s in the configuration",
    )
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        if let Some(gate) = self.gate.upgrade() {
            // Under the lock: not between the waiter's look at the token and its falling asleep.
            let _line = gate.line.lock();
            self.changed.notify_one();
        }
    }
}

impl Permit {
    /// For queries that take no place.
    pub fn without_place() -> Self {
        Permit(None)
    }

    fn new(gate: Arc<Gate>, cancel: &CancelToken) -> Self {
        let place = Arc::new(Place { gate, is_free: AtomicBool::new(false) });
        // A cancelled query ends by itself soon, but its client may never ask for the end.
        cancel.wake_on_cancel(Waker::from(Arc::clone(&place)));
        Permit(Some(place))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(place) = &self.0 {
            place.free();
        }
    }
}

impl Place {
    fn free(&self) {
        if !self.is_free.swap(true, Ordering::Relaxed) {
            self.gate.leave();
        }
    }
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::execution::registry::QueryRegistry;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn admission(max_running: usize, max_queued: usize, timeout: Duration) -> Arc<Admission> {
        Arc::new(Admission::new(max_running, max_queued, timeout))
    }

    fn entry() -> Arc<QueryEntry> {
        QueryRegistry::default().begin("SELECT 1", "ada", "", CancelToken::new())
    }

    fn admit(admission: &Admission) -> Result<Permit> {
        admission.admit(&entry(), &CancelToken::new())
    }

    /// Asks on a thread of its own, and returns when it waits.
    fn admit_later(admission: &Arc<Admission>, cancel: CancelToken) -> JoinHandle<Result<Permit>> {
        let before = admission.running_and_waiting().1;
        let asking = Arc::clone(admission);
        let thread = thread::spawn(move || asking.admit(&entry(), &cancel));
        let start = Instant::now();
        while admission.running_and_waiting().1 == before {
            assert!(start.elapsed() < PATIENCE, "nobody waits");
            thread::yield_now();
        }
        thread
    }

    #[test]
    fn a_place_that_becomes_free_goes_to_the_first_in_line() {
        let admission = admission(1, 10, PATIENCE);
        let running = admit(&admission).unwrap();
        let first = admit_later(&admission, CancelToken::new());
        let second = admit_later(&admission, CancelToken::new());
        assert_eq!(admission.running_and_waiting(), (1, 2));
        drop(running);
        let first = first.join().unwrap().unwrap();
        assert_eq!(admission.running_and_waiting(), (1, 1));
        assert!(!second.is_finished());
        drop(first);
        drop(second.join().unwrap().unwrap());
        assert_eq!(admission.running_and_waiting(), (0, 0));
    }

    #[test]
    fn a_full_queue_refuses_with_advice() {
        let admission = admission(1, 0, PATIENCE);
        let _running = admit(&admission).unwrap();
        let error = admit(&admission).err().unwrap();
        assert_eq!(error.sqlstate.0, "53300");
        assert_eq!(error.message, "too many queries: 1 are running and 0 are waiting");
        assert!(error.hint.unwrap().contains("system.queries"));
    }

    #[test]
    fn waiting_ends_when_the_time_is_over() {
        let admission = admission(1, 10, Duration::from_millis(20));
        let _running = admit(&admission).unwrap();
        let error = admit(&admission).err().unwrap();
        assert_eq!((error.sqlstate.0, error.kind), ("53300", ErrorKind::Resource));
        assert_eq!(admission.running_and_waiting(), (1, 0));
    }

    #[test]
    fn a_query_can_be_cancelled_while_it_waits() {
        let admission = admission(1, 10, PATIENCE);
        let running = admit(&admission).unwrap();
        let cancel = CancelToken::new();
        let waiting = admit_later(&admission, cancel.clone());
        cancel.cancel();
        assert_eq!(waiting.join().unwrap().err().unwrap().sqlstate.0, "57014");
        drop(running);
        assert_eq!(admission.running_and_waiting(), (0, 0));
    }

    #[test]
    fn a_query_that_was_cancelled_before_it_waits_does_not_wait() {
        let admission = admission(1, 10, PATIENCE);
        let _running = admit(&admission).unwrap();
        let cancel = CancelToken::new();
        cancel.cancel();
        assert_eq!(admission.admit(&entry(), &cancel).err().unwrap().sqlstate.0, "57014");
    }

    #[test]
    fn cancelling_a_running_query_frees_its_place_once() {
        let admission = admission(2, 10, PATIENCE);
        let cancel = CancelToken::new();
        let cancelled = admission.admit(&entry(), &cancel).unwrap();
        let _other = admit(&admission).unwrap();
        cancel.cancel();
        assert_eq!(admission.running_and_waiting(), (1, 0));
        drop(cancelled);
        assert_eq!(admission.running_and_waiting(), (1, 0));
    }

    #[test]
    fn no_place_is_lost_among_many_threads() {
        let admission = admission(3, 1000, PATIENCE);
        thread::scope(|scope| {
            for number in 0..8 {
                let admission = &admission;
                scope.spawn(move || {
                    for round in 0..50 {
                        let cancel = CancelToken::new();
                        let permit = admission.admit(&entry(), &cancel);
                        assert!(admission.running_and_waiting().0 <= 3);
                        if (number + round) % 3 == 0 {
                            cancel.cancel();
                        }
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(admission.running_and_waiting(), (0, 0));
    }
}
