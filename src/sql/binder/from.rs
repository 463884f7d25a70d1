//! FROM: tables, derived tables, joins.

use operators::expression::{Comparison, ScalarFunction};
use sqlparser::ast::{self, Spanned};

use super::{
    Binder,
    conversion::Typed,
    query::one_row,
    scope::{Clause, Environment, Name, Relation, Scope, name_parts},
    select::conjuncts,
};
use crate::{
    error::{Error, Result},
    plan::logical::{ColumnId, Expr, Join, JoinKind, LogicalPlan},
    sql::parser,
};

/// Most entries of a FROM list; each is a level of the plan.
const TABLES_MAX: usize = 256;

/// What a join matches by.
enum Constraint<'a> {
    Always,
    On(&'a ast::Expr),
    /// Columns of both sides by name.
    Columns(Vec<String>),
}

impl<'a> Binder<'a> {
    /// Binds a FROM clause; without one there is a row without columns.
    pub fn bind_from(&mut self, from: &'a [ast::TableWithJoins], parent: Option<&Environment<'_>>) -> Result<(LogicalPlan, Scope)> {
        if from.len() > TABLES_MAX {
            return Err(parser::too_complex());
        }
        let mut bound: Option<(LogicalPlan, Scope)> = None;
        for item in from {
            bound = Some(match bound {
                None => self.bind_joins(item, parent, parent)?,
                Some((left, mut scope)) => {
                    let beside = Environment { scope: &scope, parent, clause: Clause::JoinCondition, collector: None };
                    let (right, right_scope) = self.bind_joins(item, Some(&beside), parent)?;
                    scope.extend(right_scope).map_err(|e| e.at(self.position(item.span())))?;
                    (self.join(left, right, JoinKind::Inner, vec![])?, scope)
                }
            });
        }
        Ok(bound.unwrap_or_else(|| (one_row(), Scope::default())))
    }

    /// Binds a table and the joins that follow it. `lateral` is what LATERAL sees, `parent` what all others do.
    fn bind_joins(
        &mut self,
        item: &'a ast::TableWithJoins,
        lateral: Option<&Environment<'_>>,
        parent: Option<&Environment<'_>>,
    ) -> Result<(LogicalPlan, Scope)> {
        let (mut plan, mut scope) = self.bind_factor(&item.relation, lateral, parent)?;
        for join in &item.joins {
            let beside = Environment { scope: &scope, parent: lateral, clause: Clause::JoinCondition, collector: None };
            let (right, right_scope) = self.bind_factor(&join.relation, Some(&beside), parent)?;
            (plan, scope) = self.bind_join(join, (plan, scope), (right, right_scope), parent)?;
        }
        Ok((plan, scope))
    }

    fn bind_factor(
        &mut self,
        factor: &'a ast::TableFactor,
        lateral: Option<&Environment<'_>>,
        parent: Option<&Environment<'_>>,
    ) -> Result<(LogicalPlan, Scope)> {
        let position = self.position(factor.span());
        match factor {
            ast::TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let refusals = [
                    (args.is_some() || *with_ordinality, "a function in FROM"),
                    (sample.is_some(), "TABLESAMPLE"),
                    (version.is_some(), "a version of a table"),
                    (
                        !with_hints.is_empty() || !index_hints.is_empty() || !partitions.is_empty() || json_path.is_some(),
                        "an option of a table",
                    ),
                ];
                if let Some((_, what)) = refusals.into_iter().find(|(refused, _)| *refused) {
                    return Err(Error::unsupported(what).at(position));
                }
                let (plan, relation) = self.bind_table(name, alias.as_ref()).map_err(|e| e.at(self.name_position(name)))?;
                let scope = match alias {
                    Some(alias) => self.aliased_relation(relation, alias).map_err(|e| e.at(position))?,
                    None => Scope::of_relation(relation),
                };
                Ok((plan, scope))
            }
            ast::TableFactor::Derived { lateral: is_lateral, subquery, alias, sample } => {
                if sample.is_some() {
                    return Err(Error::unsupported("TABLESAMPLE").at(position));
                }
                let relational = self.bind_query(subquery, if *is_lateral { lateral } else { parent })?;
                self.settle(&relational.output);
                let scope = match alias {
                    Some(alias) => self.aliased(&relational.output, alias).map_err(|e| e.at(position))?,
                    None => {
                        let columns = relational.output.iter().map(|o| Name { name: o.name.clone(), id: o.id }).collect();
                        Scope { relations: vec![], visible: columns }
                    }
                };
                Ok((relational.plan, scope))
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias } => {
                let (plan, scope) = self.deeper(|binder| binder.bind_joins(table_with_joins, lateral, parent))?;
                match alias {
                    None => Ok((plan, scope)),
                    Some(alias) => {
                        let relation = Relation { alias: String::new(), table: None, columns: scope.visible };
                        Ok((plan, self.aliased_relation(relation, alias).map_err(|e| e.at(position))?))
                    }
                }
            }
            ast::TableFactor::Function { .. } | ast::TableFactor::TableFunction { .. } | ast::TableFactor::UNNEST { .. } => {
                Err(Error::unsupported("a function in FROM").at(position))
            }
            _ => Err(Error::unsupported("this kind of table").at(position)),
        }
    }

    fn aliased_relation(&self, relation: Relation, alias: &ast::TableAlias) -> Result<Scope> {
        let output: Vec<_> = relation.columns.into_iter().map(|c| super::query::Output { name: c.name, id: c.id, unknown: None }).collect();
        self.aliased(&output, alias)
    }

    fn bind_join(
        &mut self,
        join: &'a ast::Join,
        (left, left_scope): (LogicalPlan, Scope),
        (right, right_scope): (LogicalPlan, Scope),
        parent: Option<&Environment<'_>>,
    ) -> Result<(LogicalPlan, Scope)> {
        let position = self.position(join.relation.span());
        left_scope.refuse_duplicates(&right_scope).map_err(|e| e.at(position))?;
        if join.global {
            return Err(Error::unsupported("GLOBAL JOIN").at(position));
        }
        let (kind, constraint) = self.join_kind(&join.join_operator, &left_scope, &right_scope).map_err(|e| e.at(position))?;
        if let Constraint::Columns(names) = constraint {
            return self.join_by_columns(kind, &names, (left, left_scope), (right, right_scope)).map_err(|e| e.at(position));
        }
        let mut scope = left_scope;
        scope.relations.extend(right_scope.relations);
        scope.visible.extend(right_scope.visible);
        let condition = match constraint {
            Constraint::On(expr) => {
                let environment = Environment { scope: &scope, parent, clause: Clause::JoinCondition, collector: None };
                conjuncts(self.bind_condition(expr, &environment, "JOIN/ON")?)
            }
            _ => vec![],
        };
        Ok((self.join(left, right, kind, condition).map_err(|e| e.at(position))?, scope))
    }

    fn join_kind<'j>(&self, operator: &'j ast::JoinOperator, left: &Scope, right: &Scope) -> Result<(JoinKind, Constraint<'j>)> {
        use ast::JoinOperator as J;
        let (kind, constraint) = match operator {
            J::Join(constraint) | J::Inner(constraint) => (JoinKind::Inner, constraint),
            J::Left(constraint) | J::LeftOuter(constraint) => (JoinKind::Left, constraint),
            J::Right(constraint) | J::RightOuter(constraint) => (JoinKind::Right, constraint),
            J::FullOuter(constraint) => (JoinKind::Full, constraint),
            J::CrossJoin(ast::JoinConstraint::None) => return Ok((JoinKind::Inner, Constraint::Always)),
            _ => return Err(Error::unsupported("this kind of join")),
        };
        let constraint = match constraint {
            ast::JoinConstraint::On(expr) => Constraint::On(expr),
            ast::JoinConstraint::Using(names) => {
                let mut columns = vec![];
                for name in names {
                    let [column] = <[String; 1]>::try_from(name_parts(name)?)
                        .map_err(|_| Error::syntax("a qualified name in USING").at(self.name_position(name)))?;
                    columns.push(column);
                }
                Constraint::Columns(columns)
            }
            ast::JoinConstraint::Natural => {
                let mut columns: Vec<String> = vec![];
                for name in left.visible.iter().map(|c| &c.name) {
                    if right.visible.iter().any(|c| c.name == *name) && !columns.contains(name) {
                        columns.push(name.clone());
                    }
                }
                if columns.is_empty() { Constraint::Always } else { Constraint::Columns(columns) }
            }
            ast::JoinConstraint::None => return Err(Error::syntax("a join without ON or USING")),
        };
        Ok((kind, constraint))
    }

    /// USING and NATURAL: the columns appear once, first, with the value of whichever side has one.
    fn join_by_columns(
        &mut self,
        kind: JoinKind,
        names: &[String],
        (left, left_scope): (LogicalPlan, Scope),
        (right, right_scope): (LogicalPlan, Scope),
    ) -> Result<(LogicalPlan, Scope)> {
        let mut condition = vec![];
        let mut pairs: Vec<(&String, ColumnId, ColumnId)> = vec![];
        for name in names {
            let missing =
                |side| Error::binding("42703", format!("column \"{name}\" specified in USING clause does not exist in {side} table"));
            let ambiguous = |side| Error::binding("42702", format!("common column name \"{name}\" appears more than once in {side} table"));
            let l = left_scope.find(&[], name).map_err(|_| ambiguous("left"))?.ok_or_else(|| missing("left"))?;
            let r = right_scope.find(&[], name).map_err(|_| ambiguous("right"))?.ok_or_else(|| missing("right"))?;
            let (l_value, r_value) = (self.column(l), self.column(r));
            condition.push(self.compare(Comparison::Equal, l_value, r_value)?);
            pairs.push((name, l, r));
        }
        let plan = self.join(left, right, kind, condition)?;
        let mut expressions: Vec<(ColumnId, Expr)> = plan.output().into_iter().map(|id| (id, Expr::Column(id))).collect();
        let width = expressions.len();
        let mut visible = vec![];
        for (name, l, r) in &pairs {
            let id = self.merged_column(kind, name, *l, *r, &mut expressions)?;
            visible.push(Name { name: (*name).clone(), id });
        }
        let is_merged = |name: &Name| names.contains(&name.name);
        visible.extend(left_scope.visible.iter().chain(&right_scope.visible).filter(|name| !is_merged(name)).cloned());
        let plan = if expressions.len() > width { LogicalPlan::Project { input: Box::new(plan), expressions } } else { plan };
        let relations = left_scope.relations.into_iter().chain(right_scope.relations).collect();
        Ok((plan, Scope { relations, visible }))
    }

    fn merged_column(
        &mut self,
        kind: JoinKind,
        name: &str,
        left: ColumnId,
        right: ColumnId,
        expressions: &mut Vec<(ColumnId, Expr)>,
    ) -> Result<ColumnId> {
        let (l, r) = (self.column(left), self.column(right));
        let same_type = l.data_type == r.data_type;
        let expr = match kind {
            JoinKind::Full => {
                let (arguments, data_type) = self.unify(vec![l, r], "JOIN/USING")?;
                Expr::Function(ScalarFunction::Coalesce, arguments, data_type)
            }
            JoinKind::Right if same_type => return Ok(right),
            _ if same_type => return Ok(left),
            _ => {
                let common = self.common_type([&l, &r], "JOIN/USING")?;
                self.coerce(if kind == JoinKind::Right { r } else { l }, &common)?
            }
        };
        let (data_type, nullable) = (expr.data_type(&self.columns), self.is_nullable(&expr));
        let id = self.columns.add(name, data_type, nullable);
        expressions.push((id, expr));
        Ok(id)
    }

    /// A column as an operand.
    pub fn column(&self, id: ColumnId) -> Typed {
        Typed::new(Expr::Column(id), self.columns.get(id).data_type.clone())
    }

    /// A join, dependent if the right side uses columns of the left one.
    fn join(&mut self, left: LogicalPlan, right: LogicalPlan, kind: JoinKind, condition: Vec<Expr>) -> Result<LogicalPlan> {
        let (left_output, right_output) = (left.output(), right.output());
        let free = right.free_columns();
        let is_dependent = !free.is_empty() && left_output.iter().any(|id| free.contains(id));
        if is_dependent && matches!(kind, JoinKind::Right | JoinKind::Full) {
            return Err(Error::binding("42P10", "invalid reference to FROM-clause entry")
                .with_detail("the combining JOIN type must be INNER or LEFT for a LATERAL reference"));
        }
        if matches!(kind, JoinKind::Left | JoinKind::Full) {
            self.nulled.extend(right_output);
        }
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            self.nulled.extend(left_output);
        }
        let join = Join { left: Box::new(left), right: Box::new(right), kind, condition };
        Ok(if is_dependent { LogicalPlan::Apply(join) } else { LogicalPlan::Join(join) })
    }
}
