//! Continuous batching: requests join and leave between steps.
//!
//! Invariant: the tokens of an answer are a function of the prompt, the parameters, the sample's number and the weights;
//! what else runs in the batch changes nothing but rounding.

mod answer;
mod engine;
mod penalty;
mod request;
mod sampler;
mod sequence;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use request::{EngineConfig, EngineError, Event, Finish, OnSwap, Output, Request, SamplingParams};
