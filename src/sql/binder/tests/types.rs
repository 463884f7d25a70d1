//! Types of results, and constants as they come out.

use arrow::datatypes::{DataType, TimeUnit};
use operators::{Scalar, types};

use super::catalog::{NOW_US, columns, constant, type_of};

#[test]
fn results_have_postgresqls_types() {
    let (d, q) = (types::decimal, DataType::Decimal128(38, 16));
    let cases = [
        // Numbers: the columns are d numeric(15, 2), i16, i32, i64, f32, f64.
        ("i16 + i16", DataType::Int16),
        ("i16 + i32", DataType::Int32),
        ("i32 * i64", DataType::Int64),
        ("i32 / 2", DataType::Int32),
        ("i32 + d", d(16, 2)),
        ("i64 - d", d(22, 2)),
        ("1 - d", d(16, 2)),
        ("d * (1 - d)", d(31, 4)),
        ("d * 2", d(16, 2)),
        ("d + 0.001", d(17, 3)),
        ("d / 7.0", q.clone()),
        ("d % 3", d(15, 2)),
        ("1 / d", q.clone()),
        ("f32 + f32", DataType::Float32),
        ("f32 + i32", DataType::Float64),
        ("f64 * d", DataType::Float64),
        ("-d", d(15, 2)),
        ("2147483647 + 1", DataType::Int32),
        ("2147483648", DataType::Int64),
        ("0.05", d(2, 2)),
        // Aggregates
        ("count(*)", DataType::Int64),
        ("count(distinct t)", DataType::Int64),
        ("sum(i32)", DataType::Int64),
        ("sum(i64)", DataType::Decimal128(38, 0)),
        ("sum(d)", DataType::Decimal128(38, 2)),
        ("sum(f32)", DataType::Float32),
        ("avg(i32)", q.clone()),
        ("avg(d)", q),
        ("avg(f32)", DataType::Float64),
        ("min(date)", DataType::Date32),
        ("stddev(d)", DataType::Float64),
        ("bool_or(b)", DataType::Boolean),
        ("string_agg(t, ',')", DataType::Utf8View),
        // Dates
        ("date + 1", DataType::Date32),
        ("2 + date", DataType::Date32),
        ("date - date", DataType::Int32),
        ("date + interval '1 day'", types::timestamp()),
        ("interval '1 day' + ts", types::timestamp()),
        ("tz - interval '1 month'", types::timestamptz()),
        ("ts - ts", types::interval()),
        ("ts - date", types::interval()),
        ("interval '1 day' * 2", types::interval()),
        ("extract(year from date)", d(18, 0)),
        ("extract(second from ts)", DataType::Decimal128(38, 6)),
        ("date_part('year', date)", DataType::Float64),
        ("date_trunc('month', ts)", types::timestamp()),
        ("date_trunc('month', date)", types::timestamptz()),
        ("age(date, date)", types::interval()),
        ("now()", types::timestamptz()),
        ("current_date", DataType::Date32),
        ("localtimestamp", types::timestamp()),
        // Text
        ("t || i32", DataType::Utf8View),
        ("concat(t, i32, null)", DataType::Utf8View),
        ("substring(t from 1 for 2)", DataType::Utf8View),
        ("trim(both 'x' from t)", DataType::Utf8View),
        ("position('a' in t)", DataType::Int32),
        ("overlay(t placing 'x' from 2)", DataType::Utf8View),
        ("t ~* 'a.b'", DataType::Boolean),
        // Constructs
        ("case when b then 1 else d end", d(15, 2)),
        ("case when b then null else 1 end", DataType::Int32),
        ("coalesce(i16, i64)", DataType::Int64),
        ("nullif(i32, 0)", DataType::Int32),
        ("nullif(i32, 0.5)", DataType::Int32),
        ("greatest(date, ts)", types::timestamp()),
        ("'abc'", DataType::Utf8View),
        ("null", DataType::Utf8View),
        ("round(d, 1)", d(15, 1)),
        ("round(d)", d(14, 0)),
        ("round(i32)", DataType::Float64),
        ("abs(i64)", DataType::Int64),
        ("mod(i32, 2)", DataType::Int32),
        ("power(i32, 2)", DataType::Float64),
        ("cast(d as numeric)", d(15, 2)),
        ("cast(i32 as numeric)", d(10, 0)),
        ("i32::numeric(5, 1)", d(5, 1)),
        ("t::varchar(3)", DataType::Utf8View),
        ("(select max(x) from b)", DataType::Int64),
    ];
    for (expression, expected) in cases {
        assert_eq!(type_of(expression), expected, "{expression}");
    }
}

#[test]
fn constants_are_constants() {
    let day = 8766; // 1994-01-01
    let us = 86_400_000_000i64;
    let cases = [
        ("date '1994-01-01'", Scalar::Date32(day)),
        ("cast('1994-01-01' as date)", Scalar::Date32(day)),
        ("'1994-01-01'::date", Scalar::Date32(day)),
        ("date '1994-01-01' + 31", Scalar::Date32(day + 31)),
        ("date '1994-01-01' - interval '90 days'", Scalar::Timestamp(i64::from(day - 90) * us)),
        ("date '1994-01-01' + interval '1' year", Scalar::Timestamp(i64::from(day + 365) * us)),
        ("date '1994-01-31' + interval '1 month'", Scalar::Timestamp(i64::from(day + 58) * us)),
        ("cast(date '1994-01-01' + interval '1 hour' as date)", Scalar::Date32(day)),
        ("interval '3' month", Scalar::Interval { months: 3, days: 0, nanoseconds: 0 }),
        ("-5", Scalar::Int32(-5)),
        ("-2147483648", Scalar::Int32(i32::MIN)),
        ("-9223372036854775808", Scalar::Int64(i64::MIN)),
        ("-0.5", Scalar::Decimal(-5, 1, 1)),
        ("'12'::int", Scalar::Int32(12)),
        ("1::bigint", Scalar::Int64(1)),
        ("'1.50'::numeric", Scalar::Decimal(150, 3, 2)),
        ("'abc'::varchar(2)", Scalar::Utf8("ab".to_owned())),
        ("null::date", Scalar::Null(DataType::Date32)),
        ("true", Scalar::Boolean(true)),
        ("now()", Scalar::TimestampTz(NOW_US)),
        ("current_date", Scalar::Date32(18_295)),
        ("current_user", Scalar::Utf8("ada".to_owned())),
        ("current_schema()", Scalar::Utf8("public".to_owned())),
        ("current_database()", Scalar::Utf8("file".to_owned())),
        ("time '10:30'", Scalar::Time(37_800_000_000)),
        ("pg_typeof(1.5)", Scalar::Utf8("numeric".to_owned())),
    ];
    for (expression, expected) in cases {
        assert_eq!(constant(expression), expected, "{expression}");
    }
    assert_eq!(type_of("time '10:30'"), DataType::Time64(TimeUnit::Microsecond));
}

#[test]
fn columns_are_named_as_in_postgresql() {
    let text = "select x, a.y, X as Total, z as \"Mixed\", x + 1, count(*), sum(x), 'a', date '2020-01-01', x::text, 1::int8, \
                case when true then 1 end, case when true then 1 else x end, coalesce(x, 1), extract(year from now()), \
                substring(z, 1), trim(z), exists (select 1), (select max(x) as m from b), true, current_date, nullif(x, 1), x is null \
                from a group by x, y, z";
    let names: Vec<String> = columns(text).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "x",
        "y",
        "total",
        "Mixed",
        "?column?",
        "count",
        "sum",
        "?column?",
        "date",
        "x",
        "int8",
        "case",
        "x",
        "coalesce",
        "extract",
        "substring",
        "btrim",
        "exists",
        "m",
        "bool",
        "current_date",
        "nullif",
        "?column?",
    ];
    assert_eq!(names, expected);
}

#[test]
fn set_operations_and_values_take_the_common_type() {
    let cases = [
        ("select i32 from all_types union all select i64 from all_types", DataType::Int64),
        ("select i32 from all_types union select d from all_types", types::decimal(15, 2)),
        ("select null union all select date from all_types", DataType::Date32),
        ("select '1994-01-01' union all select date from all_types", DataType::Date32),
        ("select 1 union select 2.5 union select null", types::decimal(11, 1)),
        ("select i16 from all_types intersect select i32 from all_types", DataType::Int32),
        ("values (1), (2.5), (null)", types::decimal(2, 1)),
        ("values (null), (null)", DataType::Utf8View),
        ("select * from (values (date '2020-01-01'), ('2020-01-02')) v", DataType::Date32),
    ];
    for (text, expected) in cases {
        assert_eq!(columns(text)[0].1, expected, "{text}");
    }
}
