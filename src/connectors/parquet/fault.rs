//! What is wrong with a file, said first without a place, then with the file, row group and column.
//!
//! Position: decoders return [`Fault`]; whoever knows the place turns it into the crate's error.

use std::{borrow::Cow, fmt, io};

use crate::error::{Error, ErrorKind};

/// Why bytes could not be turned into rows.
#[derive(Debug)]
pub enum Fault {
    /// The bytes contradict the format.
    Corrupt(Cow<'static, str>),
    /// The bytes are fine, but nobody here can read them.
    Unsupported(String),
    /// The operating system said no.
    Io(io::Error),
    /// A predicate failed on the values: the query's fault, not the file's.
    Data(Error),
}

/// `Result` of a decoder.
pub type Decoded<T> = Result<T, Fault>;

/// The bytes contradict the format.
pub fn corrupt<T>(message: impl Into<Cow<'static, str>>) -> Decoded<T> {
    Err(Fault::Corrupt(message.into()))
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl From<parquet::errors::ParquetError> for Fault {
    fn from(error: parquet::errors::ParquetError) -> Self {
        match error {
            parquet::errors::ParquetError::NYI(what) => Fault::Unsupported(what),
            other => Fault::Corrupt(other.to_string().into()),
        }
    }
}

impl From<operators::Error> for Fault {
    fn from(error: operators::Error) -> Self {
        Fault::Data(error.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Corrupt(message) => f.write_str(message),
            Fault::Unsupported(what) => f.write_str(what),
            Fault::Io(error) => error.fmt(f),
            Fault::Data(error) => error.fmt(f),
        }
    }
}

/// Where in which file.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The file's path.
    pub path: &'a str,
    /// The row group and the column's name, where they are known.
    pub chunk: Option<(usize, &'a str)>,
}

impl Place<'_> {
    /// The crate's error for `fault` here.
    pub fn error(&self, fault: Fault) -> Error {
        let detail = self.chunk.map(|(row_group, column)| format!("row group {row_group}, column \"{column}\""));
        let located = |error: Error| match &detail {
            Some(detail) => error.with_detail(detail.clone()),
            None => error,
        };
        match fault {
            Fault::Data(error) => error,
            Fault::Corrupt(message) => {
                located(Error::new(ErrorKind::Connector, "XX001", format!("file \"{}\" is corrupt: {message}", self.path)))
            }
            Fault::Unsupported(what) => {
                located(Error::new(ErrorKind::Connector, "0A000", format!("cannot read file \"{}\": {what}", self.path)))
            }
            Fault::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => {
                    located(Error::new(ErrorKind::Connector, "58P01", format!("file \"{}\" does not exist", self.path)))
                }
                io::ErrorKind::UnexpectedEof => {
                    located(Error::new(ErrorKind::Connector, "XX001", format!("file \"{}\" is shorter than its footer says", self.path)))
                }
                _ => located(Error::new(ErrorKind::Connector, "58030", format!("cannot read file \"{}\": {error}", self.path))),
            },
        }
    }
}
