//! What PostgreSQL calls a column of the select list that has no alias.

use sqlparser::ast::{self, Expr, Value};

use super::{datatype::internal_name, scope::fold};

/// How sure a name is: one that comes from a column or function wins over that of a construct around it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    None,
    Weak,
    Strong,
}

/// The name of the column that shows `expr`.
pub fn output_name(expr: &Expr) -> String {
    match named(expr) {
        (Strength::None, _) => "?column?".to_owned(),
        (_, name) => name,
    }
}

fn named(expr: &Expr) -> (Strength, String) {
    let strong = |name: &str| (Strength::Strong, name.to_owned());
    match expr {
        Expr::Identifier(name) => (Strength::Strong, fold(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map_or((Strength::None, String::new()), |name| (Strength::Strong, fold(name))),
        Expr::Function(function) => match function.name.0.last().and_then(|part| part.as_ident()) {
            Some(name) => (Strength::Strong, fold(name)),
            None => (Strength::None, String::new()),
        },
        Expr::Cast { expr, data_type, .. } => match named(expr) {
            (Strength::Strong, name) => (Strength::Strong, name),
            _ => (Strength::Weak, internal_name(data_type)),
        },
        Expr::TypedString(typed) => (Strength::Weak, internal_name(&typed.data_type)),
        Expr::Interval(_) => (Strength::Weak, "interval".to_owned()),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => (Strength::Weak, "bool".to_owned()),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => named(inner),
        Expr::Case { else_result, .. } => match else_result.as_deref().map(named) {
            Some((Strength::Strong, name)) => (Strength::Strong, name),
            _ => (Strength::Weak, "case".to_owned()),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => match first_item(&query.body) {
            Some(ast::SelectItem::ExprWithAlias { alias, .. }) => (Strength::Strong, fold(alias)),
            Some(ast::SelectItem::UnnamedExpr(expr)) => named(expr),
            _ => (Strength::None, String::new()),
        },
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Tuple(_) => strong("row"),
        _ => (Strength::None, String::new()),
    }
}

fn first_item(body: &ast::SetExpr) -> Option<&ast::SelectItem> {
    match body {
        ast::SetExpr::Select(select) => select.projection.first(),
        ast::SetExpr::SetOperation { left, .. } => first_item(left),
        ast::SetExpr::Query(query) => first_item(&query.body),
        _ => None,
    }
}
