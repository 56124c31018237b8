//! One transformer block: attention, then feed-forward, each on a normalised input and added to the residual stream.
//!
//! Invariant: a block knows its place in the whole model (its layer), also when it belongs to a branch.

use tch::Tensor;

use super::attention::{Attend, Attention};
use super::linear::Named;
use super::mlp::Mlp;
use super::norm::Norm;
use super::rope::Rotary;

/// A pre-norm transformer block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) layer: usize,
    pub(crate) attention_norm: Norm,
    pub(crate) attention: Attention,
    pub(crate) mlp_norm: Norm,
    pub(crate) mlp: Mlp,
}

impl Block {
    /// `[B, T, D]` to `[B, T, D]`.
    pub(crate) fn forward(&self, x: &Tensor, rotary: Option<&Rotary>, attend: &mut dyn Attend) -> Tensor {
        let x = x + self.attention.forward(self.layer, &self.attention_norm.forward(x), rotary, attend);
        &x + self.mlp.forward(&self.mlp_norm.forward(&x))
    }

    fn map(&self, n: impl Fn(&Norm) -> Norm, a: impl Fn(&Attention) -> Attention, m: impl Fn(&Mlp) -> Mlp) -> Self {
        Self {
            layer: self.layer,
            attention_norm: n(&self.attention_norm),
            attention: a(&self.attention),
            mlp_norm: n(&self.mlp_norm),
            mlp: m(&self.mlp),
        }
    }

    pub(crate) fn copied(&self) -> Self {
        self.map(Norm::copied, Attention::copied, Mlp::copied)
    }

    pub(crate) fn shared(&self) -> Self {
        self.map(Norm::shared, Attention::shared, Mlp::shared)
    }

    pub(crate) fn detached(&self) -> Self {
        self.map(Norm::detached, Attention::detached, Mlp::detached)
    }

    pub(crate) fn parameters(&self, into: &mut Named) {
        self.attention_norm.parameters(into);
        self.attention.parameters(into);
        self.mlp_norm.parameters(into);
        self.mlp.parameters(into);
    }
}
