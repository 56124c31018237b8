//! Choosing records of a ring. The caller brings the randomness as a function that answers an index below its
//! argument, so the same ring and the same draws give the same records.

use std::collections::BTreeSet;

use super::index::Ring;

/// How records are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Different records, each as likely as any other; all of them when the ring has fewer than are wanted.
    Uniform,
    /// The newest of `power + 1` uniform draws, so that a record's chance grows like its rank (the oldest has 1) to
    /// this power; one record may come more than once.
    Recent {
        /// 0 is uniform with repetition, 1 grows linearly.
        power: u32,
    },
    /// Each group as likely as any other and none twice before all have had their turn; then uniform in the group.
    Stratified,
}

/// Answers an index below its argument.
pub(super) type Draw<'a> = &'a mut dyn FnMut(usize) -> usize;

/// The sequence numbers of `count` records.
pub(super) fn choose(ring: &Ring, sampling: Sampling, count: usize, draw: Draw<'_>) -> Vec<u64> {
    let live = ring.live_count();
    if live == 0 {
        return Vec::new();
    }
    let mut below = |n: usize| draw(n).min(n - 1);
    match sampling {
        Sampling::Uniform => {
            distinct(live, count, &mut below).into_iter().filter_map(|rank| ring.live_at(rank)).collect()
        }
        Sampling::Recent { power } => {
            let mut newest = || (0..=power).map(|_| below(live)).max().unwrap_or_default();
            (0..count).filter_map(|_| ring.live_at(newest())).collect()
        }
        Sampling::Stratified => {
            let groups: Vec<_> = ring.groups().values().collect();
            let mut chosen = Vec::with_capacity(count.min(live));
            while chosen.len() < count {
                for place in distinct(groups.len(), count - chosen.len(), &mut below) {
                    let group = groups[place];
                    chosen.push(group[below(group.len())]);
                }
            }
            chosen
        }
    }
}

/// `count` different numbers below `n`, every set equally likely (Floyd's algorithm: J. Bentley and B. Floyd,
/// "Programming pearls: a sample of brilliance", CACM 30(9), 1987).
fn distinct(n: usize, count: usize, draw: Draw<'_>) -> Vec<usize> {
    let mut taken = BTreeSet::new();
    let mut order = Vec::new();
    for last in n.saturating_sub(count)..n {
        let candidate = draw(last + 1);
        let next = if taken.contains(&candidate) { last } else { candidate };
        taken.insert(next);
        order.push(next);
    }
    order
}
