//! `POST /v1/chat/completions`, and what answers it and `/v1/completions` alike.
//!
//! Invariant: each choice carries its answer's id, so that feedback can name it; a client that goes away cancels what it
//! asked for.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use understudy_model::hash::fnv1a;

use super::backend::{ChatEvent, ChatEvents, Refusal};
use super::best::{self, Judging};
use super::choice::{Shape, Told};
use super::guard;
use super::stream::{StreamOf, events};
use super::wire::{self, Body, Form};
use super::{ApiError, Shared};
use crate::clock;

/// The handler.
pub(super) async fn complete(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let bytes = guard::body(payload, &shared).await?;
    answer(&shared, Body::from_json(&bytes)?, Shape::Chat).await
}

/// Asks the policy and answers in `shape`, as a whole or as events.
pub(super) async fn answer(shared: &Shared, body: Body, shape: Shape) -> Result<HttpResponse, ApiError> {
    let now = clock::now_ms();
    let stream_id = shared.recent.begin(now);
    // A request without a seed gets one of its own.
    let seed = fnv1a(stream_id.bytes());
    let model = shared.backend.model().to_owned();
    let (mut request, form) = body.into_request(&shared.generation, &shared.http.now(), &model, seed)?;
    let form = Form { shape, ..form };
    let judging = Judging::of(&shared.generation, form, request.samples);
    request.samples = judging.map_or(request.samples, |judging| judging.draws);
    let (samples, timeout) = (request.samples, Duration::from_secs_f64(request.timeout_s));
    let receiver = shared.backend.chat(request)?;
    let version = shared.backend.version();
    if form.stream {
        let stream = StreamOf { id: stream_id.clone(), created: now / 1000, model, form, samples };
        let keep_alive = Duration::from_secs_f64(shared.http.now().keep_alive_s);
        return Ok(HttpResponse::Ok()
            .insert_header(("content-type", "text/event-stream; charset=utf-8"))
            .insert_header(("cache-control", "no-cache"))
            .insert_header(("x-policy-version", version.to_string()))
            .insert_header(("x-completion-id", stream_id))
            .streaming(events(stream, receiver, shared.recent.clone(), keep_alive, timeout)));
    }
    let answering = async {
        match judging {
            Some(judging) => best::choose(shared, receiver, judging, form).await,
            None => gather(receiver, samples, form).await,
        }
    };
    let whole = tokio::time::timeout(timeout, answering).await.unwrap_or_else(|_| {
        let message =
            format!("no whole answer within {} s (http.chat_timeout_s); ask for fewer tokens", timeout.as_secs());
        Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "deadline_passed", None, message))
    })?;
    let id = wire::completion_id(whole.first_answer);
    shared.recent.finished(&stream_id, whole.first_answer);
    Ok(HttpResponse::Ok()
        .insert_header(("x-policy-version", whole.version.to_string()))
        .insert_header(("x-completion-id", id.clone()))
        .json(json!({
            "id": id,
            "object": shape.object(false),
            "created": now / 1000,
            "model": model,
            "system_fingerprint": wire::fingerprint(whole.version),
            "choices": whole.choices,
            "usage": wire::usage(whole.prompt_tokens, whole.tokens),
        })))
}

pub(super) struct Whole {
    pub(super) choices: Vec<Value>,
    pub(super) first_answer: u64,
    pub(super) version: u64,
    pub(super) prompt_tokens: usize,
    pub(super) tokens: usize,
}

async fn gather(mut receiver: ChatEvents, samples: usize, form: Form) -> Result<Whole, ApiError> {
    let mut whole =
        Whole { choices: vec![Value::Null; samples], first_answer: u64::MAX, version: 0, prompt_tokens: 0, tokens: 0 };
    let mut told: Vec<Told> = vec![Told::default(); samples];
    let mut missing = samples;
    while missing > 0 {
        let lost = || Refusal::Crashed("the request was lost while it was answered; send it again".to_owned());
        match receiver.recv().await.ok_or_else(lost)? {
            ChatEvent::Token { sample, text, logprob, version } => {
                if let Some(told) = told.get_mut(sample) {
                    told.token(text, logprob, version, form);
                }
            }
            ChatEvent::Finished { sample, answer, text, finish, prompt_tokens, tokens, version } => {
                let Some(choice) = whole.choices.get_mut(sample).filter(|choice| choice.is_null()) else { continue };
                let told = std::mem::take(&mut told[sample]);
                *choice = form.shape.choice(sample, Some(&text), form.logprobs.then(|| told.logprobs(form.shape)));
                told.close(choice, answer, finish);
                whole.first_answer = whole.first_answer.min(answer);
                whole.version = whole.version.max(version);
                whole.prompt_tokens = prompt_tokens;
                whole.tokens += tokens;
                missing -= 1;
            }
            ChatEvent::Failed(refusal) => return Err(refusal.into()),
        }
    }
    Ok(whole)
}
