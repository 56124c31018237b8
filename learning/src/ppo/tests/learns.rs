//! The whole of it: an engine that samples, a score, a learner; the score rises, and with noise it does not.
//!
//! Invariant: a function of the seeds.

use tch::Device;
use understudy_model::generate::{Engine, EngineConfig, Event, Output, Request, SamplingParams};
use understudy_model::testing::tiny_llama;
use understudy_model::{TextCodec, build};

use super::*;

const VOCABULARY: usize = 24;
const UPDATES: u64 = 25;
const BATCH: usize = 16;
const JUDGED: usize = 128;
/// Answers that hold this token are good.
const WANTED: i64 = 5;

/// Mean and squared standard error of some answers' scores.
#[derive(Clone, Copy)]
struct Mean {
    mean: f64,
    squared_error: f64,
}

struct World {
    engine: Engine,
    learner: PpoLearner,
    asked: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let (model, weights) = tiny_llama(seed, VOCABULARY, 32, 2);
        let (trunk, branch) = build(&model, &weights, 1, Device::Cpu).unwrap();
        let config = PpoConfig { learning_rate: 2e-3, value_learning_rate: 5e-3, ..PpoConfig::default() };
        let learner = PpoLearner::new(trunk.shallow_clone(), branch, config, seed);
        let bounds = EngineConfig { max_context: 32, ..EngineConfig::default() };
        let snapshot = learner.policy_snapshot();
        let engine = Engine::new(trunk, snapshot, TextCodec::bytes(), model.eos_tokens, bounds, Device::Cpu);
        Self { engine, learner, asked: 0 }
    }

    /// Fresh answers to `n` prompts of a few tokens.
    fn answers(&mut self, n: usize, seed: u64) -> Vec<Rollout> {
        let mut rollouts = Vec::new();
        let mut prompts = std::collections::BTreeMap::new();
        let mut left = n;
        while rollouts.len() < n {
            while left > 0 && self.engine.waiting() < 16 {
                self.asked += 1;
                let mut stream = Stream::new(seed, Purpose::Evaluation, self.asked);
                let prompt: Vec<i64> = (0..4).map(|_| stream.below(VOCABULARY - 3) as i64).collect();
                let seed = seed * 1_000_003 + self.asked;
                let params = SamplingParams { temperature: TEMPERATURE, max_tokens: 8, seed, ..Default::default() };
                let request =
                    Request { id: self.asked, prompt: prompt.clone(), samples: 1, params, capture_trunk: true };
                self.engine.submit(request).unwrap();
                prompts.insert(self.asked, prompt);
                left -= 1;
            }
            for event in self.engine.step().unwrap() {
                if let Event::Finished { request, output, .. } = event {
                    rollouts.push(rollout(request, prompts[&request].clone(), output));
                }
            }
        }
        rollouts
    }

    fn judge(&mut self, seed: u64) -> Mean {
        let scores: Vec<f64> = self.answers(JUDGED, seed).iter().map(|r| contains(&r.tokens)).collect();
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Mean { mean, squared_error: variance / n }
    }

    fn learn(&mut self, score: &dyn Fn(&Rollout) -> f64) -> PpoReport {
        let seed = 1000 + self.learner.version();
        let rollouts = self.answers(BATCH, seed);
        let scored = rollouts.into_iter().map(|rollout| {
            let score = score(&rollout);
            ScoredRollout { rollout, score, reward_std: 0.0, reward_version: 0 }
        });
        let report = run(&mut self.learner, scored.collect());
        self.engine.set_branch(self.learner.policy_snapshot(), report.version);
        report
    }
}

fn rollout(id: u64, prompt: Vec<i64>, output: Output) -> Rollout {
    let finish = match output.finish {
        understudy_model::generate::Finish::EndOfSequence => Finish::EndOfSequence,
        understudy_model::generate::Finish::StopString => Finish::StopString,
        understudy_model::generate::Finish::Length => Finish::Length,
    };
    let (values, width) = output.trunk.expect("asked for");
    Rollout {
        id,
        group: id,
        prompt: Prompt { question: question(), tokens: prompt },
        tokens: output.tokens,
        text: output.text,
        old_logprobs: output.logprobs,
        kept_mass: output.kept_mass,
        version_spans: output
            .spans
            .iter()
            .map(|(start, version)| VersionSpan { start: *start, version: *version })
            .collect(),
        sampling: sampling(0),
        finish,
        trunk: TrunkStates::Present { values: Arc::new(values), width },
    }
}

fn contains(tokens: &[i64]) -> f64 {
    f64::from(u8::from(tokens.contains(&WANTED)))
}

/// Rise of the mean score over three seeds, its standard error, and the greatest KL met.
fn rise(score: &dyn Fn(&Rollout) -> f64) -> (f64, f64, f64) {
    let (mut rise, mut squared_error, mut kl) = (0.0, 0.0, 0f64);
    for seed in 1..=3 {
        let mut world = World::new(seed);
        let before = world.judge(1);
        for _ in 0..UPDATES {
            let report = world.learn(score);
            assert!(report.max_logprob_gap.unwrap() < 1e-4, "server and learner differ: {:?}", report.max_logprob_gap);
            assert!(report.first_ratio_gap < 1e-5 && report.first_clipfrac == 0.0, "{report:?}");
            kl = kl.max(report.kl_per_sequence);
        }
        let after = world.judge(2);
        rise += (after.mean - before.mean) / 3.0;
        squared_error += (after.squared_error + before.squared_error) / 9.0;
    }
    (rise, squared_error.sqrt(), kl)
}

#[test]
fn a_wanted_token_is_learned_and_the_policy_stays_near_the_reference() {
    let (rise, error, kl) = rise(&|rollout| contains(&rollout.tokens));
    assert!(rise > 3.0 * error, "the score rose by {rise} ± {error}");
    assert!(kl < 2.0 * PpoConfig::default().target_kl_per_sequence, "KL {kl}");
}

#[test]
fn noise_for_a_score_teaches_nothing() {
    let noise = |rollout: &Rollout| Stream::new(7, Purpose::Evaluation, rollout.id).uniform().round();
    let (rise, error, _) = rise(&noise);
    assert!(rise < 3.0 * error, "the score rose by {rise} ± {error} from noise");
}
