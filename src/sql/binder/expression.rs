//! Expressions: one method per form; operators, comparisons, calls and subqueries are in files of their own.

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    expression::{Comparison, ScalarFunction},
    types,
};
use sqlparser::ast::{self, Expr as Ast, Spanned};

use super::{
    Binder,
    conversion::Typed,
    datatype::{WrittenType, written_type},
    scope::Environment,
};
use crate::{
    error::{Error, Result},
    plan::logical::Expr,
    sql::{coercion, literal::shorten, parser},
};

/// Nodes that may be copied in all for BETWEEN, CASE x WHEN and the like.
const COPIED_MAX: usize = 1_000_000;

impl<'a> Binder<'a> {
    /// Binds an expression.
    ///
    /// # Errors
    /// Whatever is wrong in it, with the place of the innermost part that is known.
    pub fn bind_expr(&mut self, expr: &'a Ast, environment: &Environment<'_>) -> Result<Typed> {
        self.deeper(|binder| binder.bind_form(expr, environment)).map_err(|error| match error.position {
            None => error.at(self.position(expr.span())),
            Some(_) => error,
        })
    }

    fn bind_form(&mut self, expr: &'a Ast, environment: &Environment<'_>) -> Result<Typed> {
        match expr {
            Ast::Identifier(name) => self.bind_name(std::slice::from_ref(name), environment),
            Ast::CompoundIdentifier(parts) => self.bind_name(parts, environment),
            Ast::Value(value) => self.bind_value(value),
            Ast::TypedString(typed) => self.bind_typed_string(typed),
            Ast::Interval(interval) => self.bind_interval(interval),
            Ast::Nested(inner) => self.bind_expr(inner, environment),
            Ast::BinaryOp { left, op, right } => self.bind_binary(left, op, right, environment),
            Ast::UnaryOp { op, expr } => self.bind_unary(*op, expr, environment),
            Ast::IsNull(operand) => self.bind_is_null(operand, false, environment),
            Ast::IsNotNull(operand) => self.bind_is_null(operand, true, environment),
            Ast::IsTrue(operand) => self.bind_is_boolean(operand, Some(true), false, environment),
            Ast::IsNotTrue(operand) => self.bind_is_boolean(operand, Some(true), true, environment),
            Ast::IsFalse(operand) => self.bind_is_boolean(operand, Some(false), false, environment),
            Ast::IsNotFalse(operand) => self.bind_is_boolean(operand, Some(false), true, environment),
            Ast::IsUnknown(operand) => self.bind_is_boolean(operand, None, false, environment),
            Ast::IsNotUnknown(operand) => self.bind_is_boolean(operand, None, true, environment),
            Ast::IsDistinctFrom(left, right) => self.bind_comparison(Comparison::Distinct, left, right, environment),
            Ast::IsNotDistinctFrom(left, right) => self.bind_comparison(Comparison::NotDistinct, left, right, environment),
            Ast::Between { expr, negated, low, high } => self.bind_between(expr, *negated, low, high, environment),
            Ast::InList { expr, list, negated } => self.bind_in_list(expr, list, *negated, environment),
            Ast::InSubquery { expr, subquery, negated } => self.bind_in_subquery(expr, subquery, *negated, environment),
            Ast::Exists { subquery, negated } => self.bind_exists(subquery, *negated, environment),
            Ast::Subquery(query) => self.bind_scalar_subquery(query, environment),
            Ast::AnyOp { left, compare_op, right, is_some: _ } => self.bind_quantified(left, compare_op, right, false, environment),
            Ast::AllOp { left, compare_op, right } => self.bind_quantified(left, compare_op, right, true, environment),
            Ast::Like { negated, any, expr, pattern, escape_char } => {
                refuse(*any, "LIKE ANY")?;
                self.bind_like(expr, pattern, escape_char.as_deref(), (*negated, false), environment)
            }
            Ast::ILike { negated, any, expr, pattern, escape_char } => {
                refuse(*any, "ILIKE ANY")?;
                self.bind_like(expr, pattern, escape_char.as_deref(), (*negated, true), environment)
            }
            Ast::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.bind_case(operand.as_deref(), conditions, else_result.as_deref(), environment)
            }
            Ast::Cast { kind, expr, data_type, format } => {
                refuse(matches!(kind, ast::CastKind::TryCast | ast::CastKind::SafeCast), "TRY_CAST")?;
                refuse(format.is_some(), "CAST … FORMAT")?;
                let typed = self.bind_expr(expr, environment)?;
                self.cast(typed, &written_type(data_type)?)
            }
            Ast::Extract { field, syntax: _, expr } => {
                let typed = self.bind_expr(expr, environment)?;
                self.extract(&field.to_string(), typed)
            }
            Ast::Function(function) => self.bind_function(function, environment),
            Ast::Collate { expr, collation } => {
                let name = collation.to_string();
                let is_bytewise = ["c", "posix", "ucs_basic", "default"].contains(&name.trim_matches('"').to_lowercase().as_str());
                refuse(!is_bytewise, &format!("the collation {name}"))?;
                self.bind_expr(expr, environment)
            }
            Ast::AtTimeZone { timestamp, time_zone } => self.bind_at_time_zone(timestamp, time_zone, environment),
            _ => self.bind_special_call(expr, environment),
        }
    }

    /// Functions whose arguments are separated by keywords, and what there is no support for.
    fn bind_special_call(&mut self, expr: &'a Ast, environment: &Environment<'_>) -> Result<Typed> {
        match expr {
            Ast::Substring { expr, substring_from, substring_for, special: _, shorthand } => {
                let name = if *shorthand { "substr" } else { "substring" };
                self.bind_substring(name, (expr, substring_from.as_deref(), substring_for.as_deref()), environment)
            }
            Ast::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                    Some(ast::TrimWhereField::Both) | None => "btrim",
                };
                let mut arguments = vec![self.bind_expr(expr, environment)?];
                for characters in trim_what.as_deref().into_iter().chain(trim_characters.iter().flatten()) {
                    arguments.push(self.bind_expr(characters, environment)?);
                }
                self.call(name, arguments)
            }
            Ast::Position { expr, r#in } => {
                let part = self.bind_expr(expr, environment)?;
                let whole = self.bind_expr(r#in, environment)?;
                self.call("strpos", vec![whole, part])
            }
            Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![];
                for argument in [&**expr, overlay_what, overlay_from].into_iter().chain(overlay_for.as_deref()) {
                    arguments.push(self.bind_expr(argument, environment)?);
                }
                self.overlay(arguments)
            }
            Ast::Ceil { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                let argument = self.bind_expr(expr, environment)?;
                self.call("ceil", vec![argument])
            }
            Ast::Floor { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                let argument = self.bind_expr(expr, environment)?;
                self.call("floor", vec![argument])
            }
            Ast::SimilarTo { .. } => Err(Error::unsupported("SIMILAR TO")),
            Ast::Tuple(_) => Err(Error::unsupported("a row outside of a comparison")),
            Ast::Array(_) => Err(Error::unsupported("an array")),
            Ast::CompoundFieldAccess { .. } => Err(Error::unsupported("an element or field of a value")),
            Ast::JsonAccess { .. } | Ast::IsJson { .. } => Err(Error::unsupported("JSON")),
            Ast::IsNormalized { .. } => Err(Error::unsupported("IS NORMALIZED")),
            other => Err(Error::unsupported(format!("the expression {}", shorten(&other.to_string())))),
        }
    }

    fn bind_name(&mut self, parts: &'a [ast::Ident], environment: &Environment<'_>) -> Result<Typed> {
        let id = match self.resolve(parts, environment) {
            Ok(id) => id,
            Err(error) => {
                return match parts {
                    // The grammar takes `select a, from t` for an expression called "from".
                    [name] if name.quote_style.is_none() && is_reserved(&name.value) => {
                        Err(Error::syntax(format!("syntax error at or near \"{}\"", name.value)).at(self.position(name.span)))
                    }
                    [name] if name.quote_style.is_none() => self.bind_bare_function(name).unwrap_or(Err(error)),
                    _ => Err(error),
                };
            }
        };
        Ok(self.column(id))
    }

    fn bind_is_null(&mut self, operand: &'a Ast, negated: bool, environment: &Environment<'_>) -> Result<Typed> {
        if let Ast::Tuple(fields) = operand {
            // Of a row both tests ask whether all fields are (or are not) NULL.
            let mut tests = vec![];
            for field in fields {
                tests.push(self.bind_is_null(field, negated, environment)?.expr);
            }
            return Ok(Typed::boolean(and(tests)));
        }
        let typed = self.bind_expr(operand, environment)?;
        let typed = self.text_if_unknown(typed)?;
        let test = Expr::IsNull(Box::new(typed.expr));
        Ok(Typed::boolean(if negated { Expr::Not(Box::new(test)) } else { test }))
    }

    /// `IS [NOT] TRUE | FALSE | UNKNOWN`
    fn bind_is_boolean(&mut self, operand: &'a Ast, value: Option<bool>, negated: bool, environment: &Environment<'_>) -> Result<Typed> {
        let typed = self.bind_expr(operand, environment)?;
        let operand = Box::new(self.condition(typed, "IS TRUE, FALSE or UNKNOWN")?);
        Ok(Typed::boolean(match (value, negated) {
            (Some(value), negated) => {
                let comparison = if negated { Comparison::Distinct } else { Comparison::NotDistinct };
                Expr::Compare(comparison, operand, Box::new(Expr::Literal(Scalar::Boolean(value))))
            }
            (None, false) => Expr::IsNull(operand),
            (None, true) => Expr::Not(Box::new(Expr::IsNull(operand))),
        }))
    }

    fn bind_between(
        &mut self,
        operand: &'a Ast,
        negated: bool,
        low: &'a Ast,
        high: &'a Ast,
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        let (above, below) = match negated {
            false => (Comparison::GreaterOrEqual, Comparison::LessOrEqual),
            true => (Comparison::Less, Comparison::Greater),
        };
        let first = self.bind_expr(operand, environment)?;
        let second = self.again(operand, &first, environment)?;
        let low = self.bind_expr(low, environment)?;
        let high = self.bind_expr(high, environment)?;
        let sides = vec![self.compare(above, first, low)?, self.compare(below, second, high)?];
        Ok(Typed::boolean(if negated { Expr::Or(sides) } else { Expr::And(sides) }))
    }

    fn bind_case(
        &mut self,
        operand: Option<&'a Ast>,
        conditions: &'a [ast::CaseWhen],
        otherwise: Option<&'a Ast>,
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        let subject = match operand {
            Some(operand) => {
                let typed = self.bind_expr(operand, environment)?;
                Some((operand, self.text_if_unknown(typed)?))
            }
            None => None,
        };
        let mut tests = vec![];
        let mut values = vec![];
        for (at, ast::CaseWhen { condition, result }) in conditions.iter().enumerate() {
            let test = self.bind_expr(condition, environment)?;
            tests.push(match &subject {
                Some((written, typed)) => {
                    let subject = if at == 0 { typed.clone() } else { self.again(written, typed, environment)? };
                    self.compare(Comparison::Equal, subject, test)?
                }
                None => self.condition(test, "CASE/WHEN").map_err(|e| e.at(self.position(condition.span())))?,
            });
            values.push(self.bind_expr(result, environment)?);
        }
        if let Some(otherwise) = otherwise {
            values.push(self.bind_expr(otherwise, environment)?);
        }
        let (mut values, data_type) = self.unify(values, "CASE")?;
        let otherwise = otherwise.and_then(|_| values.pop()).map(Box::new);
        let branches = tests.into_iter().zip(values).collect();
        Ok(Typed::new(Expr::Case { branches, otherwise, data_type: data_type.clone() }, data_type))
    }

    fn bind_like(
        &mut self,
        operand: &'a Ast,
        pattern: &'a Ast,
        escape: Option<&'a Ast>,
        (negated, case_insensitive): (bool, bool),
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        let operand = self.bind_expr(operand, environment)?;
        let pattern = self.bind_expr(pattern, environment)?;
        let escape = match escape {
            None => Some('\\'),
            Some(written) => self.escape_character(written, environment)?,
        };
        self.like(operand, pattern, escape, negated, case_insensitive)
    }

    /// `operand LIKE pattern`
    pub fn like(&mut self, operand: Typed, pattern: Typed, escape: Option<char>, negated: bool, case_insensitive: bool) -> Result<Typed> {
        let name = if case_insensitive { "~~*" } else { "~~" };
        for side in [&operand, &pattern] {
            if !side.is_unknown() && side.data_type != DataType::Utf8View {
                return Err(super::operator::no_operator(name, &operand, &pattern));
            }
        }
        let operand = Box::new(self.coerce(operand, &DataType::Utf8View)?);
        let pattern = Box::new(self.coerce(pattern, &DataType::Utf8View)?);
        let like = Expr::Like { operand, pattern, escape, case_insensitive };
        Ok(Typed::boolean(if negated { Expr::Not(Box::new(like)) } else { like }))
    }

    fn escape_character(&mut self, written: &'a Ast, environment: &Environment<'_>) -> Result<Option<char>> {
        let typed = self.bind_expr(written, environment)?;
        let Some(Scalar::Utf8(text)) = typed.constant() else {
            return Err(Error::unsupported("ESCAPE with anything but a text literal"));
        };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (escape, None) => Ok(escape),
            _ => Err(Error::binding("22025", "invalid escape string").with_hint("escape string must be empty or one character")),
        }
    }

    fn bind_at_time_zone(&mut self, timestamp: &'a Ast, zone: &'a Ast, environment: &Environment<'_>) -> Result<Typed> {
        let zone = self.bind_expr(zone, environment)?;
        let is_utc =
            matches!(zone.constant(), Some(Scalar::Utf8(name)) if ["utc", "gmt", "z", "etc/utc"].contains(&name.to_lowercase().as_str()));
        refuse(!is_utc, "AT TIME ZONE with anything but 'UTC'")?;
        let typed = self.bind_expr(timestamp, environment)?;
        let to = match &typed.data_type {
            DataType::Timestamp(_, Some(_)) => types::timestamp(),
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Null => types::timestamptz(),
            _ => return Err(no_function("timezone", &[zone, typed])),
        };
        Ok(Typed::new(self.coerce(typed, &to)?, to))
    }

    /// `CAST(typed AS to)`
    pub fn cast(&mut self, typed: Typed, to: &WrittenType) -> Result<Typed> {
        if !coercion::is_castable(&typed.data_type, &to.data_type) {
            let (from, to) = (typed.type_name(), types::sql_name(&to.data_type));
            return Err(Error::binding("42846", format!("cannot cast type {from} to {to}")));
        }
        if to.any_digits
            && let Some(kept) = self.keep_digits(&typed)?
        {
            return Ok(kept);
        }
        let cast = self.coerce(typed, &to.data_type)?;
        Ok(match to.length {
            Some(length) => Typed::new(cut(cast, length), DataType::Utf8View),
            None => Typed::new(cast, to.data_type.clone()),
        })
    }

    /// `numeric` without digits leaves exact numbers as they are.
    fn keep_digits(&mut self, typed: &Typed) -> Result<Option<Typed>> {
        if types::decimal_digits(&typed.data_type).is_some() {
            return Ok(Some(typed.clone()));
        }
        if let Some((precision, scale)) = coercion::as_decimal(&typed.data_type) {
            let to = typed.constant().map_or(types::decimal(precision, scale), super::conversion::digits_type);
            return Ok(Some(Typed::new(self.coerce(typed.clone(), &to)?, to)));
        }
        if typed.is_unknown() && matches!(typed.constant(), Some(Scalar::Utf8(_))) {
            let to = types::decimal(types::DECIMAL128_DIGITS_MAX, types::QUOTIENT_SCALE);
            return self.give_type(typed.clone(), &to).map(Some);
        }
        Ok(None)
    }

    /// The same operand once more: a copy, or bound anew if it holds a subquery (whose columns must be unique).
    pub fn again(&mut self, written: &'a Ast, bound: &Typed, environment: &Environment<'_>) -> Result<Typed> {
        let (nodes, has_subquery) = size(&bound.expr);
        self.count_copies(nodes)?;
        if has_subquery { self.bind_expr(written, environment) } else { Ok(bound.clone()) }
    }

    /// # Errors
    /// 54001 if too much has been copied.
    pub fn count_copies(&mut self, nodes: usize) -> Result<()> {
        self.copied += nodes;
        if self.copied > COPIED_MAX { Err(parser::too_complex()) } else { Ok(()) }
    }
}

/// Words that are never a column's name unless quoted, as in PostgreSQL.
fn is_reserved(word: &str) -> bool {
    const RESERVED: [&str; 36] = [
        "all",
        "and",
        "any",
        "as",
        "asc",
        "case",
        "cast",
        "check",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "fetch",
        "for",
        "from",
        "group",
        "having",
        "in",
        "intersect",
        "into",
        "lateral",
        "limit",
        "not",
        "offset",
        "on",
        "or",
        "order",
        "select",
        "then",
        "union",
        "using",
        "when",
        "where",
        "with",
    ];
    RESERVED.contains(&word.to_lowercase().as_str())
}

/// Nodes of an expression, and whether there is a subquery among them.
fn size(expr: &Expr) -> (usize, bool) {
    let (mut nodes, mut has_subquery) = (1, matches!(expr, Expr::Subquery(_)));
    expr.for_each_child(|child| {
        let (inner, subquery) = size(child);
        nodes += inner;
        has_subquery |= subquery;
    });
    (nodes, has_subquery)
}

/// The first `length` characters.
fn cut(text: Expr, length: i32) -> Expr {
    match text {
        Expr::Literal(Scalar::Utf8(text)) => Expr::Literal(Scalar::Utf8(text.chars().take(length as usize).collect())),
        Expr::Literal(null) => Expr::Literal(null),
        text => Expr::Function(ScalarFunction::Left, vec![text, Expr::Literal(Scalar::Int32(length))], DataType::Utf8View),
    }
}

/// A conjunction without needless levels.
pub fn and(operands: Vec<Expr>) -> Expr {
    flatten(operands, |e| if let Expr::And(inner) = e { Ok(inner) } else { Err(e) }, Expr::And)
}

/// A disjunction without needless levels.
pub fn or(operands: Vec<Expr>) -> Expr {
    flatten(operands, |e| if let Expr::Or(inner) = e { Ok(inner) } else { Err(e) }, Expr::Or)
}

fn flatten(operands: Vec<Expr>, open: impl Fn(Expr) -> std::result::Result<Vec<Expr>, Expr>, close: impl Fn(Vec<Expr>) -> Expr) -> Expr {
    let mut flat = vec![];
    for operand in operands {
        match open(operand) {
            Ok(inner) => flat.extend(inner),
            Err(operand) => flat.push(operand),
        }
    }
    if flat.len() == 1 { flat.swap_remove(0) } else { close(flat) }
}

fn refuse(condition: bool, what: &str) -> Result<()> {
    if condition { Err(Error::unsupported(what)) } else { Ok(()) }
}

/// 42883 for a function.
pub fn no_function(name: &str, arguments: &[Typed]) -> Error {
    let types: Vec<&str> = arguments.iter().map(Typed::type_name).collect();
    Error::binding("42883", format!("function {name}({}) does not exist", types.join(", ")))
        .with_hint("no function matches the given name and argument types. You might need to add explicit type casts")
}
