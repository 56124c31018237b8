//! How often one model's answer is preferred to another's on the same question.
//!
//! Invariant: a tie is half a win; questions are what is resampled.

use serde::Serialize;

use crate::preferences::accuracy::{resamples, spread};

/// Rewards that differ by less are equal: rounding.
pub const EQUAL: f64 = 1e-9;

/// One question: both models' answers as the judge sees them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duel {
    /// Reward of the model's answer, mean over its samples.
    pub model: f64,
    /// Reward of the other model's.
    pub other: f64,
    /// Words of the model's answer less those of the other's.
    pub longer: f64,
}

impl Duel {
    /// 1 won, 1/2 tied, 0 lost.
    pub fn outcome(&self) -> f64 {
        match self.model - self.other {
            difference if difference > EQUAL => 1.0,
            difference if difference < -EQUAL => 0.0,
            _ => 0.5,
        }
    }
}

/// Shares of questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WinRate {
    /// Won, a tie counting half.
    pub share: f64,
    /// Its standard error over questions.
    pub error: f64,
    /// Ends of its 95 % interval.
    pub interval: [f64; 2],
    /// Questions won.
    pub wins: usize,
    /// Questions tied.
    pub ties: usize,
    /// Questions lost.
    pub losses: usize,
}

impl WinRate {
    /// Over the questions; error and interval by bootstrap.
    pub fn of(duels: &[Duel]) -> Self {
        let outcomes: Vec<f64> = duels.iter().map(Duel::outcome).collect();
        let mean = |drawn: &[usize]| drawn.iter().map(|place| outcomes[*place]).sum::<f64>() / drawn.len() as f64;
        let (error, interval) = spread(resamples(outcomes.len(), mean));
        let count = |wanted: f64| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        let share = outcomes.iter().sum::<f64>() / outcomes.len() as f64;
        Self { share, error, interval, wins: count(1.0), ties: count(0.5), losses: count(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half_and_the_interval_is_that_of_questions() {
        let duel = |difference: f64| Duel { model: difference, other: 0.0, longer: 0.0 };
        let found = WinRate::of(&[duel(1.0), duel(1.0), duel(0.0), duel(-2.0)]);
        assert_eq!((found.share, found.wins, found.ties, found.losses), (0.625, 2, 1, 1));
        let many: Vec<Duel> = (0..400).map(|i| duel(if i % 4 == 0 { -1.0 } else { 1.0 })).collect();
        let found = WinRate::of(&many);
        // sqrt(0.75 * 0.25 / 400) = 0.02165; the bootstrap is off by 2.2 %, five of those.
        assert!((found.error - 0.02165).abs() < 0.0024, "{}", found.error);
        let [low, high] = found.interval;
        assert!((low - 0.7076).abs() < 0.01 && (high - 0.7924).abs() < 0.01, "{low} {high}");
    }
}
