//! The frozen lower part of the model: embedding and the blocks below the split.
//!
//! Invariant: nothing here requires a gradient and nothing here is ever written after [`crate::build`], so one trunk
//! serves every branch and every thread.

use tch::{Kind, Tensor};

use crate::layers::linear::Named;
use crate::layers::stack::Stack;

/// Embedding (with GPT-2's learned positions) and blocks `0..split`.
#[derive(Debug)]
pub struct Trunk {
    pub(crate) embedding: Tensor,
    /// Name of the stored embedding matrix.
    pub(crate) embedding_name: &'static str,
    /// GPT-2: `[max_position, D]`.
    pub(crate) positions: Option<Tensor>,
    pub(crate) stack: Stack,
    pub(crate) max_position: usize,
}

impl Trunk {
    /// `[B, T]` token ids, right-padded, to `[B, T, D]` states at the split point. States past a row's end mean nothing.
    pub fn forward(&self, tokens: &Tensor) -> Tensor {
        let _guard = tch::no_grad_guard();
        let positions = Tensor::arange(tokens.size()[1], (Kind::Int64, self.stack.shape.device));
        self.stack.forward(&self.embed(tokens, &positions))
    }

    /// Embeds `tokens` `[..]` that stand at `positions`, whose shape broadcasts to theirs.
    pub(crate) fn embed(&self, tokens: &Tensor, positions: &Tensor) -> Tensor {
        let embedded = Tensor::embedding(&self.embedding, tokens, -1, false, false);
        match &self.positions {
            Some(table) => embedded + Tensor::embedding(table, positions, -1, false, false),
            None => embedded,
        }
    }

    /// `D`.
    pub fn width(&self) -> usize {
        self.stack.shape.width as usize
    }

    /// Rows of the embedding: token ids are below it.
    pub fn vocab_size(&self) -> usize {
        self.embedding.size()[0] as usize
    }

    /// Blocks below the split.
    pub fn layers(&self) -> usize {
        self.stack.blocks.len()
    }

    /// Longest sequence that the model was made for.
    pub fn max_position(&self) -> usize {
        self.max_position
    }

    /// Where the weights are.
    pub fn device(&self) -> tch::Device {
        self.stack.shape.device
    }

    /// The same weights under another owner, for another thread.
    pub fn shallow_clone(&self) -> Self {
        Self {
            embedding: self.embedding.shallow_clone(),
            embedding_name: self.embedding_name,
            positions: self.positions.as_ref().map(Tensor::shallow_clone),
            stack: self.stack.shared(),
            max_position: self.max_position,
        }
    }

    /// Every stored tensor by its Hugging Face name, for export. They share the trunk's storage: read only.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut named: Named = vec![(self.embedding_name.to_owned(), self.embedding.shallow_clone())];
        if let Some(positions) = &self.positions {
            named.push(("transformer.wpe.weight".to_owned(), positions.shallow_clone()));
        }
        self.stack.parameters(&mut named);
        named
    }
}

/// Sequences of different lengths, right-padded to the longest, through the trunk: `[B, T, D]`.
///
/// Padding is token 0 at positions past the end; under a causal mask it cannot reach a real token.
pub fn trunk_states(trunk: &Trunk, tokens: &[Vec<i64>]) -> Tensor {
    let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
    let mut flat = Vec::with_capacity(longest * tokens.len());
    for row in tokens {
        flat.extend_from_slice(row);
        flat.resize(flat.len() + longest - row.len(), 0);
    }
    let padded = Tensor::from_slice(&flat).reshape([tokens.len() as i64, longest as i64]);
    trunk.forward(&padded.to_device(trunk.device()))
}
