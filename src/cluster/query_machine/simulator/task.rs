//! A node's part in an attempt: it obeys the coordinator, runs units in steps, and checks what it is told and sent.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use operators::runtime_filter::{Members, RuntimeFilter};

use super::{
    Sabotage,
    input::Input,
    scenario::{Row, Scenario, all_receivers, is_leaf, num_units, receivers},
};
use crate::{
    cluster::{
        control::{UnitId, UnitRun},
        node::NodeIndex,
    },
    error::{Error, ErrorKind},
    plan::{
        fragment::{ExchangeId, ExchangeSpec, Fragment, FragmentId, Placement, Routing},
        physical::RuntimeFilterId,
    },
};

/// Frames in flight on a channel without a credit coming back.
const CREDIT: usize = 2;

/// What a node hears.
#[derive(Debug, Clone)]
pub enum Heard {
    /// The coordinator's commands.
    Start,
    Filter(RuntimeFilterId, Option<RuntimeFilter>),
    Run(UnitRun),
    Forget(UnitRun),
    NodeGone(NodeIndex),
    /// Another node's data stream.
    Data(NodeIndex, Data),
    /// A step of a unit is through.
    Worked(UnitRun),
}

/// What nodes send to each other.
#[derive(Debug, Clone)]
pub enum Data {
    Frame(ExchangeId, UnitRun, Vec<Row>),
    End(ExchangeId, UnitRun),
    Ack(ExchangeId, UnitRun),
    Credit(ExchangeId, usize),
    Cancel(ExchangeId),
}

/// What a node says and does.
#[derive(Debug)]
pub enum Said {
    Done(UnitRun),
    FilterPart(RuntimeFilterId, Option<RuntimeFilter>),
    Failed(Error),
    Data(NodeIndex, Data),
    /// A step of a unit begins: it takes a while.
    Work(UnitRun),
    /// Something is not as it must be.
    Wrong(String),
}

/// A node's part in an attempt.
#[derive(Debug)]
pub struct Task {
    scenario: Arc<Scenario>,
    sabotage: Option<Sabotage>,
    me: NodeIndex,
    num_workers: usize,
    inputs: BTreeMap<ExchangeId, Input>,
    built: BTreeSet<FragmentId>,
    runs: BTreeMap<UnitRun, Run>,
    told: BTreeSet<RuntimeFilterId>,
    gone: BTreeSet<NodeIndex>,
    /// Channels whose sender may have to wait; all others have credit without end.
    credit: BTreeMap<(ExchangeId, NodeIndex), usize>,
    said: Vec<Said>,
    /// What the root has received, when it is done.
    pub result: Option<Vec<Row>>,
}

#[derive(Debug)]
enum Run {
    /// Its inputs are not there, or no thread is free.
    Waiting,
    /// A step is on its way.
    Working(VecDeque<(ExchangeId, NodeIndex, Vec<Row>)>),
    /// The receiver of the first frame has given no credit.
    Blocked(VecDeque<(ExchangeId, NodeIndex, Vec<Row>)>),
    /// All is sent.
    Ended(BTreeSet<(ExchangeId, NodeIndex)>),
}

impl Task {
    /// All inputs are open.
    pub fn new(scenario: Arc<Scenario>, me: NodeIndex, num_workers: usize, sabotage: Option<Sabotage>) -> Self {
        let mut task = Task {
            sabotage,
            me,
            num_workers,
            inputs: BTreeMap::new(),
            built: BTreeSet::new(),
            runs: BTreeMap::new(),
            told: BTreeSet::new(),
            gone: BTreeSet::new(),
            credit: BTreeMap::new(),
            said: vec![],
            result: None,
            scenario,
        };
        for fragment in &task.scenario.clone().plan.fragments {
            for (exchange, is_build) in task.inputs_here(fragment) {
                let sender = task.scenario.plan.fragment(exchange.from);
                let counts_every_run = task.sabotage == Some(Sabotage::CountEveryRun);
                let input = Input::new(num_units(sender, num_workers), is_leaf(sender), is_build, counts_every_run);
                task.inputs.insert(exchange.id, input);
            }
            // Who reads a fragment twice reads it as fast as it comes, or could wait for himself.
            if let [output] = &fragment.outputs[..] {
                task.credit.extend(all_receivers(output, num_workers).into_iter().map(|to| ((output.id, to), CREDIT)));
            }
        }
        task
    }

    /// Something has happened.
    pub fn hear(&mut self, heard: Heard) -> Vec<Said> {
        match heard {
            Heard::Start => self.start(),
            Heard::Filter(filter, value) => self.take_filter(filter, value),
            Heard::Run(run) => self.take_run(run),
            Heard::Forget(run) => {
                self.runs.remove(&run);
            }
            Heard::NodeGone(node) => self.node_gone(node),
            Heard::Data(from, _) if self.gone.contains(&from) => {}
            Heard::Data(from, data) => self.take(from, data),
            Heard::Worked(run) => self.step(run),
        }
        self.go_on();
        std::mem::take(&mut self.said)
    }

    fn start(&mut self) {
        for fragment in &self.scenario.clone().plan.fragments {
            let unit = match fragment.placement {
                Placement::Partitioned if self.me != NodeIndex::COORDINATOR => u32::from(self.me.0) - 1,
                Placement::Coordinator if self.me == NodeIndex::COORDINATOR => 0,
                _ => continue,
            };
            self.runs.insert(UnitRun { id: UnitId { fragment: fragment.id, unit }, run: 0 }, Run::Waiting);
        }
    }

    fn take_filter(&mut self, filter: RuntimeFilterId, value: Option<RuntimeFilter>) {
        if !self.told.insert(filter) {
            self.wrong(format!("{filter:?} comes twice"));
        }
        let keys = self.scenario.keys_of_maker(filter);
        if value.is_some_and(|value| keys.iter().any(|key| !value.contains(*key))) {
            self.wrong(format!("{filter:?} loses rows"));
        }
    }

    fn take_run(&mut self, run: UnitRun) {
        let scenario = self.scenario.clone();
        if scenario.plan.fragment(run.id.fragment).filters_in.iter().any(|filter| !self.told.contains(filter)) {
            self.wrong(format!("{run:?} comes before its filters"));
        }
        if self.runs.insert(run, Run::Waiting).is_some() {
            self.wrong(format!("{run:?} comes twice"));
        }
    }

    fn node_gone(&mut self, node: NodeIndex) {
        self.gone.insert(node);
        self.inputs.values_mut().for_each(|input| input.drop_node(node));
        for run in self.runs.values_mut() {
            match run {
                Run::Waiting => {}
                Run::Working(frames) | Run::Blocked(frames) => frames.retain(|(_, to, _)| *to != node),
                Run::Ended(awaited) => awaited.retain(|(_, to)| *to != node),
            }
        }
    }

    fn take(&mut self, from: NodeIndex, data: Data) {
        match data {
            Data::Frame(exchange, run, rows) => {
                if self.inputs.get_mut(&exchange).is_some_and(|input| input.frame(from, run, rows)) {
                    self.said.push(Said::Data(from, Data::Credit(exchange, 1)));
                }
            }
            Data::End(exchange, run) => {
                if let Some(input) = self.inputs.get_mut(&exchange) {
                    input.end(run);
                }
                self.said.push(Said::Data(from, Data::Ack(exchange, run)));
            }
            Data::Ack(exchange, run) => {
                if let Some(Run::Ended(awaited)) = self.runs.get_mut(&run) {
                    awaited.remove(&(exchange, from));
                }
            }
            Data::Credit(exchange, frames) => {
                if let Some(credit) = self.credit.get_mut(&(exchange, from)) {
                    *credit += frames;
                }
            }
            Data::Cancel(exchange) => {
                self.credit.remove(&(exchange, from));
            }
        }
    }

    /// A step of a run: one frame goes out, or the run waits for credit, or it has ended.
    fn step(&mut self, run: UnitRun) {
        let Some(Run::Working(frames)) = self.runs.get_mut(&run) else { return };
        let mut frames = std::mem::take(frames);
        if self.scenario.failing == Some(run.id) {
            self.said.push(Said::Failed(Error::new(ErrorKind::Data, "22012", "division by zero")));
            self.runs.remove(&run);
            return;
        }
        let Some((exchange, to, rows)) = frames.pop_front() else {
            self.end(run);
            return;
        };
        if self.credit.get(&(exchange, to)) == Some(&0) {
            frames.push_front((exchange, to, rows));
            self.runs.insert(run, Run::Blocked(frames));
            return;
        }
        if let Some(credit) = self.credit.get_mut(&(exchange, to)) {
            *credit -= 1;
        }
        self.said.push(Said::Data(to, Data::Frame(exchange, run, rows)));
        self.said.push(Said::Work(run));
        self.runs.insert(run, Run::Working(frames));
    }

    fn end(&mut self, run: UnitRun) {
        let mut awaited = BTreeSet::new();
        for output in &self.scenario.plan.fragment(run.id.fragment).outputs {
            for to in all_receivers(output, self.num_workers).into_iter().filter(|to| !self.gone.contains(to)) {
                self.said.push(Said::Data(to, Data::End(output.id, run)));
                awaited.insert((output.id, to));
            }
        }
        self.runs.insert(run, Run::Ended(awaited));
    }

    /// Whatever has become possible.
    fn go_on(&mut self) {
        for fragment in &self.scenario.clone().plan.fragments {
            if !self.built.contains(&fragment.id) && self.inputs_here(fragment).iter().all(|(input, is_build)| !is_build || self.has(input))
            {
                self.build(fragment);
            }
        }
        for run in self.runs.keys().copied().collect::<Vec<_>>() {
            match &self.runs[&run] {
                Run::Waiting if self.can_begin(run) => self.begin(run),
                Run::Blocked(frames) if frames.front().is_none_or(|(exchange, to, _)| self.credit.get(&(*exchange, *to)) != Some(&0)) => {
                    let frames = frames.clone();
                    self.said.push(Said::Work(run));
                    self.runs.insert(run, Run::Working(frames));
                }
                Run::Ended(awaited) if awaited.is_empty() => {
                    self.runs.remove(&run);
                    self.said.push(Said::Done(run));
                }
                _ => {}
            }
        }
    }

    /// The build sides of a fragment are there: its filters are known, and its probe sides are read or never will be.
    fn build(&mut self, fragment: &Fragment) {
        self.built.insert(fragment.id);
        let scenario = self.scenario.clone();
        let recipe = &scenario.recipes[fragment.id.0 as usize];
        let inputs = self.inputs_here(fragment);
        if !inputs.is_empty() && !recipe.forgets_filters {
            let keys = inputs.iter().filter(|(_, is_build)| *is_build).flat_map(|(input, _)| self.inputs[&input.id].rows());
            let keys: Vec<Row> = keys.collect();
            let value = RuntimeFilter {
                min: keys.iter().min().copied().unwrap_or(1),
                max: keys.iter().max().copied().unwrap_or(0),
                members: Members::Unknown,
            };
            let gives_up = recipe.gives_up_filters && self.me.0.is_multiple_of(2);
            for filter in &fragment.filters_out {
                self.said.push(Said::FilterPart(*filter, (!gives_up).then(|| value.clone())));
            }
        }
        for (exchange, _) in inputs.iter().filter(|(_, is_build)| !is_build) {
            let input = self.inputs.get_mut(&exchange.id).unwrap();
            for (to, frames) in input.open() {
                self.said.push(Said::Data(to, Data::Credit(exchange.id, frames)));
            }
            if recipe.skips_probe {
                input.is_cancelled = true;
                let everybody = (0..=self.num_workers as u16).map(NodeIndex);
                self.said.extend(everybody.map(|to| Said::Data(to, Data::Cancel(exchange.id))));
            }
        }
    }

    fn can_begin(&self, run: UnitRun) -> bool {
        let fragment = self.scenario.plan.fragment(run.id.fragment);
        let skips_probe = self.scenario.recipes[fragment.id.0 as usize].skips_probe;
        let busy = self.runs.iter().filter(|(other, state)| {
            is_leaf(self.scenario.plan.fragment(other.id.fragment)) && matches!(state, Run::Working(_) | Run::Blocked(_))
        });
        let has_thread = self.sabotage != Some(Sabotage::BlockThreads) || !is_leaf(fragment) || busy.count() < 2;
        self.built.contains(&fragment.id)
            && has_thread
            && (skips_probe || self.inputs_here(fragment).iter().all(|(input, _)| self.has(input)))
    }

    /// The rows of a run are known: they go out frame by frame.
    fn begin(&mut self, run: UnitRun) {
        let scenario = self.scenario.clone();
        let fragment = scenario.plan.fragment(run.id.fragment);
        let recipe = &scenario.recipes[fragment.id.0 as usize];
        for (input, is_build) in self.inputs_here(fragment) {
            let (came, due) = (self.inputs[&input.id].rows(), scenario.due(&input, self.me, self.num_workers));
            if (is_build || !recipe.skips_probe) && came != due {
                self.wrong(format!("{:?} at node {}: {came:?} came, {due:?} was due", input.id, self.me.0));
            }
        }
        let rows = if is_leaf(fragment) {
            scenario.rows_of(run.id)
        } else {
            recipe.passed_on().flat_map(|input| self.inputs[&input.id].rows()).collect()
        };
        if fragment.id == scenario.plan.root().id {
            self.result = Some(rows.clone());
        }
        let frames = fragment.outputs.iter().flat_map(|output| frames(output, &rows, self.num_workers));
        let frames = frames.filter(|(_, to, _)| !self.gone.contains(to)).collect();
        self.runs.insert(run, Run::Working(frames));
        self.said.push(Said::Work(run));
    }

    /// Inputs of a fragment that this node has, and whether they are build sides.
    fn inputs_here(&self, fragment: &Fragment) -> Vec<(ExchangeSpec, bool)> {
        let is_here = matches!(fragment.placement, Placement::Coordinator) == (self.me == NodeIndex::COORDINATOR);
        let recipe = &self.scenario.recipes[fragment.id.0 as usize];
        let inputs = recipe.inputs().filter(|_| is_here).cloned();
        inputs.map(|input| (input.clone(), recipe.build.contains(&input))).collect()
    }

    fn has(&self, input: &ExchangeSpec) -> bool {
        self.inputs[&input.id].is_complete()
    }

    fn wrong(&mut self, what: String) {
        self.said.push(Said::Wrong(what));
    }
}

/// Rows by receiver, two to a frame.
fn frames(output: &ExchangeSpec, rows: &[Row], num_workers: usize) -> Vec<(ExchangeId, NodeIndex, Vec<Row>)> {
    let mut by_receiver: BTreeMap<NodeIndex, Vec<Row>> = BTreeMap::new();
    for row in rows {
        for to in receivers(output, *row, num_workers) {
            by_receiver.entry(to).or_default().push(*row);
        }
    }
    debug_assert!(matches!(output.routing, Routing::Broadcast) || by_receiver.values().map(Vec::len).sum::<usize>() == rows.len());
    let chunks = by_receiver.iter().flat_map(|(to, rows)| rows.chunks(2).map(|chunk| (output.id, *to, chunk.to_vec())));
    chunks.collect()
}
