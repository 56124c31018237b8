//! Pair accuracy with an error that respects questions.
//!
//! Invariant: pairs of one question are not independent, so questions are what is resampled; the same tallies give the
//! same error.

use understudy_learning::rng::{Purpose, Stream};

/// How many pairs of one question are in the right order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    /// Pairs in the right order; a tie counts half.
    pub right: f64,
    /// All of them.
    pub pairs: usize,
}

/// Share of pairs in the right order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Over all pairs; NaN without any.
    pub share: f64,
    /// Its standard error by resampling questions.
    pub error: f64,
    /// Pairs.
    pub pairs: usize,
    /// Questions with at least one pair.
    pub questions: usize,
}

/// Resamples behind an error: it is itself off by 1/√(2·1000), about 2 %.
const RESAMPLES: usize = 1000;

impl Accuracy {
    /// Over the questions' tallies; the error is the standard deviation over bootstrap samples of whole questions
    /// (Efron and Tibshirani 1993, chapter 8: resample the independent units).
    pub fn of(tallies: &[Tally]) -> Self {
        let tallies: Vec<Tally> = tallies.iter().copied().filter(|tally| tally.pairs > 0).collect();
        let share = |sum: (f64, usize)| sum.0 / sum.1 as f64;
        let add = |sum: (f64, usize), tally: &Tally| (sum.0 + tally.right, sum.1 + tally.pairs);
        let all = tallies.iter().fold((0.0, 0), add);
        let mut stream = Stream::new(0, Purpose::Evaluation, 1);
        let mut resample =
            || share((0..tallies.len()).fold((0.0, 0), |s, _| add(s, &tallies[stream.below(tallies.len())])));
        let samples: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
        let mean = samples.iter().sum::<f64>() / RESAMPLES as f64;
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (RESAMPLES - 1) as f64;
        Self { share: share(all), error: variance.sqrt(), pairs: all.1, questions: tallies.len() }
    }
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ± {:.1} %", 100.0 * self.share, 100.0 * self.error)
    }
}
