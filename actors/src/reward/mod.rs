//! `RewardActor`: scores answers and learns from what people say of them.
//!
//! Invariant: scoring goes before extra learning, but what people said is heard and learned from after a bounded number
//! of groups; scores wait for the learner only while its port is full, and feedback does not wait with them.

mod metric;
mod mind;
mod replay;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;
use understudy_learning::LearnerState;
use understudy_learning::stages::RewardVersion;

use crate::cancel::Cancel;
use crate::failpoint::Failpoints;
use crate::link::{Feed, Inlet, OfferError, Port};
use crate::messages::{LoopEvent, RolloutGroup, ScoredGroup};
use crate::seams::{DurableFeedback, FeedbackLog};
use crate::worker::{Desk, Job, Worker};

pub use metric::*;
pub(crate) use mind::Mind;
pub use mind::{HearingConfig, Judge, MindError};

/// The actor.
pub type RewardActor = Worker<RewardJob>;

/// How often a full port is tried again while nothing else is to do.
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// Events read from the journal at once.
const PAGE: usize = 256;

/// What the actor gives for a checkpoint.
#[derive(Debug)]
pub struct RewardState {
    /// The learner's tensors and scalars, and what was heard.
    pub learner: LearnerState,
    /// The reward model's version.
    pub version: RewardVersion,
    /// The journal sequence up to which feedback is in it.
    pub up_to: u64,
}

/// What others may see of the actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct RewardView {
    /// The reward model's version.
    pub version: RewardVersion,
    /// The journal sequence up to which feedback was heard.
    pub up_to: u64,
    /// Events heard since the beginning.
    pub heard: u64,
    /// Events in the replay.
    pub replay: usize,
    /// Share of two-way questions foretold rightly, recently.
    pub accuracy: Option<f64>,
    /// Log-loss of the same predictions.
    pub log_loss: Option<f64>,
    /// Their calibration error.
    pub calibration_error: Option<f64>,
}

/// The actor's work.
pub struct RewardJob {
    /// Answers to be scored.
    pub(crate) rollouts: Inlet<RolloutGroup>,
    /// Durable feedback, in journal order.
    pub(crate) ratings: Inlet<DurableFeedback>,
    /// Scored answers.
    pub(crate) scored: Port<ScoredGroup>,
    /// Who wants to see what was learned.
    pub(crate) events: Feed<LoopEvent>,
    /// The journal: what was said since the checkpoint is heard from there.
    pub(crate) log: Box<dyn FeedbackLog>,
    /// The reward model and what it heard.
    pub(crate) mind: Mind,
    /// How the work is divided.
    pub(crate) config: HearingConfig,
    /// What others may see.
    pub(crate) view: watch::Sender<RewardView>,
    /// Fired when nothing more will come and everything was scored and heard.
    pub(crate) drained: Cancel,
    /// `reward.before`, `reward.after`: around each unit.
    pub(crate) failpoints: Failpoints,
}

impl Job for RewardJob {
    type State = RewardState;

    async fn run(mut self, desk: Desk<RewardState>) -> Result<(), String> {
        self.catch_up(&desk).await?;
        let (mut rollouts, mut ratings) = (self.rollouts.items(), self.ratings.items());
        let (mut rollouts_open, mut ratings_open) = (true, true);
        let mut unsent: VecDeque<ScoredGroup> = VecDeque::new();
        let mut scored_since = 0;
        loop {
            if desk.is_cancelled() {
                return Err("told to end".to_owned());
            }
            while let Some(somebody) = desk.state_wanted() {
                // Whoever asked may have given up waiting.
                let _ = somebody.send(self.state());
            }
            self.send(&mut unsent);
            let overdue = scored_since >= self.config.groups_before_feedback || self.rollouts.is_empty();
            if overdue {
                scored_since = 0;
                let heard = self.hear_waiting(&desk)?;
                if self.ratings.is_closed() && self.rollouts.is_closed() {
                    // The daemon drains: what was heard is learned, extra learning is given up.
                    self.mind.forgive();
                }
                if heard || self.mind.owes() || (self.mind.has_fresh() && self.rollouts.is_empty()) {
                    self.learn(&desk)?;
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            if unsent.is_empty()
                && !desk.is_paused()
                && let Some(group) = self.rollouts.try_recv()
            {
                unsent.push_back(self.score(&desk, group)?);
                scored_since += 1;
                tokio::task::yield_now().await;
                continue;
            }
            if !rollouts_open && !ratings_open && unsent.is_empty() {
                self.drained.cancel();
                if desk.should_finish() {
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                () = desk.ordered() => (),
                event = ratings.next(), if ratings_open => match event {
                    Some(event) => { self.hear(&desk, event)?; }
                    None => ratings_open = false,
                },
                group = rollouts.next(), if rollouts_open && unsent.is_empty() && !desk.is_paused() => match group {
                    Some(group) => unsent.push_back(self.score(&desk, group)?),
                    None => rollouts_open = false,
                },
                () = tokio::time::sleep(TRY_AGAIN), if !unsent.is_empty() => (),
            }
        }
    }
}

impl RewardJob {
    /// Hears what the journal has beyond the state that this incarnation began with, after putting what was learned
    /// from before back into the replay.
    async fn catch_up(&mut self, desk: &Desk<RewardState>) -> Result<(), String> {
        let restored = self.mind.up_to();
        let mut cursor = 0;
        // Only what the replay has room for: looking up the answers of all others would be for nothing.
        let mut known = VecDeque::new();
        loop {
            let events = self.log.read_after(cursor, PAGE).map_err(|error| error.to_string())?;
            let Some(last) = events.last() else { break };
            cursor = last.seq;
            for event in events {
                if event.seq <= restored {
                    known.push_back(event);
                    if known.len() > self.config.replay {
                        known.pop_front();
                    }
                    continue;
                }
                self.recall(&mut known)?;
                self.hear(desk, event)?;
                while self.mind.owes() {
                    self.learn(desk)?;
                }
            }
            tokio::task::yield_now().await;
        }
        self.recall(&mut known)?;
        self.show();
        Ok(())
    }

    fn recall(&mut self, known: &mut VecDeque<DurableFeedback>) -> Result<(), String> {
        known.drain(..).try_for_each(|event| self.mind.recall(event)).map_err(|error| error.to_string())
    }

    fn hear_waiting(&mut self, desk: &Desk<RewardState>) -> Result<bool, String> {
        let mut heard = false;
        while !self.mind.owes()
            && let Some(event) = self.ratings.try_recv()
        {
            heard |= self.hear(desk, event)?;
        }
        Ok(heard)
    }

    fn hear(&mut self, desk: &Desk<RewardState>, event: DurableFeedback) -> Result<bool, String> {
        let _hand = desk.lifeline.hold(format!("feedback {} (journal {})", event.feedback.id, event.seq));
        let _unit = desk.lifeline.begin("foretell");
        self.failpoints.hit("reward.before").map_err(|error| error.to_string())?;
        let heard = self.mind.hear(event).map_err(|error| error.to_string())?;
        self.failpoints.hit("reward.after").map_err(|error| error.to_string())?;
        self.show();
        Ok(heard)
    }

    fn score(&mut self, desk: &Desk<RewardState>, group: RolloutGroup) -> Result<ScoredGroup, String> {
        let first = group.rollouts.first().map_or(0, |rollout| rollout.group);
        let _hand = desk.lifeline.hold(format!("answers {first} and following"));
        let _unit = desk.lifeline.begin("score");
        self.failpoints.hit("score.before").map_err(|error| error.to_string())?;
        let scored = self.mind.score(group).map_err(|error| error.to_string())?;
        self.failpoints.hit("score.after").map_err(|error| error.to_string())?;
        let mean_score = scored.rollouts.iter().map(|one| one.score).sum::<f64>() / scored.rollouts.len().max(1) as f64;
        metrics::counter!(SCORED).increment(scored.rollouts.len() as u64);
        self.events.publish(LoopEvent::Scored { group: first, mean_score, version: self.mind.version() });
        Ok(scored)
    }

    fn learn(&mut self, desk: &Desk<RewardState>) -> Result<(), String> {
        let _unit = desk.lifeline.begin("reward minibatch");
        let began = Instant::now();
        let Some(report) = self.mind.learn().map_err(|error| error.to_string())? else { return Ok(()) };
        let seconds = began.elapsed().as_secs_f64();
        metrics::counter!(UPDATES).increment(1);
        metrics::histogram!(SECONDS).record(seconds);
        metrics::gauge!(LOSS).set(report.likelihood_loss);
        self.show();
        let recent = self.mind.prequential().recent();
        self.events.publish(LoopEvent::RewardUpdate {
            version: report.version,
            report,
            prequential_accuracy: recent.accuracy,
            prequential_log_loss: recent.log_loss,
            replay: self.mind.replay_len(),
            seconds,
        });
        Ok(())
    }

    fn show(&self) {
        let recent = self.mind.prequential().recent();
        let view = RewardView {
            version: self.mind.version(),
            up_to: self.mind.up_to(),
            heard: self.mind.heard(),
            replay: self.mind.replay_len(),
            accuracy: recent.accuracy,
            log_loss: recent.log_loss,
            calibration_error: recent.calibration_error,
        };
        for (name, value) in [(ACCURACY, view.accuracy), (LOG_LOSS, view.log_loss), (ECE, view.calibration_error)] {
            value.into_iter().for_each(|value| metrics::gauge!(name).set(value));
        }
        self.view.send_replace(view);
    }

    fn state(&self) -> RewardState {
        RewardState { learner: self.mind.state(), version: self.mind.version(), up_to: self.mind.up_to() }
    }

    fn send(&self, unsent: &mut VecDeque<ScoredGroup>) {
        while let Some(group) = unsent.pop_front() {
            match self.scored.offer(group) {
                Ok(()) => {}
                Err(OfferError::Full(group)) => return unsent.push_front(group),
                // Closed: the learner is gone for good; the ticket gives its places back.
                Err(OfferError::Closed(_)) => {}
            }
        }
    }
}
