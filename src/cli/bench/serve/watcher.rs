//! One reader of the daemon's event stream, as an open page is one: when what was learned.
//!
//! Invariant: times are those at which an event arrived here; what a rating is waiting for is found by the versions that
//! events name, never by guessing from times.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::client::{connect, send};
use super::sse::Events;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Journal sequence of a rating: when it was learned, and the reward model's version that did.
    learned: BTreeMap<u64, (Instant, u64)>,
    /// Policy versions, each with the oldest reward model that scored what it learned from.
    updates: Vec<(u64, u64)>,
    /// Policy versions whose first token was sampled, and when.
    first_tokens: Vec<(u64, Instant)>,
    /// Minibatches of the reward model.
    pub(super) reward_updates: u64,
    /// Why the stream ended, once it has.
    pub(super) ended: Option<String>,
}

impl Told {
    /// Takes up one event.
    fn take(&mut self, event: &Value, now: Instant) {
        let number = |key: &str| event[key].as_u64().unwrap_or(0);
        match event["event"].as_str() {
            Some("reward_update") => {
                self.reward_updates += 1;
                let seqs = event["learned"].as_array().into_iter().flatten().filter_map(Value::as_u64);
                for seq in seqs {
                    self.learned.entry(seq).or_insert((now, number("version")));
                }
            }
            Some("policy_update") => self.updates.push((number("version"), number("scored_by"))),
            Some("first_token") => self.first_tokens.push((number("version"), now)),
            _ => {}
        }
    }

    /// Updates of any kind so far.
    pub(super) fn happened(&self) -> u64 {
        self.reward_updates + (self.updates.len() + self.first_tokens.len()) as u64
    }

    /// Policy updates so far.
    pub(super) fn policy_updates(&self) -> usize {
        self.updates.len()
    }

    /// Published versions that have begun to answer so far.
    pub(super) fn served(&self) -> usize {
        self.first_tokens.len()
    }

    /// Seconds from `since` until the rating was learned.
    pub(super) fn learned_after(&self, seq: u64, since: Instant) -> Option<f64> {
        let (at, _) = self.learned.get(&seq)?;
        Some(at.saturating_duration_since(since).as_secs_f64())
    }

    /// Seconds from `since` until a policy answered that was updated on scores of a reward model that had learned the
    /// rating.
    pub(super) fn served_after(&self, seq: u64, since: Instant) -> Option<f64> {
        let (_, learned_by) = self.learned.get(&seq)?;
        let (policy, _) = self.updates.iter().find(|(_, scored_by)| scored_by >= learned_by)?;
        let (_, at) = self.first_tokens.iter().find(|(version, _)| version >= policy)?;
        Some(at.saturating_duration_since(since).as_secs_f64())
    }
}

/// A reader; its connection is closed when it is dropped.
pub(super) struct Watcher {
    told: Arc<(Mutex<Told>, Condvar)>,
    connection: TcpStream,
}

impl Watcher {
    /// Reads from now on.
    pub(super) fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = connect(address)?;
        let connection = stream.try_clone()?;
        let reply = send(stream, "GET", "/v1/events", &Value::Null)?;
        if reply.status != 200 {
            return Err(std::io::Error::other(format!("the event stream is refused with {}", reply.status)));
        }
        let told = Arc::new((Mutex::new(Told::default()), Condvar::new()));
        let into = told.clone();
        std::thread::spawn(move || {
            let mut events = Events(reply.body);
            let ended = loop {
                match events.next() {
                    Ok(Some(event)) => {
                        let data = serde_json::from_str(&event.data).unwrap_or_default();
                        locked(&into.0).take(&data, Instant::now());
                        into.1.notify_all();
                    }
                    Ok(None) => break "its end".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            locked(&into.0).ended = Some(ended);
            into.1.notify_all();
        });
        Ok(Self { told, connection })
    }

    /// What happened so far.
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        locked(&self.told.0)
    }

    /// Waits until `enough`, the end of the stream, or so long; says whether it is enough.
    pub(super) fn wait(&self, longest: Duration, enough: impl Fn(&Told) -> bool) -> bool {
        let more = |told: &mut Told| !enough(told) && told.ended.is_none();
        let waited = self.told.1.wait_timeout_while(self.told(), longest, more);
        enough(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}

fn locked(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rating_is_followed_by_versions_to_the_first_token_that_knows_of_it() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut told = Told::default();
        let events = [
            (1, json!({"event": "policy_update", "version": 4, "scored_by": 6})),
            (2, json!({"event": "reward_update", "version": 7, "learned": [11, 12]})),
            (3, json!({"event": "first_token", "version": 4})),
            // Some of its answers were scored before the rating was learned.
            (4, json!({"event": "policy_update", "version": 5, "scored_by": 6})),
            (5, json!({"event": "first_token", "version": 5})),
            (6, json!({"event": "policy_update", "version": 6, "scored_by": 7})),
            (7, json!({"event": "reward_update", "version": 8, "learned": [13]})),
        ];
        events.iter().for_each(|(seconds, event)| told.take(event, at(*seconds)));
        assert_eq!(told.learned_after(12, begun), Some(2.0));
        assert_eq!(told.learned_after(14, begun), None);
        assert_eq!(told.served_after(12, begun), None, "the version that knows of it has not answered yet");
        told.take(&json!({"event": "first_token", "version": 6}), at(9));
        assert_eq!(told.served_after(12, begun), Some(9.0));
        assert_eq!(told.served_after(13, begun), None, "no update knows of it");
        assert_eq!((told.policy_updates(), told.served(), told.reward_updates), (3, 3, 2));
        // The event may arrive before the acknowledgement.
        assert_eq!(told.learned_after(11, at(3)), Some(0.0));
    }
}
