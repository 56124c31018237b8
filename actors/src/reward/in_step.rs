//! The reward actor's loop in lockstep: a whole round at a time.
//!
//! Invariant: what is learned is a function of the state at the round's beginning, its answers and the journal up to its
//! fence. Groups are scored in the order of their answers by the model as it was before the round; then its ratings are
//! heard from the journal, and all that is owed is learned before the fence is passed.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use understudy_learning::stages::AnswerId;

use super::job::Hearing;
use super::journal::Reader;
use crate::link::Inlet;
use crate::lockstep::{Fence, FenceRequest};
use crate::messages::RolloutGroup;

/// Groups of the round by their first answer.
type Held = BTreeMap<AnswerId, RolloutGroup>;

impl Hearing {
    pub(super) async fn run_in_step(mut self, fences: Inlet<FenceRequest>) -> Result<(), String> {
        self.prepare().await?;
        let (mut rollouts, mut ratings, mut fences) =
            (self.job.rollouts.items(), self.job.ratings.items(), fences.items());
        let (mut rollouts_open, mut ratings_open) = (true, true);
        let mut held = Held::new();
        loop {
            self.attend()?;
            if !rollouts_open && !ratings_open {
                self.job.drained.cancel();
                if self.desk.should_finish() {
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                () = self.desk.ordered() => (),
                // What was rated is heard from the journal, when its round is over.
                event = ratings.next(), if ratings_open => ratings_open = event.is_some(),
                group = rollouts.next(), if rollouts_open => match group {
                    Some(group) => hold(&mut held, group),
                    None => rollouts_open = false,
                },
                Some(request) = fences.next() => {
                    let Some(request) = request.accept() else { continue };
                    let Fence { groups, up_to } = request.value.value;
                    while held.len() < groups {
                        tokio::select! {
                            biased;
                            () = self.desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                            _ = ratings.next(), if ratings_open => (),
                            group = rollouts.next() => match group {
                                Some(group) => hold(&mut held, group),
                                None => return Err("the round's answers do not come any more".to_owned()),
                            },
                        }
                    }
                    self.pass(std::mem::take(&mut held), up_to).await?;
                    request.value.reply.answer(());
                }
            }
        }
    }

    async fn pass(&mut self, held: Held, up_to: u64) -> Result<(), String> {
        let mut scored = Vec::new();
        for group in held.into_values() {
            scored.extend(self.score(group)?);
            tokio::task::yield_now().await;
        }
        for group in scored {
            // The learner works on them while the ratings are heard. Closed: it is gone for good, and the run ends.
            self.job.scored.send(group).await.map_err(|_| "the learner takes no more answers".to_owned())?;
        }
        let mut reader = Reader::after(self.job.mind.up_to());
        while let Some(event) = reader.next(self.job.log.as_ref(), up_to).map_err(|error| error.to_string())? {
            self.hear(event)?;
            tokio::task::yield_now().await;
            if self.job.mind.is_full() {
                self.learn()?;
            }
        }
        while self.job.mind.has_fresh() || self.job.mind.owes() {
            self.learn()?;
            tokio::task::yield_now().await;
        }
        while self.probe()? || self.step_rebuild()? {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

fn hold(held: &mut Held, group: RolloutGroup) {
    if let Some(first) = group.rollouts.first() {
        held.insert(first.group, group);
    }
}
