//! What the runs come to: means over seeds, and differences to the common utility seed by seed.
//!
//! Invariant: seeds are the units of every error; a difference is taken only between runs of the same seed.

use serde::{Deserialize, Serialize};

use super::arms::Arm;
use super::figures::Figures;
use super::record::{Group, Report};
use crate::evaluation::Estimate;

/// What is told of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    /// Quality of the policy's answers before learning.
    Base,
    /// And after.
    Policy,
    /// After less before.
    Gain,
    /// Best-of-n regret of the reward model.
    Regret,
    /// The same where chance chooses.
    RegretOfChance,
    /// Pairs of held-out answers that the reward model orders rightly.
    Accuracy,
}

impl Measure {
    const ALL: [Self; 6] = [Self::Base, Self::Policy, Self::Gain, Self::Regret, Self::RegretOfChance, Self::Accuracy];

    pub(super) fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Base => Some(figures.base),
            Self::Policy => Some(figures.policy),
            Self::Gain => Some(figures.gain),
            Self::Regret => Some(figures.regret),
            Self::RegretOfChance => Some(figures.regret_of_chance),
            Self::Accuracy => figures.accuracy,
        }
    }
}

/// One figure of one arm on one group of questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) arm: Arm,
    pub(super) group: Group,
    pub(super) measure: Measure,
    /// Seeds.
    pub(super) seeds: usize,
    /// Over seeds.
    pub(super) value: Estimate,
    /// Less the common utility's, seed by seed; `None` for the common utility itself.
    pub(super) less_common: Option<Estimate>,
}

/// The values of a figure by seed, in the order of the runs.
fn by_seed(report: &Report, arm: Arm, group: Group, measure: Measure) -> Vec<(u64, f64)> {
    let runs = report.runs.iter().filter(|run| run.arm == arm);
    runs.filter_map(|run| Some((run.seed, measure.of(run.figures.get(&group)?)?))).collect()
}

/// One figure.
pub(super) fn row(report: &Report, arm: Arm, group: Group, measure: Measure) -> Row {
    let own = by_seed(report, arm, group, measure);
    let common = by_seed(report, Arm::Common, group, measure);
    let differences: Vec<f64> = own
        .iter()
        .filter_map(|(seed, value)| Some(value - common.iter().find(|(other, _)| other == seed)?.1))
        .collect();
    let values: Vec<f64> = own.iter().map(|(_, value)| *value).collect();
    let less_common = (arm != Arm::Common && !differences.is_empty()).then(|| Estimate::of(&differences));
    Row { arm, group, measure, seeds: values.len(), value: Estimate::of(&values), less_common }
}

/// All of them.
pub(super) fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    for measure in Measure::ALL {
        for arm in report.arms() {
            rows.extend(Group::ALL.map(|group| row(report, arm, group, measure)));
        }
    }
    rows
}

/// For people to read.
pub(super) fn text(report: &Report) -> String {
    let arms = report.arms();
    let mut text = String::new();
    let Some(first) = report.runs.first() else { return text };
    let count = |group: Group| first.figures.get(&group).map_or(0, |figures| figures.questions);
    let per_arm = |value: &dyn Fn(&super::record::Run) -> f64| {
        report.runs.iter().map(value).sum::<f64>() / report.runs.len() as f64
    };
    text += &format!(
        "{} runs; on average {:.0} updates, {:.0} ratings and {:.0} s each. Held out: {} open and {} closed questions.\n\
         Means over seeds ± standard error; in brackets less \"common\", seed by seed.\n",
        report.runs.len(),
        per_arm(&|run| run.updates as f64),
        per_arm(&|run| run.ratings as f64),
        per_arm(&|run| run.seconds),
        count(Group::Open),
        count(Group::Closed),
    );
    let tables = [
        (Measure::Gain, "policy: quality of its answers (0 to 1), after less before; more is better"),
        (Measure::Policy, "policy: quality after"),
        (Measure::Regret, "reward model: best-of-n regret; less is better"),
        (Measure::Accuracy, "reward model: held-out pairs ordered rightly; more is better"),
    ];
    for (measure, title) in tables {
        text += &format!("\n{title}\n{:14}", "");
        for group in Group::ALL {
            text += &format!("{:34}", group.name());
        }
        text = text.trim_end().to_owned() + "\n";
        for arm in &arms {
            let cells: Vec<String> =
                Group::ALL.iter().map(|group| format!("{:34}", cell(&row(report, *arm, *group, measure)))).collect();
            text += &format!("{:14}{}", arm.name(), cells.concat());
            text = text.trim_end().to_owned() + "\n";
        }
        if measure == Measure::Regret {
            let chance = Group::ALL.map(|group| row(report, arms[0], group, Measure::RegretOfChance).value.mean);
            text += &format!("{:14}{:<34.3}{:<34.3}{:.3}\n", "(chance)", chance[0], chance[1], chance[2]);
        }
    }
    text
}

fn cell(row: &Row) -> String {
    if row.seeds == 0 {
        return "-".to_owned();
    }
    let own = format!("{:.3} ± {:.3}", row.value.mean, row.value.standard_error);
    match row.less_common {
        Some(less) => format!("{own} ({:+.3} ± {:.3})", less.mean, less.standard_error),
        None => own,
    }
}
