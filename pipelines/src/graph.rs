//! Pipelines and the order in which they may run. Plain data: checked on construction, run by the scheduler.

use std::sync::Arc;

use crate::{Operator, Sink, Source};

/// Identifies a stage's counters in [`crate::GraphMetrics`]. Several stages may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorId(pub u32);

/// Identifies a sink of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub(crate) usize);

/// Identifies a pipeline of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipelineId(pub(crate) usize);

/// What a pipeline may have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum After {
    /// The sink has finished: what it gathered is complete (a join's build side).
    Sink(SinkId),
    /// Every chain of the pipeline has ended, though its sink may go on taking rows from other pipelines
    /// (the unmatched build rows of an outer join follow the probe into the same sink).
    Pipeline(PipelineId),
}

/// A source, the operators its batches pass, and the sink they end in.
pub struct Pipeline {
    /// For logs, profiles and error messages.
    pub name: String,
    /// First.
    pub source: (OperatorId, Arc<dyn Source>),
    /// In the middle, in order.
    pub operators: Vec<(OperatorId, Arc<dyn Operator>)>,
    /// Last.
    pub sink: SinkId,
    /// What must be over before this pipeline may start.
    pub after: Vec<After>,
}

/// A query's pipelines and sinks.
#[derive(Default)]
pub struct PipelineGraph {
    pub(crate) sinks: Vec<(OperatorId, Arc<dyn Sink>)>,
    pub(crate) pipelines: Vec<Pipeline>,
}

impl PipelineGraph {
    /// A graph without pipelines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sink; pipelines refer to it by the answer.
    pub fn add_sink(&mut self, id: OperatorId, sink: Arc<dyn Sink>) -> SinkId {
        self.sinks.push((id, sink));
        SinkId(self.sinks.len() - 1)
    }

    /// Adds a pipeline. The order of adding is the order of starting among those that are ready.
    ///
    /// # Panics
    /// If it names a sink or pipeline that was not added before it, or waits for the sink it feeds.
    pub fn add_pipeline(&mut self, pipeline: Pipeline) -> PipelineId {
        assert!(pipeline.sink.0 < self.sinks.len(), "pipeline {} feeds an unknown sink", pipeline.name);
        for after in &pipeline.after {
            match after {
                After::Sink(sink) => {
                    assert!(sink.0 < self.sinks.len(), "pipeline {} waits for an unknown sink", pipeline.name);
                    assert!(*sink != pipeline.sink, "pipeline {} waits for itself", pipeline.name);
                }
                After::Pipeline(id) => {
                    assert!(id.0 < self.pipelines.len(), "pipeline {} waits for an unknown pipeline", pipeline.name);
                }
            }
        }
        self.pipelines.push(pipeline);
        PipelineId(self.pipelines.len() - 1)
    }

    /// The pipelines, in order.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }
}
