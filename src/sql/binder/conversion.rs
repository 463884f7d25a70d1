//! Expressions with their types while they are bound, and the casts that bring them together.

use arrow::datatypes::DataType;
use operators::{Scalar, types};
use sqlparser::tokenizer::Span;

use super::Binder;
use crate::{
    error::{Error, Result},
    plan::logical::Expr,
    sql::{coercion, literal},
};

/// An expression and its type.
#[derive(Debug, Clone)]
pub struct Typed {
    /// What.
    pub expr: Expr,
    /// Its type; `Null` for a text literal, NULL or a parameter whose surroundings have still to give it one.
    pub data_type: DataType,
    /// Which parameter it is.
    pub parameter: Option<usize>,
    /// Where it stands, of literals.
    pub span: Span,
}

impl Typed {
    /// An expression of a known type.
    pub fn new(expr: Expr, data_type: DataType) -> Typed {
        Typed { expr, data_type, parameter: None, span: Span::empty() }
    }

    /// A Boolean expression.
    pub fn boolean(expr: Expr) -> Typed {
        Typed::new(expr, DataType::Boolean)
    }

    /// A constant of its own type.
    pub fn literal(scalar: Scalar) -> Typed {
        let data_type = scalar.data_type();
        Typed::new(Expr::Literal(scalar), data_type)
    }

    /// A text literal, whose type its surroundings give.
    pub fn unknown_text(text: impl Into<String>) -> Typed {
        Typed::new(Expr::Literal(Scalar::Utf8(text.into())), DataType::Null)
    }

    /// Whether its surroundings have to give it a type.
    pub fn is_unknown(&self) -> bool {
        self.data_type == DataType::Null
    }

    /// Its value, if it is written in the query. (The digits of a parameter's value must not change types.)
    pub fn constant(&self) -> Option<&Scalar> {
        match &self.expr {
            Expr::Literal(scalar) if self.parameter.is_none() => Some(scalar),
            _ => None,
        }
    }

    /// SQL's name of the type, for messages.
    pub fn type_name(&self) -> &'static str {
        types::sql_name(&self.data_type)
    }
}

impl Binder<'_> {
    /// `typed` as an expression of type `to`. The caller knows that the cast exists.
    ///
    /// # Errors
    /// 22P02, 22007, 22003 for a text literal that is no value of the type.
    pub fn coerce(&mut self, typed: Typed, to: &DataType) -> Result<Expr> {
        if typed.data_type == *to {
            return Ok(typed.expr);
        }
        if typed.is_unknown() {
            return self.give_type(typed, to).map(|typed| self.cast_if_needed(typed, to));
        }
        Ok(self.cast_if_needed(typed, to))
    }

    /// A value of unknown type as one of type `to`; decimals keep the digits they are written with.
    ///
    /// # Errors
    /// As [`Binder::coerce`].
    pub fn give_type(&mut self, typed: Typed, to: &DataType) -> Result<Typed> {
        if !typed.is_unknown() {
            return Ok(typed);
        }
        if let Some(parameter) = typed.parameter {
            self.parameters.settle(parameter, to);
        }
        match &typed.expr {
            Expr::Literal(Scalar::Utf8(text)) => {
                let scalar = literal::parse_text(text, to, self.context.now_us).map_err(|e| e.at(self.position(typed.span)))?;
                Ok(Typed { span: typed.span, ..Typed::literal(scalar) })
            }
            _ => Ok(Typed { expr: Expr::Literal(Scalar::Null(to.clone())), data_type: to.clone(), ..typed }),
        }
    }

    /// A value of unknown type becomes text; others stay.
    pub fn text_if_unknown(&mut self, typed: Typed) -> Result<Typed> {
        self.give_type(typed, &DataType::Utf8View)
    }

    fn cast_if_needed(&self, typed: Typed, to: &DataType) -> Expr {
        if typed.data_type == *to {
            return typed.expr;
        }
        if let Expr::Literal(scalar) = &typed.expr
            && let Some(converted) = coercion::convert_scalar(scalar, to)
        {
            return Expr::Literal(converted);
        }
        Expr::Cast(Box::new(typed.expr), to.clone())
    }

    /// The type in which all `values` meet.
    ///
    /// # Errors
    /// 42804 if they do not; `what` names the construct ("CASE", "UNION").
    pub fn common_type<'t>(&self, values: impl IntoIterator<Item = &'t Typed>, what: &str) -> Result<DataType> {
        let mut common = DataType::Null;
        let is_written_integer = |value: &Typed| value.constant().is_some() && coercion::is_integer(&value.data_type);
        let (integers, mut ordered): (Vec<&Typed>, Vec<&Typed>) = values.into_iter().partition(|value| is_written_integer(value));
        ordered.extend(integers);
        for value in ordered {
            // A number as written needs only its own digits where decimals meet.
            let data_type = match value.constant() {
                Some(constant) if is_written_integer(value) && types::decimal_digits(&common).is_some() => digits_type(constant),
                _ => value.data_type.clone(),
            };
            common = coercion::common_type(&common, &data_type).ok_or_else(|| no_common_type(what, &common, &data_type))?;
        }
        Ok(if common == DataType::Null { DataType::Utf8View } else { common })
    }

    /// All `values` as expressions of the type in which they meet.
    ///
    /// # Errors
    /// 42804 if they do not.
    pub fn unify(&mut self, values: Vec<Typed>, what: &str) -> Result<(Vec<Expr>, DataType)> {
        let common = self.common_type(&values, what)?;
        let expressions = values.into_iter().map(|value| self.coerce(value, &common)).collect::<Result<_>>()?;
        Ok((expressions, common))
    }

    /// `typed` as a condition.
    ///
    /// # Errors
    /// 42804 if it is not Boolean.
    pub fn condition(&mut self, typed: Typed, what: &str) -> Result<Expr> {
        if typed.is_unknown() || typed.data_type == DataType::Boolean {
            return self.coerce(typed, &DataType::Boolean);
        }
        Err(Error::binding("42804", format!("argument of {what} must be type boolean, not type {}", typed.type_name())))
    }
}

/// 42804 for types that do not meet in a construct.
pub fn no_common_type(what: &str, left: &DataType, right: &DataType) -> Error {
    let (left, right) = (types::sql_name(left), types::sql_name(right));
    Error::binding("42804", format!("{what} types {left} and {right} cannot be matched"))
}

/// The decimal type of an integer constant's own digits.
pub fn digits_type(constant: &Scalar) -> DataType {
    match coercion::exact_value(constant) {
        Some((value, scale)) => types::decimal(coercion::digits(value).max(scale.max(0) as u8), scale),
        None => constant.data_type(),
    }
}
