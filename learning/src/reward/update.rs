//! The reward learner: foretells feedback, learns from it in single steps, scores answers.
//!
//! Invariant: a step that would not be finite changes nothing but the count of skipped steps; a saved and restored
//! learner goes on bit for bit.

mod certainty;

use serde::Serialize;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};
use understudy_model::{Branch, Trunk};

use super::calibration::{Prequential, PrequentialStats};
use super::config::RewardConfig;
use super::epistemic::Epistemic;
use super::foretell::{Thresholds, foretell};
use super::likelihood::Scale;
use super::losses::ordinal::{even_thresholds, rising_thresholds};
use super::model::{RewardModel, is_head};
use super::normalise::Normalisation;
use super::objective::{Loss, batch_loss, evidence};
use super::reliability::{AnnotatorReport, Heard, People, Voice};
use super::said::Statements;
use super::terms::{LEVELS, RewardExample, Terms};
use crate::error::LearningError;
use crate::optimiser::AdamW;
use crate::stages::{RewardVersion, Rollout};
use crate::state::{LearnerState, check_tensors, get_f64, get_u64, load_tensors, put_f64, put_tensors, with_prefix};

/// An answer's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RewardScore {
    /// Normalised on the reference answers.
    pub score: f64,
    /// Standard error of the score by the posterior of the last layer, given the reference answers; 0 where
    /// [`RewardConfig::epistemic_dims`] is 0.
    pub reward_std: f64,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RewardReport {
    /// The version after the step.
    pub version: RewardVersion,
    /// Events that said something.
    pub events: usize,
    /// Distinct answers passed through the model.
    pub answers: usize,
    /// Likelihood terms, the mean over events, in nats.
    pub likelihood_loss: f64,
    /// Prompt-aware terms, the mean over their questions; 0 without any.
    pub utility_loss: f64,
    /// Questions with enough linked answers for the prompt-aware utility.
    pub utility_questions: usize,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Share of answers whose sigmoid is beyond 0.01 or 0.99.
    pub saturated: f64,
    /// Whether the step was left out because it was not finite.
    pub skipped: bool,
}

/// Log of Davidson's nu before the first comparison: equals are called so one time in seven.
const FRESH_TIE: f64 = -1.0;
/// Steps in a row that may be skipped before learning is called off.
pub(super) const MOST_SKIPPED: u32 = 3;
/// Answers a pass when only scoring: no activations are kept, so more fit than when learning.
const SCORING_FACTOR: usize = 4;

/// Learns one score an answer from every kind of feedback.
pub struct RewardLearner {
    config: RewardConfig,
    model: RewardModel,
    /// `[LEVELS − 1]` free numbers behind the rising thresholds of grades, `[1]` thresholds of thumbs and of marked
    /// lines, and `[1]` log of Davidson's nu.
    thresholds: Vec<(String, Tensor)>,
    layers: AdamW,
    head: AdamW,
    scale: AdamW,
    normalisation: Normalisation,
    stats: PrequentialStats,
    people: People,
    epistemic: Option<Epistemic>,
    version: RewardVersion,
    skipped: u64,
    skipped_in_a_row: u32,
}

impl RewardLearner {
    /// A learner that starts from the policy's layers (`branch` is copied) under a fresh head drawn from `seed`.
    pub fn new(trunk: Trunk, branch: &Branch, config: RewardConfig, seed: u64) -> Result<Self, LearningError> {
        config.validate()?;
        let model = RewardModel::new(trunk, branch, &config, seed);
        let leaf = |values: &[f64]| {
            Tensor::from_slice(values).to_kind(Kind::Float).to_device(model.device()).set_requires_grad(true)
        };
        let thresholds = vec![
            ("grades".to_owned(), leaf(&even_thresholds(LEVELS))),
            ("thumb".to_owned(), leaf(&[0.0])),
            ("line".to_owned(), leaf(&[0.0])),
            ("tie".to_owned(), leaf(&[FRESH_TIE])),
        ];
        let (dims, prior) = (config.epistemic_dims, config.epistemic_prior);
        let epistemic = (dims > 0).then(|| Epistemic::new(model.features(), dims, prior, seed));
        let (head, layers) = model.parameters().into_iter().partition(|(name, _)| is_head(name));
        Ok(Self {
            layers: AdamW::new(layers, config.adam),
            head: AdamW::new(head, config.adam),
            scale: AdamW::new(clones(&thresholds), config.adam),
            stats: PrequentialStats::new(config.half_life),
            people: People::new(config.reliability.clone()),
            epistemic,
            normalisation: Normalisation::default(),
            version: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            config,
            model,
            thresholds,
        })
    }

    /// Steps done.
    pub fn version(&self) -> RewardVersion {
        self.version
    }

    /// Likelihood terms that the uncertainty of scores left out for numerical reasons.
    pub fn epistemic_skipped(&self) -> u64 {
        self.epistemic.as_ref().map_or(0, Epistemic::skipped)
    }

    /// Steps left out because they were not finite.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How well feedback was foretold so far.
    pub fn stats(&self) -> &PrequentialStats {
        &self.stats
    }

    /// The settings.
    pub fn config(&self) -> &RewardConfig {
        &self.config
    }

    /// Normalised scores of answers, in order.
    pub fn score(&self, rollouts: &[Rollout]) -> Result<Vec<RewardScore>, LearningError> {
        let answers: Vec<&Rollout> = rollouts.iter().collect();
        let (raw, deviations) = self.judged(&answers)?;
        let score = |(raw, deviation): (f64, f64)| RewardScore {
            score: self.normalisation.apply(raw),
            reward_std: self.normalisation.gain * deviation,
        };
        Ok(raw.into_iter().zip(deviations).map(score).collect())
    }

    /// Rewards in `(0, 1)` of answers, in order: the sigmoid of the logit, as the prompt-aware utilities see it.
    pub fn rewards(&self, rollouts: &[Rollout]) -> Result<Vec<f64>, LearningError> {
        let answers: Vec<&Rollout> = rollouts.iter().collect();
        Ok(self.raw_scores(&answers)?.into_iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect())
    }

    /// Computes the trunk states of the rollouts that have none: worth it where they are used more than once.
    pub fn fill_states(&self, rollouts: &mut [Rollout]) -> Result<(), LearningError> {
        self.model.fill_states(rollouts)
    }

    /// Where the layers are frozen: reads all that the head will ever read of these answers and frees their trunk states,
    /// so that thousands of answers can be learned from again and again (12 `D` bytes each instead of 4 `D` a token). They
    /// are good for this learner alone, until it is restored. `false`, and nothing done, where the layers learn.
    pub fn digest(&self, rollouts: &mut [Rollout]) -> Result<bool, LearningError> {
        self.model.digest(rollouts)
    }

    /// What the head reads of each answer, in order: `D` numbers, or `3 D` with [`super::Readout::Joint`].
    pub fn features(&self, rollouts: &[Rollout]) -> Result<Vec<Vec<f32>>, LearningError> {
        let _guard = tch::no_grad_guard();
        let answers: Vec<&Rollout> = rollouts.iter().collect();
        let mut features = vec![Vec::new(); answers.len()];
        for pass in self.model.passes(&answers, self.config.tokens_per_pass * SCORING_FACTOR) {
            let read = Tensor::cat(&self.model.read(&answers, &pass)?, 1).to_device(tch::Device::Cpu);
            for (row, &place) in pass.iter().enumerate() {
                features[place] = Vec::try_from(read.get(row as i64))?;
            }
        }
        Ok(features)
    }

    /// `[D]` mean trunk state over the prompt's tokens, scaled to a root mean square of 1: what a gate on questions
    /// reads. The trunk is frozen, so a question's features never change. An empty prompt is an error.
    pub fn prompt_features(&self, rollout: &Rollout) -> Result<Vec<f32>, LearningError> {
        self.model.prompt_features(rollout)
    }

    /// What is known of each annotator, by name.
    pub fn annotators(&self) -> Vec<AnnotatorReport> {
        self.people.report()
    }

    /// What is expected of the event; `None` where it says nothing about a score. Changes nothing.
    pub fn predict(&self, event: &RewardExample) -> Result<Option<Prequential>, LearningError> {
        Ok(self.predict_all(std::slice::from_ref(event))?.remove(0))
    }

    /// [`RewardLearner::predict`] for several events in one pass.
    pub fn predict_all(&self, events: &[RewardExample]) -> Result<Vec<Option<Prequential>>, LearningError> {
        let terms = Terms::collect(events)?;
        let logits = self.raw_scores(&terms.answers())?;
        let thresholds = self.current_thresholds()?;
        let statements = &terms.statements;
        let voices = self.voices(statements);
        let expect = |(example, event): (usize, &RewardExample)| {
            let voice = &voices[statements.by[example]];
            let said = statements.said[example].as_ref()?;
            let expected = foretell(event.feedback.kind_name(), said, &logits, &thresholds, voice);
            Some(Prequential { heard: Heard::of(event), ..expected })
        };
        Ok(events.iter().enumerate().map(expect).collect())
    }

    fn voices(&self, statements: &Statements) -> Vec<Voice> {
        let names: Vec<&str> = statements.annotators.iter().map(String::as_str).collect();
        self.people.voices(&names)
    }

    /// Counts a prediction in [`RewardLearner::stats`]: once an event, before learning from it.
    pub fn record(&mut self, prediction: &Prequential) {
        self.stats.add(prediction);
        let (choices, right) = prediction.choices();
        self.people.hear(&prediction.heard, prediction.probability, choices, right);
    }

    /// Sets gain and bias so that these answers have scores of mean 0 and variance 1.
    pub fn normalise(&mut self, reference: &[Rollout]) -> Result<Normalisation, LearningError> {
        let answers: Vec<&Rollout> = reference.iter().collect();
        let raw = self.raw_scores(&answers)?;
        if let Some(value) = raw.iter().find(|value| !value.is_finite()) {
            return Err(LearningError::NonFinite { what: "the score of a reference answer", value: *value });
        }
        self.normalisation = Normalisation::from_reference(&raw);
        self.centre_on(&answers)?;
        Ok(self.normalisation)
    }

    /// One optimiser step over a mixed batch; events that say nothing about a score are left out.
    pub fn learn(&mut self, batch: &[RewardExample]) -> Result<RewardReport, LearningError> {
        let terms = Terms::collect(batch)?;
        let events = terms.statements.speaking().len();
        let mut report = RewardReport {
            version: self.version,
            events,
            answers: terms.answers().len(),
            likelihood_loss: 0.0,
            utility_loss: 0.0,
            utility_questions: 0,
            grad_norm: 0.0,
            saturated: 0.0,
            skipped: false,
        };
        if events == 0 {
            return Ok(report);
        }
        let voices = self.voices(&terms.statements);
        let (loss, logits) = self.backward(&terms, &voices)?;
        report.likelihood_loss = loss.likelihood;
        report.utility_loss = loss.utility;
        report.utility_questions = loss.utility_questions;
        report.saturated = saturation(&logits);
        let total = loss.total.double_value(&[]);
        let norms = [self.layers.grad_norm(), self.head.grad_norm(), self.scale.grad_norm()];
        report.grad_norm = norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
        if total.is_finite() && report.grad_norm.is_finite() {
            let heard = |example: &usize| voices[terms.statements.by[*example]].influence() > 0.0;
            let as_tensor = Tensor::from_slice(&logits).to_kind(Kind::Float).to_device(self.model.device());
            let evidence = evidence(&terms.statements, &as_tensor, &self.scale_tensors(), &voices, &self.config)?;
            // Where only the ignored spoke nothing may move, not even by the momentum of earlier steps.
            if terms.statements.speaking().iter().any(heard) {
                let (norm, limit) = (report.grad_norm, self.config.max_grad_norm);
                self.layers.step_with_norm(self.config.learning_rate, limit, norm)?;
                self.head.step_with_norm(self.config.head_learning_rate, limit, norm)?;
                self.scale.step_with_norm(self.config.threshold_learning_rate, limit, norm)?;
            }
            for (annotator, own) in terms.statements.annotators.iter().zip(evidence) {
                self.people.step(annotator, own.events, own.gradient, own.squares);
            }
            self.version += 1;
            self.skipped_in_a_row = 0;
            report.version = self.version;
            self.hear(batch, &terms, &logits, &voices)?;
        } else {
            let value = if total.is_finite() { report.grad_norm } else { total };
            self.skip(value)?;
            report.skipped = true;
        }
        [&self.layers, &self.head, &self.scale].into_iter().for_each(AdamW::zero_grad);
        Ok(report)
    }

    fn skip(&mut self, value: f64) -> Result<(), LearningError> {
        self.skipped += 1;
        self.skipped_in_a_row += 1;
        if self.skipped_in_a_row >= MOST_SKIPPED {
            let what = "the reward model's loss";
            return Err(LearningError::Diverged { times: self.skipped_in_a_row, what, value });
        }
        Ok(())
    }

    /// Gradients of the batch's loss. A batch beyond one pass first gets its logits without gradients, then the loss's
    /// gradient by logit is sent back pass by pass (Gao et al. 2021, arXiv 2101.06983), so memory stays bounded.
    fn backward(&self, terms: &Terms<'_>, voices: &[Voice]) -> Result<(Loss, Vec<f64>), LearningError> {
        [&self.layers, &self.head, &self.scale].into_iter().for_each(AdamW::zero_grad);
        // Frozen layers keep no activations.
        let factor = if self.config.learning_rate == 0.0 { SCORING_FACTOR } else { 1 };
        let answers = terms.answers();
        let loss_of = |logits: &Tensor| {
            let loss = batch_loss(&terms.statements, logits, &self.scale_tensors(), voices, &self.config);
            loss.total.backward();
            loss
        };
        let passes = self.model.passes(&answers, self.config.tokens_per_pass * factor);
        if passes.len() == 1 {
            let in_order: Vec<usize> = (0..answers.len()).collect();
            let logits = self.model.logits(&answers, &in_order)?;
            let loss = loss_of(&logits);
            return Ok((loss, to_f64(&logits)?));
        }
        let raw = self.raw_scores(&answers)?;
        let logits = Tensor::from_slice(&raw).to_kind(Kind::Float).to_device(self.model.device());
        let logits = logits.set_requires_grad(true);
        let loss = loss_of(&logits);
        let gradient = logits.grad();
        for pass in passes {
            let places: Vec<i64> = pass.iter().map(|&place| place as i64).collect();
            let share = gradient.index_select(0, &Tensor::from_slice(&places).to_device(self.model.device()));
            (self.model.logits(&answers, &pass)? * share).sum(Kind::Float).backward();
        }
        Ok((loss, raw))
    }

    /// Logits without gradients, in order.
    fn raw_scores(&self, answers: &[&Rollout]) -> Result<Vec<f64>, LearningError> {
        let _guard = tch::no_grad_guard();
        let mut raw = vec![0.0; answers.len()];
        for pass in self.model.passes(answers, self.config.tokens_per_pass * SCORING_FACTOR) {
            let logits = to_f64(&self.model.logits(answers, &pass)?)?;
            pass.iter().zip(logits).for_each(|(&place, value)| raw[place] = value);
        }
        Ok(raw)
    }

    fn current_thresholds(&self) -> Result<Thresholds, LearningError> {
        let _guard = tch::no_grad_guard();
        let grades = to_f64(&rising_thresholds(&self.thresholds[0].1))?;
        let [thumb, line, tie] = [1, 2, 3].map(|which| self.thresholds[which].1.double_value(&[0]));
        Ok(Thresholds { grades, thumb, line, tie })
    }

    fn scale_tensors(&self) -> Scale {
        let [grades, thumb, line, tie] = [0, 1, 2, 3].map(|which| self.thresholds[which].1.shallow_clone());
        Scale { grades, thumb, line, tie }
    }

    /// Everything that a restart needs to go on bit for bit.
    pub fn state(&self) -> LearnerState {
        let mut tensors = Vec::new();
        put_tensors(&mut tensors, "model.", &self.model.parameters());
        put_tensors(&mut tensors, "thresholds.", &self.thresholds);
        for (prefix, optimiser) in self.optimisers() {
            tensors.extend(optimiser.state().into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        if let Some(epistemic) = &self.epistemic {
            put_tensors(&mut tensors, EPISTEMIC, &epistemic.tensors());
        }
        let mut scalars = Map::new();
        scalars.insert("epistemic_skipped".into(), self.epistemic_skipped().into());
        scalars.insert("version".into(), self.version.into());
        scalars.insert("skipped".into(), self.skipped.into());
        scalars.insert("skipped_in_a_row".into(), self.skipped_in_a_row.into());
        put_f64(&mut scalars, "gain", self.normalisation.gain);
        put_f64(&mut scalars, "bias", self.normalisation.bias);
        let stats = serde_json::to_value(&self.stats).expect("whole numbers under string keys are valid JSON");
        scalars.insert("stats".into(), stats);
        scalars.insert("annotators".into(), self.people.saved());
        LearnerState { tensors, scalars: Value::Object(scalars) }
    }

    /// Takes over a saved state; one that does not fit is refused and changes nothing.
    pub fn restore(&mut self, state: &LearnerState) -> Result<(), LearningError> {
        let of = |prefix: &str| with_prefix(&state.tensors, prefix);
        let scalars = &state.scalars;
        let (version, skipped) = (get_u64(scalars, "version")?, get_u64(scalars, "skipped")?);
        let in_a_row = get_u64(scalars, "skipped_in_a_row")?.min(u64::from(MOST_SKIPPED)) as u32;
        let normalisation = Normalisation { gain: get_f64(scalars, "gain")?, bias: get_f64(scalars, "bias")? };
        let stats = serde_json::from_value(scalars.get("stats").cloned().unwrap_or_default());
        let stats = stats.map_err(|error| LearningError::state("stats", error.to_string()))?;
        let saved = scalars.get("annotators").unwrap_or(&Value::Null);
        let people = People::restored(saved, self.config.reliability.clone())?;
        let skipped_terms = get_u64(scalars, "epistemic_skipped")?;
        let saved: Vec<_> = of(EPISTEMIC).into_iter().collect();
        let resumed = |own: &Epistemic| match saved.is_empty() {
            // It was off when the state was saved: as unsure as before any rating.
            true => Ok(own.fresh()),
            false => own.restored(&saved, skipped_terms),
        };
        let epistemic = self.epistemic.as_ref().map(resumed).transpose()?;
        check_tensors(&self.model.parameters(), &of("model."))?;
        check_tensors(&self.thresholds, &of("thresholds."))?;
        for (prefix, optimiser) in self.optimisers() {
            optimiser.check_state(&of(prefix))?;
        }
        self.model.forget();
        load_tensors(&self.model.parameters(), &of("model."))?;
        load_tensors(&self.thresholds, &of("thresholds."))?;
        self.layers.load_state(&of(LAYERS))?;
        self.head.load_state(&of(HEAD))?;
        self.scale.load_state(&of(SCALE))?;
        (self.version, self.skipped, self.skipped_in_a_row) = (version, skipped, in_a_row);
        self.epistemic = epistemic;
        (self.normalisation, self.stats, self.people) = (normalisation, stats, people);
        Ok(())
    }

    fn optimisers(&self) -> [(&'static str, &AdamW); 3] {
        [(LAYERS, &self.layers), (HEAD, &self.head), (SCALE, &self.scale)]
    }
}

const EPISTEMIC: &str = "epistemic.";
const LAYERS: &str = "adam.layers.";
const HEAD: &str = "adam.head.";
const SCALE: &str = "adam.thresholds.";

fn clones(named: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    named.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

fn to_f64(tensor: &Tensor) -> Result<Vec<f64>, LearningError> {
    Ok(Vec::<f64>::try_from(tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double))?)
}

/// Share of logits z with sigmoid(z) below 0.01 or above 0.99: |z| > ln 99.
fn saturation(logits: &[f64]) -> f64 {
    logits.iter().filter(|z| z.abs() > 99f64.ln()).count() as f64 / logits.len().max(1) as f64
}
