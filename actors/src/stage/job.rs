//! The actor's work: hears what is published, measured, answered and rated, and says who answers people.
//!
//! Invariant: a lead serves only after it is on disk with its weights; what cannot be written down is not done. It only
//! watches the loop: nobody waits for it but who gives it an order.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use understudy_learning::stages::PolicyVersion;
use understudy_model::Branch;

use super::cast::Cast;
use super::change::{Change, Order};
use super::config::StageConfig;
use super::evidence::{Evidence, Side};
use super::files::StageFiles;
use super::machine::{Measured, Stage, Standing};
use super::metric;
use super::refusal::StageRefusal;
use super::view::StageView;
use super::{Rules, StageRequest};
use crate::bus::Bus;
use crate::link::{Ask, Feed, Inlet, Latest, Subscription};
use crate::messages::LoopEvent;
use crate::policy::AnswerIds;
use crate::seams::PolicySnapshot;
use crate::worker::{Desk, Job, Worker};

/// The actor.
pub type StageActor = Worker<StageJob>;

/// How often limits of time are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Happenings that are heard before others get a turn.
const AT_ONCE: usize = 256;
/// After a change that could not be written down it is tried again so much later.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// What an incarnation begins with.
pub(crate) struct StageParts<'a> {
    pub(crate) config: &'a StageConfig,
    pub(crate) rules: Rules,
    pub(crate) bus: &'a Bus,
    pub(crate) files: StageFiles,
    /// What weights are read into.
    pub(crate) like: Branch,
    pub(crate) ids: AnswerIds,
    pub(crate) view: watch::Sender<StageView>,
}

/// The actor's work.
pub struct StageJob {
    orders: Inlet<StageRequest>,
    happenings: Subscription<LoopEvent>,
    events: Feed<LoopEvent>,
    snapshots: Latest<PolicySnapshot>,
    casts: Latest<Cast>,
    files: StageFiles,
    rules: Rules,
    share: f64,
    ids: AnswerIds,
    stage: Stage,
    weights: BTreeMap<PolicyVersion, Branch>,
    evidence: Evidence,
    /// Answers from this id on were given during the trial.
    since: u64,
    /// The version that the learner's next update starts from, where it is known.
    base: Option<PolicyVersion>,
    /// The newest version that the stage knows.
    taken_in: PolicyVersion,
    /// Happenings that came too fast to be heard, so far.
    forgotten: u64,
    /// Not before this is a change tried that could not be written down.
    held_until: Option<Instant>,
    began: Instant,
    last: Option<Change>,
    view: watch::Sender<StageView>,
}

impl StageJob {
    /// Goes on from disk, or begins with the policy on show; people are answered by its lead when this returns.
    pub(crate) fn open(parts: StageParts<'_>) -> Result<Self, String> {
        let StageParts { config, rules, bus, files, like, ids, view } = parts;
        let happenings = bus.events.subscribe();
        let on_show = |_, shown: &PolicySnapshot| (shown.version, shown.branch.shallow_clone());
        let (shown, branch) = bus.snapshots.read(on_show).ok_or("no policy is on show")?;
        let mut weights = BTreeMap::new();
        let (stage, changes) = match files.read()? {
            Some(kept) => {
                for version in [Some(kept.lead), kept.before].into_iter().flatten().map(|one| one.version) {
                    weights.insert(version, files.load(version, &like)?);
                }
                Stage::resume(rules.clone(), kept)
            }
            None => (Stage::new(rules.clone(), Standing::unmeasured(shown)), Vec::new()),
        };
        // What an earlier incarnation missed is not known, so what the next update measures is not either.
        let base = (bus.casts.stamp() == 0).then_some(shown);
        weights.entry(shown).or_insert(branch);
        let mut job = Self {
            orders: bus.orders.inlet(),
            happenings,
            events: bus.events.clone(),
            snapshots: bus.snapshots.clone(),
            casts: bus.casts.clone(),
            files,
            share: config.canary_share,
            rules,
            since: ids.next(),
            ids,
            stage,
            weights,
            evidence: Evidence::default(),
            base,
            taken_in: shown,
            forgotten: 0,
            held_until: None,
            began: Instant::now(),
            last: None,
            view,
        };
        job.stage.published(shown);
        job.files.write(&job.stage.kept(), |version| job.weights.get(&version))?;
        job.show();
        job.tell(changes);
        Ok(job)
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn see(&mut self, event: LoopEvent) {
        match event {
            LoopEvent::PolicyUpdate { version, report, .. } => {
                let measured = Measured { kl: report.kl_per_sequence, entropy: report.entropy };
                if let Some(base) = self.base.replace(version) {
                    self.advance(|stage, now| stage.measured(base, measured, now));
                }
                // One that is taken in waits until it is measured: where news come late, or versions quickly, those
                // between are left out instead of each pushing the one before it away.
                if version > self.taken_in {
                    self.take_in();
                }
            }
            // The learner goes back to its last checkpoint: who is measured next is not known.
            LoopEvent::Trouble { actor: "ppo", .. } => self.base = None,
            LoopEvent::Answered { answer, group, version, chat: true, .. } if group >= self.since => {
                let candidate = self.stage.trial().map(|trial| trial.candidate.version);
                if candidate == Some(version) {
                    self.evidence.answered(answer, Side::Candidate);
                    self.advance(Stage::answered);
                } else if candidate.is_some() && version == self.stage.lead().version {
                    self.evidence.answered(answer, Side::Lead);
                }
            }
            LoopEvent::Rated { feedback, .. } if self.stage.trial().is_some() => {
                if let Some(x) = self.evidence.heard(&feedback) {
                    metrics::counter!(metric::COMPARISONS).increment(1);
                    self.advance(|stage, now| stage.compared(x, now));
                }
            }
            _ => {}
        }
    }

    /// Takes in the version on show, whose measure an update to come will tell.
    fn take_in(&mut self) {
        let look = |_, shown: &PolicySnapshot| (shown.version, shown.branch.shallow_clone());
        if let Some((version, branch)) = self.snapshots.read(look).filter(|(version, _)| *version > self.taken_in) {
            self.taken_in = version;
            self.weights.insert(version, branch);
            self.stage.published(version);
            self.show();
        }
    }

    /// Hears all that has happened by now, so that what is published faster than it is told does not pile up.
    fn hear(&mut self, first: LoopEvent) {
        let waiting = std::iter::from_fn(|| self.happenings.next().now_or_never().flatten());
        for event in std::iter::once(first).chain(waiting.take(AT_ONCE).collect::<Vec<_>>()) {
            // Among what was lost may be an update: what the next one measures is not known then.
            if self.happenings.forgotten() > self.forgotten {
                (self.forgotten, self.base) = (self.happenings.forgotten(), None);
            }
            self.see(event);
        }
    }

    /// Lets the stage take something up. A change that cannot be written down is not made, and what led to it is not
    /// counted; for a while nothing more is tried.
    fn advance(&mut self, take: impl FnOnce(&mut Stage, f64) -> Vec<Change>) {
        if self.held_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.held_until = None;
        let mut next = self.stage.clone();
        let changes = take(&mut next, self.now());
        if let Err(why) = self.commit(next, changes) {
            tracing::error!(why, "the stage could not be written down: it stays as it was");
            self.events.publish(LoopEvent::Trouble { actor: "stage", what: why });
            self.held_until = Some(Instant::now() + TRY_AGAIN);
        }
    }

    fn follow(&mut self, order: Order) -> Result<StageView, StageRefusal> {
        let mut next = self.stage.clone();
        let changes = next.follow(order, self.now())?;
        self.commit(next, changes).map_err(StageRefusal::NotWritten)?;
        Ok(self.view.borrow().clone())
    }

    /// Makes `next` the stage: on disk first, then before people.
    fn commit(&mut self, next: Stage, changes: Vec<Change>) -> Result<(), String> {
        if next.kept() != self.stage.kept() {
            self.files.write(&next.kept(), |version| self.weights.get(&version))?;
        }
        let on_trial = |stage: &Stage| stage.trial().map(|trial| trial.candidate.version);
        let same_trial = on_trial(&next) == on_trial(&self.stage);
        let same_cast = same_trial && next.lead().version == self.stage.lead().version;
        self.stage = next;
        if !same_trial {
            (self.evidence, self.since) = (Evidence::default(), self.ids.next());
        }
        match same_cast {
            true => self.report(),
            false => self.show(),
        }
        self.tell(changes);
        Ok(())
    }

    /// Tells the policy who answers people, where that has changed, and forgets weights that nobody needs.
    fn show(&mut self) {
        let named = |version: PolicyVersion| self.weights.get(&version).map(|branch| (version, branch.shallow_clone()));
        let lead = named(self.stage.lead().version).expect("the lead's weights are kept as long as it leads");
        let candidate = self.stage.trial().and_then(|trial| named(trial.candidate.version));
        let who = |cast: &Cast| (cast.lead.0, cast.candidate.as_ref().map(|one| one.0));
        let cast = Cast { lead, candidate };
        if self.casts.read(|_, shown| who(shown)) != Some(who(&cast)) {
            self.casts.publish(cast);
        }
        let stage = &self.stage;
        self.weights.retain(|version, _| stage.holds(*version));
        self.report();
    }

    fn report(&self) {
        let trial = self.stage.trial();
        metrics::gauge!(metric::LEAD).set(self.stage.lead().version as f64);
        metrics::gauge!(metric::CANDIDATE).set(trial.map_or(0, |trial| trial.candidate.version) as f64);
        if let Some(rate) = trial.and_then(|trial| trial.duels.win_rate()) {
            metrics::gauge!(metric::WIN_RATE).set(rate);
        }
        self.view.send_replace(StageView::of(&self.stage, &self.rules, self.share, self.last.as_ref()));
    }

    fn tell(&mut self, changes: Vec<Change>) {
        for change in changes {
            match &change {
                Change::RolledBack { .. } | Change::Refused { .. } => tracing::warn!("{change}"),
                _ => tracing::info!("{change}"),
            }
            metrics::counter!(metric::CHANGES, "change" => change.name(), "reason" => change.reason()).increment(1);
            self.last = Some(change.clone());
            self.events.publish(LoopEvent::Stage { change });
            self.report();
        }
    }
}

impl Job for StageJob {
    type State = ();

    async fn run(mut self, desk: Desk<()>) -> Result<(), String> {
        let mut orders = self.orders.items();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watching = true;
        loop {
            tokio::select! {
                biased;
                () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                order = orders.next() => {
                    let Some(request) = order else { return Ok(()) };
                    if let Some(request) = request.accept() {
                        let _unit = desk.lifeline.begin("order");
                        let Ask { value, reply } = request.value;
                        let outcome = self.follow(value);
                        // Who asked may have given up waiting.
                        let _ = reply.answer(outcome);
                    }
                }
                event = self.happenings.next(), if watching => match event {
                    Some(event) => {
                        let _unit = desk.lifeline.begin("event");
                        self.hear(event);
                    }
                    None => watching = false,
                },
                _ = ticks.tick() => {
                    let _unit = desk.lifeline.begin("tick");
                    self.advance(Stage::tick);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}
