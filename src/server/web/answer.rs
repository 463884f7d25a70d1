//! Answers: JSON, and errors as JSON with a status that says who must act.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::error::Error;

/// JSON that must not be kept: it is true at this moment only.
pub fn json_now(value: &Value) -> Response {
    with_status(StatusCode::OK, value)
}

/// An error: what was wrong, and what to do.
pub fn refusal(status: StatusCode, message: &str, hint: Option<&str>) -> Response {
    with_status(status, &json!({ "error": message, "hint": hint }))
}

/// An error of the engine.
pub fn failure(error: &Error) -> Response {
    let status = match error.sqlstate.0 {
        "42704" => StatusCode::NOT_FOUND,
        "0A000" => StatusCode::NOT_IMPLEMENTED,
        "55000" => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refusal(status, &error.message, error.hint.as_deref())
}

fn with_status(status: StatusCode, value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, value.to_string()).into_response()
}
