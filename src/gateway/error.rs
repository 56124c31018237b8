//! Errors as OpenAI's clients expect them: `{"error": {"message", "type", "param", "code"}}` and a status. The other
//! routes' form is `problem`'s.
//!
//! Invariant: 4xx names what the client can change, in at most 500 characters; 5xx tells no path of this machine; 429 and 503 say when to come back.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use super::backend::Refusal;
use super::problem::without_paths;

/// Longest message.
const MOST_CHARS: usize = 500;

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// One sentence: what, which value, what to do.
    pub message: String,
    /// The field to blame.
    pub param: Option<String>,
    /// A stable word for programs.
    pub code: &'static str,
}

impl ApiError {
    /// A request that is wrong in itself.
    pub fn invalid(param: Option<&str>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", param, message)
    }

    /// Any other refusal.
    pub fn new(status: StatusCode, code: &'static str, param: Option<&str>, message: impl Into<String>) -> Self {
        let param = param.map(|param| shortened(param.to_owned()));
        let mut message = message.into();
        if status.is_server_error() {
            let told = without_paths(&message);
            if told != message {
                tracing::warn!(code, message, "a refusal is told without its paths");
                message = told;
            }
        }
        Self { status, code, param, message: shortened(message) }
    }

    /// The body, also sent as an event when a stream has already begun.
    pub fn body(&self) -> serde_json::Value {
        let kind = match self.status.as_u16() {
            429 => "rate_limit_error",
            404 => "not_found_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

/// What a client sent is quoted in refusals, but not at any length.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MOST_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.insert_header((RETRY_AFTER, "1"));
        }
        response.json(self.body())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let (status, code, param) = match &refusal {
            Refusal::Invalid { field, .. } => (StatusCode::BAD_REQUEST, "invalid_request", *field),
            Refusal::Rating(error) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_feedback", Some(error.field)),
            Refusal::Unknown(_) => (StatusCode::NOT_FOUND, "not_found", None),
            Refusal::NotYours(_) => (StatusCode::FORBIDDEN, "not_yours", Some("annotator")),
            Refusal::Conflict(_) => (StatusCode::CONFLICT, "conflict", Some("id")),
            Refusal::Full(_) => (StatusCode::TOO_MANY_REQUESTS, "overloaded", None),
            Refusal::Closed(_) => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down", None),
            Refusal::Expired(_) => (StatusCode::GATEWAY_TIMEOUT, "deadline_passed", None),
            Refusal::NoSpace(_) => (StatusCode::INSUFFICIENT_STORAGE, "no_space", None),
            Refusal::Crashed(_) => (StatusCode::BAD_GATEWAY, "crashed", None),
        };
        Self::new(status, code, param, message)
    }
}
