//! A short name for weights.
//!
//! Invariant: the same weights have the same name on every device; weights that were learned on have another.

use tch::{Device, Kind, Tensor, no_grad};

use crate::branch::Branch;
use crate::hash::mixed;
use crate::trunk::Trunk;

/// Numbers of each tensor that are looked at.
const LOOKED_AT: i64 = 64;

/// Names these weights: a hash of their names, shapes and some of the numbers of each, spread over it. Learning changes all
/// numbers of a layer, so another model has another name.
pub fn digest<'a>(tensors: impl IntoIterator<Item = &'a (String, Tensor)>) -> String {
    let mut bytes = Vec::new();
    for (name, tensor) in tensors {
        bytes.extend(name.bytes());
        tensor.size().iter().for_each(|length| bytes.extend(length.to_le_bytes()));
        for number in spread_over(tensor) {
            bytes.extend(number.to_bits().to_le_bytes());
        }
    }
    format!("{:016x}", mixed(bytes))
}

/// Names a model in two parts.
pub fn digest_of(trunk: &Trunk, branch: &Branch) -> String {
    digest(trunk.tensors().iter().chain(&branch.tensors()))
}

fn spread_over(tensor: &Tensor) -> Vec<f32> {
    let numbers = tensor.numel() as i64;
    let looked_at = LOOKED_AT.min(numbers);
    let places: Vec<i64> = (0..looked_at).map(|place| place * numbers / looked_at).collect();
    let taken = no_grad(|| tensor.take(&Tensor::from_slice(&places).to_device(tensor.device())));
    Vec::try_from(taken.to_kind(Kind::Float).to_device(Device::Cpu)).expect("a row of numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_name_shape_or_number_is_another_digest_and_strides_are_not() {
        let of = |name: &str, tensor: Tensor| digest([&(name.to_owned(), tensor)]);
        let numbers = || Tensor::arange(300, (Kind::Float, Device::Cpu)).reshape([20, 15]);
        let plain = of("w", numbers());
        let strided = numbers().transpose(0, 1).contiguous().transpose(0, 1);
        assert!(!strided.is_contiguous() && of("w", strided) == plain);
        assert_ne!(of("v", numbers()), plain);
        assert_ne!(of("w", numbers().reshape([15, 20])), plain);
        assert_ne!(of("w", numbers() * 1.000_001), plain);
        assert_ne!(digest([]), of("w", Tensor::zeros([0], (Kind::Float, Device::Cpu))));
    }
}
