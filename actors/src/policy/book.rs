//! The requests that the policy is answering: which answer ids they got, who watches, what is still missing.
//!
//! Invariant: an answer leaves the book once, when it is durable; a group leaves it whole. A group stays bounded by the
//! samples of its request, and the book by what was admitted.

use std::collections::BTreeMap;

use tokio::time::Instant;
use understudy_learning::stages::{AnswerId, Prompt, Rollout, Sampling};

use super::metric;
use crate::messages::{Asker, ChatError, PromptRequest, TokenEvent};
use crate::seams::GeneratedAnswer;
use crate::supervision::Hold;

/// A request under way. Its id at the engine is the id of its first answer.
#[derive(Debug)]
struct Open {
    prompt: Prompt,
    sampling: Sampling,
    asker: Asker,
    deadline: Instant,
    admitted: Instant,
    shown: bool,
    /// Answers that the engine still works on.
    running: usize,
    /// By sample; `None` until it is durable.
    durable: Vec<Option<Rollout>>,
    /// Keeps it in the actor's hand.
    _hand: Hold,
}

impl Open {
    fn is_abandoned(&self) -> bool {
        matches!(&self.asker, Asker::Chat(sink) if sink.is_closed())
    }

    fn tell(&self, event: TokenEvent) {
        if let Asker::Chat(sink) = &self.asker {
            // Full cannot be (see `TokenSink`); closed is found by `given_up`.
            let _ = sink.try_send(event);
        }
    }
}

/// All answers to one request, durable.
#[derive(Debug)]
pub(crate) struct AnsweredGroup {
    /// In order of their ids.
    pub(crate) rollouts: Vec<Rollout>,
    /// Who asked.
    pub(crate) asker: Asker,
}

/// Open requests by the id of their first answer.
#[derive(Debug, Default)]
pub(crate) struct Book {
    open: BTreeMap<AnswerId, Open>,
}

impl Book {
    /// Enters a request whose answers are named from `first` on.
    pub(crate) fn enter(&mut self, first: AnswerId, request: PromptRequest, deadline: Instant, hand: Hold) {
        let PromptRequest { prompt, samples, sampling, asker, .. } = request;
        let durable = (0..samples).map(|_| None).collect();
        self.open.insert(
            first,
            Open {
                prompt,
                sampling,
                asker,
                deadline,
                admitted: Instant::now(),
                shown: false,
                running: samples,
                durable,
                _hand: hand,
            },
        );
    }

    /// Answers of a request that the engine still works on.
    pub(crate) fn running(&self, request: AnswerId) -> usize {
        self.open.get(&request).map_or(0, |open| open.running)
    }

    /// Whether no request is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Shows a token to whoever watches.
    pub(crate) fn token(&mut self, request: AnswerId, event: TokenEvent) {
        if let Some(open) = self.open.get_mut(&request) {
            if !open.shown && matches!(open.asker, Asker::Chat(_)) {
                metrics::histogram!(metric::FIRST_TOKEN).record(open.admitted.elapsed().as_secs_f64());
            }
            open.shown = true;
            open.tell(event);
        }
    }

    /// Names a finished answer; `None` when its request was given up meanwhile.
    pub(crate) fn finished(&mut self, request: AnswerId, sample: usize, answer: GeneratedAnswer) -> Option<Rollout> {
        let open = self.open.get_mut(&request)?;
        open.running = open.running.saturating_sub(1);
        Some(Rollout {
            id: request + sample as u64,
            group: request,
            prompt: open.prompt.clone(),
            tokens: answer.tokens,
            text: answer.text,
            old_logprobs: answer.old_logprobs,
            kept_mass: answer.kept_mass,
            version_spans: answer.version_spans,
            sampling: open.sampling.clone(),
            finish: answer.finish,
            trunk: answer.trunk,
        })
    }

    /// An answer is on disk: tells whoever waits for it, and gives the group when it was the last of it.
    pub(crate) fn durable(&mut self, rollout: Rollout) -> Option<AnsweredGroup> {
        let (group, sample) = (rollout.group, (rollout.id - rollout.group) as usize);
        let open = self.open.get_mut(&group)?;
        open.tell(TokenEvent::Finished {
            sample,
            answer: rollout.id,
            text: rollout.text.clone(),
            finish: rollout.finish,
            prompt_tokens: rollout.prompt.tokens.len(),
            tokens: rollout.tokens.len(),
            version: rollout.version_spans.last().map_or(0, |span| span.version),
        });
        open.durable[sample] = Some(rollout);
        if open.durable.iter().any(Option::is_none) {
            return None;
        }
        let open = self.open.remove(&group).expect("looked up above");
        Some(AnsweredGroup { rollouts: open.durable.into_iter().flatten().collect(), asker: open.asker })
    }

    /// Gives up one request and tells its watcher why; a ticket gives its places back.
    pub(crate) fn fail(&mut self, request: AnswerId, why: ChatError) {
        if let Some(open) = self.open.remove(&request) {
            open.tell(TokenEvent::Failed(why));
        }
    }

    /// Requests that nobody waits for any more: past their deadline, or their watcher went away.
    pub(crate) fn given_up(&self, now: Instant) -> Vec<AnswerId> {
        let lost = self.open.iter().filter(|(_, open)| open.deadline <= now || open.is_abandoned());
        lost.map(|(id, _)| *id).collect()
    }
}
