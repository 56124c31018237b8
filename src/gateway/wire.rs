//! Chat completions on the wire: what is taken, with which bounds, and how it is answered.
//!
//! Invariant: a parameter that would change the answer but is not supported is refused by name, never ignored; those
//! that only describe the caller (`user`, `metadata`, …) may come along.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use understudy_learning::stages::{Finish, PolicyVersion, Sampling};

use super::ApiError;
use super::backend::{ChatMessage, ChatRequest};
use super::choice::Shape;
use crate::config::{Generation, Http};

/// A JSON object in which a key that stands twice is an error; serde_json alone would keep the last, silently.
#[derive(Debug)]
pub(super) struct UniqueKeys(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = UniqueKeys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<UniqueKeys, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = entries.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        return Err(A::Error::custom(format!("'{key}' stands twice")));
                    }
                    map.insert(key, value);
                }
                Ok(UniqueKeys(map))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The body of `POST /v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub struct Body {
    messages: Vec<Message>,
    model: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<usize>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    stop: Option<Stop>,
    seed: Option<i64>,
    logprobs: Option<bool>,
    top_logprobs: Option<usize>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    logit_bias: Option<serde_json::Map<String, Value>>,
    tools: Option<Vec<Value>>,
    response_format: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

/// How a request wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// As events.
    pub stream: bool,
    /// With a last event that counts tokens.
    pub usage: bool,
    /// With the log-probability of each token.
    pub logprobs: bool,
    /// As a chat's message or as plain text.
    pub shape: Shape,
}

impl Body {
    /// Reads a request's body.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(bytes)
            .map_err(|error| ApiError::invalid(None, format!("the body is no chat request: {error}")))
    }

    /// Checks every parameter; `seed` is used when the caller gives none.
    pub fn into_request(
        self,
        generation: &Generation,
        http: &Http,
        model: &str,
        seed: u64,
    ) -> Result<(ChatRequest, Form), ApiError> {
        self.refuse_unsupported()?;
        if let Some(asked) = self.model.as_deref().filter(|asked| *asked != model && *asked != "understudy") {
            let message = format!("there is no model '{asked}' here; ask for '{model}' or leave model out");
            return Err(ApiError::new(
                actix_web::http::StatusCode::NOT_FOUND,
                "model_not_found",
                Some("model"),
                message,
            ));
        }
        let samples = self.n.unwrap_or(1);
        bounded("n", samples, 1, generation.max_sequences)?;
        let max_tokens = self.max_completion_tokens.or(self.max_tokens).unwrap_or(generation.max_tokens);
        bounded("max_tokens", max_tokens, 1, generation.max_context - 1)?;
        let sampling = Sampling {
            temperature: number("temperature", self.temperature, generation.temperature, 0.0, 2.0)?,
            top_k: self.top_k.unwrap_or(0),
            top_p: number("top_p", self.top_p, generation.top_p, 1e-6, 1.0)?,
            min_p: number("min_p", self.min_p, 0.0, 0.0, 1.0)?,
            repetition_penalty: number("repetition_penalty", self.repetition_penalty, 1.0, 0.1, 10.0)?,
            max_tokens,
            seed: self.seed.map_or(seed, |seed| seed as u64),
        };
        let stop = match self.stop {
            None => Vec::new(),
            Some(Stop::One(one)) => vec![one],
            Some(Stop::Many(many)) => many,
        };
        if stop.len() > 4 || stop.iter().any(|stop| stop.is_empty() || stop.len() > 256) {
            return Err(ApiError::invalid(Some("stop"), "stop must be at most 4 strings of 1 to 256 bytes"));
        }
        let form = Form {
            stream: self.stream.unwrap_or(false),
            usage: self.stream_options.is_some_and(|options| options.include_usage),
            logprobs: self.logprobs.unwrap_or(false),
            shape: Shape::Chat,
        };
        let messages = messages(self.messages, &generation.system)?;
        Ok((ChatRequest { messages, samples, sampling, stop, timeout_s: http.chat_timeout_s }, form))
    }

    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let other_format = |format: &Value| format.get("type").and_then(Value::as_str) != Some("text");
        let given = [
            ("presence_penalty", self.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
            ("frequency_penalty", self.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
            ("top_logprobs", self.top_logprobs.is_some_and(|top| top > 0)),
            ("logit_bias", self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty())),
            ("tools", self.tools.as_ref().is_some_and(|tools| !tools.is_empty())),
            ("response_format", self.response_format.as_ref().is_some_and(other_format)),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => {
                Err(ApiError::invalid(Some(name), format!("{name} is not supported here; leave it out")))
            }
            None => Ok(()),
        }
    }
}

fn messages(given: Vec<Message>, system: &str) -> Result<Vec<ChatMessage>, ApiError> {
    let fail = |message: String| Err(ApiError::invalid(Some("messages"), message));
    if given.is_empty() || given.len() > 256 {
        return fail(format!("messages holds {} messages; give 1 to 256", given.len()));
    }
    let mut messages = Vec::with_capacity(given.len() + 1);
    if !system.is_empty() && given[0].role != "system" {
        messages.push(ChatMessage { role: "system".to_owned(), content: system.to_owned() });
    }
    for Message { role, content } in given {
        let role = match role.as_str() {
            "system" | "developer" => "system",
            "user" => "user",
            "assistant" => "assistant",
            other => return fail(format!("the role '{other}' is not known; use system, user or assistant")),
        };
        let content = match content {
            Content::Text(text) => text,
            Content::Parts(parts) => {
                if let Some(part) = parts.iter().find(|part| part.kind != "text") {
                    return fail(format!("a content part of type '{}' cannot be read; send text", part.kind));
                }
                parts.into_iter().filter_map(|part| part.text).collect()
            }
        };
        messages.push(ChatMessage { role: role.to_owned(), content });
    }
    match messages.last() {
        Some(last) if last.role == "user" && !last.content.trim().is_empty() => Ok(messages),
        _ => fail("the last message must be a user's and not empty".to_owned()),
    }
}

fn bounded(name: &'static str, value: usize, least: usize, most: usize) -> Result<(), ApiError> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(ApiError::invalid(Some(name), format!("{name} is {value}; give {least} to {most}"))),
    }
}

fn number(name: &'static str, given: Option<f64>, default: f64, least: f64, most: f64) -> Result<f64, ApiError> {
    let value = given.unwrap_or(default);
    match value.is_finite() && value >= least && value <= most {
        true => Ok(value),
        false => Err(ApiError::invalid(Some(name), format!("{name} is {value}; give a number from {least} to {most}"))),
    }
}

/// The word for why an answer ended.
pub fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::EndOfSequence | Finish::StopString => "stop",
        Finish::Length => "length",
    }
}

/// The version as `system_fingerprint`.
pub fn fingerprint(version: PolicyVersion) -> String {
    format!("policy-{version}")
}

/// An answer's id as clients see it.
pub fn completion_id(answer: u64) -> String {
    format!("chatcmpl-{answer}")
}

/// The answer of a number, or of what [`completion_id`] made of it.
pub fn answer_id(name: &str) -> Option<u64> {
    name.strip_prefix("chatcmpl-").unwrap_or(name).parse().ok()
}

/// `usage`.
pub fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    })
}
