//! What speaks: tokenizer, transformer, weights, generation.
//!
//! Invariant: pure but for reading and writing weight files. Nothing here sees a clock, a thread, a socket or actix.

pub mod branch;
pub mod config;
pub mod digest;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod generate;
pub mod hash;
pub mod heads;
pub(crate) mod kv_cache;
pub(crate) mod layers;
pub mod logprobs;
pub mod rng;
pub mod testing;
pub mod text;
pub mod transformer;
pub mod trunk;
pub mod weights;

pub use branch::Branch;
pub use config::{Activation, Family, ModelConfig, Rope, RopeScaling};
pub use digest::{digest, digest_of};
pub use error::ModelError;
pub use generate::{Engine, EngineConfig, EngineError, Event, Finish, OnSwap, Output, Request, SamplingParams};
pub use heads::{HeadInit, ScalarBranch, ScalarHead};
pub use logprobs::{TokenLogprobs, backward_from, backward_through_head, token_logprobs};
pub use text::{Message, TextCodec, TextStream};
pub use transformer::build;
pub use trunk::{Trunk, trunk_states};
pub use weights::{
    ExportParts, GenerationDefaults, LoadedModel, ModelCard, Weights, check_vacant, export, load, load_text,
    load_weights,
};
