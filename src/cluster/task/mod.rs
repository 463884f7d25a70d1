//! One query attempt on one node: the units that run here, what they have in common, and their channels.
//!
//! ```text
//!   Begin ─► inputs open ─► Start ─► shared graphs (leaf fragments), units of partitioned and coordinator fragments
//!                                      │ shared graph has ended
//!            Run(unit) ──► waits ──────┴──► unit's graph ──► delivered ──► Done(unit)
//! ```
//!
//! Position: obeys [`Command`]s and answers with [`Report`]s, on workers for `worker`, on the coordinator (for its own fragments)
//! for `coordinator`. Every graph runs on the node's scheduler like any query, with a cancel token of its own; nothing here
//! waits on a thread. Deliberately elsewhere: which unit runs where (`query_machine`), rows between nodes (`exchange`),
//! pipelines of a unit (`planner::pipeline_builder`).

mod counters;
mod fragment;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;

use operators::runtime_filter::{RuntimeFilter, RuntimeFilterSlot};
use parking_lot::Mutex;
use pipelines::{CancelToken, GraphMetrics, PipelineGraph, QueryMemory, QueryOptions, Sink, Source};
use tokio::sync::{Notify, mpsc};

pub use self::fragment::Parts;
use self::{
    counters::Counters,
    fragment::{FragmentState, NextStep, SharedState},
};
use super::{
    control::{Command, InputSpec, QueryStart, Report, TaskStats, UnitId, UnitRun},
    exchange::{ExchangeConfig, Output, QueryExchange, Transport},
    node::NodeIndex,
};
use crate::{
    Engine,
    error::{Error, Result},
    plan::{
        fragment::{ExchangeSpec, Fragment, FragmentId, Placement, Routing, UnitPart},
        physical::{PhysicalOperator, RuntimeFilterId},
    },
    planner::pipeline_builder::{Built, FilterListener, SharedParts, StageLabel, UnitInputs, build_shared, build_unit},
};

/// Largest filter that is sent to other nodes with its members; beyond, only bounds are.
const FILTER_BYTES_MAX: usize = 8 << 20;

/// A query attempt on this node. Dropping it does not end it: [`NodeQuery::end`] does.
pub struct NodeQuery {
    engine: Arc<Engine>,
    start: QueryStart,
    memory: Arc<QueryMemory>,
    exchange: Arc<QueryExchange>,
    reports: mpsc::UnboundedSender<Report>,
    /// Where the rows of the root fragment go; on the coordinator only.
    root: Option<Arc<dyn Sink>>,
    state: Mutex<State>,
    /// Told when a graph has ended.
    graph_ended: Notify,
}

struct State {
    fragments: Vec<FragmentState>,
    filters: HashMap<RuntimeFilterId, Arc<RuntimeFilterSlot>>,
    counters: Counters,
    /// Graphs that have not ended.
    graphs: usize,
    /// Shared graphs' tokens, to be set at the end.
    shared_tokens: Vec<CancelToken>,
    is_ending: bool,
}

/// What a graph that runs is part of.
#[derive(Debug, Clone, Copy)]
enum Job {
    Shared(FragmentId),
    Unit(UnitRun),
}

impl Job {
    fn fragment(self) -> FragmentId {
        match self {
            Job::Shared(fragment) => fragment,
            Job::Unit(run) => run.id.fragment,
        }
    }
}

/// Makes the carrier of frames of an exchange that does not exist yet.
pub trait TransportFactory {
    /// The carrier for the attempt that `start` describes, on the node that it names as its receiver.
    fn transport(&self, start: &QueryStart) -> Arc<dyn Transport>;
}

impl NodeQuery {
    /// Opens the inputs of all fragments that run here. `root` is where the root's rows go.
    ///
    /// # Errors
    /// A plan that makes no sense on this node.
    pub fn begin(
        engine: Arc<Engine>,
        start: QueryStart,
        transport: Arc<dyn Transport>,
        reports: mpsc::UnboundedSender<Report>,
        root: Option<Arc<dyn Sink>>,
    ) -> Result<Arc<NodeQuery>> {
        let limit = usize::try_from(start.memory_bytes).unwrap_or(usize::MAX).min(engine.options.query_memory_bytes);
        let memory = QueryMemory::new(Arc::clone(&engine.memory), limit);
        let config = ExchangeConfig {
            attempt: start.attempt,
            me: start.receiver,
            num_nodes: start.nodes.len(),
            classes: start.classes.clone(),
            memory: Arc::clone(&memory),
            batch_rows: engine.options.batch_rows,
            compress: other_hosts(&start),
        };
        let lost = reports.clone();
        let exchange = QueryExchange::new(
            config,
            transport,
            Box::new(move |node, reason| {
                // Nobody listens once the query is over.
                let _ = lost.send(Report::PeerLost(node, reason));
            }),
        );
        let num_workers = start.nodes.len() - 1;
        let fragments = start.plan.fragments.iter().map(|_| FragmentState::new(engine.options.num_threads)).collect();
        let query = NodeQuery {
            engine,
            memory,
            exchange,
            reports,
            root,
            state: Mutex::new(State {
                fragments,
                filters: HashMap::new(),
                counters: Counters::default(),
                graphs: 0,
                shared_tokens: vec![],
                is_ending: false,
            }),
            graph_ended: Notify::new(),
            start,
        };
        for fragment in query.start.plan.fragments.iter().filter(|fragment| query.runs_here(fragment)) {
            for (spec, types) in exchanges(fragment) {
                query.exchange.open_input(&input_spec(query.start.plan.fragment(spec.from), spec, types, num_workers));
            }
        }
        Ok(Arc::new(query))
    }

    /// Which attempt it is, with the key of its tickets.
    pub fn start_info(&self) -> &QueryStart {
        &self.start
    }

    /// Its channels.
    pub fn exchange(&self) -> &Arc<QueryExchange> {
        &self.exchange
    }

    /// Tasks on this node: fragments of which it runs units.
    pub fn num_tasks(&self) -> u32 {
        self.start.plan.fragments.iter().filter(|fragment| self.runs_here(fragment)).count() as u32
    }

    /// Bytes that were sent to other nodes.
    pub fn sent_bytes(&self) -> u64 {
        self.exchange.stats().iter().flat_map(|exchange| &exchange.sent).map(|(_, _, bytes, _)| bytes).sum()
    }

    /// Does what the coordinator says. What goes wrong is reported, as the failure of any unit.
    pub fn obey(self: &Arc<Self>, command: Command) {
        let result = match command {
            Command::Begin(_) => Err(Error::internal("a query was begun twice")),
            Command::Start => self.start_fragments(),
            Command::Filter(id, filter) => self.accept_filter(id, filter),
            Command::Run(run, part) => self.accept_run(run, part),
            Command::Forget(run) => {
                self.forget(run);
                Ok(())
            }
            Command::NodeGone(node) => {
                self.exchange.node_gone(node);
                Ok(())
            }
            Command::End => {
                self.stop();
                Ok(())
            }
        };
        if let Err(error) = result {
            self.report(Report::Failed((&error).into()));
        }
    }

    /// Stops everything; [`NodeQuery::end`] waits for it.
    pub fn stop(&self) {
        let tokens: Vec<CancelToken> = {
            let mut state = self.state.lock();
            state.is_ending = true;
            let mut tokens = std::mem::take(&mut state.shared_tokens);
            for fragment in &mut state.fragments {
                tokens.extend(fragment.clear());
            }
            tokens
        };
        tokens.iter().for_each(CancelToken::cancel);
        self.exchange.close();
    }

    /// Stops everything and waits until nothing of the query is left on this node; answers the last counters.
    pub async fn end(&self) -> Vec<TaskStats> {
        self.stop();
        loop {
            let ended = self.graph_ended.notified();
            if self.state.lock().graphs == 0 {
                break;
            }
            ended.await;
        }
        let stats = self.stats();
        let mut state = self.state.lock();
        state.fragments.clear();
        state.filters.clear();
        stats
    }

    /// The counters of the tasks on this node, as of now.
    pub fn stats(&self) -> Vec<TaskStats> {
        let state = self.state.lock();
        let mut exchanges = self.exchange.stats();
        let mut tasks = vec![];
        for (fragment, here) in self.start.plan.fragments.iter().zip(&state.fragments) {
            if !self.runs_here(fragment) {
                continue;
            }
            let outputs: Vec<u32> = fragment.outputs.iter().map(|output| output.id.0).collect();
            let (own, others) = exchanges.into_iter().partition(|stats| outputs.contains(&stats.exchange));
            exchanges = others;
            tasks.push(TaskStats {
                fragment: fragment.id.0,
                units_done: here.units_done,
                units_running: here.num_running() as u32,
                operators: state.counters.of(fragment.id),
                exchanges: own,
                peak_memory_bytes: self.memory.peak_bytes() as u64,
            });
        }
        tasks
    }

    fn is_coordinator(&self) -> bool {
        self.start.receiver == NodeIndex::COORDINATOR
    }

    fn runs_here(&self, fragment: &Fragment) -> bool {
        self.is_coordinator() == matches!(fragment.placement, Placement::Coordinator)
    }

    fn report(&self, report: Report) {
        // The other end is gone when the query is over.
        let _ = self.reports.send(report);
    }

    fn start_fragments(self: &Arc<Self>) -> Result<()> {
        let plan = &self.start.plan;
        for fragment in plan.fragments.iter().filter(|fragment| self.runs_here(fragment)) {
            match &fragment.placement {
                Placement::Leaf { .. } => self.start_shared(fragment)?,
                Placement::Partitioned => self.start_only_unit(fragment, u32::from(self.start.receiver.0) - 1)?,
                Placement::Coordinator => self.start_only_unit(fragment, 0)?,
            }
        }
        Ok(())
    }

    fn start_only_unit(self: &Arc<Self>, fragment: &Fragment, unit: u32) -> Result<()> {
        let run = UnitRun { id: UnitId { fragment: fragment.id, unit }, run: 0 };
        let token = CancelToken::new();
        if let Some(state) = self.state.lock().fragments.get_mut(fragment.id.0 as usize) {
            state.running.insert(run, token.clone());
        }
        self.launch_unit(fragment, run, &Parts::new(), &Arc::new(SharedParts::default()), token)
    }

    fn start_shared(self: &Arc<Self>, fragment: &Fragment) -> Result<()> {
        let drivers = fragment::drivers(fragment);
        let filters = self.state.lock().filters.clone();
        let inputs = UnitInputs {
            exchange: &|spec| self.source(spec),
            parts: &Parts::new(),
            filters: &filters,
            shared: &SharedParts::default(),
            on_filter: self.filter_listener(fragment, None),
        };
        match build_shared(&fragment.plan, &drivers, &self.engine.catalogs, &inputs)? {
            None => self.shared_is_ready(fragment.id, SharedParts::default()),
            Some((built, parts)) => {
                let token = CancelToken::new();
                {
                    let mut state = self.state.lock();
                    if state.is_ending {
                        return Ok(());
                    }
                    state.shared_tokens.push(token.clone());
                    state.graphs += 1;
                }
                self.submit(Job::Shared(fragment.id), built, token, Some(parts));
            }
        }
        Ok(())
    }

    fn shared_is_ready(self: &Arc<Self>, fragment: FragmentId, parts: SharedParts) {
        if let Some(state) = self.state.lock().fragments.get_mut(fragment.0 as usize) {
            state.shared = SharedState::Ready(Arc::new(parts));
        }
        self.run_what_is_ready(fragment);
    }

    fn accept_filter(&self, id: RuntimeFilterId, filter: Option<RuntimeFilter>) -> Result<()> {
        if filter.as_ref().is_some_and(|filter| !filter.is_valid()) {
            return Err(Error::internal("a join filter came damaged"));
        }
        self.state.lock().filters.insert(id, RuntimeFilterSlot::filled(filter));
        Ok(())
    }

    fn accept_run(self: &Arc<Self>, run: UnitRun, part: UnitPart) -> Result<()> {
        let known = self.start.plan.fragments.get(run.id.fragment.0 as usize).filter(|fragment| self.runs_here(fragment));
        let fragment = known.ok_or_else(|| Error::internal("a unit of a fragment that does not run here"))?;
        let parts = fragment::scan_parts(fragment, part);
        if let Some(state) = self.state.lock().fragments.get_mut(run.id.fragment.0 as usize) {
            state.waiting.push_back((run, parts));
        }
        self.run_what_is_ready(run.id.fragment);
        Ok(())
    }

    /// Starts units that wait, as far as the fragment's slots go.
    fn run_what_is_ready(self: &Arc<Self>, fragment: FragmentId) {
        loop {
            let next = {
                let mut state = self.state.lock();
                if state.is_ending {
                    return;
                }
                state.fragments.get_mut(fragment.0 as usize).and_then(FragmentState::next)
            };
            let Some(NextStep { run, parts, shared, token }) = next else { return };
            if let Err(error) = self.launch_unit(self.start.plan.fragment(fragment), run, &parts, &shared, token) {
                self.report(Report::Failed((&error).into()));
                return;
            }
        }
    }

    /// Starts the graph of a unit that is among those that run; `token` is set if it is forgotten meanwhile.
    fn launch_unit(
        self: &Arc<Self>,
        fragment: &Fragment,
        run: UnitRun,
        parts: &Parts,
        shared: &Arc<SharedParts>,
        token: CancelToken,
    ) -> Result<()> {
        let sink = self.unit_sink(fragment, run)?;
        let filters = self.state.lock().filters.clone();
        let listens = !matches!(fragment.placement, Placement::Leaf { .. });
        let inputs = UnitInputs {
            exchange: &|spec| self.source(spec),
            parts,
            filters: &filters,
            shared,
            on_filter: listens.then(|| self.filter_listener(fragment, Some(run.id))).flatten(),
        };
        let built = build_unit(&fragment.plan, &self.engine.catalogs, &inputs, sink)?;
        {
            let mut state = self.state.lock();
            if state.is_ending || token.is_cancelled() {
                drop(state);
                self.exchange.abandon(run);
                return Ok(());
            }
            state.graphs += 1;
        }
        self.submit(Job::Unit(run), built, token, None);
        Ok(())
    }

    fn unit_sink(&self, fragment: &Fragment, run: UnitRun) -> Result<Arc<dyn Sink>> {
        if fragment.outputs.is_empty() {
            return self.root.clone().ok_or_else(|| Error::internal("the root fragment was sent to a worker"));
        }
        let outputs = fragment.outputs.iter().map(|spec| Output { spec: spec.clone(), receivers: self.receivers(spec) }).collect();
        Ok(self.exchange.sink(run, outputs, fragment.plan.types()))
    }

    fn receivers(&self, spec: &ExchangeSpec) -> Vec<NodeIndex> {
        match self.start.plan.fragment(spec.to).placement {
            Placement::Coordinator => vec![NodeIndex::COORDINATOR],
            _ => (1..self.start.nodes.len() as u16).map(NodeIndex).collect(),
        }
    }

    fn source(&self, spec: &ExchangeSpec) -> Result<Arc<dyn Source>> {
        match &spec.routing {
            Routing::Merge(keys) => self.exchange.merge_source(spec.id, keys.clone()),
            _ => self.exchange.source(spec.id),
        }
    }

    /// Tells the coordinator of filters that other fragments wait for.
    fn filter_listener(&self, fragment: &Fragment, unit: Option<UnitId>) -> Option<FilterListener> {
        if fragment.filters_out.is_empty() {
            return None;
        }
        let (wanted, reports) = (fragment.filters_out.clone(), self.reports.clone());
        Some(Arc::new(move |id, filter: Option<Arc<RuntimeFilter>>| {
            if wanted.contains(&id) {
                let filter = filter.map(|filter| RuntimeFilter::clone(&filter).compact(FILTER_BYTES_MAX));
                let _ = reports.send(Report::FilterPart(id, unit, filter));
            }
        }))
    }

    /// Runs a graph that is counted already; what becomes of it is handled by a task of its own.
    fn submit(self: &Arc<Self>, job: Job, built: Built, cancel: CancelToken, shared: Option<SharedParts>) {
        let Built { graph, stages } = built;
        let running = self.run_graph(graph, cancel);
        let query = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = running.await;
            let handled = AssertUnwindSafe(query.graph_has_ended(job, &stages, outcome, shared)).catch_unwind().await;
            if handled.is_err() {
                query.report(Report::Failed((&Error::internal("a unit could not be started")).into()));
            }
        });
    }

    fn run_graph(&self, graph: PipelineGraph, cancel: CancelToken) -> pipelines::QueryHandle {
        let options =
            QueryOptions { batch_rows: self.start.batch_rows.max(1) as usize, memory: Arc::clone(&self.memory), cancel, max_chains: None };
        self.engine.scheduler.submit(graph, options)
    }

    async fn graph_has_ended(
        self: &Arc<Self>,
        job: Job,
        stages: &[StageLabel],
        outcome: pipelines::Result<GraphMetrics>,
        shared: Option<SharedParts>,
    ) {
        let fragment = job.fragment();
        let is_wanted = {
            let mut state = self.state.lock();
            state.graphs -= 1;
            if let Ok(metrics) = &outcome {
                state.counters.add(fragment, stages, metrics);
            }
            let is_ending = state.is_ending;
            let entry = state.fragments.get_mut(fragment.0 as usize);
            let is_known = match (job, entry) {
                (Job::Shared(_), _) => true,
                (Job::Unit(run), Some(entry)) => entry.running.remove(&run).is_some(),
                (Job::Unit(_), None) => false,
            };
            is_known && !is_ending
        };
        self.graph_ended.notify_waiters();
        match (job, outcome) {
            (Job::Unit(run), _) if !is_wanted => self.exchange.abandon(run),
            (Job::Shared(_), _) if !is_wanted => {}
            (Job::Shared(_), Ok(_)) => self.shared_is_ready(fragment, shared.unwrap_or_default()),
            (Job::Unit(run), Ok(_)) => {
                // The next unit starts while this one's rows are on their way.
                self.run_what_is_ready(fragment);
                if !self.start.plan.fragment(fragment).outputs.is_empty() {
                    self.exchange.delivered(run).await;
                }
                let is_ending = {
                    let mut state = self.state.lock();
                    if let Some(entry) = state.fragments.get_mut(fragment.0 as usize) {
                        entry.units_done += 1;
                    }
                    state.is_ending
                };
                // What the end of the attempt has let go was not delivered.
                if !is_ending {
                    self.report(Report::Done(run));
                }
            }
            (_, Err(error)) => self.report(Report::Failed((&Error::from(error)).into())),
        }
    }

    /// Stops a run that another has made superfluous.
    fn forget(&self, run: UnitRun) {
        let token = self.state.lock().fragments.get_mut(run.id.fragment.0 as usize).and_then(|fragment| fragment.forget(run));
        if let Some(token) = token {
            token.cancel();
        }
        self.exchange.abandon(run);
    }
}

/// By node: whether it is on another host than the receiver of `start`.
fn other_hosts(start: &QueryStart) -> Vec<bool> {
    let host = |address: &str| address.rsplit_once(':').map_or_else(String::new, |(host, _)| host.to_owned());
    let own = start.nodes.get(usize::from(start.receiver.0)).map(|node| host(&node.address));
    start.nodes.iter().map(|node| Some(host(&node.address)) != own).collect()
}

/// The exchanges that a fragment reads, and the types of their columns.
fn exchanges(fragment: &Fragment) -> Vec<(&ExchangeSpec, Vec<arrow::datatypes::DataType>)> {
    let mut found = vec![];
    fragment.plan.for_each(&mut |node| {
        if let PhysicalOperator::Exchange(spec) = &node.operator {
            found.push((spec, node.types()));
        }
    });
    found
}

fn input_spec(sender: &Fragment, spec: &ExchangeSpec, types: Vec<arrow::datatypes::DataType>, num_workers: usize) -> InputSpec {
    let (num_units, is_staged) = match &sender.placement {
        Placement::Leaf { units, .. } => (units.len() as u32, true),
        Placement::Partitioned => (num_workers as u32, false),
        Placement::Coordinator => (1, false),
    };
    InputSpec { exchange: spec.id, num_units, is_staged, types }
}
