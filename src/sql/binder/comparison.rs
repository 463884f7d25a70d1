//! Comparisons: of two values, of rows, with a list.

use arrow::datatypes::DataType;
use operators::{Scalar, expression::Comparison, types};
use sqlparser::ast::Expr as Ast;

use super::{
    Binder,
    conversion::Typed,
    expression::{and, or},
    operator::no_operator,
    scope::Environment,
};
use crate::{
    error::{Error, Result},
    plan::logical::Expr,
    sql::coercion::{self, DAY_US, as_decimal, is_integer},
};

impl<'a> Binder<'a> {
    /// `left comparison right`, of values or rows.
    pub fn bind_comparison(
        &mut self,
        comparison: Comparison,
        left: &'a Ast,
        right: &'a Ast,
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        if let (Some(left), Some(right)) = (row_fields(left), row_fields(right)) {
            return self.bind_row_comparison(comparison, left, right, environment);
        }
        if row_fields(left).or(row_fields(right)).is_some() {
            return Err(Error::unsupported("comparing a row with anything but a row"));
        }
        let left = self.bind_expr(left, environment)?;
        let right = self.bind_expr(right, environment)?;
        self.compare(comparison, left, right).map(Typed::boolean)
    }

    fn bind_row_comparison(
        &mut self,
        comparison: Comparison,
        left: &'a [Ast],
        right: &'a [Ast],
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        if left.len() != right.len() {
            return Err(Error::syntax("unequal number of entries in row expressions"));
        }
        let (strict, last) = match comparison {
            Comparison::Equal | Comparison::NotDistinct => {
                let fields = self.bind_field_comparisons(comparison, left, right, environment)?;
                return Ok(Typed::boolean(and(fields)));
            }
            Comparison::NotEqual | Comparison::Distinct => {
                let fields = self.bind_field_comparisons(comparison, left, right, environment)?;
                return Ok(Typed::boolean(or(fields)));
            }
            Comparison::Less => (Comparison::Less, Comparison::Less),
            Comparison::LessOrEqual => (Comparison::Less, Comparison::LessOrEqual),
            Comparison::Greater => (Comparison::Greater, Comparison::Greater),
            Comparison::GreaterOrEqual => (Comparison::Greater, Comparison::GreaterOrEqual),
        };
        // (a, b) < (c, d): a < c OR a = c AND b < d, from the last field backwards. Each field is bound twice.
        self.count_copies(left.len())?;
        let mut result: Option<Expr> = None;
        for (l, r) in left.iter().zip(right).rev() {
            let this = if result.is_none() { last } else { strict };
            let before = self.bind_comparison(this, l, r, environment)?.expr;
            result = Some(match result {
                None => before,
                Some(rest) => {
                    let equal = self.bind_comparison(Comparison::Equal, l, r, environment)?.expr;
                    or(vec![before, and(vec![equal, rest])])
                }
            });
        }
        result.map(Typed::boolean).ok_or_else(|| Error::syntax("cannot compare rows of zero length"))
    }

    fn bind_field_comparisons(
        &mut self,
        comparison: Comparison,
        left: &'a [Ast],
        right: &'a [Ast],
        environment: &Environment<'_>,
    ) -> Result<Vec<Expr>> {
        if left.is_empty() {
            return Err(Error::syntax("cannot compare rows of zero length"));
        }
        left.iter().zip(right).map(|(l, r)| Ok(self.bind_comparison(comparison, l, r, environment)?.expr)).collect()
    }

    /// `left comparison right` of two values, brought to one type.
    ///
    /// # Errors
    /// 42883 if the types do not compare.
    pub fn compare(&mut self, comparison: Comparison, left: Typed, right: Typed) -> Result<Expr> {
        let (left, right) = self.comparable(left, right, symbol(comparison))?;
        Ok(Expr::Compare(comparison, Box::new(left), Box::new(right)))
    }

    /// Two values as operands of the same type (decimals: of the same scale).
    ///
    /// # Errors
    /// 42883 if the types do not compare.
    pub fn comparable(&mut self, left: Typed, right: Typed, name: &str) -> Result<(Expr, Expr)> {
        let wanted = match (left.is_unknown(), right.is_unknown()) {
            (true, true) => DataType::Utf8View,
            (true, false) => right.data_type.clone(),
            _ => left.data_type.clone(),
        };
        let left = self.give_type(left, &wanted)?;
        let right = self.give_type(right, &wanted)?;
        if left.data_type == right.data_type {
            return Ok((left.expr, right.expr));
        }
        // A constant that has exactly that value in the other side's type spares a cast of every row.
        if let Some(constant) = self.constant_for(&right, &left) {
            return Ok((left.expr, Expr::Literal(constant)));
        }
        if let Some(constant) = self.constant_for(&left, &right) {
            return Ok((Expr::Literal(constant), right.expr));
        }
        let common = coercion::common_type(&left.data_type, &right.data_type).ok_or_else(|| no_operator(name, &left, &right))?;
        if let Some((_, scale)) = types::decimal_digits(&common) {
            return Ok((self.at_scale(left, scale)?, self.at_scale(right, scale)?));
        }
        Ok((self.coerce(left, &common)?, self.coerce(right, &common)?))
    }

    /// `constant` in the type of `other`, if that changes no comparison with it.
    fn constant_for(&self, constant: &Typed, other: &Typed) -> Option<Scalar> {
        let scalar = constant.constant().filter(|scalar| !scalar.is_null() && other.constant().is_none())?;
        let to = &other.data_type;
        if let Some((_, scale)) = types::decimal_digits(to) {
            let (value, own_scale) = coercion::exact_value(scalar)?;
            let unscaled = coercion::rescale(value, own_scale, scale)?;
            return Some(coercion::decimal_scalar(unscaled, scale)).filter(|s| matches!(s, Scalar::Decimal(_, p, _) if *p <= 38));
        }
        match (scalar, to) {
            (Scalar::Int16(_) | Scalar::Int32(_) | Scalar::Int64(_) | Scalar::Decimal(..), to) if is_integer(to) => {
                coercion::convert_scalar(scalar, to)
            }
            (Scalar::Int16(_) | Scalar::Int32(_) | Scalar::Int64(_) | Scalar::Decimal(..), DataType::Float64) => {
                coercion::convert_scalar(scalar, to)
            }
            (Scalar::Timestamp(us) | Scalar::TimestampTz(us), DataType::Date32) if us.rem_euclid(DAY_US) == 0 => {
                coercion::convert_scalar(scalar, to)
            }
            (Scalar::Date32(_), DataType::Timestamp(..)) => coercion::convert_scalar(scalar, to),
            _ => None,
        }
    }

    /// An exact number at a scale that is not below its own; its digits before the point stay.
    fn at_scale(&mut self, typed: Typed, scale: i8) -> Result<Expr> {
        let Some((precision, own_scale)) = as_decimal(&typed.data_type) else {
            return Err(Error::internal("a number that is no decimal"));
        };
        if own_scale == scale && types::decimal_digits(&typed.data_type).is_some() {
            return Ok(typed.expr);
        }
        if let Some((value, from)) = typed.constant().and_then(coercion::exact_value)
            && let Some(unscaled) = coercion::rescale(value, from, scale)
        {
            return Ok(Expr::Literal(coercion::decimal_scalar(unscaled, scale)));
        }
        self.coerce(typed, &coercion::decimal_with(i32::from(precision) - i32::from(own_scale), scale))
    }

    /// `operand [NOT] IN (list)`
    pub fn bind_in_list(&mut self, operand: &'a Ast, list: &'a [Ast], negated: bool, environment: &Environment<'_>) -> Result<Typed> {
        let result = match row_fields(operand) {
            Some(fields) => self.bind_row_in_list(fields, list, environment)?,
            None => {
                let bound = self.bind_expr(operand, environment)?;
                let items = list.iter().map(|item| self.bind_expr(item, environment)).collect::<Result<Vec<_>>>()?;
                self.in_list(operand, bound, items, environment)?
            }
        };
        Ok(Typed::boolean(if negated { Expr::Not(Box::new(result)) } else { result }))
    }

    fn bind_row_in_list(&mut self, fields: &'a [Ast], list: &'a [Ast], environment: &Environment<'_>) -> Result<Expr> {
        let mut alternatives = vec![];
        for item in list {
            let Some(other) = row_fields(item) else {
                return Err(Error::unsupported("comparing a row with anything but a row"));
            };
            alternatives.push(self.bind_row_comparison(Comparison::Equal, fields, other, environment)?.expr);
        }
        Ok(or(alternatives))
    }

    /// Membership in a list: of constants in one step, else by comparing with each.
    pub fn in_list(&mut self, written: &'a Ast, operand: Typed, items: Vec<Typed>, environment: &Environment<'_>) -> Result<Expr> {
        if items.is_empty() {
            return Err(Error::syntax("an empty list after IN"));
        }
        if items.iter().all(|item| item.constant().is_some()) || items.iter().all(|item| matches!(item.expr, Expr::Literal(_))) {
            return self.in_constants(operand, items);
        }
        let mut alternatives = vec![];
        for (at, item) in items.into_iter().enumerate() {
            let operand = if at == 0 { operand.clone() } else { self.again(written, &operand, environment)? };
            alternatives.push(self.compare(Comparison::Equal, operand, item)?);
        }
        Ok(or(alternatives))
    }

    fn in_constants(&mut self, operand: Typed, items: Vec<Typed>) -> Result<Expr> {
        let wanted = match operand.is_unknown() {
            false => operand.data_type.clone(),
            true => self.common_type(&items, "IN")?,
        };
        let operand = self.give_type(operand, &wanted)?;
        let mut constants = vec![];
        for item in items {
            constants.push(self.give_type(item, &operand.data_type)?);
        }
        // In the operand's own type if every constant has its exact value there, else where all meet.
        let converted: Option<Vec<Scalar>> = constants.iter().map(|item| self.member_constant(item, &operand)).collect();
        if let Some(list) = converted {
            return Ok(Expr::InList { operand: Box::new(operand.expr), list });
        }
        let mut common = operand.data_type.clone();
        for item in &constants {
            common = coercion::common_type(&common, &item.data_type).ok_or_else(|| no_operator("=", &operand, item))?;
        }
        let operand = self.coerce(operand, &common)?;
        let mut list = vec![];
        for item in constants {
            match self.coerce(item, &common)? {
                Expr::Literal(scalar) => list.push(scalar),
                _ => return Err(Error::unsupported("a constant in IN that its type cannot hold")),
            }
        }
        Ok(Expr::InList { operand: Box::new(operand), list })
    }

    fn member_constant(&self, item: &Typed, operand: &Typed) -> Option<Scalar> {
        let Expr::Literal(scalar) = &item.expr else { return None };
        if scalar.is_null() {
            return coercion::common_type(&item.data_type, &operand.data_type).map(|_| Scalar::Null(operand.data_type.clone()));
        }
        if item.data_type == operand.data_type {
            return Some(scalar.clone());
        }
        if let Some((precision, scale)) = types::decimal_digits(&operand.data_type) {
            let (value, own_scale) = coercion::exact_value(scalar)?;
            let unscaled = coercion::rescale(value, own_scale, scale)?;
            return (coercion::digits(unscaled) <= precision).then_some(Scalar::Decimal(unscaled, precision, scale));
        }
        let is_comparable = coercion::common_type(&item.data_type, &operand.data_type)?;
        let exact = !matches!((scalar, &operand.data_type), (Scalar::Timestamp(us) | Scalar::TimestampTz(us), DataType::Date32) if us.rem_euclid(DAY_US) != 0);
        // A binary fraction must not be rounded to the type of the other side.
        let is_wider = is_comparable == operand.data_type || !coercion::is_float(&is_comparable);
        (exact && is_wider).then(|| coercion::convert_scalar(scalar, &operand.data_type)).flatten()
    }
}

/// The fields of `(a, b)`.
pub fn row_fields(expr: &Ast) -> Option<&[Ast]> {
    match expr {
        Ast::Tuple(fields) => Some(fields),
        Ast::Nested(inner) if matches!(**inner, Ast::Tuple(_)) => row_fields(inner),
        _ => None,
    }
}

/// The comparison that is true where this one is false.
pub fn negated(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::NotEqual,
        Comparison::NotEqual => Comparison::Equal,
        Comparison::Less => Comparison::GreaterOrEqual,
        Comparison::LessOrEqual => Comparison::Greater,
        Comparison::Greater => Comparison::LessOrEqual,
        Comparison::GreaterOrEqual => Comparison::Less,
        Comparison::Distinct => Comparison::NotDistinct,
        Comparison::NotDistinct => Comparison::Distinct,
    }
}

/// How a comparison is written.
pub fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal | Comparison::Distinct | Comparison::NotDistinct => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}
