//! The floor of each TPC-H query: what decompressing and decoding the columns it touches costs, each table once, without filters.
//!
//! `cargo bench --bench floor -- [directory] [threads] [query ...]`; the directory holds `lineitem.parquet` and so on, as
//! tpchgen-cli writes them. Prints seconds: decompression only with our codecs and with the stock ones, decoding of all rows; then the scan
//! of query 6 with its filters. Compare ratios within one run only: machines are noisy.

use std::{
    hint::black_box,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
    time::Instant,
};

use arneb::connectors::{
    ScanRequest, Table,
    parquet::{
        ParquetTable,
        chunk_bytes::{ChunkBytes, PADDING},
        codec::Decompressor,
        footer,
        page::PageKind,
    },
};
use operators::{Expression, Scalar, expression::Comparison};
use parquet::{
    basic::Compression,
    compression::{CodecOptionsBuilder, create_codec},
};
use pipelines::{Poll, testing};

/// The columns each query touches, table by table.
const QUERIES: [&[(&str, &[&str])]; 22] = [
    &[("lineitem", &["l_returnflag", "l_linestatus", "l_quantity", "l_extendedprice", "l_discount", "l_tax", "l_shipdate"])],
    &[
        ("part", &["p_partkey", "p_mfgr", "p_size", "p_type"]),
        ("supplier", &["s_suppkey", "s_name", "s_address", "s_nationkey", "s_phone", "s_acctbal", "s_comment"]),
        ("partsupp", &["ps_partkey", "ps_suppkey", "ps_supplycost"]),
    ],
    &[
        ("customer", &["c_custkey", "c_mktsegment"]),
        ("orders", &["o_orderkey", "o_custkey", "o_orderdate", "o_shippriority"]),
        ("lineitem", &["l_orderkey", "l_extendedprice", "l_discount", "l_shipdate"]),
    ],
    &[("orders", &["o_orderkey", "o_orderdate", "o_orderpriority"]), ("lineitem", &["l_orderkey", "l_commitdate", "l_receiptdate"])],
    &[
        ("customer", &["c_custkey", "c_nationkey"]),
        ("orders", &["o_orderkey", "o_custkey", "o_orderdate"]),
        ("lineitem", &["l_orderkey", "l_suppkey", "l_extendedprice", "l_discount"]),
        ("supplier", &["s_suppkey", "s_nationkey"]),
    ],
    &[("lineitem", &["l_quantity", "l_extendedprice", "l_discount", "l_shipdate"])],
    &[
        ("supplier", &["s_suppkey", "s_nationkey"]),
        ("lineitem", &["l_orderkey", "l_suppkey", "l_extendedprice", "l_discount", "l_shipdate"]),
        ("orders", &["o_orderkey", "o_custkey"]),
        ("customer", &["c_custkey", "c_nationkey"]),
    ],
    &[
        ("part", &["p_partkey", "p_type"]),
        ("supplier", &["s_suppkey", "s_nationkey"]),
        ("lineitem", &["l_orderkey", "l_partkey", "l_suppkey", "l_extendedprice", "l_discount"]),
        ("orders", &["o_orderkey", "o_custkey", "o_orderdate"]),
        ("customer", &["c_custkey", "c_nationkey"]),
    ],
    &[
        ("part", &["p_partkey", "p_name"]),
        ("supplier", &["s_suppkey", "s_nationkey"]),
        ("lineitem", &["l_orderkey", "l_partkey", "l_suppkey", "l_quantity", "l_extendedprice", "l_discount"]),
        ("partsupp", &["ps_partkey", "ps_suppkey", "ps_supplycost"]),
        ("orders", &["o_orderkey", "o_orderdate"]),
    ],
    &[
        ("customer", &["c_custkey", "c_name", "c_acctbal", "c_phone", "c_nationkey", "c_address", "c_comment"]),
        ("orders", &["o_orderkey", "o_custkey", "o_orderdate"]),
        ("lineitem", &["l_orderkey", "l_extendedprice", "l_discount", "l_returnflag"]),
    ],
    &[("partsupp", &["ps_partkey", "ps_suppkey", "ps_availqty", "ps_supplycost"]), ("supplier", &["s_suppkey", "s_nationkey"])],
    &[
        ("orders", &["o_orderkey", "o_orderpriority"]),
        ("lineitem", &["l_orderkey", "l_shipmode", "l_commitdate", "l_receiptdate", "l_shipdate"]),
    ],
    &[("customer", &["c_custkey"]), ("orders", &["o_orderkey", "o_custkey", "o_comment"])],
    &[("lineitem", &["l_partkey", "l_extendedprice", "l_discount", "l_shipdate"]), ("part", &["p_partkey", "p_type"])],
    &[
        ("lineitem", &["l_suppkey", "l_extendedprice", "l_discount", "l_shipdate"]),
        ("supplier", &["s_suppkey", "s_name", "s_address", "s_phone"]),
    ],
    &[
        ("partsupp", &["ps_partkey", "ps_suppkey"]),
        ("part", &["p_partkey", "p_brand", "p_type", "p_size"]),
        ("supplier", &["s_suppkey", "s_comment"]),
    ],
    &[("lineitem", &["l_partkey", "l_quantity", "l_extendedprice"]), ("part", &["p_partkey", "p_brand", "p_container"])],
    &[
        ("customer", &["c_custkey", "c_name"]),
        ("orders", &["o_orderkey", "o_custkey", "o_orderdate", "o_totalprice"]),
        ("lineitem", &["l_orderkey", "l_quantity"]),
    ],
    &[
        ("lineitem", &["l_partkey", "l_quantity", "l_extendedprice", "l_discount", "l_shipinstruct", "l_shipmode"]),
        ("part", &["p_partkey", "p_brand", "p_container", "p_size"]),
    ],
    &[
        ("supplier", &["s_suppkey", "s_name", "s_address", "s_nationkey"]),
        ("partsupp", &["ps_partkey", "ps_suppkey", "ps_availqty"]),
        ("part", &["p_partkey", "p_name"]),
        ("lineitem", &["l_partkey", "l_suppkey", "l_quantity", "l_shipdate"]),
    ],
    &[
        ("supplier", &["s_suppkey", "s_name", "s_nationkey"]),
        ("lineitem", &["l_orderkey", "l_suppkey", "l_commitdate", "l_receiptdate"]),
        ("orders", &["o_orderkey", "o_orderstatus"]),
    ],
    &[("customer", &["c_custkey", "c_phone", "c_acctbal"]), ("orders", &["o_custkey"])],
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let directory = arguments.first().cloned().unwrap_or_else(|| "data".to_owned());
    let threads = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    if !Path::new(&directory).join("lineitem.parquet").exists() {
        println!("no TPC-H files in \"{directory}\": give the directory as the first argument");
        return;
    }
    let wanted: Vec<usize> = arguments[arguments.len().min(2)..].iter().filter_map(|text| text.parse().ok()).collect();
    println!("{directory}, {threads} threads, seconds (best of 3)\nquery  decompress  (stock codec)  decode all");
    let mut sums = [0.0; 3];
    for (index, tables) in QUERIES.iter().enumerate().filter(|(index, _)| wanted.is_empty() || wanted.contains(&(index + 1))) {
        let times = [
            best(|| tables.iter().for_each(|(table, columns)| decompress(&file(&directory, table), columns, threads, false))),
            best(|| tables.iter().for_each(|(table, columns)| decompress(&file(&directory, table), columns, threads, true))),
            best(|| tables.iter().for_each(|(table, columns)| decode(&file(&directory, table), columns, threads))),
        ];
        println!("q{:02}    {:10.3}  {:13.3}  {:10.3}", index + 1, times[0], times[1], times[2]);
        sums.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
    }
    println!("sum    {:10.3}  {:13.3}  {:10.3}", sums[0], sums[1], sums[2]);
    for threads in [1, threads] {
        println!("scan of q06 with filters, {threads} threads: {:.3}", best(|| query_6(&file(&directory, "lineitem"), threads)));
    }
}

fn file(directory: &str, table: &str) -> String {
    format!("{directory}/{table}.parquet")
}

fn best(run: impl Fn()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..3).map(time).fold(f64::INFINITY, f64::min)
}

fn decompress(path: &str, columns: &[&str], threads: usize, uses_stock: bool) {
    let footer = footer::load(path).expect("the file is there");
    let file = footer.open().expect("the file is there");
    let schema = footer.metadata.file_metadata().schema_descr();
    let leaves: Vec<usize> =
        columns.iter().map(|name| schema.columns().iter().position(|c| c.name() == *name).expect("a column of the table")).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut bytes = ChunkBytes::default();
                let mut output = Vec::new();
                let mut ours = Decompressor::new(Compression::SNAPPY).expect("a codec");
                let codec = create_codec(Compression::SNAPPY, &CodecOptionsBuilder::default().build()).expect("a codec");
                let mut stock = Decompressor::Stock(codec.expect("a codec"));
                loop {
                    let group = next.fetch_add(1, Ordering::Relaxed);
                    if group >= footer.metadata.num_row_groups() {
                        return;
                    }
                    for leaf in &leaves {
                        let (start, length) = footer.metadata.row_group(group).column(*leaf).byte_range();
                        bytes.start(file.clone(), start..start + length);
                        while let Some(header) = bytes.next_header().expect("a page") {
                            let stored = bytes.take(header.compressed_bytes).expect("a page");
                            debug_assert!(matches!(header.kind, PageKind::DataV1 | PageKind::Dictionary) && stored.len() >= PADDING);
                            let decompressor = if uses_stock { &mut stock } else { &mut ours };
                            decompressor.decompress(stored, header.uncompressed_bytes, &mut output).expect("a page");
                            black_box(&output);
                        }
                    }
                }
            });
        }
    });
}

fn decode(path: &str, columns: &[&str], threads: usize) {
    let table = ParquetTable::open(path).expect("the file is there");
    let columns = columns.iter().map(|name| table.schema().index_of(name).expect("a column of the table")).collect();
    run(&table, ScanRequest { columns, ..ScanRequest::default() }, threads);
}

fn run(table: &ParquetTable, request: ScanRequest, threads: usize) -> usize {
    let source = table.scan(request).expect("a scan");
    let rows = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut local = source.local(&testing::context()).expect("a local source");
                while let Poll::Batch(batch) = local.next(Waker::noop()).expect("a batch") {
                    rows.fetch_add(black_box(&batch).num_rows(), Ordering::Relaxed);
                }
            });
        }
    });
    rows.into_inner()
}

fn query_6(path: &str, threads: usize) {
    let table = ParquetTable::open(path).expect("the file is there");
    let names = ["l_extendedprice", "l_discount", "l_shipdate", "l_quantity"];
    let positions: Vec<usize> = names.iter().map(|name| table.schema().index_of(name).expect("a column of the table")).collect();
    let compare = |index: usize, operator, literal| Expression::Compare {
        operator,
        left: Box::new(Expression::Column { index, data_type: table.schema().field(positions[index]).data_type().clone() }),
        right: Box::new(Expression::Literal(literal)),
    };
    let filters = vec![
        compare(2, Comparison::GreaterOrEqual, Scalar::Date32(8766)),
        compare(2, Comparison::Less, Scalar::Date32(9131)),
        compare(1, Comparison::GreaterOrEqual, Scalar::Decimal(5, 15, 2)),
        compare(1, Comparison::LessOrEqual, Scalar::Decimal(7, 15, 2)),
        compare(3, Comparison::Less, Scalar::Decimal(2400, 15, 2)),
    ];
    let request =
        ScanRequest { columns: positions[..2].to_vec(), filter_columns: positions[2..].to_vec(), filters, ..ScanRequest::default() };
    black_box(run(&table, request, threads));
}
