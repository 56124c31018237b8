//! `GET /v1/lineage/{answer}`: where an answer came from and what became of it.
//!
//! Invariant: everything is read from the store, so a restart loses nothing of it, and the journal's sequence orders it:
//! the answer, the versions published after it, what was said of it. Bounded: one request looks at no more than
//! [`MOST_SCANNED`] events and tells where to go on.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use understudy_actors::past::Past;
use understudy_actors::seams::DurableFeedback;
use understudy_checkpoints::StoreError;
use understudy_learning::stages::{AnswerId, Rollout};

use super::feedback_api::{MOST_SCANNED, PAGE, read, shown, takes_back};
use super::{ApiError, Shared, feedback, wire};

/// Most versions of one reply.
const MOST_VERSIONS: usize = 256;
/// Most events of one reply.
const MOST_EVENTS: usize = 256;

/// What the route can be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    after: Option<u64>,
}

/// The handler.
pub(super) async fn lineage(
    shared: web::Data<Shared>,
    answer: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, ApiError> {
    let name = answer.into_inner();
    let unknown = || {
        let message = format!("answer '{name}' is unknown here; name an answer_id or completion_id that is still kept");
        ApiError::new(StatusCode::NOT_FOUND, "not_found", Some("answer"), message)
    };
    let id = feedback::answer_named(&name, &shared.recent).ok_or_else(unknown)?;
    let (heard, after) = (shared.backend.heard_up_to(), query.after);
    let found = read(&shared, move |past| {
        let Some((seq, rollout)) = past.answer(id)? else { return Ok(None) };
        let after = after.unwrap_or(seq).max(seq);
        let mut versions = past.published_after(after, MOST_VERSIONS + 1)?;
        let more_versions = versions.len() > MOST_VERSIONS;
        versions.truncate(MOST_VERSIONS);
        let said = Said::of(past, id, after)?;
        let mut shown = described(seq, &rollout);
        let published = versions.iter().map(|(seq, version)| json!({"seq": seq, "version": version}));
        shown["published"] = published.collect();
        shown["published_next"] = json!(versions.last().filter(|_| more_versions).map(|(seq, _)| seq));
        shown["feedback"] = said.events.iter().map(|(event, by)| self::shown(event, by.as_ref(), heard)).collect();
        shown["feedback_next"] = json!(said.next);
        shown["reward_heard_up_to"] = json!(heard);
        Ok(Some(shown))
    })
    .await?;
    Ok(HttpResponse::Ok().json(found.ok_or_else(unknown)?))
}

/// The answer itself: what was asked, which policies answered, how it was sampled.
fn described(seq: u64, rollout: &Rollout) -> Value {
    let question = &rollout.prompt.question;
    let spans = rollout.version_spans.iter().map(|span| json!({"start": span.start, "version": span.version}));
    json!({
        "answer": rollout.id,
        "completion_id": wire::completion_id(rollout.id),
        "seq": seq,
        "group": rollout.group,
        "question": {
            "id": question.id,
            "source": question.source,
            "title": question.title,
            "body": question.body,
            "tags": question.tags,
            "author": question.author,
            "url": question.url,
            "licence": question.licence,
            "terms": question.terms,
            "asked_ms": question.asked_at,
        },
        "text": rollout.text,
        "tokens": rollout.tokens.len(),
        "finish": wire::finish_reason(rollout.finish),
        "spans": spans.collect::<Vec<_>>(),
        "sampling": rollout.sampling,
    })
}

/// What was said of an answer, oldest first, each with what took it back.
struct Said {
    events: Vec<(DurableFeedback, Option<DurableFeedback>)>,
    /// Journal sequence after which to go on, when there is more to look at.
    next: Option<u64>,
}

impl Said {
    /// Reads on after journal sequence `after`: nothing is said of an answer before it is there.
    fn of(past: &Past, answer: AnswerId, after: u64) -> Result<Self, StoreError> {
        let mut events: Vec<(DurableFeedback, Option<DurableFeedback>)> = Vec::new();
        let (mut cursor, mut scanned) = (after, 0);
        loop {
            let page = past.feedback_after(cursor, PAGE)?;
            let Some(last) = page.last().map(|event| event.seq) else { return Ok(Self { events, next: None }) };
            scanned += page.len();
            for event in page {
                if let Some(earlier) = takes_back(&event.feedback) {
                    if let Some((_, by)) = events.iter_mut().find(|(known, _)| known.feedback.id == earlier) {
                        *by = Some(event);
                    }
                } else if event.feedback.answers().contains(&answer) {
                    if events.len() == MOST_EVENTS {
                        return Ok(Self { events, next: Some(cursor) });
                    }
                    cursor = event.seq;
                    events.push((event, None));
                }
            }
            cursor = last;
            if scanned >= MOST_SCANNED {
                return Ok(Self { events, next: Some(cursor) });
            }
        }
    }
}
