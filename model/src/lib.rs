//! What speaks: tokenizer, transformer, weights, generation.
//!
//! Invariant: pure but for reading and writing weight files. Nothing here sees a clock, a thread, a socket or actix.

pub mod rng;
