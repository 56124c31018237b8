//! People at the daemon: they ask, rate, take back, repeat themselves, and say something else under an old id.
//!
//! Invariant: nothing is sent that the oracle was not told of before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::child::Line;
use super::oracle::{Event, Oracle};
use super::schedule::Dice;

/// People at the same time.
const PEOPLE: u64 = 4;
/// Newest chats whose answers are rated; older ones are left alone, as a bounded store lets them go.
const LATE: usize = 200;
/// Acknowledged events of earlier runs that are sent again after a start; those of the last run all are.
const OLD_ONES: usize = 40;
/// Acknowledged events that are contradicted after a start.
const CONTRADICTED: usize = 12;

/// What everybody shares.
pub(super) type Known = Arc<Mutex<Oracle>>;

pub(super) fn locked(known: &Known) -> MutexGuard<'_, Oracle> {
    known.lock().expect("nobody panics with it")
}

/// People who go on until they are told to stop; the daemon may die under them at any time.
pub(super) struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    pub(super) fn gather(line: &Line, known: &Known, seed: u64, run: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let person = |who: u64| {
            let (stop, line, known) = (stop.clone(), line.clone(), known.clone());
            let name = format!("person-{who}");
            let mut person = Person { name, line, known, dice: Dice(seed ^ (who << 32) ^ run as u64), run, said: 0 };
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    person.act();
                    super::pause(Duration::from_millis(10 + person.dice.next() % 90));
                }
            })
        };
        Self { threads: (0..PEOPLE).map(person).collect(), stop }
    }

    /// Whoever waits for a reply gets it, or sees the connection break.
    pub(super) fn leave(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a person does not panic"));
    }
}

struct Person {
    name: String,
    line: Line,
    known: Known,
    dice: Dice,
    run: usize,
    said: u64,
}

impl Person {
    fn act(&mut self) {
        let body = match self.dice.below(100) {
            0..12 => None,
            12..45 => self.stars(),
            45..68 => self.pair(),
            68..72 => self.retract(),
            72..84 => return self.again(|event| event.acknowledged.is_some()),
            84..90 => return self.again(|event| event.acknowledged.is_none()),
            _ => return self.contradict(),
        };
        match body {
            Some(body) => self.give(body),
            None => self.ask(),
        }
    }

    fn ask(&mut self) {
        let floor = locked(&self.known).highest_answer;
        chat(&self.line, &self.known, 2, floor);
    }

    fn stars(&mut self) -> Option<Value> {
        let answers = self.dice_answers()?;
        let answer = *self.dice.of(&answers)?;
        Some(json!({"kind": "stars", "answer": answer, "stars": 1 + self.dice.below(5)}))
    }

    fn pair(&mut self) -> Option<Value> {
        let answers = self.dice_answers()?;
        let (better, worse) = if self.dice.below(2) == 0 { (0, 1) } else { (1, 0) };
        (answers.len() > 1).then(|| json!({"kind": "pair", "better": answers[better], "worse": answers[worse]}))
    }

    fn retract(&mut self) -> Option<Value> {
        let mut known = locked(&self.known);
        let mine = |event: &Event| {
            let body = &event.bodies[0];
            body["annotator"] == self.name && body["kind"] != "retract" && !event.taken_back
        };
        let ids: Vec<String> = known.acknowledged().filter(|(_, e)| mine(e)).map(|(id, _)| id.clone()).collect();
        let id = self.dice.of(&ids)?;
        known.events.get_mut(id)?.taken_back = true;
        Some(json!({"kind": "retract", "feedback": id}))
    }

    /// The answers to one question of late.
    fn dice_answers(&mut self) -> Option<Vec<u64>> {
        let known = locked(&self.known);
        let old = known.answers.len().saturating_sub(LATE);
        self.dice.of(&known.answers[old..]).cloned()
    }

    /// A new event. Now and then it is sent twice at the same time, sometimes with another content.
    fn give(&mut self, mut body: Value) {
        self.said += 1;
        let id = format!("{}-{}-{}", self.name, self.run, self.said);
        body["id"] = json!(id);
        body["annotator"] = json!(self.name);
        body["at"] = json!(self.said);
        let second = match self.dice.below(20) {
            0 => Some(body.clone()),
            1 => Some(other(&body)),
            _ => None,
        };
        std::thread::scope(|scope| {
            if let Some(second) = &second {
                scope.spawn(|| send(&self.line, &self.known, second));
            }
            send(&self.line, &self.known, &body);
        });
    }

    fn again(&mut self, which: impl Fn(&Event) -> bool) {
        let known = locked(&self.known);
        let events: Vec<&Event> = known.events.values().filter(|event| which(event)).collect();
        let Some(event) = self.dice.of(&events) else { return };
        let body = event.bodies[event.acknowledged.map_or(0, |(_, body)| body)].clone();
        drop(known);
        send(&self.line, &self.known, &body);
    }

    fn contradict(&mut self) {
        let known = locked(&self.known);
        let events: Vec<&Event> = known.events.values().collect();
        let Some(event) = self.dice.of(&events) else { return };
        let body = other(&event.bodies[0]);
        drop(known);
        send(&self.line, &self.known, &body);
    }
}

/// Another content under the same id; of the other one it is the first again, so that an id has two at most.
fn other(body: &Value) -> Value {
    let mut other = body.clone();
    match body["kind"].as_str() {
        Some("stars") => other["stars"] = json!(6 - body["stars"].as_u64().unwrap_or(1)),
        Some("pair") => (other["better"], other["worse"]) = (body["worse"].clone(), body["better"].clone()),
        _ => {}
    }
    // Three stars turned round are three stars.
    other["at"] = json!(-body["at"].as_i64().unwrap_or(1));
    other
}

fn send(line: &Line, known: &Known, body: &Value) {
    let id = body["id"].as_str().expect("given by us");
    let sent = locked(known).sending(id, body);
    let reply = line.call("POST", "/v1/feedback", body);
    locked(known).heard(sent, reply);
}

/// Asks for `samples` answers; whether they came.
pub(super) fn chat(line: &Line, known: &Known, samples: usize, floor: u64) -> bool {
    let body = json!({"messages": [{"role": "user", "content": "Why?"}], "n": samples});
    let reply = line.call("POST", "/v1/chat/completions", &body);
    let mut known = locked(known);
    match reply {
        Some((200, reply)) => {
            let choices = reply["choices"].as_array().cloned().unwrap_or_default();
            let ids: Vec<u64> = choices.iter().filter_map(|choice| choice["answer_id"].as_u64()).collect();
            let version = reply["system_fingerprint"].as_str().and_then(|text| text.strip_prefix("policy-"));
            match version.and_then(|version| version.parse().ok()) {
                Some(version) if ids.len() == samples => {
                    known.saw_version(version);
                    known.saw_answers(ids, floor);
                    return true;
                }
                _ => known.fault(format!("a chat was answered without its answers' ids or version: {reply}")),
            }
        }
        None | Some((429 | 502 | 503 | 504, _)) => known.unknown += 1,
        Some((status, reply)) => known.fault(format!("a chat was refused with {status}: {reply}")),
    }
    false
}

/// After a start: says again what was acknowledged and what had no reply, and contradicts some of it. `since` is the
/// sequence number up to which that was done before.
pub(super) fn inquest(line: &Line, known: &Known, since: u64, dice: &mut Dice) {
    let mut again: Vec<Value> = Vec::new();
    let mut old: Vec<Value> = Vec::new();
    for event in locked(known).events.values() {
        match event.acknowledged {
            Some((seq, body)) if seq > since => again.push(event.bodies[body].clone()),
            Some((_, body)) => old.push(event.bodies[body].clone()),
            None => again.extend(event.bodies.iter().cloned()),
        }
    }
    again.extend((0..OLD_ONES).filter_map(|_| dice.of(&old).cloned()));
    again.extend((0..CONTRADICTED).filter_map(|_| dice.of(&old).map(other)));
    let (least, at) = (again.len().div_ceil(4).max(1), &again);
    std::thread::scope(|scope| {
        for part in at.chunks(least) {
            scope.spawn(move || part.iter().for_each(|body| send(line, known, body)));
        }
    });
}
