//! The first page, and the answer to paths that do not exist.

use axum::{
    http::{StatusCode, Uri},
    response::{Html, Response},
};

use super::answer::refusal;

/// `GET /`: what is here.
pub async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}

/// Any other path.
pub async fn nothing_here(uri: Uri) -> Response {
    refusal(StatusCode::NOT_FOUND, &format!("there is nothing at {}", uri.path()), Some("/ says what there is"))
}
