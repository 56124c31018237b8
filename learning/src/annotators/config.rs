//! What a population is drawn from.
//!
//! Invariant: parsed once and validated against itself; unknown keys are errors.

use serde::{Deserialize, Serialize};

use crate::error::LearningError;
use crate::gold::{Taste, Types};

/// How often each kind of feedback is given. Only the proportions matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KindWeights {
    /// One to five stars for one answer.
    pub stars: f64,
    /// Thumb up or down for one answer.
    pub thumbs: f64,
    /// The better of two answers.
    pub pairs: f64,
    /// All answers from best to worst.
    pub rankings: f64,
}

impl Default for KindWeights {
    fn default() -> Self {
        Self { stars: 0.3, thumbs: 0.15, pairs: 0.3, rankings: 0.25 }
    }
}

impl KindWeights {
    /// In the order stars, thumbs, pairs, rankings.
    pub(super) fn to_array(self) -> [f64; 4] {
        [self.stars, self.thumbs, self.pairs, self.rankings]
    }

    pub(super) fn from_array([stars, thumbs, pairs, rankings]: [f64; 4]) -> Self {
        Self { stars, thumbs, pairs, rankings }
    }
}

/// A population of simulated annotators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PopulationConfig {
    /// How many.
    pub members: usize,
    /// Share of members who mean it and look closely.
    pub good: f64,
    /// Share of members who mean it and hardly look.
    pub noisy: f64,
    /// Share of members who say the opposite of what they think.
    pub hostile: f64,
    /// What the members share.
    pub taste: Taste,
    /// Each member multiplies each weight of the taste by exp(N(0, this²)).
    pub taste_spread: f64,
    /// Median choice temperature in units of gold reward: of two answers this far apart, the better is chosen with
    /// probability 0.73.
    pub temperature: f64,
    /// Standard deviation of the logarithm of the members' temperatures.
    pub temperature_spread: f64,
    /// Noisy members choose at a temperature this many times higher.
    pub noisy_temperature_factor: f64,
    /// Probability that a good or hostile member answers at random.
    pub lapse: f64,
    /// The same for noisy members.
    pub noisy_lapse: f64,
    /// Standard deviation of a member's shift of all grades, in standard deviations of the gold reward.
    pub bias_spread: f64,
    /// Gold reward that is middling: three stars.
    pub gold_mean: f64,
    /// Standard deviation of the gold reward over usual answers.
    pub gold_spread: f64,
    /// Share of the questions that have right and wrong answers and nothing between, among those whose source does not
    /// declare it; 0 treats all questions alike, whatever is declared.
    pub closed_share: f64,
    /// Share of usual answers that are right for such a question.
    pub right_share: f64,
    /// Answers that seem closer than this in gold reward are ranked as equals.
    pub just_noticeable: f64,
    /// What kinds of feedback the population gives on the whole.
    pub kinds: KindWeights,
    /// How alike the members are in their preferred kinds: 0.5 lets nearly everyone keep to one kind, 50 makes all alike.
    pub kind_concentration: f64,
    /// Median time from seeing a task to saying something.
    pub delay_median_ms: f64,
    /// Standard deviation of the logarithm of that time.
    pub delay_spread: f64,
    /// Hours a day that a member is awake, from its own hour on.
    pub awake_hours: f64,
    /// Standard deviation of the slow change of the logarithm of each weight of a member's taste.
    pub drift: f64,
    /// Days in which the taste becomes a new one.
    pub drift_days: f64,
}

impl Default for PopulationConfig {
    fn default() -> Self {
        Self {
            members: 12,
            good: 0.75,
            noisy: 0.17,
            hostile: 0.08,
            taste: Taste::default(),
            taste_spread: 0.2,
            temperature: 0.15,
            temperature_spread: 0.3,
            noisy_temperature_factor: 6.0,
            lapse: 0.02,
            noisy_lapse: 0.3,
            bias_spread: 0.3,
            gold_mean: 0.7,
            gold_spread: 0.45,
            closed_share: 0.0,
            right_share: 0.5,
            just_noticeable: 0.03,
            kinds: KindWeights::default(),
            kind_concentration: 4.0,
            delay_median_ms: 5_000.0,
            delay_spread: 0.8,
            awake_hours: 16.0,
            drift: 0.1,
            drift_days: 30.0,
        }
    }
}

impl PopulationConfig {
    /// How its questions divide into types.
    pub fn types(&self) -> Types {
        let Self { closed_share, right_share, gold_mean, gold_spread, .. } = *self;
        Types { closed_share, right_share, gold_mean, gold_spread }
    }

    /// Whether the values can work together; names the first that cannot.
    pub fn validate(&self) -> Result<(), LearningError> {
        let above_zero = [
            ("temperature", self.temperature),
            ("noisy_temperature_factor", self.noisy_temperature_factor),
            ("gold_spread", self.gold_spread),
            ("kind_concentration", self.kind_concentration),
            ("delay_median_ms", self.delay_median_ms),
            ("drift_days", self.drift_days),
            ("taste.length_width", self.taste.length_width),
        ];
        let not_negative = [
            ("good", self.good),
            ("noisy", self.noisy),
            ("hostile", self.hostile),
            ("taste_spread", self.taste_spread),
            ("temperature_spread", self.temperature_spread),
            ("bias_spread", self.bias_spread),
            ("just_noticeable", self.just_noticeable),
            ("delay_spread", self.delay_spread),
            ("drift", self.drift),
            ("kinds.stars", self.kinds.stars),
            ("kinds.thumbs", self.kinds.thumbs),
            ("kinds.pairs", self.kinds.pairs),
            ("kinds.rankings", self.kinds.rankings),
        ];
        let shares = [
            ("lapse", self.lapse),
            ("noisy_lapse", self.noisy_lapse),
            ("closed_share", self.closed_share),
            ("right_share", self.right_share),
            ("awake_hours", self.awake_hours / 24.0),
        ];
        let fail = |field, value: f64, remedy| Err(LearningError::Config { field, value: value.to_string(), remedy });
        if let Some((field, value)) = above_zero.into_iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            return fail(field, value, "give a finite number above 0");
        }
        if let Some((field, value)) = not_negative.into_iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            return fail(field, value, "give a finite number that is not negative");
        }
        if let Some((field, value)) = shares.into_iter().find(|(_, v)| !(0.0..=1.0).contains(v)) {
            return fail(field, value, "give a probability from 0 to 1, or 0 to 24 hours");
        }
        if self.good + self.noisy + self.hostile <= 0.0 {
            return fail("good", self.good, "give at least one of good, noisy and hostile a share above 0");
        }
        if self.kinds.to_array().iter().sum::<f64>() <= 0.0 {
            return fail("kinds.stars", self.kinds.stars, "give at least one kind of feedback a weight above 0");
        }
        Ok(())
    }
}
