//! Which events have been heard.
//!
//! Invariant: disjoint ranges in rising order, at most [`MOST_RANGES`]; what was inserted stays contained.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::error::LearningError;

/// Twice the ratings that a replay memory holds by default. Beyond it the two oldest ranges become one, so that an event
/// older than all of those counts as heard: 16 bytes each, 128 KiB in all.
const MOST_RANGES: usize = 8192;

/// A set of journal numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::reward) struct Seen {
    /// First to last of each range, both in it.
    ranges: BTreeMap<u64, u64>,
}

impl Seen {
    /// Whether the event was inserted.
    pub(in crate::reward) fn contains(&self, seq: u64) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, last)| *last >= seq)
    }

    /// Whether it is new.
    pub(in crate::reward) fn insert(&mut self, seq: u64) -> bool {
        if self.contains(seq) {
            return false;
        }
        let (mut first, mut last) = (seq, seq);
        if let Some((&start, &end)) = self.ranges.range(..seq).next_back()
            && end.checked_add(1) == Some(seq)
        {
            first = start;
        }
        if let Some(end) = seq.checked_add(1).and_then(|next| self.ranges.remove(&next)) {
            last = end;
        }
        self.ranges.insert(first, last);
        if self.ranges.len() > MOST_RANGES
            && let (Some((first, _)), Some((_, last))) = (self.ranges.pop_first(), self.ranges.pop_first())
        {
            self.ranges.insert(first, last);
        }
        true
    }

    /// `[R, 2]` i64: first and last of each range.
    pub(super) fn to_tensor(&self) -> Tensor {
        let flat: Vec<i64> = self.ranges.iter().flat_map(|(first, last)| [*first as i64, *last as i64]).collect();
        Tensor::from_slice(&flat).view([-1, 2])
    }

    /// What [`Seen::to_tensor`] gave.
    pub(super) fn from_tensor(ranges: &Tensor) -> Result<Self, LearningError> {
        let size = ranges.size();
        let rows = match size.as_slice() {
            [rows, 2] if ranges.kind() == Kind::Int64 && *rows <= MOST_RANGES as i64 => *rows,
            _ => return Err(LearningError::state(super::SEEN, format!("is {size:?} {:?}", ranges.kind()))),
        };
        let flat = Vec::<i64>::try_from(ranges.contiguous().view([rows * 2]))?;
        Ok(Self { ranges: flat.chunks_exact(2).map(|pair| (pair[0] as u64, pair[1] as u64)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range_and_what_is_in_stays_in() {
        let mut seen = Seen::default();
        assert!([5, 7, 6, 0, 1].into_iter().all(|seq| seen.insert(seq)));
        assert!(!seen.insert(6) && !seen.insert(1));
        assert_eq!(seen.ranges, BTreeMap::from([(0, 1), (5, 7)]));
        assert!(!seen.contains(4) && !seen.contains(8) && seen.contains(5));
        assert_eq!(Seen::from_tensor(&seen.to_tensor()).unwrap(), seen);
        assert_eq!(Seen::from_tensor(&Seen::default().to_tensor()).unwrap(), Seen::default());
        assert!(seen.insert(u64::MAX) && !seen.insert(u64::MAX));
        assert_eq!(Seen::from_tensor(&seen.to_tensor()).unwrap(), seen);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_told_apart() {
        let mut seen = Seen::default();
        let many = 3 * MOST_RANGES as u64;
        (0..many).for_each(|i| assert!(seen.insert(2 * i)));
        assert_eq!(seen.ranges.len(), MOST_RANGES);
        assert!(seen.contains(1), "of the oldest every one counts as heard");
        assert!(!seen.contains(2 * many - 3) && seen.contains(2 * many - 2));
    }
}
