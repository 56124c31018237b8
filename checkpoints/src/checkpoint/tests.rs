//! The crash points of a checkpoint.
