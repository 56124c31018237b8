//! What an operator should know of a daemon that is ready all the same: a source that has dried up, for instance.
//!
//! Invariant: one note about one thing; it stays until it is taken back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The notes. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<BTreeMap<String, String>>>);

impl Notes {
    /// Says `text` about `what`, in place of what was said of it before.
    pub fn set(&self, what: &str, text: String) {
        self.lock().insert(what.to_owned(), text);
    }

    /// Takes back what was said about `what`.
    pub fn clear(&self, what: &str) {
        self.lock().remove(what);
    }

    /// All sentences, by what they are about.
    pub fn all(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // A map of sentences is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
