//! `ConductorActor`: asks, has rated and closes one round after the other.
//!
//! Invariant: a round begins when the update of the one before is published (its places at the pace are free again) and
//! ends when the reward model has learned from its ratings; in between nothing is decided by time.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use understudy_learning::stages::Feedback;
use understudy_model::text::TextCodec;

use super::{Fence, FenceRequest, Lockstep, Rounds};
use crate::annotator::{SharedRater, show_gold};
use crate::bus::Bus;
use crate::checkpoint::CheckpointRequest;
use crate::control::{Control, Pause, Resume};
use crate::failpoint::Failpoints;
use crate::link::{AskError, Envelope, PaceError, Port, Subscription, Ticket, ask};
use crate::locked::locked;
use crate::messages::{AnsweredQuestion, FeedbackRefusal, PromptRequest};
use crate::policy::PolicyActor;
use crate::source::{AskingConfig, Draw, SharedSource, ask_of};
use crate::supervision::Held;
use crate::worker::{Desk, Job, Worker};

/// The actor.
pub(crate) type ConductorActor = Worker<Conductor>;

/// How long an actor may take to hear an order.
const PATIENCE: Duration = Duration::from_secs(30);
/// A step of a round takes as long as it takes: that an actor is stuck is noticed by its supervision.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// When to try again after a port was full.
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// Simulated people's time from one round to the next, in milliseconds.
const ROUND_MS: i64 = 60_000;

/// The actor's work.
pub(crate) struct Conductor {
    /// Where questions come from, in turn.
    pub(crate) sources: Vec<SharedSource>,
    /// Who rates, if anybody.
    pub(crate) rater: Option<SharedRater>,
    /// The raters' time at the first round, in milliseconds since the Unix epoch.
    pub(crate) start_ms: i64,
    /// How questions are asked.
    pub(crate) asking: AskingConfig,
    /// Questions in a round: a batch of the learner.
    pub(crate) questions: u64,
    /// When to end.
    pub(crate) lockstep: Lockstep,
    /// Rounds between two checkpoints; 0 takes none.
    pub(crate) checkpoint_every: u64,
    /// Renders questions.
    pub(crate) text: TextCodec,
    /// All links.
    pub(crate) bus: Bus,
    /// Where the end of a round's ratings is told.
    pub(crate) fences: Port<FenceRequest>,
    /// Held still while a round is handed over, so that its answers are always begun together.
    pub(crate) policy: Control<PolicyActor>,
    /// Where the run stands.
    pub(crate) rounds: Rounds,
    /// `source.before`, `source.after` around each question, `annotator.…` around each rating.
    pub(crate) failpoints: Failpoints,
}

/// What a rating to be given is ordered by: its delay, its question, its place in the plan.
type Turn = (u64, usize, usize);

impl Job for Conductor {
    type State = ();

    async fn run(self, desk: Desk<()>) -> Result<(), String> {
        let broken = self.rounds.broken().clone();
        tokio::select! {
            biased;
            () = desk.lifeline.cancel().cancelled() => Err("told to end".to_owned()),
            () = broken.cancelled() => Err("another actor failed in the middle of a round".to_owned()),
            ended = self.conduct(&desk) => ended,
        }
    }
}

impl Conductor {
    async fn conduct(&self, desk: &Desk<()>) -> Result<(), String> {
        let mut answers = self.bus.answers.subscribe();
        let mut saved = self.rounds.state().rounds;
        loop {
            let Some(tickets) = self.admitted().await? else { return Ok(()) };
            // Here all is at rest: the last round is learned from and its policy published.
            let rounds = self.rounds.state().rounds;
            if self.checkpoint_every > 0 && rounds > saved && rounds.is_multiple_of(self.checkpoint_every) {
                self.save().await?;
                saved = rounds;
            }
            let version = self.bus.snapshots.read(|_, snapshot| snapshot.version).unwrap_or(0);
            if self.lockstep.until_version.is_some_and(|until| version >= until) {
                return Ok(());
            }
            let Some(requests) = self.draw(desk, tickets).await? else { return Ok(()) };
            self.rounds.begin();
            self.round(desk, requests, &mut answers).await?;
            self.rounds.end(self.questions);
        }
    }

    /// Places for a whole round; `None` when the daemon drains.
    async fn admitted(&self) -> Result<Option<Vec<Ticket>>, String> {
        let mut tickets = Vec::new();
        for _ in 0..self.questions {
            match self.bus.pace.admit(self.asking.samples as u64).await {
                Ok(ticket) => tickets.push(ticket),
                Err(PaceError::Closed) => return Ok(None),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Some(tickets))
    }

    async fn save(&self) -> Result<(), String> {
        let (request, outcome) = CheckpointRequest::awaited();
        self.bus.checkpoints.send(request).await.map_err(|_| "the checkpoint actor is gone".to_owned())?;
        outcome.await.map_err(|_| "the checkpoint actor failed with the request in hand".to_owned())?.map(drop)
    }

    /// The questions of a round; `None` when a source has no more, or the daemon drains while there is nothing yet. When a
    /// question comes is decided by time, which question it is never.
    async fn draw(&self, desk: &Desk<()>, tickets: Vec<Ticket>) -> Result<Option<Vec<PromptRequest>>, String> {
        let mut requests = Vec::new();
        for (position, ticket) in (self.rounds.state().questions..).zip(tickets) {
            let _hand = desk.lifeline.hold(Held::new(format!("question {position}")));
            self.failpoints.hit("source.before").map_err(|error| error.to_string())?;
            let count = self.sources.len() as u64;
            let source = &self.sources[(position % count) as usize];
            let question = loop {
                let drawn = {
                    let _unit = desk.lifeline.begin("question");
                    locked(source).draw(position / count).map_err(|error| error.to_string())?
                };
                match drawn {
                    Draw::Question(question) => break question,
                    Draw::End => return Ok(None),
                    Draw::NotYet(wait) => tokio::select! {
                        () = self.bus.pace.closed() => return Ok(None),
                        () = tokio::time::sleep(wait) => {}
                    },
                }
            };
            let _unit = desk.lifeline.begin("question");
            requests.push(ask_of(&self.text, &self.asking, question, position, ticket)?);
            self.failpoints.hit("source.after").map_err(|error| error.to_string())?;
        }
        Ok(Some(requests))
    }

    async fn round(
        &self,
        desk: &Desk<()>,
        requests: Vec<PromptRequest>,
        answers: &mut Subscription<AnsweredQuestion>,
    ) -> Result<(), String> {
        let groups = requests.len();
        self.policy.ask(Pause, Instant::now() + PATIENCE).await.map_err(|error| format!("the policy: {error}"))?;
        for request in requests {
            let sent = self.bus.prompts.send(Envelope::new(request, Instant::now() + FOREVER)).await;
            sent.map_err(|_| "the policy takes no more questions".to_owned())?;
        }
        self.policy.ask(Resume, Instant::now() + PATIENCE).await.map_err(|error| format!("the policy: {error}"))?;
        let mut answered = Vec::new();
        while answered.len() < groups {
            answered.push(answers.next().await.ok_or("the policy gives no more answers")?);
        }
        answered.sort_by_key(|one| one.answers.first().map_or(0, |answer| answer.group));
        let up_to = self.have_rated(desk, &answered).await?;
        let passed = ask(&self.fences, Fence { groups, up_to }, Instant::now() + FOREVER).await;
        passed.map_err(|error| format!("the reward actor: {error}"))
    }

    /// Has the answers rated, one rating after the other; the journal sequence of the last.
    async fn have_rated(&self, desk: &Desk<()>, answered: &[AnsweredQuestion]) -> Result<u64, String> {
        let Some(rater) = &self.rater else { return Ok(0) };
        let mut turns: Vec<(Turn, usize)> = Vec::new();
        for (question, one) in answered.iter().enumerate() {
            let mut rater = locked(rater);
            show_gold(rater.as_mut(), one, &self.bus.events);
            let plans = rater.plan(one).into_iter().enumerate();
            turns.extend(plans.map(|(place, plan)| ((plan.delay_ms, question, place), plan.who)));
        }
        turns.sort_unstable();
        let now_ms = self.start_ms + ROUND_MS * self.rounds.state().rounds as i64;
        let mut up_to = 0;
        for ((delay_ms, question, _), who) in turns {
            self.failpoints.hit("annotator.before").map_err(|error| error.to_string())?;
            let said = {
                let _unit = desk.lifeline.begin("rating");
                locked(rater).rate(who, &answered[question], now_ms + delay_ms as i64)
            };
            if let Some(feedback) = said {
                up_to = up_to.max(self.rate(feedback).await?);
            }
            self.failpoints.hit("annotator.after").map_err(|error| error.to_string())?;
        }
        Ok(up_to)
    }

    async fn rate(&self, feedback: Feedback) -> Result<u64, String> {
        loop {
            match ask(&self.bus.feedback, feedback.clone(), Instant::now() + FOREVER).await {
                Ok(Ok(ack)) => return Ok(ack.seq),
                Ok(Err(FeedbackRefusal::Full)) | Err(AskError::Full) => tokio::time::sleep(TRY_AGAIN).await,
                Ok(Err(FeedbackRefusal::Conflict(id))) => {
                    return Err(format!("rating {id}: {}", super::DIVERGED));
                }
                Ok(Err(refusal)) => return Err(format!("rating {}: {refusal}", feedback.id)),
                Err(error) => return Err(format!("rating {}: {error}", feedback.id)),
            }
        }
    }
}
