//! What unequal people say: likelihoods that know how often, and how surely, a person speaks from the common score.
//!
//! Invariant: a person of reliability 1/2 teaches nothing about the scores; one of reliability 1 and temperature 1 is
//! heard as if alone.

use tch::{Kind, Tensor};

/// `[N]` −log(eta·e^{−nll} + (1 − eta)·e^{−nll_reversed}): said as meant with probability eta, else turned round.
///
/// The mixture of Chen, Bennett, Collins-Thompson, Horvitz 2013 (CrowdBT) for any likelihood that has a reverse.
/// The shapes broadcast; eta is in `[0, 1]`. Where the likelier reading is beyond the number format's range away from
/// the only one that eta allows (eta exactly 0 or 1), the loss stops growing there.
pub fn reversal_mixture_nll(nll: &Tensor, nll_reversed: &Tensor, eta: &Tensor) -> Tensor {
    // Measured from the likelier reading, which cancels out of the gradient.
    let anchor = nll.minimum(nll_reversed).detach();
    let (straight, turned) = ((&anchor - nll).exp(), (&anchor - nll_reversed).exp());
    let least = if nll.kind() == Kind::Double { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) };
    let likelihood: Tensor = eta * straight + (1.0 - eta) * turned;
    anchor - likelihood.clamp_min(least).log()
}

/// `[N]` −log(eta·sigmoid(d) + (1 − eta)·sigmoid(−d)): a comparison by a person of reliability eta.
///
/// Chen et al. 2013, eq. 3. `d`: `[N]` winner's score minus loser's; `eta`: `[N]` (or broadcastable) in `[0, 1]`.
pub fn crowd_bt_nll(d: &Tensor, eta: &Tensor) -> Tensor {
    reversal_mixture_nll(&-d.log_sigmoid(), &-(-d).log_sigmoid(), eta)
}

/// `[N]` −log sigmoid(beta·d): a comparison by a person of inverse temperature beta > 0, who chooses surely when it is
/// large and by chance when it is small.
///
/// Luce 1959 with a person's own scale, as in Raman and Joachims 2014 (arXiv 1404.3656).
pub fn temper_bt_nll(d: &Tensor, beta: &Tensor) -> Tensor {
    -(d * beta).log_sigmoid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::gradcheck::{close, f64s, finite_differences, gradient, numbers};

    #[test]
    fn comparisons_by_hand() {
        // sigmoid(ln 3) = 3/4; eta = 0.9: 0.9 · 0.75 + 0.1 · 0.25 = 0.7. beta = 2: 9/10.
        let d = f64s(&[3f64.ln()]);
        close(&crowd_bt_nll(&d, &f64s(&[0.9])), &[-(0.7f64.ln())], 1e-15);
        close(&temper_bt_nll(&d, &f64s(&[2.0])), &[-(0.9f64.ln())], 1e-15);
        close(
            &reversal_mixture_nll(&f64s(&[2f64.ln()]), &f64s(&[4f64.ln()]), &f64s(&[0.5])),
            &[-(0.375f64.ln())],
            1e-15,
        );
    }

    #[test]
    fn a_person_who_is_wrong_half_of_the_time_teaches_nothing() {
        let slopes = gradient(&[0.3, -2.0, 9.0], &|d| crowd_bt_nll(d, &f64s(&[0.5])).sum(Kind::Double));
        assert!(slopes.iter().all(|slope| slope.abs() < 1e-15), "{slopes:?}");
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for (d, other) in [([0.7, -1.3, 0.0], [0.6, 0.95, 0.2]), ([6.0, -6.0, 2.0], [0.999, 0.7, 0.01])] {
            let both = [d, other].concat();
            let sum = |loss: fn(&Tensor, &Tensor) -> Tensor| {
                move |x: &Tensor| loss(&x.narrow(0, 0, 3), &x.narrow(0, 3, 3)).sum(Kind::Double)
            };
            finite_differences(&both, &sum(crowd_bt_nll));
            finite_differences(&both, &sum(temper_bt_nll));
            let likelihoods = [[0.4, 2.0, 0.7], [1.3, 0.1, 0.7], other].concat();
            finite_differences(&likelihoods, &|x| {
                reversal_mixture_nll(&x.narrow(0, 0, 3), &x.narrow(0, 3, 3), &x.narrow(0, 6, 3)).sum(Kind::Double)
            });
        }
    }

    #[test]
    fn far_scores_and_sure_people_stay_finite_in_both_precisions() {
        for kind in [Kind::Float, Kind::Double] {
            let leaf = |values: &[f64]| f64s(values).to_kind(kind).set_requires_grad(true);
            let (d, eta) = (leaf(&[3000.0, -3000.0, -3000.0, 50.0]), leaf(&[1.0, 1.0, 0.9, 0.0]));
            let nll = crowd_bt_nll(&d, &eta);
            nll.sum(kind).backward();
            for tensor in [&nll, &d.grad(), &eta.grad()] {
                assert!(numbers(tensor).iter().all(|value| value.is_finite()), "{tensor}");
            }
            // The other way round than any doubt allows: it was turned round, at a cost of −log 0.1.
            close(&nll.get(2), &[10f64.ln()], 1e-6);
        }
    }
}
