//! Plans as compact text: a node a line, columns as `name` with their number.

use operators::Scalar;

use crate::plan::logical::{ColumnId, Expr, JoinKind, LogicalPlan, Query, SortKey, SubqueryKind};

/// The whole query.
pub fn render(query: &Query) -> String {
    let mut text = String::new();
    let renderer = Renderer { query };
    for cte in &query.ctes {
        text += &format!("with {}\n", cte.name);
        renderer.plan(&cte.plan, 1, &mut text);
    }
    renderer.plan(&query.root, 0, &mut text);
    let output: Vec<String> = query.output.iter().map(|o| format!("{}={}", o.name, renderer.column(o.column))).collect();
    text + "-> " + &output.join(" ")
}

struct Renderer<'q> {
    query: &'q Query,
}

impl Renderer<'_> {
    fn column(&self, id: ColumnId) -> String {
        format!("{}#{}", self.query.columns.get(id).name, id.0)
    }

    fn list<T>(&self, items: &[T], show: impl Fn(&T) -> String) -> String {
        items.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn plan(&self, plan: &LogicalPlan, depth: usize, text: &mut String) {
        *text += &"  ".repeat(depth);
        *text += &match plan {
            LogicalPlan::TableScan(scan) => format!("scan {} as {}", scan.table, scan.alias),
            LogicalPlan::CteScan(scan) => format!("cte {}", self.list(&scan.columns, |(id, _)| self.column(*id))),
            LogicalPlan::Values(values) => {
                let rows = self.list(&values.rows, |row| format!("({})", self.list(row, scalar)));
                format!("values {rows}")
            }
            LogicalPlan::Filter { predicate, .. } => format!("filter {}", self.list(predicate, |e| self.expr(e))),
            LogicalPlan::Project { expressions, .. } => format!("project {}", self.list(expressions, |e| self.named(e))),
            LogicalPlan::Join(join) => format!("{} join {}", kind(join.kind), self.list(&join.condition, |e| self.expr(e))),
            LogicalPlan::Apply(join) => format!("{} apply {}", kind(join.kind), self.list(&join.condition, |e| self.expr(e))),
            LogicalPlan::Aggregate(aggregate) => {
                let calls = self.list(&aggregate.aggregates, |(id, call)| {
                    let distinct = if call.distinct { "distinct " } else { "" };
                    let filter = call.filter.as_ref().map_or(String::new(), |f| format!(" where {}", self.expr(f)));
                    format!("{}={:?}({distinct}{}{filter})", self.column(*id), call.function, self.list(&call.arguments, |e| self.expr(e)))
                });
                format!("aggregate [{}] {calls}", self.list(&aggregate.keys, |k| self.named(k)))
            }
            LogicalPlan::Sort { keys, .. } => format!("sort {}", self.list(keys, |k| self.key(k))),
            LogicalPlan::Limit { limit, offset, .. } => format!("limit {limit:?} {offset}"),
            LogicalPlan::UnionAll { output, .. } => {
                let sources = |sources: &Vec<ColumnId>| self.list(sources, |id| self.column(*id));
                format!("union {}", self.list(output, |(id, from)| format!("{}<-({})", self.column(*id), sources(from))))
            }
            LogicalPlan::SetOperation { operator, output, .. } => {
                let pair = |(id, l, r): &(ColumnId, ColumnId, ColumnId)| format!("{}<-({} {})", self.column(*id), self.column(*l), self.column(*r));
                format!("{operator:?} {}", self.list(output, pair))
            }
        };
        *text = text.trim_end().to_owned() + "\n";
        for input in plan.inputs() {
            self.plan(input, depth + 1, text);
        }
    }

    fn named(&self, (id, expr): &(ColumnId, Expr)) -> String {
        if *expr == Expr::Column(*id) { self.column(*id) } else { format!("{}={}", self.column(*id), self.expr(expr)) }
    }

    fn key(&self, key: &SortKey) -> String {
        let direction = if key.descending { " desc" } else { "" };
        let nulls = if key.nulls_first { " nulls first" } else { "" };
        format!("{}{direction}{nulls}", self.expr(&key.expr))
    }

    fn expr(&self, expr: &Expr) -> String {
        let all = |operands: &[Expr], separator: &str| operands.iter().map(|e| self.expr(e)).collect::<Vec<_>>().join(separator);
        match expr {
            Expr::Column(id) => self.column(*id),
            Expr::Literal(value) => scalar(value),
            Expr::Compare(comparison, l, r) => format!("({} {comparison:?} {})", self.expr(l), self.expr(r)),
            Expr::And(operands) => format!("({})", all(operands, " and ")),
            Expr::Or(operands) => format!("({})", all(operands, " or ")),
            Expr::Not(operand) => format!("not {}", self.expr(operand)),
            Expr::IsNull(operand) => format!("{} is null", self.expr(operand)),
            Expr::Arithmetic(op, l, r, _) => format!("({} {op:?} {})", self.expr(l), self.expr(r)),
            Expr::Negate(operand) => format!("-{}", self.expr(operand)),
            Expr::Cast(operand, to) => format!("cast({} {to})", self.expr(operand)),
            Expr::Case { branches, otherwise, .. } => {
                let branches = self.list(branches, |(c, v)| format!("when {} then {}", self.expr(c), self.expr(v)));
                let otherwise = otherwise.as_ref().map_or(String::new(), |e| format!(" else {}", self.expr(e)));
                format!("case {branches}{otherwise}")
            }
            Expr::Like { operand, pattern, escape, case_insensitive } => {
                let name = if *case_insensitive { "ilike" } else { "like" };
                let escape = escape.filter(|c| *c != '\\').map_or(String::new(), |c| format!(" escape {c}"));
                format!("({} {name} {}{escape})", self.expr(operand), self.expr(pattern))
            }
            Expr::InList { operand, list } => format!("({} in {})", self.expr(operand), self.list(list, scalar)),
            Expr::Function(function, arguments, _) => format!("{function:?}({})", all(arguments, ", ")),
            Expr::Subquery(subquery) => {
                let head = match &subquery.kind {
                    SubqueryKind::Scalar => "scalar".to_owned(),
                    SubqueryKind::Exists => "exists".to_owned(),
                    SubqueryKind::Any { operands, comparison } => format!("({}) {comparison:?} any", all(operands, " ")),
                };
                let mut plan = String::new();
                self.plan(&subquery.plan, 0, &mut plan);
                format!("{head}{{{}}}", plan.trim_end().replace('\n', "; "))
            }
        }
    }
}

fn kind(kind: JoinKind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Null(data_type) => format!("null:{data_type}"),
        Scalar::Boolean(v) => v.to_string(),
        Scalar::Int16(v) => v.to_string(),
        Scalar::Int32(v) => v.to_string(),
        Scalar::Int64(v) => format!("{v}L"),
        Scalar::Float32(v) => format!("{v}f"),
        Scalar::Float64(v) => format!("{v}d"),
        Scalar::Decimal(v, _, scale) => format!("{v}e-{scale}"),
        Scalar::Utf8(v) => format!("'{v}'"),
        Scalar::Date32(v) => format!("day {v}"),
        Scalar::Timestamp(v) => format!("ts {v}"),
        Scalar::Interval { months, days, nanoseconds } => format!("{months} mon {days} d {nanoseconds} ns"),
        other => format!("{other:?}"),
    }
}
