//! Common table expressions: bound once where they are defined, shared where they are read several times.
//!
//! Every reference becomes a `CteScan`. When the whole query is bound, those with one reference are put in
//! its place, those without are dropped, and the rest goes to `Query::ctes`. `NOT MATERIALIZED` has the query
//! bound anew for each reference instead.

use sqlparser::ast;

use super::{
    Binder,
    query::{Output, Relational},
    scope::{Environment, Name, Relation, Scope, fold},
};
use crate::{
    error::{Error, Result},
    plan::logical::{Cte, CteId, CteScan, Expr, LogicalPlan, Query},
};

/// The CTEs of a statement.
#[derive(Default)]
pub struct Ctes<'a> {
    /// All that were bound, in order; an id is a position.
    bound: Vec<BoundCte>,
    /// Those whose names are visible now, innermost last.
    visible: Vec<Definition<'a>>,
}

/// A CTE's plan, until it is known how often it is read.
struct BoundCte {
    name: String,
    plan: LogicalPlan,
    output: Vec<Output>,
    /// MATERIALIZED: shared even if read once.
    is_materialized: bool,
    /// It uses columns of a query around it, and cannot be computed once.
    is_correlated: bool,
    references: usize,
}

/// A name that a WITH clause gives.
#[derive(Clone)]
struct Definition<'a> {
    name: String,
    columns: Vec<String>,
    cte: usize,
    /// NOT MATERIALIZED: what is bound anew for every reference.
    inline: Option<&'a ast::Query>,
    /// How many definitions the query itself sees.
    visible_before: usize,
}

impl<'a> Ctes<'a> {
    /// Takes a mark, to which [`Ctes::forget`] returns.
    pub fn mark(&self) -> usize {
        self.visible.len()
    }

    /// Makes names invisible that were defined after the mark.
    pub fn forget(&mut self, mark: usize) {
        self.visible.truncate(mark);
    }

    /// Puts every CTE where it belongs.
    pub fn place(self, query: &mut Query) {
        let mut shared: Vec<Cte> = vec![];
        for (index, cte) in self.bound.into_iter().enumerate().rev() {
            let id = CteId(index as u32);
            let readers =
                std::iter::once(&query.root).chain(shared.iter().map(|c| &c.plan)).map(|plan| count_scans(plan, id)).sum::<usize>();
            let output: Vec<_> = cte.output.iter().map(|o| o.id).collect();
            if readers > 1 || readers == 1 && cte.is_materialized && !cte.is_correlated {
                shared.push(Cte { id, name: cte.name, plan: cte.plan, output });
            } else if readers == 1 {
                let mut plan = Some(cte.plan);
                for reader in std::iter::once(&mut query.root).chain(shared.iter_mut().map(|c| &mut c.plan)) {
                    replace_scan(reader, id, &output, &mut plan);
                }
            }
        }
        shared.reverse();
        query.ctes = shared;
    }
}

impl<'a> Binder<'a> {
    /// Binds the definitions of a WITH clause and makes their names visible.
    pub fn define_ctes(&mut self, with: &'a ast::With, parent: Option<&Environment<'_>>) -> Result<()> {
        let ast::With { with_token, recursive, cte_tables } = with;
        if *recursive {
            return Err(Error::unsupported("WITH RECURSIVE").at(self.position(with_token.0.span)));
        }
        let mark = self.ctes.mark();
        for table in cte_tables {
            let ast::Cte { alias, query, from, materialized, closing_paren_token: _ } = table;
            let position = self.position(alias.name.span);
            let name = fold(&alias.name);
            if from.is_some() || alias.at.is_some() {
                return Err(Error::unsupported("this form of WITH").at(position));
            }
            if self.ctes.visible[mark..].iter().any(|d| d.name == name) {
                return Err(Error::binding("42712", format!("WITH query name \"{name}\" specified more than once")).at(position));
            }
            let relational = self.bind_query(query, parent).map_err(|e| e.at(position))?;
            self.settle(&relational.output);
            let columns = self.renamed(&relational.output, alias).map_err(|e| e.at(position))?;
            let inline = matches!(materialized, Some(ast::CteAsMaterialized::NotMaterialized));
            let definition = Definition {
                name: name.clone(),
                columns,
                cte: self.ctes.bound.len(),
                inline: inline.then_some(&**query),
                visible_before: self.ctes.visible.len(),
            };
            self.ctes.bound.push(BoundCte {
                is_correlated: !relational.plan.free_columns().is_empty(),
                name,
                plan: relational.plan,
                output: relational.output,
                is_materialized: matches!(materialized, Some(ast::CteAsMaterialized::Materialized)),
                references: 0,
            });
            self.ctes.visible.push(definition);
        }
        Ok(())
    }

    /// A reference to a CTE, if `name` is one.
    pub fn bind_cte_reference(&mut self, name: &str) -> Result<Option<(LogicalPlan, Relation)>> {
        let Some(definition) = self.ctes.visible.iter().rev().find(|d| d.name == name).cloned() else { return Ok(None) };
        let cte = &mut self.ctes.bound[definition.cte];
        let (plan, ids) = match definition.inline {
            Some(query) if !cte.is_correlated => {
                let relational = self.bind_cte_anew(query, definition.visible_before)?;
                let ids: Vec<_> = relational.output.iter().map(|o| o.id).collect();
                (relational.plan, ids)
            }
            _ => {
                cte.references += 1;
                if cte.is_correlated && cte.references > 1 {
                    return Err(Error::unsupported(format!("reading \"{name}\", which depends on an outer query, more than once")));
                }
                let nullable: Vec<bool> = cte.output.iter().map(|o| self.nulled.contains(&o.id)).collect();
                let columns: Vec<_> = cte.output.iter().enumerate().map(|(at, o)| (self.columns.duplicate(o.id), at)).collect();
                for ((id, _), nullable) in columns.iter().zip(nullable) {
                    self.columns.get_mut(*id).nullable |= nullable;
                }
                let ids = columns.iter().map(|(id, _)| *id).collect();
                (LogicalPlan::CteScan(CteScan { cte: CteId(definition.cte as u32), columns }), ids)
            }
        };
        let columns = definition.columns.into_iter().zip(ids).map(|(name, id)| Name { name, id }).collect();
        Ok(Some((plan, Relation { alias: name.to_owned(), table: None, columns })))
    }

    /// Binds the query of a CTE with the names it saw where it was defined.
    fn bind_cte_anew(&mut self, query: &'a ast::Query, visible_before: usize) -> Result<Relational> {
        let hidden = self.ctes.visible.split_off(visible_before);
        let result = self.bind_query(query, None);
        self.ctes.visible.truncate(visible_before);
        self.ctes.visible.extend(hidden);
        let relational = result?;
        self.settle(&relational.output);
        Ok(relational)
    }

    /// Binds `query` as if it stood alone: no CTE of the statement is visible in it, nor any outer column.
    pub fn bind_isolated(&mut self, query: &'a ast::Query) -> Result<Relational> {
        self.bind_cte_anew(query, 0)
    }

    /// Output names after an alias's column list; the list may be shorter than the output.
    pub fn renamed(&self, output: &[Output], alias: &ast::TableAlias) -> Result<Vec<String>> {
        if alias.columns.len() > output.len() {
            return Err(Error::binding(
                "42P10",
                format!(
                    "table \"{}\" has {} columns available but {} columns specified",
                    alias.name.value,
                    output.len(),
                    alias.columns.len()
                ),
            ));
        }
        if alias.columns.iter().any(|c| c.data_type.is_some()) {
            return Err(Error::unsupported("a column alias with a type"));
        }
        let given = alias.columns.iter().map(|c| Some(fold(&c.name))).chain(std::iter::repeat(None));
        Ok(output.iter().zip(given).map(|(o, given)| given.unwrap_or_else(|| o.name.clone())).collect())
    }

    /// The scope of a relation's output under an alias.
    pub fn aliased(&self, output: &[Output], alias: &ast::TableAlias) -> Result<Scope> {
        if alias.at.is_some() {
            return Err(Error::unsupported("AT after a table alias"));
        }
        let names = self.renamed(output, alias)?;
        let columns = names.into_iter().zip(output).map(|(name, o)| Name { name, id: o.id }).collect();
        Ok(Scope::of_relation(Relation { alias: fold(&alias.name), table: None, columns }))
    }
}

/// Calls `visit` on every plan inside `plan`, itself and the plans of subqueries included.
fn for_each_plan(plan: &LogicalPlan, visit: &mut impl FnMut(&LogicalPlan)) {
    visit(plan);
    plan.for_each_expr(|expr| for_each_subquery(expr, visit));
    plan.inputs().into_iter().for_each(|input| for_each_plan(input, visit));
}

fn for_each_subquery(expr: &Expr, visit: &mut impl FnMut(&LogicalPlan)) {
    if let Expr::Subquery(subquery) = expr {
        for_each_plan(&subquery.plan, visit);
    }
    expr.for_each_child(|child| for_each_subquery(child, visit));
}

fn count_scans(plan: &LogicalPlan, id: CteId) -> usize {
    let mut count = 0;
    for_each_plan(plan, &mut |plan| count += usize::from(matches!(plan, LogicalPlan::CteScan(scan) if scan.cte == id)));
    count
}

/// Puts `replacement` where the one scan of `id` stands.
fn replace_scan(plan: &mut LogicalPlan, id: CteId, output: &[crate::plan::logical::ColumnId], replacement: &mut Option<LogicalPlan>) {
    if let LogicalPlan::CteScan(scan) = plan
        && scan.cte == id
    {
        if let Some(input) = replacement.take() {
            let expressions = scan.columns.iter().map(|(new, at)| (*new, Expr::Column(output[*at]))).collect();
            *plan = LogicalPlan::Project { input: Box::new(input), expressions };
        }
        return;
    }
    if replacement.is_none() {
        return;
    }
    plan.for_each_expr_mut(|expr| replace_in_expr(expr, id, output, replacement));
    for input in plan.inputs_mut() {
        replace_scan(input, id, output, replacement);
    }
}

fn replace_in_expr(expr: &mut Expr, id: CteId, output: &[crate::plan::logical::ColumnId], replacement: &mut Option<LogicalPlan>) {
    if let Expr::Subquery(subquery) = expr {
        replace_scan(&mut subquery.plan, id, output, replacement);
    }
    expr.for_each_child_mut(|child| replace_in_expr(child, id, output, replacement));
}
