//! `SourceActor`: draws questions, renders them as prompts and sends them on as fast as the pace admits.
//!
//! Invariant: a question is drawn only when the learner's pace has room for its answers; where the source stands is
//! journaled, so a restart repeats at most the last few questions and skips none. While a source has nothing yet, no place
//! at the pace is taken.

mod metric;
mod question_source;
mod render;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use understudy_checkpoints::{NewRecord, RecordKind, StoreHandle};
use understudy_learning::annotators::next_arrival_ms;
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{Question, Sampling};
use understudy_model::text::TextCodec;

use crate::failpoint::Failpoints;
use crate::link::{Envelope, Pace, PaceError, Port, Ticket};
use crate::locked::locked;
use crate::messages::{Asker, PromptRequest};
use crate::supervision::Held;
use crate::worker::{Desk, Job, Worker};

pub use metric::*;
pub use question_source::{Draw, ListSource, QuestionSource, SourceError};
pub use render::render;

/// The actor.
pub type SourceActor = Worker<SourceJob>;

/// A training request waits as long as the daemon lives.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longest wait for a source that has nothing yet, whatever it says.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Questions between two records of the position.
const CURSOR_EVERY: u64 = 8;

/// A source that outlives incarnations of its actor.
pub type SharedSource = Arc<Mutex<Box<dyn QuestionSource>>>;

/// How questions become requests.
#[derive(Debug, Clone, PartialEq)]
pub struct AskingConfig {
    /// Answers to each question.
    pub samples: usize,
    /// How to sample; each request has its own seed, derived from this one.
    pub sampling: Sampling,
    /// An answer ends before the first of these.
    pub stop: Vec<String>,
    /// The system message, if any.
    pub system: Option<String>,
    /// Most tokens of a prompt.
    pub max_prompt: usize,
    /// Questions a second on average (Poisson); 0 is as fast as the pace admits.
    pub rate: f64,
}

/// The actor's work.
pub struct SourceJob {
    /// Where questions come from.
    pub(crate) source: SharedSource,
    /// How they are asked.
    pub(crate) config: AskingConfig,
    /// Renders them.
    pub(crate) text: TextCodec,
    /// Where requests go.
    pub(crate) prompts: Port<Envelope<PromptRequest>>,
    /// Admits them.
    pub(crate) pace: Pace,
    /// Keeps the position.
    pub(crate) store: StoreHandle,
    /// The run's seed.
    pub(crate) seed: u64,
    /// `source.before`, `source.after`: around each question.
    pub(crate) failpoints: Failpoints,
}

/// The question at `position` as a request to learn from.
pub(crate) fn ask_of(
    text: &TextCodec,
    config: &AskingConfig,
    question: Arc<Question>,
    position: u64,
    ticket: Ticket,
) -> Result<PromptRequest, String> {
    let prompt = render(text, config.system.as_deref(), &question, config.max_prompt)
        .map_err(|error| format!("question {} does not render: {error}", question.id))?;
    // Every question draws its answers from a stream of its own, also when it comes round again.
    let seed = Stream::new(config.sampling.seed, Purpose::Sampling, position).below(usize::MAX) as u64;
    Ok(PromptRequest {
        prompt,
        samples: config.samples,
        sampling: Sampling { seed, ..config.sampling.clone() },
        stop: config.stop.clone(),
        asker: Asker::Training(ticket),
    })
}

impl Job for SourceJob {
    type State = ();

    async fn run(self, desk: Desk<()>) -> Result<(), String> {
        let name = locked(&self.source).name().to_owned();
        let mut position = self.restored(&name)?;
        let mut kept = position;
        let mut next_arrival = Instant::now();
        loop {
            let ticket = tokio::select! {
                biased;
                () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                ticket = self.admitted(next_arrival) => ticket,
            };
            let ticket = match ticket {
                Ok(ticket) => ticket,
                Err(PaceError::Closed) => break,
                Err(error) => return Err(error.to_string()),
            };
            let key = format!("draw/{name}/{position}");
            if desk.lifeline.quarantine().is_lost(&key) {
                tracing::warn!(source = name, position, "a question that fails again and again is not asked");
                position += 1;
                continue;
            }
            let request = match self.draw(&desk, &key, position, ticket)? {
                Drawn::Request(request) => *request,
                // The ticket was given back.
                Drawn::NotYet(wait) => {
                    if position != kept {
                        // It may be long until the next question comes.
                        self.keep(&name, position);
                        kept = position;
                    }
                    tokio::select! {
                        biased;
                        () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                        () = self.pace.closed() => {}
                        () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
                    }
                    continue;
                }
                Drawn::End => {
                    tracing::info!(source = name, position, "the source has no more questions");
                    break;
                }
            };
            position += 1;
            if self.prompts.send(Envelope::new(request, Instant::now() + FOREVER)).await.is_err() {
                break; // closed: the question was not asked, and is drawn again after the restart
            }
            metrics::counter!(DRAWN, "source" => name.clone()).increment(1);
            if position.is_multiple_of(CURSOR_EVERY) {
                self.keep(&name, position);
                kept = position;
            }
            let mut arrivals = Stream::new(self.seed, Purpose::Arrival, position);
            if let Some(wait) = next_arrival_ms(self.config.rate, &mut arrivals) {
                next_arrival += Duration::from_millis(wait);
            }
            tokio::task::yield_now().await;
        }
        self.keep(&name, position);
        Ok(())
    }
}

/// A question as it goes on.
enum Drawn {
    Request(Box<PromptRequest>),
    NotYet(Duration),
    End,
}

impl SourceJob {
    async fn admitted(&self, arrival: Instant) -> Result<Ticket, PaceError> {
        tokio::time::sleep_until(arrival).await;
        self.pace.admit(self.config.samples as u64).await
    }

    fn draw(&self, desk: &Desk<()>, key: &str, position: u64, ticket: Ticket) -> Result<Drawn, String> {
        let _unit = desk.lifeline.begin("question");
        let _hand = desk.lifeline.hold(Held::new(format!("question {position}")).called(key.to_owned()));
        let drawn = self.question(position);
        let question = match desk.lifeline.judge(drawn)? {
            Draw::Question(question) => question,
            Draw::NotYet(wait) => return Ok(Drawn::NotYet(wait)),
            Draw::End => return Ok(Drawn::End),
        };
        let _hand = desk.lifeline.hold(Held::new(format!("question {}", question.id)).saying(question.as_ref()));
        let request = self.request(question, position, ticket);
        let request = desk.lifeline.judge(request)?;
        desk.lifeline.quarantine().acquit(key);
        Ok(Drawn::Request(Box::new(request)))
    }

    fn question(&self, position: u64) -> Result<Draw, String> {
        self.failpoints.hit_for("source.before", position).map_err(|error| error.to_string())?;
        locked(&self.source).draw(position).map_err(|error| error.to_string())
    }

    fn request(&self, question: Arc<Question>, position: u64, ticket: Ticket) -> Result<PromptRequest, String> {
        let request = ask_of(&self.text, &self.config, question, position, ticket)?;
        self.failpoints.hit("source.after").map_err(|error| error.to_string())?;
        Ok(request)
    }

    /// Where the journal says that this source stood.
    fn restored(&self, name: &str) -> Result<u64, String> {
        let mut position = 0;
        let mut from = 0;
        loop {
            let records = self.store.read_from(RecordKind::Cursor, from, 256).map_err(|error| error.to_string())?;
            let Some(last) = records.last() else { return Ok(position) };
            from = last.seq + 1;
            let mine = records.iter().filter_map(|record| postcard::from_bytes::<(String, u64)>(&record.bytes).ok());
            position = mine.rev().find(|(source, _)| source == name).map(|(_, at)| at).unwrap_or(position);
        }
    }

    fn keep(&self, name: &str, position: u64) {
        let bytes = postcard::to_stdvec(&(name, position)).expect("a name and a number");
        let record = NewRecord { kind: RecordKind::Cursor, key: None, group: 0, bytes };
        let told = |outcome: Result<_, _>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "a source's position was not kept; a restart repeats some questions");
            }
        };
        // Full: the next position is kept instead.
        let _ = self.store.offer(record, Box::new(told));
    }
}
