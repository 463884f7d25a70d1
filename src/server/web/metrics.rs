//! Metrics in the text format of Prometheus, made from the live state when they are asked for.
//!
//! Position: reads what the engine counts anyway; there is no recorder and nothing is counted for metrics alone.

use std::{collections::BTreeMap, fmt::Write};

use axum::{extract::State, http::header, response::IntoResponse};

use super::WebState;
use crate::engine::Engine;

/// `GET /metrics`
pub async fn render(State(state): State<WebState>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, text(&state.engine, state.options.role.name()))
}

fn text(engine: &Engine, role: &str) -> String {
    let mut page = Page::default();
    let version = env!("CARGO_PKG_VERSION");
    page.family("arneb_info", "gauge", "What this process is.");
    page.sample(&[("version", version), ("role", role), ("node", &engine.options.node_id)], 1);
    page.family("arneb_uptime_seconds", "gauge", "Seconds since the start.");
    page.sample(&[], engine.started.elapsed().as_secs());
    queries(engine, &mut page);
    page.family("arneb_memory_used_bytes", "gauge", "Bytes reserved by queries.");
    page.sample(&[], engine.memory.used_bytes() as u64);
    page.family("arneb_memory_budget_bytes", "gauge", "Bytes that queries may reserve.");
    page.sample(&[], engine.memory.budget_bytes() as u64);
    page.family("arneb_threads", "gauge", "Threads that run queries.");
    page.sample(&[], engine.options.num_threads as u64);
    nodes(engine, &mut page);
    page.0
}

fn queries(engine: &Engine, page: &mut Page) {
    let (queued, running) = engine.registry.queued_and_running();
    let totals = engine.registry.totals();
    page.family("arneb_queries", "gauge", "Queries that have not ended, by state.");
    page.sample(&[("state", "queued")], queued as u64);
    page.sample(&[("state", "running")], running as u64);
    page.family("arneb_queries_running_limit", "gauge", "Queries that may run at the same time.");
    page.sample(&[], engine.admission.max_running() as u64);
    page.family("arneb_queries_total", "counter", "Queries that have ended, by state.");
    page.sample(&[("state", "finished")], totals.finished);
    page.sample(&[("state", "failed")], totals.failed);
    page.sample(&[("state", "cancelled")], totals.cancelled);
    page.family("arneb_rows_total", "counter", "Rows handed to clients.");
    page.sample(&[], totals.rows);
}

fn nodes(engine: &Engine, page: &mut Page) {
    let directory = engine.nodes.directory();
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for node in directory.nodes() {
        *counts.entry((node.role, node.state)).or_default() += 1;
    }
    page.family("arneb_nodes", "gauge", "Nodes that are known, by role and state.");
    for ((role, state), count) in &counts {
        page.sample(&[("role", role), ("state", state)], *count);
    }
    if let Some(bytes) = directory.exchange_bytes() {
        page.family("arneb_exchange_bytes_total", "counter", "Bytes sent to other nodes.");
        page.sample(&[], bytes);
    }
}

/// The text, and in it the name of the family that samples belong to.
#[derive(Default)]
struct Page(String, &'static str);

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, about: &str) {
        self.1 = name;
        self.line(format_args!("# HELP {name} {about}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let name = self.1;
        if labels.is_empty() {
            return self.line(format_args!("{name} {value}"));
        }
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing into memory does not fail");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineOptions;

    #[test]
    fn every_sample_belongs_to_a_family_that_is_named_once() {
        let engine = Engine::new(EngineOptions { num_threads: 1, node_id: "a \"b\" \\ c".to_owned(), ..EngineOptions::default() });
        let text = text(&engine, "standalone");
        let mut families = vec![];
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => families.push(rest.split(' ').next().unwrap()),
                None if line.starts_with('#') => {}
                None => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    assert_eq!(Some(&name), families.last(), "{line}");
                    line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
                }
            }
        }
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), count);
        assert!(text.contains("arneb_nodes{role=\"standalone\",state=\"active\"} 1\n"), "{text}");
        assert!(text.contains("node=\"a \\\"b\\\" \\\\ c\"} 1\n"), "{text}");
    }
}
