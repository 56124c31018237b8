//! The daemon as the gateway, the terminal view and tests see it.
//!
//! Invariant: taking a request never waits (it is admitted or refused at once); only an acknowledgement is waited for.
//! Handles keep no actor alive and work from any thread.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use understudy_checkpoints::{Stats, StoreHandle};
use understudy_learning::stages::{AnswerId, Feedback, PolicyVersion, Prompt, Question, Sampling};
use understudy_model::hash::fnv1a;
use understudy_model::text::{Message, TextCodec};

use super::resume::ResumeReport;
use crate::answers::Answers;
use crate::bus::Bus;
use crate::checkpoint::{CheckpointDone, CheckpointRequest, SavedState};
use crate::link::{AskError, Envelope, OfferError, Subscription, ask};
use crate::messages::{
    AnsweredQuestion, Asker, ChatError, FeedbackAck, FeedbackRefusal, LoopEvent, PromptRequest, TokenEvent,
};
use crate::past::Past;
use crate::reward::{Judged, RewardView};
use crate::stage::{Order, StageRefusal, StageView};
use crate::supervision::Supervised;

/// A request that somebody waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// Role and content, in order.
    pub messages: Vec<Message>,
    /// Answers wanted.
    pub samples: usize,
    /// How to sample.
    pub sampling: Sampling,
    /// An answer ends before the first of these.
    pub stop: Vec<String>,
    /// When the asker gives up.
    pub deadline: Instant,
    /// Now, in milliseconds since the Unix epoch; kept with the question.
    pub asked_at: i64,
}

/// The answers to one request as they come; dropping it cancels the request.
#[derive(Debug)]
pub struct ChatStream {
    events: mpsc::Receiver<TokenEvent>,
    unfinished: usize,
}

impl ChatStream {
    /// The next event; `None` after the last answer finished or the request failed.
    pub async fn next(&mut self) -> Option<TokenEvent> {
        if self.unfinished == 0 {
            return None;
        }
        // Whoever held the request is gone when its end is dropped before the last answer.
        let event = self.events.recv().await.unwrap_or(TokenEvent::Failed(ChatError::Crashed("policy actor")));
        match &event {
            TokenEvent::Token { .. } => {}
            TokenEvent::Finished { .. } => self.unfinished -= 1,
            TokenEvent::Failed(_) => self.unfinished = 0,
        }
        Some(event)
    }
}

/// One actor's state.
#[derive(Debug, Clone, Serialize)]
pub struct ActorStatus {
    /// Its name.
    pub name: &'static str,
    /// Restarts so far.
    pub restarts: u64,
    /// The unit it works on, if any.
    pub busy: Option<String>,
    /// How it ended, if it has.
    pub ended: Option<String>,
    /// Whether it could not be kept alive.
    pub given_up: bool,
}

/// One port's state.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LinkStatus {
    /// Its name.
    pub name: &'static str,
    /// Items waiting.
    pub waiting: usize,
    /// Items it can hold.
    pub capacity: usize,
}

/// How the loop is doing.
#[derive(Debug, Clone, Serialize)]
pub struct DaemonStatus {
    /// The newest published policy.
    pub policy_version: PolicyVersion,
    /// The reward model.
    pub reward: RewardView,
    /// The newest checkpoint since the start.
    pub checkpoint: Option<SavedState>,
    /// What the start went on from.
    pub resumed: Arc<ResumeReport>,
    /// The actors.
    pub actors: Vec<ActorStatus>,
    /// The ports.
    pub links: Vec<LinkStatus>,
    /// Samples that the pace would admit now.
    pub pace_room: u64,
    /// Why it cannot serve; empty when it can.
    pub not_ready: Vec<String>,
}

/// The way to a running daemon. Clones lead to the same one.
#[derive(Clone)]
pub struct DaemonHandle {
    pub(super) bus: Bus,
    pub(super) text: TextCodec,
    pub(super) store: StoreHandle,
    pub(super) answers: Answers,
    pub(super) actors: Arc<Vec<Supervised>>,
    pub(super) reward: watch::Receiver<RewardView>,
    pub(super) checkpoint: watch::Receiver<Option<SavedState>>,
    /// `None` where every version serves at once.
    pub(super) stage: Option<watch::Receiver<StageView>>,
    pub(super) resumed: Arc<ResumeReport>,
}

impl DaemonHandle {
    /// Takes a chat request, or refuses it at once.
    pub fn chat(&self, request: ChatRequest) -> Result<ChatStream, ChatError> {
        if request.samples == 0 {
            return Err(ChatError::Invalid("0 answers wanted: ask for at least 1".to_owned()));
        }
        let tokens = self.text.encode_chat(&request.messages, true).map_err(|e| ChatError::Invalid(e.to_string()))?;
        let prompt = Prompt { question: Arc::new(question(&request, &tokens)), tokens };
        let (samples, deadline) = (request.samples, request.deadline);
        // Room for all that can be said: a token, perhaps its text, and an end for each sample.
        let room = samples * (request.sampling.max_tokens + 2) + 1;
        let (sink, events) = mpsc::channel(room);
        let asked =
            PromptRequest { prompt, samples, sampling: request.sampling, stop: request.stop, asker: Asker::Chat(sink) };
        match self.bus.chats.offer(Envelope::new(asked, deadline)) {
            Ok(()) => Ok(ChatStream { events, unfinished: samples }),
            Err(OfferError::Full(_)) => Err(ChatError::Full),
            Err(OfferError::Closed(_)) => Err(ChatError::Closed),
        }
    }

    /// Gives feedback; ready when it is durable or refused.
    pub async fn submit_feedback(&self, feedback: Feedback, deadline: Instant) -> Result<FeedbackAck, FeedbackRefusal> {
        match ask(&self.bus.feedback, feedback, deadline).await {
            Ok(outcome) => outcome,
            Err(AskError::Full) => Err(FeedbackRefusal::Full),
            Err(AskError::Closed) => Err(FeedbackRefusal::Closed),
            Err(AskError::Expired) => Err(FeedbackRefusal::Expired),
            Err(AskError::Crashed) => Err(FeedbackRefusal::Crashed),
        }
    }

    /// What happens from now on.
    pub fn events(&self) -> Subscription<LoopEvent> {
        self.bus.events.subscribe()
    }

    /// Durable answers from now on.
    pub fn answered(&self) -> Subscription<AnsweredQuestion> {
        self.bus.answers.subscribe()
    }

    /// Lookup of answers.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// What was answered and said before.
    pub fn past(&self) -> Past {
        Past::new(self.store.clone())
    }

    /// The reward model as it is now.
    pub fn reward(&self) -> RewardView {
        *self.reward.borrow()
    }

    /// Commits a checkpoint now.
    pub async fn checkpoint(&self) -> Result<CheckpointDone, String> {
        let (request, outcome) = CheckpointRequest::awaited();
        self.bus.checkpoints.send(request).await.map_err(|_| "the daemon is shutting down".to_owned())?;
        outcome.await.map_err(|_| "the checkpoint actor failed with the request in hand".to_owned())?
    }

    /// The newest published policy.
    pub fn policy_version(&self) -> PolicyVersion {
        self.bus.snapshots.read(|_, snapshot| snapshot.version).unwrap_or(0)
    }

    /// What the reward model thinks of answers that are kept, in order; `None` where too few ratings were learned from.
    pub async fn judge(&self, answers: &[AnswerId], deadline: Instant) -> Result<Option<Vec<Judged>>, AskError> {
        // In memory, as they have just been given; one that is not kept any more is left out.
        let found = answers.iter().filter_map(|id| self.answers.find(*id).ok().flatten());
        let answers = found.map(|answer| answer.as_ref().clone()).collect();
        ask(&self.bus.judgements, answers, deadline).await
    }

    /// The policy that answers people: the newest, or the lead of a guarded stage.
    pub fn serving_version(&self) -> PolicyVersion {
        self.stage.as_ref().map_or_else(|| self.policy_version(), |stage| stage.borrow().lead.version)
    }

    /// Who serves people, and who may.
    pub fn stage(&self) -> StageView {
        let guarded = self.stage.as_ref().map(|stage| stage.borrow().clone());
        guarded.unwrap_or_else(|| StageView::direct(self.policy_version()))
    }

    /// Tells the stage what to do; ready when it is done, on disk, or refused.
    pub async fn direct(&self, order: Order, deadline: Instant) -> Result<StageView, StageRefusal> {
        if self.stage.is_none() {
            return Err(StageRefusal::Direct);
        }
        ask(&self.bus.orders, order, deadline).await.unwrap_or_else(|error| Err(StageRefusal::NotAsked(error)))
    }

    /// Empty when it can serve, else the reasons why not.
    pub fn not_ready(&self) -> Vec<String> {
        let ended = |actor: &Supervised| {
            let verdict = actor.verdict_now().filter(|verdict| verdict.is_failure())?;
            Some(format!("{}: {verdict}", actor.name()))
        };
        let mut reasons: Vec<String> = self.actors.iter().filter_map(ended).collect();
        reasons.extend(self.store.failed().map(|why| format!("store: {why}")));
        if self.bus.chats.is_closed() {
            reasons.push("shutting down".to_owned());
        }
        reasons
    }

    /// The store, for tests that look into the journal.
    #[cfg(test)]
    pub(crate) fn store(&self) -> &StoreHandle {
        &self.store
    }

    /// The store's own figures.
    pub fn store_stats(&self) -> Stats {
        self.store.stats()
    }

    /// How the loop is doing.
    pub fn status(&self) -> DaemonStatus {
        let actor = |actor: &Supervised| ActorStatus {
            name: actor.name(),
            restarts: actor.restarts(),
            busy: actor.progress().busy().map(|busy| busy.unit),
            ended: actor.verdict_now().map(|verdict| verdict.to_string()),
            given_up: actor.verdict_now().is_some_and(|verdict| verdict.is_failure()),
        };
        let link = |(name, waiting, capacity)| LinkStatus { name, waiting, capacity };
        DaemonStatus {
            policy_version: self.policy_version(),
            reward: *self.reward.borrow(),
            checkpoint: self.checkpoint.borrow().clone(),
            resumed: self.resumed.clone(),
            actors: self.actors.iter().map(actor).collect(),
            links: self.bus.depths().into_iter().map(link).collect(),
            pace_room: self.bus.pace.room(),
            not_ready: self.not_ready(),
        }
    }

    /// The links, for actors of your own.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }
}

/// A chat as a question: the same words are the same question, so that answers to them can be compared.
fn question(request: &ChatRequest, tokens: &[i64]) -> Question {
    let hash = fnv1a(tokens.iter().map(|token| *token as u64));
    let last = request.messages.iter().rev().find(|message| message.role == "user");
    Question {
        id: format!("chat/{hash:016x}"),
        source: "chat".to_owned(),
        title: String::new(),
        body: last.map(|message| message.content.clone()).unwrap_or_default(),
        tags: Vec::new(),
        author: None,
        url: None,
        licence: None,
        asked_at: request.asked_at,
        closedness: None,
        terms: None,
    }
}
