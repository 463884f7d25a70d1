//! Every mistake has its code and its place; nothing is silently ignored; hostile statements do no harm.

use operators::Scalar;

use super::catalog::{bind_with, error, query};
use crate::sql::binder::Parameters;

/// The mistake is reported at the character behind `|`.
fn check(marked: &str, code: &str, message: &str) {
    let (before, _) = marked.split_once('|').unwrap_or_else(|| panic!("{marked} has no mark"));
    let text = marked.replacen('|', "", 1);
    let error = error(&text);
    assert_eq!((error.sqlstate.0, error.message.as_str()), (code, message), "{text}");
    assert_eq!(error.position, Some(before.chars().count() + 1), "{text}: {message}");
}

#[test]
fn unknown_and_ambiguous_names() {
    check("select |nope from a", "42703", "column \"nope\" does not exist");
    check("select 'ö',\n  |a.nope from a", "42703", "column a.nope does not exist");
    check("select |X.x from a", "42P01", "missing FROM-clause entry for table \"x\"");
    check("select |\"X\" from a", "42703", "column \"X\" does not exist");
    check("select |x from a, b", "42702", "column reference \"x\" is ambiguous");
    check("select 1 from |nope", "42P01", "relation \"nope\" does not exist");
    check("select 1 from |other.nope", "42P01", "relation \"other.nope\" does not exist");
    check("select 1 from |nope.a", "3F000", "schema \"nope\" does not exist");
    check("select 1 from |nope.public.a", "3D000", "catalog \"nope\" does not exist");
    check("select 1 from a, |a", "42712", "table name \"a\" specified more than once");
    check("select |nope(x, z) from a", "42883", "function nope(integer, text) does not exist");
    check("select substr(|x, 1) from a", "42883", "function substr(integer, integer) does not exist");
    check("select 1 from a join |b using (z)", "42703", "column \"z\" specified in USING clause does not exist in right table");
    check("select |$0", "42P02", "there is no parameter $0");
    check("select 1 from |a as t(p, q, r, s)", "42P10", "table \"t\" has 3 columns available but 4 columns specified");
    check("select 1, |from a", "42601", "syntax error at or near \"from\"");
}

#[test]
fn hints_name_what_was_probably_meant() {
    let hint = |text: &str| error(text).hint.unwrap_or_default();
    assert!(hint("select l_orderky from lineitem").contains("\"lineitem.l_orderkey\""));
    assert!(hint("select 1 from linitem").contains("\"lineitem\""));
    assert!(hint("select substrng('a', 1)").contains("substring"));
    assert!(hint("select 1 from publi.a").contains("\"public\""));
}

#[test]
fn types_that_do_not_fit() {
    check("select 1 from a where |x", "42804", "argument of WHERE must be type boolean, not type integer");
    check("select 1 from orders where |o_orderkey = o_orderdate", "42883", "operator does not exist: bigint = date");
    check("select |o_comment + 1 from orders", "42883", "operator does not exist: text + integer");
    check("select |o_orderdate + o_orderdate from orders", "42883", "operator does not exist: date + date");
    check("select |o_orderkey like '1%' from orders", "42883", "operator does not exist: bigint ~~ unknown");
    check("select 1 from orders where o_orderdate < |'soon'", "22007", "invalid input syntax for type date: \"soon\"");
    check("select 1 from orders where o_orderkey = |'x1'", "22P02", "invalid input syntax for type bigint: \"x1\"");
    check("select 1 from orders where o_orderdate = |'1995-02-30'", "22008", "date/time field value out of range: \"1995-02-30\"");
    check("select |case when true then 1 else o_comment end from orders", "42804", "CASE types text and integer cannot be matched");
    check("select 1 union |select o_comment from orders", "42804", "UNION types integer and text cannot be matched");
    check("select cast(|o_orderdate as int) from orders", "42846", "cannot cast type date to integer");
    check("select |sum(o_comment) from orders", "42883", "function sum(text) does not exist");
    check("select 1 limit -|1", "2201W", "LIMIT must not be negative");
    check("select 1 offset -|1", "2201X", "OFFSET must not be negative");
    check("select extract(fortnight from |o_orderdate) from orders", "22023", "unit \"fortnight\" not recognized for type date");
    check("select interval |'3 lightyears'", "22007", "invalid input syntax for type interval: \"3 lightyears\"");
}

#[test]
fn grouping_mistakes() {
    let message = "column \"y\" must appear in the GROUP BY clause or be used in an aggregate function";
    check("select x, |y from a group by x", "42803", message);
    check("select x + |y, count(*) from a group by x", "42803", message);
    check("select count(*) from a order by |y", "42803", message);
    check("select count(*) from a having |y > 1", "42803", message);
    check("select x, (select max(b.x) from b where b.y = |a.y) from a group by x", "42803", &message.replace("\"y\"", "\"a.y\""));
    check("select 1 from a where |sum(x) > 1", "42803", "aggregate functions are not allowed in WHERE");
    check("select 1 from a join b on |sum(a.x) = 1", "42803", "aggregate functions are not allowed in JOIN conditions");
    check("select 1 from a group by |count(*)", "42803", "aggregate functions are not allowed in GROUP BY");
    check("select count(*) as n from a group by |n", "42803", "aggregate functions are not allowed in GROUP BY");
    check("select sum(|max(x)) from a", "42803", "aggregate function calls cannot be nested");
    check("select x from a group by |2", "42P10", "GROUP BY position 2 is not in select list");
    check("select x from a order by |0", "42P10", "ORDER BY position 0 is not in select list");
    check("select x from a order by |'x'", "42601", "non-integer constant in ORDER BY");
    check("select distinct x from a order by |y", "42P10", "for SELECT DISTINCT, ORDER BY expressions must appear in select list");
}

#[test]
fn shapes_that_do_not_fit() {
    check("values (1), |(1, 2)", "42601", "VALUES lists must all be the same length");
    check("select 1 union |select 1, 2", "42601", "each UNION query must have the same number of columns");
    check("select |x in (select x, y from a) from a", "42601", "subquery has too many columns");
    check("select |*", "42601", "SELECT * with no tables specified is not valid");
    check("with t as (select 1), |t as (select 2) select 1", "42712", "WITH query name \"t\" specified more than once");
}

#[test]
fn what_is_not_supported_is_refused() {
    let texts = [
        "select sum(x) over () from a",
        "select sum(x) over w from a window w as ()",
        "select x from a group by rollup (x)",
        "select x from a group by cube (x)",
        "select x from a group by grouping sets ((x), ())",
        "with recursive r as (select 1) select * from r",
        "select array[1, 2]",
        "select x[1] from a",
        "select * from a tablesample system (10)",
        "select * from a for update",
        "select x into b2 from a",
        "select distinct on (x) x from a",
        "select string_agg(z, ',' order by x) from a",
        "select * from generate_series(1, 3)",
        "select z similar to 'a' from a",
        "select try_cast(x as text) from a",
        "select x & 1 from a",
        "select percentile_cont(0.5) within group (order by x) from a",
        "select z collate \"de_DE\" from a",
        "select current_time",
        "select '{}'::json",
        "select x from a order by x fetch first 3 rows with ties",
        "select (select max(a.x)) from a group by x",
        "select (1, 2)",
        "select '1'::timestamp(3)",
        "select ts at time zone 'Europe/Paris' from all_types",
        "select x from a except all by name select x from a",
    ];
    for text in texts {
        let Err(error) = bind_with(text, Parameters::Types(&[]), &[]) else { panic!("{text} was bound") };
        assert!(["0A000", "42601"].contains(&error.sqlstate.0), "{text}: {error} ({})", error.sqlstate.0);
    }
}

#[test]
fn views_end_in_an_error_when_they_contain_themselves() {
    let views: &[(&str, &[&str], &str)] =
        &[("v", &[], "select * from w"), ("w", &[], "select * from v"), ("bad", &[], "select nope from a")];
    let error = bind_with("select * from v", Parameters::Types(&[]), views).expect_err("a circle");
    assert_eq!(error.sqlstate.0, "42P17");
    // A mistake inside a view is reported at the view's name.
    let error = bind_with("select *\nfrom bad", Parameters::Types(&[]), views).expect_err("no such column");
    assert_eq!((error.sqlstate.0, error.position), ("42703", Some(15)));
}

#[test]
fn hostile_statements_are_bound_or_refused() {
    let numbers: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let fine = [
        format!("select x in ({}) from a", numbers.join(",")),
        format!("select 1 from a where x = 1{}", " or x = 2 and y = 3".repeat(5_000)),
        format!("select 1{}", " union all select 1".repeat(1_000)),
        format!("select {}1{}", "(".repeat(100), ")".repeat(100)),
        format!("select x{} from a", " + 1".repeat(200)),
        format!("select length('{}')", "x".repeat(1 << 20)),
        format!("values (1){}", ", (1 + 1)".repeat(2_000)),
    ];
    for text in &fine {
        query(text);
    }
    let between = format!("{}x{}", "(".repeat(40), " between 1 and 2) between false and true".repeat(20) + &")".repeat(20));
    let refused = [
        format!("select 1 from {}", vec!["a"; 1_000].join(",")),
        format!("select {between} from a"),
        format!("select 1 from a where {}x = 1{}", "exists (select 1 from a where ".repeat(500), ")".repeat(500)),
    ];
    for text in &refused {
        let shown: String = text.chars().take(60).collect();
        let error = bind_with(text, Parameters::Types(&[]), &[]).expect_err(&shown);
        assert!(["54001", "42883", "42804", "42601"].contains(&error.sqlstate.0), "{shown}: {error}");
    }
    let views: Vec<(String, String)> = (0..1_000).map(|n| (format!("v{n}"), format!("select * from v{}", n + 1))).collect();
    let views: Vec<(&str, &[&str], &str)> = views.iter().map(|(name, text)| (name.as_str(), &[][..], text.as_str())).collect();
    let error = bind_with("select * from v0", Parameters::Values(&[Scalar::Int32(1)]), &views).expect_err("too many views");
    assert_eq!(error.sqlstate.0, "54001");
}
