//! The thread that follows the journal with sled: it applies what is acknowledged, in order and in large transactions,
//! makes it durable from time to time, and then lets the journal give back what nothing needs any more. It decides
//! nothing and answers nobody; if it dies, the next start does its work again from the journal. Without room on the disk
//! it waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::lag::Work;
use super::shared::Shared;
use super::trees::Trees;
use crate::journal::Plan;
use crate::{Disk, StoreError};

/// The applier's own things.
pub(super) struct Applier {
    pub(super) shared: Arc<Shared>,
    pub(super) trees: Trees,
    pub(super) disk: Disk,
    pub(super) flush_batches: u32,
    pub(super) flush_interval: Duration,
    pub(super) progress: Progress,
}

/// How far sled is.
#[derive(Default)]
pub(super) struct Progress {
    /// Highest sequence number that sled has.
    applied: u64,
    /// Highest one that sled has on the disk.
    durable: u64,
    /// Batches applied that sled may not have on the disk, and when the first of them was.
    unflushed: u32,
    unflushed_since: Option<Instant>,
    /// Who waits for how much to be durable in sled.
    flushes: Vec<(u64, SyncSender<()>)>,
    /// What the journal may give back once sled is durable up to this number.
    plan: Option<(u64, Plan)>,
}

impl Progress {
    /// sled has everything up to `applied`, durably.
    pub(super) fn at(applied: u64) -> Self {
        Self { applied, durable: applied, ..Self::default() }
    }
}

impl Applier {
    /// The thread's body.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => shared.fail(error.to_string()),
            Err(_) => shared.fail("the applier panicked; its message is on standard error".to_owned()),
        }
        drop(self);
        shared.lag.end();
    }

    fn serve(&mut self) -> Result<(), StoreError> {
        loop {
            let Work { flushes, closing } = self.shared.lag.wait_for_work(self.time_to_flush());
            self.progress.flushes.extend(flushes);
            if self.shared.failed.get().is_some() {
                return Ok(());
            }
            if !closing && self.is_out_of_space() {
                // sled does not get over a write that fails, and the overlay holds what it lacks.
                self.progress.flushes.clear();
                self.shared.lag.let_go();
                pause();
                continue;
            }
            let was_all = !self.apply()?;
            if closing && was_all {
                return Ok(());
            }
        }
    }

    /// Applies the oldest table, and flushes if that is due or there is no table. Answers whether there was one.
    fn apply(&mut self) -> Result<bool, StoreError> {
        let mut state = self.shared.write();
        let table = state.overlay.oldest();
        if self.progress.plan.is_none() || state.overlay.tables() <= 1 {
            // What the index no longer keeps sled may still have: so this holds once sled has all that the index has.
            let plan = self.shared.segments.plan(&state.index);
            self.progress.plan = plan.map(|plan| (self.shared.last_seq.load(Ordering::Acquire), plan));
        }
        drop(state);
        if let Some(table) = &table {
            self.trees.apply(table)?;
            self.shared.write().overlay.remove_oldest();
            self.progress.applied = self.progress.applied.max(table.applied);
            self.progress.unflushed += table.batches;
            self.progress.unflushed_since.get_or_insert_with(now);
        }
        if table.is_none() || self.flush_is_due() {
            self.flush()?;
        }
        if let Some(table) = &table {
            self.shared.lag.remove(table);
        }
        let durable = self.progress.durable;
        for (_, done) in self.progress.flushes.extract_if(.., |(seq, _)| *seq <= durable) {
            let _ = done.try_send(());
        }
        Ok(table.is_some())
    }

    fn flush_is_due(&self) -> bool {
        let Progress { applied, unflushed, flushes, .. } = &self.progress;
        *unflushed >= self.flush_batches
            || flushes.iter().any(|(seq, _)| seq <= applied)
            || self.time_to_flush().is_zero()
    }

    /// Makes sled durable, then lets the journal give back what nothing needs any more, then looks at the free space.
    fn flush(&mut self) -> Result<(), StoreError> {
        let applied = self.progress.applied;
        if self.progress.unflushed_since.is_some() {
            self.trees.flush(&self.disk)?;
        }
        if let Some((_, plan)) = self.progress.plan.take_if(|(seq, _)| *seq <= applied) {
            self.compact(&plan);
        }
        self.progress.durable = applied;
        self.progress.unflushed = 0;
        self.progress.unflushed_since = None;
        self.look_at_space();
        Ok(())
    }

    fn compact(&self, plan: &Plan) {
        match self.shared.segments.compact(&self.disk, plan) {
            Ok(0) => {}
            Ok(bytes) => tracing::debug!(bytes, "the journal gave back space"),
            // Nothing acknowledged is at stake: every file is the old one or the new one.
            Err(error) => tracing::warn!(%error, "the journal could not be compacted"),
        }
    }

    /// New records are refused below the reserve; what was acknowledged goes on to sled down to half of it.
    fn is_out_of_space(&self) -> bool {
        self.look_at_space();
        self.shared.low_space.load(Ordering::Relaxed)
            && self.shared.free_bytes.load(Ordering::Relaxed) < self.shared.min_free_bytes / 2
    }

    fn look_at_space(&self) {
        let Ok(free) = self.disk.free_bytes(&self.shared.dir) else { return };
        self.shared.free_bytes.store(free, Ordering::Relaxed);
        let low = free < self.shared.min_free_bytes;
        if self.shared.low_space.swap(low, Ordering::Relaxed) != low {
            tracing::warn!(free, low, reserve = self.shared.min_free_bytes, "free space crossed the reserve");
        }
    }

    fn time_to_flush(&self) -> Duration {
        match self.progress.unflushed_since {
            Some(since) => self.flush_interval.saturating_sub(now().duration_since(since)),
            None => self.flush_interval.max(Duration::from_millis(1)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a plain thread, which waits for room and has nothing else to do")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

#[expect(clippy::disallowed_methods, reason = "a plain thread; the time only paces flushes and reaches no result")]
fn now() -> Instant {
    Instant::now()
}
