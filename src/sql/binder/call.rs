//! Function calls: aggregates, the overloads of [`crate::sql::functions`], and functions with a typing of
//! their own.

use arrow::datatypes::{DataType, TimeUnit};
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Arithmetic, ScalarFunction},
    types,
};
use sqlparser::ast::{self, Expr as Ast, Spanned};

use super::{
    Binder,
    conversion::Typed,
    datatype::WrittenType,
    expression::no_function,
    scope::{Clause, Environment, name_parts, nearest},
};
use crate::{
    error::{Error, Result},
    plan::logical::{AggregateExpr, Expr},
    sql::{
        coercion::{self, DAY_US},
        functions::{self, AGGREGATES, Returns},
    },
};

/// The version of PostgreSQL whose behaviour clients may expect.
const SERVER_VERSION: &str = concat!("PostgreSQL 16.0 (arneb ", env!("CARGO_PKG_VERSION"), ")");

impl<'a> Binder<'a> {
    /// A call as written.
    pub fn bind_function(&mut self, function: &'a ast::Function, environment: &Environment<'_>) -> Result<Typed> {
        let ast::Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment, over } = function;
        let position = self.position(name.span());
        let refusals = [
            (over.is_some(), "a window function"),
            (!within_group.is_empty(), "WITHIN GROUP"),
            (null_treatment.is_some(), "IGNORE NULLS and RESPECT NULLS"),
            (*uses_odbc_syntax || !matches!(parameters, ast::FunctionArguments::None), "this form of call"),
        ];
        if let Some((_, what)) = refusals.into_iter().find(|(refused, _)| *refused) {
            return Err(Error::unsupported(what).at(position));
        }
        let parts = name_parts(name)?;
        let name = match parts.as_slice() {
            [name] => name.as_str(),
            [schema, name] if schema == "pg_catalog" => name.as_str(),
            _ => return Err(Error::binding("42883", format!("function {} does not exist", parts.join("."))).at(position)),
        };
        let list = match args {
            ast::FunctionArguments::List(list) => Some(list),
            ast::FunctionArguments::None => None,
            ast::FunctionArguments::Subquery(_) => return Err(Error::unsupported("a subquery as the arguments of a function").at(position)),
        };
        if let Some((_, aggregate)) = AGGREGATES.iter().find(|(known, _)| *known == name) {
            let result = self.bind_aggregate(name, *aggregate, list, filter.as_deref(), environment);
            return result.map_err(|e| e.at(position));
        }
        if filter.is_some() {
            return Err(Error::binding("42809", format!("FILTER specified, but {name} is not an aggregate function")).at(position));
        }
        let mut arguments = vec![];
        if let Some(ast::FunctionArgumentList { duplicate_treatment, args, clauses }) = list {
            if duplicate_treatment.is_some() || !clauses.is_empty() {
                let error = Error::binding("42809", format!("DISTINCT or ORDER BY specified, but {name} is not an aggregate function"));
                return Err(error.at(position));
            }
            for argument in args {
                arguments.push(self.bind_expr(self.plain_argument(argument)?, environment)?);
            }
        }
        self.call(name, arguments).map_err(|e| e.at(position))
    }

    fn plain_argument(&self, argument: &'a ast::FunctionArg) -> Result<&'a Ast> {
        match argument {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
            ast::FunctionArg::Unnamed(_) => Err(Error::syntax("* is no argument of this function")),
            _ => Err(Error::unsupported("a named argument")),
        }
    }

    /// A name without parentheses that is a function all the same (`current_date`).
    pub fn bind_bare_function(&mut self, name: &ast::Ident) -> Option<Result<Typed>> {
        let name = name.value.to_lowercase();
        let known = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];
        let users = ["current_user", "session_user", "user", "current_role", "current_catalog", "current_schema"];
        (known.contains(&name.as_str()) || users.contains(&name.as_str())).then(|| self.call(&name, vec![]))
    }

    fn bind_aggregate(
        &mut self,
        name: &str,
        function: AggregateFunction,
        list: Option<&'a ast::FunctionArgumentList>,
        filter: Option<&'a Ast>,
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        let Some(collector) = environment.collector else {
            return Err(match environment.clause {
                Clause::AggregateArgument => Error::binding("42803", "aggregate function calls cannot be nested"),
                clause => Error::binding("42803", format!("aggregate functions are not allowed in {}", clause.name())),
            });
        };
        let Some(ast::FunctionArgumentList { duplicate_treatment, args, clauses }) = list else {
            return Err(no_function(name, &[]));
        };
        if let Some(clause) = clauses.first() {
            let what = if matches!(clause, ast::FunctionArgumentClause::OrderBy(_)) {
                "ORDER BY in an aggregate"
            } else {
                "a clause in an aggregate"
            };
            return Err(Error::unsupported(what));
        }
        let distinct = matches!(duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        let inner = environment.in_clause(Clause::AggregateArgument);
        let is_star = matches!(args.as_slice(), [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard)]);
        let (function, arguments, data_type) = if function == AggregateFunction::Count && is_star {
            if distinct {
                return Err(Error::syntax("DISTINCT needs an argument that is not *"));
            }
            (AggregateFunction::CountStar, vec![], DataType::Int64)
        } else {
            let mut arguments = vec![];
            for argument in args {
                arguments.push(self.bind_expr(self.plain_argument(argument)?, &inner)?);
            }
            let (arguments, data_type) = self.aggregate_arguments(name, function, arguments)?;
            (function, arguments, data_type)
        };
        let filter = match filter {
            Some(filter) => Some(Box::new(self.bind_condition(filter, &environment.in_clause(Clause::Filter), "FILTER")?)),
            None => None,
        };
        self.refuse_outer(&arguments, environment)?;
        let aggregate = AggregateExpr { function, arguments, distinct, filter };
        let known = collector.borrow().find(&aggregate);
        let id = known.unwrap_or_else(|| {
            let is_count = matches!(function, AggregateFunction::Count | AggregateFunction::CountStar);
            let is_sample = matches!(function, AggregateFunction::StddevSamp | AggregateFunction::VarSamp);
            let nullable = aggregate.arguments.iter().any(|a| self.is_nullable(a)) || aggregate.filter.is_some() || is_sample;
            let id = self.columns.add(name, data_type.clone(), nullable && !is_count);
            collector.borrow_mut().add(id, aggregate);
            id
        });
        Ok(Typed::new(Expr::Column(id), data_type))
    }

    fn aggregate_arguments(&mut self, name: &str, function: AggregateFunction, arguments: Vec<Typed>) -> Result<(Vec<Expr>, DataType)> {
        let wanted = if function == AggregateFunction::StringAgg { 2 } else { 1 };
        if arguments.len() != wanted {
            return Err(no_function(name, &arguments));
        }
        // A parameter or literal: text for count, min and max, a truth value or number for the others.
        let of_unknown = match function {
            AggregateFunction::BoolAnd | AggregateFunction::BoolOr => DataType::Boolean,
            AggregateFunction::Count | AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::StringAgg => DataType::Utf8View,
            _ => DataType::Float64,
        };
        let arguments = arguments.into_iter().map(|a| self.give_type(a, &of_unknown)).collect::<Result<Vec<_>>>()?;
        let Some((to, result)) = functions::aggregate_types(function, &arguments[0].data_type) else {
            return Err(no_function(name, &arguments));
        };
        if arguments.get(1).is_some_and(|delimiter| delimiter.data_type != DataType::Utf8View) {
            return Err(no_function(name, &arguments));
        }
        let mut expressions = vec![];
        for (at, argument) in arguments.into_iter().enumerate() {
            expressions.push(if at == 0 { self.coerce(argument, &to)? } else { argument.expr });
        }
        Ok((expressions, result))
    }

    /// An aggregate whose columns are all of an outer query belongs to that query, in SQL.
    fn refuse_outer(&self, arguments: &[Expr], environment: &Environment<'_>) -> Result<()> {
        let mut columns = arguments.iter().flat_map(Expr::columns).peekable();
        if columns.peek().is_none() {
            return Ok(());
        }
        let scope = environment.scope;
        let is_local = |id| scope.visible.iter().chain(scope.relations.iter().flat_map(|r| &r.columns)).any(|name| name.id == id);
        if columns.any(is_local) { Ok(()) } else { Err(Error::unsupported("an aggregate over columns of an outer query")) }
    }

    /// A call with bound arguments.
    pub fn call(&mut self, name: &str, arguments: Vec<Typed>) -> Result<Typed> {
        if let Some(result) = self.call_special(name, &arguments) {
            return result;
        }
        let given: Vec<DataType> = arguments.iter().map(|a| a.data_type.clone()).collect();
        let Some((overload, converted)) = functions::resolve(name, &given) else {
            return Err(unknown_function(name, &arguments));
        };
        let digits = match (overload.returns, arguments.get(1).and_then(Typed::constant)) {
            (Returns::RoundedDecimal, Some(Scalar::Int16(digits))) => Some(i32::from(*digits)),
            (Returns::RoundedDecimal, Some(Scalar::Int32(digits))) => Some(*digits),
            _ => None,
        };
        let data_type = functions::result_type(overload.returns, &converted, digits);
        let arguments = arguments.into_iter().zip(&converted).map(|(a, to)| self.coerce(a, to)).collect::<Result<_>>()?;
        Ok(Typed::new(Expr::Function(overload.function, arguments, data_type.clone()), data_type))
    }

    /// Functions whose types follow rules of their own; `None` if `name` is none of them.
    fn call_special(&mut self, name: &str, arguments: &[Typed]) -> Option<Result<Typed>> {
        let count = arguments.len();
        let arguments = arguments.to_vec();
        Some(match (name, count) {
            ("coalesce", 1..) => self.unified(ScalarFunction::Coalesce, arguments, "COALESCE"),
            ("greatest", 1..) => self.unified(ScalarFunction::Greatest, arguments, "GREATEST"),
            ("least", 1..) => self.unified(ScalarFunction::Least, arguments, "LEAST"),
            ("nullif", 2) => self.null_if(arguments),
            ("concat", 1..) => self.concat(ScalarFunction::ConcatSkippingNulls, arguments),
            ("concat_ws", 2..) => self.concat(ScalarFunction::ConcatWithSeparator, arguments),
            ("mod", 2) => self.binary(Arithmetic::Modulo, arguments),
            ("div", 2) => self.binary(Arithmetic::Divide, arguments).and_then(|quotient| self.truncated(quotient)),
            ("overlay", 3 | 4) => self.overlay(arguments),
            ("position", 2) => self.call("strpos", arguments.into_iter().rev().collect()),
            ("date_part", 2) => self.date_part(arguments),
            ("age", 1) => self.age_of(arguments),
            ("date", 1) => self.cast_first(arguments, DataType::Date32),
            ("pg_typeof", 1) => Ok(Typed::literal(Scalar::Utf8(arguments[0].type_name().to_owned()))),
            ("now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" | "clock_timestamp", 0) => {
                Ok(Typed::literal(Scalar::TimestampTz(self.context.now_us)))
            }
            ("localtimestamp", 0) => Ok(Typed::literal(Scalar::Timestamp(self.context.now_us))),
            ("localtime", 0) => Ok(Typed::literal(Scalar::Time(self.context.now_us.rem_euclid(DAY_US)))),
            ("current_time", 0) => Err(Error::unsupported("time with time zone")),
            ("current_date", 0) => match i32::try_from(self.context.now_us.div_euclid(DAY_US)) {
                Ok(day) => Ok(Typed::literal(Scalar::Date32(day))),
                Err(_) => Err(Error::internal("a clock beyond all dates")),
            },
            ("current_user" | "session_user" | "user" | "current_role", 0) => {
                Ok(Typed::literal(Scalar::Utf8(self.context.user.to_owned())))
            }
            ("current_database" | "current_catalog", 0) => Ok(Typed::literal(Scalar::Utf8(self.context.default_catalog.to_owned()))),
            ("current_schema", 0) => Ok(Typed::literal(match self.context.search_path.first() {
                Some(schema) => Scalar::Utf8(schema.clone()),
                None => Scalar::Null(DataType::Utf8View),
            })),
            ("version", 0) => Ok(Typed::literal(Scalar::Utf8(SERVER_VERSION.to_owned()))),
            _ => return None,
        })
    }

    fn unified(&mut self, function: ScalarFunction, arguments: Vec<Typed>, what: &str) -> Result<Typed> {
        let (arguments, data_type) = self.unify(arguments, what)?;
        Ok(Typed::new(Expr::Function(function, arguments, data_type.clone()), data_type))
    }

    /// NULLIF has the type of its first argument; both are compared like any other two values.
    fn null_if(&mut self, arguments: Vec<Typed>) -> Result<Typed> {
        let Ok([left, right]) = <[Typed; 2]>::try_from(arguments) else { return Err(Error::internal("NULLIF without two arguments")) };
        let wanted = if right.is_unknown() { DataType::Utf8View } else { right.data_type.clone() };
        let left = self.give_type(left, &wanted)?;
        let data_type = left.data_type.clone();
        let common = match coercion::common_type(&left.data_type, &right.data_type) {
            Some(common) => common,
            None => return Err(super::operator::no_operator("=", &left, &right)),
        };
        let arguments = vec![self.coerce(left, &common)?, self.coerce(right, &common)?];
        let result = Typed::new(Expr::Function(ScalarFunction::NullIf, arguments, common.clone()), common);
        Ok(Typed::new(self.coerce(result, &data_type)?, data_type))
    }

    fn concat(&mut self, function: ScalarFunction, arguments: Vec<Typed>) -> Result<Typed> {
        let arguments = arguments.into_iter().map(|a| self.as_shown(a)).collect::<Result<_>>()?;
        Ok(Typed::new(Expr::Function(function, arguments, DataType::Utf8View), DataType::Utf8View))
    }

    /// A value as clients see it: unlike a cast to text, booleans are `t` and `f`.
    fn as_shown(&mut self, value: Typed) -> Result<Expr> {
        if value.data_type != DataType::Boolean {
            return self.coerce(value, &DataType::Utf8View);
        }
        let letter = |letter: &str| Expr::Literal(Scalar::Utf8(letter.to_owned()));
        let branches = vec![(value.expr.clone(), letter("t")), (Expr::Not(Box::new(value.expr)), letter("f"))];
        Ok(Expr::Case { branches, otherwise: None, data_type: DataType::Utf8View })
    }

    fn binary(&mut self, op: Arithmetic, arguments: Vec<Typed>) -> Result<Typed> {
        match <[Typed; 2]>::try_from(arguments) {
            Ok([left, right]) => self.arithmetic(op, left, right),
            Err(_) => Err(Error::internal("an operator without two operands")),
        }
    }

    /// The whole part of a quotient; integers have no other.
    fn truncated(&mut self, quotient: Typed) -> Result<Typed> {
        if coercion::is_integer(&quotient.data_type) { Ok(quotient) } else { self.call("trunc", vec![quotient]) }
    }

    fn cast_first(&mut self, arguments: Vec<Typed>, to: DataType) -> Result<Typed> {
        match arguments.into_iter().next() {
            Some(argument) => self.cast(argument, &WrittenType::from(to)),
            None => Err(Error::internal("a cast of nothing")),
        }
    }

    /// `age(x)`: since x, as of today's midnight.
    fn age_of(&mut self, mut arguments: Vec<Typed>) -> Result<Typed> {
        let today = self.call("current_date", vec![])?;
        arguments.insert(0, today);
        self.call("age", arguments)
    }

    /// `substring(text from start for count)`, and the same with commas.
    pub fn bind_substring(
        &mut self,
        name: &str,
        (text, from, count): (&'a Ast, Option<&'a Ast>, Option<&'a Ast>),
        environment: &Environment<'_>,
    ) -> Result<Typed> {
        let mut arguments = vec![self.bind_expr(text, environment)?];
        match from {
            Some(from) => arguments.push(self.bind_expr(from, environment)?),
            None => arguments.push(Typed::literal(Scalar::Int32(1))),
        }
        if let Some(count) = count {
            arguments.push(self.bind_expr(count, environment)?);
        }
        if arguments[1].data_type == DataType::Utf8View
            || arguments[1].is_unknown() && matches!(arguments[1].constant(), Some(Scalar::Utf8(_)))
        {
            return Err(Error::unsupported("substring by a pattern"));
        }
        self.call(name, arguments)
    }

    /// `overlay(text placing part from start [for count])`: what is before, the part, and what is behind.
    pub fn overlay(&mut self, arguments: Vec<Typed>) -> Result<Typed> {
        let mut rest = arguments.into_iter();
        let (Some(text), Some(part), Some(start)) = (rest.next(), rest.next(), rest.next()) else {
            return Err(Error::internal("overlay without three arguments"));
        };
        let (text, part) = (self.text_if_unknown(text)?, self.text_if_unknown(part)?);
        let count = match rest.next() {
            Some(count) => count,
            None => self.call("length", vec![part.clone()])?,
        };
        let start = self.give_type(start, &DataType::Int32)?;
        let one = || Typed::literal(Scalar::Int32(1));
        let before_length = self.arithmetic(Arithmetic::Subtract, start.clone(), one())?;
        let behind_start = self.arithmetic(Arithmetic::Add, start, count)?;
        let before = self.call("substring", vec![text.clone(), one(), before_length])?;
        let behind = self.call("substring", vec![text, behind_start])?;
        let parts = vec![before.expr, self.coerce(part, &DataType::Utf8View)?, behind.expr];
        Ok(Typed::new(Expr::Function(ScalarFunction::Concat, parts, DataType::Utf8View), DataType::Utf8View))
    }

    /// `date_part('year', x)`: EXTRACT as double precision.
    fn date_part(&mut self, arguments: Vec<Typed>) -> Result<Typed> {
        let Ok([field, value]) = <[Typed; 2]>::try_from(arguments) else { return Err(Error::internal("date_part without two arguments")) };
        let Some(Scalar::Utf8(name)) = field.constant() else {
            return Err(Error::unsupported("date_part with anything but a literal field"));
        };
        let extracted = self.extract(name, value)?;
        Ok(Typed::new(self.coerce(extracted, &DataType::Float64)?, DataType::Float64))
    }

    /// `extract(field from value)`: numeric, as in PostgreSQL; the engine computes whole fields as integers.
    pub fn extract(&mut self, field: &str, value: Typed) -> Result<Typed> {
        let written = field.trim_matches('"').to_lowercase();
        let value = self.give_type(value, &types::timestamp())?;
        let is_extractable = matches!(
            value.data_type,
            DataType::Date32 | DataType::Timestamp(..) | DataType::Time64(TimeUnit::Microsecond) | DataType::Interval(_)
        );
        if !is_extractable {
            return Err(no_function("extract", &[Typed::literal(Scalar::Utf8(written)), value]));
        }
        let unrecognized = || Error::binding("22023", format!("unit \"{written}\" not recognized for type {}", value.type_name()));
        let field = extract_field(&written).ok_or_else(unrecognized)?;
        let has_field = match value.data_type {
            DataType::Date32 => !field.is_clock || field.name == "epoch",
            DataType::Time64(_) => field.is_clock,
            DataType::Interval(_) => !matches!(field.name, "dow" | "isodow" | "doy" | "week" | "isoyear"),
            _ => true,
        };
        if !has_field {
            return Err(Error::binding("0A000", format!("unit \"{written}\" not supported for type {}", value.type_name())));
        }
        let is_fractional = field.scale > 0 && value.data_type != DataType::Date32;
        let arguments = vec![Expr::Literal(Scalar::Utf8(field.name.to_owned())), value.expr];
        let (computed, shown) = match is_fractional {
            true => {
                (DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, 6), DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, field.scale))
            }
            false => (DataType::Int64, types::decimal(types::DECIMAL64_DIGITS_MAX, 0)),
        };
        let extracted = Typed::new(Expr::Function(ScalarFunction::Extract, arguments, computed.clone()), computed);
        Ok(Typed::new(self.coerce(extracted, &shown)?, shown))
    }
}

/// A field of a date, timestamp, time or interval.
struct ExtractField {
    /// The one name of it that the engine knows.
    name: &'static str,
    /// Whether it is a part of the time of the day.
    is_clock: bool,
    /// Digits after the point.
    scale: i8,
}

fn extract_field(written: &str) -> Option<ExtractField> {
    let (name, is_clock, scale) = match written {
        "millennium" | "millenium" | "millennia" => ("millennium", false, 0),
        "century" | "centuries" => ("century", false, 0),
        "decade" | "decades" => ("decade", false, 0),
        "year" | "years" | "y" => ("year", false, 0),
        "isoyear" => ("isoyear", false, 0),
        "quarter" => ("quarter", false, 0),
        "month" | "months" | "mon" => ("month", false, 0),
        "week" | "weeks" | "isoweek" => ("week", false, 0),
        "day" | "days" | "d" => ("day", false, 0),
        "dow" | "dayofweek" => ("dow", false, 0),
        "isodow" => ("isodow", false, 0),
        "doy" | "dayofyear" => ("doy", false, 0),
        "hour" | "hours" | "h" => ("hour", true, 0),
        "minute" | "minutes" | "m" | "min" => ("minute", true, 0),
        "second" | "seconds" | "s" | "sec" => ("second", true, 6),
        "millisecond" | "milliseconds" | "ms" | "msec" => ("milliseconds", true, 3),
        "microsecond" | "microseconds" | "us" | "usec" => ("microseconds", true, 0),
        "epoch" => ("epoch", true, 6),
        _ => return None,
    };
    Some(ExtractField { name, is_clock, scale })
}

/// 42883 with the nearest name, if the name is the mistake.
fn unknown_function(name: &str, arguments: &[Typed]) -> Error {
    let error = no_function(name, arguments);
    if functions::is_known(name) {
        return error;
    }
    match nearest(name, functions::names()) {
        Some(candidate) => error.with_hint(format!("perhaps you meant the function {candidate}")),
        None => error,
    }
}
