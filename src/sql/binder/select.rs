//! One SELECT: FROM, WHERE, grouping, the select list, DISTINCT, ORDER BY.

use std::{cell::RefCell, collections::HashSet};

use arrow::datatypes::DataType;
use sqlparser::ast::{self, Spanned};

use super::{
    Binder,
    aggregate::{Collector, Grouping},
    conversion::Typed,
    naming,
    query::{Output, Relational},
    scope::{Clause, Environment, fold, name_parts},
    set_operation::{distinct, unsettled_text},
};
use crate::{
    error::{Error, Result},
    plan::logical::{ColumnId, Expr, LogicalPlan, SortKey},
};

/// An entry of the select list.
struct Item {
    name: String,
    value: Typed,
}

/// What an ORDER BY sorts by.
enum SortTarget {
    /// An entry of the select list.
    Item(usize),
    /// Something else.
    Expr(Expr),
}

impl<'a> Binder<'a> {
    /// Binds a SELECT together with the ORDER BY that belongs to it.
    pub fn bind_select(
        &mut self,
        select: &'a ast::Select,
        order_by: &'a [ast::OrderByExpr],
        parent: Option<&Environment<'_>>,
    ) -> Result<Relational> {
        self.refuse_clauses(select)?;
        let (mut plan, scope) = self.bind_from(&select.from, parent)?;
        let collector = RefCell::new(Collector::default());
        let environment = Environment { scope: &scope, parent, clause: Clause::Select, collector: Some(&collector) };
        if let Some(selection) = &select.selection {
            let predicate = self.bind_condition(selection, &environment.in_clause(Clause::Where), "WHERE")?;
            plan = filter(plan, predicate);
        }
        let mut items = self.bind_items(&select.projection, &environment)?;
        let group_keys = self.bind_group_by(&select.group_by, &items, &environment)?;
        let having = match &select.having {
            Some(having) => Some(self.bind_condition(having, &Environment { clause: Clause::Having, ..environment }, "HAVING")?),
            None => None,
        };
        let mut targets = self.bind_order_by(order_by, &items, &environment)?;
        let collector = collector.into_inner();
        if group_keys.is_some() || having.is_some() || !collector.is_empty() {
            let grouping = Grouping::new(self, plan, group_keys.unwrap_or_default(), collector);
            items.iter_mut().try_for_each(|item| grouping.rewrite(self, &mut item.value.expr))?;
            for target in &mut targets {
                if let SortTarget::Expr(expr) = target {
                    grouping.rewrite(self, expr)?;
                }
            }
            let mut having = having;
            having.iter_mut().try_for_each(|having| grouping.rewrite(self, having))?;
            plan = grouping.into_plan();
            if let Some(having) = having {
                plan = filter(plan, having);
            }
        }
        self.project(plan, items, targets, order_by, select.distinct.as_ref())
    }

    fn refuse_clauses(&self, select: &ast::Select) -> Result<()> {
        let ast::Select {
            select_token,
            optimizer_hints: _, // comments, to PostgreSQL
            distinct: _,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection: _,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by: _,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let hive = !lateral_views.is_empty() || !cluster_by.is_empty() || !distribute_by.is_empty() || !sort_by.is_empty();
        let refusals = [
            (into.is_some(), "SELECT INTO"),
            (!named_window.is_empty(), "WINDOW"),
            (qualify.is_some(), "QUALIFY"),
            (top.is_some(), "TOP"),
            (exclude.is_some(), "EXCLUDE"),
            (prewhere.is_some(), "PREWHERE"),
            (!connect_by.is_empty(), "CONNECT BY"),
            (hive, "LATERAL VIEW, CLUSTER BY, DISTRIBUTE BY or SORT BY"),
            (value_table_mode.is_some(), "SELECT AS STRUCT or VALUE"),
            (*flavor != ast::SelectFlavor::Standard, "a query that starts with FROM"),
            (select_modifiers.as_ref().is_some_and(|m| m.is_any_set()), "a modifier after SELECT"),
        ];
        match refusals.into_iter().find(|(refused, _)| *refused) {
            Some((_, what)) => Err(Error::unsupported(what).at(self.position(select_token.0.span))),
            None => Ok(()),
        }
    }

    /// Binds a condition; its conjuncts may be taken from it with [`conjuncts`].
    pub fn bind_condition(&mut self, expr: &'a ast::Expr, environment: &Environment<'_>, what: &str) -> Result<Expr> {
        let typed = self.bind_expr(expr, environment)?;
        self.condition(typed, what).map_err(|e| e.at(self.position(expr.span())))
    }

    fn bind_items(&mut self, projection: &'a [ast::SelectItem], environment: &Environment<'_>) -> Result<Vec<Item>> {
        let mut items = vec![];
        for item in projection {
            match item {
                ast::SelectItem::UnnamedExpr(expr) => {
                    items.push(Item { name: naming::output_name(expr), value: self.bind_expr(expr, environment)? });
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(Item { name: fold(alias), value: self.bind_expr(expr, environment)? });
                }
                ast::SelectItem::Wildcard(options) => {
                    self.refuse_wildcard_options(options)?;
                    if environment.scope.relations.is_empty() {
                        let error = Error::syntax("SELECT * with no tables specified is not valid");
                        return Err(error.at(self.position(options.wildcard_token.0.span)));
                    }
                    for name in &environment.scope.visible {
                        items.push(self.column_item(&name.name, name.id, environment, options));
                    }
                }
                ast::SelectItem::QualifiedWildcard(kind, options) => {
                    self.refuse_wildcard_options(options)?;
                    self.bind_qualified_wildcard(kind, options, environment, &mut items)?;
                }
                ast::SelectItem::ExprWithAliases { expr, .. } => {
                    return Err(Error::unsupported("several aliases for an expression").at(self.position(expr.span())));
                }
            }
        }
        Ok(items)
    }

    fn bind_qualified_wildcard(
        &mut self,
        kind: &ast::SelectItemQualifiedWildcardKind,
        options: &ast::WildcardAdditionalOptions,
        environment: &Environment<'_>,
        items: &mut Vec<Item>,
    ) -> Result<()> {
        let ast::SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
            return Err(Error::unsupported("the columns of an expression").at(self.position(options.wildcard_token.0.span)));
        };
        let position = self.position(name.span());
        let parts = name_parts(name).map_err(|e| e.at(position))?;
        let mut scopes = std::iter::successors(Some(environment), |e| e.parent);
        let Some(relation) = scopes.find_map(|e| e.scope.relations_named(&parts).next()) else {
            return Err(Error::binding("42P01", format!("missing FROM-clause entry for table \"{}\"", parts.join("."))).at(position));
        };
        for name in &relation.columns {
            items.push(self.column_item(&name.name, name.id, environment, options));
        }
        Ok(())
    }

    fn column_item(&self, name: &str, id: ColumnId, environment: &Environment<'_>, options: &ast::WildcardAdditionalOptions) -> Item {
        if let Some(collector) = environment.collector {
            collector.borrow_mut().note_reference(id, name, options.wildcard_token.0.span);
        }
        Item { name: name.to_owned(), value: Typed::new(Expr::Column(id), self.columns.get(id).data_type.clone()) }
    }

    fn refuse_wildcard_options(&self, options: &ast::WildcardAdditionalOptions) -> Result<()> {
        let ast::WildcardAdditionalOptions { wildcard_token, opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, opt_alias } =
            options;
        let any = opt_ilike.is_some()
            || opt_exclude.is_some()
            || opt_except.is_some()
            || opt_replace.is_some()
            || opt_rename.is_some()
            || opt_alias.is_some();
        if any { Err(Error::unsupported("an option after *").at(self.position(wildcard_token.0.span))) } else { Ok(()) }
    }

    /// The keys of GROUP BY; `None` if there is no such clause. A name means a column of FROM first, then an
    /// entry of the select list.
    fn bind_group_by(
        &mut self,
        group_by: &'a ast::GroupByExpr,
        items: &[Item],
        environment: &Environment<'_>,
    ) -> Result<Option<Vec<Expr>>> {
        let ast::GroupByExpr::Expressions(expressions, modifiers) = group_by else {
            return Err(Error::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(Error::unsupported("GROUP BY … WITH ROLLUP, CUBE or TOTALS"));
        }
        if expressions.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        let same = |a: usize, b: usize| items[a].value.expr == items[b].value.expr;
        let inner = environment.in_clause(Clause::GroupBy);
        let mut keys = vec![];
        for expr in expressions {
            let position = self.position(expr.span());
            match expr {
                ast::Expr::GroupingSets(_) | ast::Expr::Cube(_) | ast::Expr::Rollup(_) => {
                    return Err(Error::unsupported("GROUPING SETS, CUBE or ROLLUP").at(position));
                }
                ast::Expr::Tuple(_) => return Err(Error::unsupported("a row in GROUP BY").at(position)),
                _ => {}
            }
            let is_column = matches!(expr, ast::Expr::Identifier(name) if environment.scope.find(&[], &fold(name)).map_err(|e| e.at(position))?.is_some());
            let item = if is_column { None } else { self.output_position(expr, &names, same, "GROUP BY")? };
            let key = match item {
                Some(at) => {
                    if environment.collector.is_some_and(|c| c.borrow().is_used_in(&items[at].value.expr)) {
                        return Err(Error::binding("42803", "aggregate functions are not allowed in GROUP BY").at(position));
                    }
                    items[at].value.clone()
                }
                None => self.bind_expr(expr, &inner)?,
            };
            keys.push(self.text_if_unknown(key)?.expr);
        }
        Ok(Some(keys))
    }

    /// What ORDER BY sorts by. A name means an entry of the select list first, then a column of FROM.
    fn bind_order_by(
        &mut self,
        order_by: &'a [ast::OrderByExpr],
        items: &[Item],
        environment: &Environment<'_>,
    ) -> Result<Vec<SortTarget>> {
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        let same = |a: usize, b: usize| items[a].value.expr == items[b].value.expr;
        let mut targets = vec![];
        for item in order_by {
            targets.push(match self.output_position(&item.expr, &names, same, "ORDER BY")? {
                Some(at) => SortTarget::Item(at),
                None => {
                    let typed = self.bind_expr(&item.expr, environment)?;
                    SortTarget::Expr(self.text_if_unknown(typed)?.expr)
                }
            });
        }
        Ok(targets)
    }

    /// The projection, and what comes above it.
    fn project(
        &mut self,
        plan: LogicalPlan,
        items: Vec<Item>,
        targets: Vec<SortTarget>,
        order_by: &'a [ast::OrderByExpr],
        distinctness: Option<&'a ast::Distinct>,
    ) -> Result<Relational> {
        let is_distinct = match distinctness {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(expressions)) => {
                let position = expressions.first().and_then(|e| self.position(e.span()));
                return Err(Error::unsupported("SELECT DISTINCT ON").at(position));
            }
        };
        let mut projection = Projection { local: plan.output().into_iter().collect(), expressions: vec![] };
        let mut output = vec![];
        for item in items {
            let unknown = item.value.is_unknown().then(|| item.value.clone());
            let (expr, data_type) = match &unknown {
                Some(value) => (unsettled_text(value), DataType::Utf8View),
                None => (item.value.expr, item.value.data_type),
            };
            // Each unknown value is a column of its own: the types they are given may differ.
            let id = projection.add(self, &item.name, expr, data_type, unknown.is_none());
            output.push(Output { name: item.name, id, unknown });
        }
        let width = projection.expressions.len();
        let mut keys: Vec<SortKey> = vec![];
        for (target, written) in targets.into_iter().zip(order_by) {
            let id = match target {
                SortTarget::Item(at) => output[at].id,
                SortTarget::Expr(expr) => {
                    let data_type = expr.data_type(&self.columns);
                    projection.add(self, &naming::output_name(&written.expr), expr, data_type, true)
                }
            };
            if is_distinct && projection.expressions.len() > width {
                return Err(Error::binding("42P10", "for SELECT DISTINCT, ORDER BY expressions must appear in select list")
                    .at(self.position(written.expr.span())));
            }
            keys.push(self.sort_key(written, Expr::Column(id))?);
        }
        let mut plan = LogicalPlan::Project { input: Box::new(plan), expressions: projection.expressions };
        if is_distinct {
            self.settle(&output);
            output.iter_mut().for_each(|o| o.unknown = None);
            let ids: Vec<ColumnId> = output.iter().map(|o| o.id).collect();
            if ids.is_empty() {
                return Err(Error::syntax("SELECT DISTINCT must have at least one column"));
            }
            plan = distinct(plan, &ids);
        }
        if !keys.is_empty() {
            plan = LogicalPlan::Sort { input: Box::new(plan), keys };
        }
        Ok(Relational { plan, output })
    }
}

/// A projection that is being put together.
struct Projection {
    /// Columns that the input has.
    local: HashSet<ColumnId>,
    expressions: Vec<(ColumnId, Expr)>,
}

impl Projection {
    /// The column that shows `expr`: the input's own, one that shows the same already, or a new one.
    fn add(&mut self, binder: &mut Binder<'_>, name: &str, expr: Expr, data_type: DataType, may_share: bool) -> ColumnId {
        if may_share && let Some((id, _)) = self.expressions.iter().find(|(_, e)| *e == expr) {
            return *id;
        }
        let id = match &expr {
            // A column of an outer query gets an id of its own, or it would be there twice after unnesting.
            Expr::Column(id) if self.local.contains(id) => *id,
            _ => {
                let nullable = binder.is_nullable(&expr);
                binder.columns.add(name, data_type, nullable)
            }
        };
        self.expressions.push((id, expr));
        id
    }
}

/// Rows for which `predicate` is true.
pub fn filter(plan: LogicalPlan, predicate: Expr) -> LogicalPlan {
    LogicalPlan::Filter { input: Box::new(plan), predicate: conjuncts(predicate) }
}

/// The conjuncts of a condition.
pub fn conjuncts(predicate: Expr) -> Vec<Expr> {
    match predicate {
        Expr::And(operands) => operands,
        other => vec![other],
    }
}
