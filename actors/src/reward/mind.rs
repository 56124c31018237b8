//! What the reward actor knows and does in one unit, without knowing who drives it.
//!
//! Invariant: every event is foretold before it is learned from, and heard once, in journal order; the sequence up to
//! which events were heard is part of the saved state, so a restart hears exactly the rest.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use understudy_learning::reward::{PrequentialStats, RewardExample, RewardLearner, RewardReport, RewardScore};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{FeedbackKind, Rollout, ScoredRollout, TrunkStates};
use understudy_learning::{LearnerState, LearningError};

use super::hearing::HearingConfig;
use super::journal::{Reader, Retraction};
use super::replay::{Replay, SavedReplay};
use crate::answers::{Answers, AnswersError};
use crate::messages::{RolloutGroup, ScoredGroup};
use crate::seams::{DurableFeedback, FeedbackLog};

/// A rule that scores answers in place of the reward model: a verifiable reward, or a control in an experiment.
pub type Judge = Arc<dyn Fn(&Rollout) -> f64 + Send + Sync>;

/// Makes a reward learner that has learned nothing: the same one every time.
pub(crate) type Fresh = Arc<dyn Fn() -> Result<RewardLearner, LearningError> + Send + Sync>;

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
    clean_up_to: u64,
    events: u64,
    base: u64,
    fresh: Vec<u64>,
    owed_bits: u64,
    since_normalised: u64,
    references: Vec<u64>,
    replay: SavedReplay,
}

/// A minibatch that was learned.
#[derive(Debug)]
pub(crate) struct Learned {
    /// What the step did.
    pub(crate) report: RewardReport,
    /// The new events in it.
    pub(crate) fresh: Vec<u64>,
}

/// The reward model, what it heard and what it still owes.
pub(crate) struct Mind {
    learner: RewardLearner,
    fresh_learner: Fresh,
    config: HearingConfig,
    seed: u64,
    answers: Answers,
    judge: Option<Judge>,
    replay: Replay,
    /// Added to the learner's own count of steps, so that the version never goes back when a rebuilt learner takes over.
    base: u64,
    /// Computes trunk states anew instead of taking those that came from the generator: they agree but for rounding, and
    /// only the former are the same every time.
    rebuilding: bool,
    /// Events that no minibatch has held yet.
    fresh: VecDeque<u64>,
    owed: f64,
    up_to: u64,
    /// Where an event was heard that has been taken back since: retractions up to here were left out.
    dirty: Option<u64>,
    heard: u64,
    since_normalised: u64,
    references: Vec<Rollout>,
}

impl Mind {
    /// A mind that has heard nothing.
    pub(crate) fn new(
        fresh_learner: Fresh,
        config: HearingConfig,
        seed: u64,
        answers: Answers,
        judge: Option<Judge>,
    ) -> Result<Self, MindError> {
        let learner = fresh_learner()?;
        let replay = Replay::new(seed, config.replay, config.recent_share, config.cached);
        let (fresh, references) = (VecDeque::new(), Vec::new());
        Ok(Self {
            learner,
            fresh_learner,
            config,
            seed,
            answers,
            judge,
            replay,
            base: 0,
            rebuilding: false,
            fresh,
            owed: 0.0,
            up_to: 0,
            dirty: None,
            heard: 0,
            since_normalised: 0,
            references,
        })
    }

    /// The mind with which a rebuilding begins: it has heard nothing.
    pub(crate) fn beginning(&self) -> Result<Self, MindError> {
        let (fresh, config, answers) = (self.fresh_learner.clone(), self.config.clone(), self.answers.clone());
        let mind = Self::new(fresh, config, self.seed, answers, self.judge.clone())?;
        Ok(Self { rebuilding: true, ..mind })
    }

    /// A rebuilt mind takes the place of the one that served meanwhile: scores are normalised over the same reference
    /// answers, and the version goes on above.
    pub(crate) fn succeed(mut self, served: &Self) -> Result<Self, MindError> {
        self.base = (served.version() + 1).saturating_sub(self.learner.version());
        self.rebuilding = false;
        self.dirty = None;
        self.up_to = self.up_to.max(served.up_to);
        self.references.clone_from(&served.references);
        self.references.iter_mut().for_each(|answer| answer.trunk = TrunkStates::Absent);
        self.normalise()?;
        Ok(self)
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
        let reward_version = self.version();
        let rollouts = group.rollouts.into_iter().zip(scores).map(|(rollout, scored)| ScoredRollout {
            rollout,
            score: scored.score,
            reward_std: scored.reward_std,
            reward_version,
        });
        Ok(ScoredGroup { rollouts: rollouts.collect(), ticket: group.ticket })
    }

    /// Hears an event: foretells it, remembers it and owes learning from it; one that was taken back is only counted.
    /// `false` when it was heard before, or nothing of it is learned.
    pub(crate) fn hear(&mut self, event: DurableFeedback, taken_back: bool) -> Result<bool, MindError> {
        if event.seq <= self.up_to {
            return Ok(false);
        }
        self.up_to = event.seq;
        self.heard += 1;
        if taken_back {
            return Ok(false);
        }
        let Some(mut example) = self.example(event)? else { return Ok(false) };
        self.learner.fill_states(&mut example.answers)?;
        if let Some(prediction) = self.learner.predict(&example)? {
            self.learner.record(&prediction);
        }
        self.fresh.push_back(example.seq);
        self.owed = (self.owed + self.config.minibatches_per_event).min(self.config.most_owed);
        self.replay.push(example);
        Ok(true)
    }

    /// An event that may have been heard was taken back: it is not drawn any more, but what it taught stays until a
    /// rebuilt mind takes over.
    pub(crate) fn take_back(&mut self, retraction: Retraction) {
        self.replay.remove(retraction.of);
        self.fresh.retain(|seq| *seq != retraction.of);
        let clean = self.dirty.unwrap_or(self.up_to).min(retraction.at.saturating_sub(1));
        self.dirty = Some(clean);
    }

    /// Frees the trunk states in the replay, for a rebuilt mind that will want the room.
    pub(crate) fn make_room(&mut self) {
        self.replay.keep_states_of(0);
    }

    /// Puts an event that was learned from before a restart back into the replay. Says whether its answers are kept.
    fn recall(&mut self, event: DurableFeedback) -> Result<bool, MindError> {
        let example = self.example(event)?;
        Ok(example.map(|example| self.replay.recall(example)).is_some())
    }

    /// The event with the answers that it names; `None` where nothing is learned from it.
    fn example(&self, event: DurableFeedback) -> Result<Option<RewardExample>, MindError> {
        let DurableFeedback { seq, feedback } = event;
        // An edited text has no tokens and no log-probabilities yet: it is kept in the journal.
        if matches!(feedback.kind, FeedbackKind::Retract { .. } | FeedbackKind::Edit { .. }) {
            return Ok(None);
        }
        let mut answers = Vec::new();
        for id in feedback.answers() {
            let Some(answer) = self.answers.find(id)? else {
                tracing::warn!(seq, answer = id, "feedback on an answer that is no longer kept is not learned from");
                return Ok(None);
            };
            let mut answer = Rollout::clone(&answer);
            if self.rebuilding {
                answer.trunk = TrunkStates::Absent;
            }
            answers.push(answer);
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
        self.owed >= 1.0 || self.is_full()
    }

    /// Whether the new events fill a minibatch.
    pub(crate) fn is_full(&self) -> bool {
        self.fresh.len() >= self.batch_size()
    }

    /// Gives up the extra learning that is owed; new events are still learned from.
    pub(crate) fn forgive(&mut self) {
        self.owed = 0.0;
    }

    /// Whether there are events that no minibatch has held yet.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Learns one minibatch, the oldest new events first in it. One short unit; `None` when nothing can be learned.
    pub(crate) fn learn(&mut self) -> Result<Option<Learned>, MindError> {
        self.owed = (self.owed - 1.0).max(0.0);
        let mut stream = Stream::new(self.seed, Purpose::Replay, self.learner.version());
        let fresh: Vec<u64> = self.fresh.drain(..self.fresh.len().min(self.batch_size())).collect();
        let mut batch = self.replay.minibatch(&fresh, self.batch_size(), &mut stream);
        for example in &mut batch {
            self.learner.fill_states(&mut example.answers)?;
            self.replay.keep_states(example);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let mut report = self.learner.learn(&batch)?;
        report.version += self.base;
        self.since_normalised += 1;
        if self.since_normalised >= self.config.normalise_every && !self.rebuilding {
            self.normalise()?;
        }
        Ok(Some(Learned { report, fresh }))
    }

    fn normalise(&mut self) -> Result<(), MindError> {
        if self.references.is_empty() {
            return Ok(());
        }
        for answer in &mut self.references {
            // Each alone: what is computed does not depend on the others. Kept, for the next time.
            self.learner.fill_states(std::slice::from_mut(answer))?;
        }
        self.learner.normalise(&self.references)?;
        self.since_normalised = 0;
        Ok(())
    }

    /// The sequence up to which events were heard.
    pub(crate) fn up_to(&self) -> u64 {
        self.up_to
    }

    /// The sequence up to which what was taken back was left out.
    pub(crate) fn clean_up_to(&self) -> u64 {
        self.dirty.unwrap_or(self.up_to)
    }

    /// Events heard since the beginning.
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// The reward model's version.
    pub(crate) fn version(&self) -> u64 {
        self.base + self.learner.version()
    }

    /// Lets the version go on from one that was shown before, where it is behind.
    pub(crate) fn go_on_from(&mut self, shown: u64) {
        self.base += shown.saturating_sub(self.version());
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
            clean_up_to: self.clean_up_to(),
            events: self.heard,
            base: self.base,
            fresh: self.fresh.iter().copied().collect(),
            owed_bits: self.owed.to_bits(),
            since_normalised: self.since_normalised,
            references: self.references.iter().map(|answer| answer.id).collect(),
            replay: self.replay.state(),
        };
        let LearnerState { tensors, scalars } = self.learner.state();
        let scalars = serde_json::json!({ "learner": scalars, "heard": heard });
        LearnerState { tensors, scalars }
    }

    /// Goes on from a saved state, whose replay is still to be remembered.
    pub(crate) fn restore(&mut self, state: LearnerState) -> Result<Recall, MindError> {
        let LearnerState { tensors, mut scalars } = state;
        let heard = serde_json::from_value::<Heard>(scalars["heard"].take())
            .map_err(|error| LearningError::state("heard", format!("does not read ({error})")))?;
        self.learner.restore(&LearnerState { tensors, scalars: scalars["learner"].take() })?;
        (self.up_to, self.heard, self.base) = (heard.up_to, heard.events, heard.base);
        self.dirty = (heard.clean_up_to < heard.up_to).then_some(heard.clean_up_to);
        self.fresh = heard.fresh.into();
        self.owed = f64::from_bits(heard.owed_bits);
        self.since_normalised = heard.since_normalised;
        self.references.clear();
        for id in heard.references {
            if let Some(answer) = self.answers.find(id)? {
                self.references.push(Rollout { trunk: TrunkStates::Absent, ..Rollout::clone(&answer) });
            }
        }
        let members = self.replay.restore(&heard.replay)?;
        let first = members.first().map_or(self.up_to, |first| first.saturating_sub(1));
        Ok(Recall { reader: Reader::after(first), members, up_to: self.up_to })
    }
}

/// Fills the replay of a restored mind from the journal, with exactly the events that it held.
#[derive(Debug)]
pub(crate) struct Recall {
    reader: Reader,
    members: BTreeSet<u64>,
    up_to: u64,
}

impl Recall {
    /// Events passed in one unit.
    const PAGE: usize = 64;

    /// Remembers a page of events; `false` when all are remembered. Those that cannot be (the journal or the store have
    /// let them go) leave the replay.
    pub(crate) fn page(&mut self, mind: &mut Mind, log: &dyn FeedbackLog) -> Result<bool, MindError> {
        for _ in 0..Self::PAGE {
            let event = if self.members.is_empty() { None } else { self.reader.next(log, self.up_to)? };
            let Some(event) = event else {
                self.members.iter().for_each(|lost| {
                    mind.replay.remove(*lost);
                });
                return Ok(false);
            };
            let seq = event.seq;
            if self.members.remove(&seq) && !mind.recall(event)? {
                mind.replay.remove(seq);
            }
        }
        Ok(true)
    }
}
