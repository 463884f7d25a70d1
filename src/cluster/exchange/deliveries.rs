//! Which runs of units still wait for receivers to say that they have everything.
//!
//! Position: entries are opened by [`super::sink`], acknowledged by receivers, awaited by the node's `task`. A run is delivered when no
//! channel is left that it waits for: every receiver has acknowledged the end, wants nothing any more, or is gone.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::effects::keep_waker;
use crate::{
    cluster::{control::UnitRun, node::NodeIndex},
    plan::fragment::ExchangeId,
};

/// Set when nobody wants a run any more; shared with the run's sink.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    pub(super) fn is_set(&self) -> bool {
        // Relaxed: receivers drop what slips through, see the races in README.md.
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All runs of a node that have sent or may send rows.
#[derive(Default)]
pub(crate) struct Deliveries(Mutex<HashMap<UnitRun, Delivery>>);

#[derive(Default)]
struct Delivery {
    awaited: HashSet<(ExchangeId, NodeIndex)>,
    wakers: Vec<Waker>,
    abandoned: Abandoned,
}

impl Deliveries {
    /// A run that will send into `channels`.
    pub(super) fn open(&self, run: UnitRun, channels: impl IntoIterator<Item = (ExchangeId, NodeIndex)>) -> Abandoned {
        let mut runs = self.0.lock();
        let delivery = runs.entry(run).or_default();
        delivery.awaited.extend(channels);
        delivery.abandoned.clone()
    }

    /// A receiver has acknowledged the end of a run.
    #[must_use]
    pub(super) fn acknowledge(&self, run: UnitRun, exchange: ExchangeId, node: NodeIndex) -> Vec<Waker> {
        match self.0.lock().get_mut(&run) {
            Some(delivery) => delivery.settle(|channel| channel == (exchange, node)),
            None => Vec::new(),
        }
    }

    /// No run has to wait for the channels that `is_settled` names.
    #[must_use]
    pub(super) fn settle(&self, is_settled: impl Fn((ExchangeId, NodeIndex)) -> bool) -> Vec<Waker> {
        self.0.lock().values_mut().flat_map(|delivery| delivery.settle(&is_settled)).collect()
    }

    /// Forgets a run; answers the channels whose receivers may have something of it that does not count yet.
    pub(super) fn abandon(&self, run: UnitRun) -> (Vec<(ExchangeId, NodeIndex)>, Vec<Waker>) {
        let Some(delivery) = self.0.lock().remove(&run) else { return (Vec::new(), Vec::new()) };
        delivery.abandoned.set();
        (delivery.awaited.into_iter().collect(), delivery.wakers)
    }

    /// Whether a run is delivered. Then it is forgotten; what is not known has been delivered.
    pub(super) fn poll_delivered(&self, run: UnitRun, context: &Context<'_>) -> Poll<()> {
        let mut runs = self.0.lock();
        match runs.get_mut(&run) {
            Some(delivery) if !delivery.awaited.is_empty() => {
                keep_waker(&mut delivery.wakers, context.waker());
                Poll::Pending
            }
            _ => {
                runs.remove(&run);
                Poll::Ready(())
            }
        }
    }

    /// Forgets everything.
    #[must_use]
    pub(super) fn clear(&self) -> Vec<Waker> {
        let runs = std::mem::take(&mut *self.0.lock());
        runs.into_values()
            .flat_map(|delivery| {
                delivery.abandoned.set();
                delivery.wakers
            })
            .collect()
    }
}

impl Delivery {
    fn settle(&mut self, is_settled: impl Fn((ExchangeId, NodeIndex)) -> bool) -> Vec<Waker> {
        self.awaited.retain(|channel| !is_settled(*channel));
        if self.awaited.is_empty() { std::mem::take(&mut self.wakers) } else { Vec::new() }
    }
}
