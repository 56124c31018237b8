//! Comparisons that may end in a tie, by Davidson's model.
//!
//! Invariant: the three outcomes share all of the probability, and at equal scores a tie is nu times as likely as a win.

use tch::Tensor;

/// How a comparison ended for the first of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The first is better.
    Win,
    /// Neither is.
    Tie,
    /// The second is better.
    Loss,
}

/// −log P(outcome) for d = z_first − z_second, of d's shape.
///
/// Davidson 1970: P(win) : P(tie) : P(loss) = alpha_1 : nu·√(alpha_1·alpha_2) : alpha_2, alpha = e^z.
/// `log_nu` broadcasts against `d`; nu → 0 is Bradley and Terry's model.
pub fn davidson_nll(d: &Tensor, log_nu: &Tensor, outcome: Choice) -> Tensor {
    let (win, loss) = (d / 2.0, d / -2.0);
    let total = win.logaddexp(&loss).logaddexp(log_nu);
    match outcome {
        Choice::Win => total - win,
        Choice::Tie => total - log_nu,
        Choice::Loss => total - loss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::gradcheck::{close, f64s, finite_differences, numbers};

    const ALL: [Choice; 3] = [Choice::Win, Choice::Tie, Choice::Loss];

    #[test]
    fn two_answers_by_hand() {
        // alpha = 4 and 1, nu = 1/2: 4 : 1 : 1.
        let (d, log_nu) = (f64s(&[4f64.ln()]), f64s(&[0.5f64.ln()]));
        let expected = [1.5f64.ln(), 6f64.ln(), 6f64.ln()];
        for (outcome, expected) in ALL.into_iter().zip(expected) {
            close(&davidson_nll(&d, &log_nu, outcome), &[expected], 1e-15);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for (d, log_nu) in [(0.7, -0.3), (-3.0, 1.5), (0.0, 0.0), (12.0, -4.0)] {
            for outcome in ALL {
                finite_differences(&[d, log_nu], &|x| davidson_nll(&x.get(0), &x.get(1), outcome));
            }
        }
    }

    #[test]
    fn far_scores_stay_finite() {
        let d = f64s(&[2000.0, -2000.0]).to_kind(tch::Kind::Float).set_requires_grad(true);
        let nll = ALL.map(|outcome| davidson_nll(&d, &Tensor::from(-1f32), outcome));
        Tensor::cat(&nll, 0).sum(tch::Kind::Float).backward();
        assert!(nll.iter().chain([&d.grad()]).all(|tensor| numbers(tensor).iter().all(|value| value.is_finite())));
        close(&nll[1], &[1001.0, 1001.0], 1e-6);
    }
}
