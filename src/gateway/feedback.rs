//! `POST /v1/feedback`: the event as `learning` knows it, or with the completion ids that a chat client has.
//!
//! Invariant: 200 is sent only after the rating is durable; the same event twice is 200 twice; the same id with another
//! content is 409.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use metrics::counter;
use serde_json::{Map, Value, json};
use understudy_learning::stages::{Feedback, FeedbackError};

use super::backend::Refusal;
use super::recent::Recent;
use super::wire::UniqueKeys;
use super::{ApiError, Shared, guard};
use crate::clock;
use crate::telemetry::metrics::RATINGS_REJECTED;

/// Fields that each kind has beside `id`, `annotator`, `at` and `kind`.
const FIELDS: [(&str, &[&str]); 9] = [
    ("stars", &["answer", "stars"]),
    ("thumb", &["answer", "up"]),
    ("score", &["answer", "value", "min", "max"]),
    ("pair", &["better", "worse", "strength"]),
    ("ranking", &["levels"]),
    ("edit", &["answer", "text"]),
    ("flag", &["answer", "reason"]),
    ("steps", &["answer", "marks"]),
    ("retract", &["feedback"]),
];
/// Fields that hold an answer's id.
const ANSWERS: [&str; 3] = ["answer", "better", "worse"];

/// The handler.
pub(super) async fn give(
    shared: web::Data<Shared>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let bytes = guard::body(payload, &shared).await?;
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let taken = take(&shared, &bytes, key).await;
    if let Err(error) = &taken {
        counter!(RATINGS_REJECTED, "reason" => reason(error)).increment(1);
    }
    taken
}

async fn take(shared: &Shared, bytes: &[u8], key: Option<String>) -> Result<HttpResponse, ApiError> {
    let feedback = read(bytes, key, clock::now_ms(), &shared.recent)?;
    let id = feedback.id.clone();
    let seconds = shared.http.feedback_timeout_s;
    let wait = tokio::time::timeout(Duration::from_secs_f64(seconds), shared.backend.feedback(feedback));
    let ack = wait.await.unwrap_or_else(|_| {
        Err(Refusal::Expired(format!("the rating was not on disk within {seconds} s; send it again under the same id")))
    })?;
    Ok(HttpResponse::Ok().json(json!({"id": id, "seq": ack.seq, "duplicate": ack.duplicate})))
}

/// The event in a request's body, checked as far as it can be without knowing the answers.
pub(crate) fn read(bytes: &[u8], key: Option<String>, now: i64, recent: &Recent) -> Result<Feedback, ApiError> {
    let UniqueKeys(object) = serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.is_data() {
            true => "must be a JSON object with at least kind and an answer, each key once",
            false => "is not JSON",
        };
        ApiError::invalid(None, format!("the body {what}: {error}"))
    })?;
    let feedback = parse(object, key, now, recent)?;
    feedback.validate().map_err(Refusal::from)?;
    Ok(feedback)
}

/// Reads the event; what a casual client leaves out (id, annotator, time) is filled in.
fn parse(mut object: Map<String, Value>, key: Option<String>, now: i64, recent: &Recent) -> Result<Feedback, ApiError> {
    if let Some(completion) = object.remove("completion_id") {
        object.entry("answer").or_insert(completion);
    }
    let kind = match object.get("kind") {
        Some(Value::String(kind)) => kind.clone(),
        Some(other) => return Err(wrong("kind", other.to_string(), "give one of the words stars, thumb, pair, …")),
        None => {
            return Err(wrong("kind", "missing".into(), "say which kind of feedback it is, for instance \"stars\""));
        }
    };
    let Some((_, fields)) = FIELDS.iter().find(|(name, _)| *name == kind) else {
        let remedy = "use stars, thumb, score, pair, ranking, edit, flag, steps or retract";
        return Err(wrong("kind", format!("'{kind}'"), remedy));
    };
    let known = |name: &str| ["id", "annotator", "at", "kind"].contains(&name) || fields.contains(&name);
    if let Some(unknown) = object.keys().find(|name| !known(name)) {
        let message = format!("'{unknown}' is no field of a {kind}; its fields are {}", fields.join(", "));
        return Err(ApiError::invalid(Some(unknown), message));
    }
    for name in ANSWERS {
        if let Some(value) = object.get_mut(name) {
            *value = answer_id(name, value, recent)?;
        }
    }
    if let Some(Value::Array(levels)) = object.get_mut("levels") {
        for level in levels.iter_mut() {
            // A plain id is a level of its own.
            let members = match level.take() {
                Value::Array(members) => members,
                one => vec![one],
            };
            let members: Result<Vec<Value>, ApiError> =
                members.iter().map(|member| answer_id("levels", member, recent)).collect();
            *level = Value::Array(members?);
        }
    }
    // Only where none was given: each id that is made up here pushes a stream's out of what is remembered.
    let id = || key.unwrap_or_else(|| recent.begin(now).replace("chatcmpl-s", "auto-"));
    object.entry("id").or_insert_with(|| Value::String(id()));
    object.entry("annotator").or_insert_with(|| Value::String("anonymous".to_owned()));
    object.entry("at").or_insert_with(|| Value::from(now));
    serde_json::from_value(Value::Object(object)).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_feedback", None, format!("the {kind} is wrong: {error}"))
    })
}

fn answer_id(name: &'static str, value: &Value, recent: &Recent) -> Result<Value, ApiError> {
    let Value::String(text) = value else { return Ok(value.clone()) };
    let number = text.strip_prefix("chatcmpl-").unwrap_or(text).parse::<u64>().ok();
    match number.or_else(|| recent.answer_of(text)) {
        Some(id) => Ok(Value::from(id)),
        None => {
            Err(wrong(name, format!("'{text}'"), "give an answer_id or completion_id from a choice of this daemon"))
        }
    }
}

fn wrong(field: &'static str, value: String, remedy: &'static str) -> ApiError {
    Refusal::Rating(FeedbackError { field, value, remedy }).into()
}

fn reason(error: &ApiError) -> &'static str {
    match error.status.as_u16() {
        404 => "unknown_answer",
        409 => "conflict",
        429 => "full",
        503 => "closed",
        504 => "late",
        507 => "no_space",
        400..=499 => "invalid",
        _ => "failed",
    }
}
