//! Gives computed decimals 64 bits where their values provably fit: the type rules say that a product of prices and
//! rates has 31 digits, the bounds in the footers that it has 10.
//!
//! Position: after all rules that move expressions. Proof comes from [`super::statistics`] (bounds of tables, carried through
//! expressions); the kernels check all the same, so a wrong bound is an error and never a wrong number. Sums and averages
//! keep their 128 bits: they depend on the number of rows.
//!
//! Columns that unions, set operations and shared CTEs read keep their type, because their readers' types must agree.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Arithmetic, ScalarFunction},
    types::DECIMAL64_DIGITS_MAX,
};

use crate::{
    error::Result,
    plan::logical::{ColumnId, Columns, Expr, LogicalPlan, Query, TableScan},
};

use super::{
    OptimizerContext,
    rule::Rule,
    statistics::{Estimate, Estimator, Range},
};

/// The rule.
pub struct NarrowDecimals;

impl Rule for NarrowDecimals {
    fn name(&self) -> &'static str {
        "narrow_decimals"
    }

    fn apply(&self, mut query: Query, context: &OptimizerContext<'_>) -> Result<Query> {
        let estimator = Estimator::new(context.catalogs, &query);
        let mut fixed: BTreeSet<ColumnId> = query.ctes.iter().flat_map(|cte| cte.output.clone()).collect();
        query.ctes.iter().for_each(|cte| collect_fixed(&cte.plan, &mut fixed));
        collect_fixed(&query.root, &mut fixed);
        let mut narrowing = Narrowing { estimator, columns: std::mem::take(&mut query.columns), fixed };
        for cte in &mut query.ctes {
            narrowing.plan(&mut cte.plan)?;
        }
        narrowing.plan(&mut query.root)?;
        query.columns = narrowing.columns;
        Ok(query)
    }
}

/// Adds the columns whose type others rely on.
fn collect_fixed(plan: &LogicalPlan, fixed: &mut BTreeSet<ColumnId>) {
    match plan {
        LogicalPlan::UnionAll { output, .. } => fixed.extend(output.iter().flat_map(|(_, sources)| sources)),
        LogicalPlan::SetOperation { output, .. } => fixed.extend(output.iter().flat_map(|(_, left, right)| [left, right])),
        _ => {}
    }
    plan.inputs().into_iter().for_each(|input| collect_fixed(input, fixed));
}

struct Narrowing<'a> {
    estimator: Estimator<'a>,
    /// With the types so far.
    columns: Columns,
    fixed: BTreeSet<ColumnId>,
}

impl Narrowing<'_> {
    fn plan(&mut self, plan: &mut LogicalPlan) -> Result<()> {
        for input in plan.inputs_mut() {
            self.plan(input)?;
        }
        let input = if has_wide_computation(plan, &self.columns) { self.input_estimate(plan)? } else { None };
        if let Some(input) = &input {
            let mut narrow = Expressions { estimator: &self.estimator, columns: &self.columns, input };
            plan.for_each_expr_mut(|expr| narrow.rewrite(expr));
        }
        self.settle_types(plan);
        Ok(())
    }

    /// What the node's expressions are computed over.
    fn input_estimate(&mut self, plan: &LogicalPlan) -> Result<Option<Estimate>> {
        Ok(Some(match plan {
            LogicalPlan::TableScan(scan) => {
                // Filters see rows that no filter has seen.
                let unfiltered = TableScan { filters: vec![], output: None, ..scan.clone() };
                self.estimator.estimate(&LogicalPlan::TableScan(unfiltered))?
            }
            LogicalPlan::Join(join) => {
                let mut left = self.estimator.estimate(&join.left)?;
                left.columns.extend(self.estimator.estimate(&join.right)?.columns);
                left
            }
            _ => match plan.inputs().as_slice() {
                [input] => self.estimator.estimate(input)?,
                _ => return Ok(None),
            },
        }))
    }

    /// Makes the types of the columns that the node introduces those of their expressions.
    fn settle_types(&mut self, plan: &mut LogicalPlan) {
        match plan {
            LogicalPlan::Project { expressions, .. } => expressions.iter_mut().for_each(|(id, expr)| self.settle(*id, expr)),
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.keys.iter_mut().for_each(|(id, expr)| self.settle(*id, expr));
                for (id, call) in &mut aggregate.aggregates {
                    let has_type_of_argument =
                        matches!(call.function, AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::First);
                    if let Some(argument) = call.arguments.first_mut().filter(|_| has_type_of_argument) {
                        self.settle(*id, argument);
                    }
                }
            }
            LogicalPlan::Join(join) => join.condition.iter_mut().for_each(|conjunct| align(conjunct, &self.columns)),
            _ => {}
        }
    }

    fn settle(&mut self, id: ColumnId, expr: &mut Expr) {
        let data_type = expr.data_type(&self.columns);
        if !is_decimal(&data_type) || data_type == self.columns.get(id).data_type {
            return;
        }
        if self.fixed.contains(&id) {
            restore(expr, &self.columns.get(id).data_type);
        } else {
            self.columns.get_mut(id).data_type = data_type;
        }
    }
}

/// Both sides of a comparison in a join get the same width, so that they can be a key.
fn align(conjunct: &mut Expr, columns: &Columns) {
    if let Expr::Compare(_, left, right) = conjunct {
        match (left.data_type(columns), right.data_type(columns)) {
            (DataType::Decimal64(..), wide @ DataType::Decimal128(..)) => restore(left, &wide),
            (wide @ DataType::Decimal128(..), DataType::Decimal64(..)) => restore(right, &wide),
            _ => {}
        }
    }
}

fn restore(expr: &mut Expr, data_type: &DataType) {
    let inner = std::mem::replace(expr, Expr::boolean(true));
    *expr = Expr::Cast(Box::new(inner), data_type.clone());
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal64(..) | DataType::Decimal128(..))
}

/// Whether an expression of the node computes with 128 bits.
fn has_wide_computation(plan: &LogicalPlan, columns: &Columns) -> bool {
    let mut found = false;
    plan.for_each_expr(|expr| {
        found |= expr.any(&|part| {
            !matches!(part, Expr::Column(_) | Expr::Literal(_)) && matches!(part.data_type(columns), DataType::Decimal128(..))
        });
    });
    found
}

/// The expressions of one node.
struct Expressions<'n, 'a> {
    estimator: &'n Estimator<'a>,
    columns: &'n Columns,
    input: &'n Estimate,
}

impl Expressions<'_, '_> {
    /// Narrows an expression and its operands; its type may change from `Decimal128` to `Decimal64`, never its values.
    fn rewrite(&mut self, expr: &mut Expr) {
        let before: Vec<DataType> = self.operand_types(expr);
        expr.for_each_child_mut(|child| self.rewrite(child));
        match expr {
            Expr::Arithmetic(operator, left, right, data_type) => {
                if let DataType::Decimal128(_, scale) = *data_type
                    && self.fits_arithmetic(*operator, left, right, scale)
                {
                    *data_type = narrow_type(scale);
                }
            }
            Expr::Cast(operand, data_type) => {
                if let DataType::Decimal128(_, scale) = *data_type
                    && self.is_narrow_or_integer(operand)
                    && self.fits(operand, scale)
                {
                    *data_type = narrow_type(scale);
                }
            }
            Expr::Case { branches, otherwise, data_type } => {
                let values = branches.iter_mut().map(|(_, value)| value).chain(otherwise.as_deref_mut());
                self.unify(values.collect(), data_type);
            }
            Expr::Function(ScalarFunction::Coalesce | ScalarFunction::Greatest | ScalarFunction::Least, arguments, data_type) => {
                self.unify(arguments.iter_mut().collect(), data_type);
            }
            // What other functions and lists expect is the type that the binder has chosen.
            Expr::Function(..) | Expr::InList { .. } => {
                let mut before = before.into_iter();
                let columns = self.columns;
                expr.for_each_child_mut(|child| {
                    if let Some(data_type) = before.next()
                        && child.data_type(columns) != data_type
                    {
                        restore(child, &data_type);
                    }
                });
            }
            _ => {}
        }
    }

    fn operand_types(&self, expr: &Expr) -> Vec<DataType> {
        let mut types = Vec::new();
        if matches!(expr, Expr::Function(..) | Expr::InList { .. }) {
            expr.for_each_child(|child| types.push(child.data_type(self.columns)));
        }
        types
    }

    /// Gives alternatives of one value the narrow type if all have it or can, else the type they had.
    fn unify(&self, values: Vec<&mut Expr>, data_type: &mut DataType) {
        let DataType::Decimal128(_, scale) = *data_type else { return };
        let is_narrow = |value: &Expr| match value {
            Expr::Literal(scalar) => scalar.is_null() || fitting_literal(scalar, scale).is_some(),
            _ => matches!(value.data_type(self.columns), DataType::Decimal64(_, s) if s == scale),
        };
        let all_narrow = scale <= DECIMAL64_DIGITS_MAX as i8 && values.iter().all(|value| is_narrow(value));
        let target = if all_narrow { narrow_type(scale) } else { data_type.clone() };
        for value in values {
            match value {
                Expr::Literal(Scalar::Null(null)) => *null = target.clone(),
                Expr::Literal(scalar) if all_narrow => *scalar = fitting_literal(scalar, scale).unwrap_or_else(|| scalar.clone()),
                _ if value.data_type(self.columns) != target => restore(value, &target),
                _ => {}
            }
        }
        *data_type = target;
    }

    fn is_narrow_or_integer(&self, expr: &Expr) -> bool {
        matches!(expr.data_type(self.columns), DataType::Decimal64(..) | DataType::Int16 | DataType::Int32 | DataType::Int64)
    }

    fn range(&self, expr: &Expr) -> Option<Range> {
        self.estimator.range(expr, self.input)
    }

    fn fits(&self, expr: &Expr, scale: i8) -> bool {
        scale <= DECIMAL64_DIGITS_MAX as i8 && self.range(expr).is_some_and(|range| range.fits_digits(scale, DECIMAL64_DIGITS_MAX))
    }

    /// Whether operands, result and all that is computed on the way have at most 18 digits.
    fn fits_arithmetic(&self, operator: Arithmetic, left: &Expr, right: &Expr, scale: i8) -> bool {
        let is_narrow = |expr: &Expr| matches!(expr.data_type(self.columns), DataType::Decimal64(..));
        if !is_narrow(left) || !is_narrow(right) || scale > DECIMAL64_DIGITS_MAX as i8 {
            return false;
        }
        let (Some(l), Some(r)) = (self.range(left), self.range(right)) else { return false };
        let fits = |range: &Range, scale: i8| range.fits_digits(scale, DECIMAL64_DIGITS_MAX);
        let result = Range::arithmetic(operator, l, r, scale);
        let result_fits = result.is_some_and(|range| fits(&range, scale));
        result_fits
            && match operator {
                Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Modulo => {
                    let common = l.scale.max(r.scale).max(scale);
                    fits(&l, common) && fits(&r, common)
                }
                Arithmetic::Multiply => Range::arithmetic(operator, l, r, l.scale + r.scale).is_some_and(|raw| fits(&raw, raw.scale)),
                // The dividend is scaled up before it is divided, and the divisor's half is added to round.
                Arithmetic::Divide => {
                    let widest = l.scale.saturating_add(scale.saturating_add(r.scale).saturating_sub(l.scale).max(0));
                    fits(&l, widest.saturating_add(1)) && fits(&r, r.scale.saturating_add(1))
                }
            }
    }
}

fn narrow_type(scale: i8) -> DataType {
    DataType::Decimal64(DECIMAL64_DIGITS_MAX, scale)
}

fn fitting_literal(scalar: &Scalar, scale: i8) -> Option<Scalar> {
    match scalar {
        Scalar::Decimal(value, _, s) if *s == scale && value.unsigned_abs() < 10_u128.pow(u32::from(DECIMAL64_DIGITS_MAX)) => {
            Some(Scalar::Decimal(*value, DECIMAL64_DIGITS_MAX, scale))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::{Decimal64, Decimal128};
    use operators::{expression::Comparison, types::decimal};

    use super::{
        super::testing::{Plans, tpch_sf10},
        *,
    };

    fn arithmetic(operator: Arithmetic, left: Expr, right: Expr, precision: u8, scale: i8) -> Expr {
        Expr::Arithmetic(operator, Box::new(left), Box::new(right), decimal(precision, scale))
    }

    fn one() -> Expr {
        Expr::Literal(Scalar::Decimal(100, 3, 2))
    }

    fn narrowed(query: Query) -> Query {
        NarrowDecimals.apply(query, &OptimizerContext { catalogs: &tpch_sf10() }).unwrap()
    }

    /// Projects one expression over lineitem and gives its column's type afterwards.
    fn type_of(expr: impl FnOnce(&Plans) -> Expr) -> DataType {
        let mut plans = Plans::default();
        let scan = plans.scan("lineitem", "lineitem");
        let expr = expr(&plans);
        let id = plans.add("x", expr.data_type(&plans.columns));
        let query = narrowed(plans.query(scan.projected(vec![(id, expr)])));
        let LogicalPlan::Project { expressions, .. } = &query.root else { panic!("a projection") };
        assert_eq!(expressions[0].1.data_type(&query.columns), query.columns.get(id).data_type);
        query.columns.get(id).data_type.clone()
    }

    fn net(p: &Plans) -> Expr {
        arithmetic(Arithmetic::Subtract, one(), p.column("l_discount"), 16, 2)
    }

    fn revenue(p: &Plans) -> Expr {
        arithmetic(Arithmetic::Multiply, p.column("l_extendedprice"), net(p), 31, 4)
    }

    #[test]
    fn products_of_query_1_fit_64_bits() {
        assert_eq!(type_of(revenue), Decimal64(18, 4));
        let charge = |p: &Plans| {
            let taxed = arithmetic(Arithmetic::Add, one(), p.column("l_tax"), 16, 2);
            arithmetic(Arithmetic::Multiply, revenue(p), taxed, 38, 6)
        };
        assert_eq!(type_of(charge), Decimal64(18, 6));
    }

    #[test]
    fn alternatives_are_narrowed_together() {
        let case = |p: &Plans, otherwise| Expr::Case {
            branches: vec![(p.is_text("l_returnflag", "R"), revenue(p))],
            otherwise: Some(Box::new(otherwise)),
            data_type: Decimal128(31, 4),
        };
        assert_eq!(type_of(|p| case(p, Expr::Literal(Scalar::Decimal(0, 31, 4)))), Decimal64(18, 4));
        assert_eq!(type_of(|p| case(p, Expr::Literal(Scalar::Null(Decimal128(31, 4))))), Decimal64(18, 4));
        let large = Scalar::Decimal(10_i128.pow(20), 31, 4);
        assert_eq!(type_of(|p| case(p, Expr::Literal(large))), Decimal128(31, 4));
    }

    #[test]
    fn what_cannot_be_proven_keeps_128_bits() {
        // Twenty digits: 10^7 (price in cents) to the third, at six digits after the point.
        let cube = |p: &Plans| {
            let square = arithmetic(Arithmetic::Multiply, p.column("l_extendedprice"), p.column("l_extendedprice"), 30, 4);
            arithmetic(Arithmetic::Multiply, square, p.column("l_extendedprice"), 38, 6)
        };
        assert_eq!(type_of(cube), Decimal128(38, 6));
        // The result is small, but the dividend is not when it is scaled up.
        let quotient = |p: &Plans| arithmetic(Arithmetic::Divide, p.column("l_extendedprice"), p.column("l_quantity"), 38, 16);
        assert_eq!(type_of(quotient), Decimal128(38, 16));
        // A divisor that may be zero has no bounds.
        let by_zero = |p: &Plans| arithmetic(Arithmetic::Divide, p.column("l_quantity"), p.column("l_discount"), 20, 2);
        assert_eq!(type_of(by_zero), Decimal128(20, 2));
    }

    #[test]
    fn columns_without_bounds_are_never_narrowed() {
        let mut plans = Plans::default();
        let mut scan = plans.scan("lineitem", "lineitem");
        let expr = revenue(&plans);
        let id = plans.add("x", expr.data_type(&plans.columns));
        // A table that the catalog does not know has no statistics.
        if let LogicalPlan::TableScan(scan) = &mut scan {
            scan.table.table = "unknown".into();
        }
        let query = plans.query(scan.projected(vec![(id, expr)]));
        assert_eq!(narrowed(query.clone()), query);
    }

    #[test]
    fn readers_of_a_narrowed_column_follow_and_unions_do_not_change() {
        let mut plans = Plans::default();
        let scan = plans.scan("lineitem", "lineitem");
        let expr = revenue(&plans);
        let wide = expr.data_type(&plans.columns);
        let [inner, outer, largest] = ["inner", "outer", "largest"].map(|name| plans.add(name, wide.clone()));
        let projected = scan.projected(vec![(inner, expr)]).projected(vec![(outer, Expr::Column(inner))]);
        let plan = plans.aggregate(projected.clone(), &[], "max", AggregateFunction::Max, Expr::Column(outer), wide.clone());
        let query = narrowed(plans.query(plan));
        assert_eq!(query.columns.get(plans.id("max")).data_type, Decimal64(18, 4));

        let union = LogicalPlan::UnionAll { inputs: vec![projected], output: vec![(largest, vec![outer])] };
        let query = narrowed(plans.query(union));
        assert_eq!(query.columns.get(inner).data_type, Decimal64(18, 4));
        assert_eq!((&query.columns.get(outer).data_type, &query.columns.get(largest).data_type), (&wide, &wide));
        let LogicalPlan::UnionAll { inputs, .. } = &query.root else { panic!("a union") };
        let LogicalPlan::Project { expressions, .. } = &inputs[0] else { panic!("a projection") };
        assert_eq!(expressions[0].1, Expr::Cast(Box::new(Expr::Column(inner)), wide));
    }

    #[test]
    fn keys_of_joins_keep_equal_widths() {
        let mut plans = Plans::default();
        let left = plans.scan("lineitem", "lineitem");
        let right = plans.scan("lineitem", "l2");
        let (narrow, sum) = (revenue(&plans), plans.column("l2.l_tax"));
        let wide = narrow.data_type(&plans.columns);
        let x = plans.add("x", wide.clone());
        let groups = plans.aggregate(right, &[], "sum", AggregateFunction::Sum, sum, Decimal128(38, 4));
        let condition = Expr::compare(Comparison::Equal, Expr::Column(x), plans.column("sum"));
        let join = left.projected(vec![(x, narrow)]).joined(crate::plan::logical::JoinKind::Inner, groups, vec![condition]);
        let query = narrowed(plans.query(join));
        let LogicalPlan::Join(join) = &query.root else { panic!("a join") };
        let Expr::Compare(_, left, right) = &join.condition[0] else { panic!("a comparison") };
        assert_eq!(left.data_type(&query.columns), right.data_type(&query.columns));
        assert_eq!(query.columns.get(x).data_type, Decimal64(18, 4));
    }
}
