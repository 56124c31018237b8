//! A run of consecutive blocks: the trunk's, or a branch's.
//!
//! Invariant: a stack gives the same states whether it is run over whole sequences or piece by piece over a cache.

use tch::{Device, Kind, Tensor};

use super::attention::{Attend, FullPass, Heads};
use super::block::Block;
use super::linear::Named;
use super::rope::{Frequencies, Rotary};

/// What all blocks of a model have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) heads: Heads,
    pub(crate) width: i64,
    pub(crate) layers: usize,
    pub(crate) window: Option<i64>,
    pub(crate) frequencies: Option<Frequencies>,
    pub(crate) device: Device,
}

impl Shape {
    /// The rotations for `positions`; none for learned positions.
    pub(crate) fn rotary(&self, positions: &Tensor) -> Option<Rotary> {
        self.frequencies.as_ref().map(|f| f.rotary(positions))
    }

    pub(crate) fn shared(&self) -> Self {
        Self { frequencies: self.frequencies.as_ref().map(Frequencies::shared), ..*self }
    }
}

/// Consecutive blocks.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) shape: Shape,
    pub(crate) blocks: Vec<Block>,
}

impl Stack {
    /// Whole sequences from position 0, right-padded: `[B, T, D]` to `[B, T, D]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = x.shallow_clone();
        if self.blocks.is_empty() {
            return x;
        }
        let time = x.size()[1];
        let rotary = self.shape.rotary(&Tensor::arange(time, (Kind::Int64, self.shape.device)));
        let mut pass = FullPass::new(self.shape.heads, time, self.shape.window, self.shape.device);
        for block in &self.blocks {
            x = block.forward(&x, rotary.as_ref(), &mut pass);
        }
        x
    }

    /// With keys and values kept by `attend`: `[B, T, D]` to `[B, T, D]`.
    pub(crate) fn step(&self, x: &Tensor, rotary: Option<&Rotary>, attend: &mut dyn Attend) -> Tensor {
        self.blocks.iter().fold(x.shallow_clone(), |x, block| block.forward(&x, rotary, attend))
    }

    fn map(&self, f: impl Fn(&Block) -> Block) -> Self {
        Self { shape: self.shape.shared(), blocks: self.blocks.iter().map(f).collect() }
    }

    pub(crate) fn copied(&self) -> Self {
        self.map(Block::copied)
    }

    pub(crate) fn shared(&self) -> Self {
        self.map(Block::shared)
    }

    pub(crate) fn detached(&self) -> Self {
        self.map(Block::detached)
    }

    pub(crate) fn parameters(&self, into: &mut Named) {
        self.blocks.iter().for_each(|block| block.parameters(into));
    }
}
