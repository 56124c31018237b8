//! What is compared.
//!
//! Invariant: arms differ in the reward model's utility and in whether it is told a question's type, and in nothing else.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use understudy_learning::reward::UtilityChoice;
use understudy_learning::reward::losses::utility::Utility;

use crate::config::Config;

/// One way to choose the utility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(in crate::cli) enum Arm {
    /// log sigmoid(4x) for every question, as the released code of Song et al. 2023 has it.
    Common,
    /// The dial, P(closed-ended) estimated from ratings and the gate.
    PromptAware,
    /// The dial, P(closed-ended) declared by the questions' true types.
    Declared,
}

/// The steepness of the common log sigmoid.
const STEEPNESS: f64 = 4.0;

impl Arm {
    /// All of them; the first is what the others are compared with.
    pub(super) const ALL: [Self; 3] = [Self::Common, Self::PromptAware, Self::Declared];

    /// Its name in tables and files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Common => "common",
            Self::PromptAware => "prompt_aware",
            Self::Declared => "declared",
        }
    }

    /// Whether questions say their type to the learners.
    pub(super) fn tells(self) -> bool {
        self == Self::Declared
    }

    /// Sets its utility.
    pub(super) fn put_into(self, config: &mut Config) {
        config.reward.utility = match self {
            Self::Common => UtilityChoice::Common { utility: Utility::LogSigmoid { c: STEEPNESS } },
            Self::PromptAware | Self::Declared => UtilityChoice::Dial,
        };
    }
}
