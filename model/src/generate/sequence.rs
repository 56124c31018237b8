//! One answer in the making.
//!
//! Invariant: while it runs, its last token is sampled but not yet passed through the model; keys and values are kept for
//! everything before.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::answer::AnswerText;
use super::request::{Event, Finish, Output, Request, SamplingParams};
use super::sampler::Drawn;
use crate::rng::{Purpose, Stream};
use crate::text::TextCodec;

/// A running sample of a request.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) request: u64,
    pub(crate) sample: usize,
    pub(crate) params: Arc<SamplingParams>,
    pub(crate) stream: Stream,
    /// Tokens of prompt and answer, kept only for the repetition penalty.
    pub(crate) seen: Option<BTreeSet<i64>>,
    /// Trunk states of everything that was passed through, where wanted.
    pub(crate) states: Option<Vec<f32>>,
    /// Set once it is complete; it then stays only to have its last token's state recorded.
    pub(crate) finish: Option<Finish>,
    prompt_length: usize,
    tokens: Vec<i64>,
    logprobs: Vec<f32>,
    kept_mass: Vec<f32>,
    spans: Vec<(usize, u64)>,
    text: AnswerText,
}

impl Sequence {
    /// Sample `sample` of `request`, whose prompt had `states`; nothing is sampled yet.
    pub(crate) fn new(
        request: &Request,
        sample: usize,
        params: &Arc<SamplingParams>,
        states: Option<Vec<f32>>,
        text: &TextCodec,
    ) -> Self {
        let penalised = params.repetition_penalty != 1.0;
        Self {
            request: request.id,
            sample,
            params: Arc::clone(params),
            stream: Stream::new(params.seed, Purpose::Sampling, sample as u64),
            seen: penalised.then(|| request.prompt.iter().copied().collect()),
            states,
            finish: None,
            prompt_length: request.prompt.len(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            kept_mass: Vec::new(),
            spans: Vec::new(),
            text: AnswerText::new(text.clone(), params.stop.clone()),
        }
    }

    /// The last token, which the next step passes through.
    pub(crate) fn last_token(&self) -> i64 {
        *self.tokens.last().expect("a running sequence has a token: its prompt's pass sampled one")
    }

    /// Where the last token stands; also how many positions the cache holds.
    pub(crate) fn position(&self) -> usize {
        self.prompt_length + self.tokens.len() - 1
    }

    /// Appends a token that `version` sampled and decides whether the answer is complete.
    pub(crate) fn accept(&mut self, drawn: Drawn, version: u64, eos: &[i64], max_context: usize) -> Event {
        if self.spans.last().is_none_or(|span| span.1 != version) {
            self.spans.push((self.tokens.len(), version));
        }
        self.tokens.push(drawn.token);
        self.logprobs.push(drawn.logprob);
        self.kept_mass.push(drawn.kept_mass);
        if let Some(seen) = &mut self.seen {
            seen.insert(drawn.token);
        }
        let mut text = String::new();
        if eos.contains(&drawn.token) {
            text = self.text.finish();
            self.finish = Some(Finish::EndOfSequence);
        } else {
            text += &self.text.push(drawn.token);
            let long = self.tokens.len() >= self.params.max_tokens;
            if !self.text.stopped() && (long || self.prompt_length + self.tokens.len() >= max_context) {
                text += &self.text.finish();
                self.finish = Some(Finish::Length);
            }
            if self.text.stopped() {
                self.finish = Some(Finish::StopString);
            }
        }
        Event::Token {
            request: self.request,
            sample: self.sample,
            token: drawn.token,
            text,
            logprob: drawn.logprob,
            kept_mass: drawn.kept_mass,
            version,
        }
    }

    /// Why it ended, once nothing is left to do: complete, and every wanted state of width `width` recorded.
    pub(crate) fn complete(&self, width: usize) -> Option<Finish> {
        let length = self.prompt_length + self.tokens.len();
        self.finish.filter(|_| self.states.as_ref().is_none_or(|states| states.len() == length * width))
    }

    /// Gives the answer, with trunk states of width `width` where they were recorded.
    pub(crate) fn finished(self, finish: Finish, width: usize) -> Event {
        let output = Output {
            tokens: self.tokens,
            text: self.text.into_text(),
            logprobs: self.logprobs,
            kept_mass: self.kept_mass,
            spans: self.spans,
            finish,
            trunk: self.states.map(|states| (states, width)),
        };
        Event::Finished { request: self.request, sample: self.sample, output }
    }
}
