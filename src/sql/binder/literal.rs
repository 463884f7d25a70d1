//! Literals: values as the grammar knows them, typed strings, intervals.

use arrow::datatypes::DataType;
use operators::Scalar;
use sqlparser::ast::{self, Value};

use super::{Binder, conversion::Typed, datatype::written_type};
use crate::{
    error::{Error, Result},
    sql::literal::{IntervalUnit, parse_interval, parse_number},
};

impl Binder<'_> {
    /// A literal.
    pub fn bind_value(&mut self, value: &ast::ValueWithSpan) -> Result<Typed> {
        let position = self.position(value.span);
        let typed = match &value.value {
            Value::Number(digits, _) => Typed::literal(parse_number(digits).map_err(|e| e.at(position))?),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) | Value::UnicodeStringLiteral(text) => {
                Typed::unknown_text(text)
            }
            Value::DollarQuotedString(text) => Typed::unknown_text(&text.value),
            Value::Boolean(value) => Typed::literal(Scalar::Boolean(*value)),
            Value::Null => Typed::new(super::Expr::Literal(Scalar::Null(DataType::Null)), DataType::Null),
            Value::Placeholder(written) => self.parameters.get(written).map_err(|e| e.at(position))?,
            _ => return Err(Error::unsupported("this kind of literal").at(position)),
        };
        Ok(Typed { span: value.span, ..typed })
    }

    /// `date '1995-01-01'`
    pub fn bind_typed_string(&mut self, typed: &ast::TypedString) -> Result<Typed> {
        let position = self.position(typed.value.span);
        let to = written_type(&typed.data_type).map_err(|e| e.at(position))?;
        let value = self.bind_value(&typed.value)?;
        self.cast(value, &to).map_err(|e| e.at(position))
    }

    /// `interval '3' month`, `interval '1 year 2 days'`
    pub fn bind_interval(&mut self, interval: &ast::Interval) -> Result<Typed> {
        let ast::Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } = interval;
        if leading_precision.is_some() || fractional_seconds_precision.is_some() {
            return Err(Error::unsupported("an interval with a precision"));
        }
        let ast::Expr::Value(value) = &**value else {
            return Err(Error::syntax("an interval needs a text literal"));
        };
        let position = self.position(value.span);
        let text = match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text,
            _ => return Err(Error::syntax("an interval needs a text literal").at(position)),
        };
        let unit = match leading_field.as_ref().map(|field| field.to_string()) {
            None => None,
            Some(name) => {
                let unit = IntervalUnit::by_name(&name).ok_or_else(|| Error::unsupported(format!("interval … {name}")).at(position))?;
                // A bare number is one; anything else would have to be cut to the fields that are named.
                let is_number = text.trim().trim_start_matches(['-', '+']).bytes().all(|b| b.is_ascii_digit());
                if !is_number || last_field.is_some() {
                    return Err(Error::unsupported("an interval with fields and anything but a whole number").at(position));
                }
                Some(unit)
            }
        };
        Ok(Typed::literal(parse_interval(text, unit).map_err(|e| e.at(position))?))
    }
}
