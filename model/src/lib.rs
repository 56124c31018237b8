//! What speaks: tokenizer, transformer, weights, generation.
//!
//! Invariant: pure but for reading and writing weight files. Nothing here sees a clock, a thread, a socket or actix.

pub mod config;
pub mod error;
pub mod rng;
#[cfg(test)]
mod testing;
pub mod text;
pub mod weights;

pub use config::{Activation, Family, ModelConfig, Rope, RopeScaling};
pub use error::ModelError;
pub use text::{Message, TextCodec, TextStream};
pub use weights::Weights;
