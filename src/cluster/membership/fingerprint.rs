//! Fingerprints of tables: nodes that do not have the same rows under the same names must not answer one query together.
//!
//! Position: made by every node when it starts, compared by the coordinator when a worker registers. Only catalog `file` is looked
//! at: the tables of others are made by the program itself, and programs are compared by version.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};

use crate::{catalog::Catalogs, cluster::flight::TableFingerprint, connectors::Table, error::Result};

/// The catalog whose tables come from files that each node has for itself.
const CATALOG: &str = "file";

/// Differences that a message names; the rest are counted.
const NAMED_MAX: usize = 3;

/// The fingerprints of a node's tables, by name.
///
/// # Errors
/// A table that cannot be opened.
pub fn fingerprint(catalogs: &Catalogs) -> Result<Vec<TableFingerprint>> {
    let Some(catalog) = catalogs.catalog(CATALOG) else { return Ok(vec![]) };
    let mut fingerprints = vec![];
    for schema in catalog.schemas() {
        for name in catalog.tables(&schema) {
            if let Some(table) = catalog.table(&schema, &name)?
                && table.is_shared()
            {
                fingerprints.push(of_table(format!("{CATALOG}.{schema}.{name}"), &*table)?);
            }
        }
    }
    fingerprints.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(fingerprints)
}

fn of_table(name: String, table: &dyn Table) -> Result<TableFingerprint> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let nullable = if field.is_nullable() { "" } else { " not null" };
        format!("{} {}{nullable}", field.name(), field.data_type())
    };
    let columns = table.schema().fields().iter().map(column).collect();
    let mut hash = Context::new(&SHA256);
    for split in table.splits()? {
        hash.update(&split.identity.to_le_bytes());
        hash.update(&split.rows.to_le_bytes());
        hash.update(&(split.bytes.len() as u64).to_le_bytes());
        split.bytes.iter().for_each(|bytes| hash.update(&bytes.to_le_bytes()));
    }
    let hash = hash.finish();
    let (first, _) = hash.as_ref().as_chunks::<8>();
    let splits = first.first().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    Ok(TableFingerprint { name, columns, rows: table.statistics()?.num_rows, splits })
}

/// In what a worker's tables differ from the coordinator's, in words; `None`: in nothing.
pub fn difference(coordinators: &[TableFingerprint], workers: &[TableFingerprint]) -> Option<String> {
    let mut theirs: BTreeMap<&str, &TableFingerprint> = workers.iter().map(|table| (table.name.as_str(), table)).collect();
    let mut differences = vec![];
    for ours in coordinators {
        match theirs.remove(ours.name.as_str()) {
            None => differences.push(format!("table {} is missing on the worker", ours.name)),
            Some(their) => differences.extend(table_difference(ours, their)),
        }
    }
    differences.extend(theirs.keys().map(|name| format!("table {name} is missing on the coordinator")));
    let more = differences.len().saturating_sub(NAMED_MAX);
    differences.truncate(NAMED_MAX);
    if more > 0 {
        differences.push(format!("and {more} more differences"));
    }
    (!differences.is_empty()).then(|| differences.join("; "))
}

fn table_difference(ours: &TableFingerprint, theirs: &TableFingerprint) -> Option<String> {
    let name = &ours.name;
    if ours.columns.len() != theirs.columns.len() {
        return Some(format!(
            "table {name} has {} columns on the coordinator, and {} on the worker",
            ours.columns.len(),
            theirs.columns.len()
        ));
    }
    if let Some((ours, theirs)) = ours.columns.iter().zip(&theirs.columns).find(|(ours, theirs)| ours != theirs) {
        return Some(format!("table {name} has the column \"{ours}\" on the coordinator, and \"{theirs}\" on the worker"));
    }
    if ours.rows != theirs.rows {
        return Some(format!("table {name} has {} rows on the coordinator, and {} on the worker", ours.rows, theirs.rows));
    }
    (ours.splits != theirs.splits).then(|| format!("table {name} has other files on the coordinator than on the worker"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array},
        datatypes::{DataType, Field, Schema},
    };
    use pipelines::Batch;

    use super::*;
    use crate::{catalog::memory::MemoryCatalog, connectors::memory::MemoryTable};

    fn table(name: &str, columns: &[&str], rows: u64, splits: u64) -> TableFingerprint {
        TableFingerprint { name: name.to_owned(), columns: columns.iter().map(|&c| c.to_owned()).collect(), rows, splits }
    }

    fn catalogs(columns: &[&str], rows: usize) -> Catalogs {
        let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Int64, false)).collect();
        let arrays = columns.iter().map(|_| Arc::new(Int64Array::from(vec![1; rows])) as ArrayRef).collect();
        let files = MemoryCatalog::new();
        files.add("default", "t", Arc::new(MemoryTable::new(Arc::new(Schema::new(fields)), vec![Batch::new(arrays, rows)])));
        let catalogs = Catalogs::default();
        catalogs.add(CATALOG, files);
        catalogs
    }

    #[test]
    fn equal_tables_have_equal_fingerprints() {
        let fingerprints = fingerprint(&catalogs(&["a", "b"], 3)).unwrap();
        assert_eq!(fingerprints, fingerprint(&catalogs(&["a", "b"], 3)).unwrap());
        assert_eq!(difference(&fingerprints, &fingerprints), None);
        assert_eq!(fingerprint(&Catalogs::default()).unwrap(), []);
    }

    #[test]
    fn tables_of_other_columns_or_rows_are_told_apart() {
        let ours = fingerprint(&catalogs(&["a", "b"], 3)).unwrap();
        for (theirs, expected) in [
            (fingerprint(&catalogs(&["a"], 3)).unwrap(), "table file.default.t has 2 columns on the coordinator, and 1 on the worker"),
            (
                fingerprint(&catalogs(&["a", "c"], 3)).unwrap(),
                "table file.default.t has the column \"b Int64 not null\" on the coordinator, and \"c Int64 not null\" on the worker",
            ),
            (fingerprint(&catalogs(&["a", "b"], 4)).unwrap(), "table file.default.t has 3 rows on the coordinator, and 4 on the worker"),
            (vec![], "table file.default.t is missing on the worker"),
        ] {
            assert_eq!(difference(&ours, &theirs).as_deref(), Some(expected));
        }
        assert_eq!(difference(&[], &ours).as_deref(), Some("table file.default.t is missing on the coordinator"));
    }

    #[test]
    fn other_files_of_the_same_rows_are_told_apart() {
        let difference = difference(&[table("t", &["a"], 3, 1)], &[table("t", &["a"], 3, 2)]);
        assert_eq!(difference.as_deref(), Some("table t has other files on the coordinator than on the worker"));
    }

    #[test]
    fn many_differences_are_counted() {
        let ours: Vec<TableFingerprint> = (0..9).map(|i| table(&format!("t{i}"), &[], 0, 0)).collect();
        assert!(difference(&ours, &[]).unwrap().ends_with("; and 6 more differences"));
    }
}
