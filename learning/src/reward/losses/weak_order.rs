//! Weak orders as weighted pairs.
//!
//! Invariant: equals make no pair.

use tch::{Device, Kind, Tensor};

/// "`better` is better than `worse`", as indices into some list of answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightedPair {
    /// Index of the better one.
    pub better: usize,
    /// Index of the worse one.
    pub worse: usize,
    /// > 0.
    pub weight: f64,
}

/// All pairs of `ranks` (smaller is better, equal is tied), each of weight 1.
pub fn pairs_of_ranks(ranks: &[i64]) -> Vec<WeightedPair> {
    let of = |better: usize| {
        (0..ranks.len()).filter(move |&worse| ranks[better] < ranks[worse]).map(move |worse| WeightedPair {
            better,
            worse,
            weight: 1.0,
        })
    };
    (0..ranks.len()).flat_map(of).collect()
}

/// Pairs as tensors for indexing: better `[M]`, worse `[M]`, weight `[M]`.
pub(crate) fn pair_tensors(pairs: &[WeightedPair], kind: Kind, device: Device) -> (Tensor, Tensor, Tensor) {
    let index = |of: fn(&WeightedPair) -> usize| {
        Tensor::from_slice(&pairs.iter().map(|pair| of(pair) as i64).collect::<Vec<_>>()).to_device(device)
    };
    let weight = Tensor::from_slice(&pairs.iter().map(|pair| pair.weight).collect::<Vec<_>>());
    (index(|pair| pair.better), index(|pair| pair.worse), weight.to_kind(kind).to_device(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_make_no_pair_and_every_other_two_make_one() {
        let pairs = pairs_of_ranks(&[1, 0, 1]);
        let named: Vec<_> = pairs.iter().map(|pair| (pair.better, pair.worse)).collect();
        assert_eq!(named, [(1, 0), (1, 2)]);
        assert_eq!(pairs_of_ranks(&[0, 1, 2, 3, 4]).len(), 10);
        assert!(pairs_of_ranks(&[7, 7, 7]).is_empty());
    }
}
