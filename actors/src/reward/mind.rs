//! What the reward actor knows and does in one unit, without knowing who drives it.
//!
//! Invariant: every event is foretold before it is learned from, and heard once, in journal order; the sequence up to
//! which events were heard is part of the saved state, so a restart hears exactly the rest.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use understudy_learning::reward::{PrequentialStats, RewardExample, RewardLearner, RewardReport, RewardScore};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{FeedbackKind, Rollout, ScoredRollout, TrunkStates};
use understudy_learning::{LearnerState, LearningError};

use super::replay::Replay;
use crate::answers::{Answers, AnswersError};
use crate::messages::{RolloutGroup, ScoredGroup};
use crate::seams::DurableFeedback;

/// A rule that scores answers in place of the reward model: a verifiable reward, or a control in an experiment.
pub type Judge = Arc<dyn Fn(&Rollout) -> f64 + Send + Sync>;

/// How the reward actor learns from the stream of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HearingConfig {
    /// Minibatches for each new event, on average; at least one follows every minibatch of new events.
    pub minibatches_per_event: f64,
    /// Most minibatches that may be owed: when people are quicker than the learner, extra learning is given up first.
    pub most_owed: f64,
    /// Events kept for replay.
    pub replay: usize,
    /// Newest events of the replay that keep their trunk states in memory.
    pub cached: usize,
    /// Answers by which scores are normalised: the first ones that are scored.
    pub reference_answers: usize,
    /// Updates between two normalisations.
    pub normalise_every: u64,
    /// Groups that are scored at most before waiting feedback is heard and learned.
    pub groups_before_feedback: usize,
}

impl Default for HearingConfig {
    fn default() -> Self {
        Self {
            minibatches_per_event: 0.5,
            most_owed: 64.0,
            replay: 4096,
            cached: 512,
            reference_answers: 32,
            normalise_every: 8,
            groups_before_feedback: 4,
        }
    }
}

/// Why the reward actor cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MindError {
    /// The learner failed.
    #[error("the reward model: {0}")]
    Learning(#[from] LearningError),
    /// An answer could not be looked up.
    #[error("looking answers up: {0}")]
    Answers(#[from] AnswersError),
    /// Feedback could not be read.
    #[error("{0}")]
    Log(#[from] crate::seams::LogError),
}

/// Saved beside the learner's own scalars.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Heard {
    up_to: u64,
    events: u64,
    fresh: Vec<u64>,
    owed_bits: u64,
    since_normalised: u64,
    references: Vec<u64>,
}

/// The reward model, what it heard and what it still owes.
pub(crate) struct Mind {
    learner: RewardLearner,
    config: HearingConfig,
    seed: u64,
    answers: Answers,
    judge: Option<Judge>,
    replay: Replay,
    /// Events that no minibatch has held yet.
    fresh: Vec<u64>,
    owed: f64,
    up_to: u64,
    heard: u64,
    since_normalised: u64,
    references: Vec<Rollout>,
}

impl Mind {
    /// A mind that has heard nothing.
    pub(crate) fn new(
        learner: RewardLearner,
        config: HearingConfig,
        seed: u64,
        answers: Answers,
        judge: Option<Judge>,
    ) -> Self {
        let replay = Replay::new(config.replay, config.cached);
        let (fresh, references) = (Vec::new(), Vec::new());
        Self {
            learner,
            config,
            seed,
            answers,
            judge,
            replay,
            fresh,
            owed: 0.0,
            up_to: 0,
            heard: 0,
            since_normalised: 0,
            references,
        }
    }

    /// Scores a group. One short unit.
    pub(crate) fn score(&mut self, group: RolloutGroup) -> Result<ScoredGroup, MindError> {
        let scores = match &self.judge {
            None => self.learner.score(&group.rollouts)?,
            Some(judge) => {
                let by_rule = |answer: &Rollout| RewardScore { score: judge(answer), reward_std: 0.0 };
                group.rollouts.iter().map(by_rule).collect()
            }
        };
        for rollout in &group.rollouts {
            if self.references.len() < self.config.reference_answers {
                self.references.push(rollout.clone());
            }
        }
        let reward_version = self.learner.version();
        let rollouts = group.rollouts.into_iter().zip(scores).map(|(rollout, scored)| ScoredRollout {
            rollout,
            score: scored.score,
            reward_std: scored.reward_std,
            reward_version,
        });
        Ok(ScoredGroup { rollouts: rollouts.collect(), ticket: group.ticket })
    }

    /// Hears an event: foretells it, remembers it and owes learning from it. `false` when it was heard before, or says
    /// nothing that can be learned.
    pub(crate) fn hear(&mut self, event: DurableFeedback) -> Result<bool, MindError> {
        if event.seq <= self.up_to {
            return Ok(false);
        }
        self.up_to = event.seq;
        self.heard += 1;
        let Some(mut example) = self.example(event)? else { return Ok(false) };
        self.learner.fill_states(&mut example.answers)?;
        if let Some(prediction) = self.learner.predict(&example)? {
            self.learner.record(&prediction);
        }
        self.fresh.push(example.seq);
        self.owed = (self.owed + self.config.minibatches_per_event).min(self.config.most_owed);
        self.replay.push(example);
        Ok(true)
    }

    /// Puts an event that was learned from before a restart back into the replay.
    pub(crate) fn recall(&mut self, event: DurableFeedback) -> Result<(), MindError> {
        if let Some(example) = self.example(event)? {
            self.replay.push(example);
        }
        Ok(())
    }

    fn example(&mut self, event: DurableFeedback) -> Result<Option<RewardExample>, MindError> {
        let DurableFeedback { seq, feedback } = event;
        match &feedback.kind {
            FeedbackKind::Retract { feedback: taken_back } => {
                self.replay.retract(taken_back);
                return Ok(None);
            }
            // An edited text has no tokens and no log-probabilities yet: it is kept in the journal.
            FeedbackKind::Edit { .. } => return Ok(None),
            _ => {}
        }
        let mut answers = Vec::new();
        for id in feedback.answers() {
            match self.answers.find(id)? {
                Some(answer) => answers.push(Rollout::clone(&answer)),
                None => {
                    tracing::warn!(
                        seq,
                        answer = id,
                        "feedback on an answer that is no longer kept is not learned from"
                    );
                    return Ok(None);
                }
            }
        }
        let declared = answers.first().and_then(|answer| answer.prompt.question.closedness);
        let closedness = declared.unwrap_or(self.learner.config().default_closedness);
        Ok(Some(RewardExample { seq, answers, feedback, closedness, lines: Vec::new() }))
    }

    fn batch_size(&self) -> usize {
        self.learner.config().batch_size.max(1)
    }

    /// Whether new events wait to be learned from, or extra learning is owed.
    pub(crate) fn owes(&self) -> bool {
        self.owed >= 1.0 || self.fresh.len() >= self.batch_size()
    }

    /// Gives up the extra learning that is owed; new events are still learned from.
    pub(crate) fn forgive(&mut self) {
        self.owed = 0.0;
    }

    /// Whether there are events that no minibatch has held yet.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Learns one minibatch. One short unit; `None` when nothing can be learned.
    pub(crate) fn learn(&mut self) -> Result<Option<RewardReport>, MindError> {
        self.owed = (self.owed - 1.0).max(0.0);
        let mut stream = Stream::new(self.seed, Purpose::Replay, self.learner.version());
        let now: Vec<u64> = self.fresh.drain(..self.fresh.len().min(self.batch_size())).collect();
        let mut batch = self.replay.minibatch(&now, self.batch_size(), &mut stream);
        for example in &mut batch {
            self.learner.fill_states(&mut example.answers)?;
            self.replay.keep_states(example);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let report = self.learner.learn(&batch)?;
        self.since_normalised += 1;
        if self.since_normalised >= self.config.normalise_every && !self.references.is_empty() {
            self.learner.normalise(&self.references)?;
            self.since_normalised = 0;
        }
        Ok(Some(report))
    }

    /// The sequence up to which events were heard.
    pub(crate) fn up_to(&self) -> u64 {
        self.up_to
    }

    /// Events heard since the beginning.
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// The reward model's version.
    pub(crate) fn version(&self) -> u64 {
        self.learner.version()
    }

    /// Events in the replay.
    pub(crate) fn replay_len(&self) -> usize {
        self.replay.len()
    }

    /// How well events were foretold.
    pub(crate) fn prequential(&self) -> &PrequentialStats {
        self.learner.stats()
    }

    /// Everything that a restart needs besides the journal.
    pub(crate) fn state(&self) -> LearnerState {
        let heard = Heard {
            up_to: self.up_to,
            events: self.heard,
            fresh: self.fresh.clone(),
            owed_bits: self.owed.to_bits(),
            since_normalised: self.since_normalised,
            references: self.references.iter().map(|answer| answer.id).collect(),
        };
        let LearnerState { tensors, scalars } = self.learner.state();
        let scalars = serde_json::json!({ "learner": scalars, "heard": heard });
        LearnerState { tensors, scalars }
    }

    /// Goes on from a saved state. The replay is filled by [`Mind::recall`].
    pub(crate) fn restore(&mut self, state: LearnerState) -> Result<(), MindError> {
        let LearnerState { tensors, mut scalars } = state;
        let heard = serde_json::from_value::<Heard>(scalars["heard"].take())
            .map_err(|error| LearningError::state("heard", format!("does not read ({error})")))?;
        self.learner.restore(&LearnerState { tensors, scalars: scalars["learner"].take() })?;
        (self.up_to, self.heard) = (heard.up_to, heard.events);
        self.fresh = heard.fresh;
        self.owed = f64::from_bits(heard.owed_bits);
        self.since_normalised = heard.since_normalised;
        self.references.clear();
        for id in heard.references {
            if let Some(answer) = self.answers.find(id)? {
                self.references.push(Rollout { trunk: TrunkStates::Absent, ..Rollout::clone(&answer) });
            }
        }
        Ok(())
    }
}
