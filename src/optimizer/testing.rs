//! TPC-H at scale 10 as a catalog of statistics without rows, and plans over it, for tests of rules that estimate.
//!
//! Bounds and numbers of distinct values are those of the data that dbgen makes (TPC-H specification, 4.2.3).

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::SchemaRef;
use operators::{Expression, Scalar, expression::Comparison};
use pipelines::Source;

use crate::{
    catalog::{Catalog, Catalogs},
    connectors::{ColumnStatistics, ScanRequest, Split, Table, TableStatistics},
    error::{Error, Result},
    plan::logical::*,
};

/// The catalog `tpch` with the schema `sf10`.
pub(crate) fn tpch_sf10() -> Catalogs {
    let catalogs = Catalogs::default();
    catalogs.add("tpch", Arc::new(Sf10));
    catalogs
}

struct Sf10;

impl Catalog for Sf10 {
    fn schemas(&self) -> Vec<String> {
        vec!["sf10".into()]
    }

    fn tables(&self, _schema: &str) -> Vec<String> {
        tpch::Table::ALL.iter().map(|table| table.name().to_owned()).collect()
    }

    fn table(&self, _schema: &str, table: &str) -> Result<Option<Arc<dyn Table>>> {
        Ok(tpch::Table::from_name(table).map(|table| Arc::new(StatisticsOnly(table)) as Arc<dyn Table>))
    }
}

struct StatisticsOnly(tpch::Table);

/// Rows of a split: row groups of that many.
const SPLIT_ROWS: u64 = 1_000_000;

/// Conditions that only a sample can judge, as parts of their text, and what a sample would measure. The first that has all parts counts.
const SAMPLES: [(&[&str], f64); 9] = [
    (&["%green%"], 0.0547),
    (&["forest%"], 0.0109),
    // Query 2: with one size of 50.
    (&["%BRASS"], 0.004),
    // Query 16: with 24 brands of 25 and 8 sizes of 50.
    (&["MEDIUM POLISHED%"], 0.1485),
    (&["%special%requests%"], 0.989),
    (&["%Customer%Complaints%"], 0.0005),
    // Query 12: two modes, and four conditions on the dates of a line.
    (&["MAIL"], 0.0052),
    // Query 22: seven countries of 25.
    (&["Substring"], 0.28),
    // Late lines: received after the commit date.
    (&["Compare", "index: 11", "index: 12"], 0.632),
];

impl Table for StatisticsOnly {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        let columns = self.0.schema().fields().iter().map(|field| column(field.name())).collect();
        Ok(Arc::new(TableStatistics { num_rows: self.0.row_count(10.0), columns }))
    }

    fn sample_selectivity(&self, filters: &[Expression]) -> Result<Option<f64>> {
        let text = format!("{filters:?}");
        Ok(SAMPLES.iter().find(|(parts, _)| parts.iter().all(|part| text.contains(part))).map(|(_, share)| *share))
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let (schema, rows) = (self.0.schema(), self.0.row_count(10.0));
        let bytes_of = |field: &arrow::datatypes::FieldRef, rows: u64| {
            let width = column(field.name()).average_bytes.unwrap_or_else(|| field.data_type().primitive_width().unwrap_or(16) as f64);
            // About what encodings and compression leave.
            (rows as f64 * width / 2.0) as u64
        };
        let split = |number: u64| {
            let rows = SPLIT_ROWS.min(rows - number * SPLIT_ROWS);
            Split { rows, bytes: schema.fields().iter().map(|field| bytes_of(field, rows)).collect(), identity: number }
        };
        Ok((0..rows.div_ceil(SPLIT_ROWS)).map(split).collect())
    }

    fn split_bounds(&self, index: usize) -> Result<Option<Vec<(i64, i64)>>> {
        let splits = self.0.row_count(10.0).div_ceil(SPLIT_ROWS) as i64;
        let statistics = column(self.0.schema().field(index).name());
        Ok(match (statistics.is_clustered, statistics.max) {
            (true, Some(Scalar::Int64(max))) => {
                Some((0..splits).map(|split| (1 + max * split / splits, max * (split + 1) / splits)).collect())
            }
            _ => None,
        })
    }

    fn scan(&self, _request: ScanRequest) -> Result<Arc<dyn Source>> {
        Err(Error::unsupported("reading rows of a table of statistics"))
    }
}

/// Days from 1970-01-01 to a day between 1970 and 2099.
pub(super) fn date(year: i32, month: i32, day: i32) -> i32 {
    const BEFORE: [i32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days = (year - 1969) / 4 + i32::from(year % 4 == 0 && month > 2);
    (year - 1970) * 365 + leap_days + BEFORE[month as usize - 1] + day - 1
}

/// A sum of money in cents.
pub(super) fn money(cents: i128) -> Scalar {
    Scalar::Decimal(cents, 15, 2)
}

fn column(name: &str) -> ColumnStatistics {
    let known = |min: Scalar, max: Scalar, distinct: f64| ColumnStatistics {
        min: Some(min),
        max: Some(max),
        null_count: Some(0),
        distinct_count: Some(distinct),
        ..Default::default()
    };
    let key = |max: i64, distinct: f64| known(Scalar::Int64(1), Scalar::Int64(max), distinct);
    let clustered = |statistics| ColumnStatistics { is_clustered: true, ..statistics };
    let dates = |from: i32, to: i32, distinct: f64| known(Scalar::Date32(from), Scalar::Date32(to), distinct);
    let text = |distinct: Option<f64>, bytes: f64| ColumnStatistics {
        null_count: Some(0),
        distinct_count: distinct,
        average_bytes: Some(bytes),
        ..Default::default()
    };
    match name {
        "c_custkey" => clustered(key(1_500_000, 1_500_000.0)),
        "o_custkey" => key(1_499_999, 999_982.0),
        "o_orderkey" | "l_orderkey" => clustered(key(60_000_000, 15_000_000.0)),
        "p_partkey" | "ps_partkey" => clustered(key(2_000_000, 2_000_000.0)),
        "l_partkey" => key(2_000_000, 2_000_000.0),
        "s_suppkey" => clustered(key(100_000, 100_000.0)),
        "l_suppkey" | "ps_suppkey" => key(100_000, 100_000.0),
        "n_nationkey" | "c_nationkey" | "s_nationkey" => known(Scalar::Int64(0), Scalar::Int64(24), 25.0),
        "n_regionkey" | "r_regionkey" => known(Scalar::Int64(0), Scalar::Int64(4), 5.0),
        "l_linenumber" => known(Scalar::Int32(1), Scalar::Int32(7), 7.0),
        "p_size" => known(Scalar::Int32(1), Scalar::Int32(50), 50.0),
        "ps_availqty" => known(Scalar::Int32(1), Scalar::Int32(9999), 9999.0),
        "o_shippriority" => known(Scalar::Int32(0), Scalar::Int32(0), 1.0),
        "l_quantity" => known(money(100), money(5000), 50.0),
        "l_extendedprice" => known(money(90_091), money(10_494_950), 1_351_462.0),
        "l_discount" => known(money(0), money(10), 11.0),
        "l_tax" => known(money(0), money(8), 9.0),
        "o_totalprice" => known(money(83_805), money(55_528_516), 11_944_103.0),
        "ps_supplycost" => known(money(100), money(100_000), 99_901.0),
        "p_retailprice" => known(money(90_001), money(209_900), 31_681.0),
        "c_acctbal" | "s_acctbal" => known(money(-99_999), money(999_999), 1_000_000.0),
        "l_shipdate" => dates(date(1992, 1, 2), date(1998, 12, 1), 2526.0),
        "l_commitdate" => dates(date(1992, 1, 31), date(1998, 10, 31), 2466.0),
        "l_receiptdate" => dates(date(1992, 1, 3), date(1998, 12, 31), 2555.0),
        "o_orderdate" => dates(date(1992, 1, 1), date(1998, 8, 2), 2406.0),
        "l_returnflag" | "o_orderstatus" => text(Some(3.0), 1.0),
        "l_linestatus" => text(Some(2.0), 1.0),
        "l_shipinstruct" => text(Some(4.0), 12.0),
        "l_shipmode" => text(Some(7.0), 4.0),
        "o_orderpriority" | "c_mktsegment" | "p_mfgr" | "r_name" => text(Some(5.0), 9.0),
        "n_name" => text(Some(25.0), 8.0),
        "p_brand" => text(Some(25.0), 8.0),
        "p_type" => text(Some(150.0), 21.0),
        "p_container" => text(Some(40.0), 8.0),
        _ => text(None, 25.0),
    }
}

/// Makes plans over [`tpch_sf10`].
#[derive(Default)]
pub(super) struct Plans {
    /// All columns so far.
    pub columns: Columns,
    by_name: HashMap<String, ColumnId>,
}

impl Plans {
    /// A scan of all columns of a table; those of an alias other than the table's name are called `alias.column`.
    pub fn scan(&mut self, table: &str, alias: &str) -> LogicalPlan {
        let schema = tpch::Table::from_name(table).expect("a table of TPC-H").schema();
        let mut columns = Vec::new();
        for (position, field) in schema.fields().iter().enumerate() {
            let name = if alias == table { field.name().clone() } else { format!("{alias}.{}", field.name()) };
            let id = self.columns.add(name.clone(), field.data_type().clone(), false);
            self.by_name.insert(name, id);
            columns.push((id, position));
        }
        let table = TableName { catalog: "tpch".into(), schema: "sf10".into(), table: table.into() };
        LogicalPlan::TableScan(TableScan { table, alias: alias.into(), columns, filters: vec![], output: None })
    }

    /// A scan that applies filters.
    pub fn scan_where(&mut self, table: &str, alias: &str, filters: impl FnOnce(&Plans) -> Vec<Expr>) -> LogicalPlan {
        let mut plan = self.scan(table, alias);
        if let LogicalPlan::TableScan(scan) = &mut plan {
            scan.filters = filters(self);
        }
        plan
    }

    /// A column by the name it was made with.
    pub fn id(&self, name: &str) -> ColumnId {
        *self.by_name.get(name).unwrap_or_else(|| panic!("no column {name}"))
    }

    /// The same as an expression.
    pub fn column(&self, name: &str) -> Expr {
        Expr::Column(self.id(name))
    }

    /// `left = right` of two columns.
    pub fn equal(&self, left: &str, right: &str) -> Expr {
        Expr::equal(self.column(left), self.column(right))
    }

    /// A column against a constant.
    pub fn compare(&self, column: &str, comparison: Comparison, constant: Scalar) -> Expr {
        Expr::compare(comparison, self.column(column), Expr::Literal(constant))
    }

    /// A column against a text.
    pub fn is_text(&self, column: &str, text: &str) -> Expr {
        self.compare(column, Comparison::Equal, Scalar::Utf8(text.into()))
    }

    /// A half-open range of dates.
    pub fn between(&self, column: &str, from: i32, to: i32) -> [Expr; 2] {
        [self.compare(column, Comparison::GreaterOrEqual, Scalar::Date32(from)), self.compare(column, Comparison::Less, Scalar::Date32(to))]
    }

    /// LIKE.
    pub fn like(&self, column: &str, pattern: &str) -> Expr {
        let pattern = Box::new(Expr::Literal(Scalar::Utf8(pattern.into())));
        Expr::Like { operand: Box::new(self.column(column)), pattern, escape: Some('\\'), case_insensitive: false }
    }

    /// A new column.
    pub fn add(&mut self, name: &str, data_type: arrow::datatypes::DataType) -> ColumnId {
        let id = self.columns.add(name, data_type, false);
        self.by_name.insert(name.into(), id);
        id
    }

    /// Groups of `input` by columns that keep their ids, with one aggregate of one column.
    pub fn aggregate(
        &mut self,
        input: LogicalPlan,
        keys: &[&str],
        name: &str,
        function: operators::aggregate::AggregateFunction,
        argument: Expr,
        data_type: arrow::datatypes::DataType,
    ) -> LogicalPlan {
        let keys = keys.iter().map(|key| (self.id(key), self.column(key))).collect();
        let id = self.add(name, data_type);
        let call = AggregateExpr { function, arguments: vec![argument], distinct: false, filter: None };
        LogicalPlan::Aggregate(Aggregate { input: Box::new(input), keys, aggregates: vec![(id, call)] })
    }

    /// The whole query.
    pub fn query(&self, root: LogicalPlan) -> Query {
        let output = root.output().into_iter().map(|column| OutputColumn { name: "c".into(), column }).collect();
        Query { root, columns: self.columns.clone(), output, ctes: vec![] }
    }
}

/// The cross product of `relations` with a filter above it, as the binder makes it of FROM and WHERE.
pub(super) fn joined(relations: Vec<LogicalPlan>, conjuncts: Vec<Expr>) -> LogicalPlan {
    let product = relations.into_iter().reduce(|left, right| left.joined(JoinKind::Inner, right, vec![]));
    product.expect("a relation").filtered(conjuncts)
}

/// The order of joins: `(probe build)` for inner ones, `(left kind right)` for others, tables by alias.
pub(super) fn shape(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::TableScan(scan) => scan.alias.clone(),
        LogicalPlan::CteScan(_) => "cte".into(),
        LogicalPlan::Join(join) => {
            let (left, right) = (shape(&join.left), shape(&join.right));
            match join.kind {
                JoinKind::Inner if join.condition.is_empty() => format!("({left} x {right})"),
                JoinKind::Inner => format!("({left} {right})"),
                JoinKind::Mark(_) => format!("({left} mark {right})"),
                kind => format!("({left} {} {right})", format!("{kind:?}").to_lowercase()),
            }
        }
        LogicalPlan::Aggregate(aggregate) => format!("g[{}]", shape(&aggregate.input)),
        other => other.inputs().into_iter().map(shape).collect::<Vec<_>>().join(" u "),
    }
}
