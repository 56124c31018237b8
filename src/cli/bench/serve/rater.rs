//! Ratings of the answers that clients got, and how long the loop takes to learn from them.
//!
//! Invariant: the clock of a rating starts when its acknowledgement has been read: it is durable then.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{connect, send};
use super::crowd::Answers;
use super::figures::spread;
use super::stop::Stop;
use super::watcher::{Told, Watcher};

/// Longest wait for a rating to be learned before the next is posted.
const MOST_WAIT: Duration = Duration::from_secs(60);

/// An acknowledged rating.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rated {
    seq: u64,
    acknowledged: Instant,
}

impl Rated {
    /// Whether a policy that learned from it has answered.
    pub(super) fn is_served(&self, told: &Told) -> bool {
        told.served_after(self.seq, self.acknowledged).is_some()
    }
}

/// Somebody who rates.
pub(super) struct Rater {
    address: SocketAddr,
    /// The newest answer rated: it is rated again, as somebody else, when there is no other.
    known: u64,
    given: u64,
}

impl Rater {
    /// A rater who knows of one answer.
    pub(super) fn new(address: SocketAddr, known: u64) -> Self {
        Self { address, known, given: 0 }
    }

    /// Rates an answer.
    pub(super) fn rate(&mut self, answers: &Answers) -> anyhow::Result<Rated> {
        let answer = answers.take().unwrap_or(self.known);
        self.known = answer;
        self.given += 1;
        // Any opinion will do, as long as not all are the same.
        let stars = 1 + (answer + self.given) % 5;
        let body = json!({
            "id": format!("bench-{}", self.given),
            "annotator": format!("bench-{}", self.given % 16),
            "kind": "stars",
            "answer": answer,
            "stars": stars,
        });
        let reply = send(connect(self.address)?, "POST", "/v1/feedback", &body)?;
        let (status, reply) = (reply.status, reply.json()?);
        let acknowledged = Instant::now();
        match reply["seq"].as_u64().filter(|_| status == 200) {
            Some(seq) => Ok(Rated { seq, acknowledged }),
            None => bail!("a rating was answered with {status}: {reply}"),
        }
    }

    /// `per_s` ratings a second until `stop`.
    pub(super) fn at_a_rate(&mut self, per_s: f64, answers: &Answers, stop: &Stop) -> anyhow::Result<Vec<Rated>> {
        let mut rated = Vec::new();
        while per_s > 0.0 && !stop.wait(Duration::from_secs_f64(1.0 / per_s)) {
            rated.push(self.rate(answers)?);
        }
        Ok(rated)
    }

    /// `count` ratings, each when the one before has been learned and no more than `per_s` a second: together they see
    /// what the loop does at different times.
    pub(super) fn one_by_one(
        &mut self,
        count: usize,
        per_s: f64,
        answers: &Answers,
        watcher: &Watcher,
    ) -> anyhow::Result<Vec<Rated>> {
        let mut rated = Vec::new();
        while rated.len() < count {
            let one = self.rate(answers)?;
            rated.push(one);
            watcher.wait(MOST_WAIT, |told| told.learned_after(one.seq, one.acknowledged).is_some());
            watcher.wait(Duration::from_secs_f64(1.0 / per_s).saturating_sub(one.acknowledged.elapsed()), |_| false);
            if let Some(why) = &watcher.told().ended {
                bail!("the event stream ended: {why}");
            }
        }
        Ok(rated)
    }
}

/// How long these ratings took.
pub(super) fn latencies(rated: &[Rated], watcher: &Watcher) -> Value {
    let told = watcher.told();
    let learned: Vec<f64> = rated.iter().filter_map(|one| told.learned_after(one.seq, one.acknowledged)).collect();
    let served: Vec<f64> = rated.iter().filter_map(|one| told.served_after(one.seq, one.acknowledged)).collect();
    json!({"ratings": rated.len(), "heard_to_learned_s": spread(&learned), "heard_to_served_s": spread(&served)})
}
