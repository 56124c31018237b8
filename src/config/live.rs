//! Settings that may change while the program runs.
//!
//! Invariant: a reader sees one whole set of settings, from before a change or from after it, and never waits for long: the
//! lock is held for one clone of a pointer.

use std::sync::{Arc, PoisonError, RwLock};

/// Settings that all clones share.
#[derive(Debug)]
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    /// Settings that begin as `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The settings as they are now.
    pub fn now(&self) -> Arc<T> {
        // A pointer is replaced as a whole: a panic leaves nothing torn.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces them for all clones.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_all_clones_and_not_by_who_has_read_before() {
        let (live, before) = (Live::new(1), Live::new(1).now());
        let clone = live.clone();
        live.set(2);
        assert_eq!((*clone.now(), *live.now(), *before), (2, 2, 1));
    }
}
