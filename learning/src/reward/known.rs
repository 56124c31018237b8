//! What the head reads of answers, remembered while the layers under it are frozen: a score is then a few products with
//! the head, and a rating is learned from in milliseconds instead of a pass of the layers for each answer of the minibatch.
//!
//! Invariant: it is computed from one answer's states alone, so whoever computes it, whenever and beside whatever else,
//! gets the same bits; it is kept no longer than the states it was computed from. Bounded: at most three rows of `D`
//! numbers for each answer whose trunk states are in memory (themselves a row for each token), and as many again that
//! are not tidied up yet.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use tch::Tensor;

use crate::error::LearningError;

/// Entries before the first tidying up.
const FEW: usize = 256;

/// Where an answer's states lie in memory, and the tokens of its prompt and of itself. The address is that of no other
/// states while the entry's [`Weak`] keeps it.
type Key = (usize, [usize; 2]);

struct Entry {
    states: Weak<Vec<f32>>,
    parts: Vec<Tensor>,
}

/// What was read of answers, by their trunk states.
pub(super) struct Known {
    entries: RefCell<BTreeMap<Key, Entry>>,
    tidy_at: Cell<usize>,
}

impl Known {
    /// Knows nothing.
    pub(super) fn new() -> Self {
        Self { entries: RefCell::default(), tidy_at: Cell::new(FEW) }
    }

    /// `[1, D]` each, what the head reads of the answer with these trunk states and so many `tokens` in its prompt and in
    /// itself; `compute` where it is not known.
    pub(super) fn read(
        &self,
        states: &Arc<Vec<f32>>,
        tokens: [usize; 2],
        compute: impl FnOnce() -> Result<Vec<Tensor>, LearningError>,
    ) -> Result<Vec<Tensor>, LearningError> {
        let key = (Arc::as_ptr(states) as usize, tokens);
        let shared = |entry: &Entry| entry.parts.iter().map(Tensor::shallow_clone).collect();
        if let Some(entry) = self.entries.borrow().get(&key) {
            return Ok(shared(entry));
        }
        let entry = Entry { states: Arc::downgrade(states), parts: compute()? };
        let parts = shared(&entry);
        self.insert(key, entry);
        Ok(parts)
    }

    fn insert(&self, key: Key, entry: Entry) {
        let mut entries = self.entries.borrow_mut();
        entries.insert(key, entry);
        if entries.len() >= self.tidy_at.get() {
            entries.retain(|_, entry| entry.states.strong_count() > 0);
            self.tidy_at.set((2 * entries.len()).max(FEW));
        }
    }

    /// Remembers what the head reads of an answer under `mark`, which stands for its states from now on.
    pub(super) fn put(&self, mark: &Arc<Vec<f32>>, tokens: [usize; 2], parts: Vec<Tensor>) {
        let key = (Arc::as_ptr(mark) as usize, tokens);
        self.insert(key, Entry { states: Arc::downgrade(mark), parts });
    }

    /// Forgets all: the layers are other ones now.
    pub(super) fn forget(&self) {
        self.entries.borrow_mut().clear();
    }

    /// Answers known of.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn parts(value: f64) -> Result<Vec<Tensor>, LearningError> {
        Ok(vec![Tensor::full([1, 2], value, (Kind::Float, Device::Cpu))])
    }

    fn value(parts: &[Tensor]) -> f64 {
        parts[0].double_value(&[0, 0])
    }

    #[test]
    fn what_is_known_is_not_computed_again_until_it_is_forgotten() {
        let (known, states) = (Known::new(), Arc::new(vec![0f32]));
        let read = |answer, now| value(&known.read(&states, [3, answer], || parts(now)).unwrap());
        assert_eq!([read(1, 1.0), read(1, 2.0)], [1.0, 1.0]);
        assert_eq!(read(2, 3.0), 3.0, "another part of the tokens is the answer's");
        known.forget();
        assert_eq!(read(1, 4.0), 4.0);
    }

    #[test]
    fn it_is_bounded_by_the_states_in_memory() {
        let known = Known::new();
        let kept: Vec<_> = (0..10).map(|_| Arc::new(vec![0f32])).collect();
        kept.iter().for_each(|states| drop(known.read(states, [0, 1], || parts(0.0)).unwrap()));
        for _ in 0..10 * FEW {
            drop(known.read(&Arc::new(vec![0f32]), [0, 1], || parts(0.0)).unwrap());
            assert!(known.len() < FEW);
        }
        for states in &kept {
            known.read(states, [0, 1], || panic!("its states are in memory")).unwrap();
        }
    }
}
