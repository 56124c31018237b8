//! The stage as it is shown.
//!
//! Invariant: plain values; a copy of what was true at one moment.

use serde::Serialize;
use understudy_learning::stages::PolicyVersion;

use super::change::Change;
use super::config::{Rules, StageMode};
use super::machine::{Stage, Standing};

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionView {
    /// Which.
    pub version: PolicyVersion,
    /// KL to the base model, nats per answer; `None` until it is measured.
    pub kl: Option<f64>,
    /// Mean entropy, nats per token.
    pub entropy: Option<f64>,
    /// Why it may not serve people, if it may not.
    pub breach: Option<String>,
}

impl VersionView {
    fn of(standing: Standing, rules: &Rules) -> Self {
        let Standing { version, measured } = standing;
        let breach = measured.and_then(|seen| rules.breach(seen)).map(|(_, why)| why);
        // JSON has no word for what is not finite.
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        let (kl, entropy) = (measured.and_then(|m| finite(m.kl)), measured.and_then(|m| finite(m.entropy)));
        Self { version, kl, entropy, breach }
    }
}

/// The candidate and how it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateView {
    /// Which.
    #[serde(flatten)]
    pub version: VersionView,
    /// Share of people's requests that it answers.
    pub share: f64,
    /// Answers that it gave.
    pub answers: u64,
    /// Comparisons with the lead.
    pub comparisons: u64,
    /// Its share of the wins, a tie counting half.
    pub win_rate: Option<f64>,
}

/// Who serves people, and who may.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageView {
    /// `direct` or `guarded`; all that follows but the lead is empty in the first.
    pub mode: StageMode,
    /// Who answers people.
    pub lead: VersionView,
    /// Who answers a share of them.
    pub candidate: Option<CandidateView>,
    /// Whether the lead stays whatever comes.
    pub pinned: bool,
    /// Leads of before that can be gone back to, the last one last.
    pub before: Vec<VersionView>,
    /// Published versions that are kept, oldest first.
    pub waiting: Vec<VersionView>,
    /// What happened last, in words.
    pub last_change: Option<String>,
}

impl StageView {
    /// Where every version serves at once.
    pub fn direct(version: PolicyVersion) -> Self {
        let lead = VersionView { version, kl: None, entropy: None, breach: None };
        let (before, waiting) = Default::default();
        Self { mode: StageMode::Direct, lead, candidate: None, pinned: false, before, waiting, last_change: None }
    }

    pub(super) fn of(stage: &Stage, rules: &Rules, share: f64, last: Option<&Change>) -> Self {
        let view = |standing| VersionView::of(standing, rules);
        let candidate = stage.trial().map(|trial| CandidateView {
            version: view(trial.candidate),
            share,
            answers: trial.answers,
            comparisons: trial.duels.seen(),
            win_rate: trial.duels.win_rate(),
        });
        Self {
            mode: StageMode::Guarded,
            lead: view(stage.lead()),
            candidate,
            pinned: stage.is_pinned(),
            before: stage.past().iter().copied().map(view).collect(),
            waiting: stage.waiting().map(view).collect(),
            last_change: last.map(Change::to_string),
        }
    }
}
