//! From running to ended.
//!
//! Invariant: the daemon ends for one of two reasons (it was asked to, or an actor was given up), always through the same
//! drain, and its exit code says which, and whether the end was clean.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::drain::{Drain, DrainError};
use crate::supervision::{Supervised, Verdict};

/// Why the daemon ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked: a signal's name, or "done".
    Asked(String),
    /// An actor could not be kept alive.
    GaveUp {
        /// Which.
        actor: String,
        /// How.
        verdict: Verdict,
    },
}

/// How the daemon ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why it ended.
    pub reason: Reason,
    /// What was not clean about it.
    pub fault: Option<DrainError>,
}

impl Ending {
    /// 0 clean; 70 an actor was given up or a step failed; 75 somebody kept the gate from closing; 130 told twice.
    pub fn exit_code(&self) -> u8 {
        match (&self.fault, &self.reason) {
            (Some(DrainError::Interrupted { .. }), _) => 130,
            (Some(DrainError::KeptOpen { .. }), _) => 75,
            (Some(DrainError::Failed(_)), _) | (None, Reason::GaveUp { .. }) => 70,
            (None, Reason::Asked(_)) => 0,
        }
    }
}

/// Waits `until` told to end or until one of `actors` is given up, then drains within `patience`, unless told `again`.
pub async fn run(
    until: impl Future<Output = String>,
    actors: &[Supervised],
    again: impl Future<Output = ()>,
    drain: impl FnOnce(Instant) -> Drain,
    patience: Duration,
) -> Ending {
    let reason = tokio::select! {
        asked = until => Reason::Asked(asked),
        given_up = first_given_up(actors) => given_up,
    };
    tracing::info!(?reason, ?patience, "ending");
    let by = Instant::now() + patience;
    let fault = drain(by).run(by, again).await.err();
    Ending { reason, fault }
}

async fn first_given_up(actors: &[Supervised]) -> Reason {
    let ends = actors.iter().map(|actor| async move { (actor.name(), actor.verdict().await) });
    let mut ends = ends.collect::<FuturesUnordered<_>>();
    while let Some((actor, verdict)) = ends.next().await {
        if verdict.is_failure() {
            return Reason::GaveUp { actor: actor.to_owned(), verdict };
        }
    }
    std::future::pending().await
}
