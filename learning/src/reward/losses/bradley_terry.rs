//! Bradley-Terry on logits: the likelihood of pairwise comparisons.
//!
//! Invariant: only differences enter the likelihood; the centring term alone says where 0 is.

use tch::{Kind, Tensor};

/// What can be added to the plain loss.
#[derive(Debug, Clone, Copy, Default)]
pub struct BradleyTerry<'a> {
    /// `[M]` by how much the better one should win at least (Llama 2, Touvron et al. 2023, eq. 2).
    pub margin: Option<&'a Tensor>,
    /// `[M]` weights > 0; the loss is their weighted mean.
    pub weight: Option<&'a Tensor>,
    /// c of c·mean((z_chosen + z_rejected)²) (Eisenstein et al. 2023, arXiv 2312.09244).
    pub centring: f64,
}

/// mean of softplus(−(z_chosen − z_rejected − margin)) + c·mean((z_chosen + z_rejected)²).
///
/// Bradley and Terry 1952; Ouyang et al. 2022 (arXiv 2203.02155), eq. 1. Both inputs are `[M]` logits.
pub fn bradley_terry_loss(chosen: &Tensor, rejected: &Tensor, options: BradleyTerry<'_>) -> Tensor {
    let mut difference = chosen - rejected;
    if let Some(margin) = options.margin {
        difference -= margin;
    }
    let nll = -difference.log_sigmoid();
    let likelihood = match options.weight {
        Some(weight) => (nll * weight).sum(None::<Kind>) / weight.sum(None::<Kind>),
        None => nll.mean(None::<Kind>),
    };
    if options.centring == 0.0 {
        return likelihood;
    }
    likelihood + (chosen + rejected).square().mean(None::<Kind>) * options.centring
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::losses::gradcheck::{close, f64s, finite_differences};

    #[test]
    fn two_pairs_by_hand() {
        // sigmoid(ln 3) = 3/4 and sigmoid(0) = 1/2: nll = ln(4/3) and ln 2.
        let (chosen, rejected) = (f64s(&[3f64.ln(), 1.0]), f64s(&[0.0, 1.0]));
        let plain = bradley_terry_loss(&chosen, &rejected, BradleyTerry::default());
        close(&plain, &[((4f64 / 3.0).ln() + 2f64.ln()) / 2.0], 1e-15);
        let weight = f64s(&[3.0, 1.0]);
        let weighted = BradleyTerry { weight: Some(&weight), centring: 0.5, ..Default::default() };
        let centring = 0.5 * (3f64.ln().powi(2) + 4.0) / 2.0;
        let expected = (3.0 * (4f64 / 3.0).ln() + 2f64.ln()) / 4.0 + centring;
        close(&bradley_terry_loss(&chosen, &rejected, weighted), &[expected], 1e-15);
        // A margin of ln 3 takes all of the first gap: nll = ln 2 and, from 0 down to -ln 3, ln 4.
        let margin = f64s(&[3f64.ln(), 3f64.ln()]);
        let short = BradleyTerry { margin: Some(&margin), ..Default::default() };
        close(&bradley_terry_loss(&chosen, &rejected, short), &[(2f64.ln() + 4f64.ln()) / 2.0], 1e-15);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (margin, weight) = (f64s(&[0.2, 0.0, 1.0]), f64s(&[1.0, 0.3, 2.0]));
        finite_differences(&[0.5, -0.3, 2.0, 0.1, 0.4, -1.0], &|z| {
            let options = BradleyTerry { margin: Some(&margin), weight: Some(&weight), centring: 0.01 };
            bradley_terry_loss(&z.narrow(0, 0, 3), &z.narrow(0, 3, 3), options)
        });
    }
}
