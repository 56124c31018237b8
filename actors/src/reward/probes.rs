//! What the collapse monitor looks at: answers that were learned from, and answers that nobody has judged.
//!
//! Invariant: a held-out probe's question was never rated; it leaves with the first rating. At most
//! [`HearingConfig::monitor_probes`] questions of each class (closed, open) and side (learned, held out) are kept or
//! scored, in units of at most [`UNIT_TOKENS`] tokens or one question.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use understudy_learning::LearningError;
use understudy_learning::reward::collapse::{CollapseReport, Monitor, Probe, TrainProbe};
use understudy_learning::reward::losses::utility::Utility;
use understudy_learning::reward::losses::weak_order::{WeightedPair, pairs_of_ranks};
use understudy_learning::reward::openness::Openness;
use understudy_learning::reward::{RewardExample, RewardLearner};
use understudy_learning::stages::{AnswerId, FeedbackKind, Question, Rollout, TrunkStates};
use understudy_model::hash::fnv1a;

use super::hearing::HearingConfig;
use super::mind::MindError;
use super::replay::Replay;
use crate::answers::Answers;

/// Tokens scored in one unit, unless one question has more.
const UNIT_TOKENS: usize = 2048;
/// Least linked answers to a question: with fewer all utilities have the same optimum.
const LEAST_ANSWERS: usize = 4;
/// Most answers to a question: more would take long to find the optimum of.
const MOST_ANSWERS: usize = 16;
/// Rated questions that are remembered, newest first out last.
const MOST_RATED: usize = 65_536;

/// A question that nobody has judged.
struct HeldOut {
    question: Arc<Question>,
    features: Vec<f32>,
    answers: Vec<Rollout>,
}

/// A probe whose answers are still to be scored.
struct Waiting {
    answers: Vec<Rollout>,
    probe: Probe,
    /// Of its loss; none when held out.
    utility: Option<Utility>,
}

/// A report in the making.
#[derive(Default)]
struct Run {
    update: u64,
    waiting: Vec<Waiting>,
    train: Vec<TrainProbe>,
    held_out: Vec<Probe>,
}

/// The probes and the monitor that is fed with them.
pub(super) struct Probes {
    monitor: Monitor,
    every: u64,
    per_class: usize,
    since: u64,
    held_out: Vec<HeldOut>,
    /// Hashes of rated questions.
    rated: BTreeSet<u64>,
    rated_in_order: VecDeque<u64>,
    run: Option<Run>,
}

impl Probes {
    /// Probes of a run with this seed.
    pub(super) fn new(config: &HearingConfig, seed: u64) -> Self {
        Self {
            monitor: Monitor::new(seed),
            every: config.monitor_every,
            per_class: config.monitor_probes,
            since: 0,
            held_out: Vec::new(),
            rated: BTreeSet::new(),
            rated_in_order: VecDeque::new(),
            run: None,
        }
    }

    /// The newest report.
    pub(super) fn latest(&self) -> Option<&CollapseReport> {
        self.monitor.latest()
    }

    /// Questions held out.
    #[cfg(test)]
    pub(super) fn held_out_len(&self) -> usize {
        self.held_out.len()
    }

    /// Takes scored answers to one request as a held-out probe where there is room and their question was never rated.
    pub(super) fn offer(
        &mut self,
        answers: &[Rollout],
        learner: &RewardLearner,
        openness: &Openness,
    ) -> Result<(), LearningError> {
        let Some(first) = answers.first() else { return Ok(()) };
        let question = &first.prompt.question;
        let is_full = self.held_out.len() >= 2 * self.per_class;
        let known = || self.held_out.iter().any(|one| one.question.id == question.id);
        let usable = (LEAST_ANSWERS..=MOST_ANSWERS).contains(&answers.len());
        if self.every == 0 || is_full || !usable || self.rated.contains(&fnv1a(question.id.bytes())) || known() {
            return Ok(());
        }
        let features = prompt_features(learner, first)?;
        let is_closed = |question: &Question, features: &[f32]| openness.decide(question, features).p > 0.5;
        let class = is_closed(question, &features);
        let of_class = self.held_out.iter().filter(|one| is_closed(&one.question, &one.features) == class).count();
        if of_class < self.per_class {
            self.held_out.push(HeldOut { question: question.clone(), features, answers: answers.to_vec() });
        }
        Ok(())
    }

    /// A question was rated: it is not held out (any more).
    pub(super) fn rated(&mut self, question: &str) {
        self.held_out.retain(|one| one.question.id != question);
        let hash = fnv1a(question.bytes());
        if self.rated.insert(hash) {
            self.rated_in_order.push_back(hash);
        }
        if self.rated_in_order.len() > MOST_RATED
            && let Some(oldest) = self.rated_in_order.pop_front()
        {
            self.rated.remove(&oldest);
        }
    }

    /// Counts an update of the reward model to `version`; when a report is due, its probes are gathered.
    pub(super) fn updated(&mut self, version: u64, replay: &Replay, learner: &RewardLearner, openness: &Openness) {
        self.since += 1;
        if self.every == 0 || self.since < self.every || self.run.is_some() {
            return;
        }
        self.since = 0;
        let mut waiting = learned(replay, learner, self.per_class);
        waiting.extend(self.held_out.iter().map(|one| Waiting {
            answers: one.answers.clone(),
            probe: Probe { closedness: openness.decide(&one.question, &one.features).p, ..Probe::default() },
            utility: None,
        }));
        self.run = Some(Run { update: version, waiting, ..Run::default() });
    }

    /// Whether probes wait to be scored.
    pub(super) fn is_due(&self) -> bool {
        self.run.is_some()
    }

    /// Scores some of the waiting probes; with the last of them comes the report, where there is enough for one.
    pub(super) fn step(&mut self, learner: &RewardLearner) -> Result<Option<CollapseReport>, LearningError> {
        let Some(run) = &mut self.run else { return Ok(None) };
        let mut tokens = 0;
        while tokens < UNIT_TOKENS
            && let Some(Waiting { answers, mut probe, utility }) = run.waiting.pop()
        {
            tokens += answers.iter().map(|one| one.prompt.tokens.len() + one.tokens.len()).sum::<usize>();
            probe.rewards = learner.rewards(&answers)?;
            match utility {
                Some(utility) => run.train.push(TrainProbe { probe, utility }),
                None => run.held_out.push(probe),
            }
        }
        if !run.waiting.is_empty() {
            return Ok(None);
        }
        let Run { update, train, held_out, .. } = self.run.take().unwrap_or_default();
        self.monitor.observe(update, &train, &held_out)
    }

    /// The history, the rated questions and the held-out probes, whose answers stand by their ids. A report in the making
    /// is not in it.
    pub(super) fn state(&self) -> Value {
        let ids = |one: &HeldOut| one.answers.iter().map(|answer| answer.id).collect::<Vec<AnswerId>>();
        let mut state = self.monitor.state();
        state["rated"] = self.rated_in_order.iter().copied().collect::<Vec<u64>>().into();
        state["since"] = self.since.into();
        state["held_out"] = self.held_out.iter().map(ids).collect::<Vec<_>>().into();
        state
    }

    /// Takes over what [`Probes::state`] gave. A held-out probe of which an answer is no longer kept is left out.
    pub(super) fn restore(
        &mut self,
        state: &Value,
        answers: &Answers,
        learner: &RewardLearner,
    ) -> Result<(), MindError> {
        self.monitor.restore(state)?;
        let rated = state["rated"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        self.rated_in_order = rated.collect();
        self.rated = self.rated_in_order.iter().copied().collect();
        self.since = state["since"].as_u64().unwrap_or(0);
        self.held_out.clear();
        for ids in state["held_out"].as_array().into_iter().flatten() {
            let ids = ids.as_array().into_iter().flatten().filter_map(Value::as_u64);
            let found = ids.map(|id| answers.find(id)).collect::<Result<Option<Vec<_>>, _>>()?;
            let Some(found) = found.filter(|found| !found.is_empty()) else { continue };
            let without_states =
                |answer: Arc<Rollout>| Rollout { trunk: TrunkStates::Absent, ..Rollout::clone(&answer) };
            let answers: Vec<Rollout> = found.into_iter().map(without_states).collect();
            let (question, features) = (answers[0].prompt.question.clone(), prompt_features(learner, &answers[0])?);
            self.held_out.push(HeldOut { question, features, answers });
        }
        Ok(())
    }
}

/// `[D]` features of the answer's prompt; nothing of an empty one.
pub(super) fn prompt_features(learner: &RewardLearner, answer: &Rollout) -> Result<Vec<f32>, LearningError> {
    if answer.prompt.tokens.is_empty() { Ok(Vec::new()) } else { learner.prompt_features(answer) }
}

/// What was said of the answers to one question.
#[derive(Default)]
struct Linked<'a> {
    answers: Vec<&'a Rollout>,
    pairs: Vec<WeightedPair>,
    /// Sum and count of grades by answer.
    grades: BTreeMap<AnswerId, (f64, f64)>,
    closedness: f64,
    events: f64,
    newest: u64,
}

impl<'a> Linked<'a> {
    fn place(&mut self, example: &'a RewardExample, id: AnswerId) -> Option<usize> {
        if let Some(at) = self.answers.iter().position(|answer| answer.id == id) {
            return Some(at);
        }
        self.answers.push(example.answers.iter().find(|answer| answer.id == id)?);
        Some(self.answers.len() - 1)
    }

    fn add(&mut self, example: &'a RewardExample) {
        let ordered: Vec<(i64, AnswerId)> = match &example.feedback.kind {
            FeedbackKind::Pair { better, worse, .. } => vec![(0, *better), (1, *worse)],
            FeedbackKind::Ranking { levels } => {
                let level = |(rank, ids): (usize, &Vec<AnswerId>)| {
                    ids.iter().map(move |id| (rank as i64, *id)).collect::<Vec<_>>()
                };
                levels.iter().enumerate().flat_map(level).collect()
            }
            _ => {
                if let Some((answer, position)) = example.feedback.grade() {
                    self.grade(answer, position);
                }
                return;
            }
        };
        let places: Option<Vec<usize>> = ordered.iter().map(|(_, id)| self.place(example, *id)).collect();
        let Some(places) = places else { return };
        let ranks: Vec<i64> = ordered.iter().map(|(rank, _)| *rank).collect();
        let weight = 2.0 / ranks.len() as f64;
        let pairs = pairs_of_ranks(&ranks).into_iter();
        self.pairs.extend(pairs.map(|pair| WeightedPair {
            better: places[pair.better],
            worse: places[pair.worse],
            weight,
        }));
        self.closedness += example.closedness;
        self.events += 1.0;
        self.newest = self.newest.max(example.seq);
    }

    fn grade(&mut self, answer: AnswerId, position: f64) {
        let sums = self.grades.entry(answer).or_default();
        (sums.0, sums.1) = (sums.0 + position, sums.1 + 1.0);
    }

    /// Whether all its answers are linked by pairs, and enough and not too many they are.
    fn is_usable(&self) -> bool {
        let mut reached = BTreeSet::from([0]);
        for _ in 0..self.answers.len() {
            for pair in &self.pairs {
                if reached.contains(&pair.better) || reached.contains(&pair.worse) {
                    reached.extend([pair.better, pair.worse]);
                }
            }
        }
        (LEAST_ANSWERS..=MOST_ANSWERS).contains(&self.answers.len()) && reached.len() == self.answers.len()
    }

    fn mean_grades(&self) -> Option<Vec<f64>> {
        self.answers.iter().map(|answer| self.grades.get(&answer.id).map(|(sum, count)| sum / count)).collect()
    }
}

/// Questions of the replay with enough answers that are linked by orders, the newest of each class.
fn learned(replay: &Replay, learner: &RewardLearner, per_class: usize) -> Vec<Waiting> {
    let mut by_question: BTreeMap<&str, Linked<'_>> = BTreeMap::new();
    for example in replay.examples() {
        if let Some(answer) = example.answers.first() {
            by_question.entry(answer.prompt.question.id.as_str()).or_default().add(example);
        }
    }
    let mut linked: Vec<Linked<'_>> = by_question.into_values().filter(Linked::is_usable).collect();
    linked.sort_by_key(|one| std::cmp::Reverse(one.newest));
    let mut left = [per_class; 2];
    let mut waiting = Vec::new();
    for one in linked {
        let closedness = one.closedness / one.events.max(1.0);
        let left = &mut left[usize::from(closedness > 0.5)];
        if *left == 0 {
            continue;
        }
        *left -= 1;
        let config = learner.config();
        let probe = Probe { closedness, ratings: one.mean_grades(), pairs: one.pairs.clone(), ..Probe::default() };
        let answers = one.answers.into_iter().cloned().collect();
        let utility = Some(config.utility.of(closedness));
        waiting.push(Waiting { answers, probe, utility });
    }
    waiting
}
