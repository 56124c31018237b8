//! The stage as a state machine: which version leads, which one is tried, what may follow.
//!
//! Invariant: whatever comes, the lead is a version that was measured within the bounds, or the one that the stage began
//! with; a pinned lead never moves; a rollback goes to the lead of before. Pure: time is an argument, weights are elsewhere.
//!
//! A version is `Waiting` from its publication on, until the next update has measured it (an update measures KL and entropy
//! of the policy that it starts from). Within the bounds it may become the candidate; the candidate becomes the lead or is
//! rolled back. One candidate at a time, and each version once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use understudy_learning::stages::PolicyVersion;

use super::change::{Change, Order, Reason};
use super::config::Rules;
use super::duels::{Duels, Finding};
use super::refusal::StageRefusal;

/// What an update measured of the version that it started from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// KL to the base model, nats per answer.
    pub kl: f64,
    /// Mean entropy, nats per token.
    pub entropy: f64,
}

impl Rules {
    /// Why a version so measured may not serve people, if it may not.
    pub fn breach(&self, measured: Measured) -> Option<(Reason, String)> {
        let Measured { kl, entropy } = measured;
        if !(kl.is_finite() && entropy.is_finite()) {
            return Some((Reason::NotFinite, format!("its KL is {kl} and its entropy {entropy}")));
        }
        if let Some(budget) = self.kl_budget.filter(|budget| kl > *budget) {
            let why = format!("its KL to the base model is {kl:.3} nats an answer, at most {budget} are allowed");
            return Some((Reason::Kl, why));
        }
        let floor = self.entropy_floor;
        let why = || format!("its entropy is {entropy:.4} nats a token, at least {floor} is wanted");
        (entropy < floor).then(|| (Reason::Entropy, why()))
    }
}

/// A version and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Which.
    pub version: PolicyVersion,
    /// `None` until it is measured.
    pub measured: Option<Measured>,
}

impl Standing {
    /// A version of which nothing is known yet.
    pub fn unmeasured(version: PolicyVersion) -> Self {
        Self { version, measured: None }
    }
}

/// A candidate on trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Who is tried.
    pub candidate: Standing,
    /// Comparisons with the lead.
    pub duels: Duels,
    /// Answers that it gave.
    pub answers: u64,
    /// When it began, in seconds.
    pub began: f64,
}

/// What of the stage outlives the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Who leads.
    pub lead: Standing,
    /// Who led before.
    pub before: Option<Standing>,
    /// Whether the lead stays whatever comes.
    pub pinned: bool,
    /// The highest version that was ever tried or told to lead.
    pub tried: PolicyVersion,
}

/// Who serves people, and who may.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    rules: Rules,
    lead: Standing,
    /// Leads of before, the last one last.
    past: Vec<Standing>,
    waiting: BTreeMap<PolicyVersion, Option<Measured>>,
    trial: Option<Trial>,
    pinned: bool,
    tried: PolicyVersion,
}

impl Stage {
    /// A stage that begins with this lead, whatever it is.
    pub fn new(rules: Rules, lead: Standing) -> Self {
        let tried = lead.version;
        Self { rules, lead, past: Vec::new(), waiting: BTreeMap::new(), trial: None, pinned: false, tried }
    }

    /// Goes on from what was kept. A lead that is out of bounds now gives way to the one before it, unless it is pinned.
    pub fn resume(rules: Rules, kept: Kept) -> (Self, Vec<Change>) {
        let Kept { lead, before, pinned, tried } = kept;
        let mut stage = Self { past: before.into_iter().collect(), pinned, tried, ..Self::new(rules, lead) };
        let changes = stage.enforce();
        (stage, changes)
    }

    /// What has to outlive the daemon.
    pub fn kept(&self) -> Kept {
        let (lead, before) = (self.lead, self.past.last().copied());
        Kept { lead, before, pinned: self.pinned, tried: self.tried }
    }

    /// Who leads.
    pub fn lead(&self) -> Standing {
        self.lead
    }

    /// Whether the lead stays whatever comes.
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// Who is on trial.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Leads of before, the last one last.
    pub fn past(&self) -> &[Standing] {
        &self.past
    }

    /// Versions that neither lead nor did nor are tried, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = Standing> + '_ {
        self.waiting.iter().map(|(version, measured)| Standing { version: *version, measured: *measured })
    }

    /// Whether this version's weights are needed.
    pub fn holds(&self, version: PolicyVersion) -> bool {
        let is_tried = self.trial.as_ref().is_some_and(|trial| trial.candidate.version == version);
        self.find(version).is_some() || is_tried
    }

    /// All versions that can be named in an order, ascending.
    pub fn versions(&self) -> Vec<PolicyVersion> {
        let named = self.waiting.keys().copied().chain(self.past.iter().map(|past| past.version));
        let tried = self.trial.as_ref().map(|trial| trial.candidate.version);
        let mut all: Vec<PolicyVersion> = named.chain(tried).chain([self.lead.version]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// A version was published. Its number is above all before.
    pub fn published(&mut self, version: PolicyVersion) {
        if !self.holds(version) {
            self.waiting.insert(version, None);
            self.forget();
        }
    }

    /// The update after a version has measured it, at `now` seconds.
    pub fn measured(&mut self, version: PolicyVersion, measured: Measured, now: f64) -> Vec<Change> {
        let breach = self.rules.breach(measured);
        if version == self.lead.version {
            self.lead.measured = Some(measured);
            return self.enforce();
        }
        let Some(known) = self.waiting.get_mut(&version) else { return Vec::new() };
        *known = Some(measured);
        match breach {
            Some((reason, why)) => vec![Change::Refused { version, reason, why }],
            None => self.begin(now),
        }
    }

    /// The candidate gave an answer.
    pub fn answered(&mut self, now: f64) -> Vec<Change> {
        if let Some(trial) = &mut self.trial {
            trial.answers += 1;
        }
        self.tick(now)
    }

    /// Somebody compared the candidate with the lead: 1 it was better, 0 the lead was, 1/2 a tie.
    pub fn compared(&mut self, x: f64, now: f64) -> Vec<Change> {
        if let Some(trial) = &mut self.trial {
            trial.duels.see(x);
        }
        self.tick(now)
    }

    /// Decides where there is something to decide, and begins the next trial.
    pub fn tick(&mut self, now: f64) -> Vec<Change> {
        let mut changes = self.decide(now);
        changes.extend(self.begin(now));
        changes
    }

    fn decide(&mut self, now: f64) -> Vec<Change> {
        let Some(trial) = &self.trial else { return Vec::new() };
        let (seen, rate, margin) = (trial.duels.seen(), trial.duels.win_rate(), self.rules.margin);
        let won = rate.map_or_else(String::new, |rate| format!("it won {:.0} % of {seen} comparisons", 100.0 * rate));
        let spent = trial.answers >= self.rules.most_answers || now - trial.began >= self.rules.most_s;
        match (trial.duels.finding(), rate) {
            (Finding::Worse, _) => vec![self.reject(Reason::Worse, won)],
            (Finding::NotWorse, _) => vec![self.accept(won)],
            (Finding::Open, _) if !spent => Vec::new(),
            (Finding::Open, Some(rate)) if rate < 0.5 - margin => {
                vec![self.reject(Reason::Worse, format!("{won} when its time was over"))]
            }
            (Finding::Open, Some(_)) => vec![self.accept(format!("{won} when its time was over"))],
            (Finding::Open, None) => vec![self.accept("nobody compared it before its time was over".to_owned())],
        }
    }

    /// Tries the newest version that was measured within the bounds and never tried, if nobody is on trial.
    fn begin(&mut self, now: f64) -> Vec<Change> {
        if self.pinned || self.trial.is_some() {
            return Vec::new();
        }
        let Some(candidate) = self.next() else { return Vec::new() };
        self.waiting.remove(&candidate.version);
        self.tried = candidate.version;
        let duels = Duels::new(self.rules.margin, self.rules.alpha);
        self.trial = Some(Trial { candidate, duels, answers: 0, began: now });
        vec![Change::Canary { version: candidate.version, lead: self.lead.version }]
    }

    fn next(&self) -> Option<Standing> {
        let fits = |standing: &Standing| {
            standing.version > self.tried && standing.measured.is_some_and(|seen| self.rules.breach(seen).is_none())
        };
        self.waiting().filter(fits).last()
    }

    /// The candidate becomes the lead.
    fn accept(&mut self, why: String) -> Change {
        let trial = self.trial.take().expect("only a candidate on trial is accepted");
        let from = self.lead.version;
        self.lead_by(trial.candidate);
        Change::Promoted { version: trial.candidate.version, from, why }
    }

    /// The candidate goes; the lead stays.
    fn reject(&mut self, reason: Reason, why: String) -> Change {
        let trial = self.trial.take().expect("only a candidate on trial is rejected");
        let version = trial.candidate.version;
        self.put_aside(trial.candidate);
        Change::RolledBack { version, to: self.lead.version, reason, why }
    }

    /// A lead that is measured out of bounds gives way to the one before it, where there is one.
    fn enforce(&mut self) -> Vec<Change> {
        let Some((reason, why)) = self.lead.measured.and_then(|seen| self.rules.breach(seen)) else {
            return Vec::new();
        };
        let version = self.lead.version;
        let fits = |past: &Standing| past.measured.is_none_or(|seen| self.rules.breach(seen).is_none());
        match self.past.iter().rposition(fits) {
            Some(at) if !self.pinned => {
                let aside = self.end_trial();
                self.go_back_to(at);
                aside.into_iter().for_each(|candidate| self.put_aside(candidate));
                vec![Change::RolledBack { version, to: self.lead.version, reason, why }]
            }
            _ => vec![Change::Refused { version, reason, why: format!("{why}; it stays, as none before it can lead") }],
        }
    }

    /// Follows an order at `now` seconds.
    pub fn follow(&mut self, order: Order, now: f64) -> Result<Vec<Change>, StageRefusal> {
        match order {
            Order::Promote(version) => self.promote(version),
            Order::Rollback(version) => self.roll_back(version),
            Order::Pin(version) => self.pin(version),
            Order::Unpin if !self.pinned => Err(StageRefusal::NotPinned),
            Order::Unpin => {
                self.pinned = false;
                let mut changes = vec![Change::Unpinned { version: self.lead.version }];
                changes.extend(self.begin(now));
                Ok(changes)
            }
        }
    }

    fn promote(&mut self, version: Option<PolicyVersion>) -> Result<Vec<Change>, StageRefusal> {
        self.unpinned()?;
        let on_trial = self.trial.as_ref().map(|trial| trial.candidate.version);
        let newest = || self.next().map(|standing| standing.version);
        let version = version.or(on_trial).or_else(newest).ok_or(StageRefusal::NoCandidate(self.lead.version))?;
        let from = self.lead.version;
        self.move_to(version)?;
        Ok(vec![Change::Promoted { version, from, why: "somebody asked for it".to_owned() }])
    }

    fn roll_back(&mut self, to: Option<PolicyVersion>) -> Result<Vec<Change>, StageRefusal> {
        self.unpinned()?;
        let why = "somebody asked for it".to_owned();
        // What came by now had its chance: only what is published later is tried.
        let newest = self.waiting.last_key_value().map_or(self.tried, |(version, _)| (*version).max(self.tried));
        if to.is_none() && self.trial.is_some() {
            self.tried = newest;
            return Ok(vec![self.reject(Reason::Asked, why)]);
        }
        let version = self.lead.version;
        let to = match to {
            Some(to) => to,
            None => self.past.last().ok_or(StageRefusal::NothingBefore(version))?.version,
        };
        self.move_to(to)?;
        self.tried = newest.max(self.tried);
        Ok(vec![Change::RolledBack { version, to, reason: Reason::Asked, why }])
    }

    fn pin(&mut self, version: PolicyVersion) -> Result<Vec<Change>, StageRefusal> {
        let from = self.lead.version;
        if version != from {
            self.unpinned()?;
            self.move_to(version)?;
        }
        if let Some(candidate) = self.end_trial() {
            self.put_aside(candidate);
        }
        self.pinned = true;
        Ok(vec![Change::Pinned { version, from }])
    }

    fn unpinned(&self) -> Result<(), StageRefusal> {
        if self.pinned { Err(StageRefusal::Pinned(self.lead.version)) } else { Ok(()) }
    }

    /// Puts a version on stage that may be there, and ends the trial.
    fn move_to(&mut self, version: PolicyVersion) -> Result<(), StageRefusal> {
        if version == self.lead.version {
            return Err(StageRefusal::OnStage(version));
        }
        let on_trial = self.trial.as_ref().map(|trial| trial.candidate).filter(|one| one.version == version);
        let found = self.find(version).or(on_trial);
        let kept = || StageRefusal::NotKept { version, kept: self.versions() };
        let standing = found.ok_or_else(kept)?;
        let led = self.past.iter().position(|past| past.version == version);
        match standing.measured.map(|seen| self.rules.breach(seen)) {
            Some(Some((_, why))) => return Err(StageRefusal::OutOfBounds { version, why }),
            // What the stage began with may lead again.
            None if led.is_none() => return Err(StageRefusal::Unmeasured(version)),
            _ => {}
        }
        let aside = self.end_trial().filter(|candidate| candidate.version != version);
        match led {
            Some(at) => self.go_back_to(at),
            None => {
                self.waiting.remove(&version);
                self.lead_by(standing);
            }
        }
        self.tried = self.tried.max(version);
        aside.into_iter().for_each(|candidate| self.put_aside(candidate));
        Ok(())
    }

    fn end_trial(&mut self) -> Option<Standing> {
        self.trial.take().map(|trial| trial.candidate)
    }

    fn lead_by(&mut self, standing: Standing) {
        self.past.push(std::mem::replace(&mut self.lead, standing));
        let most = self.rules.keep;
        self.past.drain(..self.past.len().saturating_sub(most));
    }

    /// The lead of before at this place leads again; those after it wait.
    fn go_back_to(&mut self, at: usize) {
        let mut after = self.past.split_off(at);
        let back = after.remove(0);
        after.push(std::mem::replace(&mut self.lead, back));
        after.into_iter().for_each(|standing| self.put_aside(standing));
    }

    fn put_aside(&mut self, standing: Standing) {
        self.waiting.insert(standing.version, standing.measured);
        self.forget();
    }

    /// Of those that wait only the newest are kept.
    fn forget(&mut self) {
        while self.waiting.len() > self.rules.keep {
            self.waiting.pop_first();
        }
    }

    fn find(&self, version: PolicyVersion) -> Option<Standing> {
        let led = || self.past.iter().find(|past| past.version == version).copied();
        let waits = || self.waiting.get(&version).map(|measured| Standing { version, measured: *measured });
        Some(self.lead).filter(|lead| lead.version == version).or_else(led).or_else(waits)
    }
}
