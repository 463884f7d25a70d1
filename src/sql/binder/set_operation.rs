//! UNION, INTERSECT, EXCEPT and VALUES: rows of several origins under common types.

use arrow::datatypes::DataType;
use operators::{Scalar, set_operation::SetOperator};
use sqlparser::ast::{self, Spanned};

use super::{
    Binder,
    conversion::{Typed, no_common_type},
    query::{Output, Relational, one_row},
    scope::{Clause, Environment, Scope},
};
use crate::{
    error::{Error, Result},
    plan::logical::{Aggregate, ColumnId, Expr, LogicalPlan, Values},
    sql::coercion,
};

impl<'a> Binder<'a> {
    /// Binds a chain of the same set operation, or one EXCEPT.
    pub fn bind_set_operation(
        &mut self,
        body: &'a ast::SetExpr,
        operator: ast::SetOperator,
        quantifier: ast::SetQuantifier,
        parent: Option<&Environment<'_>>,
    ) -> Result<Relational> {
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
            other => return Err(Error::unsupported(format!("{operator} {other}")).at(self.position(body.span()))),
        };
        let name = operator.to_string();
        let branches = match operator {
            ast::SetOperator::Union => chain(body, operator, quantifier),
            ast::SetOperator::Intersect | ast::SetOperator::Except => pair(body),
            ast::SetOperator::Minus => return Err(Error::unsupported("MINUS").at(self.position(body.span()))),
        };
        let mut inputs = vec![];
        for branch in branches {
            let relational = self.deeper(|binder| binder.bind_body(branch, parent))?;
            inputs.push((relational, self.position(branch.span())));
        }
        let (inputs, names, types) = self.unify_inputs(inputs, &name)?;
        let columns = self.combined_columns(&names, &types, &inputs);
        let plan = match operator {
            ast::SetOperator::Union => {
                let output = columns.iter().enumerate().map(|(at, id)| (*id, inputs.iter().map(|i| i.1[at]).collect())).collect();
                let plan = LogicalPlan::UnionAll { inputs: inputs.into_iter().map(|i| i.0).collect(), output };
                if all { plan } else { distinct(plan, &columns) }
            }
            _ => set_operation(operator, all, inputs, &columns)?,
        };
        let output = names.into_iter().zip(columns).map(|(name, id)| Output { name, id, unknown: None }).collect();
        Ok(Relational { plan, output })
    }

    /// Plans whose columns, by position, have the same types; and the first input's names.
    #[allow(clippy::type_complexity)]
    fn unify_inputs(
        &mut self,
        inputs: Vec<(Relational, Option<usize>)>,
        operation: &str,
    ) -> Result<(Vec<(LogicalPlan, Vec<ColumnId>)>, Vec<String>, Vec<DataType>)> {
        let names: Vec<String> = inputs[0].0.output.iter().map(|o| o.name.clone()).collect();
        if let Some((_, position)) = inputs.iter().find(|(input, _)| input.output.len() != names.len()) {
            return Err(Error::syntax(format!("each {operation} query must have the same number of columns")).at(*position));
        }
        let mut types = vec![];
        for at in 0..names.len() {
            let mut common = DataType::Null;
            for (input, position) in &inputs {
                let data_type = self.output_value(&input.output[at]).data_type;
                common = coercion::common_type(&common, &data_type)
                    .ok_or_else(|| no_common_type(operation, &common, &data_type).at(*position))?;
            }
            types.push(if common == DataType::Null { DataType::Utf8View } else { common });
        }
        let mut unified = vec![];
        for (input, position) in inputs {
            unified.push(self.cast_outputs(input, &types).map_err(|e| e.at(position))?);
        }
        Ok((unified, names, types))
    }

    /// An output column with its type.
    pub fn output_value(&self, output: &Output) -> Typed {
        output.typed(&self.columns.get(output.id).data_type)
    }

    /// The plan with a projection above it that gives its output columns other types, where they differ.
    pub fn cast_outputs(&mut self, input: Relational, types: &[DataType]) -> Result<(LogicalPlan, Vec<ColumnId>)> {
        let fits = |binder: &Self, output: &Output, to: &DataType| binder.columns.get(output.id).data_type == *to;
        if input.output.iter().zip(types).all(|(output, to)| fits(self, output, to)) {
            self.settle(&input.output);
            return Ok((input.plan, input.output.iter().map(|o| o.id).collect()));
        }
        let mut expressions: Vec<(ColumnId, Expr)> = vec![];
        let mut ids = vec![];
        for (output, to) in input.output.iter().zip(types) {
            let typed = self.output_value(output);
            let id = if typed.data_type == *to { output.id } else { self.columns.add(output.name.clone(), to.clone(), true) };
            let expr = self.coerce(typed, to)?;
            if id != output.id {
                self.columns.get_mut(id).nullable = self.is_nullable(&expr);
            }
            if !ids.contains(&id) {
                expressions.push((id, expr));
            }
            ids.push(id);
        }
        Ok((LogicalPlan::Project { input: Box::new(input.plan), expressions }, ids))
    }

    /// New columns for the rows of several inputs.
    fn combined_columns(&mut self, names: &[String], types: &[DataType], inputs: &[(LogicalPlan, Vec<ColumnId>)]) -> Vec<ColumnId> {
        let columns = names.iter().zip(types).enumerate().map(|(at, (name, data_type))| {
            let nullable = inputs.iter().any(|(_, ids)| self.is_nullable(&Expr::Column(ids[at])));
            self.columns.add(name.clone(), data_type.clone(), nullable)
        });
        columns.collect()
    }

    /// VALUES: one plan node if all values are constants, else a projection per row.
    pub fn bind_values(&mut self, values: &'a ast::Values, parent: Option<&Environment<'_>>) -> Result<Relational> {
        let ast::Values { explicit_row, value_keyword, rows } = values;
        let position = rows.first().and_then(|row| self.position(row.span()));
        if *explicit_row || *value_keyword {
            return Err(Error::unsupported("VALUES with ROW, or VALUE").at(position));
        }
        let scope = Scope::default();
        let environment = Environment { scope: &scope, parent, clause: Clause::Values, collector: None };
        let width = rows.first().map_or(0, |row| row.content.len());
        let mut by_column: Vec<Vec<Typed>> = vec![Vec::with_capacity(rows.len()); width];
        for row in rows {
            if row.content.len() != width {
                return Err(Error::syntax("VALUES lists must all be the same length").at(self.position(row.span())));
            }
            for (expr, column) in row.content.iter().zip(&mut by_column) {
                column.push(self.bind_expr(expr, &environment)?);
            }
        }
        let mut columns = vec![];
        let mut output = vec![];
        let mut expressions: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); rows.len()];
        for (at, column) in by_column.into_iter().enumerate() {
            let unknown = (column.len() == 1 && column[0].is_unknown()).then(|| column[0].clone());
            let (values, data_type) = match &unknown {
                // A single row is like a select list: whoever reads it may still give it a type.
                Some(value) => (vec![unsettled_text(value)], DataType::Utf8View),
                None => self.unify(column, "VALUES").map_err(|e| e.at(position))?,
            };
            let name = format!("column{}", at + 1);
            let nullable = values.iter().any(|value| self.is_nullable(value));
            let id = self.columns.add(name.clone(), data_type, nullable);
            columns.push(id);
            output.push(Output { name, id, unknown });
            expressions.iter_mut().zip(values).for_each(|(row, value)| row.push(value));
        }
        Ok(Relational { plan: self.values_plan(columns, expressions), output })
    }

    fn values_plan(&mut self, columns: Vec<ColumnId>, rows: Vec<Vec<Expr>>) -> LogicalPlan {
        let constants: Option<Vec<Vec<Scalar>>> = rows.iter().map(|row| row.iter().map(constant).collect()).collect();
        if let Some(rows) = constants {
            return LogicalPlan::Values(Values { columns, rows });
        }
        if let [row] = rows.as_slice() {
            let expressions = columns.into_iter().zip(row.clone()).collect();
            return LogicalPlan::Project { input: Box::new(one_row()), expressions };
        }
        let mut sources: Vec<Vec<ColumnId>> = vec![vec![]; columns.len()];
        let mut inputs = vec![];
        for row in rows {
            let mut expressions = vec![];
            for ((column, value), sources) in columns.iter().zip(row).zip(&mut sources) {
                let id = self.columns.duplicate(*column);
                sources.push(id);
                expressions.push((id, value));
            }
            inputs.push(LogicalPlan::Project { input: Box::new(one_row()), expressions });
        }
        LogicalPlan::UnionAll { inputs, output: columns.into_iter().zip(sources).collect() }
    }
}

/// A value of unknown type as text, without deciding the type of a parameter.
pub fn unsettled_text(value: &Typed) -> Expr {
    match &value.expr {
        Expr::Literal(Scalar::Utf8(text)) => Expr::Literal(Scalar::Utf8(text.clone())),
        _ => Expr::Literal(Scalar::Null(DataType::Utf8View)),
    }
}

/// Rows without duplicates.
pub fn distinct(plan: LogicalPlan, columns: &[ColumnId]) -> LogicalPlan {
    let mut keys: Vec<(ColumnId, Expr)> = vec![];
    for id in columns {
        if !keys.iter().any(|(key, _)| key == id) {
            keys.push((*id, Expr::Column(*id)));
        }
    }
    LogicalPlan::Aggregate(Aggregate { input: Box::new(plan), keys, aggregates: vec![] })
}

fn constant(expr: &Expr) -> Option<Scalar> {
    match expr {
        Expr::Literal(scalar) => Some(scalar.clone()),
        _ => None,
    }
}

fn set_operation(
    operator: ast::SetOperator,
    all: bool,
    inputs: Vec<(LogicalPlan, Vec<ColumnId>)>,
    columns: &[ColumnId],
) -> Result<LogicalPlan> {
    let operator = match (operator, all) {
        (ast::SetOperator::Intersect, false) => SetOperator::Intersect,
        (ast::SetOperator::Intersect, true) => SetOperator::IntersectAll,
        (_, false) => SetOperator::Except,
        (_, true) => SetOperator::ExceptAll,
    };
    let Ok([(left, left_ids), (right, right_ids)]) = <[_; 2]>::try_from(inputs) else {
        return Err(Error::internal("a set operation without two inputs"));
    };
    let output = columns.iter().zip(left_ids).zip(right_ids).map(|((id, l), r)| (*id, l, r)).collect();
    Ok(LogicalPlan::SetOperation { operator, left: Box::new(left), right: Box::new(right), output })
}

/// The branches of a chain of the same operation, in order.
fn chain(body: &ast::SetExpr, operator: ast::SetOperator, quantifier: ast::SetQuantifier) -> Vec<&ast::SetExpr> {
    let mut pending = vec![body];
    let mut branches = vec![];
    while let Some(next) = pending.pop() {
        match next {
            ast::SetExpr::SetOperation { left, op, set_quantifier, right } if *op == operator && *set_quantifier == quantifier => {
                pending.push(right);
                pending.push(left);
            }
            branch => branches.push(branch),
        }
    }
    branches
}

fn pair(body: &ast::SetExpr) -> Vec<&ast::SetExpr> {
    match body {
        ast::SetExpr::SetOperation { left, right, .. } => vec![left, right],
        other => vec![other],
    }
}
