//! Server-sent events of a chat: role first, then text as it becomes certain, each choice's end with its answer's id,
//! the usage if asked for, `[DONE]`.
//!
//! Invariant: what was sent for a choice, put together, is exactly its whole text; silence is broken by comments, so
//! that nobody on the way takes the connection for dead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::ApiError;
use super::backend::{ChatEvent, ChatEvents, Refusal};
use super::choice::Told;
use super::recent::Recent;
use super::wire::{self, Form};

/// What is the same in every event of a stream.
#[derive(Debug, Clone)]
pub(super) struct StreamOf {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) form: Form,
    pub(super) samples: usize,
}

struct State {
    of: StreamOf,
    receiver: ChatEvents,
    recent: Arc<Recent>,
    keep_alive: Duration,
    deadline: Instant,
    /// Text sent for each choice; `None` before its first event.
    sent: Vec<Option<String>>,
    /// Tokens seen of each choice.
    told: Vec<Told>,
    missing: usize,
    prompt_tokens: usize,
    tokens: usize,
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// The events of `receiver` as bytes.
pub(super) fn events(
    of: StreamOf,
    receiver: ChatEvents,
    recent: Arc<Recent>,
    keep_alive: Duration,
    timeout: Duration,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let state = State {
        sent: vec![None; of.samples],
        told: vec![Told::default(); of.samples],
        missing: of.samples,
        of,
        receiver,
        recent,
        keep_alive,
        deadline: Instant::now() + timeout,
        prompt_tokens: 0,
        tokens: 0,
        ready: VecDeque::new(),
        ended: false,
    };
    futures_util::stream::unfold(state, |mut state| async move {
        loop {
            if let Some(bytes) = state.ready.pop_front() {
                return Some((Ok(bytes), state));
            }
            if state.ended {
                return None;
            }
            state.wait().await;
        }
    })
}

impl State {
    /// Waits for the next event, the next comment or the deadline.
    async fn wait(&mut self) {
        let comment_at = Instant::now() + self.keep_alive;
        match timeout_at(comment_at.min(self.deadline), self.receiver.recv()).await {
            Ok(Some(event)) => self.take(event),
            Ok(None) => {
                self.fail(&Refusal::Crashed("the request was lost while it was answered; send it again".into()))
            }
            Err(_) if Instant::now() >= self.deadline => {
                self.fail(&Refusal::Expired(
                    "no whole answer in time (http.chat_timeout_s); ask for fewer tokens".into(),
                ));
            }
            Err(_) => self.ready.push_back(Bytes::from_static(b": still here\n\n")),
        }
    }

    fn take(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Token { sample, text, logprob, version } if sample < self.sent.len() => {
                self.begin(sample, version);
                let form = self.of.form;
                let logprobs = self.told[sample].next(&text, logprob, version, form);
                if !text.is_empty() || logprobs.is_some() {
                    self.text(sample, &text, logprobs, version);
                }
            }
            ChatEvent::Finished { sample, answer, text, finish, prompt_tokens, tokens, version }
                if sample < self.sent.len() =>
            {
                self.begin(sample, version);
                let sent = self.sent[sample].clone().unwrap_or_default();
                if let Some(rest) = text.strip_prefix(&sent).filter(|rest| !rest.is_empty()) {
                    self.text(sample, rest, None, version);
                }
                self.prompt_tokens = prompt_tokens;
                self.tokens += tokens;
                self.recent.finished(&self.of.id, answer);
                let mut choice = self.of.form.shape.delta(sample, None, None);
                self.told[sample].close(&mut choice, answer, finish);
                self.chunk(json!([choice]), version, None);
                self.missing -= 1;
                if self.missing == 0 {
                    self.end(version);
                }
            }
            ChatEvent::Failed(refusal) => self.fail(&refusal),
            ChatEvent::Token { .. } | ChatEvent::Finished { .. } => {}
        }
    }

    /// The first event of a chat's choice names the role.
    fn begin(&mut self, sample: usize, version: u64) {
        if self.sent[sample].is_none() {
            self.sent[sample] = Some(String::new());
            if let Some(choice) = self.of.form.shape.opening(sample) {
                self.chunk(json!([choice]), version, None);
            }
        }
    }

    fn text(&mut self, sample: usize, text: &str, logprobs: Option<Value>, version: u64) {
        if let Some(sent) = &mut self.sent[sample] {
            sent.push_str(text);
        }
        let choice = self.of.form.shape.delta(sample, Some(text), logprobs);
        self.chunk(json!([choice]), version, None);
    }

    fn end(&mut self, version: u64) {
        if self.of.form.usage {
            self.chunk(json!([]), version, Some(wire::usage(self.prompt_tokens, self.tokens)));
        }
        self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        self.ended = true;
    }

    fn fail(&mut self, refusal: &Refusal) {
        let body = ApiError::from(refusal.clone()).body();
        self.ready.push_back(Bytes::from(format!("data: {body}\n\n")));
        self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        self.ended = true;
        // Nobody listens any more: cancel the request.
        self.receiver.close();
    }

    fn chunk(&mut self, choices: Value, version: u64, usage: Option<Value>) {
        let mut chunk = json!({
            "id": self.of.id,
            "object": self.of.form.shape.object(true),
            "created": self.of.created,
            "model": self.of.model,
            "system_fingerprint": wire::fingerprint(version),
            "choices": choices,
        });
        if self.of.form.usage {
            chunk["usage"] = usage.unwrap_or(Value::Null);
        }
        self.ready.push_back(Bytes::from(format!("data: {chunk}\n\n")));
    }
}
