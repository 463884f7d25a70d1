//! Subqueries in expressions: scalar, EXISTS, IN, ANY, ALL.

use arrow::datatypes::DataType;
use operators::{expression::Comparison, types};
use sqlparser::ast::{self, BinaryOperator, Expr as Ast};

use super::{
    Binder,
    comparison::{negated, row_fields, symbol},
    conversion::Typed,
    operator,
    query::Relational,
    scope::Environment,
};
use crate::{
    error::{Error, Result},
    plan::logical::{Expr, Subquery, SubqueryKind},
    sql::coercion,
};

impl<'a> Binder<'a> {
    /// `(SELECT …)` as a value.
    pub fn bind_scalar_subquery(&mut self, query: &'a ast::Query, environment: &Environment<'_>) -> Result<Typed> {
        let relational = self.bind_query(query, Some(environment))?;
        if relational.output.len() != 1 {
            return Err(Error::syntax("subquery must return only one column"));
        }
        self.settle(&relational.output);
        let id = relational.output[0].id;
        let data_type = self.columns.get(id).data_type.clone();
        Ok(Typed::new(subquery(SubqueryKind::Scalar, relational), data_type))
    }

    /// `[NOT] EXISTS (SELECT …)`
    pub fn bind_exists(&mut self, query: &'a ast::Query, is_negated: bool, environment: &Environment<'_>) -> Result<Typed> {
        let relational = self.bind_query(query, Some(environment))?;
        self.settle(&relational.output);
        let exists = subquery(SubqueryKind::Exists, relational);
        Ok(Typed::boolean(if is_negated { Expr::Not(Box::new(exists)) } else { exists }))
    }

    /// `operand [NOT] IN (SELECT …)`
    pub fn bind_in_subquery(
        &mut self,
        operand: &'a Ast,
        query: &'a ast::Query,
        is_negated: bool,
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        let any = self.any(Comparison::Equal, operand, query, environment)?;
        Ok(Typed::boolean(if is_negated { Expr::Not(Box::new(any)) } else { any }))
    }

    /// `left op ANY (…)`, `left op ALL (…)`: of a subquery, or of an array that is written out.
    pub fn bind_quantified(
        &mut self,
        left: &'a Ast,
        op: &BinaryOperator,
        right: &'a Ast,
        is_all: bool,
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        let Some(comparison) = operator::comparison(op) else {
            return Err(Error::unsupported(format!("the operator {op} with ANY or ALL")));
        };
        // x op ALL (q) is false exactly where x does not-op some row.
        let asked = if is_all { negated(comparison) } else { comparison };
        let any = match right {
            Ast::Subquery(query) => self.any(asked, left, query, environment)?,
            Ast::Nested(inner) if matches!(**inner, Ast::Subquery(_)) => match &**inner {
                Ast::Subquery(query) => self.any(asked, left, query, environment)?,
                _ => return Err(Error::internal("a subquery that is none")),
            },
            Ast::Array(ast::Array { elem, named: _ }) if !elem.is_empty() => self.any_of_array(asked, left, elem, environment)?,
            _ => return Err(Error::unsupported("ANY or ALL of anything but a subquery or ARRAY[…]")),
        };
        Ok(Typed::boolean(if is_all { Expr::Not(Box::new(any)) } else { any }))
    }

    fn any_of_array(&mut self, comparison: Comparison, left: &'a Ast, elements: &'a [Ast], environment: &Environment<'_>) -> Result<Expr> {
        let operand = self.bind_expr(left, environment)?;
        let items = elements.iter().map(|element| self.bind_expr(element, environment)).collect::<Result<Vec<_>>>()?;
        if comparison == Comparison::Equal {
            return self.in_list(left, operand, items, environment);
        }
        let mut alternatives = vec![];
        for (at, item) in items.into_iter().enumerate() {
            let operand = if at == 0 { operand.clone() } else { self.again(left, &operand, environment)? };
            alternatives.push(self.compare(comparison, operand, item)?);
        }
        Ok(super::expression::or(alternatives))
    }

    fn any(&mut self, comparison: Comparison, left: &'a Ast, query: &'a ast::Query, environment: &Environment<'_>) -> Result<Expr> {
        let fields = row_fields(left).unwrap_or(std::slice::from_ref(left));
        let operands = fields.iter().map(|field| self.bind_expr(field, environment)).collect::<Result<Vec<_>>>()?;
        let relational = self.bind_query(query, Some(environment))?;
        if relational.output.len() != operands.len() {
            let amount = if relational.output.len() > operands.len() { "many" } else { "few" };
            return Err(Error::syntax(format!("subquery has too {amount} columns")));
        }
        if operands.len() > 1 && comparison != Comparison::Equal {
            return Err(Error::unsupported("comparing a row with a subquery by anything but = ANY, <> ALL or IN"));
        }
        let mut column_types = vec![];
        let mut operand_types = vec![];
        for (operand, output) in operands.iter().zip(&relational.output) {
            let column = self.output_value(output);
            let (operand_type, column_type) = self.any_types(operand, &column, comparison)?;
            operand_types.push(operand_type);
            column_types.push(column_type);
        }
        let (plan, output) = self.cast_outputs(relational, &column_types)?;
        let operands = operands.into_iter().zip(&operand_types).map(|(operand, to)| self.coerce(operand, to)).collect::<Result<_>>()?;
        Ok(Expr::Subquery(Box::new(Subquery { kind: SubqueryKind::Any { operands, comparison }, plan, output })))
    }

    /// The types an operand and the subquery's column are compared in: the same, but for the digits of decimals.
    fn any_types(&self, operand: &Typed, column: &Typed, comparison: Comparison) -> Result<(DataType, DataType)> {
        let common = match (operand.is_unknown(), column.is_unknown()) {
            (true, true) => DataType::Utf8View,
            _ => coercion::common_type(&operand.data_type, &column.data_type)
                .ok_or_else(|| operator::no_operator(symbol(comparison), operand, column))?,
        };
        let Some((_, scale)) = types::decimal_digits(&common) else { return Ok((common.clone(), common)) };
        let keep = |side: &Typed| match types::decimal_digits(&side.data_type) {
            Some((_, own)) if own == scale => side.data_type.clone(),
            _ => common.clone(),
        };
        Ok((keep(operand), keep(column)))
    }
}

fn subquery(kind: SubqueryKind, relational: Relational) -> Expr {
    let output = relational.output.iter().map(|o| o.id).collect();
    Expr::Subquery(Box::new(Subquery { kind, plan: relational.plan, output }))
}
