//! Rotary position embedding (Su et al. 2021, eq. 34) with linear and Llama 3 scaling.
//!
//! Invariant: angles are computed in f32 from the integer position, once a pass; no table limits the context.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};

use crate::config::{Rope, RopeScaling};

/// `[head_dim / 2]` angle per position of each pair of dimensions.
#[derive(Debug)]
pub(crate) struct Frequencies(Tensor);

/// Cosines and signed sines of the positions of one pass, `[.., 1, head_dim]` (the 1 stands for the heads).
#[derive(Debug)]
pub(crate) struct Rotary {
    cos: Tensor,
    /// The first half negated: with it a rotation is `x * cos + roll(x) * sin`.
    sin: Tensor,
}

impl Frequencies {
    pub(crate) fn new(rope: &Rope, head_dim: usize, device: Device) -> Self {
        let inverse: Vec<f32> =
            (0..head_dim / 2).map(|i| frequency(rope, (2 * i) as f64 / head_dim as f64) as f32).collect();
        Self(Tensor::from_slice(&inverse).to_device(device))
    }

    /// For `positions` of any shape `[..]`.
    pub(crate) fn rotary(&self, positions: &Tensor) -> Rotary {
        let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * &self.0;
        let (cos, sin) = (angles.cos(), angles.sin());
        Rotary {
            cos: Tensor::cat(&[&cos, &cos], -1).unsqueeze(-2),
            sin: Tensor::cat(&[&sin.neg(), &sin], -1).unsqueeze(-2),
        }
    }

    pub(crate) fn shared(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Rotary {
    /// Rotates `x` `[.., heads, head_dim]`.
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        let half = self.cos.size().last().expect("cosines have a last dimension") / 2;
        (x * &self.cos) + x.roll([half], [-1]) * &self.sin
    }
}

/// `theta^(-exponent)`, scaled. Llama 3: long waves are slowed by `factor`, short ones kept, those between interpolated
/// (Llama 3.1 model card, `rope_scaling`).
fn frequency(rope: &Rope, exponent: f64) -> f64 {
    let plain = rope.theta.powf(-exponent);
    match &rope.scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear { factor } => plain / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => {
            let turns = *original_max_position as f64 * plain / (2.0 * PI);
            if turns < *low_freq_factor {
                plain / factor
            } else if turns > *high_freq_factor {
                plain
            } else {
                let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                plain * ((1.0 - smooth) / factor + smooth)
            }
        }
    }
}
