//! How far sled is behind the journal, counted for the committer, which waits when that is too far, and for the
//! applier, which waits when it is nothing.

use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Bounds;
use super::changes::Changes;

/// So many records are worth a transaction at once; fewer wait for more, but not for long.
const WORTHWHILE: u64 = 1024;
const GATHERING: Duration = Duration::from_millis(5);

/// Shared by the committer and the applier.
#[derive(Debug)]
pub(super) struct Lag {
    bounds: Bounds,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    records: u64,
    bytes: u64,
    /// The committer waits for room.
    full: bool,
    /// The committer need not wait any longer.
    let_go: bool,
    /// Sequence number that must be durable in sled, and who waits for that.
    flushes: Vec<(u64, SyncSender<()>)>,
    /// Nothing more comes: the committer has ended, or the store has stopped.
    closing: bool,
    /// The applier has ended.
    ended: bool,
}

/// What the applier is to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) flushes: Vec<(u64, SyncSender<()>)>,
    pub(super) closing: bool,
}

impl Lag {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for another batch, or the store is closing, or there will be no room for some time.
    pub(super) fn wait_for_room(&self) {
        let mut state = self.lock();
        state.let_go = false;
        while !state.closing
            && !state.let_go
            && (state.records >= self.bounds.records.max(1) || state.bytes >= self.bounds.bytes.max(1))
        {
            state.full = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.full = false;
    }

    /// The disk is full: whoever waits for room in sled goes on, to refuse what it has in hand.
    pub(super) fn let_go(&self) {
        self.lock().let_go = true;
        self.changed.notify_all();
    }

    /// A batch became visible.
    pub(super) fn add(&self, records: usize, bytes: usize) {
        let mut state = self.lock();
        let before = state.records;
        state.records += records as u64;
        state.bytes += bytes as u64;
        // Waking costs the committer, so the applier is told of the first and of enough.
        if before == 0 || (before < WORTHWHILE && state.records >= WORTHWHILE) {
            drop(state);
            self.changed.notify_all();
        }
    }

    /// These changes are in sled.
    pub(super) fn remove(&self, changes: &Changes) {
        let mut state = self.lock();
        state.records = state.records.saturating_sub(changes.taken as u64);
        state.bytes = state.bytes.saturating_sub(changes.bytes as u64);
        drop(state);
        self.changed.notify_all();
    }

    /// Tells `done` when everything up to `seq` is durable in sled; drops it when that will not be.
    pub(super) fn ask_for_flush(&self, seq: u64, done: SyncSender<()>) {
        let mut state = self.lock();
        if !state.ended {
            state.flushes.push((seq, done));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The applier has ended: who waits for it hears of that.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        (state.closing, state.ended) = (true, true);
        state.flushes.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing more comes; whoever waits goes on.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Waits for something to do, at most for `time`, and then a little for more of it.
    pub(super) fn wait_for_work(&self, time: Duration) -> Work {
        let urgent = |state: &State| state.full || state.closing || !state.flushes.is_empty();
        // Who waits for room has it when there are no records: that is no work.
        let idle = |state: &mut State| state.records == 0 && !state.closing && state.flushes.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), time, idle);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let few = |state: &mut State| (1..WORTHWHILE).contains(&state.records) && !urgent(state);
        let waited = self.changed.wait_timeout_while(state, GATHERING, few);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Work { flushes: std::mem::take(&mut state.flushes), closing: state.closing }
    }

    /// Records and bytes that are acknowledged and not in sled.
    pub(super) fn size(&self) -> (u64, u64) {
        let state = self.lock();
        (state.records, state.bytes)
    }
}
