//! Asking people well: which answers to put before whom, so that a rating teaches most.
//!
//! Invariant: nothing here reads a clock or a socket, and nothing but [`skips`] a disk. The same answers, scores, ratings,
//! leases, seed and annotator give the same task; nobody is asked about the same answers twice, as far as memory
//! reaches.

pub mod desk;
#[cfg(test)]
mod desk_tests;
pub mod group;
mod lease;
pub mod said;
pub mod skips;
pub mod task;
