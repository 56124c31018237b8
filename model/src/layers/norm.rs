//! Normalisation over the last dimension.
//!
//! Invariant: epsilon is inside the root, as in the checkpoints' own code.

use tch::Tensor;

use super::linear::{Named, fresh};

/// Root-mean-square norm (Zhang and Sennrich 2019, eq. 4) or layer norm (Ba et al. 2016, eq. 4), with their weights.
#[derive(Debug)]
pub(crate) struct Norm {
    name: String,
    weight: Tensor,
    /// Present for layer norm only.
    bias: Option<Tensor>,
    eps: f64,
}

impl Norm {
    pub(crate) fn rms(name: &str, weight: Tensor, eps: f64) -> Self {
        Self { name: name.to_owned(), weight: weight.detach(), bias: None, eps }
    }

    pub(crate) fn layer(name: &str, weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Self { name: name.to_owned(), weight: weight.detach(), bias: Some(bias.detach()), eps }
    }

    /// `[.., D]` to `[.., D]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let shape = [*self.weight.size().last().expect("a norm's weight is a vector")];
        match &self.bias {
            Some(bias) => x.layer_norm(shape, Some(&self.weight), Some(bias), self.eps, false),
            None => x.rms_norm(shape, Some(&self.weight), self.eps),
        }
    }

    fn map(&self, f: &dyn Fn(&Tensor) -> Tensor) -> Self {
        Self { name: self.name.clone(), weight: f(&self.weight), bias: self.bias.as_ref().map(f), eps: self.eps }
    }

    pub(crate) fn copied(&self) -> Self {
        self.map(&fresh)
    }

    pub(crate) fn shared(&self) -> Self {
        self.map(&Tensor::shallow_clone)
    }

    pub(crate) fn detached(&self) -> Self {
        self.map(&Tensor::detach)
    }

    pub(crate) fn parameters(&self, into: &mut Named) {
        into.push((format!("{}.weight", self.name), self.weight.shallow_clone()));
        if let Some(bias) = &self.bias {
            into.push((format!("{}.bias", self.name), bias.shallow_clone()));
        }
    }
}
