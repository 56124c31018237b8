//! Feedback beyond the single event: many at once, read back, taken back.
//!
//! Invariant: each item of a batch has an outcome of its own, in order; nothing is acknowledged before it is durable.
//! Bounded: a batch holds at most [`MOST_ITEMS`], a list at most [`MOST_LISTED`], and no request looks at more than
//! [`MOST_SCANNED`] events.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use understudy_actors::past::Past;
use understudy_actors::seams::DurableFeedback;
use understudy_checkpoints::StoreError;
use understudy_learning::stages::{Feedback, FeedbackKind};
use understudy_model::hash::fnv1a;

use super::backend::{Refusal, unread};
use super::browse::blocking;
use super::feedback::{self, key_of};
use super::wire::UniqueKeys;
use super::{ApiError, Shared, guard, problem};
use crate::clock;

/// Most items of a batch.
const MOST_ITEMS: usize = 256;
/// Most events of one list.
const MOST_LISTED: usize = 200;
/// Events of one list where the request does not say.
const LISTED: usize = 50;
/// Most events that one request looks at.
pub(super) const MOST_SCANNED: usize = 20_000;
/// Events read from the store at once.
pub(super) const PAGE: usize = 256;
/// Items of a batch that wait for the disk together.
const TOGETHER: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    items: Vec<UniqueKeys>,
}

/// `POST /v1/feedback/batch`.
pub(super) async fn batch(
    shared: web::Data<Shared>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let bytes = guard::body(payload, &shared).await?;
    let key = key_of(&request);
    let Batch { items } = serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::invalid(None, format!("the body must be {{\"items\": [events of feedback]}}: {error}"))
    })?;
    if items.is_empty() || items.len() > MOST_ITEMS {
        let message = format!("items holds {} events; give 1 to {MOST_ITEMS}", items.len());
        return Err(ApiError::invalid(Some("items"), message));
    }
    let mut outcomes = Vec::with_capacity(items.len());
    let mut run = Vec::new();
    for (index, UniqueKeys(item)) in items.into_iter().enumerate() {
        // What takes back may mean an event just before it, which must be on disk by then.
        let takes_back = item.get("kind").is_some_and(|kind| kind == "retract");
        if takes_back {
            outcomes.append(&mut together(&shared, std::mem::take(&mut run)).await);
        }
        run.push((item, key.as_ref().map(|key| format!("{key}-{index}"))));
        if takes_back {
            outcomes.append(&mut together(&shared, std::mem::take(&mut run)).await);
        }
    }
    outcomes.append(&mut together(&shared, run).await);
    Ok(HttpResponse::Ok().json(json!({"items": outcomes})))
}

/// Outcomes of events that do not depend on each other, in order.
async fn together(shared: &Shared, items: Vec<(Map<String, Value>, Option<String>)>) -> Vec<Value> {
    stream::iter(items).map(|(item, key)| outcome(shared, item, key)).buffered(TOGETHER).collect().await
}

async fn outcome(shared: &Shared, item: Map<String, Value>, key: Option<String>) -> Value {
    let id = item.get("id").cloned().or_else(|| key.clone().map(Value::from)).unwrap_or_default();
    match feedback::give_one(shared, item, key).await {
        Ok(taken) => taken,
        Err(error) => {
            feedback::count(&error);
            json!({"id": id, "problem": problem::details(&error, None)})
        }
    }
}

/// What `GET /v1/feedback` can be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    annotator: Option<String>,
    limit: Option<usize>,
    before: Option<u64>,
}

/// `GET /v1/feedback`: newest first, with what was taken back since.
pub(super) async fn list(shared: web::Data<Shared>, query: web::Query<ListQuery>) -> Result<HttpResponse, ApiError> {
    let ListQuery { annotator, limit, before } = query.into_inner();
    let limit = limit.unwrap_or(LISTED);
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(ApiError::invalid(Some("limit"), format!("limit is {limit}; give 1 to {MOST_LISTED}")));
    }
    let before = before.unwrap_or(u64::MAX);
    let heard = shared.backend.heard_up_to();
    let body = read(&shared, move |past| {
        let mut listed = Vec::new();
        let mut taken_back = BTreeMap::new();
        let (mut cursor, mut scanned, mut end) = (u64::MAX, 0, false);
        // From the newest, also where only older ones are wanted: what was taken back is known by what came later.
        while listed.len() <= limit && scanned < MOST_SCANNED && !end {
            let page = past.feedback(cursor, PAGE)?;
            end = page.is_empty();
            scanned += page.len();
            cursor = page.last().map_or(0, |event| event.seq);
            for event in page {
                if let FeedbackKind::Retract { feedback } = &event.feedback.kind {
                    taken_back.insert(feedback.clone(), event.clone());
                }
                let is_wanted = annotator.as_ref().is_none_or(|annotator| *annotator == event.feedback.annotator);
                if is_wanted && event.seq < before && listed.len() <= limit {
                    listed.push(shown(&event, taken_back.get(&event.feedback.id), heard));
                }
            }
        }
        let more = listed.len() > limit;
        listed.truncate(limit);
        let next = listed.last().filter(|_| more).map(|event| event["seq"].clone());
        Ok(json!({"items": listed, "next": next, "complete": end || more}))
    })
    .await?;
    Ok(HttpResponse::Ok().json(body))
}

/// `GET /v1/feedback/{id}`.
pub(super) async fn one(shared: web::Data<Shared>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let (id, heard) = (id.into_inner(), shared.backend.heard_up_to());
    let named = id.clone();
    let found = read(&shared, move |past| {
        let Some(event) = past.feedback_named(&named)? else { return Ok(None) };
        let is_it = |later: &DurableFeedback| takes_back(&later.feedback) == Some(named.as_str());
        let (mut cursor, mut scanned, mut retract) = (event.seq, 0, None);
        while retract.is_none() && scanned < MOST_SCANNED {
            let page = past.feedback_after(cursor, PAGE)?;
            let Some(last) = page.last() else { break };
            cursor = last.seq;
            scanned += page.len();
            retract = page.into_iter().find(is_it);
        }
        Ok(Some(shown(&event, retract.as_ref(), heard)))
    })
    .await?;
    let unknown = || {
        let message = format!("feedback '{id}' is unknown here; name an event that was acknowledged and is still kept");
        ApiError::new(StatusCode::NOT_FOUND, "not_found", Some("id"), message)
    };
    Ok(HttpResponse::Ok().json(found.ok_or_else(unknown)?))
}

/// `POST /v1/feedback/{id}/retract`: takes back what the same annotator said. The same again is a duplicate.
pub(super) async fn retract(
    shared: web::Data<Shared>,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        annotator: String,
    }
    let bytes = guard::body(payload, &shared).await?;
    let Body { annotator } = serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("the body must be {{\"annotator\": who gave the feedback}}: {error}");
        ApiError::invalid(Some("annotator"), message)
    })?;
    let feedback = id.into_inner();
    let event = Feedback {
        id: retract_id(&feedback),
        annotator,
        at: clock::now_ms(),
        kind: FeedbackKind::Retract { feedback },
        why: None,
    };
    let taken = feedback::submit(&shared, event, false).await;
    if let Err(error) = &taken {
        feedback::count(error);
    }
    Ok(HttpResponse::Ok().json(taken?))
}

/// The id under which an event is taken back: one a event, so that twice is once.
pub(super) fn retract_id(id: &str) -> String {
    let plain = format!("retract-{id}");
    if plain.len() <= 128 {
        return plain;
    }
    // An id near its longest has no room for the word before it.
    format!("retract-{:016x}", fnv1a(id.bytes()))
}

/// The event that this one takes back.
pub(super) fn takes_back(feedback: &Feedback) -> Option<&str> {
    match &feedback.kind {
        FeedbackKind::Retract { feedback } => Some(feedback),
        _ => None,
    }
}

/// An event as the API shows it: its place, itself, whether the reward model has heard it, and what took it back.
pub(super) fn shown(event: &DurableFeedback, retract: Option<&DurableFeedback>, heard_up_to: u64) -> Value {
    let by = retract.map(|by| json!({"id": by.feedback.id, "seq": by.seq, "heard": by.seq <= heard_up_to}));
    json!({
        "seq": event.seq,
        "heard": event.seq <= heard_up_to,
        "taken_back": by,
        "feedback": event.feedback,
    })
}

/// What `look` finds in the past, on a thread that may wait for the disk.
pub(super) async fn read<T: Send + 'static>(
    shared: &Shared,
    look: impl FnOnce(&Past) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let past = shared.backend.past().ok_or_else(|| Refusal::Closed("nothing is kept here to be read back".into()))?;
    blocking(move || look(&past).map_err(unread)).await
}
