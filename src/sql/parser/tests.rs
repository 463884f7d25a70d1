//! Statements, places of mistakes, hostile text.

use super::{super::statement::StatementKind, *};

fn kinds(text: &str) -> Vec<StatementKind> {
    parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).into_iter().map(|s| s.kind).collect()
}

fn code_and_position(text: &str) -> (&'static str, Option<usize>) {
    let error = parse(text).expect_err(text);
    (error.sqlstate.0, error.position)
}

#[test]
fn a_message_is_cut_at_its_semicolons() {
    let statements = parse("select 1 ;; -- nothing; here\n  select 'ä;b' /* ; */ from t; ").unwrap();
    let pieces: Vec<(&str, usize)> = statements.iter().map(|s| (s.text.as_str(), s.offset)).collect();
    assert_eq!(pieces, [("select 1", 0), ("select 'ä;b' /* ; */ from t", 31)]);
}

#[test]
fn nothing_is_one_empty_statement() {
    for text in ["", " \n", ";", " ; ;", "-- only a comment", "/* and /* another */ */"] {
        let statements = parse(text).unwrap();
        assert_eq!(statements.len(), 1, "{text}");
        assert_eq!(statements[0].kind, StatementKind::Empty, "{text}");
    }
}

#[test]
fn every_supported_statement_has_its_kind() {
    let set = |name: &str, value: Option<&str>| StatementKind::Set { name: name.to_owned(), value: value.map(str::to_owned) };
    let cases = [
        ("begin", StatementKind::Begin),
        ("BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED", StatementKind::Begin),
        ("start transaction read only", StatementKind::Begin),
        ("commit", StatementKind::Commit),
        ("end", StatementKind::Commit),
        ("rollback", StatementKind::Rollback),
        ("abort", StatementKind::Rollback),
        ("savepoint s", StatementKind::Savepoint("SAVEPOINT")),
        ("release savepoint s", StatementKind::Savepoint("RELEASE")),
        ("rollback to savepoint s", StatementKind::Savepoint("ROLLBACK")),
        ("set search_path = a, \"B\"", set("search_path", Some("a, B"))),
        ("set DateStyle to 'ISO'", set("datestyle", Some("ISO"))),
        ("set extra_float_digits = 3", set("extra_float_digits", Some("3"))),
        ("set x = -1", set("x", Some("-1"))),
        ("set work.mem = default", set("work.mem", None)),
        ("set time zone 'UTC'", set("timezone", Some("UTC"))),
        ("set names 'utf8'", set("client_encoding", Some("utf8"))),
        ("reset all", StatementKind::Reset(None)),
        ("reset DateStyle", StatementKind::Reset(Some("datestyle".to_owned()))),
        ("show all", StatementKind::Show("all".to_owned())),
        ("show Server_Version", StatementKind::Show("server_version".to_owned())),
        ("show transaction isolation level", StatementKind::Show("transaction_isolation".to_owned())),
        ("show tables", StatementKind::ShowTables),
        ("deallocate all", StatementKind::Deallocate(None)),
        ("deallocate P", StatementKind::Deallocate(Some("p".to_owned()))),
        ("discard all", StatementKind::DiscardAll),
    ];
    for (text, expected) in cases {
        assert_eq!(kinds(text), [expected], "{text}");
    }
}

#[test]
fn statements_around_queries_keep_them() {
    let explained = |text: &str| match kinds(text).swap_remove(0) {
        StatementKind::Explain { analyze, json, distributed, query: _ } => (analyze, json, distributed),
        other => panic!("{other:?}"),
    };
    assert_eq!(explained("explain select 1"), (false, false, false));
    assert_eq!(explained("explain analyze select 1"), (true, false, false));
    assert_eq!(explained("explain (analyze, format json) select 1"), (true, true, false));
    assert_eq!(explained("explain (distributed) select 1"), (false, false, true));
    assert_eq!(explained("explain (distributed on, distributed off) select 1"), (false, false, false));
    assert_eq!(explained("explain (analyze false, costs off, format text) select 1"), (false, false, false));
    assert!(matches!(&kinds("create or replace view v (A, b) as select 1, 2")[0],
        StatementKind::CreateView { or_replace: true, columns, .. } if *columns == ["a", "b"]));
    assert!(matches!(&kinds("create temp view v as select 1")[0], StatementKind::CreateView { or_replace: false, .. }));
    assert!(matches!(&kinds("drop view if exists v, w")[0], StatementKind::DropView { if_exists: true, names } if names.len() == 2));
    assert!(matches!(&kinds("prepare P (int, text) as select $1")[0],
        StatementKind::Prepare { name, parameter_types, statement } if name == "p" && parameter_types.len() == 2
            && matches!(statement.kind, StatementKind::Query(_))));
    assert!(matches!(&kinds("execute p (1, 'a')")[0], StatementKind::Execute { name, parameters } if name == "p" && parameters.len() == 2));
    for text in ["values (1), (2)", "with a as (select 1) select * from a", "(select 1)"] {
        assert!(matches!(kinds(text)[0], StatementKind::Query(_)), "{text}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let cases = [
        ("insert into t values (1)", "INSERT is not supported"),
        ("create table t (a int)", "CREATE TABLE is not supported"),
        ("drop table t", "DROP TABLE is not supported"),
        ("update t set a = 1", "UPDATE is not supported"),
        ("delete from t", "DELETE is not supported"),
        ("copy t from stdin", "COPY is not supported"),
        ("truncate t", "TRUNCATE is not supported"),
        ("vacuum", "VACUUM is not supported"),
        ("explain (buffers) select 1", "EXPLAIN option BUFFERS is not supported"),
        ("explain insert into t values (1)", "EXPLAIN of anything but a query is not supported"),
        ("create materialized view v as select 1", "CREATE MATERIALIZED VIEW is not supported"),
        ("set local x = 1", "SET LOCAL is not supported"),
        ("select 1 between symmetric 2 and 3", "BETWEEN SYMMETRIC is not supported"),
    ];
    for (text, message) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!((error.sqlstate.0, error.message.as_str()), ("0A000", message), "{text}");
    }
}

#[test]
fn syntax_errors_name_the_token_and_its_place() {
    let error = parse("select 'ö', (1 +\n  ) from t").expect_err("no operand");
    assert_eq!((error.sqlstate.0, error.message.as_str(), error.position), ("42601", "syntax error at or near \")\"", Some(20)));
    assert_eq!(code_and_position("select 1; selec 2"), ("42601", Some(11)));
    assert_eq!(code_and_position("select * from t where"), ("42601", Some(22)));
    assert_eq!(code_and_position("select 1 2 3"), ("42601", Some(10)));
    assert_eq!(code_and_position("select 1)"), ("42601", Some(9)));
    assert_eq!(code_and_position("select 'abc").0, "42601");
    assert_eq!(code_and_position("select /* abc").0, "42601");
}

/// Whatever happens, it is an answer or an error, on a small stack.
fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).expect("a thread").join().expect("no panic")
}

#[test]
fn deep_nesting_is_refused() {
    let texts = [
        format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("select {}1", "(".repeat(10_000)),
        format!("select {} true", "not ".repeat(10_000)),
        format!("select {} 1", "- ".repeat(10_000)),
        format!("select * from {}t{}", "(select * from ".repeat(10_000), ") x".repeat(10_000)),
        format!("{}select 1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("select 1{}", " + 1".repeat(100_000)),
        format!("select 'a'{}", " || 'a'".repeat(100_000)),
        format!("select a{}", "::int".repeat(100_000)),
        format!("select a{}", " is null".repeat(100_000)),
        format!("select * from t{}", " join t on true".repeat(10_000)),
        format!("select 1{}", " union select 1 union all select 1".repeat(1_000)),
        format!("select {}1{}", "case when true then ".repeat(10_000), " end".repeat(10_000)),
    ];
    for text in texts {
        let shown: String = text.chars().take(40).collect();
        let error = on_small_stack(move || parse(&text)).expect_err(&shown);
        assert!(["54001", "42601"].contains(&error.sqlstate.0), "{shown}: {error}");
    }
}

#[test]
fn long_but_flat_text_is_parsed() {
    let numbers: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let texts = [
        format!("select '{}'", "x".repeat(1 << 20)),
        format!("select 1 in ({})", numbers.join(",")),
        format!("select true{}", " and true".repeat(20_000)),
        format!("select false{}", " or a = 1 and b = 2".repeat(10_000)),
        format!("select 1{}", " union all select 1".repeat(2_000)),
        format!("values (1){}", ", (1)".repeat(20_000)),
        format!("select 1{}", ";select 1".repeat(1_000)),
    ];
    for text in texts {
        let shown: String = text.chars().take(40).collect();
        on_small_stack(move || drop(parse(&text).unwrap_or_else(|e| panic!("{shown}: {e}"))));
    }
}

#[test]
fn a_balanced_chain_keeps_the_order_of_its_operands() {
    let StatementKind::Query(query) = kinds("select a and b and c and d and e or f").swap_remove(0) else { panic!("no query") };
    assert_eq!(query.to_string(), "SELECT a AND b AND c AND d AND e OR f");
    let StatementKind::Query(query) = kinds("select 1 union all select 2 union all select 3 except select 4").swap_remove(0) else {
        panic!("no query")
    };
    assert_eq!(query.to_string(), "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 EXCEPT SELECT 4");
}
