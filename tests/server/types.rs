//! Binary results: OIDs and bytes of every type.

use tokio_postgres::types::Type;

use crate::client::{Raw, Server};

fn numeric(words: &[i16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_have_the_type_ids_of_postgresql() {
    let server = Server::start().await;
    let client = server.connect().await;
    let statement = client
        .prepare("SELECT i, b, d, f, s, day, at, flag, i::smallint, f::real, INTERVAL '1 day', now(), 'x', NULL, '\\x00'::bytea FROM types")
        .await
        .unwrap();
    let types: Vec<Type> = statement.columns().iter().map(|column| column.type_().clone()).collect();
    let expected = [
        Type::INT4,
        Type::INT8,
        Type::NUMERIC,
        Type::FLOAT8,
        Type::TEXT,
        Type::DATE,
        Type::TIMESTAMP,
        Type::BOOL,
        Type::INT2,
        Type::FLOAT4,
        Type::INTERVAL,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
    ];
    assert_eq!(types, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_booleans_and_text_are_read_back() {
    let server = Server::start().await;
    let client = server.connect().await;
    let rows = client.query("SELECT i, b, f, s, flag, i IS NULL FROM types ORDER BY id", &[]).await.unwrap();
    let column = |index: usize| rows.iter().map(|row| row.get::<_, Option<i32>>(index)).collect::<Vec<_>>();
    assert_eq!(column(0), [Some(10), Some(-7), None, Some(0), Some(i32::MAX), Some(i32::MIN)]);
    let longs: Vec<Option<i64>> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!(longs, [Some(10_000_000_000), None, Some(-1), Some(0), Some(i64::MAX), Some(i64::MIN)]);
    let floats: Vec<Option<f64>> = rows.iter().map(|row| row.get(2)).collect();
    assert_eq!(floats[..5], [Some(1.5), Some(-2.25), Some(0.0), None, Some(1e300)]);
    assert!(floats[5].unwrap().is_nan());
    let strings: Vec<Option<&str>> = rows.iter().map(|row| row.get(3)).collect();
    assert_eq!(strings, [Some("apple"), Some("Banana"), Some(""), None, Some("äöü %_"), Some("apple pie")]);
    let flags: Vec<Option<bool>> = rows.iter().map(|row| row.get(4)).collect();
    assert_eq!(flags, [Some(true), Some(false), None, Some(true), Some(false), None]);
    let row = client.query_one("SELECT 7::smallint, 1.5::real, '\\x01ff'::bytea", &[]).await.unwrap();
    assert_eq!((row.get::<_, i16>(0), row.get::<_, f32>(1), row.get::<_, Vec<u8>>(2)), (7, 1.5, vec![1, 255]));
}

#[tokio::test(flavor = "multi_thread")]
async fn numerics_are_groups_of_four_decimal_digits() {
    let server = Server::start().await;
    let client = server.connect().await;
    let rows = client.query("SELECT d FROM types ORDER BY id", &[]).await.unwrap();
    // Number of groups, weight of the first, sign, scale, groups.
    let expected: Vec<Option<Raw>> = [
        Some(vec![2, 0, 0, 2, 10, 5000]),
        Some(vec![2, 0, 0x4000, 2, 9, 9900]),
        None,
        Some(vec![0, 0, 0, 2]),
        Some(vec![3, 1, 0, 2, 9999, 9999, 9900]),
        Some(vec![1, -1, 0, 2, 100]),
    ]
    .into_iter()
    .map(|words| words.map(|words| Raw(numeric(&words))))
    .collect();
    assert_eq!(rows.iter().map(|row| row.get::<_, Option<Raw>>(0)).collect::<Vec<_>>(), expected);
    let row = client.query_one("SELECT 12345678901234567890.5, 0.00001234, 10000::numeric, -0.5", &[]).await.unwrap();
    let words =
        [vec![6, 4, 0, 1, 1234, 5678, 9012, 3456, 7890, 5000], vec![1, -2, 0, 8, 1234], vec![1, 1, 0, 0, 1], vec![1, -1, 0x4000, 1, 5000]];
    for (index, words) in words.iter().enumerate() {
        assert_eq!(row.get::<_, Raw>(index), Raw(numeric(words)), "column {index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_counted_from_2000() {
    let server = Server::start().await;
    let client = server.connect().await;
    let row = client
        .query_one("SELECT DATE '1995-01-01', DATE '2000-01-01', TIMESTAMP '1999-12-31 23:59:59.999999', TIMESTAMP '2000-01-01 00:00:01', TIMESTAMPTZ '2000-01-01 01:00:00+01', INTERVAL '1 year 2 months 3 days 00:00:04'", &[])
        .await
        .unwrap();
    let raw = |bytes: &[u8]| Raw(bytes.to_vec());
    assert_eq!(row.get::<_, Raw>(0), raw(&(-1826i32).to_be_bytes()));
    assert_eq!(row.get::<_, Raw>(1), raw(&0i32.to_be_bytes()));
    assert_eq!(row.get::<_, Raw>(2), raw(&(-1i64).to_be_bytes()));
    assert_eq!(row.get::<_, Raw>(3), raw(&1_000_000i64.to_be_bytes()));
    assert_eq!(row.get::<_, Raw>(4), raw(&0i64.to_be_bytes()));
    let interval: Vec<u8> = [&4_000_000i64.to_be_bytes()[..], &3i32.to_be_bytes(), &14i32.to_be_bytes()].concat();
    assert_eq!(row.get::<_, Raw>(5), Raw(interval));
}
