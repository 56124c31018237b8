//! What the reward actor shows of its mind: gauges, and alarms in words.
//!
//! Invariant: showing changes nothing.

use understudy_learning::reward::collapse::CollapseReport;

use super::mind::Mind;
use super::{
    ACCURACY, COLLAPSE_ALARM, COLLAPSE_D_OPT, COLLAPSE_D_TYPES, COLLAPSE_D_WANT, COLLAPSE_INDEX, COLLAPSE_SATURATION,
    DRIFT, DRIFT_ALARM, ECE, KIND_ACCURACY, KIND_LOG_LOSS, LOG_LOSS, RewardView,
};

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// How well events are foretold, overall and by kind, and the drift alarm.
pub(super) fn show_figures(mind: &Mind, view: &RewardView) {
    for (name, value) in [(ACCURACY, view.accuracy), (LOG_LOSS, view.log_loss), (ECE, view.calibration_error)] {
        value.into_iter().for_each(|value| metrics::gauge!(name).set(value));
    }
    for (kind, _, recent) in mind.prequential().by_kind() {
        for (name, value) in [(KIND_ACCURACY, recent.accuracy), (KIND_LOG_LOSS, recent.log_loss)] {
            value.into_iter().for_each(|value| metrics::gauge!(name, "kind" => kind.to_owned()).set(value));
        }
    }
    let drift = mind.drift();
    metrics::gauge!(DRIFT).set(drift.statistic);
    metrics::gauge!(DRIFT_ALARM).set(flag(drift.alarm));
}

/// The figures of a look at collapse.
pub(super) fn show_collapse(report: &CollapseReport) {
    let figures = [
        (COLLAPSE_D_OPT, Some(report.d_opt)),
        (COLLAPSE_D_TYPES, report.d_types),
        (COLLAPSE_D_WANT, report.d_want),
        (COLLAPSE_INDEX, report.index),
        (COLLAPSE_SATURATION, report.train.saturation),
        (COLLAPSE_ALARM, Some(flag(report.alarm))),
    ];
    for (name, value) in figures {
        value.into_iter().for_each(|value| metrics::gauge!(name).set(value));
    }
}

impl Mind {
    /// The collapse monitor's newest report.
    pub(super) fn collapse(&self) -> Option<&CollapseReport> {
        self.probes.latest()
    }

    /// The figures behind the drift alarm.
    pub(super) fn why_drift(&self) -> String {
        let report = self.drift();
        format!(
            "raised {} times over {} events; ratings were foretold worse than before, as when tastes change",
            report.raised, report.events
        )
    }

    /// The figures behind the collapse alarm.
    pub(super) fn why_collapse(&self) -> String {
        let Some(report) = self.collapse() else { return String::new() };
        let shown = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.3}"));
        format!(
            "D_opt {:.3} on rated questions, D_types {} of {} wanted on unrated ones, index {}",
            report.d_opt_smooth,
            shown(report.d_types),
            shown(report.d_want),
            shown(report.index)
        )
    }
}
