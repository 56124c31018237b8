//! `GET /v1/questions` and `GET /v1/answers/{id}`: what was asked and answered, from the store.
//!
//! Invariant: a page holds at most [`MOST_QUESTIONS`] questions of at most [`MOST_ANSWERS`] answers, and a request looks
//! at no more than [`MOST_LOOKED_AT`] answers, which the reply says; `next` goes on where it stopped. Pages neither
//! overlap nor leave out: a question's place is the id of its first answer, which never changes.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use understudy_learning::stages::{AnswerId, Question, Rollout};

use super::backend::{Backend, Refusal};
use super::{ApiError, Shared, wire};
use crate::markdown::to_html;
use crate::observer::Observer;
use crate::tasks::group::MOST_ANSWERS;

/// Most questions on a page.
const MOST_QUESTIONS: usize = 100;
/// Questions on a page where the caller does not say.
const QUESTIONS: usize = 20;
/// Most answers that one request looks at, ids without an answer included.
const MOST_LOOKED_AT: usize = 2000;
/// Longest text to search for, in characters.
const MOST_SEARCH: usize = 200;
/// Newest ratings of an answer that are shown with it.
const MOST_RATINGS: usize = 100;

#[derive(Debug, Deserialize)]
struct Params {
    before: Option<AnswerId>,
    limit: Option<usize>,
    #[serde(default)]
    search: String,
    #[serde(default)]
    source: String,
}

/// `GET /v1/questions`.
pub(super) async fn questions(shared: web::Data<Shared>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let params: Params = query(&request)?;
    let limit = params.limit.unwrap_or(QUESTIONS);
    if !(1..=MOST_QUESTIONS).contains(&limit) {
        let message = format!("limit is {limit}; give 1 to {MOST_QUESTIONS}");
        return Err(ApiError::invalid(Some("limit"), message));
    }
    if params.search.chars().count() > MOST_SEARCH {
        let message = format!("search is longer than {MOST_SEARCH} characters; search for less");
        return Err(ApiError::invalid(Some("search"), message));
    }
    let found = blocking(move || page(shared.backend.as_ref(), &shared.observer, &params, limit)).await?;
    Ok(HttpResponse::Ok().json(found))
}

/// `GET /v1/answers/{id}`; the id may also be `chatcmpl-N`.
pub(super) async fn answer(shared: web::Data<Shared>, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let id = wire::answer_id(&path);
    let unknown = || {
        let message = format!("answer '{path}' is unknown here; name an answer that this daemon gave and still keeps");
        ApiError::new(StatusCode::NOT_FOUND, "unknown_answer", None, message)
    };
    let id = id.ok_or_else(unknown)?;
    let found = blocking(move || {
        let Some(rollout) = shared.backend.answer(id)? else { return Ok(None) };
        let (_, mut ratings) = shared.observer.opinion(id);
        let feedback = shared.backend.said(&ratings.split_off(ratings.len().saturating_sub(MOST_RATINGS)))?;
        let with_place = |(seq, feedback)| {
            let mut value = serde_json::to_value(feedback).unwrap_or_default();
            value["seq"] = json!(seq);
            value
        };
        let mut value = answer_json(&rollout, &shared.observer);
        value["group"] = json!(rollout.group);
        value["question"] = question_json(rollout.group, &rollout.prompt.question, Value::Null);
        value["feedback"] = feedback.into_iter().map(with_place).collect();
        Ok(Some(value))
    });
    Ok(HttpResponse::Ok().json(found.await?.ok_or_else(unknown)?))
}

/// The query of a request, or which part of it cannot be read.
pub(super) fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, ApiError> {
    let read = web::Query::<T>::from_query(request.query_string());
    read.map(web::Query::into_inner).map_err(|error| {
        let why = error.to_string();
        let why = why.rsplit("deserialize error: ").next().unwrap_or(&why);
        ApiError::invalid(None, format!("the query is wrong: {why}"))
    })
}

/// Runs what may read the disk where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, ApiError> {
    let lost = |_| Refusal::Crashed("the reading was given up; send the request again".to_owned());
    Ok(web::block(run).await.map_err(lost)??)
}

fn page(backend: &dyn Backend, observer: &Observer, params: &Params, limit: usize) -> Result<Value, Refusal> {
    let words = params.search.trim().to_lowercase();
    let wanted = |answers: &[Arc<Rollout>]| {
        let question = &answers[0].prompt.question;
        let texts = [&question.title, &question.body].into_iter().chain(answers.iter().map(|answer| &answer.text));
        (params.source.is_empty() || question.source == params.source)
            && (words.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(&words)))
    };
    let (oldest, newest) = backend.answer_ids()?.unwrap_or((0, 0));
    let mut end = params.before.unwrap_or(AnswerId::MAX).min(newest.saturating_add(1));
    let (mut items, mut looked_at) = (Vec::new(), 0);
    while items.len() < limit && looked_at < MOST_LOOKED_AT && end > oldest {
        end -= 1;
        looked_at += 1;
        let Some(last) = backend.answer(end)? else { continue };
        // Ids of a group are consecutive, and the first is its name.
        let group = last.group.min(end);
        let mut answers = Vec::new();
        for id in group..group.saturating_add(MOST_ANSWERS as u64) {
            looked_at += 1;
            match backend.answer(id)? {
                Some(answer) if answer.group == last.group => answers.push(answer),
                Some(_) => break,
                None if id > end => break,
                None => {}
            }
        }
        end = group;
        if !answers.is_empty() && wanted(&answers) {
            let told = answers.iter().map(|answer| answer_json(answer, observer)).collect();
            items.push(question_json(last.group, &last.prompt.question, told));
        }
    }
    let next = if end > oldest { json!(end) } else { Value::Null };
    Ok(json!({"items": items, "next": next, "looked_at": looked_at, "looks_at_most": MOST_LOOKED_AT}))
}

/// A question without its answers, for whoever is to rate them.
pub(super) fn question_json(group: AnswerId, question: &Question, answers: Value) -> Value {
    let mut value = json!({
        "id": question.id,
        "group": group,
        "title": question.title,
        "body": question.body,
        "html": to_html(&question.body),
        "source": question.source,
        "tags": question.tags,
        "author": question.author,
        "url": question.url.as_deref().filter(|url| is_web(url)),
        "licence": question.licence,
        "terms": question.terms,
        "asked_ms": question.asked_at,
    });
    if let Some(url) = question.author.as_ref().and_then(|author| author.url.as_deref()).filter(|url| !is_web(url)) {
        tracing::debug!(url, "an author's link that is none is left out");
        value["author"]["url"] = Value::Null;
    }
    if !answers.is_null() {
        value["answers"] = answers;
    }
    value
}

/// Sources are not trusted: a page makes links of these.
fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn answer_json(rollout: &Rollout, observer: &Observer) -> Value {
    let (score, ratings) = observer.opinion(rollout.id);
    let spans: Vec<Value> =
        rollout.version_spans.iter().map(|span| json!({"start": span.start, "version": span.version})).collect();
    json!({
        "answer": rollout.id,
        "text": rollout.text,
        "html": to_html(&rollout.text),
        "version": rollout.version_spans.iter().map(|span| span.version).max().unwrap_or(0),
        "spans": spans,
        "finish": wire::finish_reason(rollout.finish),
        "tokens": rollout.tokens.len(),
        "score": score.map(|score| score.score),
        "score_std": score.map(|score| score.std),
        "ratings": ratings.len(),
    })
}
