//! What is done to a score before it becomes a reward: missing ends, clipping, running scale.
//!
//! Invariant: a finite score stays finite, and its sign is changed only by the rule for answers that did not end.

use serde::{Deserialize, Serialize};

/// What an answer that did not end by itself gets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum MissingEos {
    /// Its score.
    Keep,
    /// Its score less a penalty.
    Subtract {
        /// How much less.
        penalty: f64,
    },
    /// This value instead of its score.
    Set {
        /// The value, usually −1.
        value: f64,
    },
    /// Nothing; sensible together with the truncation bootstrap, which then stands for what would have followed.
    Zero,
}

impl MissingEos {
    /// The score after the rule.
    pub fn apply(self, score: f64, ended: bool) -> f64 {
        match self {
            _ if ended => score,
            Self::Keep => score,
            Self::Subtract { penalty } => score - penalty,
            Self::Set { value } => value,
            Self::Zero => 0.0,
        }
    }
}

/// Running mean and variance of everything seen, batch by batch.
///
/// Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RunningMoments {
    /// Values seen.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub squares: f64,
}

impl RunningMoments {
    /// Takes a batch into account.
    pub fn update(&mut self, batch: &[f64]) {
        if batch.is_empty() {
            return;
        }
        let n = batch.len() as f64;
        let mean = batch.iter().sum::<f64>() / n;
        let squares = batch.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        let (before, total) = (self.count as f64, self.count as f64 + n);
        let shift = mean - self.mean;
        self.squares += squares + shift * shift * before * n / total;
        self.mean += shift * n / total;
        self.count += batch.len() as u64;
    }

    /// Unbiased standard deviation; 1 as long as it is unknown or zero, so that dividing by it is harmless.
    pub fn std(&self) -> f64 {
        let variance = if self.count < 2 { 0.0 } else { self.squares / (self.count - 1) as f64 };
        if variance > 0.0 { variance.sqrt() } else { 1.0 }
    }
}

/// Clips scores to `± clip`, then, with `moments`, takes them into account and divides by their running spread.
pub fn condition_scores(scores: &mut [f64], clip: f64, moments: Option<&mut RunningMoments>) {
    for score in scores.iter_mut() {
        *score = score.clamp(-clip, clip);
    }
    if let Some(moments) = moments {
        moments.update(scores);
        let std = moments.std();
        scores.iter_mut().for_each(|score| *score /= std);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_end_is_penalised_set_or_zeroed_and_one_with_an_end_never() {
        let rules = [
            (MissingEos::Keep, 0.7),
            (MissingEos::Subtract { penalty: 1.0 }, -0.3),
            (MissingEos::Set { value: -1.0 }, -1.0),
            (MissingEos::Zero, 0.0),
        ];
        for (rule, wanted) in rules {
            assert!((rule.apply(0.7, false) - wanted).abs() < 1e-12, "{rule:?}");
            assert_eq!(rule.apply(0.7, true), 0.7, "{rule:?}");
        }
    }

    #[test]
    fn running_moments_equal_those_of_everything_at_once() {
        let all: Vec<f64> = (0..57).map(|i| (f64::from(i) * 0.37).sin() * 3.0 + 1e3).collect();
        let mut moments = RunningMoments::default();
        for batch in [&all[..1], &all[1..20], &all[20..20], &all[20..]] {
            moments.update(batch);
        }
        let mean = all.iter().sum::<f64>() / 57.0;
        let std = (all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 56.0).sqrt();
        assert!((moments.mean - mean).abs() < 1e-9 && (moments.std() - std).abs() < 1e-9);
        assert_eq!(moments.count, 57);
    }

    #[test]
    fn scores_are_clipped_first_and_scaled_by_the_running_spread_after() {
        let mut scores = [1e39, -2.0, 0.0, 2.0];
        let mut moments = RunningMoments::default();
        condition_scores(&mut scores, 4.0, Some(&mut moments));
        let std = (20.0f64 / 3.0).sqrt();
        for (score, wanted) in scores.iter().zip([4.0, -2.0, 0.0, 2.0]) {
            assert!((score - wanted / std).abs() < 1e-12);
        }
        let mut single = [3.0];
        condition_scores(&mut single, 10.0, Some(&mut RunningMoments::default()));
        assert_eq!(single, [3.0], "one score has no spread to divide by");
    }
}
