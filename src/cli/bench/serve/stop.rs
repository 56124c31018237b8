//! When clients are to stop, and how they wait meanwhile.
//!
//! Invariant: once stopped, every wait ends at once and every connection that was shown here is closed.

use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct State {
    stopped: bool,
    connections: Vec<Option<TcpStream>>,
}

/// Tells clients to stop.
#[derive(Default)]
pub(super) struct Stop {
    state: Mutex<State>,
    changed: Condvar,
}

impl Stop {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time.
    pub(super) fn is_on(&self) -> bool {
        self.state().stopped
    }

    /// Waits so long, or until it is time; says whether it is.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), longest, |state| !state.stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// The connection of client `place`, closed when it is time.
    pub(super) fn show(&self, place: usize, connection: &TcpStream) {
        let mut state = self.state();
        if state.stopped {
            let _ = connection.shutdown(Shutdown::Both);
        }
        if state.connections.len() <= place {
            state.connections.resize_with(place + 1, || None);
        }
        state.connections[place] = connection.try_clone().ok();
    }

    /// It is time.
    pub(super) fn now(&self) {
        let mut state = self.state();
        state.stopped = true;
        for connection in state.connections.drain(..).flatten() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }
}
