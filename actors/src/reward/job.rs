//! The reward actor's loop of short units.
//!
//! Invariant: events are heard in journal order, each once: first those of the journal that the state it began with does
//! not hold, then those of the port. Between two events or minibatches at most
//! [`HearingConfig::groups_before_feedback`] groups are scored, and scoring never waits for more than one of each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::custody::Custody;
use super::journal::{Reader, Retractions};
use super::judging::JudgeRequest;
use super::mind::{Alarms, Chosen, Learned, Mind};
use super::rebuild::{Anchors, Rebuild, Step};
use super::saved::Recall;
use super::watch::{show_collapse, show_figures};
use super::{
    HEARD_TO_LEARNED, HELD_BACK, HearingConfig, LOSS, REBUILDING, REBUILDS, RewardState, RewardView, SCORED, SECONDS,
    UPDATES,
};
use crate::cancel::Cancel;
use crate::failpoint::Failpoints;
use crate::link::{Feed, Inlet, OfferError, Port};
use crate::lockstep::FenceRequest;
use crate::messages::{LoopEvent, RolloutGroup, ScoredGroup};
use crate::seams::{DurableFeedback, FeedbackLog};
use crate::supervision::Held;
use crate::worker::{Desk, Job};

/// How often a full port is tried again while nothing else is to do.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// The actor's work.
pub struct RewardJob {
    /// Answers to be scored.
    pub(crate) rollouts: Inlet<RolloutGroup>,
    /// Durable feedback, in journal order.
    pub(crate) ratings: Inlet<DurableFeedback>,
    /// Answers that somebody waits for.
    pub(crate) judgements: Inlet<JudgeRequest>,
    /// Scored answers.
    pub(crate) scored: Port<ScoredGroup>,
    /// Who wants to see what was learned.
    pub(crate) events: Feed<LoopEvent>,
    /// The journal: what was said since the checkpoint is heard from there.
    pub(crate) log: Box<dyn FeedbackLog>,
    /// The reward model and what it heard.
    pub(crate) mind: Mind,
    /// What its replay held, where it began from a saved state.
    pub(crate) recall: Option<Recall>,
    /// Where learning anew can begin.
    pub(crate) anchors: Box<dyn Anchors>,
    /// How the work is divided.
    pub(crate) config: HearingConfig,
    /// What others may see.
    pub(crate) view: watch::Sender<RewardView>,
    /// Where the ends of rounds are told, in lockstep.
    pub(crate) fences: Option<Inlet<FenceRequest>>,
    /// Fired when nothing more will come and everything was scored and heard.
    pub(crate) drained: Cancel,
    /// `reward.before`, `reward.after` around each event, `score.…` around each group, `learn.…` around each minibatch.
    pub(crate) failpoints: Failpoints,
}

impl Job for RewardJob {
    type State = RewardState;

    async fn run(mut self, desk: Desk<RewardState>) -> Result<(), String> {
        let fences = self.fences.take();
        let behind = fences.is_none().then(|| Reader::after(self.mind.up_to()));
        let (retractions, rebuild) = (Retractions::default(), None);
        let (arrived, alarms) = (BTreeMap::new(), self.mind.alarms());
        let custody = Custody::serving(desk.lifeline.clone());
        let hearing = Hearing {
            job: self,
            desk,
            custody,
            retractions,
            behind,
            rebuild,
            arrived,
            heard_to_learned_s: None,
            alarms,
        };
        match fences {
            Some(fences) => hearing.run_in_step(fences).await,
            None => hearing.run().await,
        }
    }
}

/// An incarnation at work.
pub(super) struct Hearing {
    pub(super) job: RewardJob,
    pub(super) desk: Desk<RewardState>,
    /// What it works on.
    custody: Custody,
    /// What was taken back.
    retractions: Retractions,
    /// The journal, while it holds events that were not heard; the port repeats the last of them.
    behind: Option<Reader>,
    /// The model without what was taken back, while it is learned.
    rebuild: Option<Rebuild>,
    /// When the events came that no minibatch has held yet: at most two minibatches of them.
    arrived: BTreeMap<u64, Instant>,
    heard_to_learned_s: Option<f64>,
    /// What was told of last.
    alarms: Alarms,
}

impl Hearing {
    async fn run(mut self) -> Result<(), String> {
        self.prepare().await?;
        let (mut rollouts, mut ratings) = (self.job.rollouts.items(), self.job.ratings.items());
        let (mut rollouts_open, mut ratings_open, mut judgements_open) = (true, true, true);
        let mut judgements = self.job.judgements.items();
        let mut unsent: VecDeque<ScoredGroup> = VecDeque::new();
        let mut scored_since = 0;
        loop {
            self.attend()?;
            self.judge_waiting()?;
            self.send(&mut unsent);
            // Scores that nobody takes, or that nobody wants now, keep nobody waiting.
            let idle = self.job.rollouts.is_empty() || !unsent.is_empty() || self.desk.is_paused();
            if idle || scored_since >= self.job.config.groups_before_feedback {
                scored_since = 0;
                if self.hear_and_learn(idle)? {
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            if unsent.is_empty()
                && !self.desk.is_paused()
                && let Some(group) = self.job.rollouts.try_recv()
            {
                unsent.extend(self.score(group)?);
                scored_since += 1;
                tokio::task::yield_now().await;
                continue;
            }
            if !rollouts_open && !ratings_open && unsent.is_empty() {
                self.job.drained.cancel();
                if self.desk.should_finish() {
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                () = self.desk.ordered() => (),
                asked = judgements.next(), if judgements_open => match asked {
                    Some(asked) => self.judge(asked)?,
                    None => judgements_open = false,
                },
                event = ratings.next(), if ratings_open => match event {
                    // What a drain finds still behind is heard from the journal at the next start.
                    Some(_) if self.behind.is_some() => (),
                    Some(event) => { self.hear(event)?; }
                    None => ratings_open = false,
                },
                group = rollouts.next(), if rollouts_open && unsent.is_empty() && !self.desk.is_paused() => match group {
                    Some(group) => unsent.extend(self.score(group)?),
                    None => rollouts_open = false,
                },
                () = tokio::time::sleep(TRY_AGAIN), if !unsent.is_empty() => (),
            }
        }
    }

    /// Between two units: gives its state to who wants it; an error when it is told to end.
    pub(super) fn attend(&self) -> Result<(), String> {
        if self.desk.is_cancelled() {
            return Err("told to end".to_owned());
        }
        while let Some(somebody) = self.desk.state_wanted() {
            // Whoever asked may have given up waiting.
            let _ = somebody.send(self.state());
        }
        Ok(())
    }

    /// Reads what was taken back, and puts what the restored model learned from before back into its replay. Nothing is
    /// computed: scoring begins when the journal is read.
    pub(super) async fn prepare(&mut self) -> Result<(), String> {
        // An incarnation after a crash goes back to the last checkpoint, but the version that was shown does not.
        let shown = self.job.view.borrow().version;
        self.job.mind.go_on_from(shown);
        let mut reader = Reader::after(0);
        let mut read = 0;
        // In lockstep what comes after the restored state is read when its round is run again.
        let last = if self.behind.is_some() { u64::MAX } else { self.job.mind.up_to() };
        while let Some(event) = reader.next(self.job.log.as_ref(), last).map_err(|error| error.to_string())? {
            self.retractions.note(&event, self.job.log.as_ref()).map_err(|error| error.to_string())?;
            read += 1;
            if read % 256 == 0 {
                tokio::task::yield_now().await;
            }
        }
        if let Some(mut recall) = self.job.recall.take() {
            let RewardJob { mind, log, .. } = &mut self.job;
            while recall.page(mind, log.as_ref()).map_err(|error| error.to_string())? {
                tokio::task::yield_now().await;
            }
        }
        for seq in self.custody.lost() {
            self.retractions.leave_out(seq);
            self.job.mind.leave_out(seq);
        }
        self.job.mind.suspect(self.custody.suspects());
        // What the restored model should not have heard.
        let spoiling = self.retractions.spoiling(self.job.mind.clean_up_to(), self.job.mind.up_to());
        spoiling.iter().for_each(|retraction| self.job.mind.take_back(retraction));
        if !spoiling.is_empty() {
            self.begin_rebuild()?;
        }
        self.show();
        Ok(())
    }

    /// The next waiting events and a minibatch, and a step of the rebuilding. `false` when there is nothing to do.
    fn hear_and_learn(&mut self, idle: bool) -> Result<bool, String> {
        let draining = self.job.ratings.is_closed() && self.job.rollouts.is_closed();
        if draining {
            // What was heard is learned, extra learning is given up; what is behind is left to the next start.
            self.job.mind.forgive();
            if self.behind.is_none() {
                self.hear_waiting()?;
            }
            let has_fresh = self.job.mind.has_fresh();
            return if has_fresh { self.learn().map(|()| true) } else { Ok(false) };
        }
        let mut worked = self.hear_behind()?;
        if self.behind.is_none() {
            worked |= self.hear_waiting()?;
        }
        let is_due = self.behind.is_none() && (worked || (self.job.mind.has_fresh() && idle));
        if is_due || self.job.mind.owes() {
            self.learn()?;
            worked = true;
        }
        worked |= self.probe()?;
        Ok(self.step_rebuild()? || worked)
    }

    /// One event that the journal has beyond the state that this incarnation began with.
    fn hear_behind(&mut self) -> Result<bool, String> {
        let Some(reader) = &mut self.behind else { return Ok(false) };
        match reader.next(self.job.log.as_ref(), u64::MAX).map_err(|error| error.to_string())? {
            Some(event) => self.hear(event).map(|_| true),
            None => {
                self.behind = None;
                Ok(false)
            }
        }
    }

    /// Events that wait, as many as a minibatch holds. `true` when one of them is to be learned.
    fn hear_waiting(&mut self) -> Result<bool, String> {
        let mut heard = false;
        while !self.job.mind.is_full()
            && let Some(event) = self.job.ratings.try_recv()
        {
            heard |= self.hear(event)?;
        }
        Ok(heard)
    }

    pub(super) fn hear(&mut self, event: DurableFeedback) -> Result<bool, String> {
        let _unit = self.desk.lifeline.begin("foretell");
        let (custody, seq, said) = (self.custody.clone(), event.seq, event.feedback.clone());
        custody.hear(seq, &said, || self.hear_in_hand(event))
    }

    fn hear_in_hand(&mut self, event: DurableFeedback) -> Result<bool, String> {
        let job = &mut self.job;
        if !self.retractions.leaves_out(event.seq) {
            let id = &event.feedback.id;
            job.failpoints.hit_for("reward.before", id).map_err(|error| error.to_string())?;
        }
        let retraction = self.retractions.note(&event, job.log.as_ref()).map_err(|error| error.to_string())?;
        let (seq, taken_back) = (event.seq, self.retractions.holds(&event));
        let arrived = Instant::now();
        let heard = job.mind.hear(event, taken_back).map_err(|error| error.to_string())?;
        job.failpoints.hit("reward.after").map_err(|error| error.to_string())?;
        if heard {
            self.arrived.insert(seq, arrived);
        }
        if let Some(retraction) = retraction {
            self.job.mind.take_back(&retraction);
            self.arrived.remove(&retraction.of);
            // One that has not come to the event will leave it out.
            if self.rebuild.as_ref().is_none_or(|rebuild| rebuild.up_to() >= retraction.of) {
                self.begin_rebuild()?;
            }
        }
        self.show();
        self.tell_alarms();
        Ok(heard)
    }

    fn begin_rebuild(&mut self) -> Result<(), String> {
        let job = &mut self.job;
        self.rebuild = None; // its memory is free before the next one takes some
        job.mind.make_room();
        let rebuild = Rebuild::begin(&job.mind, job.anchors.as_ref(), &self.retractions, self.custody.rebuilding());
        self.rebuild = Some(rebuild.map_err(|error| error.to_string())?);
        metrics::gauge!(REBUILDING).set(1.0);
        Ok(())
    }

    pub(super) fn step_rebuild(&mut self) -> Result<bool, String> {
        let Some(rebuild) = &mut self.rebuild else { return Ok(false) };
        let _unit = self.desk.lifeline.begin("learn anew");
        let job = &mut self.job;
        let step = rebuild.step(job.mind.up_to(), job.log.as_ref(), &mut self.retractions);
        if step.map_err(|error| error.to_string())? == Step::Worked {
            return Ok(true);
        }
        let rebuild = self.rebuild.take().expect("it was just stepped");
        let seconds = rebuild.seconds();
        self.arrived.clear(); // the new model has learned from all of them
        job.mind = rebuild.finish(&mut job.mind).map_err(|error| error.to_string())?;
        metrics::counter!(REBUILDS).increment(1);
        metrics::gauge!(REBUILDING).set(0.0);
        let version = job.mind.version();
        tracing::info!(version, seconds, "the reward model was learned anew without what was taken back");
        job.events.publish(LoopEvent::RewardRebuilt { version, up_to: job.mind.up_to(), seconds });
        self.show();
        Ok(true)
    }

    /// Scores a group; `None` where too little was learned for the scores to be worth learning from: then the group's
    /// places at the pace are given back, so that answers are still given and rated.
    pub(super) fn score(&mut self, group: RolloutGroup) -> Result<Option<ScoredGroup>, String> {
        let first = group.rollouts.first().map_or(0, |rollout| rollout.group);
        let label = format!("answers {first} and following");
        let _hand = self.desk.lifeline.hold(Held::new(label).saying(&group.rollouts));
        let _unit = self.desk.lifeline.begin("score");
        let scored = self.score_in_hand(first, group);
        let scored = self.desk.lifeline.judge(scored)?;
        let job = &self.job;
        let mean_score = scored.rollouts.iter().map(|one| one.score).sum::<f64>() / scored.rollouts.len().max(1) as f64;
        metrics::counter!(SCORED).increment(scored.rollouts.len() as u64);
        let scores = scored.rollouts.iter().map(|one| (one.rollout.id, one.score, one.reward_std)).collect();
        job.events.publish(LoopEvent::Scored { group: first, mean_score, scores, version: job.mind.version() });
        if job.mind.is_ignorant() {
            metrics::counter!(HELD_BACK).increment(scored.rollouts.len() as u64);
            return Ok(None);
        }
        Ok(Some(scored))
    }

    fn score_in_hand(&mut self, first: u64, group: RolloutGroup) -> Result<ScoredGroup, String> {
        let job = &mut self.job;
        job.failpoints.hit_for("score.before", first).map_err(|error| error.to_string())?;
        let scored = job.mind.score(group).map_err(|error| error.to_string())?;
        job.failpoints.hit_for("score.after", first).map_err(|error| error.to_string())?;
        Ok(scored)
    }

    pub(super) fn learn(&mut self) -> Result<(), String> {
        let _unit = self.desk.lifeline.begin("reward minibatch");
        let began = Instant::now();
        let Some(chosen) = self.job.mind.choose() else { return Ok(()) };
        let custody = self.custody.clone();
        let (Learned { report, fresh }, guilty) = custody.learn(chosen, |chosen| self.learn_in_hand(chosen))?;
        if let Some(seq) = guilty {
            self.job.mind.leave_out(seq);
            self.retractions.leave_out(seq);
        }
        for arrived in fresh.iter().filter_map(|seq| self.arrived.remove(seq)) {
            let seconds = arrived.elapsed().as_secs_f64();
            metrics::histogram!(HEARD_TO_LEARNED).record(seconds);
            self.heard_to_learned_s = Some(seconds);
        }
        let seconds = began.elapsed().as_secs_f64();
        metrics::counter!(UPDATES).increment(1);
        metrics::histogram!(SECONDS).record(seconds);
        metrics::gauge!(LOSS).set(report.likelihood_loss);
        self.show();
        let recent = self.job.mind.prequential().recent();
        self.job.events.publish(LoopEvent::RewardUpdate {
            version: report.version,
            report,
            prequential_accuracy: recent.accuracy,
            prequential_log_loss: recent.log_loss,
            learned: fresh,
            replay: self.job.mind.replay_len(),
            seconds,
        });
        Ok(())
    }

    fn learn_in_hand(&mut self, chosen: Chosen) -> Result<Learned, String> {
        let job = &mut self.job;
        let ids: Vec<String> = chosen.batch.iter().map(|example| example.feedback.id.clone()).collect();
        job.failpoints.hit("learn.before").map_err(|error| error.to_string())?;
        for id in &ids {
            job.failpoints.hit_message("learn.before", id).map_err(|error| error.to_string())?;
        }
        let learned = job.mind.learn_from(chosen).map_err(|error| error.to_string())?;
        job.failpoints.hit("learn.after").map_err(|error| error.to_string())?;
        Ok(learned)
    }

    fn show(&self) {
        let mind = &self.job.mind;
        let (recent, collapse) = (mind.prequential().recent(), mind.collapse());
        let view = RewardView {
            version: mind.version(),
            up_to: mind.up_to(),
            heard: mind.heard(),
            replay: mind.replay_len(),
            rebuilding: self.rebuild.is_some(),
            accuracy: recent.accuracy,
            log_loss: recent.log_loss,
            calibration_error: recent.calibration_error,
            heard_to_learned_s: self.heard_to_learned_s,
            collapse_index: collapse.and_then(|report| report.index),
            d_types: collapse.and_then(|report| report.d_types),
            d_want: collapse.and_then(|report| report.d_want),
        };
        show_figures(mind, &view);
        self.job.view.send_replace(view);
    }

    /// Scores some of the collapse monitor's probes. `false` when none wait.
    pub(super) fn probe(&mut self) -> Result<bool, String> {
        if !self.job.mind.has_probes() {
            return Ok(false);
        }
        let _unit = self.desk.lifeline.begin("score probes");
        if let Some(report) = self.job.mind.probe().map_err(|error| error.to_string())? {
            show_collapse(&report);
        }
        self.tell_alarms();
        Ok(true)
    }

    /// Tells of alarms that were raised or are over.
    fn tell_alarms(&mut self) {
        let (now, before) = (self.job.mind.alarms(), self.alarms);
        self.alarms = now;
        for (alarm, on, was) in [("collapse", now.collapse, before.collapse), ("drift", now.drift, before.drift)] {
            if on == was {
                continue;
            }
            let why = if alarm == "drift" { self.job.mind.why_drift() } else { self.job.mind.why_collapse() };
            match on {
                true => tracing::warn!(alarm, why, "the reward model raises an alarm"),
                false => tracing::info!(alarm, why, "an alarm on the reward model is over"),
            }
            self.job.events.publish(LoopEvent::RewardAlarm { alarm, on, version: self.job.mind.version(), why });
        }
    }

    fn state(&self) -> RewardState {
        let mind = &self.job.mind;
        let (version, up_to, clean_up_to) = (mind.version(), mind.up_to(), mind.clean_up_to());
        RewardState { learner: mind.state(), version, up_to, clean_up_to }
    }

    fn send(&self, unsent: &mut VecDeque<ScoredGroup>) {
        while let Some(group) = unsent.pop_front() {
            match self.job.scored.offer(group) {
                Ok(()) => {}
                Err(OfferError::Full(group)) => return unsent.push_front(group),
                // Closed: the learner is gone for good; the ticket gives its places back.
                Err(OfferError::Closed(_)) => {}
            }
        }
    }
}
