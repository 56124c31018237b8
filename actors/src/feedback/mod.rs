//! `FeedbackActor`: checks what people say, makes it durable, acknowledges it, and passes it on in journal order.
//!
//! Invariant: an event is acknowledged only after it is on disk, and passed on only from there: the journal itself is
//! read behind a cursor that outlives incarnations, so no crash between acknowledgement and delivery loses an event or
//! repeats one. Taking events never waits for the reward actor.

pub(crate) mod check;
#[cfg(test)]
mod ending_tests;
mod metric;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Notify;
use understudy_checkpoints::{Ack, CommitError};
use understudy_learning::stages::Feedback;

use crate::answers::Answers;
use crate::failpoint::Failpoints;
use crate::link::{Ask, Envelope, Feed, Inlet, Port, Reply};
use crate::messages::{FeedbackAck, FeedbackRefusal, LoopEvent};
use crate::seams::{DurableFeedback, FeedbackLog, LogError};
use crate::supervision::Held;
use crate::worker::{Desk, Job, Worker};

pub use metric::*;

/// The actor.
pub type FeedbackActor = Worker<FeedbackJob>;

/// One event and where its acknowledgement goes.
pub type FeedbackRequest = Envelope<Request>;

/// The same without its deadline.
type Request = Ask<Feedback, Result<FeedbackAck, FeedbackRefusal>>;

/// Events read from the journal at once.
const PAGE: usize = 64;
/// An acknowledged record becomes readable within moments: how often to look.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How far events were passed on; belongs to the daemon, so it outlives an incarnation.
#[derive(Debug, Clone, Default)]
pub struct PassedOn(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// Events up to here are on the ratings port or behind it.
    passed: AtomicU64,
    /// Events up to here are acknowledged.
    acknowledged: AtomicU64,
    /// Offered to the journal and not answered yet.
    offered: AtomicU64,
    /// The journal has stopped.
    broken: AtomicBool,
    changed: Notify,
}

impl PassedOn {
    /// Whoever reads the ratings port has read the journal itself up to `seq`.
    pub fn after(seq: u64) -> Self {
        let passed = Self::default();
        passed.0.passed.store(seq, Ordering::Relaxed);
        passed
    }

    /// The sequence up to which events were passed on.
    pub fn seq(&self) -> u64 {
        self.0.passed.load(Ordering::Acquire)
    }

    fn is_behind(&self) -> bool {
        self.seq() < self.0.acknowledged.load(Ordering::Acquire)
    }

    /// Whether everything that was offered to the journal has its answer.
    fn is_answered(&self) -> bool {
        self.0.offered.load(Ordering::Acquire) == 0
    }

    /// What the committer says of one event; runs on its thread.
    fn answered(&self, outcome: &Result<Ack, CommitError>) {
        match outcome {
            Ok(ack) => drop(self.0.acknowledged.fetch_max(ack.seq, Ordering::AcqRel)),
            Err(CommitError::Failed { .. } | CommitError::Closed) => self.0.broken.store(true, Ordering::Release),
            Err(_) => {}
        }
        self.0.offered.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

/// The actor's work.
pub struct FeedbackJob {
    /// Where events come from.
    pub inbox: Inlet<FeedbackRequest>,
    /// Where durable events go.
    pub ratings: Port<DurableFeedback>,
    /// Who else wants to see them.
    pub events: Feed<LoopEvent>,
    /// Lookup of answers.
    pub answers: Answers,
    /// The journal.
    pub log: Box<dyn FeedbackLog>,
    /// How far events were passed on.
    pub passed_on: PassedOn,
    /// `feedback.before`, `feedback.after`.
    pub failpoints: Failpoints,
}

impl Job for FeedbackJob {
    type State = ();

    async fn run(self, desk: Desk<()>) -> Result<(), String> {
        let taking = AtomicBool::new(true);
        tokio::try_join!(self.take_all(&desk, &taking), self.pass_all_on(&taking)).map(drop)
    }
}

impl FeedbackJob {
    async fn take_all(&self, desk: &Desk<()>, taking: &AtomicBool) -> Result<(), String> {
        let mut inbox = self.inbox.items();
        loop {
            let request = tokio::select! {
                biased;
                () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                request = inbox.next() => request,
            };
            let Some(request) = request else { break };
            if let Some(request) = request.accept() {
                let _unit = desk.lifeline.begin("feedback");
                self.take_in_hand(desk, request.value)?;
            }
            tokio::task::yield_now().await;
        }
        taking.store(false, Ordering::Release);
        self.passed_on.0.changed.notify_one();
        Ok(())
    }

    fn take_in_hand(&self, desk: &Desk<()>, request: Request) -> Result<(), String> {
        let id = &request.value.id;
        let key = format!("take/{id}");
        let quarantine = desk.lifeline.quarantine();
        if quarantine.is_lost(&key) {
            let refusal = FeedbackRefusal::Quarantined(id.clone());
            refuse(request.reply, refusal);
            return Ok(());
        }
        let held = Held::new(format!("feedback {id}")).saying(&request.value).called(key.clone());
        let _hand = desk.lifeline.hold(held);
        let outcome = self.failpoints.hit_for("feedback.before", id).and_then(|()| {
            self.take(request);
            self.failpoints.hit("feedback.after")
        });
        desk.lifeline.judge(outcome).map_err(|error| error.to_string())?;
        quarantine.acquit(&key);
        Ok(())
    }

    fn take(&self, request: Request) {
        let Ask { value: feedback, reply } = request;
        if let Err(refusal) = self.known(&feedback).and_then(|known| match known {
            true => Ok(()),
            false => check::check(&feedback, &self.answers, self.log.as_ref()),
        }) {
            return refuse(reply, refusal);
        }
        let (passed_on, id) = (self.passed_on.clone(), feedback.id.clone());
        self.passed_on.0.offered.fetch_add(1, Ordering::AcqRel);
        let reply = Arc::new(std::sync::Mutex::new(Some(reply)));
        let waiting = reply.clone();
        let answer = Box::new(move |outcome: Result<Ack, CommitError>| {
            passed_on.answered(&outcome);
            if let Some(reply) = crate::locked::locked(&waiting).take() {
                answer(reply, outcome, id);
            }
        });
        if let Err(error) = self.log.append(&feedback, answer) {
            self.passed_on.0.offered.fetch_sub(1, Ordering::AcqRel);
            if let Some(reply) = crate::locked::locked(&reply).take() {
                refuse(reply, refused(error));
            }
        }
    }

    /// Whether the same event was taken before: then its answers need not be kept any more.
    fn known(&self, feedback: &Feedback) -> Result<bool, FeedbackRefusal> {
        feedback.validate()?;
        match self.log.find(&feedback.id).map_err(refused)? {
            Some(known) if known.feedback == *feedback => Ok(true),
            Some(_) => Err(FeedbackRefusal::Conflict(feedback.id.clone())),
            None => Ok(false),
        }
    }

    /// Passes on what is in the journal, up to what is acknowledged. Once nothing more is taken, only what the port has room
    /// for: the rest is heard from the journal at the next start, so that an end need not wait for hours of learning.
    async fn pass_all_on(&self, taking: &AtomicBool) -> Result<(), String> {
        let is_ending = || !taking.load(Ordering::Acquire);
        loop {
            let mut is_enough = false;
            while self.passed_on.is_behind() && !is_enough {
                let events = self.log.read_after(self.passed_on.seq(), PAGE).map_err(|error| error.to_string())?;
                if events.is_empty() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                for event in events {
                    is_enough = !self.pass_on(event, &is_ending).await;
                    if is_enough {
                        break;
                    }
                }
            }
            if self.passed_on.0.broken.load(Ordering::Acquire) {
                return Err("the journal has stopped; restart the program, all acknowledged feedback is kept".into());
            }
            if is_ending() && self.passed_on.is_answered() && (is_enough || !self.passed_on.is_behind()) {
                if is_enough {
                    tracing::info!(after = self.passed_on.seq(), "what was said since is learned at the next start");
                }
                return Ok(());
            }
            self.passed_on.0.changed.notified().await;
        }
    }

    /// Waits for room on the port; `false` when there was none and the end has begun, which nobody may keep waiting.
    async fn pass_on(&self, event: DurableFeedback, is_ending: impl Fn() -> bool) -> bool {
        let DurableFeedback { seq, feedback } = event.clone();
        let mut sending = pin!(self.ratings.send(event));
        let is_full = || self.ratings.len() >= self.ratings.capacity();
        while is_full() {
            if is_ending() {
                return false;
            }
            tokio::select! {
                biased;
                // A closed port means that the reward actor is gone for good; the journal has the event.
                _ = &mut sending => return self.passed(seq, feedback),
                () = self.passed_on.0.changed.notified() => {}
            }
        }
        let _ = sending.await;
        self.passed(seq, feedback)
    }

    fn passed(&self, seq: u64, feedback: Feedback) -> bool {
        metrics::counter!(ACCEPTED, "kind" => feedback.kind_name()).increment(1);
        self.events.publish(LoopEvent::Rated { seq, feedback });
        self.passed_on.0.passed.store(seq, Ordering::Release);
        true
    }
}

fn answer(reply: Reply<Result<FeedbackAck, FeedbackRefusal>>, outcome: Result<Ack, CommitError>, id: String) {
    let outcome = match outcome {
        Ok(Ack { seq, duplicate }) => {
            metrics::counter!(ACKNOWLEDGED, "duplicate" => if duplicate { "yes" } else { "no" }).increment(1);
            Ok(FeedbackAck { seq, duplicate })
        }
        Err(CommitError::Conflict { .. }) => Err(FeedbackRefusal::Conflict(id)),
        Err(error @ CommitError::NoSpace { .. }) => {
            let refusal = FeedbackRefusal::NoSpace(error.to_string());
            metrics::counter!(REFUSED, "reason" => refusal.reason()).increment(1);
            Err(refusal)
        }
        Err(error) => Err(FeedbackRefusal::Store(error.to_string())),
    };
    // Nobody waiting any more is no fault: the same id may be sent again.
    let _ = reply.answer(outcome);
}

fn refused(error: LogError) -> FeedbackRefusal {
    match error {
        LogError::Full => FeedbackRefusal::Full,
        LogError::Store(why) => FeedbackRefusal::Store(why),
    }
}

fn refuse(reply: Reply<Result<FeedbackAck, FeedbackRefusal>>, refusal: FeedbackRefusal) {
    metrics::counter!(REFUSED, "reason" => refusal.reason()).increment(1);
    let _ = reply.answer(Err(refusal));
}
