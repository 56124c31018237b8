//! What the policy does in one unit, without knowing who drives it.
//!
//! Invariant: it never waits: not for the disk, not for the learners, not for a reader. Chat goes before training, and a
//! training request takes no slot that is kept for chat. An answer is told to anybody only when it is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;
use understudy_checkpoints::{Ack, CommitError};
use understudy_learning::stages::{AnswerId, PolicyVersion, Rollout, TrunkStates};
use understudy_model::ModelError;

use super::book::{AnsweredGroup, Book};
use super::ids::AnswerIds;
use super::journal::AnswerJournal;
use super::metric;
use crate::answers::Answers;
use crate::link::{Envelope, Feed, OfferError, Pace, Port};
use crate::messages::{AnsweredQuestion, Asker, ChatError, LoopEvent, PromptRequest, RolloutGroup, TokenEvent};
use crate::seams::{EngineRefusal, GenerateRequest, Generated, RolloutEngine};
use crate::supervision::{Held, InHand};

/// Why the policy cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServingError {
    /// The model failed.
    #[error("generating: {0}")]
    Model(#[from] ModelError),
    /// The journal stopped: what was acknowledged is kept, but nothing more can be.
    #[error("writing answers: {0}")]
    Journal(CommitError),
    /// In lockstep: the journal has another answer under this id.
    #[error("answer {answer}: {}", crate::lockstep::DIVERGED)]
    Diverged {
        /// Which.
        answer: AnswerId,
    },
}

/// Where finished work goes.
#[derive(Clone)]
pub(crate) struct Outlets {
    /// To the reward actor.
    pub(crate) rollouts: Port<RolloutGroup>,
    /// To whoever rates.
    pub(crate) answers: Feed<AnsweredQuestion>,
    /// To whoever watches.
    pub(crate) events: Feed<LoopEvent>,
    /// Lookup of answers by id.
    pub(crate) known: Answers,
    /// Admits chat answers to learning.
    pub(crate) pace: Pace,
    /// The temperature that the learner works at: answers sampled otherwise are not learned from.
    pub(crate) temperature: f64,
    /// In lockstep an answer that cannot be kept ends the run, and the generator's hidden states are left to be computed
    /// anew: they agree with the learners' own but for rounding, and only those are the same after a restart.
    pub(crate) lockstep: bool,
    /// Learn from chat answers only where the newest version gave them: those of an older lead would come too late.
    pub(crate) newest_only: bool,
}

/// The policy at work.
pub(crate) struct Serving<E> {
    engine: E,
    ids: AnswerIds,
    slots: usize,
    kept_for_chat: usize,
    book: Book,
    /// Answers under way at the engine.
    running: usize,
    journal: AnswerJournal,
    /// Groups for which the rollouts port had no room; bounded by the pace, whose tickets they hold.
    unsent: VecDeque<RolloutGroup>,
    outlets: Outlets,
    /// A version whose first token is still to come, and when it was published.
    fresh: Option<(PolicyVersion, Instant)>,
    in_hand: InHand,
}

impl<E: RolloutEngine> Serving<E> {
    /// An engine of `slots` parallel answers, of which `kept_for_chat` are never used by training requests.
    pub(crate) fn new(
        engine: E,
        ids: AnswerIds,
        (slots, kept_for_chat): (usize, usize),
        journal: AnswerJournal,
        outlets: Outlets,
    ) -> Self {
        let kept_for_chat = kept_for_chat.min(slots.saturating_sub(1));
        let (book, unsent) = (Book::default(), VecDeque::new());
        let (running, fresh, in_hand) = Default::default();
        Self { engine, ids, slots, kept_for_chat, book, running, journal, unsent, outlets, fresh, in_hand }
    }

    /// The same, where the requests under way are held in this hand.
    pub(crate) fn holding(self, in_hand: InHand) -> Self {
        Self { in_hand, ..self }
    }

    /// Whether a request of this kind would be begun now. A request larger than the room left is begun all the same, and
    /// its later answers wait inside the engine: so large requests are not starved by small ones.
    pub(crate) fn has_room(&self, chat: bool) -> bool {
        let slots = if chat { self.slots } else { self.slots - self.kept_for_chat };
        self.running < slots && !self.journal.is_behind()
    }

    /// Whether nothing is under way anywhere.
    pub(crate) fn is_idle(&self) -> bool {
        self.engine.is_idle() && self.book.is_empty() && self.journal.is_empty() && self.unsent.is_empty()
    }

    /// Whether a unit would make progress (else only the disk or a port is waited for).
    pub(crate) fn has_work(&self) -> bool {
        !self.engine.is_idle()
    }

    /// Begins a request, or tells its asker why not.
    pub(crate) fn admit(&mut self, request: Envelope<PromptRequest>) {
        let Envelope { value: request, deadline, .. } = request;
        if deadline <= Instant::now() {
            return refuse(request.asker, ChatError::Expired);
        }
        let first = self.ids.take(request.samples);
        let work = GenerateRequest {
            id: first,
            prompt: request.prompt.tokens.clone(),
            samples: request.samples,
            sampling: request.sampling.clone(),
            stop: request.stop.clone(),
            people: matches!(request.asker, Asker::Chat(_)),
        };
        match self.engine.submit(work) {
            Ok(()) => {
                self.running += request.samples;
                let hand = self.in_hand.hold(described(first, &request));
                self.book.enter(first, request, deadline, hand);
            }
            Err(EngineRefusal::Full) => refuse(request.asker, ChatError::Full),
            Err(EngineRefusal::Invalid(why)) => refuse(request.asker, ChatError::Invalid(why)),
        }
    }

    /// One short unit: drop what nobody waits for, load newer weights, one token for every running answer.
    pub(crate) fn unit(&mut self) -> Result<(), ServingError> {
        let now = Instant::now();
        for request in self.book.given_up(now) {
            self.engine.cancel(request);
            self.running = self.running.saturating_sub(self.book.running(request));
            self.book.fail(request, ChatError::Expired);
            metrics::counter!(metric::CANCELLED).increment(1);
        }
        if let Some((version, published_at)) = self.engine.load_newest() {
            metrics::gauge!(metric::POLICY_VERSION).set(version as f64);
            self.fresh = Some((version, published_at));
        }
        for generated in self.engine.step()? {
            self.take(generated);
        }
        Ok(())
    }

    fn take(&mut self, generated: Generated) {
        match generated {
            Generated::Token { request, sample, token, text, logprob, version } => {
                metrics::counter!(metric::TOKENS).increment(1);
                self.measure_first_token(version);
                self.book.token(request, TokenEvent::Token { sample, token, text, logprob, version });
            }
            Generated::Finished { request, sample, answer } => {
                self.running = self.running.saturating_sub(1);
                if let Some(rollout) = self.book.finished(request, sample, answer) {
                    self.journal.write(rollout);
                }
            }
        }
    }

    fn measure_first_token(&mut self, version: PolicyVersion) {
        let Some((fresh, published_at)) = self.fresh.filter(|(fresh, _)| version >= *fresh) else { return };
        let seconds = published_at.elapsed().as_secs_f64();
        metrics::histogram!(metric::PUBLISH_TO_FIRST_TOKEN).record(seconds);
        self.outlets.events.publish(LoopEvent::FirstToken { version: fresh, seconds });
        self.fresh = None;
    }

    /// Hands on what became durable, and what a port had no room for before.
    pub(crate) fn settle(&mut self) -> Result<(), ServingError> {
        self.journal.offer();
        while let Some((rollout, outcome)) = self.journal.durable() {
            self.settled(rollout, outcome)?;
        }
        self.send();
        Ok(())
    }

    /// Waits until another answer's fate is known, and handles it; for ever when none is on its way.
    pub(crate) async fn next_settled(&mut self) -> Result<(), ServingError> {
        match self.journal.next_durable().await {
            Some((rollout, outcome)) => self.settled(rollout, outcome),
            None => Ok(()),
        }
    }

    fn settled(&mut self, mut rollout: Rollout, outcome: Result<Ack, CommitError>) -> Result<(), ServingError> {
        let lockstep = self.outlets.lockstep;
        match outcome {
            Ok(_) => {
                if lockstep {
                    rollout.trunk = TrunkStates::Absent;
                }
                self.outlets.known.remember(Arc::new(rollout.clone()));
                if let Some(group) = self.book.durable(rollout) {
                    self.publish(group);
                }
                Ok(())
            }
            Err(error @ (CommitError::Failed { .. } | CommitError::Closed)) => Err(ServingError::Journal(error)),
            Err(CommitError::Conflict { .. }) if lockstep => Err(ServingError::Diverged { answer: rollout.id }),
            Err(error) if lockstep => Err(ServingError::Journal(error)),
            Err(error) => {
                tracing::warn!(answer = rollout.id, %error, "an answer could not be kept");
                metrics::counter!(metric::UNKEPT).increment(1);
                self.running = self.running.saturating_sub(self.book.running(rollout.group));
                self.engine.cancel(rollout.group);
                let why = match &error {
                    CommitError::NoSpace { .. } => ChatError::NoSpace(error.to_string()),
                    _ => ChatError::NotKept(error.to_string()),
                };
                self.book.fail(rollout.group, why);
                Ok(())
            }
        }
    }

    fn publish(&mut self, group: AnsweredGroup) {
        let AnsweredGroup { rollouts, asker } = group;
        let chat = matches!(asker, Asker::Chat(_));
        for rollout in &rollouts {
            self.outlets.events.publish(answered(rollout, chat));
        }
        let question = rollouts[0].prompt.question.clone();
        let shown = rollouts.iter().map(|rollout| Rollout { trunk: TrunkStates::Absent, ..rollout.clone() }).collect();
        self.outlets.answers.publish(AnsweredQuestion { question, answers: Arc::new(shown) });
        let ticket = match asker {
            Asker::Training(ticket) => Some(ticket),
            // Somebody's question is learned from only while it would not make other answers too old.
            Asker::Chat(_) if self.can_be_learned(&rollouts[0]) => {
                self.outlets.pace.try_admit(rollouts.len() as u64).ok()
            }
            Asker::Chat(_) => None,
        };
        match ticket {
            Some(ticket) => self.unsent.push_back(RolloutGroup { rollouts, ticket }),
            None => metrics::counter!(metric::CHAT_NOT_LEARNED).increment(rollouts.len() as u64),
        }
        self.send();
    }

    /// The learner repeats the sampler's log-probabilities: at its own temperature and without a repetition penalty.
    fn can_be_learned(&self, rollout: &Rollout) -> bool {
        let newest = self.engine.version();
        let in_time = !self.outlets.newest_only || rollout.version_spans.iter().all(|span| span.version == newest);
        in_time
            && rollout.sampling.temperature == self.outlets.temperature
            && rollout.sampling.repetition_penalty == 1.0
    }

    fn send(&mut self) {
        while let Some(group) = self.unsent.pop_front() {
            match self.outlets.rollouts.offer(group) {
                Ok(()) => {}
                Err(OfferError::Full(group)) => return self.unsent.push_front(group),
                // Closed: shutting down the hard way; the answers are on disk.
                Err(OfferError::Closed(_)) => self.unsent.clear(),
            }
        }
    }

    /// Whether groups wait for room in the rollouts port.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether answers wait for room in the committer's queue.
    pub(crate) fn has_unoffered(&self) -> bool {
        self.journal.has_unoffered()
    }
}

/// A request as a quarantine keeps it.
fn described(first: AnswerId, request: &PromptRequest) -> Held {
    let PromptRequest { prompt, samples, sampling, stop, asker } = request;
    let chat = matches!(asker, Asker::Chat(_));
    let content = json!({"prompt": prompt, "samples": samples, "sampling": sampling, "stop": stop, "chat": chat});
    Held::new(format!("the question of answers {first} and following")).saying(&content)
}

fn answered(rollout: &Rollout, chat: bool) -> LoopEvent {
    LoopEvent::Answered {
        answer: rollout.id,
        group: rollout.group,
        question: rollout.prompt.question.text(),
        text: rollout.text.clone(),
        version: rollout.version_spans.last().map_or(0, |span| span.version),
        tokens: rollout.tokens.len(),
        chat,
    }
}

fn refuse(asker: Asker, why: ChatError) {
    metrics::counter!(metric::REFUSED).increment(1);
    if let Asker::Chat(sink) = asker {
        // A reader that went away needs no reason.
        let _ = sink.try_send(TokenEvent::Failed(why));
    }
}
