//! Estimated sizes: of rows on their way, and of what scans read.
//!
//! Position: what the choices of the cut are made by. Rows are the optimizer's estimates; widths follow from types.

use arrow::datatypes::DataType;

use super::{ClusterShape, DistributionMode};
use crate::plan::physical::PhysicalPlan;

/// Bytes of a text value, on average.
const TEXT_BYTES: f64 = 16.0;

/// Sizes at which the cut is made differently.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Scans that read less are read whole by every node instead of being sent around.
    pub inlined_bytes_max: f64,
    /// What is larger is not copied to every node where there is another way.
    pub broadcast_bytes_max: f64,
    /// What a unit should at least read.
    pub unit_bytes_min: u64,
    /// What an exchange costs besides its bytes, in bytes.
    pub exchange_bytes: f64,
}

impl Limits {
    /// The limits for a cluster. One that always distributes does so with little data too: nothing is too small to be cut.
    pub fn new(shape: &ClusterShape) -> Self {
        let broadcast_bytes_max = (shape.worker_memory_bytes as f64 / 10.0).min((256_u64 << 20) as f64);
        match shape.mode {
            DistributionMode::Always => Limits { inlined_bytes_max: 4096.0, broadcast_bytes_max, unit_bytes_min: 1, exchange_bytes: 0.0 },
            DistributionMode::Auto | DistributionMode::Never => Limits {
                inlined_bytes_max: (4_u64 << 20) as f64,
                broadcast_bytes_max,
                unit_bytes_min: 4 << 20,
                exchange_bytes: (64_u64 << 10) as f64,
            },
        }
    }
}

/// Bytes of all rows that come out of a plan.
pub(super) fn output_bytes(plan: &PhysicalPlan) -> f64 {
    let width: f64 = plan.output.iter().map(|column| value_bytes(&column.data_type)).sum();
    plan.estimated_rows.max(1.0) * width.max(1.0)
}

/// Bytes of one value.
pub(super) fn value_bytes(data_type: &DataType) -> f64 {
    match data_type {
        DataType::Boolean | DataType::Null => 1.0,
        DataType::Int16 => 2.0,
        DataType::Int32 | DataType::Float32 | DataType::Date32 => 4.0,
        DataType::Int64 | DataType::Float64 | DataType::Decimal64(..) | DataType::Timestamp(..) | DataType::Time64(_) => 8.0,
        _ => TEXT_BYTES,
    }
}
