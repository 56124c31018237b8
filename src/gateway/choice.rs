//! One answer on the wire: as a chat's message or as plain text, whole or piece by piece.
//!
//! Invariant: both shapes carry the same ids, so that feedback can name the answer; the versions that wrote it stand in
//! it as spans that begin at its first token.

use serde_json::{Value, json};
use understudy_learning::stages::{AnswerId, Finish, PolicyVersion};

use super::wire::{self, Form};

/// How OpenAI's clients want to read an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

impl Shape {
    /// The word in `object`.
    pub(super) fn object(self, chunk: bool) -> &'static str {
        match (self, chunk) {
            (Self::Chat, false) => "chat.completion",
            (Self::Chat, true) => "chat.completion.chunk",
            (Self::Text, _) => "text_completion",
        }
    }

    /// A whole answer, still without its end.
    pub(super) fn choice(self, index: usize, text: Option<&str>, logprobs: Option<Value>) -> Value {
        match self {
            Self::Chat => json!({
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": logprobs,
            }),
            Self::Text => json!({"index": index, "text": text.unwrap_or_default(), "logprobs": logprobs}),
        }
    }

    /// The first event of a stream's choice, for those who expect one before any text.
    pub(super) fn opening(self, index: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        let choice = || json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
        (self == Self::Chat).then(choice)
    }

    /// One more piece, or the end of it without text.
    pub(super) fn delta(self, index: usize, text: Option<&str>, logprobs: Option<Value>) -> Value {
        match self {
            Self::Chat => {
                let delta = text.map_or_else(|| json!({}), |text| json!({"content": text}));
                json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null})
            }
            Self::Text => {
                json!({"index": index, "text": text.unwrap_or(""), "logprobs": logprobs, "finish_reason": null})
            }
        }
    }
}

/// The tokens of one answer as far as they came. At most one entry a token, and only where the client asked for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    seen: usize,
    /// Characters before the next token.
    offset: usize,
    /// First token and version of each stretch that one policy wrote.
    spans: Vec<(usize, PolicyVersion)>,
    entries: Vec<(String, f32, usize)>,
}

impl Told {
    /// One more token, kept for [`Told::logprobs`] where `form` asks for them.
    pub(super) fn token(&mut self, text: String, logprob: f32, version: PolicyVersion, form: Form) {
        if self.spans.last().is_none_or(|(_, last)| *last != version) {
            self.spans.push((self.seen, version));
        }
        self.seen += 1;
        let offset = self.offset;
        self.offset += text.chars().count();
        if form.logprobs {
            self.entries.push((text, logprob, offset));
        }
    }

    /// One more token of a stream: what its own event says of log-probabilities, which is then forgotten.
    pub(super) fn next(&mut self, text: &str, logprob: f32, version: PolicyVersion, form: Form) -> Option<Value> {
        self.token(text.to_owned(), logprob, version, form);
        let logprobs = form.logprobs.then(|| self.logprobs(form.shape));
        self.entries.clear();
        logprobs
    }

    /// The log-probabilities in the form of `shape`; those of other tokens than the sampled one are not known.
    pub(super) fn logprobs(&self, shape: Shape) -> Value {
        match shape {
            Shape::Chat => {
                let entry = |(text, logprob, _): &(String, f32, usize)| json!({"token": text, "logprob": logprob, "bytes": text.as_bytes(), "top_logprobs": []});
                json!({"content": self.entries.iter().map(entry).collect::<Vec<_>>(), "refusal": null})
            }
            Shape::Text => json!({
                "tokens": self.entries.iter().map(|(text, ..)| text).collect::<Vec<_>>(),
                "token_logprobs": self.entries.iter().map(|(_, logprob, _)| logprob).collect::<Vec<_>>(),
                "text_offset": self.entries.iter().map(|(_, _, offset)| offset).collect::<Vec<_>>(),
                "top_logprobs": null,
            }),
        }
    }

    /// Writes into `choice` why the answer ended, what names it, and who wrote which part of it.
    pub(super) fn close(&self, choice: &mut Value, answer: AnswerId, finish: Finish) {
        let span = |(start, version): &(usize, PolicyVersion)| json!({"start": start, "version": version});
        choice["finish_reason"] = json!(wire::finish_reason(finish));
        choice["answer_id"] = json!(answer);
        choice["completion_id"] = json!(wire::completion_id(answer));
        choice["understudy"] = json!({"answer": answer, "spans": self.spans.iter().map(span).collect::<Vec<_>>()});
    }
}
