//! What an actor is working on, so that it can be named when the work kills the actor.
//!
//! Invariant: a message is described before it is worked on, outside of the actor's own memory; what is put down in the
//! ordinary way is forgotten, what a panic drops, or what is dropped after a failure was declared, stays for the report.
//! A poison message is so lost alone and by name.

use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::locked::locked;

/// One thing in an actor's hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it is: a kind and an id.
    pub label: String,
    /// What it is called when it comes again, for a message that can: `unit/id`.
    pub key: Option<String>,
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
    /// A failure was declared: nothing is put down any more.
    failed: bool,
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
    pub fn hold(&self, held: Held) -> Hold {
        let mut state = locked(&self.0);
        state.next += 1;
        let id = state.next;
        state.held.push((id, held));
        Hold { hand: self.clone(), id }
    }

    /// The work on what is held has failed: it stays held, for the report.
    pub fn fail(&self) {
        locked(&self.0).failed = true;
    }

    /// What is held now, oldest first.
    pub fn held(&self) -> Vec<Held> {
        locked(&self.0).held.iter().map(|(_, held)| held.clone()).collect()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = locked(&self.hand.0);
        if !std::thread::panicking() && !state.failed {
            state.held.retain(|(id, _)| *id != self.id);
        }
    }
}

impl Held {
    /// Something without content that does not come again.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), key: None, content: None }
    }

    /// The same with what it says, as JSON; what cannot be said in JSON is described by the reason why.
    #[must_use]
    pub fn saying(self, content: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(content).unwrap_or_else(|error| error.to_string().into_bytes());
        Self { content: Some(bytes.into()), ..self }
    }

    /// The same under the name by which it would come again.
    #[must_use]
    pub fn called(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_is_put_down_is_forgotten_and_what_a_panic_drops_stays() {
        let hand = InHand::default();
        let first = hand.hold(Held::new("rating 1"));
        drop(first);
        assert_eq!(hand.held(), []);
        let second = Held::new("rating 2").saying(&["text"]).called("take/2".to_owned());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _second = hand.hold(second.clone());
            panic!("poison");
        }));
        assert!(panicked.is_err());
        assert_eq!(hand.held(), [second]);
    }

    #[test]
    fn what_is_dropped_after_a_failure_stays() {
        let hand = InHand::default();
        let (done, held) = (hand.hold(Held::new("rating 1")), hand.hold(Held::new("rating 2")));
        drop(done);
        hand.fail();
        drop(held);
        assert_eq!(hand.held(), [Held::new("rating 2")]);
    }
}
