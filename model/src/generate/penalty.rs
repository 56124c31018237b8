//! The repetition penalty.
//!
//! Invariant: a token is penalised once, however often it occurred (Keskar et al. 2019, section 4.1, as `transformers`
//! has it: positive logits are divided, negative ones multiplied).

use std::collections::BTreeSet;

use tch::Tensor;

/// Changes the logits `[V]` of `seen` tokens in place.
pub(crate) fn penalise(row: &mut Tensor, seen: &BTreeSet<i64>, penalty: f64) {
    let index: Vec<i64> = seen.iter().copied().collect();
    let index = Tensor::from_slice(&index).to_device(row.device());
    let before = row.index_select(0, &index);
    let after = (&before * penalty).where_self(&before.lt(0.0), &(&before / penalty));
    let _same = row.index_copy_(0, &index, &after);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seen_tokens_lose_whatever_their_sign_and_others_keep() {
        let mut row = Tensor::from_slice(&[2f32, -2.0, 1.0, 0.0]);
        penalise(&mut row, &BTreeSet::from([0, 1, 3]), 2.0);
        assert!(row == Tensor::from_slice(&[1f32, -4.0, 1.0, 0.0]));
    }
}
