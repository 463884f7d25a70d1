//! What the cut has to know of the tables that a plan reads: their splits, and the keys they are clustered by.
//!
//! Position: asked once per scan before anything is cut. Which parts units read is decided in [`super::units`].

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;

use super::{
    distribution::{Distribution, Leaf, LeafKey},
    sizes::value_bytes,
    units::UNITS_PER_THREAD,
};
use crate::{
    catalog::Catalogs,
    connectors::Table,
    error::{Error, Result},
    plan::{
        logical::TableName,
        physical::{NodeId, PhysicalOperator, PhysicalPlan},
    },
};

/// What is known of a scan.
pub(super) struct Scan {
    /// Which table.
    pub table: TableName,
    /// Its splits, in order.
    pub splits: Vec<ScanSplit>,
    /// Clustered columns, and each one's bounds per split.
    pub keys: Vec<ScanKey>,
}

/// A split, as one scan reads it.
#[derive(Debug, Clone)]
pub(super) struct ScanSplit {
    /// Stored bytes of the columns that are read.
    pub bytes: u64,
    /// A number of the data.
    pub identity: u64,
}

/// A column by which a table is clustered.
pub(super) struct ScanKey {
    /// Position in the table's schema.
    pub column: usize,
    /// Position in the scan's output.
    pub position: usize,
    /// Smallest and largest value per split, ascending.
    pub bounds: Vec<(i64, i64)>,
}

impl Scan {
    /// Stored bytes that it reads.
    pub fn bytes(&self) -> u64 {
        self.splits.iter().map(|split| split.bytes).sum()
    }

    /// Its bounds in a clustered column.
    pub fn bounds(&self, column: usize) -> Option<&[(i64, i64)]> {
        self.keys.iter().find(|key| key.column == column).map(|key| key.bounds.as_slice())
    }

    /// Its rows lie in the units of a fragment that it drives.
    pub fn distribution(&self, id: NodeId) -> Distribution {
        let key = |key: &ScanKey| LeafKey { columns: vec![key.column], positions: [key.position].into() };
        let keys = self.keys.iter().map(key).collect();
        Distribution::Leaf(Leaf { scans: vec![id], keys, by_key: false, units_per_thread: UNITS_PER_THREAD })
    }
}

/// The scans of a plan.
pub(super) struct Scans(HashMap<NodeId, Scan>);

impl Scans {
    /// Asks every table of `plan`; `None` if one of them is not the same on every node.
    pub fn load(plan: &PhysicalPlan, catalogs: &Catalogs) -> Result<Option<Scans>> {
        let mut scans = HashMap::new();
        let mut pending = vec![plan];
        while let Some(plan) = pending.pop() {
            if let PhysicalOperator::TableScan { table: name, columns, filter_columns, .. } = &plan.operator {
                let table = catalogs.table(name)?.ok_or_else(|| Error::binding("42P01", format!("table \"{name}\" is gone")))?;
                if !table.is_shared() {
                    return Ok(None);
                }
                scans.insert(plan.id, scan(name, &table, columns, filter_columns)?);
            }
            pending.extend(plan.inputs());
        }
        Ok(Some(Scans(scans)))
    }

    /// What is known of a scan of the plan.
    pub fn get(&self, id: NodeId) -> Result<&Scan> {
        self.0.get(&id).ok_or_else(|| Error::internal(format!("node {} is no scan", id.0)))
    }

    /// Stored bytes that all scans read.
    pub fn total_bytes(&self) -> u64 {
        self.0.values().map(Scan::bytes).sum()
    }

    /// Stored bytes that the scans of a subplan read.
    pub fn bytes_below(&self, plan: &PhysicalPlan) -> u64 {
        let own = self.0.get(&plan.id).map_or(0, Scan::bytes);
        own + plan.inputs().into_iter().map(|input| self.bytes_below(input)).sum::<u64>()
    }
}

fn scan(name: &TableName, table: &Arc<dyn Table>, columns: &[usize], filter_columns: &[usize]) -> Result<Scan> {
    let (schema, statistics) = (table.schema(), table.statistics()?);
    let width = |column: &usize| {
        let known = statistics.columns.get(*column).and_then(|column| column.average_bytes);
        known.unwrap_or_else(|| value_bytes(schema.field(*column).data_type()))
    };
    let read: Vec<usize> = columns.iter().chain(filter_columns).copied().collect();
    let row_bytes: f64 = read.iter().map(width).sum();
    let splits = table.splits()?;
    let stored = |bytes: &[u64]| read.iter().map(|column| bytes.get(*column).copied().unwrap_or(0)).sum();
    let bytes = |split: &crate::connectors::Split| match split.bytes.is_empty() {
        true => (split.rows as f64 * row_bytes) as u64,
        false => stored(&split.bytes),
    };
    let scanned = splits.iter().map(|split| ScanSplit { bytes: bytes(split), identity: split.identity }).collect();
    let mut keys = vec![];
    for (position, column) in columns.iter().enumerate() {
        let is_clustered = statistics.columns.get(*column).is_some_and(|column| column.is_clustered);
        if !is_clustered || !is_key_type(schema.field(*column).data_type()) {
            continue;
        }
        if let Some(bounds) = table.split_bounds(*column)?
            && bounds.len() == splits.len()
            && is_ascending(&bounds)
        {
            keys.push(ScanKey { column: *column, position, bounds });
        }
    }
    Ok(Scan { table: name.clone(), splits: scanned, keys })
}

fn is_key_type(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32)
}

fn is_ascending(bounds: &[(i64, i64)]) -> bool {
    bounds.iter().all(|(min, max)| min <= max) && bounds.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}
