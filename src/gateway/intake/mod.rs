//! `POST /v1/intake/argilla` and `POST /v1/intake/label-studio`: what people annotate in those tools is feedback here.
//!
//! Invariant: an annotation counts once and as it stands last. Its events have ids made of its own id; what a change or a
//! deletion makes wrong is taken back before what is new is given, and 200 says that all of it is on disk. The same
//! delivery twice, and an older one after a newer, change nothing. What says nothing of answers is told as ignored, so
//! that no tool sends it again and again.

mod argilla;
mod item;
mod label_studio;
mod take;
#[cfg(test)]
mod tests;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use understudy_learning::stages::{AnswerId, FeedbackKind};

use super::recent::Recent;
use super::wire::UniqueKeys;
use super::{ApiError, Shared, feedback, guard};
pub(crate) use take::Turns;

/// Longest reason that is kept, in bytes.
const MOST_WHY_BYTES: usize = 2048;

/// Most ignored things that a reply tells of.
const MOST_IGNORED: usize = 64;

/// A change of one annotation.
#[derive(Debug, PartialEq)]
struct Annotation {
    /// The tool's id of it.
    id: String,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    /// It says this now.
    Said(Said),
    /// It is gone.
    Deleted,
}

/// What an annotation says, all of it.
#[derive(Debug, PartialEq)]
struct Said {
    /// The tool's name of whoever said it.
    annotator: String,
    /// When, in milliseconds since the Unix epoch: newer replaces older.
    at: i64,
    kinds: Vec<FeedbackKind>,
    why: Option<String>,
}

/// Something that says nothing of answers.
#[derive(Debug, PartialEq, Serialize)]
struct Ignored {
    what: String,
    why: String,
}

impl Ignored {
    fn new(what: &str, why: &str) -> Self {
        Self { what: what.chars().take(128).collect(), why: why.to_owned() }
    }
}

impl Said {
    fn at(at: i64) -> Self {
        Self { annotator: String::new(), at, kinds: Vec::new(), why: None }
    }

    fn because(&mut self, why: String) {
        if !why.trim().is_empty() {
            self.why = Some(why);
        }
    }

    fn edit(&mut self, answer: AnswerId, text: String) {
        if !text.trim().is_empty() {
            self.kinds.push(FeedbackKind::Edit { answer, text });
        }
    }

    fn flag(&mut self, answer: AnswerId, reason: String) {
        if !reason.trim().is_empty() {
            self.kinds.push(FeedbackKind::Flag { answer, reason });
        }
    }

    /// Refuses what would be feedback if its item named an answer: ratings must not be lost without a word.
    fn refuse_nameless(&self, is_nameless: bool, ignored: usize, field: &str) -> Result<(), ApiError> {
        match is_nameless && self.kinds.is_empty() && ignored > 0 {
            true => {
                Err(item::wrong(field, "missing", "let the item carry the answer_id or completion_id of its answers"))
            }
            false => Ok(()),
        }
    }
}

/// An annotation tool.
#[derive(Debug, Clone, Copy)]
enum Tool {
    Argilla,
    LabelStudio,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Argilla => "argilla",
            Self::LabelStudio => "label-studio",
        }
    }

    fn read(self, body: &Map<String, Value>, recent: &Recent) -> Result<(Vec<Annotation>, Vec<Ignored>), ApiError> {
        match self {
            Self::Argilla => argilla::read(body, recent),
            Self::LabelStudio => label_studio::read(body, recent),
        }
    }
}

/// `POST /v1/intake/argilla`.
pub(super) async fn from_argilla(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    handle(&shared, payload, Tool::Argilla).await
}

/// `POST /v1/intake/label-studio`.
pub(super) async fn from_label_studio(
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    handle(&shared, payload, Tool::LabelStudio).await
}

async fn handle(shared: &Shared, payload: web::Payload, tool: Tool) -> Result<HttpResponse, ApiError> {
    let bytes = guard::body(payload, shared).await?;
    let taken = taken(shared, &bytes, tool).await;
    if let Err(error) = &taken {
        feedback::count(error);
    }
    Ok(HttpResponse::Ok().json(taken?))
}

/// Takes all annotations of a body. What is refused does not keep the rest from being taken; the first refusal is told,
/// and the same body again does the rest.
async fn taken(shared: &Shared, bytes: &[u8], tool: Tool) -> Result<take::Taken, ApiError> {
    let UniqueKeys(body) = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(None, format!("the body must be a webhook's JSON object: {error}")))?;
    let (annotations, ignored) = tool.read(&body, &shared.recent)?;
    let mut all = take::Taken { ignored, ..take::Taken::default() };
    let mut refused = None;
    for annotation in annotations {
        if let Err(error) = take::take(shared, tool, annotation, &mut all).await {
            refused.get_or_insert(error);
        }
    }
    all.ignored.truncate(MOST_IGNORED);
    refused.map_or(Ok(all), Err)
}

/// As much of a reason as is kept, and how long it was where that is not all.
fn kept(why: String) -> (String, Option<usize>) {
    match why.len() <= MOST_WHY_BYTES {
        true => (why, None),
        false => (why[..why.floor_char_boundary(MOST_WHY_BYTES)].to_owned(), Some(why.len())),
    }
}
