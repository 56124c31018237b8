//! One way to take a lock.
//!
//! Invariant: no lock here is ever held across an await or across a caller's code that may block, and what it guards is
//! whole between any two statements; so a panic of another holder leaves nothing torn, and poisoning is ignored.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a holder panicked.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
