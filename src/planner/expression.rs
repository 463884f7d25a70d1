//! Expressions over columns by id become expressions over positions in a batch.

use operators::Expression;

use crate::{
    error::{Error, Result},
    plan::logical::{ColumnId, Columns, Expr},
};

/// Translates `expr` for batches whose columns are `layout`, in order.
///
/// # Errors
/// An internal error where a column is not in the layout or a subquery is left: earlier rules promise neither.
pub fn to_positions(expr: &Expr, layout: &[ColumnId], columns: &Columns) -> Result<Expression> {
    let translate = |e: &Expr| to_positions(e, layout, columns);
    let boxed = |e: &Expr| translate(e).map(Box::new);
    let all = |list: &[Expr]| list.iter().map(translate).collect::<Result<Vec<_>>>();
    Ok(match expr {
        Expr::Column(id) => {
            let index = layout
                .iter()
                .position(|c| c == id)
                .ok_or_else(|| Error::internal(format!("column {} ({}) is not in its input", columns.get(*id).name, id.0)))?;
            Expression::Column { index, data_type: columns.get(*id).data_type.clone() }
        }
        Expr::Literal(scalar) => Expression::Literal(scalar.clone()),
        Expr::Compare(operator, left, right) => Expression::Compare { operator: *operator, left: boxed(left)?, right: boxed(right)? },
        Expr::And(operands) => Expression::And(all(operands)?),
        Expr::Or(operands) => Expression::Or(all(operands)?),
        Expr::Not(operand) => Expression::Not(boxed(operand)?),
        Expr::IsNull(operand) => Expression::IsNull(boxed(operand)?),
        Expr::Arithmetic(operator, left, right, data_type) => {
            Expression::Arithmetic { operator: *operator, left: boxed(left)?, right: boxed(right)?, data_type: data_type.clone() }
        }
        Expr::Negate(operand) => Expression::Negate(boxed(operand)?),
        Expr::Cast(operand, data_type) => Expression::Cast { operand: boxed(operand)?, data_type: data_type.clone() },
        Expr::Case { branches, otherwise, data_type } => Expression::Case {
            branches: branches.iter().map(|(c, v)| Ok((translate(c)?, translate(v)?))).collect::<Result<_>>()?,
            otherwise: otherwise.as_deref().map(boxed).transpose()?,
            data_type: data_type.clone(),
        },
        Expr::Like { operand, pattern, escape, case_insensitive } => {
            Expression::Like { operand: boxed(operand)?, pattern: boxed(pattern)?, escape: *escape, case_insensitive: *case_insensitive }
        }
        Expr::InList { operand, list } => Expression::InList { operand: boxed(operand)?, list: list.clone() },
        Expr::Function(function, arguments, data_type) => {
            Expression::Function { function: *function, arguments: all(arguments)?, data_type: data_type.clone() }
        }
        Expr::Subquery(_) => return Err(Error::internal("a subquery was left after unnesting")),
    })
}
