//! `POST /v1/completions`: OpenAI's older way to ask, answered by the same policy through the same queue.
//!
//! Invariant: what learns is a chat policy, so a prompt is put to it as a user's message, exactly as if it had come over
//! `/v1/chat/completions`; the same ids name the answers. What only raw text models can do (`suffix`, `echo`, token ids)
//! is refused by name.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;

use super::choice::Shape;
use super::wire::{Body, UniqueKeys};
use super::{ApiError, Shared, chat, guard};

/// The fields that differ from a chat's.
#[derive(Debug, Deserialize)]
struct Own {
    prompt: Option<Prompt>,
    suffix: Option<String>,
    #[serde(default)]
    echo: Option<bool>,
    best_of: Option<usize>,
    logprobs: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompt {
    One(String),
    Many(Vec<Value>),
}

/// The handler.
pub(super) async fn complete(shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let bytes = guard::body(payload, &shared).await?;
    chat::answer(&shared, as_chat(&bytes)?, Shape::Text).await
}

/// The same request as a chat's.
fn as_chat(bytes: &[u8]) -> Result<Body, ApiError> {
    let wrong =
        |error: serde_json::Error| ApiError::invalid(None, format!("the body is no completion request: {error}"));
    let UniqueKeys(mut object) = serde_json::from_slice(bytes).map_err(wrong)?;
    let own: Own = serde_json::from_value(Value::Object(object.clone())).map_err(wrong)?;
    let refused =
        |name: &str| Err(ApiError::invalid(Some(name), format!("{name} is not supported here; leave it out")));
    if own.suffix.is_some_and(|suffix| !suffix.is_empty()) {
        return refused("suffix");
    }
    if own.echo.unwrap_or(false) {
        return refused("echo");
    }
    let samples = object.get("n").and_then(Value::as_u64).unwrap_or(1);
    if own.best_of.is_some_and(|best_of| best_of as u64 != samples) {
        return refused("best_of");
    }
    if let Some(most) = own.logprobs.filter(|most| *most > 1) {
        let message = format!("logprobs is {most}; give 0 or 1: only the sampled token's is known here");
        return Err(ApiError::invalid(Some("logprobs"), message));
    }
    let remedy = "give one string; for several prompts send several requests";
    let prompt = match own.prompt {
        Some(Prompt::One(text)) => text,
        Some(Prompt::Many(many)) => match many.as_slice() {
            [Value::String(text)] => text.clone(),
            _ => {
                let message = format!("prompt is a list of {} items that is not one string; {remedy}", many.len());
                return Err(ApiError::invalid(Some("prompt"), message));
            }
        },
        None => return Err(ApiError::invalid(Some("prompt"), format!("prompt is missing; {remedy}"))),
    };
    if prompt.trim().is_empty() {
        return Err(ApiError::invalid(Some("prompt"), format!("prompt is empty; {remedy}")));
    }
    for name in ["prompt", "suffix", "echo", "best_of"] {
        object.remove(name);
    }
    object.insert("messages".to_owned(), serde_json::json!([{"role": "user", "content": prompt}]));
    object.insert("logprobs".to_owned(), Value::Bool(own.logprobs.is_some()));
    serde_json::from_value(Value::Object(object)).map_err(wrong)
}
