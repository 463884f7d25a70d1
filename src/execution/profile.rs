//! The profile of a query, `profile/v1`: the plan, what was expected of every node, and what happened.
//!
//! Position: made from the plan and the scheduler's counters; read by EXPLAIN (ANALYZE) in text and JSON, and by
//! the benchmark's output. Operators hold no counters of rows or time: the loop that drives the pipelines does.

use std::collections::HashMap;

use pipelines::{GraphMetrics, OperatorMetrics, metrics::PipelineMetrics};
use serde::Serialize;

use super::distributed::{DistributedOutcome, TaskProfile};
use crate::{
    plan::{
        explain,
        fragment::{DistributedPlan, Fragment, Placement},
        physical::{PhysicalOperator, PhysicalPlan},
    },
    planner::pipeline_builder::StageLabel,
};

/// Nanoseconds of the phases before rows flow.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Phases {
    /// Names and types: text to logical plan.
    pub bind_ns: u64,
    /// Rules.
    pub optimize_ns: u64,
    /// Choice of algorithms.
    pub plan_ns: u64,
    /// Pipelines made and handed to the scheduler.
    pub build_ns: u64,
}

/// A query's plan and, if it ran, its counters.
#[derive(Debug, Clone, Serialize)]
pub struct Profile {
    /// `"profile/v1"`.
    pub format: &'static str,
    /// arneb's version.
    pub version: &'static str,
    /// The text of the query.
    pub sql: String,
    /// Before rows flow.
    pub phases: Phases,
    /// From submission to the end; `None` if it did not run.
    pub elapsed_ns: Option<u64>,
    /// The most memory that was reserved at one time; `None` if it did not run.
    pub peak_memory_bytes: Option<u64>,
    /// The plan.
    pub root: ProfileNode,
    /// When which pipeline ran; of a query on one node.
    pub pipelines: Vec<PipelineMetrics>,
    /// The pieces of the plan between exchanges, of a query on several nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageProfile>,
    /// What every node did for every stage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskProfile>,
    /// Why earlier attempts were given up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<String>,
}

/// A fragment while it ran.
#[derive(Debug, Clone, Serialize)]
pub struct StageProfile {
    /// Its number.
    pub fragment: u32,
    /// `"leaf"`, `"partitioned"` or `"coordinator"`.
    pub placement: &'static str,
    /// Units it was run in.
    pub units: u32,
    /// How unevenly the nodes worked: the busiest one's time by the mean of all; 1 is even.
    pub skew: f64,
    /// Number of the plan node at its root.
    pub root_node: u32,
    /// Fragments that it sent rows to: exchange, fragment, and which row goes where.
    pub outputs: Vec<(u32, u32, String)>,
}

/// A node of the plan.
#[derive(Debug, Clone, Serialize)]
pub struct ProfileNode {
    /// Its number in this plan.
    pub id: u32,
    /// The same in every plan that computes the same in the same way: a hash of what it does and of its inputs.
    pub signature: String,
    /// `"HashJoin"`, `"TableScan"`, ….
    pub operator: &'static str,
    /// What exactly: name and value, as EXPLAIN shows them.
    pub arguments: Vec<(String, String)>,
    /// Names of the columns that come out.
    pub output: Vec<String>,
    /// Rows expected.
    pub estimated_rows: f64,
    /// What happened; `None` if it did not run.
    pub actual: Option<NodeMetrics>,
    /// Inputs: probe side before build side.
    pub inputs: Vec<ProfileNode>,
}

/// What happened at a node.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NodeMetrics {
    /// Rows that came out.
    pub rows_out: u64,
    /// Nanoseconds of work, summed over threads.
    pub busy_ns: u64,
    /// Its parts in pipelines: a join's build and probe, an aggregation's two halves.
    pub parts: Vec<PartMetrics>,
}

/// What happened at one part of a node.
#[derive(Debug, Clone, Serialize)]
pub struct PartMetrics {
    /// Its part in the node.
    pub role: String,
    /// The counters.
    #[serde(flatten)]
    pub metrics: pipelines::OperatorMetrics,
}

impl Profile {
    /// A profile of `plan`; with the counters of its stages if it ran.
    pub fn new(sql: &str, plan: &PhysicalPlan, phases: Phases, ran: Option<(&[StageLabel], &GraphMetrics)>) -> Self {
        let counted = ran.map(|(labels, metrics)| {
            let mut counted = Counted::default();
            for (label, metrics) in labels.iter().zip(&metrics.operators) {
                counted.entry(label.node.0).or_default().push((label.role.to_owned(), metrics.clone()));
            }
            counted
        });
        Profile {
            format: "profile/v1",
            version: env!("CARGO_PKG_VERSION"),
            sql: sql.to_owned(),
            phases,
            elapsed_ns: ran.map(|(_, metrics)| metrics.elapsed_ns),
            peak_memory_bytes: ran.map(|(_, metrics)| metrics.peak_memory_bytes),
            root: profile_node(plan, None, counted.as_ref()),
            pipelines: ran.map(|(_, metrics)| metrics.pipelines.clone()).unwrap_or_default(),
            stages: vec![],
            tasks: vec![],
            restarts: vec![],
        }
    }

    /// A profile of a query that ran on several nodes: one tree through all fragments, every node with the sum over its tasks.
    pub fn distributed(sql: &str, phases: Phases, outcome: &DistributedOutcome) -> Self {
        let mut counted = Counted::default();
        for operator in outcome.tasks.iter().flat_map(|task| &task.operators) {
            let roles = counted.entry(operator.node).or_default();
            match roles.iter_mut().find(|(role, _)| *role == operator.role) {
                Some((_, metrics)) => metrics.merge(&operator.metrics),
                None => roles.push((operator.role.clone(), operator.metrics.clone())),
            }
        }
        let mut peaks: HashMap<&str, u64> = HashMap::new();
        for task in &outcome.tasks {
            let peak = peaks.entry(&task.node).or_default();
            *peak = task.peak_memory_bytes.max(*peak);
        }
        Profile {
            format: "profile/v1",
            version: env!("CARGO_PKG_VERSION"),
            sql: sql.to_owned(),
            phases,
            elapsed_ns: Some(outcome.elapsed_ns),
            peak_memory_bytes: Some(peaks.values().sum()),
            root: profile_node(&outcome.plan.root().plan, Some(&outcome.plan), Some(&counted)),
            pipelines: vec![],
            stages: outcome.plan.fragments.iter().map(|fragment| stage(fragment, &outcome.tasks)).collect(),
            tasks: outcome.tasks.clone(),
            restarts: outcome.restarts.clone(),
        }
    }

    /// The plan as indented text, a line per node and argument.
    pub fn text(&self) -> Vec<String> {
        let mut lines = vec![];
        write_node(&self.root, 0, &mut lines);
        if let Some(elapsed_ns) = self.elapsed_ns {
            let planning_ns = self.phases.bind_ns + self.phases.optimize_ns + self.phases.plan_ns + self.phases.build_ns;
            lines.push(format!("Planning time: {}", milliseconds(planning_ns)));
            lines.push(format!("Execution time: {}", milliseconds(elapsed_ns)));
            lines.push(format!("Peak memory: {}", bytes(self.peak_memory_bytes.unwrap_or(0))));
        }
        self.tasks.iter().for_each(|task| lines.push(task_line(task)));
        for stage in self.stages.iter().filter(|stage| stage.skew >= SKEW_SHOWN) {
            lines.push(format!("Skew: fragment {}: the busiest node worked {:.1} times as long as the mean", stage.fragment, stage.skew));
        }
        self.restarts.iter().for_each(|reason| lines.push(format!("Restarted: {reason}")));
        lines
    }
}

/// A plan that has not run as indented text, a line per node and argument.
pub(crate) fn plan_text(plan: &PhysicalPlan) -> Vec<String> {
    let mut lines = vec![];
    write_node(&profile_node(plan, None, None), 0, &mut lines);
    lines
}

/// Skew from which on the text of a profile mentions it.
const SKEW_SHOWN: f64 = 2.0;

/// Counters by plan node: its roles, in the order in which they were made.
type Counted = HashMap<u32, Vec<(String, OperatorMetrics)>>;

/// `cluster`: the plan of all fragments, where an exchange's input is the fragment that sends.
fn profile_node(plan: &PhysicalPlan, cluster: Option<&DistributedPlan>, counted: Option<&Counted>) -> ProfileNode {
    let mut inputs: Vec<ProfileNode> = plan.inputs().into_iter().map(|input| profile_node(input, cluster, counted)).collect();
    if let (PhysicalOperator::Exchange(exchange), Some(cluster)) = (&plan.operator, cluster) {
        inputs.push(profile_node(&cluster.fragment(exchange.from).plan, Some(cluster), counted));
    }
    let (operator, arguments) = explain::describe(plan);
    ProfileNode {
        id: plan.id.0,
        signature: signature(operator, &arguments, &inputs),
        operator,
        output: plan.output.iter().map(|c| c.name.clone()).collect(),
        estimated_rows: plan.estimated_rows,
        actual: counted.map(|counted| node_metrics(counted.get(&plan.id.0).map_or(&[], Vec::as_slice))),
        arguments,
        inputs,
    }
}

fn node_metrics(roles: &[(String, OperatorMetrics)]) -> NodeMetrics {
    let parts: Vec<PartMetrics> = roles
        .iter()
        .filter(|(role, _)| role != "result")
        .map(|(role, metrics)| PartMetrics { role: role.clone(), metrics: metrics.clone() })
        .collect();
    // Sinks push nothing, so their rows_out is 0; of a scan with a filter stage behind it the last stage counts.
    let rows_out = match parts.iter().any(|s| s.role == "scan") {
        true => parts.first().map_or(0, |s| s.metrics.rows_out),
        false => parts.iter().map(|s| s.metrics.rows_out).sum(),
    };
    NodeMetrics { rows_out, busy_ns: parts.iter().map(|s| s.metrics.busy_ns).sum(), parts }
}

fn stage(fragment: &Fragment, tasks: &[TaskProfile]) -> StageProfile {
    let busy: Vec<u64> = tasks.iter().filter(|task| task.fragment == fragment.id.0).map(busy_ns).collect();
    let (most, sum) = (busy.iter().max().copied().unwrap_or(0), busy.iter().sum::<u64>());
    let names: Vec<String> = fragment.plan.output.iter().map(|column| column.name.clone()).collect();
    StageProfile {
        fragment: fragment.id.0,
        placement: match fragment.placement {
            Placement::Leaf { .. } => "leaf",
            Placement::Partitioned => "partitioned",
            Placement::Coordinator => "coordinator",
        },
        skew: if sum == 0 { 1.0 } else { most as f64 * busy.len() as f64 / sum as f64 },
        units: tasks.iter().filter(|task| task.fragment == fragment.id.0).map(|task| task.units).sum(),
        root_node: fragment.plan.id.0,
        outputs: fragment.outputs.iter().map(|spec| (spec.id.0, spec.to.0, explain::routing(&spec.routing, &names))).collect(),
    }
}

/// FNV-1a over what the node does and its inputs' signatures: stable across builds and platforms.
fn signature(operator: &str, arguments: &[(String, String)], inputs: &[ProfileNode]) -> String {
    let parts = arguments.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    let parts = [operator].into_iter().chain(parts).chain(inputs.iter().map(|i| i.signature.as_str()));
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{hash:016x}")
}

fn write_node(node: &ProfileNode, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let arrow = if depth == 0 { "" } else { "-> " };
    let mut title = node.operator.to_owned();
    if let Some((_, value)) = node.arguments.iter().find(|(name, _)| name.is_empty()) {
        title.push(' ');
        title.push_str(value);
    }
    title.push_str(&format!("  (estimated rows={:.0})", node.estimated_rows));
    if let Some(actual) = &node.actual {
        title.push_str(&format!(" (actual rows={} time={})", actual.rows_out, milliseconds(actual.busy_ns)));
    }
    lines.push(format!("{indent}{arrow}{title}"));
    let detail = format!("{indent}     ");
    for (name, value) in node.arguments.iter().filter(|(name, _)| !name.is_empty()) {
        lines.push(format!("{detail}{name}: {value}"));
    }
    for part in node.actual.iter().flat_map(|actual| &actual.parts) {
        let m = &part.metrics;
        let mut line = format!(
            "{detail}{}: time={} rows in={} out={} batches in={} out={}",
            part.role,
            milliseconds(m.busy_ns),
            m.rows_in,
            m.rows_out,
            m.batches_in,
            m.batches_out
        );
        for (name, value) in m.extra.iter() {
            match name.strip_suffix("_bytes") {
                Some(name) => line.push_str(&format!(" {}={}", name.replace('_', " "), bytes(value))),
                None => line.push_str(&format!(" {}={value}", name.replace('_', " "))),
            }
        }
        lines.push(line);
    }
    node.inputs.iter().for_each(|input| write_node(input, depth + 1, lines));
}

/// Nanoseconds of work, summed over threads.
fn busy_ns(task: &TaskProfile) -> u64 {
    task.operators.iter().map(|operator| operator.metrics.busy_ns).sum()
}

/// `Task: fragment 2 on worker-1: 4 units, busy 12.3 ms, sent 1000 rows, 8.0 KiB to worker-2`
fn task_line(task: &TaskProfile) -> String {
    let mut line = format!("Task: fragment {} on {}: {} units, busy {}", task.fragment, task.node, task.units, milliseconds(busy_ns(task)));
    for exchange in &task.exchanges {
        for sent in &exchange.sent {
            line.push_str(&format!(", sent {} rows", sent.rows));
            if sent.frames > 0 {
                line.push_str(&format!(" ({})", bytes(sent.bytes)));
            }
            line.push_str(&format!(" to {}", sent.node));
        }
        if exchange.credit_stalls > 0 {
            line.push_str(&format!(", {} stalls ({})", exchange.credit_stalls, milliseconds(exchange.blocked_ns)));
        }
    }
    line
}

fn milliseconds(ns: u64) -> String {
    format!("{:.3} ms", ns as f64 / 1e6)
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
