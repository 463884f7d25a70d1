//! The eight tables: names, columns, sizes.
//!
//! Position: read by the generator and by whoever offers the tables. Types are the engine's physical ones: money is a 64-bit
//! decimal, text is a view. No column is nullable.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// 150,000 × scale
    Customer,
    /// About 6,000,000 × scale
    Lineitem,
    /// 25
    Nation,
    /// 1,500,000 × scale
    Orders,
    /// 200,000 × scale
    Part,
    /// 800,000 × scale
    Partsupp,
    /// 5
    Region,
    /// 10,000 × scale
    Supplier,
}

impl Table {
    /// All tables, by name.
    pub const ALL: [Table; 8] =
        [Table::Customer, Table::Lineitem, Table::Nation, Table::Orders, Table::Part, Table::Partsupp, Table::Region, Table::Supplier];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Table::Customer => "customer",
            Table::Lineitem => "lineitem",
            Table::Nation => "nation",
            Table::Orders => "orders",
            Table::Part => "part",
            Table::Partsupp => "partsupp",
            Table::Region => "region",
            Table::Supplier => "supplier",
        }
    }

    /// The table of that (lower-case) name.
    pub fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its columns.
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<Vec<SchemaRef>> =
            LazyLock::new(|| Table::ALL.into_iter().map(|table| Arc::new(schema_of(table))).collect());
        Arc::clone(&SCHEMAS[self as usize])
    }

    /// How many rows it has at `scale`: exact, but for lineitem at scales whose count is not published (within 1 %).
    pub fn row_count(self, scale: f64) -> u64 {
        match self {
            Table::Nation => 25,
            Table::Region => 5,
            Table::Supplier => scaled(10_000, scale),
            Table::Customer => scaled(150_000, scale),
            Table::Part => scaled(200_000, scale),
            // Four suppliers per part, ten orders per customer.
            Table::Partsupp => 4 * scaled(200_000, scale),
            Table::Orders => scaled(1_500_000, scale),
            Table::Lineitem => PUBLISHED_LINEITEM_ROWS
                .iter()
                .find(|(published, _)| *published == scale)
                .map_or_else(|| scaled(6_000_000, scale), |(_, rows)| *rows),
        }
    }
}

/// Rows of lineitem, which is random: 1 to 7 lines per order.
const PUBLISHED_LINEITEM_ROWS: [(f64, u64); 6] =
    [(0.01, 60_175), (0.1, 600_572), (1.0, 6_001_215), (10.0, 59_986_052), (100.0, 600_037_902), (1000.0, 5_999_989_709)];

fn scaled(base: u64, scale: f64) -> u64 {
    (base as f64 * scale) as u64
}

fn schema_of(table: Table) -> Schema {
    use DataType::{Date32, Int32, Int64, Utf8View};
    let money = DataType::Decimal64(15, 2);
    let columns = match table {
        Table::Customer => vec![
            ("c_custkey", Int64),
            ("c_name", Utf8View),
            ("c_address", Utf8View),
            ("c_nationkey", Int64),
            ("c_phone", Utf8View),
            ("c_acctbal", money),
            ("c_mktsegment", Utf8View),
            ("c_comment", Utf8View),
        ],
        Table::Lineitem => vec![
            ("l_orderkey", Int64),
            ("l_partkey", Int64),
            ("l_suppkey", Int64),
            ("l_linenumber", Int32),
            ("l_quantity", money.clone()),
            ("l_extendedprice", money.clone()),
            ("l_discount", money.clone()),
            ("l_tax", money),
            ("l_returnflag", Utf8View),
            ("l_linestatus", Utf8View),
            ("l_shipdate", Date32),
            ("l_commitdate", Date32),
            ("l_receiptdate", Date32),
            ("l_shipinstruct", Utf8View),
            ("l_shipmode", Utf8View),
            ("l_comment", Utf8View),
        ],
        Table::Nation => {
            vec![("n_nationkey", Int64), ("n_name", Utf8View), ("n_regionkey", Int64), ("n_comment", Utf8View)]
        }
        Table::Orders => vec![
            ("o_orderkey", Int64),
            ("o_custkey", Int64),
            ("o_orderstatus", Utf8View),
            ("o_totalprice", money),
            ("o_orderdate", Date32),
            ("o_orderpriority", Utf8View),
            ("o_clerk", Utf8View),
            ("o_shippriority", Int32),
            ("o_comment", Utf8View),
        ],
        Table::Part => vec![
            ("p_partkey", Int64),
            ("p_name", Utf8View),
            ("p_mfgr", Utf8View),
            ("p_brand", Utf8View),
            ("p_type", Utf8View),
            ("p_size", Int32),
            ("p_container", Utf8View),
            ("p_retailprice", money),
            ("p_comment", Utf8View),
        ],
        Table::Partsupp => {
            vec![("ps_partkey", Int64), ("ps_suppkey", Int64), ("ps_availqty", Int32), ("ps_supplycost", money), ("ps_comment", Utf8View)]
        }
        Table::Region => vec![("r_regionkey", Int64), ("r_name", Utf8View), ("r_comment", Utf8View)],
        Table::Supplier => vec![
            ("s_suppkey", Int64),
            ("s_name", Utf8View),
            ("s_address", Utf8View),
            ("s_nationkey", Int64),
            ("s_phone", Utf8View),
            ("s_acctbal", money),
            ("s_comment", Utf8View),
        ],
    };
    Schema::new(columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, false)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_found_by_its_name() {
        for table in Table::ALL {
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
        assert_eq!(Table::from_name("parts"), None);
    }

    #[test]
    fn tables_have_the_columns_of_the_specification() {
        let counts: Vec<_> = Table::ALL.iter().map(|table| table.schema().fields().len()).collect();
        assert_eq!(counts, [8, 16, 4, 9, 9, 5, 3, 7]);
        assert_eq!(Table::Partsupp.schema().field(0).name(), "ps_partkey");
        assert_eq!(Table::Supplier.schema().field(5).data_type(), &DataType::Decimal64(15, 2));
    }

    #[test]
    fn row_counts_follow_the_scale() {
        assert_eq!(Table::Orders.row_count(1.0), 1_500_000);
        assert_eq!(Table::Partsupp.row_count(0.01), 8_000);
        assert_eq!(Table::Lineitem.row_count(10.0), 59_986_052);
        assert_eq!(Table::Lineitem.row_count(0.5), 3_000_000);
        assert_eq!(Table::Nation.row_count(100.0), 25);
    }
}
