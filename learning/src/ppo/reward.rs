//! From a score for the whole answer to a reward for each token.
//!
//! Invariant: the rewards of a row sum to its score less β times its KL estimate: nothing is lost in placing.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// At which step the score arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScorePlacement {
    /// With the last token (usually the end of sequence): the action that ended the answer is paid for it.
    OnLast,
    /// One step after the last token, where the state after the answer has a value of its own (TRL's convention). In a
    /// table without room for it, the score falls on the last column.
    OnePastLast,
}

/// `[B, T]` rewards: `−β·kl` for each token, plus the row's score at its place.
///
/// - `kl`: `[B, T]`, 0 where nothing was sampled.
/// - `scores`: `[B]`; `lengths`: `[B]` i64, sampled tokens in each row, at least 1 and at most `T`.
pub fn shape_rewards(
    kl: &Tensor,
    scores: &Tensor,
    lengths: &Tensor,
    kl_coef: f64,
    placement: ScorePlacement,
) -> Tensor {
    let width = kl.size()[1];
    let at = match placement {
        ScorePlacement::OnLast => lengths - 1,
        ScorePlacement::OnePastLast => lengths.clamp_max(width - 1),
    };
    (kl * -kl_coef).scatter_add(1, &at.unsqueeze(1), &scores.to_kind(kl.kind()).unsqueeze(1))
}

/// `[B, T]` true for the first `lengths + extra` columns of each row.
pub fn length_mask(lengths: &Tensor, width: i64, extra: i64) -> Tensor {
    let columns = Tensor::arange(width, (Kind::Int64, lengths.device())).unsqueeze(0);
    columns.lt_tensor(&(lengths + extra).unsqueeze(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(placement: ScorePlacement) -> Vec<f64> {
        let kl = Tensor::from_slice(&[0.5f64, 1.0, 0.0, 0.2, 0.4, 0.6]).reshape([2, 3]);
        let scores = Tensor::from_slice(&[10f64, 20.0]);
        let lengths = Tensor::from_slice(&[2i64, 3]);
        Vec::<f64>::try_from(shape_rewards(&kl, &scores, &lengths, 0.1, placement).reshape([-1])).unwrap()
    }

    #[test]
    fn the_score_lands_on_the_last_token_or_one_past_it() {
        let close = |have: Vec<f64>, want: [f64; 6]| {
            assert!(have.iter().zip(want).all(|(h, w)| (h - w).abs() < 1e-12), "{have:?}");
        };
        close(shaped(ScorePlacement::OnLast), [-0.05, 9.9, 0.0, -0.02, -0.04, 19.94]);
        close(shaped(ScorePlacement::OnePastLast), [-0.05, -0.1, 10.0, -0.02, -0.04, 19.94]);
    }

    #[test]
    fn masks_count_by_length_so_an_end_token_inside_the_text_keeps_its_place() {
        let mask = length_mask(&Tensor::from_slice(&[1i64, 3]), 4, 1);
        let flat = Vec::<bool>::try_from(mask.reshape([-1])).unwrap();
        assert_eq!(flat, [true, true, false, false, true, true, true, true]);
    }
}
