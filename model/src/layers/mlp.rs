//! The feed-forward half of a block.
//!
//! Invariant: which form it has is decided by the family, not by which weights happen to be there.

use tch::Tensor;

use super::linear::{Fused, Linear, Named};
use crate::config::Activation;

/// Feed-forward layers.
#[derive(Debug)]
pub(crate) enum Mlp {
    /// `down(act(gate(x)) * up(x))` (Shazeer 2020, eq. 6).
    Gated { gate_up: Fused, down: Linear, activation: Activation },
    /// `down(act(up(x)))`, GPT-2.
    Plain { up: Linear, down: Linear, activation: Activation },
}

impl Mlp {
    /// `[.., D]` to `[.., D]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Gated { gate_up, down, activation } => {
                let halves = gate_up.forward(x);
                down.forward(&(activate(*activation, &halves[0]) * &halves[1]))
            }
            Self::Plain { up, down, activation } => down.forward(&activate(*activation, &up.forward(x))),
        }
    }

    fn map(&self, fused: impl Fn(&Fused) -> Fused, linear: impl Fn(&Linear) -> Linear) -> Self {
        match self {
            Self::Gated { gate_up, down, activation } => {
                Self::Gated { gate_up: fused(gate_up), down: linear(down), activation: *activation }
            }
            Self::Plain { up, down, activation } => {
                Self::Plain { up: linear(up), down: linear(down), activation: *activation }
            }
        }
    }

    pub(crate) fn copied(&self) -> Self {
        self.map(Fused::copied, Linear::copied)
    }

    pub(crate) fn shared(&self) -> Self {
        self.map(Fused::shared, Linear::shared)
    }

    pub(crate) fn detached(&self) -> Self {
        self.map(Fused::detached, Linear::detached)
    }

    pub(crate) fn parameters(&self, into: &mut Named) {
        match self {
            Self::Gated { gate_up, down, .. } => {
                gate_up.parameters(into);
                down.parameters(into);
            }
            Self::Plain { up, down, .. } => {
                up.parameters(into);
                down.parameters(into);
            }
        }
    }
}

fn activate(activation: Activation, x: &Tensor) -> Tensor {
    match activation {
        Activation::Silu => x.silu(),
        Activation::GeluTanh => x.gelu("tanh"),
        Activation::Gelu => x.gelu("none"),
    }
}
