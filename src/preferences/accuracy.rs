//! Pair accuracy with an error that respects questions.
//!
//! Invariant: pairs of one question are not independent, so questions are what is resampled; the same tallies give the
//! same error.

use serde::Serialize;
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// Over all pairs; NaN without any.
    pub share: f64,
    /// Its standard error by resampling questions.
    pub error: f64,
    /// Ends of its 95 % interval: the 2.5 % and 97.5 % points of the resamples.
    pub interval: [f64; 2],
    /// Pairs.
    pub pairs: usize,
    /// Questions with at least one pair.
    pub questions: usize,
}

/// Resamples behind an error: it is itself off by 1/√(2·1000), about 2 %.
const RESAMPLES: usize = 1000;

impl Accuracy {
    /// Over the questions' tallies; error and interval are those of bootstrap samples of whole questions (Efron and
    /// Tibshirani 1993, chapters 8 and 13: resample the independent units; the percentile interval).
    pub fn of(tallies: &[Tally]) -> Self {
        let tallies: Vec<Tally> = tallies.iter().copied().filter(|tally| tally.pairs > 0).collect();
        let share = |sum: (f64, usize)| sum.0 / sum.1 as f64;
        let add = |sum: (f64, usize), tally: &Tally| (sum.0 + tally.right, sum.1 + tally.pairs);
        let all = tallies.iter().fold((0.0, 0), add);
        let samples = resamples(tallies.len(), |drawn| share(drawn.iter().fold((0.0, 0), |s, i| add(s, &tallies[*i]))));
        let (error, interval) = spread(samples);
        Self { share: share(all), error, interval, pairs: all.1, questions: tallies.len() }
    }

    /// How much better `a` is than `b` on the same questions: the difference with its standard error and interval. Tallies
    /// are of the same questions in the same order.
    pub fn difference(a: &[Tally], b: &[Tally]) -> (f64, f64, [f64; 2]) {
        let of = |drawn: &mut dyn Iterator<Item = usize>| {
            let (mut right, mut pairs) = (0.0, 0);
            for place in drawn {
                right += a[place].right - b[place].right;
                pairs += a[place].pairs;
            }
            right / pairs as f64
        };
        let samples = resamples(a.len(), |drawn| of(&mut drawn.iter().copied()));
        let (error, interval) = spread(samples);
        (of(&mut (0..a.len())), error, interval)
    }
}

/// `statistic` of bootstrap samples of `0..units`; the same samples for the same number of units.
pub fn resamples(units: usize, mut statistic: impl FnMut(&[usize]) -> f64) -> Vec<f64> {
    let mut stream = Stream::new(0, Purpose::Evaluation, 1);
    let mut drawn = vec![0; units];
    let mut resample = || {
        drawn.iter_mut().for_each(|place| *place = stream.below(units));
        statistic(&drawn)
    };
    (0..RESAMPLES).map(|_| resample()).collect()
}

/// Standard deviation and 95 % percentile interval of `samples`; what is not a number is left out.
pub fn spread(mut samples: Vec<f64>) -> (f64, [f64; 2]) {
    samples.retain(|sample| sample.is_finite());
    if samples.len() < 2 {
        return (0.0, [f64::NAN; 2]);
    }
    samples.sort_by(f64::total_cmp);
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let at = |share: f64| samples[((n * share) as usize).min(samples.len() - 1)];
    (variance.sqrt(), [at(0.025), at(0.975)])
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ± {:.1} %", 100.0 * self.share, 100.0 * self.error)
    }
}
