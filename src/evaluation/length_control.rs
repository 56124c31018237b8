//! The win-rate as it would be, were both models' answers equally long.
//!
//! Invariant: a judge that goes by length alone gives 1/2.

use serde::Serialize;
use understudy_learning::reward::logistic::sigmoid;

use super::win_rate::Duel;
use crate::preferences::accuracy::{resamples, spread};

/// Weight of |φ|² for each question: keeps φ finite where length alone divides wins from losses.
const RIDGE: f64 = 1e-4;
/// Newton's steps; it settles in a few.
const STEPS: usize = 60;

/// The controlled win-rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LengthControlled {
    /// sigmoid(θ): the preference at equal length.
    pub share: f64,
    /// Its standard error over questions.
    pub error: f64,
    /// Ends of its 95 % interval.
    pub interval: [f64; 2],
    /// φ: how much the judge is for length; 0 where it does not mind.
    pub length_effect: f64,
}

impl LengthControlled {
    /// Of the questions; error and interval by bootstrap, each sample fitted anew.
    pub fn of(duels: &[Duel]) -> Self {
        let (theta, length_effect) = fit(duels);
        let share = |theta: f64| sigmoid(theta);
        let mut drawn = Vec::with_capacity(duels.len());
        let samples = resamples(duels.len(), |places| {
            drawn.clear();
            drawn.extend(places.iter().map(|place| duels[*place]));
            share(fit(&drawn).0)
        });
        let (error, interval) = spread(samples);
        Self { share: share(theta), error, interval, length_effect }
    }
}

/// θ and φ of P(win) = sigmoid(θ + φ·tanh(Δ/σ)), where Δ is the difference of the lengths and σ its root mean square: the
/// likeliest ones, ties being half a win, under a small ridge on φ.
///
/// Dubois et al. 2024, "Length-Controlled AlpacaEval" (arXiv:2404.04475, equation 2), without its term for the difficulty of
/// single questions; the controlled win-rate is the prediction at Δ = 0.
pub fn fit(duels: &[Duel]) -> (f64, f64) {
    let n = duels.len() as f64;
    let sigma = (duels.iter().map(|duel| duel.longer * duel.longer).sum::<f64>() / n.max(1.0)).sqrt();
    let x = |duel: &Duel| if sigma > 0.0 { (duel.longer / sigma).tanh() } else { 0.0 };
    let (mut theta, mut phi) = (0.0, 0.0);
    for _ in 0..STEPS {
        // The same small pull on θ, so that a model that always wins has a finite one.
        let (mut g, mut h) = ([RIDGE * n * theta, RIDGE * n * phi], [RIDGE * n, 0.0, RIDGE * n]);
        for duel in duels {
            let x = x(duel);
            let p = sigmoid(theta + phi * x);
            let (off, curve) = (p - duel.outcome(), p * (1.0 - p));
            g[0] += off;
            g[1] += off * x;
            h[0] += curve;
            h[1] += curve * x;
            h[2] += curve * x * x;
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        if determinant <= 0.0 {
            break;
        }
        let step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
        // The likelihood is concave; bounded steps cannot overshoot into where it is flat.
        theta -= step[0].clamp(-2.0, 2.0);
        phi -= step[1].clamp(-2.0, 2.0);
        if step[0].abs() < 1e-10 && step[1].abs() < 1e-10 {
            break;
        }
    }
    (theta, phi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::win_rate::WinRate;
    use understudy_learning::rng::{Purpose, Stream};

    /// Answers longer by a normal number of mean `lead`; the judge prefers by sigmoid(theta + phi·tanh(Δ/σ)).
    fn judged(lead: f64, theta: f64, phi: f64, seed: u64) -> Vec<Duel> {
        let mut stream = Stream::new(seed, Purpose::Evaluation, 9);
        let sigma = (1.0 + lead * lead).sqrt();
        let mut one = || {
            let longer = lead + stream.normal();
            let wins = stream.uniform() < sigmoid(theta + phi * (longer / sigma).tanh());
            Duel { model: if wins { 1.0 } else { 0.0 }, other: 0.5, longer: 20.0 * longer }
        };
        (0..2000).map(|_| one()).collect()
    }

    #[test]
    fn where_length_alone_decides_the_controlled_win_rate_is_one_half() {
        let duels = judged(0.8, 0.0, 3.0, 1);
        let (raw, controlled) = (WinRate::of(&duels), LengthControlled::of(&duels));
        assert!(raw.share > 0.68, "{raw:?}");
        // About 0.015 by its own error; four of them.
        assert!((controlled.share - 0.5).abs() < 4.0 * controlled.error && controlled.error < 0.02, "{controlled:?}");
        assert!((controlled.length_effect - 3.0).abs() < 0.5, "{controlled:?}");
    }

    #[test]
    fn a_judge_that_takes_the_longer_without_exception_gives_one_half_too() {
        let always = |duel: Duel| Duel { model: duel.longer, other: 0.0, ..duel };
        let duels: Vec<Duel> = judged(0.8, 0.0, 0.0, 2).into_iter().map(always).collect();
        let controlled = LengthControlled::of(&duels);
        assert!(WinRate::of(&duels).share > 0.75 && (controlled.share - 0.5).abs() < 0.1, "{controlled:?}");
    }

    #[test]
    fn what_is_better_at_equal_length_stays_better() {
        let duels = judged(-0.8, 1.0, 2.0, 3);
        let controlled = LengthControlled::of(&duels);
        assert!((controlled.share - sigmoid(1.0)).abs() < 4.0 * controlled.error, "{controlled:?}");
        assert!(WinRate::of(&duels).share < 0.6, "its answers are shorter");
    }

    #[test]
    fn a_small_case_is_solved_exactly() {
        // Equal lengths: θ is the logit of the share, 3 of 4, but for the ridge.
        let duel = |model: f64| Duel { model, other: 0.0, longer: 0.0 };
        let (theta, phi) = fit(&[duel(1.0), duel(1.0), duel(1.0), duel(-1.0)]);
        assert!((theta - 3f64.ln()).abs() < 1e-3 && phi == 0.0, "{theta} {phi}");
        // Two lengths, tanh(±1): 4 of 5 won when longer, 1 of 5 when shorter: θ 0 and φ ln 4 / tanh 1.
        let at = |longer: f64, wins: usize| {
            (0..5).map(move |i| Duel { model: if i < wins { 1.0 } else { -1.0 }, other: 0.0, longer })
        };
        let (theta, phi) = fit(&at(7.0, 4).chain(at(-7.0, 1)).collect::<Vec<_>>());
        assert!(theta.abs() < 1e-9 && (phi - 4f64.ln() / 1f64.tanh()).abs() < 5e-3, "{theta} {phi}");
    }
}
