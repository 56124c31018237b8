//! `Cancel`: a wish that work should end, looked at between units.
//!
//! Invariant: once cancelled, cancelled for good. Cancelling interrupts nothing by itself; whoever works looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// One wish, shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    core: Arc<Core>,
}

#[derive(Debug, Default)]
struct Core {
    wished: AtomicBool,
    changed: Notify,
}

impl Cancel {
    /// Nothing is wished yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wishes the work to end.
    pub fn cancel(&self) {
        self.core.wished.store(true, Ordering::Release);
        self.core.changed.notify_waiters();
    }

    /// Whether the work should end.
    pub fn is_cancelled(&self) -> bool {
        self.core.wished.load(Ordering::Acquire)
    }

    /// Waits until it should.
    pub async fn cancelled(&self) {
        let mut changed = std::pin::pin!(self.core.changed.notified());
        changed.as_mut().enable(); // before looking, so that no wish falls between
        if !self.is_cancelled() {
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wish_reaches_who_waits_and_who_comes_later() {
        let cancel = Cancel::new();
        let waiting = tokio::spawn({
            let cancel = cancel.clone();
            async move { cancel.cancelled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !cancel.is_cancelled());
        cancel.cancel();
        waiting.await.unwrap();
        cancel.cancelled().await;
        assert!(cancel.is_cancelled());
    }
}
