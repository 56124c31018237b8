//! Running it: configuration read again, tokens, what a service manager hears, TensorBoard's files.
//!
//! Invariant: the real binary on a tiny model, seen from outside; nothing here looks at the program's insides.

mod files;
mod reload;
mod service;
mod tokens;
