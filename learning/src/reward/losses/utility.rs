//! Utilities of a reward difference, and the dial that chooses one from P(the question is closed-ended).
//!
//! Invariant: every shifted utility (and the exp dial) is increasing, concave and continued by its tangent at 0, so
//! that a pair in the wrong order always has the steepest, never a vanishing, slope.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::reward::logistic::{sigmoid, softplus};

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

    /// U(x) as a plain number. The ideal kinds (log, inv and pow without a shift) are −∞ where they are not defined.
    pub fn value_f64(&self, x: f64) -> f64 {
        match *self {
            Self::X => x,
            Self::LogSigmoid { c } => -softplus(-c * x),
            Self::Pow { gamma } if x >= 0.0 => x.powf(gamma),
            Self::Log { eps: None } if x > 0.0 => x.ln(),
            Self::Inv { s, eps: None } if x > 0.0 => -x.powf(-s),
            Self::Pow { .. } | Self::Log { eps: None } | Self::Inv { eps: None, .. } => f64::NEG_INFINITY,
            _ if x <= 0.0 => self.slope_f64(0.0) * x,
            Self::Log { eps: Some(eps) } => (x / eps).ln_1p(),
            // eps^−s − (x + eps)^−s without cancellation at small x.
            Self::Inv { s, eps: Some(eps) } => -eps.powf(-s) * (-s * (x / eps).ln_1p()).exp_m1(),
            Self::Exp { lambda } => -(-lambda * x).exp_m1() / lambda,
        }
    }

    /// U′(x) as a plain number: the tangent's slope for x ≤ 0; +∞ where an ideal kind is not defined or starts upright.
    pub fn slope_f64(&self, x: f64) -> f64 {
        let right = x.max(0.0);
        match *self {
            Self::X => 1.0,
            Self::LogSigmoid { c } => c * sigmoid(-c * x),
            Self::Log { eps: Some(eps) } => 1.0 / (right + eps),
            Self::Inv { s, eps: Some(eps) } => s * (right + eps).powf(-s - 1.0),
            Self::Exp { lambda } => (-lambda * right).exp(),
            Self::Pow { .. } | Self::Log { eps: None } | Self::Inv { eps: None, .. } if x <= 0.0 => f64::INFINITY,
            Self::Pow { gamma } => gamma * x.powf(gamma - 1.0),
            Self::Log { eps: None } => 1.0 / x,
            Self::Inv { s, eps: None } => s * x.powf(-s - 1.0),
        }
    }

    /// U″(x) ≤ 0 as a plain number. On the straight part, x ≤ 0 of the shifted kinds, it is 0 (at 0 itself the second
    /// derivative jumps; [`Self::curvature_at_zero`] is its limit from the right); −∞ where an ideal kind is not defined.
    pub fn curvature_f64(&self, x: f64) -> f64 {
        match *self {
            Self::X => 0.0,
            Self::LogSigmoid { c } => -c * c * sigmoid(c * x) * sigmoid(-c * x),
            Self::Pow { .. } | Self::Log { eps: None } | Self::Inv { eps: None, .. } if x <= 0.0 => f64::NEG_INFINITY,
            _ if x <= 0.0 => 0.0,
            _ => self.curvature_right(x),
        }
    }

    /// The limit of U″(x) as x falls to 0: −∞ for the ideal kinds.
    pub fn curvature_at_zero(&self) -> f64 {
        match self {
            Self::X | Self::LogSigmoid { .. } => self.curvature_f64(0.0),
            Self::Pow { .. } | Self::Log { eps: None } | Self::Inv { eps: None, .. } => f64::NEG_INFINITY,
            _ => self.curvature_right(0.0),
        }
    }

    /// U″ of the curved branch, with its limit at 0.
    fn curvature_right(&self, x: f64) -> f64 {
        match *self {
            Self::X | Self::LogSigmoid { .. } => self.curvature_f64(x),
            Self::Log { eps } => -(x + eps.unwrap_or(0.0)).powi(-2),
            Self::Inv { s, eps } => -s * (s + 1.0) * (x + eps.unwrap_or(0.0)).powf(-s - 2.0),
            Self::Pow { gamma } => gamma * (gamma - 1.0) * x.powf(gamma - 2.0),
            Self::Exp { lambda } => -lambda * (-lambda * x).exp(),
        }
    }
}

/// P(closed-ended) is kept within these bounds where it sets the dial: outside, lambda would be endless or 0. Whoever
/// decides p keeps it within closer ones.
pub const DIAL_BOUNDS: (f64, f64) = (0.01, 0.99);

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
        let closed = Dial::from_closedness(1.0, (0.05, 0.95));
        assert!((closed.lambda - 0.1 / 0.95).abs() < 1e-12, "clipped to 0.95: at 1 it would be 0");
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
    fn every_kind() -> [Utility; 10] {
        [
            Utility::X,
            Utility::Log { eps: Some(0.1) },
            Utility::Log { eps: None },
            Utility::Inv { s: 1.0, eps: Some(0.1) },
            Utility::Inv { s: 0.5, eps: Some(0.3) },
            Utility::Inv { s: 2.0, eps: None },
            Utility::Pow { gamma: 0.25 },
            Utility::LogSigmoid { c: 4.0 },
            Utility::Exp { lambda: 6.0 },
            Utility::Exp { lambda: 0.01 },
        ]
    }

    #[test]
    fn plain_numbers_agree_with_the_tensors_and_their_slopes() {
        for kind in every_kind() {
            let ideal = kind.value_f64(-0.5) == f64::NEG_INFINITY;
            let points: &[f64] = if ideal { &[0.02, 0.4, 0.9] } else { &[-0.7, -0.01, 0.02, 0.4, 0.9] };
            let x = f64s(points).set_requires_grad(true);
            let value = kind.value(&x);
            value.sum(tch::Kind::Double).backward();
            close(&value, &points.iter().map(|&x| kind.value_f64(x)).collect::<Vec<_>>(), 1e-12);
            close(&x.grad(), &points.iter().map(|&x| kind.slope_f64(x)).collect::<Vec<_>>(), 1e-12);
        }
    }

    #[test]
    fn curvature_is_the_slope_of_the_slope() {
        // Central differences with step 1e-5: the error is a third derivative times 1e-10.
        for kind in every_kind() {
            for x in [0.05, 0.3, 0.8] {
                let numeric = (kind.slope_f64(x + 1e-5) - kind.slope_f64(x - 1e-5)) / 2e-5;
                let exact = kind.curvature_f64(x);
                assert!((numeric - exact).abs() <= 1e-4 * exact.abs().max(1.0), "{kind:?} {x}: {exact} {numeric}");
            }
        }
        let log = Utility::Log { eps: Some(0.1) };
        assert_eq!((log.curvature_f64(0.0), log.curvature_f64(-1.0)), (0.0, 0.0));
        assert!((log.curvature_at_zero() + 100.0).abs() < 1e-9);
    }

    #[test]
    fn ideal_kinds_end_at_zero() {
        let log = Utility::Log { eps: None };
        assert_eq!((log.value_f64(0.0), log.slope_f64(0.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(Utility::Pow { gamma: 0.5 }.value_f64(0.0), 0.0);
    }
}
