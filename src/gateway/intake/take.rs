//! An annotation as it stands now against what was taken of it before.
//!
//! Invariant: the journal itself says what was taken before, so a restart forgets nothing: the events of annotation A are
//! `TOOL-A-0`, `TOOL-A-1`, … without a gap, and one that was taken back has a `…-changed` or `…-deleted` beside it. One
//! annotation is looked at by one delivery at a time. Bounded: [`MOST_EVENTS`] events an annotation, [`REMEMBERED`] times
//! [`STRIPES`] annotations remembered.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use understudy_actors::past::Past;
use understudy_actors::seams::DurableFeedback;
use understudy_checkpoints::StoreError;
use understudy_learning::stages::{Feedback, FeedbackKind};
use understudy_model::hash::fnv1a;

use super::{Annotation, Ignored, Said, Tool, What, item, kept};
use crate::clock;
use crate::gateway::backend::Refusal;
use crate::gateway::feedback::submit;
use crate::gateway::feedback_api::{read, retract_id};
use crate::gateway::{ApiError, Shared};

/// Most events of one annotation, those that were taken back included.
const MOST_EVENTS: usize = 256;
/// Deliveries that are looked at side by side.
const STRIPES: usize = 16;
/// Annotations of a stripe whose newest change is remembered.
const REMEMBERED: usize = 256;
/// An acknowledged record becomes readable within moments: how often to look, and how many times.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LOOKS: usize = 500;

/// What became of a delivery.
#[derive(Debug, Default, Serialize)]
pub(super) struct Taken {
    pub(super) given: Vec<Value>,
    pub(super) taken_back: Vec<Value>,
    pub(super) ignored: Vec<Ignored>,
}

/// Whose turn it is, and the newest changes of late: of those that left nothing in the journal to tell them by.
#[derive(Debug, Default)]
pub(crate) struct Turns([Mutex<VecDeque<(String, i64)>>; STRIPES]);

/// An event that was taken of the annotation before.
struct Earlier {
    event: DurableFeedback,
    is_live: bool,
}

/// What is known of an annotation.
struct Known {
    earlier: Vec<Earlier>,
    /// The newest change; the largest number once it is deleted.
    newest: i64,
}

/// Takes one annotation; what became of it goes into `all`, also as far as it went before a refusal.
pub(super) async fn take(shared: &Shared, tool: Tool, annotation: Annotation, all: &mut Taken) -> Result<(), ApiError> {
    let Annotation { id, what } = annotation;
    let base = format!("{}-{id}", tool.name());
    let (at, wanted, suffix) = match what {
        What::Deleted => (i64::MAX, Vec::new(), "deleted"),
        What::Said(said) => (said.at, events(tool, &base, said, &mut all.ignored)?, "changed"),
    };
    let stripe = fnv1a(base.bytes()) as usize % STRIPES;
    let mut remembered = shared.intake.0[stripe].lock().await;
    let named = base.clone();
    let Known { earlier, newest } = read(shared, move |past| known(past, tool, &named)).await?;
    let late = remembered.iter().find(|(known, _)| *known == base).map_or(i64::MIN, |(_, at)| *at);
    let newest = newest.max(late);
    if at < newest {
        let why = if newest == i64::MAX { "it was deleted" } else { "a newer change of it was taken before" };
        all.ignored.push(Ignored::new(&format!("annotation {id}"), why));
        return Ok(());
    }
    remembered.retain(|(known, _)| *known != base);
    remembered.push_back((base.clone(), at));
    if remembered.len() > REMEMBERED {
        remembered.pop_front();
    }
    let same = |a: &Feedback, b: &Feedback| a.kind == b.kind && a.why == b.why && a.annotator == b.annotator;
    for Earlier { event, .. } in
        earlier.iter().filter(|known| known.is_live && !wanted.iter().any(|new| same(new, &known.event.feedback)))
    {
        let earlier = &event.feedback;
        let retract = Feedback {
            id: format!("{}-{suffix}", earlier.id),
            annotator: earlier.annotator.clone(),
            at: if at == i64::MAX { clock::now_ms() } else { at },
            kind: FeedbackKind::Retract { feedback: earlier.id.clone() },
            why: None,
        };
        let seq = durable(shared, retract).await?["seq"].take();
        all.taken_back.push(json!({"id": earlier.id, "seq": seq}));
    }
    let mut next = earlier.len();
    for event in wanted {
        // What was taken back by hand since is not said again by the same change.
        let is_it =
            |known: &&Earlier| same(&event, &known.event.feedback) && (known.is_live || known.event.feedback.at == at);
        if let Some(known) = earlier.iter().find(is_it) {
            all.given.push(json!({"id": known.event.feedback.id, "seq": known.event.seq, "duplicate": true}));
            continue;
        }
        all.given.push(give(shared, &base, &mut next, event).await?);
    }
    Ok(())
}

/// Gives `event` the first free id from `next` on.
async fn give(shared: &Shared, base: &str, next: &mut usize, event: Feedback) -> Result<Value, ApiError> {
    while *next < MOST_EVENTS {
        let given = durable(shared, Feedback { id: format!("{base}-{next}"), ..event.clone() }).await;
        match given {
            // An event of this id was there and is no longer kept.
            Err(error) if error.status == StatusCode::CONFLICT => *next += 1,
            given => {
                *next += 1;
                return given;
            }
        }
    }
    let message = format!("{base} was changed more than {MOST_EVENTS} times; annotate anew");
    Err(ApiError::new(StatusCode::CONFLICT, "conflict", None, message))
}

/// The events that `said` stands for, checked before anything is taken back for them.
fn events(tool: Tool, base: &str, said: Said, ignored: &mut Vec<Ignored>) -> Result<Vec<Feedback>, ApiError> {
    let Said { annotator, at, kinds, why } = said;
    let annotator = format!("{}/{annotator}", tool.name());
    let why = why.map(kept).map(|(why, length)| {
        if let Some(length) = length {
            ignored.push(Ignored::new("why", &format!("it is {length} bytes long; its beginning is kept")));
        }
        why
    });
    let mut events: Vec<Feedback> = Vec::new();
    for kind in kinds {
        let event = Feedback { id: format!("{base}-0"), annotator: annotator.clone(), at, kind, why: why.clone() };
        event.validate().map_err(Refusal::from)?;
        if !events.contains(&event) {
            events.push(event);
        }
    }
    if events.len() > MOST_EVENTS {
        return Err(item::wrong(
            "annotation",
            &format!("{} events long", events.len()),
            "say at most 256 things in one",
        ));
    }
    if events.is_empty() && why.is_some() {
        ignored.push(Ignored::new("why", "it stands alone: nothing was said that it is the reason of"));
    }
    Ok(events)
}

/// What the journal knows of an annotation.
fn known(past: &Past, tool: Tool, base: &str) -> Result<Known, StoreError> {
    let mut known = Known { earlier: Vec::new(), newest: i64::MIN };
    for number in 0..MOST_EVENTS {
        let id = format!("{base}-{number}");
        let Some(event) = past.feedback_named(&id)? else { break };
        // Anybody may give an event this id: it takes the place, but is not what the annotation said.
        if !event.feedback.annotator.starts_with(&format!("{}/", tool.name())) {
            known.earlier.push(Earlier { event, is_live: false });
            continue;
        }
        let changed = past.feedback_named(&format!("{id}-changed"))?;
        let is_deleted = past.feedback_named(&format!("{id}-deleted"))?.is_some();
        let is_live = changed.is_none() && !is_deleted && past.feedback_named(&retract_id(&id))?.is_none();
        let changed = changed.map_or(i64::MIN, |changed| changed.feedback.at);
        known.newest = known.newest.max(event.feedback.at).max(changed);
        if is_deleted {
            known.newest = i64::MAX;
        }
        known.earlier.push(Earlier { event, is_live });
    }
    Ok(known)
}

/// Makes `event` durable and waits until it can be read back: the next delivery goes by what it reads.
async fn durable(shared: &Shared, event: Feedback) -> Result<Value, ApiError> {
    let id = event.id.clone();
    // A deletion has no time of its own: the same again is the same.
    let is_timed = !id.ends_with("-deleted");
    let taken = submit(shared, event, is_timed).await?;
    for _ in 0..LOOKS {
        let named = id.clone();
        if read(shared, move |past| past.feedback_named(&named)).await?.is_some() {
            return Ok(taken);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(Refusal::Expired(format!("feedback {id} is on disk but cannot be read back yet; send it again")).into())
}
