//! Answers on their way to the disk.
//!
//! Invariant: an answer comes out of [`AnswerJournal::durable`] once, after its sync, and never before; the policy never
//! waits here. Bounded: an answer enters only for a sample that was admitted, and no more are admitted while
//! [`AnswerJournal::is_behind`].

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;
use understudy_checkpoints::{Ack, CommitError, NewRecord, RecordKind, StoreHandle};
use understudy_learning::stages::{AnswerId, Rollout};

use crate::answers::{answer_key, encode_answer};

/// Answers that may wait for their sync.
const MOST_WAITING: usize = 1024;

/// What the committer says of an answer.
type Outcome = (AnswerId, Result<Ack, CommitError>);

/// Writes answers through the store.
pub(crate) struct AnswerJournal {
    store: StoreHandle,
    /// Not yet taken by the committer's queue.
    unoffered: VecDeque<Rollout>,
    /// Taken, not yet synced.
    offered: BTreeMap<AnswerId, Rollout>,
    /// Room for one outcome of each offered answer, so the committer never waits.
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
}

impl AnswerJournal {
    /// Nothing waits yet.
    pub(crate) fn new(store: StoreHandle) -> Self {
        let outcomes = mpsc::channel(MOST_WAITING);
        Self { store, unoffered: VecDeque::new(), offered: BTreeMap::new(), outcomes }
    }

    /// Takes an answer; offers it with the others that wait.
    pub(crate) fn write(&mut self, rollout: Rollout) {
        self.unoffered.push_back(rollout);
        self.offer();
    }

    /// Whether so much waits that no new request should be begun.
    pub(crate) fn is_behind(&self) -> bool {
        self.unoffered.len() + self.offered.len() >= MOST_WAITING / 2
    }

    /// Whether every answer is durable and handed on.
    pub(crate) fn is_empty(&self) -> bool {
        self.unoffered.is_empty() && self.offered.is_empty()
    }

    /// Whether answers wait for room in the committer's queue.
    pub(crate) fn has_unoffered(&self) -> bool {
        !self.unoffered.is_empty()
    }

    /// Offers what the committer had no room for before.
    pub(crate) fn offer(&mut self) {
        while self.offered.len() < MOST_WAITING
            && let Some(rollout) = self.unoffered.pop_front()
        {
            let record = NewRecord {
                kind: RecordKind::Answer,
                key: Some(answer_key(rollout.id)),
                group: rollout.group,
                bytes: encode_answer(&rollout),
            };
            let (id, outcomes) = (rollout.id, self.outcomes.0.clone());
            let reply = Box::new(move |outcome| {
                // Room is kept for every offered answer; closed means that this incarnation is gone.
                let _ = outcomes.try_send((id, outcome));
            });
            if self.store.offer(record, reply).is_err() {
                self.unoffered.push_front(rollout);
                return;
            }
            self.offered.insert(id, rollout);
        }
    }

    /// The next answer whose fate is known, if any is.
    pub(crate) fn durable(&mut self) -> Option<(Rollout, Result<Ack, CommitError>)> {
        let (id, outcome) = self.outcomes.1.try_recv().ok()?;
        self.settle(id, outcome)
    }

    /// Waits for the next answer whose fate is known; for ever when none is offered.
    pub(crate) async fn next_durable(&mut self) -> Option<(Rollout, Result<Ack, CommitError>)> {
        let (id, outcome) = self.outcomes.1.recv().await?;
        self.settle(id, outcome)
    }

    fn settle(
        &mut self,
        id: AnswerId,
        outcome: Result<Ack, CommitError>,
    ) -> Option<(Rollout, Result<Ack, CommitError>)> {
        self.offered.remove(&id).map(|rollout| (rollout, outcome))
    }
}
