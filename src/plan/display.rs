//! The text of plans, as EXPLAIN and plan tests show it: a tree, a node a line, inputs indented below it.
//!
//! Columns are shown by name. Where several columns of a query share a name, those after the first (in the
//! order of the text) get a number: `n_name`, `n_name.2`. Identities do not show, so the text stays the same
//! when a rule makes more or fewer columns than before.

use std::{
    collections::HashMap,
    fmt::{self, Write},
};

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Arithmetic, Comparison},
    set_operation::SetOperator,
    types,
};

use super::logical::*;

/// The text of a whole query.
pub fn query(query: &Query) -> String {
    let mut text = PlanText::new(&query.columns);
    for cte in &query.ctes {
        text.name_columns(&cte.plan);
    }
    text.name_columns(&query.root);
    for cte in &query.ctes {
        let output: Vec<String> = cte.output.iter().map(|id| text.column(*id)).collect();
        let _ = writeln!(text.out, "With {} ({})", cte.name, output.join(", "));
        text.node(&cte.plan, 1);
    }
    let output: Vec<String> = query
        .output
        .iter()
        .map(|o| match text.column(o.column) {
            column if column == o.name => column,
            column => format!("{column} as {}", o.name),
        })
        .collect();
    let _ = writeln!(text.out, "Output {}", output.join(", "));
    text.node(&query.root, 1);
    text.out
}

/// The text of a plan alone.
pub fn plan(plan: &LogicalPlan, columns: &Columns) -> String {
    let mut text = PlanText::new(columns);
    text.name_columns(plan);
    text.node(plan, 0);
    text.out
}

/// The text of an expression alone; columns that share a name are not told apart.
pub fn expression(expr: &Expr, columns: &Columns) -> String {
    PlanText::new(columns).expr(expr)
}

struct PlanText<'a> {
    columns: &'a Columns,
    names: HashMap<ColumnId, String>,
    used: HashMap<String, usize>,
    out: String,
}

impl<'a> PlanText<'a> {
    fn new(columns: &'a Columns) -> Self {
        PlanText { columns, names: HashMap::new(), used: HashMap::new(), out: String::new() }
    }

    /// Leaves first, so that the columns of tables get the plain names.
    fn name_columns(&mut self, plan: &LogicalPlan) {
        for input in plan.inputs() {
            self.name_columns(input);
        }
        let introduced: Vec<ColumnId> = match plan {
            LogicalPlan::TableScan(scan) => scan.columns.iter().map(|(id, _)| *id).collect(),
            _ => plan.output(),
        };
        introduced.into_iter().for_each(|id| self.name_column(id));
        plan.for_each_expr(|expr| self.name_columns_of_subqueries(expr));
    }

    fn name_columns_of_subqueries(&mut self, expr: &Expr) {
        if let Expr::Subquery(subquery) = expr {
            self.name_columns(&subquery.plan);
        }
        expr.for_each_child(|child| self.name_columns_of_subqueries(child));
    }

    fn name_column(&mut self, id: ColumnId) {
        if self.names.contains_key(&id) {
            return;
        }
        let name = &self.columns.get(id).name;
        let uses = self.used.entry(name.clone()).or_default();
        *uses += 1;
        let text = if *uses == 1 { name.clone() } else { format!("{name}.{uses}") };
        self.names.insert(id, text);
    }

    fn column(&self, id: ColumnId) -> String {
        match self.names.get(&id) {
            Some(name) => name.clone(),
            None => self.columns.get(id).name.clone(),
        }
    }

    fn list(&self, ids: impl IntoIterator<Item = ColumnId>) -> String {
        ids.into_iter().map(|id| self.column(id)).collect::<Vec<_>>().join(", ")
    }

    fn node(&mut self, plan: &LogicalPlan, depth: usize) {
        let line = self.line(plan);
        let _ = writeln!(self.out, "{}{}", "  ".repeat(depth), line.trim_end());
        let mut subqueries = vec![];
        plan.for_each_expr(|expr| collect_subqueries(expr, &mut subqueries));
        for subquery in subqueries {
            let _ = writeln!(self.out, "{}  Subquery ({})", "  ".repeat(depth), self.list(subquery.output.clone()));
            self.node(&subquery.plan, depth + 2);
        }
        for input in plan.inputs() {
            self.node(input, depth + 1);
        }
    }

    fn line(&self, plan: &LogicalPlan) -> String {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::CteScan(scan) => format!("CteScan {} [{}]", scan.cte.0, self.list(scan.columns.iter().map(|(id, _)| *id))),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::Filter { predicate, .. } => format!("Filter {}", self.exprs(predicate, " and ")),
            LogicalPlan::Project { expressions, .. } => format!("Project [{}]", self.named(expressions)),
            LogicalPlan::Join(join) => self.join(join, ""),
            LogicalPlan::Apply(join) => self.join(join, "Apply"),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Sort { keys, .. } => {
                let keys: Vec<String> = keys.iter().map(|key| self.sort_key(key)).collect();
                format!("Sort {}", keys.join(", "))
            }
            LogicalPlan::Limit { limit, offset, .. } => {
                let limit = limit.map_or("all".to_owned(), |n| n.to_string());
                if *offset == 0 { format!("Limit {limit}") } else { format!("Limit {limit} offset {offset}") }
            }
            LogicalPlan::UnionAll { output, .. } => format!("UnionAll [{}]", self.list(output.iter().map(|(id, _)| *id))),
            LogicalPlan::SetOperation { operator, output, .. } => {
                let name = match operator {
                    SetOperator::Intersect => "Intersect",
                    SetOperator::IntersectAll => "IntersectAll",
                    SetOperator::Except => "Except",
                    SetOperator::ExceptAll => "ExceptAll",
                };
                format!("{name} [{}]", self.list(output.iter().map(|(id, ..)| *id)))
            }
        }
    }

    fn scan(&self, scan: &TableScan) -> String {
        let mut line = format!("Scan {}", scan.table.table);
        if scan.alias != scan.table.table {
            let _ = write!(line, " {}", scan.alias);
        }
        let output: Vec<ColumnId> = scan.output.clone().unwrap_or_else(|| scan.columns.iter().map(|(id, _)| *id).collect());
        let _ = write!(line, " [{}]", self.list(output));
        if !scan.filters.is_empty() {
            let _ = write!(line, " where {}", self.exprs(&scan.filters, " and "));
        }
        line
    }

    fn values(&self, values: &Values) -> String {
        let row = |row: &Vec<Scalar>| format!("({})", row.iter().map(scalar).collect::<Vec<_>>().join(", "));
        let rows: Vec<String> = values.rows.iter().map(row).collect();
        format!("Values [{}] {}", self.list(values.columns.clone()), if rows.is_empty() { "none".into() } else { rows.join(", ") })
    }

    fn join(&self, join: &Join, prefix: &str) -> String {
        let kind = match join.kind {
            JoinKind::Inner if join.condition.is_empty() => "Cross".to_owned(),
            JoinKind::Mark(mark) => format!("Mark {}", self.column(mark)),
            kind => format!("{kind:?}"),
        };
        let name = if prefix.is_empty() { "Join" } else { prefix };
        let on = if join.condition.is_empty() { String::new() } else { format!(" on {}", self.exprs(&join.condition, " and ")) };
        format!("{name} {kind}{on}")
    }

    fn aggregate(&self, aggregate: &Aggregate) -> String {
        let calls: Vec<String> = aggregate
            .aggregates
            .iter()
            .map(|(id, call)| match (self.column(*id), self.call(call)) {
                (name, call) if name == call => call,
                (name, call) => format!("{name} := {call}"),
            })
            .collect();
        let keys = if aggregate.keys.is_empty() { String::new() } else { format!(" by {}", self.named(&aggregate.keys)) };
        format!("Aggregate [{}]{keys}", calls.join(", "))
    }

    fn call(&self, call: &AggregateExpr) -> String {
        let name = match call.function {
            AggregateFunction::CountStar => return format!("count(*){}", self.aggregate_filter(call)),
            AggregateFunction::Average => "avg".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let distinct = if call.distinct { "distinct " } else { "" };
        format!("{name}({distinct}{}){}", self.exprs(&call.arguments, ", "), self.aggregate_filter(call))
    }

    fn aggregate_filter(&self, call: &AggregateExpr) -> String {
        call.filter.as_ref().map_or(String::new(), |filter| format!(" filter {}", self.expr(filter)))
    }

    fn sort_key(&self, key: &SortKey) -> String {
        let direction = if key.descending { " desc" } else { "" };
        // PostgreSQL's default: NULLs count as larger than any value.
        let nulls = match (key.descending, key.nulls_first) {
            (false, true) => " nulls first",
            (true, false) => " nulls last",
            _ => "",
        };
        format!("{}{direction}{nulls}", self.expr(&key.expr))
    }

    fn named(&self, expressions: &[(ColumnId, Expr)]) -> String {
        let one = |(id, expr): &(ColumnId, Expr)| match (self.column(*id), self.expr(expr)) {
            (name, text) if name == text => name,
            (name, text) => format!("{name} := {text}"),
        };
        expressions.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn exprs(&self, exprs: &[Expr], separator: &str) -> String {
        exprs.iter().map(|e| self.expr(e)).collect::<Vec<_>>().join(separator)
    }

    fn expr(&self, expr: &Expr) -> String {
        match expr {
            Expr::Column(id) => self.column(*id),
            Expr::Literal(value) => scalar(value),
            Expr::Compare(operator, left, right) => {
                let symbol = match operator {
                    Comparison::Equal => "=",
                    Comparison::NotEqual => "<>",
                    Comparison::Less => "<",
                    Comparison::LessOrEqual => "<=",
                    Comparison::Greater => ">",
                    Comparison::GreaterOrEqual => ">=",
                    Comparison::Distinct => "is distinct from",
                    Comparison::NotDistinct => "is not distinct from",
                };
                format!("({} {symbol} {})", self.expr(left), self.expr(right))
            }
            Expr::And(operands) => format!("({})", self.exprs(operands, " and ")),
            Expr::Or(operands) => format!("({})", self.exprs(operands, " or ")),
            Expr::Not(operand) => match &**operand {
                Expr::IsNull(operand) => format!("({} is not null)", self.expr(operand)),
                operand => format!("not {}", self.expr(operand)),
            },
            Expr::IsNull(operand) => format!("({} is null)", self.expr(operand)),
            Expr::Arithmetic(operator, left, right, _) => {
                let symbol = match operator {
                    Arithmetic::Add => "+",
                    Arithmetic::Subtract => "-",
                    Arithmetic::Multiply => "*",
                    Arithmetic::Divide => "/",
                    Arithmetic::Modulo => "%",
                };
                format!("({} {symbol} {})", self.expr(left), self.expr(right))
            }
            Expr::Negate(operand) => format!("-{}", self.expr(operand)),
            Expr::Cast(operand, data_type) => format!("cast({} as {})", self.expr(operand), type_name(data_type)),
            Expr::Case { branches, otherwise, .. } => {
                let mut text = String::from("case");
                for (condition, value) in branches {
                    let _ = write!(text, " when {} then {}", self.expr(condition), self.expr(value));
                }
                if let Some(value) = otherwise {
                    let _ = write!(text, " else {}", self.expr(value));
                }
                text + " end"
            }
            Expr::Like { operand, pattern, case_insensitive, .. } => {
                let name = if *case_insensitive { "ilike" } else { "like" };
                format!("({} {name} {})", self.expr(operand), self.expr(pattern))
            }
            Expr::InList { operand, list } => {
                format!("({} in ({}))", self.expr(operand), list.iter().map(scalar).collect::<Vec<_>>().join(", "))
            }
            Expr::Function(function, arguments, _) => {
                format!("{}({})", format!("{function:?}").to_lowercase(), self.exprs(arguments, ", "))
            }
            Expr::Subquery(subquery) => match &subquery.kind {
                SubqueryKind::Scalar => "subquery".to_owned(),
                SubqueryKind::Exists => "exists subquery".to_owned(),
                SubqueryKind::Any { operands, comparison } => format!("({}) {comparison:?} any subquery", self.exprs(operands, ", ")),
            },
        }
    }
}

fn collect_subqueries<'a>(expr: &'a Expr, into: &mut Vec<&'a Subquery>) {
    if let Expr::Subquery(subquery) = expr {
        into.push(subquery);
    }
    expr.for_each_child(|child| collect_subqueries(child, into));
}

fn type_name(data_type: &DataType) -> String {
    match types::decimal_digits(data_type) {
        Some((precision, scale)) => format!("numeric({precision}, {scale})"),
        None => types::sql_name(data_type).to_owned(),
    }
}

/// A value as a SQL literal would show it, without its type.
pub fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Null(_) => "null".to_owned(),
        Scalar::Boolean(v) => v.to_string(),
        Scalar::Int16(v) => v.to_string(),
        Scalar::Int32(v) => v.to_string(),
        Scalar::Int64(v) => v.to_string(),
        Scalar::Float32(v) => v.to_string(),
        Scalar::Float64(v) => v.to_string(),
        Scalar::Decimal(unscaled, _, scale) => Decimal(*unscaled, *scale).to_string(),
        Scalar::Utf8(v) => format!("'{}'", v.replace('\'', "''")),
        Scalar::Binary(v) => format!("'\\x{}'", v.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        Scalar::Date32(days) => match arrow::temporal_conversions::date32_to_datetime(*days) {
            Some(date) => format!("date {}", date.format("%Y-%m-%d")),
            None => format!("date {days}"),
        },
        Scalar::Timestamp(us) | Scalar::TimestampTz(us) => match arrow::temporal_conversions::timestamp_us_to_datetime(*us) {
            Some(instant) => format!("timestamp {}", instant.format("%Y-%m-%d %H:%M:%S%.f")),
            None => format!("timestamp {us}"),
        },
        Scalar::Time(us) => format!("time {us} us"),
        Scalar::Interval { months, days, nanoseconds } => format!("interval {months} months {days} days {nanoseconds} ns"),
    }
}

/// An unscaled value and its scale.
struct Decimal(i128, i8);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decimal(unscaled, scale) = *self;
        if scale <= 0 {
            return write!(f, "{unscaled}{}", "0".repeat(usize::from(scale.unsigned_abs())));
        }
        let sign = if unscaled < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        write!(f, "{sign}{whole}.{fraction}")
    }
}
