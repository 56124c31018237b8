//! The index as plain numbers, for checkpoints.
//!
//! Invariant: a restored index keeps and draws the same as the one that was saved.

use serde::{Deserialize, Serialize};

use super::{Entry, Key, Part, ReplayIndex};
use crate::error::LearningError;

/// Which events stand where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayState {
    recent: Vec<u64>,
    recent_cells: Vec<(Key, Vec<u64>)>,
    old: Vec<u64>,
    old_cells: Vec<(Key, Vec<u64>)>,
    /// Arrival number and event.
    ring: Vec<(u64, u64)>,
    arrivals: u64,
    grown_old: u64,
}

impl ReplayIndex {
    /// Everything but the capacities, which come from the settings.
    pub fn state(&self) -> ReplayState {
        ReplayState {
            recent: self.recent.all.clone(),
            recent_cells: self.recent.cells.clone(),
            old: self.old.all.clone(),
            old_cells: self.old.cells.clone(),
            ring: self.ring.iter().map(|(arrival, seq)| (*arrival, *seq)).collect(),
            arrivals: self.arrivals,
            grown_old: self.grown_old,
        }
    }

    /// Takes over a saved state. One that contradicts itself is an error and changes nothing. With less room than it was
    /// saved with, the newest of the ring stay, and of the reservoir those that stand first.
    pub fn restore(&mut self, state: &ReplayState) -> Result<(), LearningError> {
        let wrong = |what: &str| LearningError::state("replay", format!("{what}; use an older checkpoint"));
        let mut fresh = Self {
            recent: Part::default(),
            old: Part::default(),
            ring: state.ring.iter().copied().collect(),
            entries: Default::default(),
            arrivals: state.arrivals,
            grown_old: state.grown_old,
            ..*self
        };
        for (&arrival, &seq) in &fresh.ring {
            let entry = Entry { key: (0, 0), arrival: Some(arrival), place: 0, place_in_cell: 0 };
            if fresh.entries.insert(seq, entry).is_some() {
                return Err(wrong("an event stands in the ring twice"));
            }
        }
        for (all, cells, recent) in [(&state.recent, &state.recent_cells, true), (&state.old, &state.old_cells, false)]
        {
            let part = if recent { &mut fresh.recent } else { &mut fresh.old };
            part.all.clone_from(all);
            part.cells.clone_from(cells);
            part.cell_of = cells.iter().enumerate().map(|(at, (key, _))| (*key, at)).collect();
            for (place, seq) in all.iter().enumerate() {
                let entry = Entry { key: (0, 0), arrival: None, place, place_in_cell: 0 };
                let known = fresh.entries.entry(*seq).or_insert(entry);
                if known.arrival.is_some() != recent {
                    return Err(wrong("an event of the ring stands in the reservoir, or the other way round"));
                }
                known.place = place;
            }
            let mut in_cells = 0;
            for (key, members) in cells {
                for (place_in_cell, seq) in members.iter().enumerate() {
                    let entry = fresh.entries.get_mut(seq).ok_or_else(|| wrong("a stratum names an unknown event"))?;
                    (entry.key, entry.place_in_cell) = (*key, place_in_cell);
                    in_cells += 1;
                }
            }
            if in_cells != all.len() || part.cell_of.len() != cells.len() || cells.iter().any(|(_, m)| m.is_empty()) {
                return Err(wrong("its strata do not hold its events"));
            }
        }
        if fresh.entries.len() != state.recent.len() + state.old.len() || fresh.ring.len() != state.recent.len() {
            return Err(wrong("its parts do not add up"));
        }
        while fresh.ring.len() > fresh.recent_capacity
            && let Some((_, oldest)) = fresh.ring.first_key_value()
        {
            let oldest = *oldest;
            fresh.remove(oldest);
        }
        while fresh.old.all.len() > fresh.old_capacity
            && let Some(last) = fresh.old.all.last()
        {
            let last = *last;
            fresh.remove(last);
        }
        *self = fresh;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Stream};
    use std::collections::BTreeSet;

    #[test]
    fn a_restored_index_goes_on_as_the_saved_one() {
        let mut saved = ReplayIndex::new(40, 0.5);
        let mut stream = Stream::new(1, Purpose::Replay, 0);
        for seq in 0..200 {
            saved.insert(seq, seq % 7, (seq % 3) as u8, &mut stream);
            if seq % 11 == 0 {
                saved.remove(seq / 2);
            }
        }
        let text = serde_json::to_string(&saved.state()).unwrap();
        let mut restored = ReplayIndex::new(40, 0.5);
        restored.restore(&serde_json::from_str(&text).unwrap()).unwrap();
        let (mut a, mut b) = (stream.clone(), stream);
        for seq in 200..400 {
            assert_eq!(saved.insert(seq, seq % 5, 0, &mut a), restored.insert(seq, seq % 5, 0, &mut b));
            assert_eq!(saved.draw(6, &BTreeSet::from([seq]), &mut a), restored.draw(6, &BTreeSet::from([seq]), &mut b));
        }
        assert_eq!(saved.state(), restored.state());
    }

    #[test]
    fn with_less_room_the_newest_stay_and_what_contradicts_itself_is_refused() {
        let mut index = ReplayIndex::new(40, 0.5);
        let mut stream = Stream::new(1, Purpose::Replay, 0);
        for seq in 0..100 {
            index.insert(seq, 0, 0, &mut stream);
        }
        let mut small = ReplayIndex::new(10, 0.5);
        small.restore(&index.state()).unwrap();
        assert!(small.len() == 10 && (95..100).all(|seq| small.contains(seq)));
        let mut wrong = index.state();
        wrong.recent_cells[0].1.pop();
        assert!(small.restore(&wrong).is_err() && small.len() == 10);
    }
}
