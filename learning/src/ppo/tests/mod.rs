//! The learner on a tiny model.
//!
//! Invariant: rollouts are sampled here by whole forward passes, so that nothing but the learner is under test.

mod guard;
mod learner;
mod learns;
mod robust;

use std::sync::Arc;

use tch::{Kind, Tensor};
use understudy_model::testing::{TinyModel, tiny_model};
use understudy_model::{Branch, Trunk, trunk_states};

use super::*;
use crate::rng::{Purpose, Stream};
use crate::stages::{Finish, Prompt, Question, Rollout, Sampling, ScoredRollout, TrunkStates, VersionSpan};

/// Whether a token ends an answer: a sixth do, so that answers are ragged.
fn ends(token: Option<&i64>) -> bool {
    token.is_some_and(|token| token % 6 == 0)
}

/// The tests' temperature.
const TEMPERATURE: f64 = 0.7;

fn config() -> PpoConfig {
    PpoConfig { batch_size: 8, minibatch_size: 4, micro_batch_size: 2, logit_chunk: 7, ..PpoConfig::default() }
}

fn learner(config: PpoConfig, seed: u64) -> PpoLearner {
    let TinyModel { trunk, branch, .. } = tiny_model(seed);
    PpoLearner::new(trunk, branch, config, seed)
}

fn sampling(seed: u64) -> Sampling {
    Sampling {
        temperature: TEMPERATURE,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        max_tokens: 6,
        seed,
    }
}

fn question() -> Arc<Question> {
    Arc::new(Question {
        id: "test/1".into(),
        source: "test".into(),
        title: "?".into(),
        body: String::new(),
        tags: Vec::new(),
        author: None,
        url: None,
        licence: None,
        asked_at: 0,
        closedness: None,
        terms: None,
    })
}

/// `n` answers of at most six tokens to prompts of different lengths. `top` keeps the likeliest tokens only (0 keeps
/// all), and the log-probabilities are then over what is kept, as the generator reports them.
fn sample(trunk: &Trunk, policy: &Branch, version: u64, n: usize, seed: u64, top: i64) -> Vec<Rollout> {
    let _guard = tch::no_grad_guard();
    (0..n).map(|i| sample_one(trunk, policy, version, i, seed, top)).collect()
}

fn sample_one(trunk: &Trunk, policy: &Branch, version: u64, i: usize, seed: u64, top: i64) -> Rollout {
    let mut stream = Stream::new(seed, Purpose::Sampling, i as u64);
    let prompt: Vec<i64> = (0..3 + i as i64 % 4).map(|t| 40 + t * 3 + i as i64).collect();
    let (mut tokens, mut old_logprobs, mut kept_mass) = (Vec::new(), Vec::new(), Vec::new());
    while tokens.len() < 6 && !ends(tokens.last()) {
        let all = [prompt.as_slice(), &tokens].concat();
        let hidden = policy.hidden(&trunk_states(trunk, std::slice::from_ref(&all))).get(0).get(all.len() as i64 - 1);
        let full = (policy.logits(&hidden) / TEMPERATURE).softmax(-1, Kind::Double);
        let keep = if top == 0 { full.size()[0] } else { top };
        let (probabilities, ids) = full.topk(keep, 0, true, true);
        let mass = probabilities.sum(Kind::Double).double_value(&[]);
        let probabilities = Vec::<f64>::try_from(&probabilities / mass).unwrap();
        let mut left = stream.uniform();
        let drawn = |p: &f64| {
            left -= p;
            left < 0.0
        };
        let at = probabilities.iter().position(drawn).unwrap_or(0);
        tokens.push(ids.int64_value(&[at as i64]));
        old_logprobs.push(probabilities[at].ln() as f32);
        kept_mass.push(mass as f32);
    }
    let finish = if ends(tokens.last()) { Finish::EndOfSequence } else { Finish::Length };
    let prompt = Prompt { question: question(), tokens: prompt };
    let mut rollout = Rollout {
        id: i as u64,
        group: i as u64,
        prompt,
        tokens,
        text: String::new(),
        old_logprobs,
        kept_mass,
        version_spans: vec![VersionSpan { start: 0, version }],
        sampling: sampling(seed),
        finish,
        trunk: TrunkStates::Absent,
    };
    if i.is_multiple_of(2) {
        // Every other rollout brings its trunk states along.
        let states = trunk_states(trunk, &[rollout.all_tokens()]);
        let width = trunk.width();
        rollout.trunk = TrunkStates::Present { values: Arc::new(Vec::try_from(states.reshape([-1])).unwrap()), width };
    }
    rollout
}

/// A fresh batch of the learner's own policy with scores that depend on the tokens.
fn batch(learner: &PpoLearner, n: usize, seed: u64) -> Vec<ScoredRollout> {
    let policy = learner.policy_snapshot();
    let rollouts = sample(learner.trunk(), &policy, learner.version(), n, seed, 0);
    rollouts
        .into_iter()
        .map(|rollout| score(rollout, |tokens| tokens.iter().sum::<i64>() as f64 / 400.0 - 1.0))
        .collect()
}

fn score(rollout: Rollout, by: impl Fn(&[i64]) -> f64) -> ScoredRollout {
    let score = by(&rollout.tokens);
    ScoredRollout { rollout, score, reward_std: 0.0, reward_version: 0 }
}

fn run(learner: &mut PpoLearner, batch: Vec<ScoredRollout>) -> PpoReport {
    let mut update = learner.begin_update(batch).unwrap();
    finish(learner, &mut update)
}

fn finish(learner: &mut PpoLearner, update: &mut Update) -> PpoReport {
    loop {
        if let Progress::Done(report) = learner.next_unit(update).unwrap() {
            return *report;
        }
    }
}

/// Every tensor of the learner's state as bits.
fn bits(learner: &PpoLearner) -> Vec<(String, Vec<u64>)> {
    let exact = |tensor: &Tensor| {
        let numbers = Vec::<f64>::try_from(tensor.to_kind(Kind::Double).reshape([-1])).unwrap();
        numbers.into_iter().map(f64::to_bits).collect()
    };
    // What the guard keeps is older on purpose.
    let own = |name: &str| !name.starts_with("guard/");
    learner.state().tensors.iter().filter(|(name, _)| own(name)).map(|(name, t)| (name.clone(), exact(t))).collect()
}
