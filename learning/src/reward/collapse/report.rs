//! One report of the collapse monitor, and the rule by which it raises the alarm.
//!
//! Invariant: the alarm is a function of the report's own figures; saved as bits, a report comes back to the last one.

use serde::{Deserialize, Serialize};

use super::null::Null;

/// The smoothed distance to the optimum below which a model has interpolated its training probes.
pub const FITTED: f64 = 0.02;
/// The index above which a wanted separation of the types counts as missing.
pub const MISSING: f64 = 0.7;
/// A wanted separation below this is that of a common loss: there is nothing to compare with.
pub const COMMON: f64 = 0.02;
/// Under a common loss: types nearer than this are one.
pub const MERGED: f64 = 0.02;
/// Under a common loss: types further apart than this in their ratings ought not to be one.
pub const DISTINCT: f64 = 0.05;

/// Figures of one set of probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Prompts with at least two answers.
    pub probes: usize,
    /// W1 between the mean sorted rewards of the open and of the closed prompts; `None` without one of them.
    pub d_types: Option<f64>,
    /// Mean W1 of a prompt's rewards to the mean curve of all.
    pub dispersion: Option<f64>,
    /// Mean variance / (mean·(1 − mean)) of open prompts: towards 1/3 for an even spread.
    pub rho_open: Option<f64>,
    /// The same of closed prompts: towards 1 for two heaps.
    pub rho_closed: Option<f64>,
    /// Share of rewards below 0.01 or above 0.99.
    pub saturation: Option<f64>,
    /// Weighted share of pairs in the order that people gave; equals count half.
    pub accuracy: Option<f64>,
}

/// How far a model has collapsed, after some update.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollapseReport {
    /// The update it was made after.
    pub update: u64,
    /// D_opt: mean W1 of the training probes' rewards to the finite-K optimum of each prompt's own loss. 0 is wholly
    /// interpolated.
    pub d_opt: f64,
    /// D_opt smoothed over reports.
    pub d_opt_smooth: f64,
    /// D_types: W1 between the types on held-out probes.
    pub d_types: Option<f64>,
    /// D_want: the same between the optima of the training probes; 0 under a common loss.
    pub d_want: Option<f64>,
    /// D_rate: W1 between the types in people's ratings, where probes carry them.
    pub d_rate: Option<f64>,
    /// What the dial would ask for, given how closed the probes are held to be.
    pub d_dial: Option<f64>,
    /// C = 1 − D_types / D_want: 0 healthy, 1 collapsed; `None` under a common loss.
    pub index: Option<f64>,
    /// D_types under shuffled labels.
    pub null: Option<Null>,
    /// The training probes.
    pub train: Figures,
    /// The held-out probes.
    pub held_out: Figures,
    /// Whether the reward model has collapsed; see [`CollapseReport::collapsed`].
    pub alarm: bool,
}

impl CollapseReport {
    /// The rule: the training probes are fitted (smoothed D_opt < 0.02) and, where the loss asks for a separation, C > 0.7;
    /// under a common loss, which asks for none, the types are one on the training probes (W1 < 0.02) although people's
    /// ratings keep them apart (> 0.05). Without ratings, what the dial would ask for stands in for them.
    ///
    /// The common rule looks at training probes: collapse is a fact about what was fitted, and on held-out prompts the
    /// types differ by the scatter of generalisation alone (0.02 to 0.05 with 64 prompts).
    pub fn collapsed(&self) -> bool {
        if self.d_opt_smooth.is_nan() || self.d_opt_smooth >= FITTED {
            return false;
        }
        match (self.index, self.d_want) {
            (Some(index), _) => index > MISSING,
            (None, Some(_)) => {
                let apart = self.d_rate.or(self.d_dial).is_some_and(|apart| apart > DISTINCT);
                apart && self.train.d_types.is_some_and(|types| types < MERGED)
            }
            (None, None) => false,
        }
    }

    /// A short line for a log or a terminal.
    pub fn line(&self) -> String {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let index = self.index.map_or_else(|| "-".to_owned(), |index| format!("{index:.2}"));
        format!(
            "update {}: D_opt {:.4}, D_types {} of {} wanted, C {index}, pair accuracy {} / {}{}",
            self.update,
            self.d_opt,
            shown(self.d_types),
            shown(self.d_want),
            shown(self.train.accuracy),
            shown(self.held_out.accuracy),
            if self.alarm { ", COLLAPSED" } else { "" }
        )
    }
}

/// A number as bits: decimal text could lose the last one.
type Bits = Option<u64>;

/// A report as it is saved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedReport {
    update: u64,
    alarm: bool,
    probes: [usize; 2],
    numbers: Vec<Bits>,
}

/// Numbers in a saved report.
const NUMBERS: usize = 9 + 2 * 6;

impl From<&CollapseReport> for SavedReport {
    fn from(report: &CollapseReport) -> Self {
        let of = |f: &Figures| [f.d_types, f.dispersion, f.rho_open, f.rho_closed, f.saturation, f.accuracy];
        let mut numbers = vec![Some(report.d_opt), Some(report.d_opt_smooth), report.d_types, report.d_want];
        numbers.extend([report.d_rate, report.d_dial, report.index]);
        numbers.extend([report.null.map(|null| null.mean), report.null.map(|null| null.p_value)]);
        numbers.extend(of(&report.train).into_iter().chain(of(&report.held_out)));
        Self {
            update: report.update,
            alarm: report.alarm,
            probes: [report.train.probes, report.held_out.probes],
            numbers: numbers.into_iter().map(|number| number.map(f64::to_bits)).collect(),
        }
    }
}

impl SavedReport {
    /// The report again; `None` when it was saved by something else.
    pub(super) fn open(&self) -> Option<CollapseReport> {
        let numbers: Vec<Option<f64>> = self.numbers.iter().map(|bits| bits.map(f64::from_bits)).collect();
        if numbers.len() != NUMBERS {
            return None;
        }
        let figures = |probes: usize, n: &[Option<f64>]| Figures {
            probes,
            d_types: n[0],
            dispersion: n[1],
            rho_open: n[2],
            rho_closed: n[3],
            saturation: n[4],
            accuracy: n[5],
        };
        Some(CollapseReport {
            update: self.update,
            d_opt: numbers[0]?,
            d_opt_smooth: numbers[1]?,
            d_types: numbers[2],
            d_want: numbers[3],
            d_rate: numbers[4],
            d_dial: numbers[5],
            index: numbers[6],
            null: numbers[7].zip(numbers[8]).map(|(mean, p_value)| Null { mean, p_value }),
            train: figures(self.probes[0], &numbers[9..15]),
            held_out: figures(self.probes[1], &numbers[15..21]),
            alarm: self.alarm,
        })
    }
}
