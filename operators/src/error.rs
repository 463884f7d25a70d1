//! Why an operator or expression fails on data that reached it. SQLSTATEs are given in `arneb`, in one place.

/// `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A meaning each; messages follow PostgreSQL's wording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `x / 0`, `x % 0`.
    #[error("division by zero")]
    DivisionByZero,
    /// A result that its type cannot hold; the name is the SQL type's ("bigint").
    #[error("{type_name} out of range")]
    OutOfRange {
        /// SQL name of the type.
        type_name: &'static str,
    },
    /// A decimal with more digits than 38 or than its precision allows.
    #[error("numeric field overflow")]
    NumericOverflow,
    /// Text that is no value of the type it is cast to.
    #[error("invalid input syntax for type {type_name}: \"{text}\"")]
    InvalidText {
        /// SQL name of the type.
        type_name: &'static str,
        /// The text, at most a line of it.
        text: String,
    },
    /// A date or timestamp outside the supported years.
    #[error("{type_name} out of range: \"{text}\"")]
    DateTimeOverflow {
        /// SQL name of the type.
        type_name: &'static str,
        /// What was to be represented.
        text: String,
    },
    /// An argument outside a function's domain (`ln(0)`, `substring(x from 1 for -1)`).
    #[error("{0}")]
    InvalidArgument(String),
    /// The logarithm of zero or of a negative number.
    #[error("{0}")]
    InvalidLogarithm(&'static str),
    /// A power or root without a real value.
    #[error("{0}")]
    InvalidPower(&'static str),
    /// A text's part of negative length.
    #[error("negative substring length not allowed")]
    NegativeLength,
    /// A LIKE pattern whose last character escapes nothing.
    #[error("LIKE pattern must not end with escape character")]
    UnfinishedEscape,
    /// A bad regular expression.
    #[error("{0}")]
    InvalidPattern(String),
    /// A scalar subquery with more than one row.
    #[error("more than one row returned by a subquery used as an expression")]
    MoreThanOneRow,
    /// A negative LIMIT or OFFSET.
    #[error("{0} must not be negative")]
    NegativeRowCount(&'static str),
    /// A combination that the planner should never have built.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<Error> for pipelines::Error {
    fn from(error: Error) -> Self {
        pipelines::Error::failed(error)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        match error {
            arrow::error::ArrowError::DivideByZero => Error::DivisionByZero,
            other => Error::Internal(other.to_string()),
        }
    }
}
