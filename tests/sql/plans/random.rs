//! Random queries over small tables with NULLs and duplicates: the optimized plan gives the rows that the bound
//! plan gives. `RANDOM_QUERIES` sets how many, `RANDOM_SEED` where to begin; a failure names its seed.

use std::{fmt::Write, sync::Arc};

use arneb::{
    catalog::Catalogs,
    optimizer::{OptimizerContext, optimize},
    plan::{display, logical::Query},
};
use arrow::datatypes::{DataType, Field, Schema};
use operators::Scalar;

use crate::oracle::{
    naive::{Failure, Tables, evaluate},
    tables::{TestTable, TestTables},
    text,
};

/// A small generator of random numbers (splitmix64): the same everywhere for a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }
}

const TABLES: [&str; 3] = ["t", "u", "v"];
/// Columns all tables have: `id` is never NULL, `s` is text.
const NUMBERS: [&str; 4] = ["id", "a", "b", "c"];

fn tables(random: &mut Random) -> TestTables {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("a", DataType::Int32, true),
        Field::new("b", DataType::Int32, true),
        Field::new("c", DataType::Int64, true),
        Field::new("s", DataType::Utf8View, true),
    ]));
    let mut tables = TestTables::default();
    for name in TABLES {
        let number = |nullable: bool, random: &mut Random| (!nullable || !random.one_in(5)).then(|| random.below(4) as i32);
        let rows: Vec<Vec<Scalar>> = (0..random.below(6))
            .map(|_| {
                let int = |v: Option<i32>| v.map_or(Scalar::Null(DataType::Int32), Scalar::Int32);
                vec![
                    int(number(false, random)),
                    int(number(true, random)),
                    int(number(true, random)),
                    number(true, random).map_or(Scalar::Null(DataType::Int64), |v| Scalar::Int64(v.into())),
                    number(true, random)
                        .map_or(Scalar::Null(DataType::Utf8View), |v| Scalar::Utf8(["x", "xy", "y%", ""][v as usize].into())),
                ]
            })
            .collect();
        tables.0.insert(name.into(), TestTable { schema: schema.clone(), claimed_rows: rows.len() as u64, rows });
    }
    tables
}

/// Writes queries. `scopes` are the aliases that are visible, innermost last; all have the tables' columns.
struct Writer<'r> {
    random: &'r mut Random,
    scopes: Vec<Vec<String>>,
    aliases: usize,
}

impl Writer<'_> {
    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("{}{}", self.random.pick(&["p", "q", "r"]), self.aliases)
    }

    /// A number column: mostly of this query, sometimes of an outer one.
    fn column(&mut self) -> String {
        let outer = self.scopes.len() > 1 && self.random.one_in(3);
        let level = if outer { self.random.below(self.scopes.len() - 1) } else { self.scopes.len() - 1 };
        let alias = self.scopes[level][self.random.below(self.scopes[level].len())].clone();
        format!("{alias}.{}", self.random.pick(&NUMBERS))
    }

    fn text_column(&mut self) -> String {
        let scope = self.scopes.last().expect("inside a query");
        format!("{}.s", scope[self.random.below(scope.len())])
    }

    fn number(&mut self, depth: usize) -> String {
        match self.random.below(12) {
            0..=5 => self.column(),
            6..=7 => self.random.below(4).to_string(),
            8 => format!("({} + {})", self.column(), self.random.below(3)),
            9 => format!("coalesce({}, {})", self.column(), self.random.below(3)),
            10 if depth > 0 => format!("case when {} then {} else {} end", self.condition(depth - 1), self.column(), self.random.below(3)),
            _ if depth > 0 => self.scalar_subquery(depth - 1),
            _ => self.column(),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        let comparison = |random: &mut Random| random.pick(&["=", "=", "=", "<>", "<", "<=", ">", ">="]).to_owned();
        match self.random.below(16) {
            0..=5 => {
                let (left, operator) = (self.number(depth), comparison(self.random));
                format!("{left} {operator} {}", self.number(depth))
            }
            6 => format!("{} is {}null", self.column(), self.random.pick(&["", "not "])),
            7 => format!(
                "{} {}in (1, {}{})",
                self.column(),
                self.random.pick(&["", "not "]),
                self.random.below(4),
                self.random.pick(&["", ", 3", ", null"])
            ),
            8 => format!("{} between {} and {}", self.column(), self.random.below(2), 1 + self.random.below(3)),
            9 => format!(
                "{} {}like '{}'",
                self.text_column(),
                self.random.pick(&["", "not "]),
                self.random.pick(&["x", "x%", "%y%", "_", "%"])
            ),
            10 => format!("not ({})", self.condition(depth)),
            11 => format!("({} or {})", self.condition(depth), self.condition(depth)),
            12 => format!("({} and {})", self.condition(depth), self.condition(depth)),
            13 if depth > 0 => format!("{}exists ({})", self.random.pick(&["", "not "]), self.subquery(depth - 1, 1)),
            14 if depth > 0 => {
                let operand = self.number(0);
                let in_or_any = match self.random.below(5) {
                    0..=1 => "in".to_owned(),
                    2..=3 => "not in".to_owned(),
                    _ => format!("{} {}", comparison(self.random), self.random.pick(&["any", "all"])),
                };
                format!("{operand} {in_or_any} ({})", self.subquery(depth - 1, 1))
            }
            15 if depth > 0 && self.random.one_in(2) => {
                let operands = format!("({}, {})", self.number(0), self.number(0));
                format!("{operands} {} ({})", self.random.pick(&["in", "not in"]), self.subquery(depth - 1, 2))
            }
            _ => format!("{} {} {}", self.column(), comparison(self.random), self.column()),
        }
    }

    fn scalar_subquery(&mut self, depth: usize) -> String {
        let mut inner = self.from(depth);
        let call = self.aggregate_call(depth);
        let shown = match self.random.below(4) {
            0 => format!("coalesce({call}, 1)"),
            1 => format!("{call} + 1"),
            _ => call,
        };
        let _ = write!(inner.1, " where {}", self.condition(depth));
        if self.random.one_in(3) {
            let _ = write!(inner.1, " and {}", self.condition(depth));
        }
        if self.random.one_in(6) {
            let _ = write!(inner.1, " having count(*) > 0");
        }
        let query = match self.random.below(8) {
            // One row without an aggregate.
            0 => {
                let (column, order) = (self.own_column(), self.own_column());
                let direction = self.random.pick(&["", " desc", " nulls first"]);
                format!(
                    "(select {column} from {} order by {order}{direction}, {column} limit 1)",
                    inner.1.replace(" having count(*) > 0", "")
                )
            }
            _ => format!("(select {shown} from {})", inner.1),
        };
        self.scopes.pop();
        query
    }

    fn own_column(&mut self) -> String {
        let scope = self.scopes.last().expect("inside a query");
        let alias = scope[self.random.below(scope.len())].clone();
        format!("{alias}.{}", self.random.pick(&NUMBERS))
    }

    fn aggregate_call(&mut self, _depth: usize) -> String {
        match self.random.below(7) {
            0 => "count(*)".into(),
            1 => format!("count({})", self.own_column()),
            2 => format!("count(distinct {})", self.own_column()),
            3 => format!("sum({})", self.own_column()),
            4 => format!("min({})", self.own_column()),
            _ => format!("max({})", self.own_column()),
        }
    }

    /// FROM of a new scope, which stays open.
    fn from(&mut self, depth: usize) -> (usize, String) {
        let first = self.alias();
        let mut text = format!("{} {first}", self.relation(depth));
        self.scopes.push(vec![first]);
        for _ in 0..[0, 0, 1, 1, 2][self.random.below(5)] {
            let alias = self.alias();
            let kind = self.random.pick(&["join", "join", "left join", "left join", "right join", "full join", "cross join", ","]);
            // Relations see outer queries, not their neighbours.
            let own = self.scopes.pop().expect("just pushed");
            let relation = self.relation(depth);
            self.scopes.push(own);
            let neighbours = self.scopes.last().expect("just pushed").clone();
            if kind == "," || kind == "cross join" {
                // A comma binds less than JOIN: later conditions would not see what is before it.
                text = format!("{text} cross join {relation} {alias}");
                self.scopes.last_mut().expect("just pushed").push(alias);
                continue;
            }
            let left = &neighbours[self.random.below(neighbours.len())];
            let mut condition = format!("{left}.{} = {alias}.{}", self.random.pick(&NUMBERS), self.random.pick(&NUMBERS));
            self.scopes.last_mut().expect("just pushed").push(alias.clone());
            if self.random.one_in(3) {
                let depth = if kind == "full join" { 0 } else { depth };
                let extra = if kind == "full join" { format!("{alias}.a > 0") } else { self.condition(depth) };
                let _ = write!(condition, " and {extra}");
            }
            text = format!("{text} {kind} {relation} {alias} on {condition}");
        }
        (0, text)
    }

    /// A table, or a subquery with the tables' columns.
    fn relation(&mut self, depth: usize) -> String {
        let table = self.random.pick(&TABLES);
        if depth == 0 || !self.random.one_in(4) {
            return table.to_owned();
        }
        // Derived tables do not see the outer query.
        let scopes = std::mem::take(&mut self.scopes);
        let one = |writer: &mut Self| {
            let alias = writer.alias();
            writer.scopes.push(vec![alias.clone()]);
            let condition = writer.condition(depth - 1);
            writer.scopes.pop();
            match writer.random.below(4) {
                0 => format!(
                    "select {alias}.id, {alias}.a, {alias}.b, max({alias}.c) as c, min({alias}.s) as s from {table} {alias} where {condition} group by 1, 2, 3"
                ),
                1 => {
                    format!("select distinct {alias}.id, {alias}.a, {alias}.b, {alias}.c, {alias}.s from {table} {alias} where {condition}")
                }
                2 => format!("select {alias}.id, {alias}.b as a, 1 as b, {alias}.c, {alias}.s from {table} {alias} where {condition}"),
                _ => format!("select {alias}.* from {table} {alias} where {condition}"),
            }
        };
        let text = match one(self) {
            first if self.random.one_in(4) => {
                let second = {
                    let alias = self.alias();
                    format!("select {alias}.* from {} {alias}", self.random.pick(&TABLES))
                };
                let operator = self.random.pick(&["union all", "union", "except", "intersect", "except all", "intersect all"]);
                format!("({first} {operator} {second})")
            }
            first => format!("({first})"),
        };
        self.scopes = scopes;
        text
    }

    /// A subquery with `width` number columns, correlated perhaps.
    fn subquery(&mut self, depth: usize, width: usize) -> String {
        let (_, from) = self.from(depth);
        let shown = |writer: &mut Self| (0..width).map(|_| writer.number(0)).collect::<Vec<_>>().join(", ");
        let mut text = match self.random.below(7) {
            0 if width == 1 => {
                let (key, call) = (self.own_column(), self.aggregate_call(depth));
                let condition = self.condition(depth);
                format!("select {call} from {from} where {condition} group by {key}")
            }
            1 => format!("select distinct {} from {from} where {}", shown(self), self.condition(depth)),
            _ => format!("select {} from {from} where {} and {}", shown(self), self.condition(depth), self.condition(depth)),
        };
        self.scopes.pop();
        if self.random.one_in(6) {
            let (_, from) = self.from(0);
            let operator = self.random.pick(&["union all", "union", "except", "intersect"]);
            let second = format!("select {} from {from} where {}", shown(self), self.condition(0));
            self.scopes.pop();
            text = format!("{text} {operator} {second}");
        }
        text
    }

    fn query(&mut self) -> String {
        let (_, from) = self.from(2);
        let mut conditions = vec![];
        for _ in 0..1 + self.random.below(3) {
            conditions.push(self.condition(2));
        }
        let conditions = conditions.join(" and ");
        let text = match self.random.below(5) {
            0 => {
                let (key, second) = (self.own_column(), self.own_column());
                let (one, two) = (self.aggregate_call(1), self.aggregate_call(1));
                let average = self.own_column();
                let having = if self.random.one_in(2) { format!(" having {one} > 0") } else { String::new() };
                format!(
                    "select {key}, {second}, {one}, {two}, avg({average}) from {from} where {conditions} group by {key}, {second}{having}"
                )
            }
            1 => {
                let (one, two) = (self.aggregate_call(1), self.aggregate_call(1));
                format!("select {one}, {two}, count(*) from {from} where {conditions}")
            }
            2 => {
                let (one, two) = (self.number(1), self.own_column());
                format!("select distinct {one}, {two} from {from} where {conditions}")
            }
            _ => {
                let shown = [self.number(2), self.number(2), self.text_column()];
                format!("select {} from {from} where {conditions}", shown.join(", "))
            }
        };
        self.scopes.pop();
        text
    }
}

fn rows(query: &Query, tables: &Tables) -> Result<Vec<String>, Failure> {
    let mut rows: Vec<String> = evaluate(query, tables)?.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect();
    rows.sort();
    Ok(rows)
}

/// Tables and a query over them, the same for a seed.
pub fn generate(seed: u64) -> (TestTables, String) {
    let mut random = Random(seed);
    let tables = tables(&mut random);
    let sql = Writer { random: &mut random, scopes: vec![], aliases: 0 }.query();
    (tables, sql)
}

/// Whether the query could be checked.
fn check(seed: u64) -> bool {
    let (tables, sql) = generate(seed);
    let catalogs: Catalogs = tables.catalogs();
    let query = match super::bound(&sql, &catalogs) {
        Ok(query) => query,
        Err(error) => panic!("seed {seed}: {error}\n{sql}"),
    };
    let data = tables.rows();
    let Ok(expected) = rows(&query, &data) else { return false };
    let before = display::query(&query);
    let mut steps = vec![];
    let optimized = optimize(query, &OptimizerContext { catalogs: &catalogs }, &mut |rule, query| steps.push((rule, query.clone())));
    let optimized = match optimized {
        Ok(optimized) => optimized,
        Err(error) if error.sqlstate.0 == "0A000" => return false,
        Err(error) => panic!("seed {seed}: {error}\n{sql}\n{before}"),
    };
    let found = rows(&optimized, &data);
    if found.as_ref() != Ok(&expected) {
        let first_wrong = steps.iter().position(|(_, step)| rows(step, &data).as_ref() != Ok(&expected)).unwrap_or(steps.len() - 1);
        let (rule, after) = &steps[first_wrong];
        let before = first_wrong.checked_sub(1).map_or(before, |index| display::query(&steps[index].1));
        let after = display::query(after);
        panic!(
            "seed {seed}: {rule} changes the result\n{sql}\n-- before\n{before}\n-- after\n{after}\nexpected {expected:#?}\nfound {found:#?}\n{data:?}"
        );
    }
    let text = display::query(&optimized);
    assert!(!text.contains("Apply") && !text.contains("ubquery"), "seed {seed}: a subquery is left\n{sql}\n{text}");
    true
}

#[test]
fn optimized_plans_give_the_rows_of_bound_plans() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (first, count) = (number("RANDOM_SEED", 1), number("RANDOM_QUERIES", 300));
    let checked = (first..first + count).filter(|seed| check(*seed)).count() as u64;
    assert!(checked * 10 > count * 8, "only {checked} of {count} queries could be checked");
}
