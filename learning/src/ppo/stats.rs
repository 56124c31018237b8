//! What is measured while learning. Every mean is over tokens that count, never over padding.
//!
//! Invariant: sums are kept in f64 and divided once at the end, so that a mean over micro-batches is that of the whole.

use tch::{Kind, Tensor};

use super::loss::PolicyClip;
use super::whiten::{masked_sum, masked_variance};

/// Sums over the tokens of all micro-batches of an update.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RatioSums {
    tokens: f64,
    squared_log_ratio: f64,
    clipped: f64,
    ratio: f64,
    ratio_squared: f64,
    ratio_max: f64,
    entropy: f64,
}

/// Means of [`RatioSums`]; all 0 before the first token.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RatioStats {
    /// `½·mean((logprob − prox)²)`: a second-order estimate of the policy's move since the update began.
    pub approx_kl: f64,
    /// Share of tokens whose ratio lies outside the clip range.
    pub clipfrac: f64,
    /// Mean ratio.
    pub ratio_mean: f64,
    /// Variance of the ratio (divided by n).
    pub ratio_var: f64,
    /// Greatest ratio.
    pub ratio_max: f64,
    /// Mean entropy in nats.
    pub entropy: f64,
}

impl RatioSums {
    /// Takes tokens into account: `[N]` tensors without padding.
    pub fn add(&mut self, logprobs: &Tensor, prox_logprobs: &Tensor, entropy: &Tensor, clip: PolicyClip) {
        if logprobs.numel() == 0 {
            return;
        }
        let log_ratio = (logprobs.detach() - prox_logprobs).to_kind(Kind::Double);
        let ratio = log_ratio.clamp(-20.0, 20.0).exp();
        let outside = ratio.lt(1.0 - clip.low).logical_or(&ratio.gt(1.0 + clip.high));
        let sum = |x: Tensor| x.sum(Kind::Double).double_value(&[]);
        self.tokens += logprobs.numel() as f64;
        self.squared_log_ratio += sum(log_ratio.square());
        self.clipped += sum(outside);
        self.ratio += sum(ratio.shallow_clone());
        self.ratio_squared += sum(ratio.square());
        self.ratio_max = self.ratio_max.max(ratio.max().double_value(&[]));
        self.entropy += sum(entropy.detach());
    }

    /// Adds other sums.
    pub fn merge(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.squared_log_ratio += other.squared_log_ratio;
        self.clipped += other.clipped;
        self.ratio += other.ratio;
        self.ratio_squared += other.ratio_squared;
        self.ratio_max = self.ratio_max.max(other.ratio_max);
        self.entropy += other.entropy;
    }

    /// The means.
    pub fn stats(&self) -> RatioStats {
        let n = self.tokens.max(1.0);
        let mean = self.ratio / n;
        RatioStats {
            approx_kl: 0.5 * self.squared_log_ratio / n,
            clipfrac: self.clipped / n,
            ratio_mean: mean,
            ratio_var: (self.ratio_squared / n - mean * mean).max(0.0),
            ratio_max: self.ratio_max,
            entropy: self.entropy / n,
        }
    }
}

/// `1 − Var(returns − values)/Var(returns)` over the true positions of `mask`: 1 when the values foretold the returns,
/// 0 when they were as good as a constant, below 0 when worse. 0 where the returns have no spread.
pub fn explained_variance(values: &Tensor, returns: &Tensor, mask: &Tensor) -> f64 {
    let spread = masked_variance(returns, mask).double_value(&[]);
    if spread <= 0.0 { 0.0 } else { 1.0 - masked_variance(&(returns - values), mask).double_value(&[]) / spread }
}

/// Mean over rows of the sum over each row's true positions: nats per sequence from nats per token.
pub fn per_sequence(x: &Tensor, mask: &Tensor) -> f64 {
    masked_sum(x, mask).double_value(&[]) / x.size()[0].max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: PolicyClip = PolicyClip { low: 0.2, high: 0.2, dual: None };

    #[test]
    fn means_do_not_depend_on_the_cut_into_micro_batches() {
        let now = Tensor::from_slice(&[0.0f64, 0.1, -0.4, 0.3]);
        let (before, entropy) = (now.zeros_like(), Tensor::from_slice(&[1f64, 2.0, 3.0, 4.0]));
        let mut whole = RatioSums::default();
        whole.add(&now, &before, &entropy, CLIP);
        let mut parts = RatioSums::default();
        for (start, length) in [(0, 1), (1, 3)] {
            let mut part = RatioSums::default();
            let cut = |x: &Tensor| x.narrow(0, start, length);
            part.add(&cut(&now), &cut(&before), &cut(&entropy), CLIP);
            parts.merge(&part);
        }
        let (whole, parts) = (whole.stats(), parts.stats());
        assert!((whole.ratio_var - parts.ratio_var).abs() < 1e-12 && (whole.approx_kl - parts.approx_kl).abs() < 1e-12);
        // By hand: ½·(0.01 + 0.16 + 0.09)/4; e^{−0.4} = 0.67 and e^{0.3} = 1.35 lie outside.
        assert!((whole.approx_kl - 0.0325).abs() < 1e-12);
        assert_eq!((whole.clipfrac, whole.entropy), (0.5, 2.5));
        assert!((whole.ratio_max - 0.3f64.exp()).abs() < 1e-12);
    }

    #[test]
    fn nothing_moved_means_ratio_one_and_zero_elsewhere() {
        let now = Tensor::from_slice(&[-1f32, -2.0]);
        let mut sums = RatioSums::default();
        sums.add(&now, &now, &now.zeros_like(), CLIP);
        let wanted = RatioStats { ratio_mean: 1.0, ratio_max: 1.0, ..RatioStats::default() };
        assert_eq!(sums.stats(), wanted);
    }

    #[test]
    fn explained_variance_is_one_for_prophets_and_zero_for_constants() {
        let returns = Tensor::from_slice(&[1f64, 2.0, 4.0, 100.0]);
        let mask = Tensor::from_slice(&[true, true, true, false]);
        assert!((explained_variance(&returns, &returns, &mask) - 1.0).abs() < 1e-12);
        assert!(explained_variance(&(returns.zeros_like() + 3.0), &returns, &mask).abs() < 1e-12);
        assert!(explained_variance(&(-&returns), &returns, &mask) < -1.0);
        assert_eq!(explained_variance(&returns, &returns.ones_like(), &mask), 0.0);
    }
}
