//! The upper part of the model: the blocks above the split, the final norm and the head.
//!
//! Invariant: the head matrix is shared and never trained (it is the trunk's embedding when tied); everything else of a
//! branch is a parameter. Parameters are changed in place only, never replaced: fused matrices are views of them.

use tch::Tensor;

use crate::layers::linear::Named;
use crate::layers::norm::Norm;
use crate::layers::stack::Stack;

/// A policy (or reference): states at the split point in, distribution over the vocabulary out.
#[derive(Debug)]
pub struct Branch {
    pub(crate) stack: Stack,
    pub(crate) norm: Norm,
    /// `[V, D]`.
    pub(crate) head: Tensor,
    /// The head is the trunk's embedding.
    pub(crate) tied: bool,
}

impl Branch {
    /// `[B, T, D]` trunk states to `[B, T, D]` states after the final norm.
    pub fn hidden(&self, trunk_states: &Tensor) -> Tensor {
        self.norm.forward(&self.stack.forward(trunk_states))
    }

    /// `[.., D]` to `[.., V]`. Whole batches are better served by [`crate::logprobs`], chunk by chunk.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.linear::<&Tensor>(&self.head, None)
    }

    /// `D`.
    pub fn width(&self) -> usize {
        self.stack.shape.width as usize
    }

    /// `V`.
    pub fn vocab_size(&self) -> usize {
        self.head.size()[0] as usize
    }

    /// Blocks above the split.
    pub fn layers(&self) -> usize {
        self.stack.blocks.len()
    }

    /// Where the weights are.
    pub fn device(&self) -> tch::Device {
        self.stack.shape.device
    }

    /// What can be trained, by Hugging Face name in a stable order; they share the branch's storage.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let mut named = Named::new();
        self.stack.parameters(&mut named);
        self.norm.parameters(&mut named);
        named
    }

    /// Every stored tensor by its Hugging Face name, for export: the parameters, and the head where it is not tied.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut named = self.parameters();
        if !self.tied {
            named.push(("lm_head.weight".to_owned(), self.head.shallow_clone()));
        }
        named
    }

    /// Fresh storage for the parameters, which require no gradient; the head stays shared.
    pub fn deep_copy(&self) -> Self {
        Self { stack: self.stack.copied(), norm: self.norm.copied(), head: self.head.shallow_clone(), tied: self.tied }
    }

    /// The same tensors under another owner.
    pub fn shallow_clone(&self) -> Self {
        Self { stack: self.stack.shared(), norm: self.norm.shared(), head: self.head.shallow_clone(), tied: self.tied }
    }

    /// The lowest `layers` blocks (all, where there are fewer) under the same norm, sharing storage: what a cheaper value
    /// or reward model begins from.
    pub fn lower(&self, layers: usize) -> Self {
        let mut lower = self.shallow_clone();
        lower.stack.blocks.truncate(layers);
        lower
    }

    /// The same storage, seen by tensors that require no gradient.
    pub(crate) fn detached(&self) -> Self {
        Self { stack: self.stack.detached(), norm: self.norm.detached(), head: self.head.detach(), tied: self.tied }
    }

    /// Whether the parameters collect gradients. A trained branch multiplies its projections one by one.
    pub fn set_trainable(&self, trainable: bool) {
        set_trainable(&self.parameters(), trainable);
    }
}

pub(crate) fn set_trainable(parameters: &[(String, Tensor)], trainable: bool) {
    for (_, parameter) in parameters {
        let _same_tensor = parameter.set_requires_grad(trainable);
    }
}
