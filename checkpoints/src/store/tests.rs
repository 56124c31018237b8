//! Whole stores.
