//! What the rules make of typical pieces of SQL, one topic a test.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use operators::types::decimal;

use crate::oracle::tables::{TestTable, TestTables};

/// `t` (no NULLs) and `n` (NULLs everywhere), with the same columns.
fn tables() -> TestTables {
    let table = |nullable: bool| {
        let columns = [
            ("k", DataType::Int32),
            ("x", DataType::Int32),
            ("y", DataType::Int64),
            ("d", DataType::Date32),
            ("m", decimal(15, 2)),
            ("s", DataType::Utf8View),
        ];
        let fields: Vec<Field> = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, nullable)).collect();
        TestTable { schema: Arc::new(Schema::new(fields)), rows: vec![], claimed_rows: 1000 }
    };
    TestTables([("t".to_owned(), table(false)), ("n".to_owned(), table(true))].into())
}

/// The queries, each followed by its rewritten plan.
fn texts(queries: &[&str]) -> String {
    let catalogs = tables().catalogs();
    queries.iter().map(|sql| format!("{sql}\n{}\n", super::rewritten(sql, &catalogs))).collect()
}

#[test]
fn conditions_take_the_form_of_column_and_constant() {
    insta::assert_snapshot!(texts(&[
        "select k from t where 5 < x and not (y >= 7 or s <> 'a')",
        "select k from t where d < timestamp '2020-01-01 12:00:00' and d >= date '2019-01-01' - interval '1' month",
        "select k from t where y between 2 and 9 and y between 4 and 12",
        "select k from t where x = 1 or x = 2 or x in (2, 3)",
        "select k from t where x in (1, 2, 3) and x > 1 and x <> 3",
        "select k from t where s like 'abc' and m > 1.255 and x > 2.5",
        "select k from n where x = x and y is not null and y > 3",
        "select k from t where 1 / 0 = 1 and x > 1",
    ]));
}

#[test]
fn contradictions_give_no_rows() {
    insta::assert_snapshot!(texts(&[
        "select k from t where x > 5 and x < 3",
        "select k from t where x is null",
        "select count(*) from t where false",
        "select a.k, b.k from t a left join (select * from t where 1 = 2) b on a.k = b.k",
        "select k from t where x = 1 union all select k from t where x = 1 and x = 2",
        "select k from t where k not in (select k from t where null)",
    ]));
}

#[test]
fn filters_go_where_they_drop_rows_first() {
    insta::assert_snapshot!(texts(&[
        "select a.k from t a, n b where a.k = b.k and a.x = 3 and b.y > 2 and a.k < 10",
        "select * from (select x, count(*) as c from t group by x) g where x = 4 and c > 2",
        "select k from (select k, x + 1 as z from t union all select x, k from n) u where z > 3",
        "select k from (select k, x from t order by x limit 5) l where x > 3",
        "select a.k from t a left join n b on a.k = b.k and b.x = 1 where a.x = 2",
        "select k from t a where exists (select 1 from n b where b.k = a.k and b.x > 3) and a.k = 7",
    ]));
}

#[test]
fn outer_joins_become_inner_or_anti_joins() {
    insta::assert_snapshot!(texts(&[
        "select a.k, b.x from t a left join n b on a.k = b.k where b.x > 1",
        "select a.k, b.x from t a left join n b on a.k = b.k where coalesce(b.x, 0) > 1",
        "select a.k, b.x from t a left join n b on a.k = b.k where coalesce(b.x, 2) > 1",
        "select a.k from t a right join n b on a.k = b.k",
        "select a.k, b.k from t a full join n b on a.k = b.k where b.x = 1",
        "select a.k from t a left join n b on a.k = b.k where b.k is null",
        "select a.k from t a left join (select distinct k from n) b on a.k = b.k",
    ]));
}

#[test]
fn subqueries_become_joins() {
    insta::assert_snapshot!(texts(&[
        "select k from t where x in (select x from t)",
        "select k from t where x not in (select x from t)",
        "select k from t where x not in (select x from n)",
        "select k from t a where x not in (select x from n b where b.k = a.k)",
        "select k from t a where exists (select 1 from n b where b.k = a.k) or x = 1",
        "select k, (select count(*) from n b where b.k = a.k) from t a",
        "select k, (select max(x) from n) from t a",
        "select k, (select b.x from n b where b.k = a.k) from t a",
        "select k, (select b.x from n b where b.k = a.k order by b.y limit 1) from t a",
        "select k from t a where x > (select avg(b.x) from n b where b.k < a.k)",
        "select k from t a where y in (select b.k from n b where b.x = (select min(c.x) from t c where c.k = b.k and c.y = a.y))",
        "select a.k from t a left join n b on a.k = b.k and b.x > (select min(c.x) from t c where c.k = a.x)",
    ]));
}

#[test]
fn what_changes_nothing_is_removed() {
    insta::assert_snapshot!(texts(&[
        "select count(*) from (select * from t order by x) o",
        "select distinct k from (select k, max(x) from t group by k) g",
        "select k from (select k, x from t limit 10 offset 2) l limit 3 offset 1",
        "select k + 1 from (select k, x from t union all select k, x from n) u limit 3",
        "with c as (select k, x from t) select k from c where x = 1",
        "with c as (select k, x from t) select a.k from c a join c b on a.k = b.k",
        "select x, x + 1, avg(y), sum(y), count(y), count(*), avg(y) from t group by x, x + 1",
        "select a.k, g.m from n a join (select k, max(x) as m from t group by k) g on a.k = g.k group by a.k, g.m",
        "select count(*) from t",
    ]));
}
