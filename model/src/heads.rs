//! One number a token instead of a distribution: value and reward models.
//!
//! Invariant: a scalar branch starts from a policy branch's blocks and shares nothing with it afterwards.

use tch::{Device, Kind, Tensor};

use crate::branch::{Branch, set_trainable};
use crate::layers::linear::{Named, fresh};
use crate::layers::norm::Norm;
use crate::layers::stack::Stack;
use crate::rng::Stream;

/// A linear map from a state to one number.
#[derive(Debug)]
pub struct ScalarHead {
    /// `[1, D]`.
    pub weight: Tensor,
    /// `[1]`.
    pub bias: Tensor,
}

/// How a fresh head begins. The bias is 0.
#[derive(Debug, Clone)]
pub enum HeadInit {
    /// All zeros: a value model that says 0 everywhere.
    Zero,
    /// Normal with standard deviation `1 / sqrt(D + 1)`, drawn from the stream: a reward model (Stiennon et al. 2020).
    Normal(Stream),
}

impl ScalarHead {
    /// A fresh head on states of width `width`.
    pub fn new(width: usize, init: HeadInit, device: Device) -> Self {
        let weight = match init {
            HeadInit::Zero => Tensor::zeros([1, width as i64], (Kind::Float, device)),
            HeadInit::Normal(mut stream) => {
                let deviation = 1.0 / ((width + 1) as f64).sqrt();
                let values: Vec<f32> = (0..width).map(|_| (deviation * stream.normal()) as f32).collect();
                Tensor::from_slice(&values).reshape([1, width as i64]).to_device(device)
            }
        };
        Self { weight, bias: Tensor::zeros([1], (Kind::Float, device)) }
    }

    /// `[.., D]` to `[..]`.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        hidden.linear(&self.weight, Some(&self.bias)).squeeze_dim(-1)
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { weight: f(&self.weight), bias: f(&self.bias) }
    }
}

/// A value or reward model: a branch whose head gives one number a token.
#[derive(Debug)]
pub struct ScalarBranch {
    stack: Stack,
    norm: Norm,
    /// The last map.
    pub head: ScalarHead,
}

impl ScalarBranch {
    /// A copy of the branch's blocks and norm under a fresh head; it requires no gradient until told to.
    pub fn from_branch(branch: &Branch, init: HeadInit) -> Self {
        let head = ScalarHead::new(branch.width(), init, branch.device());
        Self { stack: branch.stack.copied(), norm: branch.norm.copied(), head }
    }

    /// `[B, T, D]` trunk states to `[B, T]` numbers.
    pub fn forward(&self, trunk_states: &Tensor) -> Tensor {
        self.head.forward(&self.hidden(trunk_states))
    }

    /// `[B, T, D]` trunk states to `[B, T, D]` states after the final norm.
    pub fn hidden(&self, trunk_states: &Tensor) -> Tensor {
        self.norm.forward(&self.stack.forward(trunk_states))
    }

    /// Everything that can be trained, head included, in a stable order; they share the model's storage.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let mut named = Named::new();
        self.stack.parameters(&mut named);
        self.norm.parameters(&mut named);
        named.push(("score.weight".to_owned(), self.head.weight.shallow_clone()));
        named.push(("score.bias".to_owned(), self.head.bias.shallow_clone()));
        named
    }

    /// Fresh storage; requires no gradient.
    pub fn deep_copy(&self) -> Self {
        Self { stack: self.stack.copied(), norm: self.norm.copied(), head: self.head.map(fresh) }
    }

    /// The same tensors under another owner.
    pub fn shallow_clone(&self) -> Self {
        Self { stack: self.stack.shared(), norm: self.norm.shared(), head: self.head.map(Tensor::shallow_clone) }
    }

    /// Whether the parameters collect gradients.
    pub fn set_trainable(&self, trainable: bool) {
        set_trainable(&self.parameters(), trainable);
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.stack.shape.device
    }
}
