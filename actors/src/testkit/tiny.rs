//! The whole loop at a size that runs in milliseconds: a tiny random model over bytes, scripted raters, a short source.
//!
//! Invariant: everything is a function of the seed, except for the order of what happens at the same time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use understudy_checkpoints::{Store, StoreConfig};
use understudy_learning::ppo::PpoConfig;
use understudy_learning::reward::RewardConfig;
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Feedback, FeedbackKind, Question, Rollout};
use understudy_model::generate::EngineConfig;
use understudy_model::testing::tiny_model;

use super::values::{question, sampling};
use crate::annotator::{Plan, Rater, RatersClock};
use crate::daemon::{BaseModel, DaemonConfig, DaemonParts, Threads};
use crate::failpoint::Failpoints;
use crate::messages::AnsweredQuestion;
use crate::reward::HearingConfig;
use crate::source::{AskingConfig, ListSource};
use crate::supervision::RestartPolicy;

/// Settings under which the tiny model does an update in a fraction of a second.
pub fn tiny_config(seed: u64) -> DaemonConfig {
    let ppo = PpoConfig {
        batch_size: 8,
        minibatch_size: 4,
        micro_batch_size: 4,
        temperature: 1.0,
        learning_rate: 1e-3,
        value_learning_rate: 1e-3,
        ..PpoConfig::default()
    };
    let asking =
        AskingConfig { samples: 4, sampling: sampling(8), stop: Vec::new(), system: None, max_prompt: 48, rate: 0.0 };
    DaemonConfig {
        seed,
        engine: EngineConfig { max_sequences: 8, max_context: 64, max_waiting: 8, ..EngineConfig::default() },
        asking,
        ppo,
        reward: RewardConfig { learning_rate: 1e-3, head_learning_rate: 3e-3, ..RewardConfig::default() },
        hearing: HearingConfig { reference_answers: 16, ratings_before_scores: 0, ..HearingConfig::default() },
        checkpoint_every: 1,
        restart: RestartPolicy { backoff: Duration::from_millis(5), ..RestartPolicy::default() },
        threads: Threads::Inline,
        ..DaemonConfig::default()
    }
}

/// The tiny model as the daemon wants it.
pub fn tiny_base(seed: u64) -> BaseModel {
    let model = tiny_model(seed);
    let eos = model.config.eos_tokens.clone();
    BaseModel::new(model.trunk, model.branch, model.text, eos)
}

/// The tiny model with a final norm four times as large: a policy that prefers few tokens in each place, as a trained one
/// does. The plain one is nearly uniform over all bytes, so that no answer tells much about another.
pub fn decided_base(seed: u64) -> BaseModel {
    let model = tiny_model(seed);
    for (name, parameter) in model.branch.parameters() {
        if name == "model.norm.weight" {
            tch::no_grad(|| drop(parameter.shallow_clone().g_mul_scalar_(4.0)));
        }
    }
    BaseModel::new(model.trunk, model.branch, model.text, model.config.eos_tokens)
}

/// Everything for a daemon in `dir`: the tiny model, eight questions round and round, and a scripted rater.
pub fn tiny_parts(dir: &Path, seed: u64, rater: Scripted, failpoints: Failpoints) -> DaemonParts {
    let questions: Vec<Question> = (0..8).map(|i| question(&format!("q{i}"))).collect();
    let (store, _) = Store::open(dir, StoreConfig { min_free_bytes: 0, ..StoreConfig::default() })
        .expect("a test's directory is its own");
    let clock = RatersClock { start_ms: 0, began: Instant::now(), scale: 1.0 };
    DaemonParts {
        model: tiny_base(seed),
        store,
        checkpoints: dir.join("checkpoints"),
        sources: vec![Box::new(ListSource::new("list", questions, true))],
        rater: Some((Box::new(rater), clock)),
        judge: None,
        reward_start: None,
        failpoints,
    }
}

/// What a scripted rater thinks of an answer.
pub type Opinion = Arc<dyn Fn(&Rollout) -> f64 + Send + Sync>;

/// One person who ranks all answers to every question at once, by an opinion.
#[derive(Clone)]
pub struct Scripted {
    /// What decides the ranking.
    pub opinion: Opinion,
    /// What is measured.
    pub gold: Opinion,
    /// How long a ranking takes.
    pub delay_ms: u64,
}

impl Scripted {
    /// Says what it measures, at once.
    pub fn honest(gold: Opinion) -> Self {
        Self { opinion: gold.clone(), gold, delay_ms: 1 }
    }
}

impl Rater for Scripted {
    fn plan(&mut self, _: &AnsweredQuestion) -> Vec<Plan> {
        vec![Plan { who: 0, delay_ms: self.delay_ms }]
    }

    fn rate(&mut self, _: usize, answered: &AnsweredQuestion, _: i64) -> Option<Feedback> {
        let mut ranked: Vec<(f64, u64)> = answered.answers.iter().map(|a| ((self.opinion)(a), a.id)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut levels: Vec<Vec<u64>> = Vec::new();
        let mut last = f64::NAN;
        for (value, id) in ranked {
            match levels.last_mut() {
                Some(level) if value == last => level.push(id),
                _ => levels.push(vec![id]),
            }
            last = value;
        }
        let id = format!("scripted-{}", answered.answers.first()?.group);
        let kind = FeedbackKind::Ranking { levels };
        // The same words at any time: given again after a restart it is the same event.
        Some(Feedback { id, annotator: "scripted".to_owned(), at: 0, kind, why: None })
    }

    fn gold(&mut self, _: &Question, answer: &Rollout) -> Option<f64> {
        Some((self.gold)(answer))
    }
}

/// Share of an answer's tokens whose embedding in the tiny model of `seed` has a positive first coordinate: about a half
/// before learning, and something that the model can see.
pub fn bright_tokens(seed: u64) -> Opinion {
    let weights = tiny_model(seed).weights;
    let embedding = weights.get("model.embed_tokens.weight").expect("every Llama has one");
    let first = Vec::<f32>::try_from(embedding.select(1, 0)).expect("a row of numbers");
    Arc::new(move |answer| {
        let bright = answer.tokens.iter().filter(|token| first[**token as usize] > 0.0).count();
        bright as f64 / answer.tokens.len().max(1) as f64
    })
}

/// Numbers of mean 0 and variance 1 that have nothing to do with what an answer says, only with its id.
pub fn noise(seed: u64) -> Opinion {
    Arc::new(move |answer| 12f64.sqrt() * (Stream::new(seed, Purpose::Evaluation, answer.id).uniform() - 0.5))
}
