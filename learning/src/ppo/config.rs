//! The knobs of PPO, with defaults that were seen to learn on a 135 M model at 16 answers an update.
//!
//! Invariant: [`PpoConfig::validate`] refuses what cannot work, so that the rest of the code need not ask.

use serde::{Deserialize, Serialize};

use super::correction::Correction;
use super::guard::GuardConfig;
use super::kl::KlEstimator;
use super::kl_control::KlController;
use super::loss::PolicyClip;
use super::reward::ScorePlacement;
use super::score::MissingEos;
use crate::error::LearningError;
use crate::optimiser::AdamConfig;
use crate::schedule::Schedule;

/// Settings of a [`super::PpoLearner`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PpoConfig {
    /// Rollouts that make a batch; whoever gathers them uses it.
    pub batch_size: usize,
    /// Rollouts to one optimiser step.
    pub minibatch_size: usize,
    /// Rollouts to one forward and backward pass: bounds memory, does not change the result.
    pub micro_batch_size: usize,
    /// Passes over a batch.
    pub update_epochs: usize,
    /// Temperature of every log-probability; rollouts sampled at another one are refused.
    pub temperature: f64,
    /// Learning rate of the policy.
    pub learning_rate: f64,
    /// Learning rate of the value model.
    pub value_learning_rate: f64,
    /// The lowest so many of the policy's blocks make the value model (all, where there are fewer).
    pub value_layers: usize,
    /// How both rates change with the number of updates.
    pub schedule: Schedule,
    /// Both optimisers' other settings.
    pub adam: AdamConfig,
    /// Largest global norm of the policy's gradient.
    pub max_grad_norm: f64,
    /// Largest global norm of the value model's gradient.
    pub value_max_grad_norm: f64,
    /// The ratio is not followed below 1 − this.
    pub clip_epsilon_low: f64,
    /// The ratio is not followed above 1 + this.
    pub clip_epsilon_high: f64,
    /// Bound `c > 1` on the loss where the advantage is negative; absent is off.
    pub dual_clip: Option<f64>,
    /// Values are not followed farther than this from those at the start of the update.
    pub value_clip: f64,
    /// Weight of the value loss.
    pub value_coef: f64,
    /// Weight of the entropy bonus.
    pub entropy_coef: f64,
    /// Discount.
    pub gamma: f64,
    /// GAE's λ.
    pub gae_lambda: f64,
    /// β of the KL penalty in the reward, at the start where it is adaptive.
    pub kl_coef: f64,
    /// Whether β follows the measured divergence.
    pub kl_adaptive: bool,
    /// Wanted KL to the reference, in nats per SEQUENCE (not per token).
    pub target_kl_per_sequence: f64,
    /// Sequences over which a full error changes β by a fifth.
    pub kl_horizon: f64,
    /// Estimator of the penalty.
    pub kl_estimator: KlEstimator,
    /// Weight of the KL as a loss of its own (k3, with the gradient of k2), beside the penalty; 0 is off.
    pub kl_loss_coef: f64,
    /// At which step the score arrives.
    pub score_placement: ScorePlacement,
    /// Scores are cut to ± this.
    pub score_clip: f64,
    /// Whether scores are divided by their running spread.
    pub scale_scores: bool,
    /// What an answer that did not end by itself gets.
    pub missing_eos: MissingEos,
    /// Whether an answer that was cut off is credited with the value of the state it was left in. Only with a score
    /// that does not already judge the answer as it stands (`missing_eos` = zero): else it is paid twice, and as the
    /// state after the last allowed token is never trained, its value can run away.
    pub truncation_bootstrap: bool,
    /// Whether rewards get unit spread, their mean kept.
    pub whiten_rewards: bool,
    /// Whether advantages get mean 0 and unit spread over the whole batch.
    pub whiten_advantages: bool,
    /// Weights of tokens that an older policy sampled.
    pub correction: Correction,
    /// Rollouts sampled more updates ago than this are dropped and counted.
    pub max_staleness: u64,
    /// No further epoch begins after one with a mean `approx_kl` above this; absent is off.
    pub stop_at_approx_kl: Option<f64>,
    /// Positions whose logits are alive at a time.
    pub logit_chunk: usize,
    /// When the learner counts as gone bad and is put back.
    pub guard: GuardConfig,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            batch_size: 16,
            minibatch_size: 8,
            micro_batch_size: 8,
            update_epochs: 2,
            temperature: 0.7,
            learning_rate: 2e-5,
            value_learning_rate: 1e-4,
            // A third of the cost of six; its job is a baseline, not text.
            value_layers: 2,
            schedule: Schedule::default(),
            adam: AdamConfig::default(),
            max_grad_norm: 1.0,
            value_max_grad_norm: 1.0,
            clip_epsilon_low: 0.2,
            clip_epsilon_high: 0.2,
            dual_clip: None,
            value_clip: 0.2,
            value_coef: 1.0,
            entropy_coef: 0.0,
            gamma: 1.0,
            // Answers are short and judged at their end: at 0.95 the first of 64 tokens would hear 4 % of it.
            gae_lambda: 0.99,
            kl_coef: 0.05,
            kl_adaptive: true,
            target_kl_per_sequence: 6.0,
            // With 16 answers an update β moves by at most 2.5 % each time: tenfold takes some ninety updates.
            kl_horizon: 128.0,
            kl_estimator: KlEstimator::K1,
            kl_loss_coef: 0.0,
            score_placement: ScorePlacement::OnLast,
            score_clip: 10.0,
            scale_scores: false,
            missing_eos: MissingEos::Keep,
            truncation_bootstrap: false,
            whiten_rewards: false,
            whiten_advantages: true,
            correction: Correction::Truncate { low: 0.0, high: 2.0 },
            max_staleness: 1,
            stop_at_approx_kl: None,
            logit_chunk: 256,
            guard: GuardConfig::default(),
        }
    }
}

impl PpoConfig {
    /// The policy's clip range.
    pub fn clip(&self) -> PolicyClip {
        PolicyClip { low: self.clip_epsilon_low, high: self.clip_epsilon_high, dual: self.dual_clip }
    }

    /// The controller of β at the start of a run.
    pub fn kl_controller(&self) -> KlController {
        let (coefficient, target_per_sequence, horizon) = (self.kl_coef, self.target_kl_per_sequence, self.kl_horizon);
        if self.kl_adaptive {
            KlController::Adaptive { coefficient, target_per_sequence, horizon }
        } else {
            KlController::Fixed { coefficient }
        }
    }

    /// Whether the values can work, alone and together.
    pub fn validate(&self) -> Result<(), LearningError> {
        let counts = [
            ("batch_size", self.batch_size),
            ("minibatch_size", self.minibatch_size),
            ("micro_batch_size", self.micro_batch_size),
            ("update_epochs", self.update_epochs),
            ("logit_chunk", self.logit_chunk),
        ];
        for (field, value) in counts {
            check(field, value as f64, value > 0, "give a whole number above 0")?;
        }
        let positive = [
            ("temperature", self.temperature),
            ("max_grad_norm", self.max_grad_norm),
            ("value_max_grad_norm", self.value_max_grad_norm),
            ("clip_epsilon_low", self.clip_epsilon_low),
            ("clip_epsilon_high", self.clip_epsilon_high),
            ("value_clip", self.value_clip),
            ("target_kl_per_sequence", self.target_kl_per_sequence),
            ("kl_horizon", self.kl_horizon),
            ("score_clip", self.score_clip),
            ("stop_at_approx_kl", self.stop_at_approx_kl.unwrap_or(1.0)),
        ];
        for (field, value) in positive {
            check(field, value, value.is_finite() && value > 0.0, "give a number above 0")?;
        }
        let not_negative = [
            ("learning_rate", self.learning_rate),
            ("value_learning_rate", self.value_learning_rate),
            ("value_coef", self.value_coef),
            ("entropy_coef", self.entropy_coef),
            ("kl_coef", self.kl_coef),
            ("kl_loss_coef", self.kl_loss_coef),
            ("adam.eps", self.adam.eps),
            ("adam.weight_decay", self.adam.weight_decay),
        ];
        for (field, value) in not_negative {
            check(field, value, value.is_finite() && value >= 0.0, "give a number that is not below 0")?;
        }
        for (field, value) in [("gamma", self.gamma), ("gae_lambda", self.gae_lambda)] {
            check(field, value, (0.0..=1.0).contains(&value), "give a number from 0 to 1")?;
        }
        for (field, value) in [("adam.beta1", self.adam.beta1), ("adam.beta2", self.adam.beta2)] {
            check(field, value, (0.0..1.0).contains(&value), "give a number from 0 to below 1")?;
        }
        let low = self.clip_epsilon_low;
        check("clip_epsilon_low", low, low < 1.0, "give a number below 1: ratios are never negative")?;
        let dual = self.dual_clip.unwrap_or(3.0);
        check("dual_clip", dual, dual.is_finite() && dual > 1.0, "give a number above 1, usually 3")?;
        if let MissingEos::Subtract { penalty: value } | MissingEos::Set { value } = self.missing_eos {
            check("missing_eos", value, value.is_finite(), "give a finite number")?;
        }
        self.guard.validate(self.target_kl_per_sequence)?;
        match self.correction {
            Correction::None => Ok(()),
            Correction::Truncate { low, high }
            | Correction::MaskTokens { low, high }
            | Correction::MaskSequences { low, high } => {
                check("correction.low", low, (0.0..=1.0).contains(&low), "give a number from 0 to 1")?;
                check("correction.high", high, high.is_finite() && high >= 1.0, "give a finite number of at least 1")
            }
        }
    }
}

fn check(field: &'static str, value: f64, good: bool, remedy: &'static str) -> Result<(), LearningError> {
    if good { Ok(()) } else { Err(LearningError::Config { field, value: value.to_string(), remedy }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_json() {
        let config = PpoConfig::default();
        config.validate().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<PpoConfig>(&text).unwrap(), config);
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_named() {
        let parse = |text: &str| serde_json::from_str::<PpoConfig>(text);
        assert!(parse(r#"{"learning_rat": 1}"#).unwrap_err().to_string().contains("learning_rat"));
        let text = r#"{"correction": {"kind": "mask_tokens", "low": 0.5, "high": 0.9}, "dual_clip": 3.0}"#;
        assert!(parse(text).unwrap().validate().unwrap_err().to_string().contains("correction.high is 0.9"));
        for text in [r#"{"micro_batch_size": 0}"#, r#"{"gamma": 1.5}"#, r#"{"dual_clip": 1.0}"#] {
            assert!(parse(text).unwrap().validate().is_err(), "{text}");
        }
    }
}
