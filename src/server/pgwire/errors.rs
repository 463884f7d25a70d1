//! Our errors as the protocol's ErrorResponse.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::{error::Error, server::policy};

/// An error that leaves the connection usable.
pub fn to_client(error: Error) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".to_owned(), error.sqlstate.0.to_owned(), error.message);
    info.detail = error.detail;
    info.hint = error.hint;
    info.position = error.position.map(|position| position.to_string());
    info.severity_nonlocalized = Some("ERROR".to_owned());
    PgWireError::UserError(Box::new(info))
}

/// A violation of the protocol (08P01).
pub fn protocol_violation(message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), "08P01".to_owned(), message.into())))
}

/// The end of a connection whose peer may not log in (28000).
pub fn refused() -> PgWireError {
    let mut info = ErrorInfo::new("FATAL".to_owned(), "28000".to_owned(), policy::REFUSAL.to_owned());
    info.hint = Some(policy::HINT.to_owned());
    info.severity_nonlocalized = Some("FATAL".to_owned());
    PgWireError::UserError(Box::new(info))
}
