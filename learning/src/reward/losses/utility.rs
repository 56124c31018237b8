//! Utilities of a reward difference, and the dial that chooses one from P(the question is closed-ended).
//!
//! Invariant: every shifted utility (and the exp dial) is increasing, concave and continued by its tangent at 0, so
//! that a pair in the wrong order always has the steepest, never a vanishing, slope.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A utility U of the difference x = r_better − r_worse of two rewards in `[0, 1]`.
///
/// Song, Cai, Lee, Su 2023 (arXiv 2305.17608): on strict orders the shape of U alone fixes the law of the learned
/// rewards. The kinds without a shift are the theory's ideal ones: they are defined for x > 0 only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Utility {
    /// x: rewards gather at 0 and 1.
    X,
    /// log(x + eps) − log eps, slope 1/eps below 0.
    Log {
        /// Shift; without it the ideal log x.
        eps: Option<f64>,
    },
    /// eps^−s − (x + eps)^−s, slope s·eps^−(s+1) below 0: rewards spread evenly.
    Inv {
        /// Power, > 0.
        s: f64,
        /// Shift; without it the ideal −x^−s.
        eps: Option<f64>,
    },
    /// x^gamma (ideal, x > 0).
    Pow {
        /// Power in (0, 1).
        gamma: f64,
    },
    /// log sigmoid(c·x).
    LogSigmoid {
        /// Steepness; the paper's code uses 4.
        c: f64,
    },
    /// (1 − e^{−λx}) / λ, slope 1 below 0. Its limit law is p·{0 or 1} + (1 − p)·uniform with p = 2 / (2 + λ).
    Exp {
        /// λ > 0.
        #[serde(rename = "lam")]
        lambda: f64,
    },
}

impl Utility {
    /// U(x), elementwise, of any shape; differentiable.
    pub fn value(&self, x: &Tensor) -> Tensor {
        // Clamped before the curved branch: what `where` does not choose must not breed NaN in the gradient.
        let positive = x.clamp_min(0.0);
        let continued = |curve: Tensor, slope: f64| curve.where_self(&x.gt(0.0), &(x * slope));
        match *self {
            Self::X => x.shallow_clone(),
            Self::Log { eps: Some(eps) } => continued((positive / eps).log1p(), 1.0 / eps),
            Self::Log { eps: None } => x.log(),
            Self::Inv { s, eps: Some(eps) } => {
                let curve = eps.powf(-s) - (positive + eps).pow_tensor_scalar(-s);
                continued(curve, s * eps.powf(-s - 1.0))
            }
            Self::Inv { s, eps: None } => -x.pow_tensor_scalar(-s),
            Self::Pow { gamma } => x.pow_tensor_scalar(gamma),
            Self::LogSigmoid { c } => (x * c).log_sigmoid(),
            Self::Exp { lambda } => continued((positive * -lambda).expm1() / -lambda, 1.0),
        }
    }
}

/// The utility of one prompt: the exp dial with U(1) − U(0) = 1, set by one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dial {
    /// λ of [`Utility::Exp`].
    pub lambda: f64,
    /// λ / (1 − e^{−λ}): brings every λ to the same range, so that open prompts learn as fast as closed ones.
    pub range_scale: f64,
}

impl Dial {
    /// The dial whose collapsed rewards are p·(two points) + (1 − p)·(uniform): λ = 2(1 − p) / p, for p kept within
    /// `clip`.
    pub fn from_closedness(closedness: f64, clip: (f64, f64)) -> Self {
        let p = closedness.clamp(clip.0, clip.1);
        let lambda = 2.0 * (1.0 - p) / p;
        Self { lambda, range_scale: lambda / -(-lambda).exp_m1() }
    }

    /// The utility before scaling.
    pub fn utility(&self) -> Utility {
        Utility::Exp { lambda: self.lambda }
    }

    /// U(x) = (1 − e^{−λx}) / (1 − e^{−λ}) for x > 0 and its tangent at 0 below.
    pub fn value(&self, x: &Tensor) -> Tensor {
        self.utility().value(x) * self.range_scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::gradcheck::{close, f64s, finite_differences};

    #[test]
    fn the_dial_runs_from_0_to_1_and_goes_straight_through_0() {
        // p = 1/2: lambda 2, U(x) = (1 - e^{-2x}) / (1 - e^{-2}); slope at 0 is 2 / (1 - e^{-2}) = 2.3130352855.
        let dial = Dial::from_closedness(0.5, (0.05, 0.95));
        assert_eq!(dial.lambda, 2.0);
        let values = dial.value(&f64s(&[0.0, 0.5, 1.0, -1.0]));
        let half = (1.0 - (-1.0f64).exp()) / (1.0 - (-2.0f64).exp());
        close(&values, &[0.0, half, 1.0, -2.313_035_285_499_331_5], 1e-15);
        let extreme = Dial::from_closedness(0.0, (0.05, 0.95));
        assert!((extreme.lambda - 38.0).abs() < 1e-12, "clipped to 0.05");
    }

    #[test]
    fn slopes_agree_with_finite_differences() {
        let kinds = [
            Utility::X,
            Utility::Log { eps: Some(0.1) },
            Utility::Inv { s: 1.0, eps: Some(0.1) },
            Utility::LogSigmoid { c: 4.0 },
            Utility::Exp { lambda: 6.0 },
        ];
        for kind in kinds {
            finite_differences(&[-0.7, -0.01, 0.02, 0.4, 0.9], &|x| kind.value(x).sum(tch::Kind::Double));
        }
    }
}
