//! Shapes of plans.

use super::catalog::{bind_with, columns, plan, query};
use crate::{
    plan::logical::{ColumnId, JoinKind, LogicalPlan},
    sql::binder::Parameters,
};

/// The lines of a plan without their indentation, from the one that starts with `head`.
fn line(text: &str, head: &str) -> String {
    let plan = plan(text);
    match plan.lines().map(str::trim).find(|line| line.starts_with(head)) {
        Some(line) => line.to_owned(),
        None => panic!("no {head} in the plan of {text}:\n{plan}"),
    }
}

/// The filter of a condition over all types, without parentheses.
fn filter(condition: &str) -> String {
    line(&format!("select 1 from all_types where {condition}"), "Filter").trim_start_matches("Filter ").replace(['(', ')'], "")
}

#[test]
fn comparisons_cast_as_little_as_possible() {
    let cases = [
        // A constant takes the type of what it is compared with, if it has its exact value there.
        ("d < 24", "d < 24.00"),
        ("d = 0.0500", "d = 0.05"),
        ("i32 = 5.0", "i32 = 5"),
        ("i64 > 5", "i64 > 5"),
        ("date <= date '1998-12-01' - interval '90 days'", "date <= date 1998-09-02"),
        ("date >= '1994-01-01'", "date >= date 1994-01-01"),
        ("t = 'x'", "t = 'x'"),
        ("i32 in (1, 2)", "i32 in 1, 2"),
        ("d in (1, 0.5)", "d in 1.00, 0.50"),
        // AND within AND is one conjunction.
        ("d between 1 and 2 and b", "d >= 1.00 and d <= 2.00 and b"),
    ];
    for (condition, expected) in cases {
        assert_eq!(filter(condition), expected, "{condition}");
    }
    // A constant with more digits than the column: both at the wider scale.
    assert!(filter("d = 0.055").contains("castd as numeric16, 3 = 0.055"), "{}", filter("d = 0.055"));
    assert!(filter("date < now()").contains("castdate as timestamp with time zone"), "{}", filter("date < now()"));
    assert!(filter("i32 < d").contains("casti32 as numeric12, 2 < d"), "{}", filter("i32 < d"));
}

#[test]
fn quantified_comparisons_are_any_or_not_any() {
    let shape = |condition: &str| {
        let query = query(&format!("select 1 from a where {condition}"));
        format!("{:?}", query.root)
    };
    assert!(shape("x not in (select x from b)").contains("Not(Subquery(Subquery { kind: Any"));
    assert!(shape("x > all (select y from b)").contains("comparison: LessOrEqual"));
    assert!(shape("x > all (select y from b)").contains("Not(Subquery"));
    assert!(shape("x = some (select y from b)").contains("comparison: Equal"));
    assert!(shape("not exists (select 1 from b where b.y = a.y)").contains("kind: Exists"));
    assert!(shape("(x, y) in (select y, y from b)").contains("operands: [Column(ColumnId(0)), Column(ColumnId(1))]"));
}

#[test]
fn correlated_subqueries_use_outer_columns() {
    let query =
        query("select (select max(b.y) from b where b.x = a.x and exists (select 1 from a c where c.x = b.y and c.y = a.y)) from a");
    let LogicalPlan::Project { expressions, .. } = &query.root else { panic!("{:?}", query.root) };
    let crate::plan::logical::Expr::Subquery(subquery) = &expressions[0].1 else { panic!("{expressions:?}") };
    let free: Vec<ColumnId> = subquery.plan.free_columns().into_iter().collect();
    assert_eq!(free, [ColumnId(0), ColumnId(1)]);
}

#[test]
fn grouping_uses_keys_by_expression_name_and_position() {
    let expected = line("select x + 1, count(*) from a group by x + 1", "Aggregate");
    for text in [
        "select x + 1, count(*) from a group by 1",
        "select x + 1 as k, count(*) from a group by k",
        "select x + 1, count(*) from a group by (x + 1), 1",
    ] {
        assert_eq!(line(text, "Aggregate"), expected, "{text}");
    }
    // The same aggregate twice is computed once; HAVING and ORDER BY may have their own.
    let LogicalPlan::Sort { input, .. } = query("select sum(x) from a group by y having sum(x) > 1 order by sum(x), min(x)").root else {
        panic!("no sort")
    };
    let LogicalPlan::Project { input, expressions } = *input else { panic!("no projection") };
    assert_eq!(expressions.len(), 2, "the sum, and the minimum that only ORDER BY uses");
    let LogicalPlan::Filter { input, .. } = *input else { panic!("no HAVING") };
    let LogicalPlan::Aggregate(aggregate) = *input else { panic!("no aggregation") };
    assert_eq!((aggregate.keys.len(), aggregate.aggregates.len()), (1, 2));
}

#[test]
fn ctes_are_shared_if_read_twice() {
    assert_eq!(query("with t as (select x from a) select * from t").ctes.len(), 0);
    assert_eq!(query("with t as (select x from a) select 1").ctes.len(), 0);
    assert_eq!(query("with t as materialized (select x from a) select * from t").ctes.len(), 1);
    assert_eq!(query("with t as (select x from a) select * from t, t u").ctes.len(), 1);
    assert_eq!(query("with t as not materialized (select x from a) select * from t, t u").ctes.len(), 0);
    let nested = query("with t as (select x from a), u as (select t.x from t, t t2) select * from u, u v where u.x in (select x from t)");
    let names: Vec<&str> = nested.ctes.iter().map(|cte| cte.name.as_str()).collect();
    assert_eq!(names, ["t", "u"]);
    // Read once by a CTE that is read twice: inside it.
    assert_eq!(query("with t as (select x from a), u as (select x from t) select * from u, u v").ctes.len(), 1);
    // An inner WITH hides the outer one; a table of that name is hidden by both.
    let hidden = columns("with a as (select 1 as one) select * from (with a as (select 2 as two) select * from a) s, a");
    assert_eq!(hidden.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["two", "one"]);
}

#[test]
fn joins_have_their_kinds_and_merged_columns() {
    let names = |text: &str| columns(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
    assert_eq!(names("select * from a join b on a.x = b.x"), "x y z x y w");
    assert_eq!(names("select * from a join b using (y)"), "y x z x w");
    assert_eq!(names("select * from a natural join b"), "x y z w");
    assert_eq!(names("select b.*, a.x from a full join b using (x, y)"), "x y w x");
    assert_eq!(names("select j.* from (a cross join nation) as j (p)"), "p y z n_nationkey n_name n_regionkey n_comment");
    let kind = |text: &str| match query(text).root {
        LogicalPlan::Project { input, .. } => match *input {
            LogicalPlan::Join(join) => (join.kind, false),
            LogicalPlan::Apply(join) => (join.kind, true),
            LogicalPlan::Project { input, .. } => match *input {
                LogicalPlan::Join(join) => (join.kind, false),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(kind("select 1 from a left join b on a.x = b.x"), (JoinKind::Left, false));
    assert_eq!(kind("select 1 from a right outer join b on true"), (JoinKind::Right, false));
    assert_eq!(kind("select x from a full join b using (x)"), (JoinKind::Full, false));
    assert_eq!(kind("select 1 from a, lateral (select * from b where b.x = a.x) l"), (JoinKind::Inner, true));
    assert_eq!(kind("select 1 from a left join lateral (select a.x + 1 as k) l on l.k = 2"), (JoinKind::Left, true));
    assert_eq!(kind("select 1 from a, lateral (select * from b) l"), (JoinKind::Inner, false));
    // The merged column of a full join has the value of whichever side has one.
    assert!(plan("select x from a full join b using (x)").to_lowercase().contains("coalesce"));
}

#[test]
fn outer_joins_make_columns_nullable() {
    let nullable = |text: &str| {
        let query = query(text);
        query.columns.get(query.output[0].column).nullable
    };
    assert!(!nullable("select a.x + 1 from a join b on a.x = b.x"));
    assert!(nullable("select b.x + 1 from a left join b on a.x = b.x"));
    assert!(!nullable("select a.x + 1 from a left join b on a.x = b.x"));
    assert!(nullable("select sum(x) from a"));
    assert!(!nullable("select count(x) from a"));
    assert!(!nullable("select y is null from a"));
    assert!(nullable("select (select x from b limit 1) from a"));
}

#[test]
fn order_by_finds_names_positions_and_expressions() {
    assert_eq!(line("select x as k from a order by k desc", "Sort"), line("select x as k from a order by 1 desc", "Sort"));
    // An alias hides a column in ORDER BY.
    let query = query("select y as x from a order by x");
    let LogicalPlan::Sort { keys, .. } = &query.root else { panic!("no sort") };
    assert_eq!(keys[0].expr, crate::plan::logical::Expr::Column(query.output[0].column));
    assert_eq!((keys[0].descending, keys[0].nulls_first), (false, false));
    // What is not in the select list is carried along, and not shown.
    assert_eq!(columns("select x from a order by y + 1, z").len(), 1);
    assert_eq!(columns("(select x from a) order by y").len(), 1);
    columns("select x from a union select x from b order by 1 limit 3");
    columns("select x, y from a union all select x, y from b order by y nulls first");
    columns("select distinct x + 1 from a order by x + 1");
}

#[test]
fn limits_are_constants() {
    let limit = |text: &str| match query(text).root {
        LogicalPlan::Limit { limit, offset, .. } => Some((limit, offset)),
        _ => None,
    };
    assert_eq!(limit("select 1 limit 3 offset 2"), Some((Some(3), 2)));
    assert_eq!(limit("select 1 limit 1 + 2"), Some((Some(3), 0)));
    assert_eq!(limit("select 1 fetch first 5 rows only"), Some((Some(5), 0)));
    assert_eq!(limit("select 1 offset 4 rows fetch next row only"), Some((Some(1), 4)));
    assert_eq!(limit("select 1 limit all"), None);
    assert_eq!(limit("select 1 limit null"), None);
    assert_eq!(limit("select 1 limit 0"), Some((Some(0), 0)));
}

#[test]
fn set_operations_keep_all_or_make_distinct() {
    let shape = |text: &str| format!("{:?}", query(text).root);
    assert!(shape("select x from a union all select x from b").starts_with("UnionAll"));
    assert!(shape("select x from a union select x from b").starts_with("Aggregate"));
    assert!(shape("select x from a except select x from b").starts_with("SetOperation { operator: Except,"));
    assert!(shape("select x from a intersect all select x from b").starts_with("SetOperation { operator: IntersectAll,"));
    match query("select 1 union all select 2 union all select 3").root {
        LogicalPlan::UnionAll { inputs, .. } => assert_eq!(inputs.len(), 3),
        other => panic!("{other:?}"),
    }
}

#[test]
fn views_are_bound_anew_for_every_use() {
    let views: &[(&str, &[&str], &str)] = &[("v", &["k"], "select x, y from a"), ("a2", &[], "select * from v")];
    let bound = bind_with("select v.k, w.k, y from v, v as w (k, other), (select 1 as one) o", Parameters::Types(&[]), views);
    let query = bound.expect("bound").query;
    assert_ne!(query.output[0].column, query.output[1].column);
    bind_with("with a as (select 1 as nothing) select k, y from a2", Parameters::Types(&[]), views).expect("a CTE is invisible in a view");
}

#[test]
fn names_find_their_tables() {
    for text in [
        "select only_here from other.a",
        "select file.other.a.only_here from file.other.a",
        "select other.a.only_here from other.a",
        "select k from extra.main.t",
        "select A.X from a",
        "select public.a.x from a, other.a",
        "select * from a as \"Q\" where \"Q\".x = 1",
        "select x from (select x from a)",
        "values (1, 'a'), (2, 'b') order by column1",
        "select v.p from (values (1, 'a')) as v (p, q)",
        "select 1",
        "select from a",
        "select count(*) from a having count(*) > 1",
        "select 1 from a having true",
        "select x from a where y between 1 and 2 or z ilike 'q%' escape '!' or z ~ 'x' or (x, y) < (1, 2) or (x, y) in ((1, 2), (3, 4))",
        "select y is true from (select x > 1 as y from a) s where y is not false and y is not unknown",
        "select count(*) filter (where x > 1), sum(distinct x), count(distinct (z)) from a",
        "select x = any (array[1, 2]), x <> all (array[1, 2]) from a",
        "select 1 from a where x is not distinct from y",
        "select case x when 1 then 'a' when 2 then 'b' end from a",
        "select (select x from b where b.x = a.x) between 1 and 2 from a",
        "select z not like 'a%' from a where not x in (1, 2)",
        "select 1 from a where x > (select avg(y) from b) and (select true)",
        "select extract(epoch from ts), date_part('dow', date), age(ts), to_char(ts, 'YYYY') from all_types",
        "select sum(x) from a group by z, y order by z, 1",
    ] {
        query(text);
    }
}
