//! Errors as users see them, by who must act, each with a SQLSTATE and (for SQL) a place in the text.
//!
//! Position: the one error of this crate; whatever the lower packages fail with is given its SQLSTATE here and
//! nowhere else.

use std::fmt;

use operators::Error as DataError;

/// `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A SQLSTATE, five characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

/// An error: what was wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Who must act.
    pub kind: ErrorKind,
    /// PostgreSQL's code.
    pub sqlstate: SqlState,
    /// What was wrong: lower case, no full stop.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the SQL text: characters, from 1.
    pub position: Option<usize>,
}

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ErrorKind {
    /// The author of the SQL: it does not parse.
    Syntax,
    /// The author of the SQL: a name or type is wrong, or something is not supported.
    Binding,
    /// The owner of the data: a value cannot be computed with.
    Data,
    /// The operator of the node: memory, limits.
    Resource,
    /// The owner of the files: missing, unreadable, corrupt.
    Connector,
    /// The operator of the cluster.
    Cluster,
    /// Nobody: it was asked for.
    Cancelled,
    /// The author of the configuration.
    Configuration,
    /// Us.
    Internal,
}

impl Error {
    /// An error without detail, hint or place.
    pub fn new(kind: ErrorKind, sqlstate: &'static str, message: impl Into<String>) -> Self {
        Error { kind, sqlstate: SqlState(sqlstate), message: message.into(), detail: None, hint: None, position: None }
    }

    /// 42601: the SQL does not parse.
    pub fn syntax(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Syntax, "42601", message)
    }

    /// 0A000: understood, but not supported.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Binding, "0A000", format!("{what} is not supported"))
    }

    /// A name or type is wrong; the code says which.
    pub fn binding(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Binding, sqlstate, message)
    }

    /// A file is missing, unreadable or corrupt.
    pub fn connector(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Connector, "58030", message)
    }

    /// XX000: a mistake of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, "XX000", message)
    }

    /// With a place in the SQL text (characters, from 1).
    pub fn at(mut self, position: Option<usize>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// With advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With more about it.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "\ndetail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<pipelines::Error> for Error {
    fn from(error: pipelines::Error) -> Self {
        use pipelines::Error as E;
        match &error {
            E::Cancelled => Error::new(ErrorKind::Cancelled, "57014", "canceling statement due to user request"),
            E::MemoryExceeded { .. } => Error::new(ErrorKind::Resource, "53200", error.to_string())
                .with_hint("raise the memory budget, or let the query keep fewer rows or groups"),
            E::Panicked { .. } => Error::internal(error.to_string()),
            E::Failed(_) => match (error.reason::<Error>(), error.reason::<DataError>()) {
                (Some(error), _) => error.clone(),
                (_, Some(error)) => error.clone().into(),
                _ => Error::internal(error.to_string()),
            },
        }
    }
}

impl From<Error> for pipelines::Error {
    fn from(error: Error) -> Self {
        pipelines::Error::failed(error)
    }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        let sqlstate = match &error {
            DataError::DivisionByZero => "22012",
            DataError::OutOfRange { .. } | DataError::NumericOverflow => "22003",
            DataError::InvalidText { .. } => "22P02",
            DataError::DateTimeOverflow { .. } => "22008",
            DataError::InvalidArgument(_) => "22023",
            DataError::InvalidLogarithm(_) => "2201E",
            DataError::InvalidPower(_) => "2201F",
            DataError::NegativeLength => "22011",
            DataError::UnfinishedEscape => "22025",
            DataError::InvalidPattern(_) => "2201B",
            DataError::MoreThanOneRow => "21000",
            DataError::NegativeRowCount("LIMIT") => "2201W",
            DataError::NegativeRowCount(_) => "2201X",
            DataError::Internal(_) => return Error::internal(error.to_string()),
        };
        Error::new(ErrorKind::Data, sqlstate, error.to_string())
    }
}
