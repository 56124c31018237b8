//! How well a model foretells what people wrote.
//!
//! Invariant: only the answer's tokens count; questions are what is resampled.

use serde::Serialize;

use crate::preferences::accuracy::{resamples, spread};

/// Perplexity of held-out answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Perplexity {
    /// exp of the mean negative log-probability of a token.
    pub perplexity: f64,
    /// Its standard error over questions.
    pub error: f64,
    /// Ends of its 95 % interval.
    pub interval: [f64; 2],
    /// Nats a token.
    pub nats_per_token: f64,
    /// Tokens.
    pub tokens: usize,
    /// Questions.
    pub questions: usize,
}

impl Perplexity {
    /// `sums` holds each question's summed log-probability and its number of tokens; error and interval by bootstrap.
    pub fn of(sums: &[(f64, usize)]) -> Self {
        let sums: Vec<(f64, usize)> = sums.iter().copied().filter(|(_, tokens)| *tokens > 0).collect();
        let mean = |places: &mut dyn Iterator<Item = usize>| {
            let (log, tokens) = places.fold((0.0, 0), |all, place| (all.0 + sums[place].0, all.1 + sums[place].1));
            (-log / tokens as f64, tokens)
        };
        let sample = |places: &[usize]| mean(&mut places.iter().copied()).0.exp();
        let (error, interval) = spread(resamples(sums.len(), sample));
        let (nats_per_token, tokens) = mean(&mut (0..sums.len()));
        Self { perplexity: nats_per_token.exp(), error, interval, nats_per_token, tokens, questions: sums.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_by_hand() {
        // Four tokens of probability 1/2 and two of 1/8: (4 ln 2 + 2 · 3 ln 2) / 6 nats; 2^(10/6).
        let sums = [(4.0 * 0.5f64.ln(), 4), (2.0 * 0.125f64.ln(), 2), (0.0, 0)];
        let found = Perplexity::of(&sums);
        assert!((found.perplexity - 2f64.powf(10.0 / 6.0)).abs() < 1e-12);
        assert_eq!((found.tokens, found.questions), (6, 2), "a question without an answer does not count");
        assert!((found.interval[0] - 2.0).abs() < 1e-12 && (found.interval[1] - 8.0).abs() < 1e-12);
    }
}
