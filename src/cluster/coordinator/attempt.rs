//! One attempt at a query: control streams to the workers, the coordinator's own units, and the machine that decides.
//!
//! ```text
//!   reports of workers ─┐
//!   own units' reports ─┼─► events ─► QueryMachine ─► actions ─► commands to workers, own units
//!   membership ─────────┤                               └─► restart, failure, success
//!   clock, client ──────┘
//!   root's rows ──► outbox ──► client
//! ```
//!
//! Position: made by `query` for every attempt; all I/O of a running query is here, all decisions are in `query_machine`.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use pipelines::CancelToken;
use tokio::sync::{Notify, broadcast, mpsc};

use super::{Cluster, outbox::Outbox, progress};
use crate::{
    Engine,
    cluster::{
        control::{Command, QueryAttempt, QueryNode, QueryStart, Report, TaskStats, VIRTUAL_CLASSES},
        flight::{FlightReceiver, FlightSender, Lane, StreamOpen, messages},
        membership::NodeEvent,
        node::{NodeIndex, NodeInfo},
        node_scheduler::NodeShape,
        query_machine::{Action, Event, MachineConfig, QueryMachine, Recovery},
        task::NodeQuery,
        transport::transport,
    },
    error::{Error, ErrorKind},
    execution::{registry::QueryEntry, results::RootRows},
    plan::fragment::DistributedPlan,
};

/// How long the end of an attempt waits for the workers' last word; and when somebody waits for the query to be cancelled.
const END_LIMIT: Duration = Duration::from_secs(2);
const CANCEL_LIMIT: Duration = Duration::from_millis(150);

/// How an attempt ended.
pub enum End {
    /// All rows are in the outbox.
    Succeeded,
    /// The cluster lost something; the query may be tried again.
    Restart(String),
    /// The query fails.
    Failed(Error),
}

/// What an attempt starts from.
pub struct AttemptSpec {
    /// Its number.
    pub attempt: QueryAttempt,
    /// What is computed.
    pub plan: Arc<DistributedPlan>,
    /// The workers that take part.
    pub workers: Vec<NodeInfo>,
    /// What is done about faults of the cluster.
    pub recovery: Recovery,
}

/// A running attempt.
pub struct Attempt<'a> {
    cluster: &'a Arc<Cluster>,
    entry: &'a Arc<QueryEntry>,
    cancelled: Arc<Notify>,
    cancel: &'a CancelToken,
    spec: AttemptSpec,
    machine: QueryMachine,
    began: Instant,
    local: Arc<NodeQuery>,
    rows: RootRows,
    /// Control streams, by node index; the coordinator has none.
    workers: HashMap<NodeIndex, FlightSender>,
    events: mpsc::UnboundedReceiver<(NodeIndex, Heard)>,
    heard: mpsc::UnboundedSender<(NodeIndex, Heard)>,
    stats: HashMap<NodeIndex, Vec<TaskStats>>,
    ended: usize,
}

/// What comes from a node, or is learned about it.
enum Heard {
    Said(Report),
    StreamBroke(String),
    IsAlive,
}

/// Wakes who waits for a cancellation.
struct CancelWaker(Arc<Notify>);

impl Wake for CancelWaker {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// A signal that is given when `cancel` is set.
pub fn cancel_signal(cancel: &CancelToken) -> Arc<Notify> {
    let notify = Arc::new(Notify::new());
    cancel.wake_on_cancel(Waker::from(Arc::new(CancelWaker(Arc::clone(&notify)))));
    notify
}

impl<'a> Attempt<'a> {
    /// Opens the control streams and tells every node to begin.
    ///
    /// # Errors
    /// What the coordinator itself cannot do. A worker that cannot be reached is heard of as an event.
    pub async fn begin(
        cluster: &'a Arc<Cluster>,
        engine: &Arc<Engine>,
        entry: &'a Arc<QueryEntry>,
        cancel: &'a CancelToken,
        cancelled: Arc<Notify>,
        spec: AttemptSpec,
    ) -> Result<Attempt<'a>, Error> {
        let (heard, events) = mpsc::unbounded_channel();
        let key = cluster.security.attempt_key()?;
        let shapes = shapes(cluster, &spec.workers);
        let start = |receiver: NodeIndex| QueryStart {
            attempt: spec.attempt,
            key,
            receiver,
            nodes: nodes(cluster, &spec.workers, receiver),
            classes: classes(&spec.workers),
            plan: DistributedPlan::clone(&spec.plan),
            batch_rows: engine.options.batch_rows as u32,
            memory_bytes: cluster.options.query_memory_bytes as u64,
        };
        let rows = RootRows::new();
        let (reports, mut own) = mpsc::unbounded_channel();
        let own_start = start(NodeIndex::COORDINATOR);
        let carrier = transport(&cluster.peers, &own_start);
        let local = NodeQuery::begin(Arc::clone(engine), own_start, carrier, reports, Some(rows.sink()))?;
        cluster.attempts.insert(&local);
        let own_heard = heard.clone();
        tokio::spawn(async move {
            while let Some(report) = own.recv().await {
                if own_heard.send((NodeIndex::COORDINATOR, Heard::Said(report))).is_err() {
                    return;
                }
            }
        });
        let opened = spec.workers.iter().enumerate().map(|(place, worker)| {
            let index = NodeIndex(place as u16 + 1);
            let command = Command::Begin(Box::new(start(index)));
            async move {
                let stream = cluster.peers.open(Lane::Control, &worker.address, &StreamOpen::Control).await;
                if let Ok((outbound, _)) = &stream {
                    // A stream that is closed already is noticed by its reader.
                    let _ = outbound.send(messages::encode(&command));
                }
                (index, stream)
            }
        });
        let mut workers = HashMap::new();
        let streams = tokio::select! {
            streams = futures::future::join_all(opened) => streams,
            // A node that does not answer must not hold up who wants to stop; what was opened ends by being dropped.
            () = cancelled.notified() => {
                local.end().await;
                cluster.attempts.remove(spec.attempt);
                return Err(pipelines::Error::Cancelled.into());
            }
        };
        for (index, stream) in streams {
            match stream {
                Ok((outbound, inbound)) => {
                    workers.insert(index, outbound);
                    tokio::spawn(listen(index, inbound, heard.clone()));
                }
                Err(error) => drop(heard.send((index, Heard::StreamBroke(error.message)))),
            }
        }
        let _ = heard.send((NodeIndex::COORDINATOR, Heard::Said(Report::Ready)));
        let config = MachineConfig {
            plan: Arc::clone(&spec.plan),
            nodes: shapes,
            recovery: spec.recovery,
            speculation: cluster.options.speculation,
        };
        Ok(Attempt {
            cluster,
            entry,
            cancelled,
            cancel,
            machine: QueryMachine::new(config),
            spec,
            began: Instant::now(),
            local,
            rows,
            workers,
            events,
            heard,
            stats: HashMap::new(),
            ended: 0,
        })
    }

    /// Runs the attempt until it is over; on success all rows are in `outbox`.
    pub async fn run(&mut self, membership: &mut broadcast::Receiver<NodeEvent>, outbox: &mut Outbox) -> End {
        let end = self.go(membership, outbox).await;
        self.finish().await;
        if matches!(end, End::Succeeded) {
            while let Some(batch) = self.rows.take() {
                outbox.push(batch);
            }
        }
        end
    }

    /// What every task counted, with the node's name.
    pub fn tasks(&self) -> Vec<(String, TaskStats)> {
        let mut tasks: Vec<(NodeIndex, &TaskStats)> =
            self.stats.iter().flat_map(|(node, tasks)| tasks.iter().map(move |task| (*node, task))).collect();
        tasks.sort_by_key(|(node, task)| (task.fragment, *node));
        tasks.into_iter().map(|(node, task)| (self.name(node), task.clone())).collect()
    }

    /// The name of a node of this attempt.
    pub fn name(&self, node: NodeIndex) -> String {
        match usize::from(node.0).checked_sub(1) {
            None => self.cluster.me.id.0.clone(),
            Some(place) => self.spec.workers.get(place).map_or_else(String::new, |worker| worker.id.0.clone()),
        }
    }

    async fn go(&mut self, membership: &mut broadcast::Receiver<NodeEvent>, outbox: &mut Outbox) -> End {
        loop {
            if self.cancel.is_cancelled() {
                return End::Failed(Error::from(pipelines::Error::Cancelled));
            }
            let deadline = self.machine.next_deadline().map(|at| self.began + at);
            let event = tokio::select! {
                biased;
                () = self.cancelled.notified() => continue,
                event = membership.recv() => match event {
                    Ok(event) => self.of_membership(event),
                    // Too many events at once: who is gone is found out by the streams.
                    Err(_) => None,
                },
                heard = self.events.recv() => match heard {
                    Some((node, heard)) => self.of_node(node, heard),
                    None => None,
                },
                batch = self.rows.next(), if outbox.has_room() => {
                    outbox.push(batch);
                    continue;
                }
                is_there = outbox.send_next(), if outbox.has_ready() => match is_there {
                    true => continue,
                    false => return End::Failed(Error::from(pipelines::Error::Cancelled)),
                },
                () = sleep_until(deadline) => Some(Event::Tick),
            };
            let Some(event) = event else { continue };
            let actions = self.machine.step(event, self.began.elapsed());
            if let Some(end) = self.act(actions) {
                return end;
            }
        }
    }

    fn of_membership(&self, event: NodeEvent) -> Option<Event> {
        let index = |incarnation| {
            let place = self.spec.workers.iter().position(|worker| worker.incarnation == incarnation)?;
            Some(NodeIndex(place as u16 + 1))
        };
        match event {
            NodeEvent::Lost { incarnation, reason, .. } => Some(Event::NodeLost { node: index(incarnation)?, reason }),
            NodeEvent::Left { incarnation, .. } => Some(Event::NodeLost { node: index(incarnation)?, reason: "it has left".to_owned() }),
            NodeEvent::Draining { incarnation, .. } => Some(Event::Draining(index(incarnation)?)),
            NodeEvent::Resumed { incarnation, .. } => Some(Event::Resumed(index(incarnation)?)),
            NodeEvent::Joined { .. } => None,
        }
    }

    fn of_node(&mut self, node: NodeIndex, heard: Heard) -> Option<Event> {
        match heard {
            Heard::Said(report) => self.of_report(node, report),
            Heard::StreamBroke(reason) => {
                self.workers.remove(&node);
                Some(Event::PeerLost { reporter: NodeIndex::COORDINATOR, peer: node, reason })
            }
            Heard::IsAlive => Some(Event::NodeAlive(node)),
        }
    }

    fn of_report(&mut self, node: NodeIndex, report: Report) -> Option<Event> {
        Some(match report {
            Report::Ready => Event::Ready(node),
            Report::Done(run) => Event::Done { node, run },
            Report::Failed(error) => {
                let error = Error::from(error);
                tracing::debug!(node = self.name(node), %error, "a task failed");
                Event::Failed { node, error: with_node(error, node, &self.name(node)) }
            }
            Report::PeerLost(peer, reason) => Event::PeerLost { reporter: node, peer, reason },
            Report::FilterPart(filter, unit, value) => {
                // What is not sound lets everything pass.
                let value = value.filter(operators::runtime_filter::RuntimeFilter::is_valid);
                Event::FilterPart { node, filter, unit, value }
            }
            Report::Stats(tasks) => {
                self.keep_stats(node, tasks);
                return None;
            }
            Report::Ended(tasks) => {
                self.keep_stats(node, tasks);
                self.ended += 1;
                // While the attempt runs nobody has asked for it: the worker has given it up. At its end events are not looked at.
                let reason = "it ended its part of the query".to_owned();
                Event::PeerLost { reporter: NodeIndex::COORDINATOR, peer: node, reason }
            }
        })
    }

    fn keep_stats(&mut self, node: NodeIndex, tasks: Vec<TaskStats>) {
        self.stats.insert(node, tasks);
        progress::show(self.entry, &self.tasks(), false);
    }

    fn act(&mut self, actions: Vec<Action>) -> Option<End> {
        for action in actions {
            match action {
                Action::Start => {
                    self.tell_all(&Command::Start);
                    self.local.obey(Command::Start);
                }
                Action::Filter { node, filter, value } => self.tell(node, Command::Filter(filter, value)),
                Action::Run { node, run, part } => self.tell(node, Command::Run(run, part)),
                Action::Forget { node, run } => self.tell(node, Command::Forget(run)),
                Action::NodeGone { gone } => {
                    self.workers.remove(&gone);
                    self.tell_all(&Command::NodeGone(gone));
                    self.local.obey(Command::NodeGone(gone));
                }
                Action::Probe(node) => self.probe(node),
                Action::Restart { reason } => return Some(End::Restart(reason)),
                Action::Fail(error) => return Some(End::Failed(error)),
                Action::Succeed => return Some(End::Succeeded),
            }
        }
        let progress = self.machine.progress();
        self.entry.set_progress(u64::from(progress.units_done), u64::from(progress.units_total));
        None
    }

    fn tell(&self, node: NodeIndex, command: Command) {
        if node == NodeIndex::COORDINATOR {
            return self.local.obey(command);
        }
        if let Some(stream) = self.workers.get(&node) {
            // A stream that is closed is heard of by its reader.
            let _ = stream.send(messages::encode(&command));
        }
    }

    fn tell_all(&self, command: &Command) {
        for stream in self.workers.values() {
            let _ = stream.send(messages::encode(command));
        }
    }

    /// Finds out whether a node is there; membership is told if it is not.
    fn probe(&self, node: NodeIndex) {
        let Some(worker) = usize::from(node.0).checked_sub(1).and_then(|place| self.spec.workers.get(place)).cloned() else { return };
        let (cluster, heard) = (Arc::clone(self.cluster), self.heard.clone());
        tokio::spawn(async move {
            // Of its death, membership tells everybody.
            if cluster.membership.verify(&worker.id, worker.incarnation, "a stream of a query broke").await {
                let _ = heard.send((node, Heard::IsAlive));
            }
        });
    }

    /// Ends the attempt on all nodes, and waits for their last counters.
    async fn finish(&mut self) {
        self.tell_all(&Command::End);
        let own = self.local.end().await;
        self.cluster.attempts.remove(self.spec.attempt);
        self.stats.insert(NodeIndex::COORDINATOR, own);
        let limit = if self.cancel.is_cancelled() { CANCEL_LIMIT } else { END_LIMIT };
        let deadline = tokio::time::Instant::now() + limit;
        while self.ended < self.workers.len() {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some((node, heard))) => drop(self.of_node(node, heard)),
                Ok(None) | Err(_) => break,
            }
        }
        // Closed streams tell the rest.
        self.workers.clear();
        progress::show(self.entry, &self.tasks(), true);
    }
}

impl Drop for Attempt<'_> {
    /// However the attempt ends, nothing of it stays on this node.
    fn drop(&mut self) {
        self.local.stop();
        self.cluster.attempts.remove(self.spec.attempt);
    }
}

/// Hands on what a worker says until its stream ends.
async fn listen(node: NodeIndex, inbound: FlightReceiver, heard: mpsc::UnboundedSender<(NodeIndex, Heard)>) {
    let mut inbox = messages::Inbox::<Report>::new(inbound);
    let reason = loop {
        match inbox.next().await {
            Some(Ok(report)) => {
                let is_last = matches!(report, Report::Ended(_));
                if heard.send((node, Heard::Said(report))).is_err() || is_last {
                    return;
                }
            }
            Some(Err(error)) => break error.message,
            None => break "the control stream ended".to_owned(),
        }
    };
    let _ = heard.send((node, Heard::StreamBroke(reason)));
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Names the node in errors that are about a node, not about the query's data.
fn with_node(error: Error, node: NodeIndex, name: &str) -> Error {
    let is_local = matches!(error.kind, ErrorKind::Resource | ErrorKind::Connector | ErrorKind::Internal | ErrorKind::Cluster);
    if !is_local || node == NodeIndex::COORDINATOR || error.detail.is_some() {
        return error;
    }
    error.with_detail(format!("on node {name}"))
}

fn shapes(cluster: &Cluster, workers: &[NodeInfo]) -> Vec<NodeShape> {
    let shape = |node: &NodeInfo| NodeShape { threads: node.threads, name: node.id.0.clone() };
    std::iter::once(&cluster.me).chain(workers).map(shape).collect()
}

/// The nodes of an attempt as `receiver` can reach them: the coordinator at the address at which it has found it before.
fn nodes(cluster: &Cluster, workers: &[NodeInfo], receiver: NodeIndex) -> Vec<QueryNode> {
    let node = |info: &NodeInfo| QueryNode { name: info.id.0.clone(), incarnation: info.incarnation, address: info.address.clone() };
    let mut nodes: Vec<QueryNode> = std::iter::once(&cluster.me).chain(workers).map(node).collect();
    let found_at = usize::from(receiver.0).checked_sub(1).and_then(|place| cluster.membership.reached_at(&workers.get(place)?.id));
    if let Some(address) = found_at {
        nodes[0].address = address;
    }
    nodes
}

/// Hash classes go to workers in proportion to their share of all threads, or of all memory where that is less: a class has to be kept.
fn classes(workers: &[NodeInfo]) -> Vec<NodeIndex> {
    let share = |own: f64, all: f64| own.max(1.0) / all.max(1.0);
    let threads: f64 = workers.iter().map(|worker| f64::from(worker.threads)).sum();
    let memory: f64 = workers.iter().map(|worker| worker.memory_bytes as f64).sum();
    let weight = |worker: &NodeInfo| share(f64::from(worker.threads), threads).min(share(worker.memory_bytes as f64, memory));
    let total: f64 = workers.iter().map(weight).sum();
    let mut ends = vec![];
    let mut sum = 0.0;
    for worker in workers {
        sum += weight(worker);
        ends.push((sum / total * VIRTUAL_CLASSES as f64).round() as usize);
    }
    (0..VIRTUAL_CLASSES)
        .map(|class| {
            let place = ends.iter().position(|end| class < *end).unwrap_or(workers.len().saturating_sub(1));
            NodeIndex(place as u16 + 1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::{Incarnation, NodeId};

    fn worker(threads: u16, memory_bytes: u64) -> NodeInfo {
        NodeInfo {
            id: NodeId("w".to_owned()),
            incarnation: Incarnation(1),
            address: "127.0.0.1:1".to_owned(),
            threads,
            memory_bytes,
            version: String::new(),
            protocol: 0,
        }
    }

    #[test]
    fn hash_classes_go_to_workers_by_their_threads_and_memory() {
        let shares = |workers: &[NodeInfo]| -> Vec<usize> {
            let classes = classes(workers);
            assert_eq!(classes.len(), VIRTUAL_CLASSES);
            (1..=workers.len()).map(|node| classes.iter().filter(|class| usize::from(class.0) == node).count()).collect()
        };
        assert_eq!(shares(&[worker(1, 1 << 30), worker(3, 3 << 30)]), [64, 192]);
        // As many threads, but a third of the memory.
        assert_eq!(shares(&[worker(2, 1 << 30), worker(2, 3 << 30)]), [85, 171]);
        assert_eq!(shares(&[worker(1, 1), worker(1, 1), worker(1, 1)]).iter().sum::<usize>(), VIRTUAL_CLASSES);
    }
}
