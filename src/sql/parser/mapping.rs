//! The parser's statements into ours; whatever has no place here is refused by name.

use sqlparser::ast::{self, Spanned};

use super::{Piece, Statement, StatementKind, position};
use crate::error::{Error, Result};

/// What a parsed statement does.
///
/// # Errors
/// 0A000 for every statement and clause that is not supported, with a position in the piece.
pub(super) fn statement_kind(statement: ast::Statement, piece: &Piece<'_>) -> Result<StatementKind> {
    use ast::Statement as S;
    match statement {
        S::Query(query) => Ok(StatementKind::Query(query)),
        S::Explain { analyze, verbose, query_plan, estimate, statement, format, options, describe_alias: _ } => {
            refuse(verbose || query_plan || estimate, "this option of EXPLAIN")?;
            explain(analyze, *statement, format, options.unwrap_or_default())
        }
        S::CreateView(view) => create_view(view),
        S::Drop { object_type: ast::ObjectType::View, if_exists, names, cascade, restrict: _, purge, temporary, table } => {
            refuse(cascade || purge || temporary || table.is_some(), "this option of DROP VIEW")?;
            Ok(StatementKind::DropView { names, if_exists })
        }
        S::StartTransaction { modes: _, begin: _, transaction: _, modifier, statements, exception, has_end_keyword } => {
            refuse(modifier.is_some() || !statements.is_empty() || exception.is_some() || has_end_keyword, "this form of BEGIN")?;
            Ok(StatementKind::Begin)
        }
        S::Commit { chain, end: _, modifier } => {
            refuse(chain || modifier.is_some(), "this form of COMMIT")?;
            Ok(StatementKind::Commit)
        }
        S::Rollback { chain, savepoint } => {
            refuse(chain, "ROLLBACK AND CHAIN")?;
            Ok(if savepoint.is_some() { StatementKind::Savepoint("ROLLBACK") } else { StatementKind::Rollback })
        }
        S::Savepoint { .. } => Ok(StatementKind::Savepoint("SAVEPOINT")),
        S::ReleaseSavepoint { .. } => Ok(StatementKind::Savepoint("RELEASE")),
        S::Set(set) => setting(set),
        S::Reset(reset) => match reset.reset {
            ast::Reset::ALL => Ok(StatementKind::Reset(None)),
            ast::Reset::ConfigurationParameter(name) => Ok(StatementKind::Reset(Some(setting_name(&name)))),
            ast::Reset::SessionAuthorization => Err(Error::unsupported("RESET SESSION AUTHORIZATION")),
        },
        S::ShowVariable { variable } => Ok(StatementKind::Show(shown_setting(&variable))),
        S::ShowTables { terse, history, extended, full, external, show_options } => {
            let plain = show_options.show_in.is_none()
                && show_options.starts_with.is_none()
                && show_options.limit.is_none()
                && show_options.limit_from.is_none()
                && show_options.filter_position.is_none();
            refuse(terse || history || extended || full || external || !plain, "this option of SHOW TABLES")?;
            Ok(StatementKind::ShowTables)
        }
        S::Prepare { name, data_types, statement } => {
            let kind = statement_kind(*statement, piece)?;
            refuse(!matches!(kind, StatementKind::Query(_)), "PREPARE of anything but a query")?;
            let statement = Statement { text: piece.text.to_owned(), offset: piece.offset, kind };
            Ok(StatementKind::Prepare { name: fold(&name), parameter_types: data_types, statement: Box::new(statement) })
        }
        S::Execute { name: Some(name), parameters, has_parentheses: _, immediate, into, using, output, default } => {
            refuse(immediate || output || default || !into.is_empty() || !using.is_empty(), "this form of EXECUTE")?;
            Ok(StatementKind::Execute { name: object_name(&name), parameters })
        }
        S::Deallocate { name, prepare: _ } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            Ok(StatementKind::Deallocate((!all).then(|| fold(&name))))
        }
        S::Discard { object_type: ast::DiscardObject::ALL } => Ok(StatementKind::DiscardAll),
        other => Err(unsupported_statement(&other, piece)),
    }
}

fn refuse(condition: bool, what: &str) -> Result<()> {
    if condition { Err(Error::unsupported(what)) } else { Ok(()) }
}

/// Named by its first words, as they were written.
fn unsupported_statement(statement: &ast::Statement, piece: &Piece<'_>) -> Error {
    let mut words = piece.text.split_whitespace().map(|w| w.trim_end_matches(|c: char| !c.is_ascii_alphabetic()).to_uppercase());
    let first = words.next().unwrap_or_default();
    let name = match (first.as_str(), words.next()) {
        ("CREATE" | "DROP" | "ALTER" | "DISCARD", Some(second)) => format!("{first} {second}"),
        _ => first,
    };
    Error::unsupported(name).at(position::of_span(piece.text, statement.span()).or(Some(1)))
}

fn explain(
    mut analyze: bool,
    statement: ast::Statement,
    format: Option<ast::AnalyzeFormatKind>,
    options: Vec<ast::UtilityOption>,
) -> Result<StatementKind> {
    let mut json = match format {
        None => false,
        Some(ast::AnalyzeFormatKind::Keyword(format) | ast::AnalyzeFormatKind::Assignment(format)) => match format {
            ast::AnalyzeFormat::TEXT => false,
            ast::AnalyzeFormat::JSON => true,
            other => return Err(Error::unsupported(format!("EXPLAIN in format {other}"))),
        },
    };
    let mut distributed = false;
    for option in options {
        let value = option.arg.as_ref().map(|e| e.to_string().trim_matches('\'').to_lowercase());
        match (fold(&option.name).as_str(), value.as_deref()) {
            ("analyze", None | Some("true" | "on" | "1")) => analyze = true,
            ("analyze", Some("false" | "off" | "0")) => analyze = false,
            ("distributed", None | Some("true" | "on" | "1")) => distributed = true,
            ("distributed", Some("false" | "off" | "0")) => distributed = false,
            ("format", Some("text")) => json = false,
            ("format", Some("json")) => json = true,
            // What is off needs no support.
            (_, Some("false" | "off" | "0")) => {}
            (name, _) => return Err(Error::unsupported(format!("EXPLAIN option {}", name.to_uppercase()))),
        }
    }
    match statement {
        ast::Statement::Query(query) => Ok(StatementKind::Explain { analyze, json, distributed, query }),
        _ => Err(Error::unsupported("EXPLAIN of anything but a query")),
    }
}

fn create_view(view: ast::CreateView) -> Result<StatementKind> {
    let ast::CreateView {
        or_alter,
        or_replace,
        materialized,
        secure,
        name,
        name_before_not_exists: _,
        columns,
        query,
        options,
        cluster_by,
        comment,
        with_no_schema_binding,
        if_not_exists,
        temporary: _,
        copy_grants,
        to,
        params,
    } = view;
    refuse(materialized, "CREATE MATERIALIZED VIEW")?;
    refuse(if_not_exists, "CREATE VIEW IF NOT EXISTS")?;
    let with_options = !matches!(options, ast::CreateTableOptions::None)
        || !cluster_by.is_empty()
        || comment.is_some()
        || to.is_some()
        || params.is_some()
        || columns.iter().any(|c| c.data_type.is_some() || c.options.is_some());
    refuse(or_alter || secure || with_no_schema_binding || copy_grants || with_options, "this option of CREATE VIEW")?;
    let columns = columns.iter().map(|column| fold(&column.name)).collect();
    Ok(StatementKind::CreateView { name, columns, or_replace, query })
}

fn setting(set: ast::Set) -> Result<StatementKind> {
    match set {
        ast::Set::SingleAssignment { scope, hivevar, variable, values } => {
            refuse(hivevar || matches!(scope, Some(ast::ContextModifier::Local | ast::ContextModifier::Global)), "SET LOCAL")?;
            Ok(StatementKind::Set { name: setting_name(&variable), value: setting_value(&values)? })
        }
        ast::Set::SetTimeZone { local, value } => {
            refuse(local, "SET LOCAL")?;
            Ok(StatementKind::Set { name: "timezone".to_owned(), value: setting_value(&[value])? })
        }
        ast::Set::SetNames { charset_name, collation_name } => {
            refuse(collation_name.is_some(), "SET NAMES with a collation")?;
            Ok(StatementKind::Set { name: "client_encoding".to_owned(), value: Some(charset_name.value) })
        }
        ast::Set::SetTransaction { modes, snapshot, session } => {
            refuse(snapshot.is_some(), "SET TRANSACTION SNAPSHOT")?;
            let name = if session { "session characteristics" } else { "transaction" };
            let modes: Vec<String> = modes.iter().map(|mode| mode.to_string().to_lowercase()).collect();
            Ok(StatementKind::Set { name: name.to_owned(), value: Some(modes.join(", ")) })
        }
        ast::Set::SetNamesDefault {} => Ok(StatementKind::Set { name: "client_encoding".to_owned(), value: None }),
        other => Err(Error::unsupported(other.to_string())),
    }
}

fn setting_value(values: &[ast::Expr]) -> Result<Option<String>> {
    if let [ast::Expr::Identifier(word)] = values
        && word.quote_style.is_none()
        && (word.value.eq_ignore_ascii_case("default"))
    {
        return Ok(None);
    }
    let texts: Vec<String> = values.iter().map(setting_word).collect::<Result<_>>()?;
    Ok(Some(texts.join(", ")))
}

fn setting_word(value: &ast::Expr) -> Result<String> {
    match value {
        ast::Expr::Identifier(word) => Ok(word.value.clone()),
        ast::Expr::Value(value) => Ok(match &value.value {
            ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => text.clone(),
            ast::Value::DollarQuotedString(text) => text.value.clone(),
            other => other.to_string(),
        }),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus | ast::UnaryOperator::Plus, expr } if matches!(**expr, ast::Expr::Value(_)) => {
            Ok(value.to_string())
        }
        ast::Expr::Interval(_) | ast::Expr::TypedString(_) => Ok(value.to_string()),
        _ => Err(Error::unsupported("an expression as the value of a setting")),
    }
}

/// `SHOW TRANSACTION ISOLATION LEVEL` and `SHOW TIME ZONE` are settings under other names.
fn shown_setting(words: &[ast::Ident]) -> String {
    let words: Vec<String> = words.iter().map(fold).collect();
    match words.join(" ").as_str() {
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "time zone" => "timezone".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        _ => words.join("."),
    }
}

fn setting_name(name: &ast::ObjectName) -> String {
    object_name(name).to_lowercase()
}

fn object_name(name: &ast::ObjectName) -> String {
    name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect::<Vec<_>>().join(".")
}

/// Lower case unless quoted.
fn fold(name: &ast::Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}
