//! Models of the scheduler's two protocols under every interleaving that loom can think of.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p pipelines --test loom --release`; empty otherwise. The races are
//! named in `src/scheduler/README.md`.
#![cfg(loom)]

use loom::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use pipelines::scheduler::{
    park::Parking,
    queue::{LaneId, Order, ReadyQueue},
};

/// One turn of a chain that waits until `ready` is 2 and counts how often it looked; parked if it is not yet.
/// Answers whether it is through.
fn turn(parking: &Parking<usize>, ready: &AtomicUsize, mut looks: usize) -> bool {
    loop {
        parking.resume();
        if ready.load(Ordering::Relaxed) == 2 {
            return true;
        }
        match parking.park(looks + 1) {
            Some(back) => looks = back,
            None => return false,
        }
        assert!(looks <= 2, "it looks again only when notified");
    }
}

#[test]
fn no_notification_is_lost_and_one_thread_at_a_time_has_the_chain() {
    // Three threads have too many interleavings; those with more than three preemptions find no more bugs in practice.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let parking = Arc::new(Parking::<usize>::new());
        // Relaxed on purpose: `notify` and `resume` have to order it.
        let ready = Arc::new(AtomicUsize::new(0));
        let through = Arc::new(AtomicUsize::new(0));
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let (parking, ready, through) = (Arc::clone(&parking), Arc::clone(&ready), Arc::clone(&through));
                thread::spawn(move || {
                    ready.fetch_add(1, Ordering::Relaxed);
                    if let Some(chain) = parking.notify()
                        && turn(&parking, &ready, chain)
                    {
                        through.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        if turn(&parking, &ready, 0) {
            through.fetch_add(1, Ordering::Relaxed);
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        assert_eq!(through.load(Ordering::Relaxed), 1, "the chain got through, once");
    });
}

/// A worker as in `worker.rs`, on the thread that decided to start it. Task 10 adds task 100 on its way back.
fn work(queue: &ReadyQueue<usize>, lane: LaneId, ran: &AtomicUsize) {
    let mut done = None;
    while let Some((ticket, task)) = queue.next(done.take()) {
        ran.fetch_add(task, Ordering::Relaxed);
        if task == 10 {
            assert_eq!(queue.push(lane, vec![(1, 100)], true), 0, "this worker takes it, or another that looks for tasks");
        }
        done = Some((ticket, 1));
    }
}

/// Two threads push a task each, and work if they have to.
fn push_and_work(max_workers: usize) {
    loom::model(move || {
        let queue = Arc::new(ReadyQueue::new(max_workers, 1, Order::Fair));
        let lane = queue.open_lane();
        let ran = Arc::new(AtomicUsize::new(0));
        let other = {
            let (queue, ran) = (Arc::clone(&queue), Arc::clone(&ran));
            thread::spawn(move || {
                if queue.push(lane, vec![(1, 1)], false) > 0 {
                    work(&queue, lane, &ran);
                }
            })
        };
        if queue.push(lane, vec![(1, 10)], false) > 0 {
            work(&queue, lane, &ran);
        }
        other.join().unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 111, "every task ran");
    });
}

#[test]
fn every_task_runs_although_the_only_worker_goes_to_sleep() {
    push_and_work(1);
}

#[test]
fn every_task_runs_although_two_workers_go_to_sleep() {
    push_and_work(2);
}
