//! The reward model: which of a question's answers people voted up.
//!
//! Invariant: votes on questions of one part alone are learned from: training questions, or those held back for a judge.
//! Held-out questions give accuracy, beside what length and age alone would give. Frozen layers read each answer once and keep
//! only what the head reads of it.

use std::sync::Arc;

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use understudy_learning::LearnerState;
use understudy_learning::reward::logistic::softplus;
use understudy_learning::reward::openness::spike_slab::{log_likelihood, posterior_mean};
use understudy_learning::reward::{ReliabilityConfig, RewardConfig, RewardExample, RewardLearner};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Feedback, FeedbackKind, Prompt, Question, Rollout, TrunkStates};

use super::credit::Credits;
use super::material::{self, Gathered, answer, as_read, asked, prompt};
use super::sft::shared_settings;
use super::{Look, Phase, Settings};
use crate::bell::Bell;
use crate::config::Config;
use crate::corpus::{Corpus, Post, Thread};
use crate::evaluation::answers::{Answers, ask, finished};
use crate::failure::Failure;
use crate::preferences::accuracy::Accuracy;
use crate::preferences::{Exposure, Rule, Scoring, VotedPair, VotedQuestion};
use crate::sources::Split;
use crate::speaker::Speaker;

/// Strength of the prior opinion that a question is as likely open-ended as closed-ended.
const PRIOR_RATINGS: f64 = 4.0;

/// Learning from votes.
pub struct RewardPhase {
    learner: RewardLearner,
    train: Vec<Voted>,
    held_out: Vec<Voted>,
    batch: usize,
    seed: u64,
    rule: Rule,
    /// What a learner that has heard nobody saves of annotators.
    nobody: Value,
    /// Settings that it depends on.
    pub settings: Settings,
    /// Whom it owes to.
    pub credits: Credits,
    /// The learner's settings.
    pub config: RewardConfig,
    /// Training questions left out because they are held out elsewhere.
    pub doubles: usize,
}

/// A voted question whose answers are tokens.
struct Voted {
    votes: VotedQuestion,
    pairs: Vec<VotedPair>,
    /// One an answer of `votes`.
    answers: Vec<Rollout>,
    closedness: f64,
    /// From 1, for training questions: the place in the first epoch.
    seq: u64,
    /// Whether the head's reading is known.
    digested: bool,
}

/// The question with some of its answers that have a text: what is compared, in one place.
fn voted(thread: &Thread, config: &Config) -> VotedQuestion {
    let mut votes = VotedQuestion::of_thread(thread);
    votes.answers.iter_mut().for_each(|answer| answer.text = as_read(&answer.text, config).into_owned());
    votes.answers.retain(|answer| !answer.text.trim().is_empty());
    votes.question = asked(thread, config);
    votes.at_most(config.phases.compared)
}

/// P(closed-ended) by how the votes are spread between the answers: log votes on a scale from 0 to 1 as means whose
/// variance is that of a Poisson count.
fn closedness(votes: &VotedQuestion) -> f64 {
    let counts: Vec<f64> = votes.answers.iter().map(|answer| answer.score.max(0) as f64).collect();
    let most = counts.iter().copied().fold(1.0, f64::max).ln_1p();
    let means: Vec<f64> = counts.iter().map(|count| count.ln_1p() / most).collect();
    let variances: Vec<f64> = counts.iter().map(|count| 1.0 / (1.0 + count) / (most * most)).collect();
    posterior_mean(&log_likelihood(&means, &variances), 0.5, PRIOR_RATINGS)
}

/// The learner's settings: all voters together are one voice.
fn settings_of(config: &Config) -> RewardConfig {
    let reliability = ReliabilityConfig { learn: false, ..config.reward.learner.reliability.clone() };
    RewardConfig { reliability, ..config.reward.learner.clone() }
}

impl RewardPhase {
    /// Of the corpora's questions of part `learned`, above the speaker's layers.
    pub fn new(config: &Config, corpora: &[Corpus], speaker: &Speaker, learned: Split) -> Result<Self, Failure> {
        let phases = &config.phases;
        let rule = Rule {
            scoring: phases.scores,
            later_won: phases.later_won,
            most_pairs: usize::MAX,
            temperature: Rule::default().temperature,
        };
        let exposure = Exposure::needed(phases.scores, corpora, config.source.shares(), learned)
            .map_err(|error| Failure::Failed(error.into()))?;
        let comparable = |thread: &Thread| !voted(thread, config).voted_pairs(&rule, &exposure).is_empty();
        let Gathered { train, held_out, doubles } = material::gather(config, corpora, learned, comparable)?;
        let mut credits = Credits::of_model(&config.model.path)?;
        let mut next = 0;
        let mut tokens = |threads: &[Thread]| -> anyhow::Result<Vec<Voted>> {
            threads.iter().map(|thread| Voted::of(thread, speaker, config, (&rule, &exposure), &mut next)).collect()
        };
        let (mut known, held_out) = (tokens(&train)?, tokens(&held_out)?);
        for (thread, known) in train.iter().zip(&known) {
            let ids: Vec<&str> = known.votes.answers.iter().map(|answer| answer.id.as_str()).collect();
            let is_compared = |post: &&Post| ids.contains(&format!("{}/{}", thread.source, post.id).as_str());
            credits.add(thread, thread.answers.iter().filter(is_compared));
        }
        let first = Stream::new(config.seed, Purpose::Shuffle, 0).permutation(known.len());
        first.into_iter().zip(1..).for_each(|(place, seq)| known[place].seq = seq);
        let learner_config = settings_of(config);
        let (trunk, branch) = (speaker.trunk.shallow_clone(), &speaker.branch);
        let learner = RewardLearner::new(trunk, branch, learner_config.clone(), config.seed)
            .map_err(|error| Failure::Failed(error.into()))?;
        let mut settings = shared_settings(config, corpora, speaker, ("reward", &phases.reward));
        let Ok(Value::Object(keys)) = serde_json::to_value(&learner_config) else {
            return Err(anyhow::anyhow!("the reward model's settings do not write").into());
        };
        settings.extend(keys.into_iter().map(|(key, value)| (format!("reward.{key}"), value)));
        settings.insert("questions of the part".to_owned(), json!(learned.name()));
        settings.insert("phases.compared".to_owned(), json!(phases.compared));
        settings.insert("phases.links".to_owned(), json!(phases.links));
        settings.insert("phases.scores".to_owned(), json!(phases.scores));
        settings.insert("phases.later_won".to_owned(), json!(phases.later_won));
        Ok(Self {
            batch: learner_config.batch_size.max(1),
            nobody: learner.state().scalars["annotators"].take(),
            learner,
            train: known,
            held_out,
            seed: config.seed,
            rule,
            settings,
            credits,
            config: learner_config,
            doubles,
        })
    }

    /// Questions to learn from, and pairs of their answers.
    pub fn size(&self) -> (usize, usize) {
        (self.train.len(), self.train.iter().map(|voted| voted.pairs.len()).sum())
    }

    /// Questions that are looked at.
    pub fn held_out(&self) -> usize {
        self.held_out.len()
    }

    /// A learner at `product` whose scores have mean 0 and variance 1 over usual answers: those of `speaker` to some of the
    /// questions (Ziegler et al. 2019, arXiv 1909.08593, section 2).
    pub fn normalised(
        &mut self,
        product: &LearnerState,
        speaker: &Speaker,
        config: &Config,
    ) -> anyhow::Result<LearnerState> {
        self.learner.restore(product)?;
        let questions: Vec<Question> =
            self.train.iter().take(REFERENCE).map(|voted| voted.votes.question.clone()).collect();
        let answers = ask(speaker, &questions, &config.generation, SAMPLES, config.seed, &ProgressBar::hidden())?;
        let mut reference: Vec<Rollout> = Vec::new();
        for Answers { question, prompt, outputs } in answers {
            let question = Arc::new(question);
            for output in outputs {
                let (id, whole) = (reference.len() as u64, finished(&output));
                let prompt = Prompt { question: question.clone(), tokens: prompt.clone() };
                reference.push(Rollout::written(id, 0, prompt, output.tokens, output.text, whole));
            }
        }
        self.learner.normalise(&reference)?;
        let mut state = self.learner.state();
        // All voters together were one voice, which nobody will speak with again.
        state.scalars["annotators"] = self.nobody.clone();
        Ok(state)
    }
}

/// Questions over whose answers scores are normalised.
const REFERENCE: usize = 32;
/// Answers to each of them.
const SAMPLES: usize = 2;

impl Voted {
    fn of(
        thread: &Thread,
        speaker: &Speaker,
        config: &Config,
        (rule, exposure): (&Rule, &Exposure),
        next: &mut u64,
    ) -> anyhow::Result<Self> {
        let votes = voted(thread, config);
        let question = Arc::new(votes.question.clone());
        let tokens = prompt(speaker, &question, config)?;
        let group = *next;
        let mut answers = Vec::new();
        for one in &votes.answers {
            let (own, whole) = answer(speaker, &one.text, config)?;
            let prompt = Prompt { question: question.clone(), tokens: tokens.clone() };
            answers.push(Rollout::written(*next, group, prompt, own, one.text.clone(), whole));
            *next += 1;
        }
        let pairs = votes.voted_pairs(rule, exposure);
        let closedness = thread.closedness.unwrap_or_else(|| closedness(&votes));
        Ok(Self { votes, pairs, answers, closedness, seq: 0, digested: false })
    }

    fn digest(&mut self, learner: &RewardLearner) -> anyhow::Result<()> {
        if !self.digested {
            self.digested = learner.digest(&mut self.answers)?;
        }
        Ok(())
    }

    /// A weak order of all answers by their votes, or each pair that the rule compares.
    fn events(&self, rule: &Rule) -> Vec<RewardExample> {
        let name = |place: usize| self.answers[place].id;
        let kinds = if rule.later_won || rule.scoring != Scoring::Votes {
            let pair = |pair: &VotedPair| FeedbackKind::Pair {
                better: name(pair.better),
                worse: name(pair.worse),
                strength: 1.0,
            };
            self.pairs.iter().map(pair).collect()
        } else {
            let levels = self.votes.levels().into_iter().map(|level| level.into_iter().map(name).collect());
            vec![FeedbackKind::Ranking { levels: levels.collect() }]
        };
        let example = |(place, kind): (usize, FeedbackKind)| {
            let seq = self.seq * MOST_PAIRS + place as u64;
            let feedback =
                Feedback { id: format!("votes-{seq}"), annotator: "voters".to_owned(), at: 0, kind, why: None };
            let answers = self.answers.clone();
            RewardExample { seq, answers, feedback, closedness: self.closedness, lines: Vec::new() }
        };
        kinds.into_iter().enumerate().map(example).collect()
    }
}

/// Pairs of one question, at most: 64 answers.
const MOST_PAIRS: u64 = 64 * 63 / 2;

impl Phase for RewardPhase {
    fn step(&mut self, step: u64, stop: &Bell) -> anyhow::Result<Option<Map<String, Value>>> {
        let batches = self.train.len().div_ceil(self.batch) as u64;
        let order = Stream::new(self.seed, Purpose::Shuffle, step / batches).permutation(self.train.len());
        let first = (step % batches) as usize * self.batch;
        let places = &order[first..order.len().min(first + self.batch)];
        let mut events = Vec::new();
        for &place in places {
            if stop.is_rung() {
                return Ok(None);
            }
            self.train[place].digest(&self.learner)?;
            events.extend(self.train[place].events(&self.rule));
        }
        let report = self.learner.learn(&events)?;
        let mut figures = Map::new();
        figures.insert("loss".to_owned(), json!(report.likelihood_loss));
        if let Value::Object(all) = serde_json::to_value(report)? {
            figures.extend(all);
        }
        Ok(Some(figures))
    }

    fn look(&mut self, stop: &Bell) -> anyhow::Result<Option<Look>> {
        let (mut losses, mut own, mut longer, mut older) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for voted in &mut self.held_out {
            if stop.is_rung() {
                return Ok(None);
            }
            voted.digest(&self.learner)?;
            let scores: Vec<f64> = self.learner.score(&voted.answers)?.iter().map(|score| score.score).collect();
            // −log σ(difference), the mean over the question's pairs: each question weighs the same.
            let loss = |pair: &VotedPair| softplus(scores[pair.worse] - scores[pair.better]);
            losses.push(voted.pairs.iter().map(loss).sum::<f64>() / voted.pairs.len() as f64);
            own.push(voted.votes.right(&voted.pairs, |place| scores[place]));
            longer.push(voted.votes.longer_is_right(&voted.pairs));
            older.push(voted.votes.older_is_right(&voted.pairs));
        }
        let [own, longer, older] = [own, longer, older].map(|tallies| Accuracy::of(&tallies));
        let loss = losses.iter().sum::<f64>() / losses.len() as f64;
        let figures = json!({
            "loss": loss,
            "accuracy": own.share,
            "standard_error": own.error,
            "accuracy_of_the_longer": longer.share,
            "standard_error_of_the_longer": longer.error,
            "accuracy_of_the_older": older.share,
            "standard_error_of_the_older": older.error,
            "pairs": own.pairs,
            "questions": own.questions,
        });
        let Value::Object(figures) = figures else { return Ok(None) };
        Ok(Some(Look { loss, figures }))
    }

    fn state(&self) -> LearnerState {
        self.learner.state()
    }

    fn restore(&mut self, state: LearnerState) -> anyhow::Result<()> {
        self.train.iter_mut().chain(&mut self.held_out).for_each(|voted| {
            voted.digested = false;
            voted.answers.iter_mut().for_each(|answer| answer.trunk = TrunkStates::Absent);
        });
        Ok(self.learner.restore(&state)?)
    }

    fn product(&self) -> LearnerState {
        self.learner.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::tests::config;
    use crate::speaker::Which;

    #[test]
    fn votes_are_learned_the_right_way_round_and_each_baseline_is_told_under_its_name() {
        let folder = tempfile::TempDir::new().unwrap();
        let config = config(&folder, &[("reward.head_learning_rate", "3e-2")]);
        let corpora = crate::cli::corpora::chosen(&config.data.dir, &[]).unwrap();
        let speaker = Speaker::load(&config, &Which::Base).unwrap();
        let mut phase = RewardPhase::new(&config, &corpora, &speaker, Split::Train).unwrap();
        (0..60).for_each(|step| drop(phase.step(step, &Bell::default()).unwrap()));
        let tally = |voted: &Voted| {
            let scores = phase.learner.score(&voted.answers).unwrap();
            voted.votes.right(&voted.pairs, |place| scores[place].score)
        };
        let learned = Accuracy::of(&phase.train.iter().map(tally).collect::<Vec<_>>());
        assert!(learned.share > 0.6, "{learned:?}");
        let look = phase.look(&Bell::default()).unwrap().unwrap().figures;
        let of = |right: fn(&Voted) -> crate::preferences::accuracy::Tally| {
            Accuracy::of(&phase.held_out.iter().map(right).collect::<Vec<_>>()).share
        };
        let longer = of(|voted| voted.votes.longer_is_right(&voted.pairs));
        let older = of(|voted| voted.votes.older_is_right(&voted.pairs));
        assert!(longer != older, "they can be told apart");
        assert_eq!(
            (look["accuracy_of_the_longer"].as_f64(), look["accuracy_of_the_older"].as_f64()),
            (Some(longer), Some(older))
        );
    }
}
