//! The policy learns from a reward model that stays as it is, on training questions.
//!
//! Invariant: an update is a function of the learner's state and the step: questions, seeds and the reward model are given
//! by them. Held-out questions are answered with the same seeds at each look and never learned from. Scores are in standard
//! deviations of those of the answers to held-out questions before learning.

use std::sync::Arc;

use anyhow::Context;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};
use understudy_learning::LearnerState;
use understudy_learning::ppo::{PpoLearner, Progress};
use understudy_learning::reward::RewardLearner;
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Prompt, Rollout, Sampling, ScoredRollout, TrunkStates, VersionSpan};
use understudy_learning::state::{get_f64, put_f64};
use understudy_learning::tensors::{answer_positions, rollout_states};
use understudy_model::{
    Branch, Engine, EngineConfig, Event, Output, Request, SamplingParams, TextCodec, Trunk, digest, token_logprobs,
};

use super::credit::Credits;
use super::folder::RewardFolder;
use super::material::{self, Gathered, asked, prompt};
use super::sft::{policy_only, shared_settings};
use super::{Look, Phase, Settings};
use crate::bell::Bell;
use crate::config::Config;
use crate::corpus::{Corpus, Thread};
use crate::evaluation::Estimate;
use crate::failure::Failure;
use crate::sources::{Split, split};
use crate::speaker::{Speaker, engine_config, sampling};

/// Least spread that scores are divided by.
const LEAST_SPREAD: f64 = 1e-6;

/// Proximal policy optimisation on a corpus's questions.
pub struct PpoPhase {
    learner: PpoLearner,
    reward: RewardLearner,
    train: Vec<Prompt>,
    held_out: Vec<Prompt>,
    trunk: Trunk,
    text: TextCodec,
    eos: Vec<i64>,
    device: tch::Device,
    engine: EngineConfig,
    params: SamplingParams,
    samples: usize,
    questions: usize,
    seed: u64,
    logit_chunk: usize,
    /// Mean and standard deviation of the raw scores before learning.
    scale: Option<(f64, f64)>,
    /// Settings that it depends on.
    pub settings: Settings,
    /// Whom it owes to.
    pub credits: Credits,
    /// Training questions left out because they are held out elsewhere.
    pub doubles: usize,
}

impl PpoPhase {
    /// Of the corpora and the reward model in `folder`, beginning with the speaker's weights.
    pub fn new(
        config: &Config,
        corpora: &[Corpus],
        speaker: &Speaker,
        folder: &std::path::Path,
    ) -> Result<Self, Failure> {
        let read = RewardFolder::read(folder, &speaker.trunk.tensors())?;
        let of = || format!("the reward model '{}'", folder.display());
        let from = digest(&read.state.tensors);
        let reward = read.learner(speaker.trunk.shallow_clone(), &speaker.branch, config.seed).with_context(of)?;
        let Gathered { train, held_out, doubles } = material::gather(config, corpora, Split::Train, |_| true)?;
        let mut credits = Credits::of_model(&config.model.path)?;
        credits.extend(Credits::of_model(folder)?);
        train.iter().for_each(|thread| credits.add(thread, []));
        let prompts = |threads: &[Thread]| -> anyhow::Result<Vec<Prompt>> {
            let one = |thread: &Thread| {
                let question = Arc::new(asked(thread, config));
                Ok(Prompt { tokens: prompt(speaker, &question, config)?, question })
            };
            threads.iter().map(one).collect()
        };
        let mut settings = shared_settings(config, corpora, speaker, ("ppo", &config.phases.ppo));
        settings.insert("the reward model".to_owned(), json!(from));
        let sections =
            [("ppo", serde_json::to_value(&config.ppo)), ("generation", serde_json::to_value(&config.generation))];
        for (section, value) in sections {
            let Ok(Value::Object(keys)) = value else { continue };
            settings.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
        }
        let (trunk, branch) = (speaker.trunk.shallow_clone(), speaker.branch.shallow_clone());
        let generation = &config.generation;
        Ok(Self {
            learner: PpoLearner::new(trunk.shallow_clone(), branch, config.ppo.clone(), config.seed),
            reward,
            train: prompts(&train)?,
            held_out: prompts(&held_out)?,
            trunk,
            text: speaker.text().clone(),
            eos: speaker.loaded.defaults.eos_tokens.clone(),
            device: speaker.device(),
            engine: engine_config(generation),
            params: sampling(generation, 0),
            samples: generation.samples_per_prompt,
            questions: (config.ppo.batch_size / generation.samples_per_prompt).max(1),
            seed: config.seed,
            logit_chunk: config.ppo.logit_chunk,
            scale: None,
            settings,
            credits,
            doubles,
        })
    }

    /// Questions to learn from.
    pub fn size(&self) -> usize {
        self.train.len()
    }

    /// Questions that are looked at.
    pub fn held_out(&self) -> usize {
        self.held_out.len()
    }

    /// Answers of the policy as it is to `prompts`, each with the seed that its place and `what` give; `None` where `stop`
    /// came first.
    fn answers(
        &self,
        prompts: &[&Prompt],
        samples: usize,
        what: &str,
        stop: &Bell,
    ) -> anyhow::Result<Option<Vec<Rollout>>> {
        let policy: Branch = self.learner.policy_snapshot();
        let trunk = self.trunk.shallow_clone();
        let mut engine =
            Engine::new(trunk, policy, self.text.clone(), self.eos.clone(), self.engine.clone(), self.device);
        let params = |place: usize| {
            let seed = split::hash(&format!("{} {what} {place}", self.seed));
            SamplingParams { seed, ..self.params.clone() }
        };
        let mut outputs: Vec<Vec<Option<Output>>> = prompts.iter().map(|_| vec![None; samples]).collect();
        let mut next = 0;
        while next < prompts.len() || !engine.is_idle() {
            if stop.is_rung() {
                return Ok(None);
            }
            while next < prompts.len() && engine.waiting() == 0 {
                let prompt = prompts[next].tokens.clone();
                engine.submit(Request {
                    id: next as u64,
                    prompt,
                    samples,
                    params: params(next),
                    capture_trunk: true,
                })?;
                next += 1;
            }
            for event in engine.step()? {
                if let Event::Finished { request, sample, output } = event {
                    outputs[request as usize][sample] = Some(output);
                }
            }
        }
        let version = self.learner.version();
        let mut rollouts = Vec::new();
        for (place, outputs) in outputs.into_iter().enumerate() {
            let group = (place * samples) as u64;
            let sampling: Sampling = (&params(place)).into();
            for (sample, output) in outputs.into_iter().enumerate() {
                let output = output.context("the generator gave no answer")?;
                let trunk = match output.trunk {
                    Some((values, width)) => TrunkStates::Present { values: Arc::new(values), width },
                    None => TrunkStates::Absent,
                };
                rollouts.push(Rollout {
                    id: group + sample as u64,
                    group,
                    prompt: prompts[place].clone(),
                    tokens: output.tokens,
                    text: output.text,
                    old_logprobs: output.logprobs,
                    kept_mass: output.kept_mass,
                    version_spans: vec![VersionSpan { start: 0, version }],
                    sampling: sampling.clone(),
                    finish: output.finish.into(),
                    trunk,
                });
            }
        }
        Ok(Some(rollouts))
    }

    /// Σ (ln π − ln π₀) over an answer's tokens: an unbiased estimate of the KL to the reference (k1).
    fn divergence(&self, answer: &Rollout) -> anyhow::Result<f64> {
        let _guard = tch::no_grad_guard();
        let reference = self.learner.reference();
        let states = rollout_states(&self.trunk, &[answer])?.remove(0).unsqueeze(0);
        let positions = answer_positions(&[(answer.prompt.tokens.len(), answer.tokens.len())], states.size()[1], false);
        let hidden = reference.hidden(&states);
        let hidden = hidden
            .reshape([-1, hidden.size()[2]])
            .index_select(0, &Tensor::from_slice(&positions).to_device(self.device));
        let targets = Tensor::from_slice(&answer.tokens).to_device(self.device);
        let temperature = self.params.temperature;
        let before = token_logprobs(reference, &hidden, &targets, temperature, self.logit_chunk).logprobs;
        let now: f64 = answer.old_logprobs.iter().map(|logprob| f64::from(*logprob)).sum();
        Ok(now - before.sum(Kind::Double).double_value(&[]))
    }
}

impl Phase for PpoPhase {
    fn step(&mut self, step: u64, stop: &Bell) -> anyhow::Result<Option<Map<String, Value>>> {
        let (mean, spread) = self.scale.context("there was no look before the first step")?;
        let questions = self.questions.min(self.train.len());
        let batches = (self.train.len() / questions) as u64;
        let order = Stream::new(self.seed, Purpose::Shuffle, step / batches).permutation(self.train.len());
        let first = (step % batches) as usize * questions;
        let prompts: Vec<&Prompt> = order[first..first + questions].iter().map(|place| &self.train[*place]).collect();
        let Some(answers) = self.answers(&prompts, self.samples, &format!("step {step}"), stop)? else {
            return Ok(None);
        };
        let scores = self.reward.score(&answers)?;
        let reward_version = self.reward.version();
        let scored = answers.into_iter().zip(scores).map(|(rollout, raw)| ScoredRollout {
            rollout,
            score: (raw.score - mean) / spread,
            reward_std: raw.reward_std / spread,
            reward_version,
        });
        // From here on a signal waits: an update that is half done is no state to go on from.
        let mut update = self.learner.begin_update(scored.collect())?;
        loop {
            if let Progress::Done(report) = self.learner.next_unit(&mut update)? {
                let mut figures = Map::new();
                figures.insert("loss".to_owned(), json!(-report.mean_score));
                if let Value::Object(all) = serde_json::to_value(&*report)? {
                    figures.extend(all);
                }
                return Ok(Some(figures));
            }
        }
    }

    fn look(&mut self, stop: &Bell) -> anyhow::Result<Option<Look>> {
        let prompts: Vec<&Prompt> = self.held_out.iter().collect();
        let Some(answers) = self.answers(&prompts, 1, "look", stop)? else { return Ok(None) };
        let raw: Vec<f64> = self.reward.score(&answers)?.iter().map(|score| score.score).collect();
        let (mean, spread) = *self.scale.get_or_insert_with(|| {
            let mean = raw.iter().sum::<f64>() / raw.len() as f64;
            let variance = raw.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / raw.len() as f64;
            (mean, variance.sqrt().max(LEAST_SPREAD))
        });
        let score = Estimate::of(&raw.iter().map(|score| (score - mean) / spread).collect::<Vec<_>>());
        let divergences = answers.iter().map(|answer| self.divergence(answer)).collect::<Result<Vec<f64>, _>>()?;
        let kl = Estimate::of(&divergences);
        let words = |answer: &Rollout| answer.text.split_whitespace().count() as f64;
        let ended = |answer: &&Rollout| answer.finish == understudy_learning::stages::Finish::EndOfSequence;
        let figures = json!({
            "score": score.mean,
            "standard_error": score.standard_error,
            "kl_per_sequence": kl.mean,
            "standard_error_of_kl": kl.standard_error,
            "words": Estimate::of(&answers.iter().map(words).collect::<Vec<_>>()).mean,
            "finished": answers.iter().filter(ended).count() as f64 / answers.len() as f64,
            "questions": answers.len(),
        });
        let Value::Object(figures) = figures else { return Ok(None) };
        Ok(Some(Look { loss: -score.mean, figures }))
    }

    fn state(&self) -> LearnerState {
        let LearnerState { tensors, scalars } = self.learner.state();
        let mut all = Map::new();
        all.insert("learner".to_owned(), scalars);
        if let Some((mean, spread)) = self.scale {
            put_f64(&mut all, "mean", mean);
            put_f64(&mut all, "spread", spread);
        }
        LearnerState { tensors, scalars: Value::Object(all) }
    }

    fn restore(&mut self, state: LearnerState) -> anyhow::Result<()> {
        let LearnerState { tensors, mut scalars } = state;
        let scale = match scalars.get("mean") {
            Some(_) => Some((get_f64(&scalars, "mean")?, get_f64(&scalars, "spread")?)),
            None => None,
        };
        self.learner.restore(LearnerState { tensors, scalars: scalars["learner"].take() })?;
        self.scale = scale;
        Ok(())
    }

    fn product(&self) -> LearnerState {
        policy_only(&self.learner.policy_snapshot().parameters())
    }
}
