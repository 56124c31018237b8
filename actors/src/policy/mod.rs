//! `PolicyActor`: answers questions, shows tokens as they come, journals answers and sends them on to be scored.
//!
//! Invariant: chat goes before training, and nobody is refused or kept waiting because something is being learned: new
//! weights are taken between two steps, and no learner is ever waited for.

mod book;
mod ids;
mod journal;
mod metric;
mod serving;
mod staged;

use std::time::Duration;

use futures_util::StreamExt;

use crate::failpoint::Failpoints;
use crate::link::{Envelope, Inlet, Latest};
use crate::messages::PromptRequest;
use crate::seams::{PolicySnapshot, RolloutEngine};
use crate::worker::{Desk, Job, Worker};

pub use ids::AnswerIds;
pub(crate) use journal::AnswerJournal;
pub use metric::*;
pub(crate) use serving::{Outlets, Serving};
pub(crate) use staged::StagedEngine;

/// The actor.
pub type PolicyActor = Worker<PolicyJob>;

/// How often a full port or the journal's full queue is tried again while nothing else is to do.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// The actor's work.
pub struct PolicyJob {
    /// Requests that somebody waits for.
    pub(crate) chats: Inlet<Envelope<PromptRequest>>,
    /// Requests asked only to learn.
    pub(crate) prompts: Inlet<Envelope<PromptRequest>>,
    /// The newest weights.
    pub(crate) snapshots: Latest<PolicySnapshot>,
    /// The engine and its book-keeping.
    pub(crate) serving: Serving<Box<dyn RolloutEngine>>,
    /// `policy.before`, `policy.after`: around each step.
    pub(crate) failpoints: Failpoints,
}

impl Job for PolicyJob {
    type State = ();

    async fn run(mut self, desk: Desk<()>) -> Result<(), String> {
        // Not a token before the first published weights: a resumed run never answers with the base model.
        tokio::select! {
            _ = self.snapshots.changed(0) => (),
            () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
        }
        let (mut chats, mut prompts) = (self.chats.items(), self.prompts.items());
        let (mut chats_open, mut prompts_open) = (true, true);
        loop {
            if desk.is_cancelled() {
                return Err("told to end".to_owned());
            }
            self.take_up(&desk);
            if self.serving.has_work() {
                self.step(&desk)?;
                tokio::task::yield_now().await;
                continue;
            }
            self.serving.settle().map_err(|error| error.to_string())?;
            if !chats_open && !prompts_open && self.serving.is_idle() {
                return Ok(());
            }
            let (chat_room, prompt_room) = (self.may_take(&desk, true), self.may_take(&desk, false));
            let waiting_for_room = self.serving.has_unsent() || self.serving.has_unoffered();
            tokio::select! {
                biased;
                () = desk.ordered() => (),
                settled = self.serving.next_settled() => settled.map_err(|error| error.to_string())?,
                chat = chats.next(), if chats_open && chat_room => match chat {
                    Some(request) => self.serving.admit(request),
                    None => chats_open = false,
                },
                prompt = prompts.next(), if prompts_open && prompt_room => match prompt {
                    Some(request) => self.serving.admit(request),
                    None => prompts_open = false,
                },
                () = tokio::time::sleep(TRY_AGAIN), if waiting_for_room => (),
            }
        }
    }
}

impl PolicyJob {
    fn may_take(&self, desk: &Desk<()>, chat: bool) -> bool {
        // A pause keeps training requests waiting; somebody who asks is always answered.
        self.serving.has_room(chat) && (chat || !desk.is_paused())
    }

    fn take_up(&mut self, desk: &Desk<()>) {
        while self.may_take(desk, true)
            && let Some(request) = self.chats.try_recv()
        {
            self.serving.admit(request);
        }
        while self.may_take(desk, false)
            && let Some(request) = self.prompts.try_recv()
        {
            self.serving.admit(request);
        }
    }

    fn step(&mut self, desk: &Desk<()>) -> Result<(), String> {
        let _unit = desk.lifeline.begin("decode step");
        let outcome = self.guarded_step();
        desk.lifeline.judge(outcome)
    }

    fn guarded_step(&mut self) -> Result<(), String> {
        self.failpoints.hit("policy.before").map_err(|error| error.to_string())?;
        self.serving.unit().map_err(|error| error.to_string())?;
        self.serving.settle().map_err(|error| error.to_string())?;
        self.failpoints.hit("policy.after").map_err(|error| error.to_string())
    }
}
