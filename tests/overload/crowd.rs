//! People who ask and rate as fast as they are let: 64 connections that come again at once.
//!
//! Invariant: every request that was sent is counted as accepted, refused with a reason, or a fault.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Client, Reply};

/// Connections that ask, and as many that rate.
pub(super) const HALF: usize = 32;
/// Newest answers, to be rated.
const LATE: usize = 256;

/// What came of one kind of request.
#[derive(Debug, Default, Clone)]
pub(super) struct Outcome {
    pub(super) accepted: usize,
    /// By status and code.
    pub(super) refused: BTreeMap<String, usize>,
    /// Seconds to each acceptance and to each refusal.
    pub(super) seconds: (Vec<f64>, Vec<f64>),
}

impl Outcome {
    pub(super) fn refusals(&self) -> usize {
        self.refused.values().sum()
    }
}

/// What everybody shares.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) chats: Outcome,
    pub(super) ratings: Outcome,
    /// Acknowledged ratings: the event and its sequence number.
    pub(super) acknowledged: BTreeMap<String, (Value, u64)>,
    pub(super) faults: Vec<String>,
    answers: VecDeque<u64>,
}

/// People at work.
pub(super) struct Crowd {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// So many connections that ask, and as many that rate; ids begin with `name`.
    pub(super) fn gather(address: &str, name: &str, half: usize) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let person = |who: usize| {
            let (stop, seen, name) = (stop.clone(), seen.clone(), format!("{name}-{who}"));
            let mut client = Client::new(address);
            std::thread::spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let refused = match who % 2 {
                        0 => ask(&mut client, &seen),
                        _ => rate(&mut client, &seen, &name, number),
                    };
                    if refused {
                        crate::crash::pause(Duration::from_millis(1));
                    }
                }
            })
        };
        Self { threads: (0..2 * half).map(person).collect(), stop, seen }
    }

    /// Everybody gets the reply that they wait for.
    pub(super) fn leave(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a person does not panic"));
        std::mem::take(&mut *self.seen.lock().expect("nobody panics with it"))
    }
}

/// `true` when nothing was done and a moment should pass.
fn ask(client: &mut Client, seen: &Mutex<Seen>) -> bool {
    let body = json!({"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 64, "n": 4});
    let (reply, seconds) = timed(client, "/v1/chat/completions", &body);
    let mut seen = seen.lock().expect("nobody panics with it");
    match reply {
        Ok(Reply { status: 200, body, .. }) => {
            match body["choices"][0]["answer_id"].as_u64() {
                Some(answer) => seen.answers.push_back(answer),
                None => seen.faults.push(format!("a chat without an answer's id: {body}")),
            }
            if seen.answers.len() > LATE {
                seen.answers.pop_front();
            }
            seen.chats.accepted += 1;
            seen.chats.seconds.0.push(seconds);
            false
        }
        other => refused(other, seconds, &mut seen, |seen| &mut seen.chats),
    }
}

fn rate(client: &mut Client, seen: &Mutex<Seen>, name: &str, number: usize) -> bool {
    let answer = {
        let seen = seen.lock().expect("nobody panics with it");
        let Some(answer) = seen.answers.get(number % seen.answers.len().max(1)) else { return true };
        *answer
    };
    let id = format!("{name}-{number}");
    let stars = 1 + number % 5;
    let body = json!({"id": id, "annotator": name, "at": 1, "kind": "stars", "answer": answer, "stars": stars});
    let (reply, seconds) = timed(client, "/v1/feedback", &body);
    let mut seen = seen.lock().expect("nobody panics with it");
    match reply {
        Ok(Reply { status: 200, body: reply, .. }) => {
            match (reply["seq"].as_u64(), reply["duplicate"].as_bool()) {
                (Some(seq), Some(false)) => drop(seen.acknowledged.insert(id, (body, seq))),
                _ => seen.faults.push(format!("{id}: {reply}")),
            }
            seen.ratings.accepted += 1;
            seen.ratings.seconds.0.push(seconds);
            false
        }
        other => refused(other, seconds, &mut seen, |seen| &mut seen.ratings),
    }
}

fn timed(client: &mut Client, path: &str, body: &Value) -> (std::io::Result<Reply>, f64) {
    let began = Instant::now();
    let reply = client.call("POST", path, body);
    (reply, began.elapsed().as_secs_f64())
}

/// 429 and 503 say when to come back, 504 that the deadline passed; anything else is a fault.
fn refused(reply: std::io::Result<Reply>, seconds: f64, seen: &mut Seen, of: fn(&mut Seen) -> &mut Outcome) -> bool {
    let fault = match &reply {
        Ok(Reply { status: 429 | 503, retry_after: true, .. } | Reply { status: 504, .. }) => None,
        other => Some(format!("neither accepted nor refused as it should be: {other:?}")),
    };
    match fault {
        Some(fault) if seen.faults.len() < 20 => seen.faults.push(fault),
        _ => {}
    }
    let reason = reply.map_or_else(
        |error| error.kind().to_string(),
        |reply| {
            let code = reply.body["error"]["code"].as_str().or(reply.body["code"].as_str());
            format!("{} {}", reply.status, code.unwrap_or("without a code"))
        },
    );
    let outcome = of(seen);
    *outcome.refused.entry(reason).or_default() += 1;
    outcome.seconds.1.push(seconds);
    true
}
