//! Which names are visible where.
//!
//! A [`Scope`] is what a FROM clause (or a part of it) offers; an [`Environment`] is a scope within those of
//! the queries around it, together with what the clause allows.

use std::cell::RefCell;

use sqlparser::{ast, tokenizer::Span};

use super::{Binder, aggregate::Collector};
use crate::{
    error::{Error, Result},
    plan::logical::{ColumnId, TableName},
};

/// What a FROM clause offers.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Tables by alias, for `t.c` and `t.*`.
    pub relations: Vec<Relation>,
    /// Columns without qualification, and `*`, in order: those of USING once, the names need not be unique.
    pub visible: Vec<Name>,
}

/// A table of a FROM clause.
#[derive(Debug, Clone)]
pub struct Relation {
    /// Alias, or the table's own name.
    pub alias: String,
    /// Its full name, unless an alias hides it.
    pub table: Option<TableName>,
    /// Its columns.
    pub columns: Vec<Name>,
}

/// A column under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    /// Folded.
    pub name: String,
    /// What it is.
    pub id: ColumnId,
}

/// A clause, for messages and for what is allowed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// The select list, ORDER BY.
    Select,
    /// HAVING.
    Having,
    /// WHERE.
    Where,
    /// JOIN … ON.
    JoinCondition,
    /// GROUP BY.
    GroupBy,
    /// Arguments of an aggregate.
    AggregateArgument,
    /// FILTER of an aggregate.
    Filter,
    /// VALUES.
    Values,
    /// LIMIT, OFFSET, FETCH.
    Limit,
}

impl Clause {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Clause::Select => "SELECT",
            Clause::Having => "HAVING",
            Clause::Where => "WHERE",
            Clause::JoinCondition => "JOIN conditions",
            Clause::GroupBy => "GROUP BY",
            Clause::AggregateArgument => "arguments of aggregates",
            Clause::Filter => "FILTER",
            Clause::Values => "VALUES",
            Clause::Limit => "LIMIT",
        }
    }
}

/// A scope within those of the queries around it.
#[derive(Clone, Copy)]
pub struct Environment<'e> {
    /// This query's names.
    pub scope: &'e Scope,
    /// The query around this one.
    pub parent: Option<&'e Environment<'e>>,
    /// Where in the query.
    pub clause: Clause,
    /// Where aggregates go, if they are allowed here.
    pub collector: Option<&'e RefCell<Collector>>,
}

impl<'e> Environment<'e> {
    /// The same names in another clause, in which aggregates are not allowed.
    pub fn in_clause(&self, clause: Clause) -> Environment<'e> {
        Environment { clause, collector: None, ..*self }
    }
}

/// Lower case unless quoted.
pub fn fold(name: &ast::Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// The parts of a name, folded; functions as name parts are refused.
///
/// # Errors
/// 0A000 for parts that are no identifiers.
pub fn name_parts(name: &ast::ObjectName) -> Result<Vec<String>> {
    let part = |part: &ast::ObjectNamePart| part.as_ident().map(fold).ok_or_else(|| Error::unsupported(format!("the name {name}")));
    name.0.iter().map(part).collect()
}

impl Scope {
    /// A scope of one table.
    pub fn of_relation(relation: Relation) -> Scope {
        Scope { visible: relation.columns.clone(), relations: vec![relation] }
    }

    /// Adds the names of another part of the same FROM clause.
    ///
    /// # Errors
    /// 42712 if both have a table of the same name.
    pub fn extend(&mut self, other: Scope) -> Result<()> {
        self.refuse_duplicates(&other)?;
        self.relations.extend(other.relations);
        self.visible.extend(other.visible);
        Ok(())
    }

    /// # Errors
    /// 42712 if both have a table of the same name.
    pub fn refuse_duplicates(&self, other: &Scope) -> Result<()> {
        // The same name is legal for tables of different schemas, as in PostgreSQL.
        let same = |a: &Relation, b: &Relation| a.alias == b.alias && (a.table.is_none() || b.table.is_none() || a.table == b.table);
        match other.relations.iter().find(|r| self.relations.iter().any(|l| same(l, r))) {
            Some(relation) => Err(Error::binding("42712", format!("table name \"{}\" specified more than once", relation.alias))
                .with_hint("give one of them an alias")),
            None => Ok(()),
        }
    }

    /// The tables that `qualifier` (`[[catalog.]schema.]table`) names.
    pub fn relations_named(&self, qualifier: &[String]) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(move |relation| match (qualifier, &relation.table) {
            ([alias], _) => relation.alias == *alias,
            ([schema, name], Some(table)) => table.schema == *schema && table.table == *name,
            ([catalog, schema, name], Some(table)) => table.catalog == *catalog && table.schema == *schema && table.table == *name,
            _ => false,
        })
    }

    /// The column of that name.
    ///
    /// # Errors
    /// 42702 if there are several.
    pub fn find(&self, qualifier: &[String], name: &str) -> Result<Option<ColumnId>> {
        let mut found: Option<ColumnId> = None;
        let mut consider = |candidate: &Name| {
            if candidate.name == name {
                if found.is_some() {
                    return Err(Error::binding("42702", format!("column reference \"{name}\" is ambiguous"))
                        .with_hint("write the table's name before it"));
                }
                found = Some(candidate.id);
            }
            Ok(())
        };
        if qualifier.is_empty() {
            self.visible.iter().try_for_each(&mut consider)?;
        } else {
            self.relations_named(qualifier).flat_map(|r| &r.columns).try_for_each(&mut consider)?;
        }
        Ok(found)
    }
}

impl Binder<'_> {
    /// The column that a (qualified) name means, here or in a query around this one.
    ///
    /// # Errors
    /// 42703, 42702, 42P01.
    pub fn resolve(&mut self, parts: &[ast::Ident], environment: &Environment<'_>) -> Result<ColumnId> {
        let span = parts.iter().fold(Span::empty(), |span, part| span.union(&part.span));
        let folded: Vec<String> = parts.iter().map(fold).collect();
        let Some((name, qualifier)) = folded.split_last() else { return Err(Error::internal("an empty name")) };
        let mut next = Some(environment);
        while let Some(here) = next {
            let found = here.scope.find(qualifier, name).map_err(|e| e.at(self.position(span)))?;
            if let Some(id) = found {
                if let Some(collector) = here.collector {
                    collector.borrow_mut().note_reference(id, &folded.join("."), span);
                }
                return Ok(id);
            }
            next = here.parent;
        }
        Err(self.unknown_column(qualifier, name, environment).at(self.position(span)))
    }

    fn unknown_column(&self, qualifier: &[String], name: &str, environment: &Environment<'_>) -> Error {
        let scopes = std::iter::successors(Some(environment), |e| e.parent);
        if !qualifier.is_empty() && !scopes.clone().any(|e| e.scope.relations_named(qualifier).next().is_some()) {
            let table = qualifier.join(".");
            let error = Error::binding("42P01", format!("missing FROM-clause entry for table \"{table}\""));
            let aliases = scopes.flat_map(|e| e.scope.relations.iter().map(|r| r.alias.as_str()));
            return match nearest(&table, aliases) {
                Some(alias) => error.with_hint(format!("perhaps you meant \"{alias}\"")),
                None => error,
            };
        }
        let shown = if qualifier.is_empty() { format!("\"{name}\"") } else { format!("{}.{name}", qualifier.join(".")) };
        let error = Error::binding("42703", format!("column {shown} does not exist"));
        let relations = scopes.flat_map(|e| &e.scope.relations);
        let names: Vec<(&str, &str)> = relations.flat_map(|r| r.columns.iter().map(|c| (r.alias.as_str(), c.name.as_str()))).collect();
        match nearest(name, names.iter().map(|(_, column)| *column)) {
            Some(column) => {
                let table = names.iter().find(|(_, c)| *c == column).map_or("", |(table, _)| table);
                error.with_hint(format!("perhaps you meant to reference the column \"{table}.{column}\""))
            }
            None => error,
        }
    }
}

/// The candidate that differs least from `name`, if it differs little.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    const COMPARED_MAX: usize = 64;
    if name.chars().count() > COMPARED_MAX {
        return None;
    }
    let name = name.to_lowercase();
    let limit = 1 + name.chars().count() / 4;
    let close = candidates.into_iter().filter(|c| c.len() <= COMPARED_MAX * 2).map(|c| (distance(&name, &c.to_lowercase()), c));
    close.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
