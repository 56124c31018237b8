//! Tells threads that compute or wait that it is time to end.
//!
//! Invariant: once rung it stays so; whoever waits then or later is told at once.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The bell. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    /// It is time to end.
    pub fn ring(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether it was rung.
    pub fn is_rung(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, or until it is rung; `false` when it was.
    pub fn wait(&self, time: Duration) -> bool {
        let (rung, changed) = &*self.0;
        let guard = rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, time, |rung| !*rung);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_now_and_later() {
        let bell = Bell::default();
        assert!(bell.wait(Duration::from_millis(1)) && !bell.is_rung());
        let other = bell.clone();
        let waits = std::thread::spawn(move || other.wait(Duration::from_secs(3600)));
        bell.ring();
        assert!(!waits.join().unwrap() && !bell.wait(Duration::from_secs(3600)) && bell.is_rung());
    }
}
