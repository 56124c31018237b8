//! What killed an actor, kept; and what kills it again and again, no longer taken up.
//!
//! Invariant: keeping never fails an actor, whatever the disk says. A message that comes again (its [`Held::key`] says so)
//! is lost when it was in hand, as the only one of its kind, at the second crash or later; one that was among others is a
//! suspect then, to be taken up alone. What is lost stays so across restarts of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use understudy_checkpoints::QuarantineFiles;

use super::exit::Crash;
use super::in_hand::Held;
use crate::locked::locked;
use crate::metric;

/// Crashes after which a message is no longer trusted.
const STRIKES: u32 = 2;
/// Messages whose crashes are counted at most; beyond it the counts of the first by name are forgotten.
const MOST_COUNTED: usize = 4096;
/// Messages that are remembered as lost at most; beyond it the first by name is taken up again.
const MOST_LOST: usize = 16_384;
/// Bytes of one message's content that are kept; the rest is cut off.
const MOST_CONTENT: usize = 1 << 20;
/// Bytes of all contents in one file.
const MOST_IN_FILE: usize = 8 << 20;

/// What killed actors. Clones are the same quarantine.
#[derive(Debug, Clone)]
pub struct Quarantine(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// `None` keeps nothing on disk.
    files: Option<QuarantineFiles>,
    /// Crashes with a message in hand, by its key, since it was last done with.
    strikes: BTreeMap<String, u32>,
    lost: BTreeSet<String>,
}

impl Quarantine {
    /// Goes on with what lies in `files`. A list that does not read is told and begun anew.
    pub fn open(files: QuarantineFiles) -> Self {
        let lost = files.lost().unwrap_or_else(|error| {
            tracing::error!(%error, "the list of lost messages does not read; it is begun anew");
            BTreeSet::new()
        });
        Self(Arc::new(Mutex::new(State { files: Some(files), strikes: BTreeMap::new(), lost })))
    }

    /// Counts, and keeps nothing on disk.
    pub fn in_memory() -> Self {
        Self(Arc::new(Mutex::new(State { files: None, strikes: BTreeMap::new(), lost: BTreeSet::new() })))
    }

    /// Keeps what a crash had in hand and decides what of it is lost.
    pub fn see(&self, crash: &Crash) {
        if crash.in_hand.is_empty() {
            return;
        }
        let mut state = locked(&self.0);
        let lost = state.strike(&crash.in_hand);
        state.keep(crash, &lost);
        if !lost.is_empty() {
            state.lose(lost);
        }
    }

    /// Whether the message must not be taken up.
    pub fn is_lost(&self, key: &str) -> bool {
        let state = locked(&self.0);
        !state.lost.is_empty() && state.lost.contains(key)
    }

    /// The ids of the unit's messages that must not be taken up.
    pub fn lost(&self, unit: &str) -> Vec<String> {
        let state = locked(&self.0);
        let ids = state.lost.iter().filter_map(|key| key.strip_prefix(unit)?.strip_prefix('/'));
        ids.map(str::to_owned).collect()
    }

    /// The ids of the unit's messages that were in hand at several crashes, among others: to be taken up alone.
    pub fn suspects(&self, unit: &str) -> Vec<String> {
        let state = locked(&self.0);
        let suspects = state.strikes.iter().filter(|(_, strikes)| **strikes >= STRIKES);
        let ids = suspects.filter_map(|(key, _)| key.strip_prefix(unit)?.strip_prefix('/'));
        ids.map(str::to_owned).collect()
    }

    /// The message was done with: earlier crashes were not its fault.
    pub fn acquit(&self, key: &str) {
        let mut state = locked(&self.0);
        if !state.strikes.is_empty() {
            state.strikes.remove(key);
        }
    }

    /// The message must not be taken up again, by the actor's own judgement; it is kept as after a crash.
    pub fn convict(&self, crash: &Crash) {
        let mut state = locked(&self.0);
        let lost: BTreeSet<String> = crash.in_hand.iter().filter_map(|held| held.key.clone()).collect();
        state.keep(crash, &lost);
        state.lose(lost);
    }
}

impl State {
    /// Counts a crash and answers what is lost by it.
    fn strike(&mut self, in_hand: &[Held]) -> BTreeSet<String> {
        let keys: BTreeSet<&String> = in_hand.iter().filter_map(|held| held.key.as_ref()).collect();
        for key in &keys {
            *self.strikes.entry((*key).clone()).or_default() += 1;
            while self.strikes.len() > MOST_COUNTED {
                self.strikes.pop_first();
            }
        }
        let alone = |key: &&&String| keys.iter().filter(|other| unit(other) == unit(key)).count() == 1;
        let guilty = keys.iter().filter(alone).filter(|key| self.strikes.get(**key).is_some_and(|n| *n >= STRIKES));
        guilty.map(|key| (*key).clone()).collect()
    }

    fn keep(&self, crash: &Crash, lost: &BTreeSet<String>) {
        let Some(files) = &self.files else { return };
        let count = crash.in_hand.len();
        match files.keep(crash.actor, &self.described(crash, lost)) {
            Ok(kept) => {
                let path = kept.path.display().to_string();
                tracing::error!(actor = crash.actor, path, messages = count, "what was in hand is in quarantine");
                if !kept.dropped.is_empty() {
                    tracing::warn!(files = kept.dropped.len(), "the oldest files of the quarantine had to go");
                }
                metrics::counter!(metric::QUARANTINED, "actor" => crash.actor).increment(count as u64);
            }
            Err(error) => {
                tracing::error!(actor = crash.actor, %error, "what was in hand could not be kept in quarantine");
            }
        }
    }

    fn described(&self, crash: &Crash, lost: &BTreeSet<String>) -> Vec<u8> {
        let mut room = MOST_IN_FILE;
        let message = |held: &Held| {
            let key = held.key.as_ref();
            let content = held.content.as_ref().map(|bytes| {
                let most = MOST_CONTENT.min(room);
                room = room.saturating_sub(bytes.len());
                content(bytes, most)
            });
            json!({
                "label": held.label,
                "key": key,
                "crashes": key.and_then(|key| self.strikes.get(key)),
                "lost": key.is_some_and(|key| lost.contains(key)),
                "content": content,
            })
        };
        let in_hand: Vec<Value> = crash.in_hand.iter().map(message).collect();
        let file = json!({
            "actor": crash.actor,
            "incarnation": crash.incarnation,
            "exit": crash.exit.as_str(),
            "cause": crash.exit.to_string(),
            "in_hand": in_hand,
        });
        serde_json::to_vec_pretty(&file).expect("names, numbers and texts")
    }

    fn lose(&mut self, keys: BTreeSet<String>) {
        for key in keys {
            tracing::error!(key, "a message that fails its actor again and again is not taken up any more");
            self.strikes.remove(&key);
            self.lost.insert(key);
        }
        while self.lost.len() > MOST_LOST {
            let again = self.lost.pop_first();
            tracing::warn!(?again, "too many messages are lost; the first of them is taken up again");
        }
        let Some(files) = &self.files else { return };
        if let Err(error) = files.write_lost(&self.lost) {
            tracing::error!(%error, "the list of lost messages could not be written; it holds until the program ends");
        }
    }
}

/// The part of a key before its id.
fn unit(key: &str) -> &str {
    key.split_once('/').map_or(key, |(unit, _)| unit)
}

/// A message's bytes as they can best be read: JSON, a text, or hexadecimal digits; cut after `most` bytes.
fn content(bytes: &[u8], most: usize) -> Value {
    let cut = &bytes[..bytes.len().min(most)];
    if cut.len() == bytes.len()
        && let Ok(value) = serde_json::from_slice(bytes)
    {
        return value;
    }
    let whole = cut.len() == bytes.len();
    match std::str::from_utf8(cut) {
        Ok(text) => json!({"text": text, "whole": whole}),
        Err(error) if !whole && error.error_len().is_none() => {
            json!({"text": String::from_utf8_lossy(&cut[..error.valid_up_to()]), "whole": false})
        }
        Err(_) => {
            let digits: String = cut.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"hex": digits, "whole": whole})
        }
    }
}

#[cfg(test)]
#[path = "quarantine_tests.rs"]
mod tests;
