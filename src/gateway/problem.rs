//! Errors as RFC 9457 problem details, for every route that is not one of OpenAI's.
//!
//! Invariant: which form an error takes is decided here alone, by the request's path; a refusal keeps its status and its
//! headers in either form. An error that some part below made without a body gets one here, so every error has its
//! `code`; and what went wrong inside is told without a path of this machine.

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use super::{ApiError, openapi};

/// Media type of problem details.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// Routes whose clients know OpenAI's form, those included that are not served here; what lies below them as well.
const OPENAI: [&str; 10] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/moderations",
    "/v1/files",
    "/v1/batches",
    "/v1/images",
    "/v1/audio",
];

/// Whether errors of `path` take OpenAI's form.
pub(super) fn is_openai(path: &str) -> bool {
    OPENAI.iter().any(|route| path.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// `error` as problem details: `type` is a stable name of the code, `detail` one sentence, `field` what is to blame,
/// `retry_after` whole seconds.
pub(super) fn details(error: &ApiError, retry_after: Option<u64>) -> Value {
    let mut problem = json!({
        "type": format!("urn:understudy:problem:{}", error.code),
        "title": title(error.code),
        "status": error.status.as_u16(),
        "detail": error.message,
        "code": error.code,
    });
    if let Some(field) = &error.param {
        problem["field"] = json!(field);
    }
    if let Some(seconds) = retry_after {
        problem["retry_after"] = json!(seconds);
    }
    problem
}

/// The outcome of a request to `path` with its errors in the form that its clients know.
pub(super) fn shaped<B: MessageBody + 'static>(
    path: &str,
    result: Result<ServiceResponse<B>, actix_web::Error>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    match result {
        Ok(response) => {
            let status = response.status();
            let error = match response.response().error() {
                Some(error) => named(error, status),
                // A resource of several methods refuses others itself, without a word.
                None if status == StatusCode::METHOD_NOT_ALLOWED => {
                    ApiError::new(status, "method_not_allowed", None, format!("{path} does not take this method"))
                }
                None => return Ok(response.map_into_left_body()),
            };
            let (request, response) = response.into_parts();
            let response = response.map_into_boxed_body();
            Ok(ServiceResponse::new(request, written(path, &error, response)).map_into_right_body())
        }
        Err(error) => {
            let response = error.error_response();
            let named = named(&error, response.status());
            let response = written(path, &named, response);
            Err(InternalError::from_response(named, response).into())
        }
    }
}

/// The refusal behind an error; one that did not come from here is named after its status.
fn named(error: &actix_web::Error, status: StatusCode) -> ApiError {
    if let Some(refusal) = error.as_error::<ApiError>() {
        return refusal.clone();
    }
    let code = match status.as_u16() {
        404 => "not_found",
        405 => "method_not_allowed",
        413 => "too_large",
        400..=499 => "invalid_request",
        _ => "failed",
    };
    let message = match status.is_client_error() {
        true => error.to_string(),
        false => "the request failed; this is a defect, please report it with the log's last lines".to_owned(),
    };
    ApiError::new(status, code, None, message)
}

/// `response` with the error as its body.
fn written(path: &str, error: &ApiError, mut response: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let (kind, body) = match is_openai(path) {
        true => ("application/json", error.body()),
        false => (PROBLEM_JSON, details(error, retry_after)),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if error.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_str(&openapi::methods_of(path).join(", "));
        response.headers_mut().insert(ALLOW, allowed.expect("the names of methods are plain"));
    }
    response.set_body(BoxBody::new(body.to_string()))
}

/// The code in words.
fn title(code: &str) -> String {
    let words = code.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `message` with the paths of this machine left out, as it may be told to anybody.
pub(super) fn without_paths(message: &str) -> String {
    let is_path = |word: &str| {
        let bare = word.trim_start_matches(['"', '\'', '(', '`', '[']);
        bare.len() > 1 && bare.starts_with('/') && !bare.starts_with("/v1/")
    };
    let words = message.split(' ').map(|word| if is_path(word) { "(a path)" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_routes_are_known_with_what_lies_below_them() {
        for (path, wanted) in [
            ("/v1/chat/completions", true),
            ("/v1/completions", true),
            ("/v1/models", true),
            ("/v1/models/tiny", true),
            ("/v1/embeddings", true),
            ("/v1/modelsx", false),
            ("/v1/feedback", false),
            ("/", false),
        ] {
            assert_eq!(is_openai(path), wanted, "{path}");
        }
    }

    #[test]
    fn a_problem_names_its_type_its_field_and_when_to_come_back() {
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", Some("id"), "too many; wait");
        let wanted = json!({
            "type": "urn:understudy:problem:rate_limited", "title": "Rate limited", "status": 429,
            "detail": "too many; wait", "code": "rate_limited", "field": "id", "retry_after": 7,
        });
        assert_eq!(details(&error, Some(7)), wanted);
        assert!(details(&error, None).get("retry_after").is_none());
    }

    #[test]
    fn a_path_of_this_machine_is_not_told() {
        let told = without_paths("the disk of /data/x has 10 bytes free ('/a/b' too); see /v1/feedback, 3 / 4");
        assert_eq!(told, "the disk of (a path) has 10 bytes free (a path) too); see /v1/feedback, 3 / 4");
    }
}
