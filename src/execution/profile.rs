//! The profile of a query, `profile/v1`: the plan, what was expected of every node, and what happened.
//!
//! Position: made from the plan and the scheduler's counters; read by EXPLAIN (ANALYZE) in text and JSON, and by
//! the benchmark's output. Operators hold no counters of rows or time: the loop that drives the pipelines does.

use pipelines::{GraphMetrics, metrics::PipelineMetrics};
use serde::Serialize;

use crate::{
    plan::{explain, physical::PhysicalPlan},
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
    /// When which pipeline ran.
    pub pipelines: Vec<PipelineMetrics>,
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
    /// Its stages: a join's build and probe, an aggregation's two halves.
    pub stages: Vec<StageMetrics>,
}

/// What happened at one stage of a node.
#[derive(Debug, Clone, Serialize)]
pub struct StageMetrics {
    /// Its part in the node.
    pub role: &'static str,
    /// The counters.
    #[serde(flatten)]
    pub metrics: pipelines::OperatorMetrics,
}

impl Profile {
    /// A profile of `plan`; with the counters of its stages if it ran.
    pub fn new(sql: &str, plan: &PhysicalPlan, phases: Phases, ran: Option<(&[StageLabel], &GraphMetrics)>) -> Self {
        Profile {
            format: "profile/v1",
            version: env!("CARGO_PKG_VERSION"),
            sql: sql.to_owned(),
            phases,
            elapsed_ns: ran.map(|(_, metrics)| metrics.elapsed_ns),
            peak_memory_bytes: ran.map(|(_, metrics)| metrics.peak_memory_bytes),
            root: profile_node(plan, ran),
            pipelines: ran.map(|(_, metrics)| metrics.pipelines.clone()).unwrap_or_default(),
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
        lines
    }
}

/// A plan that has not run as indented text, a line per node and argument.
pub(crate) fn plan_text(plan: &PhysicalPlan) -> Vec<String> {
    let mut lines = vec![];
    write_node(&profile_node(plan, None), 0, &mut lines);
    lines
}

fn profile_node(plan: &PhysicalPlan, ran: Option<(&[StageLabel], &GraphMetrics)>) -> ProfileNode {
    let inputs: Vec<ProfileNode> = plan.inputs().into_iter().map(|input| profile_node(input, ran)).collect();
    let (operator, arguments) = explain::describe(plan);
    ProfileNode {
        id: plan.id.0,
        signature: signature(operator, &arguments, &inputs),
        operator,
        output: plan.output.iter().map(|c| c.name.clone()).collect(),
        estimated_rows: plan.estimated_rows,
        actual: ran.map(|(stages, metrics)| node_metrics(plan, stages, metrics)),
        arguments,
        inputs,
    }
}

fn node_metrics(plan: &PhysicalPlan, labels: &[StageLabel], metrics: &GraphMetrics) -> NodeMetrics {
    let stages: Vec<StageMetrics> = labels
        .iter()
        .enumerate()
        .filter(|(_, label)| label.node == plan.id && label.role != "result")
        .map(|(index, label)| StageMetrics { role: label.role, metrics: metrics.operators.get(index).cloned().unwrap_or_default() })
        .collect();
    // Sinks push nothing, so their rows_out is 0; of a scan with a filter stage behind it the last stage counts.
    let rows_out = match stages.iter().any(|s| s.role == "scan") {
        true => stages.first().map_or(0, |s| s.metrics.rows_out),
        false => stages.iter().map(|s| s.metrics.rows_out).sum(),
    };
    NodeMetrics { rows_out, busy_ns: stages.iter().map(|s| s.metrics.busy_ns).sum(), stages }
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
    for stage in node.actual.iter().flat_map(|actual| &actual.stages) {
        let m = &stage.metrics;
        let mut line = format!(
            "{detail}{}: time={} rows in={} out={} batches in={} out={}",
            stage.role,
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
