//! What the outside knows: every event that was sent, and every acknowledgement.
//!
//! Invariant: an event is one of sent, acknowledged (one body under one sequence number, for ever) or refused; whatever
//! contradicts what is known is a fault, told in one sentence.

use std::collections::BTreeMap;

use serde_json::Value;

/// One id and all that is known of it.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// What was sent under the id, in the order of the first sending.
    pub(super) bodies: Vec<Value>,
    /// Which of them were refused as a conflict.
    pub(super) refused: Vec<usize>,
    /// Sequence number and which body.
    pub(super) acknowledged: Option<(u64, usize)>,
    /// Acknowledgements that called it new.
    new: usize,
    /// It is taken back, or somebody tried to.
    pub(super) taken_back: bool,
}

/// A request on its way.
pub(super) struct Sent {
    id: String,
    body: usize,
    known: bool,
    floor: u64,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// By id.
    pub(super) events: BTreeMap<String, Event>,
    /// Ids by sequence number.
    seqs: BTreeMap<u64, String>,
    /// Answers to one question, by chat.
    pub(super) answers: Vec<Vec<u64>>,
    /// The highest answer id that was ever told.
    pub(super) highest_answer: u64,
    /// The highest policy version that was ever seen.
    pub(super) highest_version: u64,
    /// The version that this run went on from, and the highest that was seen before it.
    run: (u64, u64),
    /// Acknowledged events that were gone, and events that were taken twice.
    pub(super) lost: usize,
    /// Events that were taken twice.
    pub(super) doubled: usize,
    /// Replies that were neither an acknowledgement nor a refusal: nothing follows from them.
    pub(super) unknown: usize,
    /// Conflicts that were refused as they must be.
    pub(super) conflicts: usize,
    /// What contradicts what is known.
    pub(super) faults: Vec<String>,
}

impl Oracle {
    pub(super) fn fault(&mut self, sentence: String) {
        // The first ones tell most.
        if self.faults.len() < 20 {
            self.faults.push(sentence);
        }
    }

    /// Events with an acknowledgement.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = (&String, &Event)> {
        self.events.iter().filter(|(_, event)| event.acknowledged.is_some())
    }

    /// The highest sequence number that was acknowledged.
    pub(super) fn highest_seq(&self) -> u64 {
        self.seqs.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// Notes a body before it is sent.
    pub(super) fn sending(&mut self, id: &str, body: &Value) -> Sent {
        let floor = self.highest_seq();
        let event = self.events.entry(id.to_owned()).or_default();
        let at = event.bodies.iter().position(|known| known == body).unwrap_or_else(|| {
            event.bodies.push(body.clone());
            event.bodies.len() - 1
        });
        Sent { id: id.to_owned(), body: at, known: event.acknowledged.is_some(), floor }
    }

    /// Compares a reply with what is known, and remembers it.
    pub(super) fn heard(&mut self, sent: Sent, reply: Option<(u16, Value)>) {
        match reply {
            Some((200, reply)) => self.taken(sent, &reply),
            Some((409, _)) => self.conflict(sent),
            // Too much, closing, or not on the disk in time: it may be there or not.
            None | Some((429 | 502 | 503 | 504, _)) => self.unknown += 1,
            Some((status, reply)) => self.fault(format!("{} was refused with {status}: {reply}", sent.id)),
        }
    }

    fn taken(&mut self, sent: Sent, reply: &Value) {
        let Sent { id, body, known, floor } = sent;
        let (Some(seq), Some(duplicate)) = (reply["seq"].as_u64(), reply["duplicate"].as_bool()) else {
            return self.fault(format!("{id}: no acknowledgement at all: {reply}"));
        };
        let Some(event) = self.events.get_mut(&id) else { return };
        event.new += usize::from(!duplicate);
        let (new, before) = (event.new, event.acknowledged);
        event.acknowledged.get_or_insert((seq, body));
        if event.refused.contains(&body) {
            self.fault(format!("{id}: a body that was refused is now acknowledged under {seq}"));
        }
        if known && !duplicate {
            self.lost += 1;
            self.fault(format!("{id} was acknowledged as {before:?} and is new again under {seq}"));
        } else if new > 1 {
            self.doubled += 1;
            self.fault(format!("{id} was taken as new {new} times, the last time under {seq}"));
        }
        if before.is_some_and(|before| before != (seq, body)) {
            self.fault(format!("{id}: sequence number and body were {before:?} and are {:?}", (seq, body)));
        }
        if !duplicate && seq <= floor {
            self.fault(format!("{id} is new under {seq}, and {floor} was given before"));
        }
        if let Some(other) = self.seqs.insert(seq, id.clone()).filter(|other| *other != id) {
            self.fault(format!("{id} and {other} both have the sequence number {seq}"));
        }
    }

    fn conflict(&mut self, sent: Sent) {
        let Some(event) = self.events.get_mut(&sent.id) else { return };
        if !event.refused.contains(&sent.body) {
            event.refused.push(sent.body);
        }
        let own = event.acknowledged.is_some_and(|(_, body)| body == sent.body);
        if own || event.refused.len() == event.bodies.len() {
            self.fault(format!("{}: refused as a conflict, and nothing else is stored under the id", sent.id));
        } else {
            self.conflicts += 1;
        }
    }

    /// A run begins: it went on from `version`.
    pub(super) fn run_begins(&mut self, version: u64) {
        self.run = (version, self.highest_version);
        self.highest_version = self.highest_version.max(version);
    }

    /// A version that the daemon names is the one it went on from, or a number that was never seen in an earlier run.
    pub(super) fn saw_version(&mut self, version: u64) {
        let (from, before) = self.run;
        if version != from && version <= before {
            self.fault(format!("version {version} came again: this run went on from {from}, {before} was seen before"));
        }
        self.highest_version = self.highest_version.max(version);
    }

    /// Answers that a chat was given; `floor` is the highest id told before it was asked.
    pub(super) fn saw_answers(&mut self, ids: Vec<u64>, floor: u64) {
        if let Some(old) = ids.iter().find(|id| **id <= floor) {
            self.fault(format!("the answer id {old} was given again; {floor} was given before"));
        }
        self.highest_answer = ids.iter().copied().fold(self.highest_answer, u64::max);
        self.answers.push(ids);
    }
}
