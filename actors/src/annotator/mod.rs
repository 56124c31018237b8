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
use tokio::time::Instant;

use crate::failpoint::Failpoints;
use crate::feedback::FeedbackRequest;
use crate::link::{AskError, Feed, Port, ask};
use crate::locked::locked;
use crate::messages::{AnsweredQuestion, FeedbackRefusal, LoopEvent};
use crate::worker::{Desk, Job, Worker};

pub use metric::*;
pub use rater::{Crowd, Plan, Rater};
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
    /// What was not rated before a restart.
    pub(crate) again: Vec<AnsweredQuestion>,
    /// What there is to rate.
    pub(crate) answers: Feed<AnsweredQuestion>,
    /// Where ratings go.
    pub(crate) feedback: Port<FeedbackRequest>,
    /// Where gold values go.
    pub(crate) events: Feed<LoopEvent>,
    /// The raters' time.
    pub(crate) clock: RatersClock,
    /// `annotator.before`, `annotator.after`: around each rating.
    pub(crate) failpoints: Failpoints,
}

/// One person's rating of the answers to one question.
type Planned = (usize, AnsweredQuestion);

impl Job for AnnotatorJob {
    type State = ();

    async fn run(mut self, desk: Desk<()>) -> Result<(), String> {
        let mut answers = self.answers.subscribe();
        let mut schedule = Schedule::new(MOST_PLANNED);
        for answered in std::mem::take(&mut self.again) {
            self.see(answered, &mut schedule);
        }
        loop {
            let due = schedule.next();
            let wait = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await };
            tokio::select! {
                biased;
                () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                answered = answers.next() => match answered {
                    Some(answered) => self.see(answered, &mut schedule),
                    None => return Ok(()),
                },
                () = wait, if due.is_some() => while let Some((who, answered)) = schedule.pop(Instant::now()) {
                    if !self.rate(&desk, who, &answered).await? {
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
        for answer in answered.answers.iter() {
            if let Some(gold) = rater.gold(&answered.question, answer) {
                let version = answer.version_spans.last().map_or(0, |span| span.version);
                metrics::histogram!(GOLD).record(gold);
                self.events.publish(LoopEvent::Gold { answer: answer.id, version, gold });
            }
        }
        for plan in rater.plan(&answered) {
            schedule.plan(Instant::now() + self.clock.ours(plan.delay_ms), (plan.who, answered.clone()));
        }
        metrics::gauge!(GIVEN_UP).set(schedule.dropped() as f64);
    }

    /// Says what `who` thinks; `false` when it should be tried again.
    async fn rate(&self, desk: &Desk<()>, who: usize, answered: &AnsweredQuestion) -> Result<bool, String> {
        self.failpoints.hit("annotator.before").map_err(|error| error.to_string())?;
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
