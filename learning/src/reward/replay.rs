//! Which events to learn from again: the newest in a ring, the older ones in a uniform reservoir.
//!
//! Invariant: an event stands here at most once and in one part only; at most `capacity` stand here. What is kept and
//! drawn depends on the order of the calls and on the streams, never on the sequence numbers themselves.

mod state;

use std::collections::{BTreeMap, BTreeSet};

use crate::rng::Stream;

pub use state::ReplayState;

/// Question (hashed) and kind of feedback.
type Key = (u64, u8);

/// Stratified tries at a place in a minibatch before any event that is left will do.
const TRIES: usize = 4;

/// Events by sequence number, ready to be drawn from; holds no events itself, about 150 bytes for each.
#[derive(Debug, Clone)]
pub struct ReplayIndex {
    recent_capacity: usize,
    old_capacity: usize,
    recent_share: f64,
    recent: Part,
    old: Part,
    /// Arrival number → event, for those in the ring.
    ring: BTreeMap<u64, u64>,
    entries: BTreeMap<u64, Entry>,
    arrivals: u64,
    /// Events that left the ring for the reservoir, kept there or not.
    grown_old: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    /// In the ring: when it came.
    arrival: Option<u64>,
    /// Places in the part's `all` and in its cell.
    place: usize,
    place_in_cell: usize,
}

impl ReplayIndex {
    /// At most `capacity` events (at least 1), of which the newest `recent_share` in `[0, 1]` (at least 1) are kept
    /// whatever comes; about that share of each draw comes from them.
    pub fn new(capacity: usize, recent_share: f64) -> Self {
        let capacity = capacity.max(1);
        let recent_capacity = ((capacity as f64 * recent_share).round() as usize).clamp(1, capacity);
        Self {
            recent_capacity,
            old_capacity: capacity - recent_capacity,
            recent_share,
            recent: Part::default(),
            old: Part::default(),
            ring: BTreeMap::new(),
            entries: BTreeMap::new(),
            arrivals: 0,
            grown_old: 0,
        }
    }

    /// Events here.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the event is here.
    pub fn contains(&self, seq: u64) -> bool {
        self.entries.contains_key(&seq)
    }

    /// All events here in the order of their sequence numbers.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.keys().copied()
    }

    /// Adds an event as the newest, if it is not here; returns the one that had to go for it.
    ///
    /// The oldest of a full ring grows old: the n-th to do so enters a full reservoir of m with probability m/n, in the
    /// place of any (Vitter 1985, algorithm R), so the reservoir is a uniform sample of all that grew old. O(log n).
    pub fn insert(&mut self, seq: u64, question_key: u64, kind: u8, stream: &mut Stream) -> Option<u64> {
        if self.entries.contains_key(&seq) {
            return None;
        }
        let evicted = if self.ring.len() == self.recent_capacity { self.grow_old(stream) } else { None };
        self.put((question_key, kind), seq, Some(self.arrivals));
        self.ring.insert(self.arrivals, seq);
        self.arrivals += 1;
        evicted
    }

    /// Takes an event out; says whether it was here. Its place in the reservoir goes to the next that grows old.
    /// O(log n).
    pub fn remove(&mut self, seq: u64) -> bool {
        let Some(entry) = self.entries.remove(&seq) else { return false };
        if let Some(arrival) = entry.arrival {
            self.ring.remove(&arrival);
        }
        let part = if entry.arrival.is_some() { &mut self.recent } else { &mut self.old };
        let moved = part.take(&entry);
        if let Some(moved) = moved.in_part.and_then(|moved| self.entries.get_mut(&moved)) {
            moved.place = entry.place;
        }
        if let Some(moved) = moved.in_cell.and_then(|moved| self.entries.get_mut(&moved)) {
            moved.place_in_cell = entry.place_in_cell;
        }
        true
    }

    /// Up to `count` different events, none of `exclude`, in the order drawn; all that are left where there are fewer.
    ///
    /// Each is drawn from the ring (with probability `recent_share`) or the reservoir, there from a uniform (question,
    /// kind), there uniformly: no much-rated question and no frequent kind of feedback to it crowds out the others.
    /// O((count + |exclude|)·log n) but for the last few of a nearly exhausted index, which cost O(count + |exclude|) each.
    pub fn draw(&self, count: usize, exclude: &BTreeSet<u64>, stream: &mut Stream) -> Vec<u64> {
        let left = self.len() - exclude.iter().filter(|seq| self.contains(**seq)).count();
        let mut taken = exclude.clone();
        let mut drawn = Vec::with_capacity(count.min(left));
        while drawn.len() < count.min(left) {
            let from = self.part(stream);
            let found = (0..TRIES).find_map(|_| Some(from.stratified(stream)).filter(|seq| !taken.contains(seq)));
            let seq = found.unwrap_or_else(|| self.any_but(&taken, stream));
            taken.insert(seq);
            drawn.push(seq);
        }
        drawn
    }

    /// Ring or reservoir, never an empty one; something must be here.
    fn part(&self, stream: &mut Stream) -> &Part {
        match (self.recent.all.is_empty(), self.old.all.is_empty()) {
            (false, false) if stream.uniform() >= self.recent_share => &self.old,
            (true, _) => &self.old,
            _ => &self.recent,
        }
    }

    /// The first that is not `taken` from a random place on; there must be one.
    fn any_but(&self, taken: &BTreeSet<u64>, stream: &mut Stream) -> u64 {
        let start = stream.below(self.len());
        let all = self.recent.all.iter().chain(&self.old.all);
        let mut from_start = all.clone().skip(start).chain(all.take(start));
        *from_start.find(|seq| !taken.contains(seq)).expect("fewer are taken than are here")
    }

    fn grow_old(&mut self, stream: &mut Stream) -> Option<u64> {
        let (_, oldest) = self.ring.first_key_value().expect("a full ring is not empty");
        let oldest = *oldest;
        let key = self.entries[&oldest].key;
        self.remove(oldest);
        self.grown_old += 1;
        let mut evicted = None;
        if self.old.all.len() >= self.old_capacity {
            let chosen = stream.below(usize::try_from(self.grown_old).unwrap_or(usize::MAX));
            let Some(&replaced) = self.old.all.get(chosen) else { return Some(oldest) };
            self.remove(replaced);
            evicted = Some(replaced);
        }
        self.put(key, oldest, None);
        evicted
    }

    fn put(&mut self, key: Key, seq: u64, arrival: Option<u64>) {
        let part = if arrival.is_some() { &mut self.recent } else { &mut self.old };
        let (place, place_in_cell) = part.put(key, seq);
        self.entries.insert(seq, Entry { key, arrival, place, place_in_cell });
    }
}

/// Ring or reservoir, by (question, kind).
#[derive(Debug, Clone, Default)]
struct Part {
    all: Vec<u64>,
    cells: Vec<(Key, Vec<u64>)>,
    cell_of: BTreeMap<Key, usize>,
}

/// Events that took the place of one that was taken out.
struct Moved {
    in_part: Option<u64>,
    in_cell: Option<u64>,
}

impl Part {
    fn put(&mut self, key: Key, seq: u64) -> (usize, usize) {
        let cell = *self.cell_of.entry(key).or_insert_with(|| {
            self.cells.push((key, Vec::new()));
            self.cells.len() - 1
        });
        self.all.push(seq);
        self.cells[cell].1.push(seq);
        (self.all.len() - 1, self.cells[cell].1.len() - 1)
    }

    fn take(&mut self, entry: &Entry) -> Moved {
        self.all.swap_remove(entry.place);
        let cell = self.cell_of[&entry.key];
        let members = &mut self.cells[cell].1;
        members.swap_remove(entry.place_in_cell);
        let in_cell = members.get(entry.place_in_cell).copied();
        if members.is_empty() {
            self.cells.swap_remove(cell);
            self.cell_of.remove(&entry.key);
            if let Some((moved, _)) = self.cells.get(cell) {
                self.cell_of.insert(*moved, cell);
            }
        }
        Moved { in_part: self.all.get(entry.place).copied(), in_cell }
    }

    /// A uniform event of a uniform cell; the part must not be empty.
    fn stratified(&self, stream: &mut Stream) -> u64 {
        let (_, members) = &self.cells[stream.below(self.cells.len())];
        members[stream.below(members.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Purpose;

    fn stream(index: u64) -> Stream {
        Stream::new(1, Purpose::Replay, index)
    }

    /// `count` events, one to a question; returns what stands there in the end.
    fn filled(capacity: usize, share: f64, count: u64, seq: impl Fn(u64) -> u64) -> ReplayIndex {
        let (mut index, mut stream) = (ReplayIndex::new(capacity, share), stream(0));
        for n in 0..count {
            let before = index.len();
            let evicted = index.insert(seq(n), n, 0, &mut stream);
            assert_eq!(index.len(), before + 1 - usize::from(evicted.is_some()));
            assert!(evicted.is_none_or(|seq| !index.contains(seq)) && index.len() <= capacity);
        }
        index
    }

    #[test]
    fn it_stays_bounded_keeps_the_newest_and_draws_nothing_twice() {
        let index = filled(100, 0.5, 2000, |n| n);
        assert_eq!((index.len(), index.iter().count()), (100, 100));
        assert!((1950..2000).all(|seq| index.contains(seq)), "the newest half is whole");
        let exclude: BTreeSet<u64> = (1990..2000).collect();
        for round in 0..200 {
            let drawn = index.draw(16, &exclude, &mut stream(round));
            let distinct: BTreeSet<u64> = drawn.iter().copied().collect();
            assert_eq!((drawn.len(), distinct.len()), (16, 16));
            assert!(distinct.is_disjoint(&exclude) && drawn.iter().all(|seq| index.contains(*seq)));
        }
        assert_eq!(index.draw(1000, &exclude, &mut stream(0)).len(), 90, "all that are left");
        assert!(ReplayIndex::new(4, 0.5).draw(3, &exclude, &mut stream(0)).is_empty());
    }

    #[test]
    fn old_events_stay_reachable_and_every_age_as_often() {
        // 20 times the capacity, many times over: how many of each tenth of what grew old stand in the reservoir.
        let mut tenths = [0.0; 10];
        let rounds = 60;
        for round in 0..rounds {
            let (mut index, mut stream) = (ReplayIndex::new(200, 0.5), stream(round));
            (0..4000).for_each(|n| {
                index.insert(n, n, 0, &mut stream);
            });
            index.iter().filter(|seq| *seq < 3900).for_each(|seq| tenths[seq as usize / 390] += 1.0);
        }
        // 60 rounds x 10 each: Poisson, standard deviation 24; five of them.
        assert!(tenths.iter().all(|count| (count - 600.0f64).abs() < 120.0), "{tenths:?}");
        let index = filled(200, 0.5, 4000, |n| n);
        let old = (0..200).flat_map(|round| index.draw(8, &BTreeSet::new(), &mut stream(round)));
        let share = old.filter(|seq| *seq < 3900).count() as f64 / 1600.0;
        assert!((share - 0.5).abs() < 0.06, "half of each draw, standard error 0.0125: {share}");
        let index = filled(200, 0.9, 4000, |n| n);
        let old = (0..200).flat_map(|round| index.draw(8, &BTreeSet::new(), &mut stream(round)));
        let share = old.filter(|seq| *seq < 3820).count() as f64 / 1600.0;
        assert!((share - 0.1).abs() < 0.0375, "a tenth of each draw, standard error 0.0075: {share}");
    }

    #[test]
    fn a_much_rated_question_and_a_frequent_kind_do_not_crowd_out_the_others() {
        let (mut index, mut stream) = (ReplayIndex::new(1000, 1.0), stream(0));
        (0..900).for_each(|n| {
            index.insert(n, 7, 0, &mut stream);
        });
        (900..903).for_each(|n| {
            index.insert(n, 7, 1, &mut stream);
        });
        (903..910).for_each(|n| {
            index.insert(n, n, 0, &mut stream);
        });
        // Nine cells: the first event of each draw is in each of them as often.
        let first: Vec<u64> = (0..1800).map(|_| index.draw(1, &BTreeSet::new(), &mut stream)[0]).collect();
        let count = |range: std::ops::Range<u64>| first.iter().filter(|seq| range.contains(seq)).count() as f64;
        for cell in [count(0..900), count(900..903), count(903..904), count(909..910)] {
            // Binomial, mean 200, standard deviation 13.3; five of them.
            assert!((cell - 200.0).abs() < 67.0, "{cell}");
        }
    }

    #[test]
    fn a_removed_event_is_gone_and_everything_else_is_where_it_was() {
        let (mut index, mut stream) = (ReplayIndex::new(60, 0.4), stream(3));
        let mut here = BTreeSet::new();
        for n in 0..3000u64 {
            if n.is_multiple_of(3) && !here.is_empty() {
                let seq = *here.iter().nth(stream.below(here.len())).unwrap();
                assert!(index.remove(seq) && !index.remove(seq) && !index.contains(seq));
                here.remove(&seq);
            }
            let evicted = index.insert(n, n % 17, (n % 3) as u8, &mut stream);
            here.insert(n);
            evicted.iter().for_each(|seq| assert!(here.remove(seq)));
            assert!(index.insert(n, 0, 0, &mut stream).is_none(), "here already");
            assert!(index.iter().eq(here.iter().copied()) && index.len() <= 60);
        }
        let drawn = index.draw(60, &BTreeSet::new(), &mut stream);
        assert!(drawn.into_iter().collect::<BTreeSet<_>>() == here);
    }

    #[test]
    fn sequence_numbers_are_names_only() {
        let (small, large) = (filled(50, 0.3, 700, |n| n), filled(50, 0.3, 700, |n| (n * 7919 + 3) % 1_000_003));
        let names: BTreeMap<u64, u64> = (0..700).map(|n| ((n * 7919 + 3) % 1_000_003, n)).collect();
        for round in 0..20 {
            let drawn = small.draw(12, &BTreeSet::new(), &mut stream(round));
            let named = large.draw(12, &BTreeSet::new(), &mut stream(round));
            assert_eq!(drawn, named.iter().map(|seq| names[seq]).collect::<Vec<_>>());
        }
    }
}
