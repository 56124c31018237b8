//! Qualities of answers that were only compared: Bradley-Terry at its posterior mode, with a Laplace variance.
//!
//! Invariant: the prior makes the Newton system positive definite, so there is one mode and it is finite.

use crate::reward::logistic::sigmoid;

/// `better` beat `worse` with `weight` (> 0); a tie is half a win each way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Win {
    pub(super) better: usize,
    pub(super) worse: usize,
    pub(super) weight: f64,
}

const STEPS: usize = 50;
/// A Newton step below this ends the search: the mode is then exact to about its square.
const SETTLED: f64 = 1e-9;

/// Means and variances of sigmoid(s) for `answers` answers: s at the mode of Π sigmoid(s_better − s_worse)^weight ·
/// Normal(s; 0, 1) (Bradley and Terry 1952), variance sigmoid'(s)²·(H⁻¹)_kk by the delta method.
pub(super) fn bradley_terry(answers: usize, wins: &[Win]) -> (Vec<f64>, Vec<f64>) {
    let mut s = vec![0.0; answers];
    for _ in 0..STEPS {
        let (gradient, hessian) = derivatives(&s, wins);
        let step = Cholesky::of(hessian, answers).solve(&gradient);
        // The log posterior is concave; a bounded step cannot overshoot into where sigmoid is flat.
        s.iter_mut().zip(&step).for_each(|(s, step)| *s -= step.clamp(-2.0, 2.0));
        if step.iter().all(|step| step.abs() < SETTLED) {
            break;
        }
    }
    let factor = Cholesky::of(derivatives(&s, wins).1, answers);
    let mut unit = vec![0.0; answers];
    let variance = |k: usize, s: f64| {
        unit.iter_mut().enumerate().for_each(|(i, value)| *value = f64::from(u8::from(i == k)));
        let slope = sigmoid(s) * (1.0 - sigmoid(s));
        slope * slope * factor.solve(&unit)[k]
    };
    let mut variance = variance;
    let variances = s.iter().enumerate().map(|(k, s)| variance(k, *s)).collect();
    (s.iter().map(|s| sigmoid(*s)).collect(), variances)
}

/// Gradient and Hessian (row-major) of the negative log posterior.
fn derivatives(s: &[f64], wins: &[Win]) -> (Vec<f64>, Vec<f64>) {
    let n = s.len();
    let mut gradient = s.to_vec();
    let mut hessian = vec![0.0; n * n];
    (0..n).for_each(|i| hessian[i * n + i] = 1.0);
    for Win { better, worse, weight } in wins {
        let lost = 1.0 / (1.0 + (s[*better] - s[*worse]).exp());
        gradient[*better] -= weight * lost;
        gradient[*worse] += weight * lost;
        let curve = weight * lost * (1.0 - lost);
        hessian[better * n + better] += curve;
        hessian[worse * n + worse] += curve;
        hessian[better * n + worse] -= curve;
        hessian[worse * n + better] -= curve;
    }
    (gradient, hessian)
}

/// The lower triangle L of a positive definite matrix L·Lᵀ.
struct Cholesky {
    lower: Vec<f64>,
    n: usize,
}

impl Cholesky {
    fn of(mut matrix: Vec<f64>, n: usize) -> Self {
        for j in 0..n {
            for i in j..n {
                let dot: f64 = (0..j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
                let value = matrix[i * n + j] - dot;
                // At least the prior's 1 stands on the diagonal.
                matrix[i * n + j] = if i == j { value.max(1e-12).sqrt() } else { value / matrix[j * n + j] };
            }
        }
        Self { lower: matrix, n }
    }

    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let n = self.n;
        let mut x = right.to_vec();
        for i in 0..n {
            let dot: f64 = (0..i).map(|k| self.lower[i * n + k] * x[k]).sum();
            x[i] = (x[i] - dot) / self.lower[i * n + i];
        }
        for i in (0..n).rev() {
            let dot: f64 = (i + 1..n).map(|k| self.lower[k * n + i] * x[k]).sum();
            x[i] = (x[i] - dot) / self.lower[i * n + i];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_has_its_mode_where_the_prior_balances_the_win() {
        let (means, variances) = bradley_terry(2, &[Win { better: 0, worse: 1, weight: 1.0 }]);
        // s = sigmoid(-2s) at the mode: s = 0.3149230578...; both symmetric about 1/2.
        let s = (means[0] / (1.0 - means[0])).ln();
        assert!((s - 1.0 / (1.0 + (2.0 * s).exp())).abs() < 1e-12, "{s}");
        assert!((means[0] + means[1] - 1.0).abs() < 1e-12);
        // H = I + c [[1,-1],[-1,1]] has (H^-1)_00 = (1 + c) / (1 + 2c).
        let lost = 1.0 / (1.0 + (2.0 * s).exp());
        let curve = lost * (1.0 - lost);
        let wanted = (means[0] * (1.0 - means[0])).powi(2) * (1.0 + curve) / (1.0 + 2.0 * curve);
        assert!((variances[0] - wanted).abs() < 1e-12);
    }

    #[test]
    fn a_thousand_wins_and_unheard_answers_stay_finite() {
        let (means, variances) = bradley_terry(3, &[Win { better: 0, worse: 1, weight: 1000.0 }]);
        assert!(means[0] > 0.9 && means[1] < 0.1 && means[2] == 0.5, "{means:?}");
        assert!((variances[2] - 1.0 / 16.0).abs() < 1e-12, "an answer in no pair keeps its prior");
    }
}
