//! The parts that every transformer here is made of.
//!
//! Invariant: a layer is a function of its input and its weights; nothing random (no dropout), no state but the weights.

pub(crate) mod attention;
pub(crate) mod block;
pub(crate) mod linear;
pub(crate) mod mlp;
pub(crate) mod norm;
pub(crate) mod rope;
pub(crate) mod stack;
