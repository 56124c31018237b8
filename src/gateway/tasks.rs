//! `GET /v1/tasks/next` and `POST /v1/tasks/{task}/skip`: what an annotator should rate next.
//!
//! Invariant: whoever rates sees neither versions nor scores, answers stand in random order, and nothing tells a task
//! whose answer is known from any other. A reload shows the same task. A skip is answered with 200 after it is on disk.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use metrics::counter;
use serde::Deserialize;
use serde_json::{Value, json};
use understudy_learning::stages::{Feedback, FeedbackKind, Rollout};

use super::backend::{Backend, Refusal};
use super::browse::{blocking, query, question_json};
use super::{ApiError, Shared, guard};
use crate::markdown::to_html;
use crate::observer::Observer;
use crate::tasks::task::{Task, TaskKind, TaskName};
use crate::telemetry::metrics::{TASKS_GIVEN, TASKS_SKIPPED};

/// Candidates whose answers turn out to be gone before a request is given up.
const MOST_TRIES: usize = 32;

/// A task and its answers in the order in which they are shown.
type Given = (Task, Vec<Arc<Rollout>>);

#[derive(Debug, Deserialize)]
struct Params {
    annotator: String,
    #[serde(default)]
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    annotator: String,
}

/// `GET /v1/tasks/next`.
pub(super) async fn next(shared: web::Data<Shared>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let Params { annotator, kind } = query(&request)?;
    check(&annotator)?;
    let wanted = match kind.as_str() {
        "" | "any" => None,
        word => Some(TaskKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
            let message = format!("kind is '{word}'; use any, stars, thumb, pair or ranking");
            ApiError::invalid(Some("kind"), message)
        })?),
    };
    let found = blocking(move || find(shared.backend.as_ref(), &shared.observer, &annotator, wanted)).await?;
    let Some((task, answers)) = found else { return Ok(HttpResponse::NoContent().finish()) };
    counter!(TASKS_GIVEN, "kind" => task.kind.word()).increment(1);
    Ok(HttpResponse::Ok().json(shown(&task, &answers)))
}

/// `POST /v1/tasks/{task}/skip`.
pub(super) async fn skip(
    shared: web::Data<Shared>,
    path: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let bytes = guard::body(payload, &shared).await?;
    let read = serde_json::from_slice(&bytes);
    let Skip { annotator } =
        read.map_err(|error| ApiError::invalid(None, format!("the body must be {{\"annotator\": …}}: {error}")))?;
    check(&annotator)?;
    let (observer, task) = (shared.observer.clone(), path.parse::<TaskName>());
    let known = blocking(move || Ok(task.is_ok_and(|task| observer.skip(&annotator, &task)))).await?;
    if !known {
        let message = format!("task '{path}' is unknown here or no longer open; ask for the next one");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_task", None, message));
    }
    counter!(TASKS_SKIPPED).increment(1);
    Ok(HttpResponse::Ok().json(json!({"task": path.as_str(), "skipped": true})))
}

/// The same rule for an annotator's name as a rating has.
fn check(annotator: &str) -> Result<(), ApiError> {
    let kind = FeedbackKind::Retract { feedback: "x".to_owned() };
    let probe = Feedback { id: "x".to_owned(), annotator: annotator.to_owned(), at: 0, kind, why: None };
    Ok(probe.validate().map_err(Refusal::from)?)
}

fn find(
    backend: &dyn Backend,
    observer: &Observer,
    annotator: &str,
    wanted: Option<TaskKind>,
) -> Result<Option<Given>, Refusal> {
    for _ in 0..MOST_TRIES {
        let Some(task) = observer.next_task(annotator, wanted) else { return Ok(None) };
        let mut answers = Vec::with_capacity(task.answers.len());
        for id in &task.answers {
            match backend.answer(*id)? {
                Some(answer) => answers.push(answer),
                None => observer.lose(*id),
            }
        }
        if answers.len() == task.answers.len() {
            return Ok(Some((task, answers)));
        }
    }
    Err(Refusal::Full("the answers that were to be rated are no longer kept; ask again".to_owned()))
}

fn shown(task: &Task, answers: &[Arc<Rollout>]) -> Value {
    let one = |(place, answer): (usize, &Arc<Rollout>)| json!({"answer": answer.id, "label": label(place), "text": answer.text, "html": to_html(&answer.text)});
    let question = answers.first().map(|first| question_json(first.group, &first.prompt.question, Value::Null));
    json!({
        "task": task.name().to_string(),
        "kind": task.kind.word(),
        "question": question,
        "answers": answers.iter().enumerate().map(one).collect::<Vec<_>>(),
        "blind": true,
        "waiting": task.waiting,
    })
}

/// A, B, … Z, A1, B1, …
fn label(place: usize) -> String {
    let letter = char::from(b'A' + (place % 26) as u8);
    if place < 26 { letter.to_string() } else { format!("{letter}{}", place / 26) }
}
