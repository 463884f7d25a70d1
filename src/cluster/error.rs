//! Errors that cross nodes: as codes and fields, never as text to be searched.
//!
//! Position: inside control messages. A reader needs no knowledge of who failed where; that is in the detail.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, SqlState};

/// An error of another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// Who must act.
    pub kind: ErrorKind,
    /// PostgreSQL's code.
    pub sqlstate: String,
    /// What was wrong.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        WireError {
            kind: error.kind,
            sqlstate: error.sqlstate.0.to_owned(),
            message: error.message.clone(),
            detail: error.detail.clone(),
            hint: error.hint.clone(),
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let sqlstate = KNOWN.iter().find(|known| **known == error.sqlstate).copied().unwrap_or("XX000");
        Error {
            kind: error.kind,
            sqlstate: SqlState(sqlstate),
            message: error.message,
            detail: error.detail,
            hint: error.hint,
            position: None,
        }
    }
}

/// Codes that running a query can end with; what is not among them is a mistake of ours.
const KNOWN: &[&str] = &[
    "08P01", "0A000", "21000", "22003", "22008", "22011", "22012", "22023", "22025", "22P02", "2201B", "2201E", "2201F", "2201W", "2201X",
    "28000", "40001", "42804", "42P01", "53000", "53200", "53300", "54000", "55000", "57014", "57P01", "57P03", "58000", "58030", "58P01",
    "XX000", "XX001",
];
