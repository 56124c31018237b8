//! `POST /v1/feedback`: the event as `learning` knows it, or with the completion ids that a chat client has.
//!
//! Invariant: 200 is sent only after the rating is durable; the same event twice is 200 twice; the same id with another
//! content is 409.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use metrics::counter;
use serde_json::{Map, Value, json};
use understudy_learning::stages::{AnswerId, Feedback, FeedbackError};

use super::backend::{Ack, Refusal};
use super::feedback_api::read as read_past;
use super::recent::Recent;
use super::wire::{self, UniqueKeys};
use super::{ApiError, Shared, guard};
use crate::clock;
use crate::telemetry::metrics::RATINGS_REJECTED;

/// Fields that every kind has.
const COMMON: [&str; 5] = ["id", "annotator", "at", "kind", "why"];
/// Fields that each kind has beside those.
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
    let taken = match object(&bytes) {
        Ok(object) => give_one(&shared, object, key_of(&request)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &taken {
        count(error);
    }
    Ok(HttpResponse::Ok().json(taken?))
}

/// The client's own id of a request, under which it may be sent again.
pub(super) fn key_of(request: &HttpRequest) -> Option<String> {
    request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned)
}

/// Takes one event; what is told to who gave it.
pub(super) async fn give_one(
    shared: &Shared,
    object: Map<String, Value>,
    key: Option<String>,
) -> Result<Value, ApiError> {
    let is_timed = object.contains_key("at");
    let feedback = parse(object, key, clock::now_ms(), &shared.recent)?;
    submit(shared, feedback, is_timed).await
}

/// Makes the event durable. One that the client gave no time (`is_timed` is false) was given the present one here: the
/// same event again is the same event, though it has another time now.
pub(super) async fn submit(shared: &Shared, feedback: Feedback, is_timed: bool) -> Result<Value, ApiError> {
    feedback.validate().map_err(Refusal::from)?;
    let id = feedback.id.clone();
    let seconds = shared.http.now().feedback_timeout_s;
    let again = (!is_timed).then(|| feedback.clone());
    let wait = tokio::time::timeout(Duration::from_secs_f64(seconds), shared.backend.feedback(feedback));
    let late = || format!("the rating was not on disk within {seconds} s; send it again under the same id");
    let ack = match (wait.await.unwrap_or_else(|_| Err(Refusal::Expired(late()))), again) {
        (Err(Refusal::Conflict(why)), Some(again)) => {
            known_but_for_its_time(shared, again).await.ok_or(Refusal::Conflict(why))?
        }
        (taken, _) => taken?,
    };
    Ok(json!({"id": id, "seq": ack.seq, "duplicate": ack.duplicate}))
}

/// The earlier event of the same id, where only the time tells them apart.
async fn known_but_for_its_time(shared: &Shared, mut feedback: Feedback) -> Option<Ack> {
    shared.backend.past()?;
    let id = feedback.id.clone();
    let earlier = read_past(shared, move |past| past.feedback_named(&id)).await.ok()??;
    feedback.at = earlier.feedback.at;
    (feedback == earlier.feedback).then_some(Ack { seq: earlier.seq, duplicate: true })
}

/// Counts a refusal.
pub(super) fn count(error: &ApiError) {
    counter!(RATINGS_REJECTED, "reason" => reason(error)).increment(1);
}

/// The event in a request's body, checked as far as it can be without knowing the answers.
pub(crate) fn read(bytes: &[u8], key: Option<String>, now: i64, recent: &Recent) -> Result<Feedback, ApiError> {
    let feedback = parse(object(bytes)?, key, now, recent)?;
    feedback.validate().map_err(Refusal::from)?;
    Ok(feedback)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let UniqueKeys(object) = serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.is_data() {
            true => "must be a JSON object with at least kind and an answer, each key once",
            false => "is not JSON",
        };
        ApiError::invalid(None, format!("the body {what}: {error}"))
    })?;
    Ok(object)
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
    let known = |name: &str| COMMON.contains(&name) || fields.contains(&name);
    if let Some(unknown) = object.keys().find(|name| !known(name)) {
        let message = format!("'{unknown}' is no field of a {kind}; its fields are {}", fields.join(", "));
        return Err(ApiError::invalid(Some(unknown), message));
    }
    // A form that was left empty is no reason.
    if object.get("why").and_then(Value::as_str).is_some_and(|why| why.trim().is_empty()) {
        object.remove("why");
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
    match answer_named(text, recent) {
        Some(id) => Ok(Value::from(id)),
        None => {
            Err(wrong(name, format!("'{text}'"), "give an answer_id or completion_id from a choice of this daemon"))
        }
    }
}

/// The answer that a client calls `name`: its number, its completion id, or the id of a stream of late with one answer.
pub(super) fn answer_named(name: &str, recent: &Recent) -> Option<AnswerId> {
    wire::answer_id(name).or_else(|| recent.answer_of(name))
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
