//! Gold: what pinned annotators said of answers, which others are checked against.
//!
//! Invariant: at most `most` judgements; the oldest goes first. A judgement that is repeated or changed is one.

use std::collections::{BTreeMap, VecDeque};

use crate::stages::AnswerId;

/// Two answers in order of their ids, or one answer twice (its grade).
type Key = (AnswerId, AnswerId);

/// Bounded store of gold judgements.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Gold {
    /// Whether the answer with the smaller id is the better one; for a single answer, whether it is good.
    known: BTreeMap<Key, bool>,
    age: VecDeque<Key>,
}

/// What an event says that gold can confirm: orders and sides of the middle.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::reward) struct Judgements {
    /// Better and worse.
    pub(in crate::reward) orders: Vec<(AnswerId, AnswerId)>,
    /// An answer and whether it is above the middle.
    pub(in crate::reward) sides: Vec<(AnswerId, bool)>,
}

impl Judgements {
    fn entries(&self) -> impl Iterator<Item = (Key, bool)> + '_ {
        let order = |&(better, worse): &(AnswerId, AnswerId)| ((better.min(worse), better.max(worse)), better < worse);
        self.orders.iter().map(order).chain(self.sides.iter().map(|&(answer, good)| ((answer, answer), good)))
    }
}

impl Gold {
    /// Takes up what a pinned annotator said.
    pub(super) fn add(&mut self, said: &Judgements, most: usize) {
        for (key, value) in said.entries() {
            if self.known.insert(key, value).is_none() {
                self.age.push_back(key);
            }
        }
        while self.age.len() > most {
            if let Some(oldest) = self.age.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Share of an event that gold confirms, of the part that gold knows; `None` where it knows nothing of it. An event
    /// is one piece of evidence, however many orders it implies.
    pub(super) fn agreement(&self, said: &Judgements) -> Option<f64> {
        let checked: Vec<bool> = said.entries().filter_map(|(key, value)| Some(self.of(key)? == value)).collect();
        let right = checked.iter().filter(|right| **right).count();
        (!checked.is_empty()).then(|| right as f64 / checked.len() as f64)
    }

    /// What gold says of a key; an order also follows from one good and one bad answer.
    fn of(&self, key: Key) -> Option<bool> {
        if let Some(known) = self.known.get(&key) {
            return Some(*known);
        }
        let good = |answer: AnswerId| self.known.get(&(answer, answer)).copied();
        match (good(key.0)?, good(key.1)?) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// Judgements by age, oldest first.
    pub(super) fn saved(&self) -> Vec<(AnswerId, AnswerId, bool)> {
        self.age.iter().map(|key| (key.0, key.1, self.known[key])).collect()
    }

    /// The store that [`Gold::saved`] describes.
    pub(super) fn restored(saved: Vec<(AnswerId, AnswerId, bool)>) -> Self {
        let mut gold = Self::default();
        for (first, second, value) in saved {
            if gold.known.insert((first, second), value).is_none() {
                gold.age.push_back((first, second));
            }
        }
        gold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(orders: &[(AnswerId, AnswerId)]) -> Judgements {
        Judgements { orders: orders.to_vec(), sides: Vec::new() }
    }

    fn sides(sides: &[(AnswerId, bool)]) -> Judgements {
        Judgements { orders: Vec::new(), sides: sides.to_vec() }
    }

    #[test]
    fn an_event_agrees_as_far_as_gold_knows() {
        let mut gold = Gold::default();
        gold.add(&orders(&[(5, 3), (1, 2)]), 10);
        assert_eq!(gold.agreement(&orders(&[(5, 3)])), Some(1.0));
        assert_eq!(gold.agreement(&orders(&[(3, 5), (1, 2), (8, 9)])), Some(0.5));
        assert_eq!(gold.agreement(&orders(&[(8, 9)])), None);
        gold.add(&sides(&[(8, true), (9, false), (7, true)]), 10);
        assert_eq!(gold.agreement(&orders(&[(9, 8)])), Some(0.0), "a good answer is better than a bad one");
        assert_eq!(gold.agreement(&orders(&[(7, 8)])), None, "two good ones have no order");
        assert_eq!(gold.agreement(&sides(&[(9, false)])), Some(1.0));
    }

    #[test]
    fn the_oldest_judgement_goes_first_and_the_saved_form_is_whole() {
        let mut gold = Gold::default();
        (0..20).for_each(|i| gold.add(&sides(&[(i, true)]), 5));
        gold.add(&sides(&[(19, false)]), 5);
        assert_eq!(gold.agreement(&sides(&[(14, true)])), None);
        assert_eq!(gold.agreement(&sides(&[(19, true), (15, true)])), Some(0.5), "the newer word counts");
        assert_eq!(Gold::restored(gold.saved()), gold);
    }
}
