//! Counters of tasks, for those who watch a query and for its profile.
//!
//! Position: turns what workers report (`control::TaskStats`) into what the registry and profiles hold.

use std::sync::Arc;

use crate::{
    cluster::{
        control::{ExchangeStats, TaskStats},
        node::NodeIndex,
    },
    execution::{
        distributed::{ExchangeProfile, OperatorProfile, SentProfile, TaskProfile},
        registry::{QueryEntry, QueryState, TaskInfo},
    },
};

/// Roles of operators that read: from tables, and from other fragments.
const READERS: &[&str] = &["scan", "receive"];

/// Shows the tasks of a query as they are.
pub fn show(entry: &Arc<QueryEntry>, tasks: &[(String, TaskStats)], are_over: bool) {
    entry.set_tasks(tasks.iter().map(|(node, stats)| info(node, stats, are_over)).collect());
}

fn info(node: &str, stats: &TaskStats, is_over: bool) -> TaskInfo {
    let metrics = || stats.operators.iter().map(|(_, role, metrics)| (role.as_str(), metrics));
    let sent = |number: fn(&(u16, u64, u64, u64)) -> u64| stats.exchanges.iter().flat_map(|exchange| &exchange.sent).map(number).sum();
    TaskInfo {
        state: if is_over { QueryState::Finished } else { QueryState::Running },
        units_done: u64::from(stats.units_done),
        units_running: u64::from(stats.units_running),
        rows_in: metrics().filter(|(role, _)| READERS.contains(role)).map(|(_, metrics)| metrics.rows_out).sum(),
        rows_out: metrics().filter(|(role, _)| *role == "result").map(|(_, metrics)| metrics.rows_in).sum(),
        bytes_sent: sent(|(_, _, bytes, _)| *bytes),
        busy_ns: metrics().map(|(_, metrics)| metrics.busy_ns).sum(),
        blocked_ns: metrics().map(|(_, metrics)| metrics.blocked_ns).sum(),
        peak_memory_bytes: stats.peak_memory_bytes,
        ..TaskInfo::new(stats.fragment, node)
    }
}

/// The profile of a task on `node`; `name` names other nodes.
pub fn profile(node: String, stats: TaskStats, name: impl Fn(NodeIndex) -> String) -> TaskProfile {
    let exchange = |stats: ExchangeStats| ExchangeProfile {
        exchange: stats.exchange,
        sent: stats
            .sent
            .into_iter()
            .map(|(node, rows, bytes, frames)| SentProfile { node: name(NodeIndex(node)), rows, bytes, frames })
            .collect(),
        credit_stalls: stats.credit_stalls,
        blocked_ns: stats.blocked_ns,
    };
    TaskProfile {
        fragment: stats.fragment,
        node,
        units: stats.units_done,
        peak_memory_bytes: stats.peak_memory_bytes,
        operators: stats.operators.into_iter().map(|(node, role, metrics)| OperatorProfile { node, role, metrics }).collect(),
        exchanges: stats.exchanges.into_iter().map(exchange).collect(),
    }
}
