//! The comparison as a picture: how training answers got better, and what came of it by type of question.
//!
//! Invariant: only what the report holds is drawn; every error bar is a standard error over seeds.

use std::path::Path;

use super::super::Outcome;
use super::arms::Arm;
use super::record::{Group, Report};
use super::summary::{Measure, row};
use crate::evaluation::Estimate;
use crate::plot::{Panel, Series, panels};

/// Draws the report to an SVG file.
pub(super) fn draw(report: &Report, path: &Path) -> Outcome {
    let mut figure = vec![learning(report)];
    for (measure, title, y_label) in [
        (Measure::Gain, "Held-out answers: gain", "quality after less before"),
        (Measure::Regret, "Held-out answers: best-of-n regret", "quality given away"),
        (Measure::Accuracy, "Held-out answers: pairs ordered rightly", "share"),
    ] {
        figure.push(by_type(report, measure, title, y_label));
    }
    Ok(panels(path, "A common and a prompt-aware utility, by type of question", &figure)?)
}

fn learning(report: &Report) -> Panel {
    let series = report.arms().into_iter().map(|arm| {
        let (points, errors) = curve(report, arm).into_iter().unzip();
        Series { name: arm.name().to_owned(), points, errors: Some(errors) }
    });
    Panel {
        title: "Training answers".into(),
        x_label: "policy update".into(),
        y_label: "quality of the answers since the last one".into(),
        series: series.collect(),
    }
}

/// At each update the mean over seeds, and its error.
fn curve(report: &Report, arm: Arm) -> Vec<((f64, f64), f64)> {
    let runs: Vec<_> = report.runs.iter().filter(|run| run.arm == arm).collect();
    let longest = runs.iter().map(|run| run.curve.len()).max().unwrap_or(0);
    let at = |update: usize| {
        let values: Vec<f64> = runs.iter().filter_map(|run| *run.curve.get(update)?).collect();
        let Estimate { mean, standard_error } = Estimate::of(&values);
        (!values.is_empty()).then_some((((update + 1) as f64, mean), standard_error))
    };
    (0..longest).filter_map(at).collect()
}

fn by_type(report: &Report, measure: Measure, title: &str, y_label: &str) -> Panel {
    let arms = report.arms();
    let series = Group::ALL.map(|group| {
        let rows =
            arms.iter().map(|arm| row(report, *arm, group, measure)).enumerate().filter(|(_, row)| row.seeds > 0);
        let (points, errors) =
            rows.map(|(at, row)| (((at + 1) as f64, row.value.mean), row.value.standard_error)).unzip();
        Series { name: format!("{} questions", group.name()), points, errors: Some(errors) }
    });
    let names: Vec<String> = arms.iter().enumerate().map(|(at, arm)| format!("{} {}", at + 1, arm.name())).collect();
    Panel { title: title.into(), x_label: names.join(" · "), y_label: y_label.into(), series: series.into() }
}
