//! `AnnotatorActor`: simulated people who read answers, take their time and say what they think, through the same port as
//! everybody else.
//!
//! Invariant: nothing here reaches the learners except feedback; gold values go to watchers only.

mod metric;
mod rater;
mod schedule;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use crate::failpoint::Failpoints;
use crate::feedback::FeedbackRequest;
use crate::link::{AskError, Feed, Port, Subscription, ask};
use crate::locked::locked;
use crate::messages::{AnsweredQuestion, FeedbackRefusal, LoopEvent};
use crate::supervision::Held;
use crate::worker::{Desk, Job, Worker};

pub use metric::*;
pub use rater::{Critic, Crowd, Plan, Rater};
use schedule::Schedule;

/// The actor.
pub type AnnotatorActor = Worker<AnnotatorJob>;

/// Raters that outlive incarnations of their actor.
pub type SharedRater = Arc<Mutex<Box<dyn Rater>>>;

/// How long a rating may take to become durable.
const PATIENCE: Duration = Duration::from_secs(30);
/// When to try again after the port was full.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Ratings planned at most.
const MOST_PLANNED: usize = 4096;

/// The raters' clock: theirs runs `scale` times as fast as ours.
#[derive(Debug, Clone, Copy)]
pub struct RatersClock {
    /// Their time at `began`, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Our time at `start_ms`.
    pub began: Instant,
    /// Their seconds to one of ours; above 0.
    pub scale: f64,
}

impl RatersClock {
    fn now_ms(&self) -> i64 {
        self.start_ms + (self.began.elapsed().as_secs_f64() * self.scale * 1000.0) as i64
    }

    fn ours(&self, theirs_ms: u64) -> Duration {
        Duration::from_secs_f64(theirs_ms as f64 / 1000.0 / self.scale)
    }
}

/// The actor's work.
pub struct AnnotatorJob {
    /// Who rates.
    pub(crate) rater: SharedRater,
    /// What there is to rate.
    pub(crate) outlook: SharedOutlook,
    /// Where ratings go.
    pub(crate) feedback: Port<FeedbackRequest>,
    /// Where gold values go.
    pub(crate) events: Feed<LoopEvent>,
    /// The raters' time.
    pub(crate) clock: RatersClock,
    /// `annotator.before`, `annotator.after`: around each rating.
    pub(crate) failpoints: Failpoints,
}

/// Tells watchers what answers are really worth, where the rater knows.
pub(crate) fn show_gold(rater: &mut dyn Rater, answered: &AnsweredQuestion, events: &Feed<LoopEvent>) {
    for answer in answered.answers.iter() {
        if let Some(gold) = rater.gold(&answered.question, answer) {
            let version = answer.version_spans.last().map_or(0, |span| span.version);
            metrics::histogram!(GOLD).record(gold);
            events.publish(LoopEvent::Gold { answer: answer.id, version, gold });
        }
    }
}

/// One person's rating of the answers to one question.
type Planned = (usize, AnsweredQuestion);

/// What there is to rate, and what will be. It outlives incarnations, each of which holds it as long as it lives: so a
/// failure makes nobody forget what they meant to say.
#[derive(Clone)]
pub(crate) struct SharedOutlook(Arc<tokio::sync::Mutex<Outlook>>);

struct Outlook {
    /// What was not rated before a restart of the program.
    again: Vec<AnsweredQuestion>,
    answers: Subscription<AnsweredQuestion>,
    schedule: Schedule<Planned>,
}

impl SharedOutlook {
    /// Answers from now on, after those that were not rated before.
    pub(crate) fn new(again: Vec<AnsweredQuestion>, answers: Subscription<AnsweredQuestion>) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(Outlook { again, answers, schedule: Schedule::new(MOST_PLANNED) })))
    }
}

impl Job for AnnotatorJob {
    type State = ();

    async fn run(self, desk: Desk<()>) -> Result<(), String> {
        let outlook = self.outlook.clone();
        let Outlook { again, answers, schedule } = &mut *outlook.0.lock().await;
        for answered in std::mem::take(again) {
            self.see(answered, schedule);
        }
        loop {
            let due = schedule.next();
            let wait = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await };
            tokio::select! {
                biased;
                () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                answered = answers.next() => match answered {
                    Some(answered) => self.see(answered, schedule),
                    None => return Ok(()),
                },
                () = wait, if due.is_some() => while let Some((who, answered)) = schedule.due(Instant::now()).cloned() {
                    let rated = self.rate_in_hand(&desk, who, &answered).await?;
                    // Only now: what an incarnation dies of the next one tries once more.
                    schedule.take_first();
                    if !rated {
                        schedule.plan(Instant::now() + TRY_AGAIN, (who, answered));
                    }
                },
            }
        }
    }
}

impl AnnotatorJob {
    fn see(&self, answered: AnsweredQuestion, schedule: &mut Schedule<Planned>) {
        let mut rater = locked(&self.rater);
        show_gold(rater.as_mut(), &answered, &self.events);
        for plan in rater.plan(&answered) {
            schedule.plan(Instant::now() + self.clock.ours(plan.delay_ms), (plan.who, answered.clone()));
        }
        metrics::gauge!(GIVEN_UP).set(schedule.dropped() as f64);
    }

    /// The same with the question in hand; one that fails again and again is passed over.
    async fn rate_in_hand(&self, desk: &Desk<()>, who: usize, answered: &AnsweredQuestion) -> Result<bool, String> {
        let group = answered.answers.first().map_or(0, |answer| answer.group);
        let key = format!("rate/{who}/{group}");
        let quarantine = desk.lifeline.quarantine();
        if quarantine.is_lost(&key) {
            return Ok(true);
        }
        let ids: Vec<_> = answered.answers.iter().map(|answer| answer.id).collect();
        let content = json!({"who": who, "question": answered.question, "answers": ids});
        let label = format!("answers {group} and following, to be rated by {who}");
        let _hand = desk.lifeline.hold(Held::new(label).saying(&content).called(key.clone()));
        let rated = self.rate(desk, who, answered).await;
        let rated = desk.lifeline.judge(rated)?;
        quarantine.acquit(&key);
        Ok(rated)
    }

    /// Says what `who` thinks; `false` when it should be tried again.
    async fn rate(&self, desk: &Desk<()>, who: usize, answered: &AnsweredQuestion) -> Result<bool, String> {
        let group = answered.answers.first().map_or(0, |answer| answer.group);
        self.failpoints.hit_for("annotator.before", group).map_err(|error| error.to_string())?;
        let feedback = {
            let _unit = desk.lifeline.begin("rating");
            locked(&self.rater).rate(who, answered, self.clock.now_ms())
        };
        let Some(feedback) = feedback else { return Ok(true) };
        let outcome = ask(&self.feedback, feedback, Instant::now() + PATIENCE).await;
        self.failpoints.hit("annotator.after").map_err(|error| error.to_string())?;
        match outcome {
            Ok(Ok(_)) => metrics::counter!(RATED).increment(1),
            Ok(Err(FeedbackRefusal::Full)) | Err(AskError::Full | AskError::Crashed | AskError::Expired) => {
                return Ok(false);
            }
            Ok(Err(refusal)) => tracing::warn!(%refusal, "a simulated rating was refused"),
            Err(AskError::Closed) => {}
        }
        Ok(true)
    }
}
