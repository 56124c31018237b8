//! What an actor is working on, so that it can be named when the work kills the actor.
//!
//! Invariant: a message is described before it is worked on, outside of the actor's own memory; what is put down in the
//! ordinary way is forgotten, what a panic drops stays for the report. A poison message is so lost alone and by name.

use std::sync::{Arc, Mutex};

use crate::locked::locked;

/// One thing in an actor's hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it is: a kind and an id.
    pub label: String,
    /// Its content, where it is worth keeping.
    pub content: Option<Arc<[u8]>>,
}

/// What an incarnation holds. Clones are the same hand.
#[derive(Debug, Clone, Default)]
pub struct InHand(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: Vec<(u64, Held)>,
}

/// Holds one thing until dropped.
#[derive(Debug)]
#[must_use = "dropped at once it holds nothing"]
pub struct Hold {
    hand: InHand,
    id: u64,
}

impl InHand {
    /// Takes something up.
    pub fn hold(&self, label: impl Into<String>, content: Option<Arc<[u8]>>) -> Hold {
        let mut state = locked(&self.0);
        state.next += 1;
        let id = state.next;
        state.held.push((id, Held { label: label.into(), content }));
        Hold { hand: self.clone(), id }
    }

    /// What is held now, oldest first.
    pub fn held(&self) -> Vec<Held> {
        locked(&self.0).held.iter().map(|(_, held)| held.clone()).collect()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            locked(&self.hand.0).held.retain(|(id, _)| *id != self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_is_put_down_is_forgotten_and_what_a_panic_drops_stays() {
        let hand = InHand::default();
        let first = hand.hold("rating 1", None);
        drop(first);
        assert_eq!(hand.held(), []);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _second = hand.hold("rating 2", Some(Arc::from(*b"text")));
            panic!("poison");
        }));
        assert!(panicked.is_err());
        assert_eq!(hand.held(), [Held { label: "rating 2".to_owned(), content: Some(Arc::from(*b"text")) }]);
    }
}
