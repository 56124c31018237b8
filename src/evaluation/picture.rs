//! An evaluation as a picture.
//!
//! Invariant: what was not measured has no panel; every point that has an error shows it.

use std::path::Path;

use super::report::Report;
use super::win_rate::{Duel, WinRate};
use crate::plot::{Panel, Series, panels};

/// Parts that duels are divided into by the difference of their lengths.
const PARTS: usize = 3;

/// Draws the report's figures to an SVG file.
pub fn draw(path: &Path, report: &Report) -> anyhow::Result<()> {
    let mut all = Vec::new();
    if let Some(reward) = &report.reward_model {
        let accuracy = &reward.accuracy;
        let bars = [("the model", accuracy.model), ("the longer", accuracy.longer), ("the older", accuracy.older)];
        let point = |(place, (name, share)): (usize, (&str, crate::preferences::accuracy::Accuracy))| Series {
            name: name.to_owned(),
            points: vec![(place as f64 + 1.0, 100.0 * share.share)],
            errors: Some(vec![100.0 * share.error]),
        };
        all.push(Panel {
            title: "Held-out pairs in the right order, ± standard error".into(),
            x_label: String::new(),
            y_label: "%".into(),
            series: bars.into_iter().enumerate().map(point).collect(),
        });
    }
    if let Some(comparison) = &report.comparison {
        let sorted = |name: &str, of: fn(&Duel) -> f64| {
            let mut rewards: Vec<f64> = comparison.duels.iter().map(of).collect();
            rewards.sort_by(f64::total_cmp);
            let count = rewards.len() as f64;
            let points = rewards.into_iter().enumerate().map(|(i, reward)| (reward, (i + 1) as f64 / count)).collect();
            Series { name: name.to_owned(), points, errors: None }
        };
        let series =
            vec![sorted(&report.model.name, |duel| duel.model), sorted(&comparison.other.name, |duel| duel.other)];
        all.push(Panel {
            title: "Share of questions with at most this reward".into(),
            x_label: format!("reward by {}", report.judge),
            y_label: "share".into(),
            series,
        });
        all.push(Panel {
            title: "Win-rate by length, in thirds of the questions, ± standard error".into(),
            x_label: "words more than the other's answer".into(),
            y_label: "%".into(),
            series: vec![by_length(&comparison.duels)],
        });
    }
    panels(path, &format!("Evaluation of {}", report.model.name), &all)
}

fn by_length(duels: &[Duel]) -> Series {
    let mut sorted = duels.to_vec();
    sorted.sort_by(|a, b| a.longer.total_cmp(&b.longer));
    let part = sorted.len().div_ceil(PARTS).max(1);
    let (mut points, mut errors) = (Vec::new(), Vec::new());
    for duels in sorted.chunks(part) {
        let rate = WinRate::of(duels);
        points.push((duels.iter().map(|duel| duel.longer).sum::<f64>() / duels.len() as f64, 100.0 * rate.share));
        errors.push(100.0 * rate.error);
    }
    Series { name: String::new(), points, errors: Some(errors) }
}
