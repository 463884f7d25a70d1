//! Expressions: plain data, typed by whoever built them, and their evaluation over batches.
//!
//! Position: inside [`crate::filter`], [`crate::project`], join keys and residuals, aggregate arguments and
//! scans. Coercion has happened: both sides of a comparison have the same type (decimals the same scale,
//! though their widths may differ), and the type of every arithmetic result is written in the node.
//!
//! ```text
//! Expression ──[program]──► nodes, common ones once ──[evaluator]──► columns      (projections, keys, arguments)
//!                                                   ──[predicate]──► Selection    (filters)
//!                     one kernel file per topic: [compare] [boolean] [arithmetic] [cast] [case] [like] [in_list] [functions]
//! ```
//! Values of a string dictionary are computed with once per dictionary, see [`evaluator`].
//!
//! Deliberately elsewhere: names, overloads and coercion (`arneb::sql`), aggregate functions
//! ([`crate::aggregate`]).

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::Scalar;

mod arithmetic;
mod bits;
mod boolean;
mod calendar;
mod case;
pub mod cast;
mod compare;
mod datum;
mod dictionary;
mod display;
mod evaluator;
pub mod functions;
mod in_list;
mod like;
mod predicate;
mod program;
mod structure;
pub mod text;

#[cfg(test)]
mod tests;

pub(crate) use compare::interval_length;
pub use evaluator::{Evaluator, evaluate_constant};
pub use functions::ScalarFunction;
pub use predicate::{Predicate, Selection};

/// An expression over the columns of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Expression {
    /// Column `index` of the batch.
    Column {
        /// Position in the batch.
        index: usize,
        /// Its type.
        data_type: DataType,
    },
    /// A constant.
    Literal(Scalar),
    /// A comparison; NULL if a side is NULL, but for the two DISTINCT ones.
    Compare {
        /// Which.
        operator: Comparison,
        /// Left operand.
        left: Box<Expression>,
        /// Right operand, of the same type (decimals: the same scale).
        right: Box<Expression>,
    },
    /// Kleene AND of at least one operand; operands after a false one may stay unevaluated for a row.
    And(Vec<Expression>),
    /// Kleene OR of at least one operand; operands after a true one may stay unevaluated for a row.
    Or(Vec<Expression>),
    /// Kleene NOT.
    Not(Box<Expression>),
    /// `IS NULL`; never NULL itself.
    IsNull(Box<Expression>),
    /// Arithmetic on numbers, dates, timestamps and intervals.
    Arithmetic {
        /// Which.
        operator: Arithmetic,
        /// Left operand.
        left: Box<Expression>,
        /// Right operand. Numbers: the type of the left one, but decimals may differ in digits.
        right: Box<Expression>,
        /// Type of the result.
        data_type: DataType,
    },
    /// Unary minus.
    Negate(Box<Expression>),
    /// `CAST`.
    Cast {
        /// What.
        operand: Box<Expression>,
        /// To which type.
        data_type: DataType,
    },
    /// `CASE WHEN c THEN v … ELSE e END`; a branch is evaluated only for the rows that take it.
    Case {
        /// Conditions and values, in order.
        branches: Vec<(Expression, Expression)>,
        /// `ELSE`; NULL where absent.
        otherwise: Option<Box<Expression>>,
        /// Type of all values.
        data_type: DataType,
    },
    /// `LIKE`, `ILIKE`.
    Like {
        /// Text.
        operand: Box<Expression>,
        /// Pattern, usually a literal.
        pattern: Box<Expression>,
        /// The escape character; `None`: there is none (`ESCAPE ''`). PostgreSQL's default is a backslash.
        escape: Option<char>,
        /// ILIKE.
        case_insensitive: bool,
    },
    /// `IN` over constants of the operand's type; NULL semantics as `= ANY`.
    InList {
        /// What is looked for.
        operand: Box<Expression>,
        /// Where; may contain NULL.
        list: Vec<Scalar>,
    },
    /// A function call; see [`functions`] for argument and result types.
    Function {
        /// Which.
        function: ScalarFunction,
        /// Arguments, of the types the function's documentation says.
        arguments: Vec<Expression>,
        /// Type of the result.
        data_type: DataType,
    },
}

/// Comparison operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS DISTINCT FROM`: never NULL
    Distinct,
    /// `IS NOT DISTINCT FROM`: never NULL
    NotDistinct,
}

/// Arithmetic operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`: integers truncate towards zero; decimals are rounded half away from zero to the result's scale
    Divide,
    /// `%`: the sign of the dividend
    Modulo,
}
