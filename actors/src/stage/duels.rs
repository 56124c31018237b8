//! Whether a candidate is worse than the lead, looked at after every comparison.
//!
//! Invariant: however often and whenever one looks, a candidate that wins at least half of its comparisons is called worse
//! with probability `alpha` at most, and one that wins less than `1/2 - margin` is called not worse with probability `alpha`
//! at most. Pure: a function of what was seen, in order.
//!
//! A comparison is a number x from 0 (the lead was better) to 1 (the candidate was), a tie in the middle. Let p be the mean
//! to be disproved. For any θ the product of `x θ/p + (1 - x)(1 - θ)/(1 - p)` over what was seen never becomes negative and
//! does not grow on average when the mean is p; with θ < p it does not grow either when the mean is above p, with θ > p when
//! it is below. A mean of such products over several θ has the same property, so by Ville's inequality (1939) it ever
//! reaches 1/alpha with probability alpha at most. This is a mixture of the bets of Waudby-Smith and Ramdas, "Estimating
//! means of bounded random variables by betting", JRSS B 86 (2024), section 4, written in the terms of Robbins' mixtures
//! (1970); comparisons need not be independent, only fair given what came before.

use serde::Serialize;

/// Alternatives that are mixed: more tell small differences a little sooner and cost more.
const ALTERNATIVES: usize = 15;

/// Evidence against one mean: the logarithms of the products, one an alternative.
#[derive(Debug, Clone, PartialEq)]
struct Bets {
    /// The mean p.
    mean: f64,
    /// θ and the logarithm of its product.
    wealth: Vec<(f64, f64)>,
}

impl Bets {
    /// Evidence that the mean is below `mean`.
    fn below(mean: f64) -> Self {
        Self::between(mean, 0.0)
    }

    /// Evidence that the mean is above `mean`.
    fn above(mean: f64) -> Self {
        Self::between(mean, 1.0)
    }

    /// Alternatives at even distances from `mean` to `end`, both left out.
    fn between(mean: f64, end: f64) -> Self {
        let at = |k: usize| mean + (end - mean) * k as f64 / (ALTERNATIVES + 1) as f64;
        Self { mean, wealth: (1..=ALTERNATIVES).map(|k| (at(k), 0.0)).collect() }
    }

    fn see(&mut self, x: f64) {
        let p = self.mean;
        for (theta, log) in &mut self.wealth {
            *log += (x * *theta / p + (1.0 - x) * (1.0 - *theta) / (1.0 - p)).ln();
        }
    }

    /// Logarithm of the mean of the products: the evidence.
    fn log_evidence(&self) -> f64 {
        let most = self.wealth.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.wealth.iter().map(|(_, log)| (log - most).exp()).sum();
        most + (sum / self.wealth.len() as f64).ln()
    }
}

/// What the comparisons say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Not enough yet.
    Open,
    /// The candidate wins less than half.
    Worse,
    /// The candidate wins more than `1/2 - margin`.
    NotWorse,
}

/// The comparisons of one candidate with the lead.
#[derive(Debug, Clone, PartialEq)]
pub struct Duels {
    worse: Bets,
    not_worse: Bets,
    threshold: f64,
    seen: u64,
    won: f64,
}

impl Duels {
    /// None yet. `margin` is above 0 and below 1/2, `alpha` above 0 and below 1.
    pub fn new(margin: f64, alpha: f64) -> Self {
        let (worse, not_worse) = (Bets::below(0.5), Bets::above(0.5 - margin));
        Self { worse, not_worse, threshold: -alpha.ln(), seen: 0, won: 0.0 }
    }

    /// Takes up a comparison: 1 the candidate was better, 0 the lead was, 1/2 a tie. What is no number from 0 to 1 is none.
    pub fn see(&mut self, x: f64) {
        if (0.0..=1.0).contains(&x) {
            self.worse.see(x);
            self.not_worse.see(x);
            self.seen += 1;
            self.won += x;
        }
    }

    /// What all of them say.
    pub fn finding(&self) -> Finding {
        if self.worse.log_evidence() >= self.threshold {
            Finding::Worse
        } else if self.not_worse.log_evidence() >= self.threshold {
            Finding::NotWorse
        } else {
            Finding::Open
        }
    }

    /// Comparisons so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The candidate's share of the wins, a tie counting half; `None` before the first comparison.
    pub fn win_rate(&self) -> Option<f64> {
        (self.seen > 0).then(|| self.won / self.seen as f64)
    }
}

#[cfg(test)]
mod tests {
    use understudy_learning::rng::{Purpose, Stream};

    use super::*;

    /// Of `runs` seeded candidates with this chance to win (and to tie), the shares found worse and not worse when one looks
    /// after each of `most` comparisons and stops at the first finding.
    fn found(win: f64, tie: f64, most: usize, runs: u64) -> (f64, f64) {
        let (mut worse, mut not_worse) = (0, 0);
        for run in 0..runs {
            let mut stream = Stream::new(11, Purpose::Evaluation, run);
            let mut duels = Duels::new(0.1, 0.05);
            for _ in 0..most {
                let u = stream.uniform();
                duels.see(if u < win {
                    1.0
                } else if u < win + tie {
                    0.5
                } else {
                    0.0
                });
                match duels.finding() {
                    Finding::Open => continue,
                    Finding::Worse => worse += 1,
                    Finding::NotWorse => not_worse += 1,
                }
                break;
            }
        }
        (worse as f64 / runs as f64, not_worse as f64 / runs as f64)
    }

    #[test]
    fn looking_after_each_of_a_thousand_comparisons_errs_as_seldom_as_stated() {
        // Alike: seldom called worse, in the end called not worse. 400 runs: the standard error of 0.05 is 0.011.
        let (worse, not_worse) = found(0.5, 0.0, 1000, 400);
        assert!(worse <= 0.05, "{worse} of those as good are called worse");
        assert!(not_worse > 0.9, "only {not_worse} of those as good are found so");
        // Worse by exactly the margin, also where most comparisons are ties.
        for (win, tie) in [(0.4, 0.0), (0.1, 0.6)] {
            let (_, not_worse) = found(win, tie, 1000, 400);
            assert!(not_worse <= 0.05, "{not_worse} of those worse by the margin are called not worse");
        }
        // Clearly worse, clearly better.
        assert!(found(0.25, 0.0, 200, 200).0 > 0.95);
        assert!(found(0.75, 0.0, 100, 200).1 > 0.95);
    }

    #[test]
    fn the_evidence_is_the_mean_of_the_products() {
        let mut bets = Bets::below(0.5);
        [0.0, 0.0, 1.0, 0.5].into_iter().for_each(|x| bets.see(x));
        let one = |theta: f64| (2.0 * (1.0 - theta)).powi(2) * 2.0 * theta;
        let wanted: f64 = (1..=15).map(|k| one(0.5 - 0.5 * f64::from(k) / 16.0)).sum::<f64>() / 15.0;
        // Sums of 15 logarithms of doubles.
        assert!((bets.log_evidence() - wanted.ln()).abs() < 1e-12);
        let mut duels = Duels::new(0.1, 0.05);
        [f64::NAN, -0.1, 1.1].into_iter().for_each(|x| duels.see(x));
        assert_eq!((duels.seen(), duels.win_rate(), duels.finding()), (0, None, Finding::Open));
    }
}
