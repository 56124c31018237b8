//! What the reward actor knows and does in one unit, without knowing who drives it.
//!
//! Invariant: every event is foretold before it is learned from, and heard once, in journal order; the sequence up to
//! which events were heard is part of the saved state, so a restart hears exactly the rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use understudy_learning::LearningError;
use understudy_learning::reward::collapse::CollapseReport;
use understudy_learning::reward::drift::{Drift, DriftReport};
use understudy_learning::reward::openness::{Closedness, Openness, OpennessConfig};
use understudy_learning::reward::{PrequentialStats, RewardExample, RewardLearner, RewardReport, RewardScore};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{FeedbackKind, Rollout, ScoredRollout, TrunkStates};

use super::hearing::HearingConfig;
use super::journal::Retraction;
use super::probes::{Probes, prompt_features};
use super::replay::Replay;
use super::wording::Wording;
use crate::answers::{Answers, AnswersError};
use crate::messages::{RolloutGroup, ScoredGroup};
use crate::seams::DurableFeedback;

/// Probabilities are kept away from 0 by this before their logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-12;
/// Events beyond those of the replay whose P(closed-ended) is kept until it is tidied up.
const UNPRUNED: usize = 256;

/// A rule that scores answers in place of the reward model: a verifiable reward, or a control in an experiment.
pub type Judge = Arc<dyn Fn(&Rollout) -> f64 + Send + Sync>;

/// Makes the reward learner that has heard nothing yet: the same one every time.
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
    /// An edited text has no tokens.
    #[error("an edited text: {0}")]
    Wording(#[from] understudy_model::ModelError),
    /// Feedback could not be read.
    #[error("{0}")]
    Log(#[from] crate::seams::LogError),
}

/// What a mind is made of, besides what it learned.
#[derive(Clone)]
pub(crate) struct MindParts {
    /// Makes its learner.
    pub(crate) fresh: Fresh,
    /// Numbers in a trunk state.
    pub(crate) width: usize,
    /// Text to tokens.
    pub(crate) wording: Wording,
    /// How it learns.
    pub(crate) hearing: HearingConfig,
    /// How closed-ended questions are held to be.
    pub(crate) openness: OpennessConfig,
    /// Of its random streams.
    pub(crate) seed: u64,
    /// Lookup of answers.
    pub(crate) answers: Answers,
    /// Scores in place of the reward model.
    pub(crate) judge: Option<Judge>,
}

/// A minibatch that was learned.
#[derive(Debug)]
pub(crate) struct Learned {
    /// What the step did.
    pub(crate) report: RewardReport,
    /// The new events in it.
    pub(crate) fresh: Vec<u64>,
}

/// A minibatch to be learned from.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Its events.
    pub(crate) batch: Vec<RewardExample>,
    /// The new ones among them.
    pub(crate) fresh: Vec<u64>,
    /// The event that is alone in it because it is suspected of making learning fail.
    pub(crate) proof: Option<u64>,
}

/// The reward model, what it heard and what it still owes.
pub(crate) struct Mind {
    pub(super) parts: MindParts,
    pub(super) learner: RewardLearner,
    pub(super) openness: Openness,
    pub(super) drift: Drift,
    pub(super) probes: Probes,
    pub(super) replay: Replay,
    /// P(closed-ended) of the replay's events, as it was when each was taken up.
    pub(super) frozen: BTreeMap<u64, Closedness>,
    /// Added to the learner's own count of steps, so that the version never goes back when a rebuilt learner takes over.
    pub(super) base: u64,
    /// Whether it began with what a reward model had learned before.
    taught: bool,
    /// Computes trunk states anew instead of taking those that came from the generator: they agree but for rounding, and
    /// only the former are the same every time.
    rebuilding: bool,
    /// Events that no minibatch has held yet.
    pub(super) fresh: VecDeque<u64>,
    /// Events that are to be learned from alone before they stand among others again.
    suspects: BTreeSet<u64>,
    pub(super) owed: f64,
    pub(super) up_to: u64,
    /// Where an event was heard that has been taken back since: retractions up to here were left out.
    pub(super) dirty: Option<u64>,
    pub(super) heard: u64,
    /// Events that a minibatch has held.
    pub(super) learned: u64,
    pub(super) since_normalised: u64,
    pub(super) references: Vec<Rollout>,
}

/// What should worry whoever runs the loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Alarms {
    /// The reward model has collapsed.
    pub(crate) collapse: bool,
    /// People's taste seems to have changed.
    pub(crate) drift: bool,
}

impl Mind {
    /// A mind that has heard nothing.
    pub(crate) fn new(parts: MindParts) -> Result<Self, MindError> {
        let MindParts { hearing, seed, .. } = &parts;
        let learner = (parts.fresh)()?;
        Ok(Self {
            taught: learner.version() > 0,
            learner,
            openness: Openness::new(parts.openness.clone(), parts.width, *seed),
            drift: Drift::new(hearing.drift.clone()),
            probes: Probes::new(hearing, *seed),
            replay: Replay::new(*seed, hearing.replay, hearing.recent_share, hearing.cached),
            frozen: BTreeMap::new(),
            base: 0,
            rebuilding: false,
            fresh: VecDeque::new(),
            suspects: BTreeSet::new(),
            owed: 0.0,
            up_to: 0,
            dirty: None,
            heard: 0,
            learned: 0,
            since_normalised: 0,
            references: Vec::new(),
            parts,
        })
    }

    /// The mind with which a rebuilding begins: it has heard nothing.
    pub(crate) fn beginning(&self) -> Result<Self, MindError> {
        Ok(Self { rebuilding: true, ..Self::new(self.parts.clone())? })
    }

    /// A rebuilt mind takes the place of the one that served meanwhile: scores are normalised over the same reference
    /// answers, the monitor goes on, and the version goes on above.
    pub(crate) fn succeed(mut self, served: &mut Self) -> Result<Self, MindError> {
        self.base = (served.version() + 1).saturating_sub(self.learner.version());
        self.rebuilding = false;
        self.dirty = None;
        self.up_to = self.up_to.max(served.up_to);
        std::mem::swap(&mut self.probes, &mut served.probes);
        self.references.clone_from(&served.references);
        self.references.iter_mut().for_each(|answer| answer.trunk = TrunkStates::Absent);
        self.normalise()?;
        Ok(self)
    }

    /// Scores a group. One short unit.
    pub(crate) fn score(&mut self, group: RolloutGroup) -> Result<ScoredGroup, MindError> {
        let scores = match &self.parts.judge {
            None => self.learner.score(&group.rollouts)?,
            Some(judge) => {
                let by_rule = |answer: &Rollout| RewardScore { score: judge(answer), reward_std: 0.0 };
                group.rollouts.iter().map(by_rule).collect()
            }
        };
        for rollout in &group.rollouts {
            if self.references.len() < self.parts.hearing.reference_answers {
                self.references.push(rollout.clone());
            }
        }
        self.probes.offer(&group.rollouts, &self.learner, &self.openness)?;
        let reward_version = self.version();
        let rollouts = group.rollouts.into_iter().zip(scores).map(|(rollout, scored)| ScoredRollout {
            rollout,
            score: scored.score,
            reward_std: scored.reward_std,
            reward_version,
        });
        Ok(ScoredGroup { rollouts: rollouts.collect(), ticket: group.ticket })
    }

    /// Score and standard error of answers, in order; nothing is remembered of them.
    pub(crate) fn judge(&self, answers: &[Rollout]) -> Result<Vec<(f64, f64)>, MindError> {
        Ok(match &self.parts.judge {
            None => self.learner.score(answers)?.into_iter().map(|one| (one.score, one.reward_std)).collect(),
            Some(judge) => answers.iter().map(|answer| (judge(answer), 0.0)).collect(),
        })
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
        let Some(first) = example.answers.first() else { return Ok(false) };
        let (question, features) = (first.prompt.question.clone(), prompt_features(&self.learner, first)?);
        // Decided before the event says anything of it, and kept with the event from now on.
        let closedness = self.openness.decide(&question, &features);
        example.closedness = closedness.p;
        if let Some(prediction) = self.learner.predict(&example)? {
            self.learner.record(&prediction);
            self.drift.add(prediction.kind, -prediction.probability.max(LEAST_PROBABILITY).ln());
        }
        self.openness.observe(&question, &features, example.seq, &example.feedback);
        self.probes.rated(&question.id);
        self.fresh.push_back(example.seq);
        self.owed = (self.owed + self.parts.hearing.minibatches_per_event).min(self.parts.hearing.most_owed);
        self.freeze(example.seq, closedness);
        self.replay.push(example);
        Ok(true)
    }

    fn freeze(&mut self, seq: u64, closedness: Closedness) {
        self.frozen.insert(seq, closedness);
        if self.frozen.len() > self.replay.len() + UNPRUNED {
            let replay = &self.replay;
            self.frozen.retain(|known, _| *known == seq || replay.contains(*known));
        }
    }

    /// An event that may have been heard was taken back: it is not drawn any more, but what it taught stays until a
    /// rebuilt mind takes over.
    pub(crate) fn take_back(&mut self, retraction: &Retraction) {
        self.replay.remove(retraction.of);
        self.openness.forget(&retraction.id);
        self.fresh.retain(|seq| *seq != retraction.of);
        let clean = self.dirty.unwrap_or(self.up_to).min(retraction.at.saturating_sub(1));
        self.dirty = Some(clean);
    }

    /// Frees the trunk states in the replay, for a rebuilt mind that will want the room.
    pub(crate) fn make_room(&mut self) {
        self.replay.keep_states_of(0);
    }

    /// Puts an event that was learned from before a restart back into the replay. Says whether its answers are kept.
    pub(super) fn recall(&mut self, event: DurableFeedback) -> Result<bool, MindError> {
        let Some(mut example) = self.example(event)? else { return Ok(false) };
        if let Some(closedness) = self.frozen.get(&example.seq) {
            example.closedness = closedness.p;
        }
        self.replay.recall(example);
        Ok(true)
    }

    /// The event with the answers that it names; `None` where nothing is learned from it.
    fn example(&self, event: DurableFeedback) -> Result<Option<RewardExample>, MindError> {
        let DurableFeedback { seq, feedback } = event;
        if matches!(feedback.kind, FeedbackKind::Retract { .. }) {
            return Ok(None);
        }
        let mut answers = Vec::new();
        for id in feedback.answers() {
            let Some(answer) = self.parts.answers.find(id)? else {
                tracing::warn!(seq, answer = id, "feedback on an answer that is no longer kept is not learned from");
                return Ok(None);
            };
            let mut answer = Rollout::clone(&answer);
            if self.rebuilding {
                answer.trunk = TrunkStates::Absent;
            }
            answers.push(answer);
        }
        let mut lines = Vec::new();
        match (&feedback.kind, answers.first()) {
            (FeedbackKind::Edit { text, .. }, Some(original)) => {
                let edited = self.parts.wording.edited(seq, original, text)?;
                answers.push(edited);
            }
            (FeedbackKind::Steps { marks, .. }, Some(answer)) => {
                lines = self.parts.wording.lines(answer);
                if marks.iter().rposition(Option::is_some).is_some_and(|last| last >= lines.len()) {
                    tracing::warn!(
                        seq,
                        lines = lines.len(),
                        "marks of lines that an answer does not have are not learned"
                    );
                    return Ok(None);
                }
            }
            _ => {}
        }
        // Until it is decided by what is known of the question.
        let closedness = self.parts.openness.default;
        Ok(Some(RewardExample { seq, answers, feedback, closedness, lines }))
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

    /// These events are to be learned from alone before they stand among others again.
    pub(super) fn suspect(&mut self, events: BTreeSet<u64>) {
        self.suspects = events;
    }

    /// The event is not learned from (any more); what it taught stays.
    pub(super) fn leave_out(&mut self, seq: u64) {
        self.replay.remove(seq);
        self.fresh.retain(|fresh| *fresh != seq);
        self.suspects.remove(&seq);
    }

    /// Learns one minibatch. One short unit; `None` when nothing can be learned.
    #[cfg(test)]
    pub(crate) fn learn(&mut self) -> Result<Option<Learned>, MindError> {
        let chosen = self.choose();
        chosen.map(|chosen| self.learn_from(chosen)).transpose()
    }

    /// The next minibatch, the oldest new events first in it; a suspect goes alone and before all. `None` when nothing can
    /// be learned.
    pub(crate) fn choose(&mut self) -> Option<Chosen> {
        let mut stream = Stream::new(self.parts.seed, Purpose::Replay, self.learner.version());
        while let Some(seq) = self.suspects.iter().copied().find(|seq| self.replay.contains(*seq)) {
            self.suspects.remove(&seq);
            let batch = self.replay.minibatch(&[seq], 1, &mut stream);
            if !batch.is_empty() {
                let (fresh, later) = self.fresh.drain(..).partition::<Vec<u64>, _>(|fresh| *fresh == seq);
                self.fresh = later.into();
                return Some(Chosen { batch, fresh, proof: Some(seq) });
            }
        }
        self.owed = (self.owed - 1.0).max(0.0);
        let fresh: Vec<u64> = self.fresh.drain(..self.fresh.len().min(self.batch_size())).collect();
        let batch = self.replay.minibatch(&fresh, self.batch_size(), &mut stream);
        (!batch.is_empty()).then_some(Chosen { batch, fresh, proof: None })
    }

    /// Learns from a minibatch. One short unit.
    pub(crate) fn learn_from(&mut self, chosen: Chosen) -> Result<Learned, MindError> {
        let Chosen { mut batch, fresh, .. } = chosen;
        for example in &mut batch {
            self.learner.fill_states(&mut example.answers)?;
            self.replay.keep_states(example);
        }
        let mut report = self.learner.learn(&batch)?;
        report.version += self.base;
        self.since_normalised += 1;
        self.learned += fresh.len() as u64;
        if !self.rebuilding {
            if self.since_normalised >= self.parts.hearing.normalise_every {
                self.normalise()?;
            }
            let version = self.version();
            self.probes.updated(version, &self.replay, &self.learner, &self.openness);
        }
        Ok(Learned { report, fresh })
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

    /// Whether too little was learned for scores to be worth learning from.
    pub(crate) fn is_ignorant(&self) -> bool {
        self.parts.judge.is_none() && !self.taught && self.learned < self.parts.hearing.ratings_before_scores
    }

    /// Whether the collapse monitor's probes wait to be scored.
    pub(crate) fn has_probes(&self) -> bool {
        self.probes.is_due()
    }

    /// Scores some of the collapse monitor's probes; with the last of them comes a report.
    pub(crate) fn probe(&mut self) -> Result<Option<CollapseReport>, MindError> {
        Ok(self.probes.step(&self.learner)?)
    }

    /// What should worry now.
    pub(crate) fn alarms(&self) -> Alarms {
        Alarms { collapse: self.probes.latest().is_some_and(|report| report.alarm), drift: self.drift.is_on() }
    }

    /// How the drift alarm stands.
    pub(crate) fn drift(&self) -> DriftReport {
        self.drift.report()
    }

    /// How well events were foretold.
    pub(crate) fn prequential(&self) -> &PrequentialStats {
        self.learner.stats()
    }
}
