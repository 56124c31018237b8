//! Thumbs: a logit with a threshold.
//!
//! Invariant: the threshold is on the scale of the logits, so thumbs and comparisons share one score.

use tch::Tensor;

/// `[N]` −log P(what was said): P(up) = sigmoid(kappa·(s − threshold)).
///
/// `scores` and `up` (1 is up, 0 is down) are `[N]`; `threshold` and `kappa` are scalars (a person's own, later).
pub fn thumbs_nll(scores: &Tensor, up: &Tensor, threshold: &Tensor, kappa: f64) -> Tensor {
    let sign = up * 2.0 - 1.0;
    -((scores - threshold) * kappa * sign).log_sigmoid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::gradcheck::{close, f64s, finite_differences};

    #[test]
    fn up_and_down_by_hand() {
        // s - threshold = ln 3: P(up) = 3/4.
        let (scores, threshold) = (f64s(&[3f64.ln() + 0.5, 3f64.ln() + 0.5]), f64s(&[0.5]));
        let nll = thumbs_nll(&scores, &f64s(&[1.0, 0.0]), &threshold, 1.0);
        close(&nll, &[(4f64 / 3.0).ln(), 4f64.ln()], 1e-15);
        // Twice as steep: P(up) = 9/10.
        let steep = thumbs_nll(&scores, &f64s(&[1.0, 0.0]), &threshold, 2.0);
        close(&steep, &[(10f64 / 9.0).ln(), 10f64.ln()], 1e-15);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let up = f64s(&[1.0, 0.0, 1.0]);
        finite_differences(&[0.7, 0.1, -1.3, 0.3], &|x| {
            thumbs_nll(&x.narrow(0, 0, 3), &up, &x.narrow(0, 3, 1), 1.2).sum(None::<tch::Kind>)
        });
    }
}
