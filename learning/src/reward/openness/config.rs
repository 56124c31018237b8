//! Settings of the estimate of how closed-ended a question is.
//!
//! Invariant: parsed once and validated against itself; unknown keys are errors.

use serde::{Deserialize, Serialize};

use crate::error::LearningError;

/// How P(closed-ended) is estimated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpennessConfig {
    /// P(closed-ended) is kept within these bounds: at 0 or 1 the exp dial has no finite slope or no curve.
    pub clip: (f64, f64),
    /// P(closed-ended) where nothing is known.
    pub default: f64,
    /// Questions whose evidence is remembered; the least recently heard of leaves first.
    pub questions: usize,
    /// Events from which the gate's learning can be undone exactly; older learning is kept for good.
    pub events: usize,
    /// Least number of graded, or linked, answers to a question before its ratings decide.
    pub answers: usize,
    /// Least mean number of grades an answer before they decide.
    pub ratings_per_answer: f64,
    /// Usual variance of the grades (0 to 1) of one answer, before any was seen.
    pub within_variance: f64,
    /// How many grades that is worth, for one question and for all together.
    pub within_weight: f64,
    /// Strength of the gate's opinion as a prior on p (Beta(strength·g, strength·(1 − g))).
    pub strength: f64,
    /// Questions from which the gate must have learned before it is asked.
    pub gate_questions: usize,
    /// Numbers that the prompt's features are projected to.
    pub gate_features: usize,
    /// AdaGrad's learning rate.
    pub gate_learning_rate: f64,
    /// Pull of the gate's weights to 0, that is of its opinion to 1/2.
    pub gate_decay: f64,
}

impl Default for OpennessConfig {
    fn default() -> Self {
        Self {
            clip: (0.05, 0.95),
            default: 0.5,
            questions: 4096,
            events: 4096,
            answers: 4,
            ratings_per_answer: 2.0,
            within_variance: 0.03,
            within_weight: 4.0,
            strength: 2.0,
            gate_questions: 32,
            gate_features: 128,
            gate_learning_rate: 0.1,
            gate_decay: 1e-3,
        }
    }
}

impl OpennessConfig {
    /// Whether the values can work together; names the first that cannot.
    pub fn validate(&self) -> Result<(), LearningError> {
        let fail = |field, value: String, remedy| Err(LearningError::Config { field, value, remedy });
        let (low, high) = self.clip;
        if !(low > 0.0 && low <= high && high < 1.0) {
            return fail("clip", format!("{low} to {high}"), "give two numbers with 0 < first <= second < 1");
        }
        if !(0.0..=1.0).contains(&self.default) {
            return fail("default", self.default.to_string(), "give a number from 0 to 1");
        }
        let above = [
            ("within_variance", self.within_variance),
            ("within_weight", self.within_weight),
            ("strength", self.strength),
        ];
        if let Some((field, value)) = above.into_iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            return fail(field, value.to_string(), "give a finite number above 0");
        }
        let not_negative = [
            ("ratings_per_answer", self.ratings_per_answer),
            ("gate_learning_rate", self.gate_learning_rate),
            ("gate_decay", self.gate_decay),
        ];
        if let Some((field, value)) = not_negative.into_iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            return fail(field, value.to_string(), "give a finite number that is not negative");
        }
        if self.questions == 0 || self.events == 0 || self.gate_features == 0 {
            let value = format!("{} with events {}, gate_features {}", self.questions, self.events, self.gate_features);
            return fail("questions", value, "give whole numbers above 0 for all three");
        }
        if self.answers < 3 {
            return fail("answers", self.answers.to_string(), "give at least 3; 4 is where the utility matters");
        }
        Ok(())
    }
}
