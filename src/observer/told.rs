//! The newest events as readers get them, so that a reader who was away for a moment goes on where it was.
//!
//! Invariant: ids rise without a gap and, since they begin at the start's time, also across restarts; at most
//! [`MOST`] events and [`MOST_BYTES`] bytes are kept, the oldest leave first.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use understudy_actors::messages::LoopEvent;

/// Most events kept.
pub const MOST: usize = 1024;
/// Most bytes of events kept.
pub const MOST_BYTES: usize = 4 << 20;

/// One event in the form of a server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: u64,
    /// `id:`, `event:` and `data:` lines and the empty line after them.
    pub frame: Arc<str>,
}

/// The newest events.
#[derive(Debug, Clone)]
pub struct Ring {
    next: u64,
    bytes: usize,
    events: VecDeque<Told>,
}

impl Ring {
    /// An empty ring whose first id is `first`.
    pub fn new(first: u64) -> Self {
        Self { next: first, bytes: 0, events: VecDeque::new() }
    }

    /// Takes an event up, with the time at which it was seen.
    pub fn push(&mut self, t_ms: i64, event: &LoopEvent) -> Told {
        let mut value = serde_json::to_value(event).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.insert("t_ms".to_owned(), t_ms.into());
        }
        let (id, tag) = (self.next, value["event"].as_str().unwrap_or("other"));
        // JSON has no line break outside of its strings, and escapes those inside.
        let frame: Arc<str> = format!("id: {id}\nevent: {tag}\ndata: {value}\n\n").into();
        self.next += 1;
        let told = Told { id, frame };
        self.bytes += told.frame.len();
        self.events.push_back(told.clone());
        while self.events.len() > MOST || (self.bytes > MOST_BYTES && self.events.len() > 1) {
            let oldest = self.events.pop_front().map_or(0, |oldest| oldest.frame.len());
            self.bytes -= oldest;
        }
        told
    }

    /// What followed event `last`, and whether nothing between is missing. An id from before the ring, or from another
    /// life of the daemon, gets everything that is kept.
    pub fn since(&self, last: u64) -> (Vec<Told>, bool) {
        let oldest = self.events.front().map_or(self.next, |oldest| oldest.id);
        let known = last < self.next && last + 1 >= oldest;
        let from = if known { last + 1 } else { oldest };
        (self.events.iter().filter(|told| told.id >= from).cloned().collect(), known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(what: &str) -> LoopEvent {
        LoopEvent::Trouble { actor: "policy", what: what.to_owned() }
    }

    fn ids(told: (Vec<Told>, bool)) -> (Vec<u64>, bool) {
        (told.0.iter().map(|told| told.id).collect(), told.1)
    }

    #[test]
    fn an_event_is_three_lines_whatever_it_says() {
        let told = Ring::new(7).push(5, &trouble("a\n\ndata: b\r\"c\""));
        let json = r#"{"event":"trouble","actor":"policy","what":"a\n\ndata: b\r\"c\"","t_ms":5}"#;
        assert_eq!(&*told.frame, format!("id: 7\nevent: trouble\ndata: {json}\n\n"));
    }

    #[test]
    fn a_reader_gets_what_it_missed_and_learns_whether_that_is_all() {
        let mut ring = Ring::new(100);
        assert_eq!(ids(ring.since(99)), (vec![], true));
        (0..3).for_each(|_| drop(ring.push(1, &trouble("x"))));
        assert_eq!(ids(ring.since(100)), (vec![101, 102], true));
        assert_eq!(ids(ring.since(102)), (vec![], true));
        assert_eq!(ids(ring.since(3)), (vec![100, 101, 102], false), "an earlier life's id");
        assert_eq!(ids(ring.since(u64::MAX - 1)), (vec![100, 101, 102], false), "an id that was never given");
        (0..MOST).for_each(|_| drop(ring.push(1, &trouble("x"))));
        let (kept, whole) = ring.since(101);
        assert_eq!((kept.len(), kept[0].id, whole), (MOST, 103, false));
        assert!(ring.since(102).1);
    }

    #[test]
    fn long_events_are_bounded_by_their_bytes() {
        let mut ring = Ring::new(1);
        let long = "x".repeat(MOST_BYTES / 10);
        (0..50).for_each(|_| drop(ring.push(1, &trouble(&long))));
        assert_eq!(ring.since(0).0.len(), 9);
        drop(ring.push(1, &trouble(&"x".repeat(2 * MOST_BYTES))));
        assert_eq!(ring.since(0).0.len(), 1, "one is always kept");
    }
}
