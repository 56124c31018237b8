//! When and how the daemon ends, and what is damaged before it starts again.
//!
//! Invariant: a schedule is a function of its seed alone; each deck holds every end and every fault.

use std::time::Duration;

/// A small seeded generator (S. Vigna, splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Uniform in `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("below a usize")
    }

    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        (!all.is_empty()).then(|| &all[self.below(all.len())])
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        (1..all.len()).rev().for_each(|at| all.swap(at, self.below(at + 1)));
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.next() % (range.end - range.start))
    }
}

/// How one run of the daemon ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// SIGKILL so long after it served.
    Kill(Duration),
    /// SIGKILL so long after it was started, ready or not.
    KillStarting(Duration),
    /// SIGKILL as soon as a checkpoint is being written, some time after it served.
    KillSaving(Duration),
    /// SIGKILL as soon as new weights are taken up, some time after it served.
    KillSwapping(Duration),
    /// SIGTERM so long after it served; it ends by itself.
    Drain(Duration),
    /// SIGTERM, and SIGKILL so long after that.
    KillDraining(Duration, Duration),
}

/// What happens to the data directory while no daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    /// One part of the newest checkpoint loses its end.
    TruncatePart,
    /// One bit of one part of the newest checkpoint turns.
    FlipBit,
    /// One part of the newest checkpoint is gone.
    RemovePart,
    /// The replay store is gone.
    RemoveSled,
    /// One page of the replay store is overwritten.
    SledPage,
    /// The journal ends in a part of a batch.
    TearTail,
}

impl Fault {
    /// Whole checkpoints that must be there for it.
    pub(super) fn checkpoints(self) -> usize {
        if matches!(self, Self::TruncatePart | Self::FlipBit | Self::RemovePart) { 2 } else { 0 }
    }
}

/// One run of the daemon and what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) end: End,
    pub(super) fault: Fault,
}

/// The runs of one data directory; a last one that drains is not part of it.
#[derive(Debug)]
pub(super) struct Schedule(pub(super) Vec<Step>);

impl Schedule {
    pub(super) fn of(seed: u64, decks: usize) -> Self {
        let mut dice = Dice(seed);
        Self((0..decks).flat_map(|_| Self::deck(&mut dice)).collect())
    }

    /// Four kills at random instants under load, one while it starts, while it saves, while it takes up new weights and
    /// while it drains, and a drain.
    fn deck(dice: &mut Dice) -> Vec<Step> {
        let mut ends: Vec<End> = (0..4).map(|_| End::Kill(dice.millis(20..1800))).collect();
        ends.push(End::KillStarting(dice.millis(0..1200)));
        ends.push(End::KillSaving(dice.millis(0..600)));
        ends.push(End::KillSwapping(dice.millis(0..600)));
        ends.push(End::Drain(dice.millis(100..1000)));
        ends.push(End::KillDraining(dice.millis(100..1000), dice.millis(0..400)));
        let mut faults = vec![
            Fault::TruncatePart,
            Fault::FlipBit,
            Fault::RemovePart,
            Fault::RemoveSled,
            Fault::SledPage,
            Fault::TearTail,
            Fault::TearTail,
        ];
        faults.resize(ends.len(), Fault::Nothing);
        dice.shuffle(&mut ends);
        dice.shuffle(&mut faults);
        ends.into_iter().zip(faults).map(|(end, fault)| Step { end, fault }).collect()
    }
}
