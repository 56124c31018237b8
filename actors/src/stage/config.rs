//! When a new policy goes on stage.
//!
//! Invariant: plain values with defaults, the same as in `config/default.toml`; what is wrong with them is found by
//! [`StageConfig::validate`] before anything starts.

use serde::{Deserialize, Serialize};
use understudy_learning::LearningError;

/// KL budget in targets where none is given: the penalty's controller keeps the KL near its target, so twice that is what
/// it comes to in ordinary learning, and half of where the learner's own guard steps in.
const TARGETS: f64 = 2.0;

/// Who serves people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageMode {
    /// Every published version, at once.
    #[default]
    Direct,
    /// A lead, and beside it a candidate that has to show itself no worse.
    Guarded,
}

/// Settings of the stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageConfig {
    /// Who serves people.
    pub mode: StageMode,
    /// Share of people's requests that the candidate answers, above 0 and at most 0.5.
    pub canary_share: f64,
    /// Answers that the candidate gives at the same time, at least 1.
    pub canary_sequences: usize,
    /// Most KL to the base model in nats per answer; absent is twice `ppo.target_kl_per_sequence`, 0 is off.
    pub max_kl_per_sequence: Option<f64>,
    /// Least mean entropy in nats per token; 0 is off.
    pub min_entropy: f64,
    /// How far below one half a win-rate still counts as not worse, above 0 and below 0.5.
    pub margin: f64,
    /// Probability of deciding wrongly, each way, however often one looks; above 0 and at most 0.5.
    pub alpha: f64,
    /// Answers of a candidate after which it is decided with what there is, at least 1.
    pub most_answers: u64,
    /// Seconds after which it is decided with what there is, above 0.
    pub most_s: f64,
    /// Published versions, and leads of before, whose weights are kept, at least 1 each.
    pub keep: usize,
}

impl Default for StageConfig {
    fn default() -> Self {
        Self {
            mode: StageMode::Direct,
            canary_share: 0.1,
            canary_sequences: 4,
            max_kl_per_sequence: None,
            min_entropy: 0.0,
            margin: 0.1,
            alpha: 0.05,
            most_answers: 200,
            most_s: 3600.0,
            keep: 3,
        }
    }
}

impl StageConfig {
    /// Whether a lead and a candidate serve people.
    pub fn is_guarded(&self) -> bool {
        self.mode == StageMode::Guarded
    }

    /// What holds for a learner whose wanted KL is `target` nats per answer.
    pub fn rules(&self, target: f64) -> Rules {
        let budget = self.max_kl_per_sequence.unwrap_or(TARGETS * target);
        Rules {
            kl_budget: Some(budget).filter(|budget| *budget > 0.0),
            entropy_floor: self.min_entropy,
            margin: self.margin,
            alpha: self.alpha,
            most_answers: self.most_answers,
            most_s: self.most_s,
            keep: self.keep,
        }
    }

    /// Names the first value that cannot work.
    pub fn validate(&self) -> Result<(), LearningError> {
        let rule = |holds: bool, field, value: String, remedy| match holds {
            true => Ok(()),
            false => Err(LearningError::Config { field, value, remedy }),
        };
        let share = self.canary_share > 0.0 && self.canary_share <= 0.5;
        rule(share, "canary_share", self.canary_share.to_string(), "give a share above 0, at most 0.5")?;
        rule(self.canary_sequences >= 1, "canary_sequences", "0".to_owned(), "allow at least 1 answer at a time")?;
        let kl = self.max_kl_per_sequence.unwrap_or(0.0);
        rule(kl.is_finite() && kl >= 0.0, "max_kl_per_sequence", kl.to_string(), "give nats above 0, or 0 (off)")?;
        let entropy = self.min_entropy.is_finite() && self.min_entropy >= 0.0;
        rule(entropy, "min_entropy", self.min_entropy.to_string(), "give nats above 0, or 0 (off)")?;
        let margin = self.margin > 0.0 && self.margin < 0.5;
        rule(margin, "margin", self.margin.to_string(), "give a number above 0 and below 0.5")?;
        let alpha = self.alpha > 0.0 && self.alpha <= 0.5;
        rule(alpha, "alpha", self.alpha.to_string(), "give a probability above 0, at most 0.5")?;
        rule(self.most_answers >= 1, "most_answers", "0".to_owned(), "give at least 1")?;
        let seconds = self.most_s.is_finite() && self.most_s > 0.0;
        rule(seconds, "most_s", self.most_s.to_string(), "give seconds above 0")?;
        rule((1..=64).contains(&self.keep), "keep", self.keep.to_string(), "keep 1 to 64 versions")
    }
}

/// What decisions go by.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Most KL to the base model, nats per answer.
    pub kl_budget: Option<f64>,
    /// Least mean entropy, nats per token; 0 is off.
    pub entropy_floor: f64,
    /// See [`StageConfig::margin`].
    pub margin: f64,
    /// See [`StageConfig::alpha`].
    pub alpha: f64,
    /// See [`StageConfig::most_answers`].
    pub most_answers: u64,
    /// See [`StageConfig::most_s`].
    pub most_s: f64,
    /// See [`StageConfig::keep`].
    pub keep: usize,
}
