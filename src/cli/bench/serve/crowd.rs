//! Clients that ask one question after another and read the answers as they stream.
//!
//! Invariant: only what came before the end counts; an answer that the end cut off is told of as such, and an answer that
//! was refused or failed is counted under its status or its error's name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{connect, send};
use super::figures::spread;
use super::sse::Events;
use super::stop::Stop;
use crate::cli::bench::meter::rounded;

/// Longest wait before asking again after a refusal.
const MOST_WAIT: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) address: SocketAddr,
    pub(super) questions: Vec<String>,
    pub(super) max_tokens: usize,
    /// Sampling temperature; one other than the daemon's own is never learned from.
    pub(super) temperature: f64,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    asked: u64,
    pub(super) answers: u64,
    tokens: u64,
    first_token_s: Vec<f64>,
    between_s: Vec<f64>,
    refused: BTreeMap<u16, u64>,
    failed: BTreeMap<String, u64>,
    cut_before_first_token: u64,
    cut_in_answer: u64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.answers += other.answers;
        self.tokens += other.tokens;
        self.first_token_s.extend(other.first_token_s);
        self.between_s.extend(other.between_s);
        other.refused.into_iter().for_each(|(status, count)| *self.refused.entry(status).or_default() += count);
        other.failed.into_iter().for_each(|(name, count)| *self.failed.entry(name).or_default() += count);
        self.cut_before_first_token += other.cut_before_first_token;
        self.cut_in_answer += other.cut_in_answer;
    }

    fn fail(&mut self, name: impl Into<String>) {
        *self.failed.entry(name.into()).or_default() += 1;
    }

    /// The figures of `seconds`.
    pub(super) fn json(&self, seconds: f64) -> Value {
        json!({
            "seconds": rounded(seconds),
            "asked": self.asked,
            "answers": self.answers,
            "tokens": self.tokens,
            "tokens_per_s": rounded(self.tokens as f64 / seconds.max(1e-9)),
            "first_token_s": spread(&self.first_token_s),
            "between_tokens_s": spread(&self.between_s),
            "refused": self.refused.iter().map(|(status, count)| (status.to_string(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "failed": self.failed,
            "cut_off_at_the_end": {"before_first_token": self.cut_before_first_token, "in_answer": self.cut_in_answer},
        })
    }
}

/// Ids of whole answers, for whoever rates them.
#[derive(Default)]
pub(super) struct Answers(Mutex<Vec<u64>>);

impl Answers {
    fn add(&self, answer: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }

    /// The newest that was not taken before.
    pub(super) fn take(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// `clients` ask until `stop`; what they saw, and for how long.
pub(super) fn ask(asking: &Asking, clients: usize, stop: &Stop, answers: &Answers) -> (Seen, f64) {
    let begun = Instant::now();
    let mut all = Seen::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..clients).map(|place| scope.spawn(move || one_after_another(asking, place, stop, answers))).collect();
        stop.wait(Duration::MAX);
        let seconds = begun.elapsed().as_secs_f64();
        threads.into_iter().filter_map(|thread| thread.join().ok()).for_each(|seen| all.add(seen));
        (all, seconds)
    })
}

fn one_after_another(asking: &Asking, place: usize, stop: &Stop, answers: &Answers) -> Seen {
    let mut seen = Seen::default();
    let mut next = place;
    while !stop.is_on() {
        let question = &asking.questions[next % asking.questions.len()];
        next += 1;
        seen.asked += 1;
        match conversation(asking, question, place, stop, answers, &mut seen) {
            Ok(None) => {}
            Ok(Some(wait)) => {
                stop.wait(wait);
            }
            Err(_) if stop.is_on() => {}
            Err(error) => {
                seen.fail(format!("connection: {}", error.kind()));
                stop.wait(MOST_WAIT);
            }
        }
    }
    seen
}

/// Asks one question and reads its answer. How long to wait, where it was refused.
fn conversation(
    asking: &Asking,
    question: &str,
    place: usize,
    stop: &Stop,
    answers: &Answers,
    seen: &mut Seen,
) -> std::io::Result<Option<Duration>> {
    let asked = Instant::now();
    let stream = connect(asking.address)?;
    stop.show(place, &stream);
    let body = json!({
        "messages": [{"role": "user", "content": question}],
        "stream": true,
        "max_tokens": asking.max_tokens,
        "temperature": asking.temperature,
    });
    let mut last: Option<Instant> = None;
    let read = || -> std::io::Result<Option<Duration>> {
        let reply = send(stream, "POST", "/v1/chat/completions", &body)?;
        if reply.status != 200 {
            match reply.status {
                429 => *seen.refused.entry(429).or_default() += 1,
                other => seen.fail(other.to_string()),
            }
            return Ok(Some(reply.retry_after.map_or(MOST_WAIT, Duration::from_secs).min(MOST_WAIT)));
        }
        let mut events = Events(reply.body);
        let mut whole = false;
        while let Some(event) = events.next()? {
            if event.data == "[DONE]" {
                return Ok(None);
            }
            let chunk: Value = serde_json::from_str(&event.data).unwrap_or_default();
            if let Some(error) = chunk.get("error") {
                let code = error["code"].as_str().unwrap_or("unnamed");
                // A refusal after the stream has begun has the name that goes with 429.
                match code {
                    "overloaded" => *seen.refused.entry(429).or_default() += 1,
                    code => seen.fail(code),
                }
                return Ok(Some(MOST_WAIT));
            }
            let choice = &chunk["choices"][0];
            if choice["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()) {
                let now = Instant::now();
                seen.tokens += 1;
                match last.replace(now) {
                    None => seen.first_token_s.push((now - asked).as_secs_f64()),
                    Some(before) => seen.between_s.push((now - before).as_secs_f64()),
                }
            }
            if let Some(answer) = choice["answer_id"].as_u64() {
                whole = true;
                seen.answers += 1;
                answers.add(answer);
            }
        }
        if whole { Ok(None) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    };
    let outcome = read();
    if outcome.is_err() && stop.is_on() {
        match last {
            None => seen.cut_before_first_token += 1,
            Some(_) => seen.cut_in_answer += 1,
        }
    }
    outcome
}
