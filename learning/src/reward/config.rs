//! Settings of the reward model's learning.
//!
//! Invariant: parsed once and validated against itself; unknown keys are errors.

use serde::{Deserialize, Serialize};

use super::losses::utility::{DIAL_BOUNDS, Dial, Utility};
use super::reliability::ReliabilityConfig;
use crate::error::LearningError;
use crate::optimiser::AdamConfig;

/// Where an answer's logit is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readout {
    /// At the last real token of prompt and answer (Stiennon et al. 2020), where the model has seen everything.
    LastToken,
    /// There, plus the mean over the answer's tokens after the layers, plus that mean before them, each through its own
    /// part of the head. A linear fit to such frozen states of the default model ordered 60 % of the pairs of unseen
    /// questions as the gold reward does, one to the last token alone 56 % (400 ratings, 32 questions: a few points of
    /// that are chance).
    #[default]
    Joint,
}

/// How the head begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadStart {
    /// Normal(0, 1/√(D + 1)): opinions before the first rating (Stiennon et al. 2020, appendix B.1).
    Normal,
    /// Zero: no opinion before the first rating, so the first ratings need not be spent on unlearning one.
    #[default]
    Zero,
}

/// Which utility the prompt-aware term gives a question.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum UtilityChoice {
    /// The range-normalised exp dial, set by P(closed-ended).
    #[default]
    Dial,
    /// One for every question: not prompt-aware.
    Common {
        /// That utility.
        utility: Utility,
    },
    /// One of two, as in the paper (Song et al. 2023, arXiv 2305.17608).
    Adaptive {
        /// For questions with P(closed-ended) > 0.5.
        closed: Utility,
        /// For the others.
        open: Utility,
    },
}

impl UtilityChoice {
    /// The utility of a question with P(closed-ended) `closedness`, up to its scale.
    pub fn of(&self, closedness: f64) -> Utility {
        match *self {
            Self::Dial => Utility::Exp { lambda: Dial::from_closedness(closedness, DIAL_BOUNDS).lambda },
            Self::Common { utility } => utility,
            Self::Adaptive { closed, .. } if closedness > 0.5 => closed,
            Self::Adaptive { open, .. } => open,
        }
    }

    /// Whether every utility in it is defined for differences at and below 0, as learning meets them.
    fn validate(&self) -> Result<(), LearningError> {
        let utilities = match *self {
            Self::Dial => Vec::new(),
            Self::Common { utility } => vec![utility],
            Self::Adaptive { closed, open } => vec![closed, open],
        };
        let right = |utility: &Utility| match *utility {
            Utility::X => true,
            Utility::Log { eps: Some(eps) } => eps > 0.0,
            Utility::Inv { s, eps: Some(eps) } => s > 0.0 && eps > 0.0,
            Utility::LogSigmoid { c } => c > 0.0,
            Utility::Exp { lambda } => lambda > 0.0,
            _ => false,
        };
        match utilities.iter().find(|utility| !right(utility)) {
            Some(wrong) => Err(LearningError::Config {
                field: "utility",
                value: format!("{wrong:?}"),
                remedy: "give parameters above 0, and eps for log and inv: without a shift they have no value at 0",
            }),
            None => Ok(()),
        }
    }
}

/// More would cost more than the scores that it speaks of.
const MOST_EPISTEMIC_DIMS: usize = 512;

/// How the reward model learns from feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// Where an answer's logit is read.
    pub readout: Readout,
    /// How the head begins.
    pub head_start: HeadStart,
    /// Learning rate of the branch's layers; 0 freezes them, and a step then costs no more than scoring.
    /// In short trials on the default model (80 to 160 ratings) 3e-5 foretold no better than that and 2e-4 worse.
    pub learning_rate: f64,
    /// Learning rate of the head, which starts from nothing.
    pub head_learning_rate: f64,
    /// Learning rate of the thresholds of stars and thumbs.
    pub threshold_learning_rate: f64,
    /// The optimiser.
    pub adam: AdamConfig,
    /// Gradients are clipped to this norm, all groups together.
    pub max_grad_norm: f64,
    /// Weight of (mean logit of a prompt's answers)²: comparisons alone do not say where 0 is.
    pub centring: f64,
    /// Weight of the prompt-aware utility against the likelihoods; 0 turns it off.
    pub utility_weight: f64,
    /// Which utility that is.
    pub utility: UtilityChoice,
    /// By how much a pair of strength 2 should win beyond a plain one, in logits; of strength s, (s − 1) times that.
    pub margin: f64,
    /// Least number of linked answers to a question for the utility: for 2 and 3 all utilities have the same optimum.
    pub utility_answers: usize,
    /// Events in one optimiser step.
    pub batch_size: usize,
    /// Most tokens in one pass; longer batches are passed in parts, with the same gradient.
    pub tokens_per_pass: usize,
    /// Dimensions of the features on which the uncertainty of scores is kept; 0 turns it off. A covariance of M takes
    /// 8 M² bytes, each new likelihood term 3 M² multiplications.
    pub epistemic_dims: usize,
    /// Prior precision of the last layer over features of length 1: before any rating an answer that has nothing in
    /// common with the reference answers has a raw score of 0 ± 1/√this.
    pub epistemic_prior: f64,
    /// Events after which an event counts half in the recent prequential figures.
    pub half_life: u32,
    /// Who is believed how much.
    pub reliability: ReliabilityConfig,
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self {
            readout: Readout::default(),
            head_start: HeadStart::default(),
            learning_rate: 0.0,
            head_learning_rate: 5e-4,
            threshold_learning_rate: 1e-2,
            adam: AdamConfig::default(),
            max_grad_norm: 1.0,
            centring: 0.01,
            utility_weight: 0.3,
            utility: UtilityChoice::default(),
            margin: 0.5,
            utility_answers: 4,
            batch_size: 8,
            tokens_per_pass: 2048,
            epistemic_dims: 256,
            epistemic_prior: 1.0,
            half_life: 200,
            reliability: ReliabilityConfig::default(),
        }
    }
}

impl RewardConfig {
    /// Whether the values can work together; names the first that cannot.
    pub fn validate(&self) -> Result<(), LearningError> {
        let fail = |field, value: String, remedy| Err(LearningError::Config { field, value, remedy });
        let not_negative = [
            ("learning_rate", self.learning_rate),
            ("head_learning_rate", self.head_learning_rate),
            ("threshold_learning_rate", self.threshold_learning_rate),
            ("centring", self.centring),
            ("utility_weight", self.utility_weight),
            ("margin", self.margin),
        ];
        if let Some((field, value)) = not_negative.into_iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            return fail(field, value.to_string(), "give a finite number that is not negative");
        }
        if self.max_grad_norm.is_nan() || self.max_grad_norm <= 0.0 {
            return fail("max_grad_norm", self.max_grad_norm.to_string(), "give a number above 0");
        }
        self.utility.validate()?;
        self.reliability.validate()?;
        if self.batch_size == 0 || self.tokens_per_pass == 0 {
            let value = format!("{} with tokens_per_pass {}", self.batch_size, self.tokens_per_pass);
            return fail("batch_size", value, "give whole numbers above 0 for both");
        }
        if !(self.epistemic_prior.is_finite() && self.epistemic_prior > 0.0) {
            return fail("epistemic_prior", self.epistemic_prior.to_string(), "give a finite number above 0");
        }
        if self.epistemic_dims > MOST_EPISTEMIC_DIMS {
            return fail(
                "epistemic_dims",
                self.epistemic_dims.to_string(),
                "give at most 512: 2 MiB and 8e5 products a term",
            );
        }
        if self.utility_answers < 2 {
            return fail("utility_answers", self.utility_answers.to_string(), "give at least 2; 4 is where it matters");
        }
        Ok(())
    }
}
