//! Turns a physical plan into a graph of pipelines.
