//! The history of the collapse monitor as a figure.
//!
//! Invariant: shows what the reports hold; nothing is computed here.

use std::path::Path;

use anyhow::Result;
use understudy_learning::reward::collapse::{CollapseReport, FITTED, MISSING};

use super::lines::{Panel, Series, panels};

/// Draws distances to the optimum, separation of the types, the index and the pair accuracy over updates to an SVG file.
/// An error when the file cannot be written.
pub fn collapse_history(path: &Path, history: &[CollapseReport]) -> Result<()> {
    let line = |name: &str, of: &dyn Fn(&CollapseReport) -> Option<f64>| Series {
        name: name.to_owned(),
        points: history.iter().filter_map(|report| Some((report.update as f64, of(report)?))).collect(),
        errors: None,
    };
    let panel = |title: &str, y_label: &str, series: Vec<Series>| Panel {
        title: title.to_owned(),
        x_label: "update".to_owned(),
        y_label: y_label.to_owned(),
        series,
    };
    let figure = [
        panel(
            "How far the training probes are fitted",
            "W1 to the optimum",
            vec![
                line("D_opt", &|report| Some(report.d_opt)),
                line("smoothed", &|report| Some(report.d_opt_smooth)),
                line("fitted below", &|_| Some(FITTED)),
            ],
        ),
        panel(
            "How far open and closed prompts are apart",
            "W1 between the types",
            vec![
                line("D_types, held out", &|report| report.d_types),
                line("training probes", &|report| report.train.d_types),
                line("D_want", &|report| report.d_want),
                line("labels shuffled", &|report| report.null.map(|null| null.mean)),
                line("in ratings", &|report| report.d_rate),
            ],
        ),
        panel(
            "Index C: 0 healthy, 1 collapsed",
            "1 - D_types / D_want",
            vec![
                line("C", &|report| report.index),
                line("alarm above", &|_| Some(MISSING)),
                line("alarm raised", &|report| Some(f64::from(u8::from(report.alarm)))),
            ],
        ),
        panel(
            "Pairs in the order that people gave",
            "share",
            vec![
                line("training probes", &|report| report.train.accuracy),
                line("held out", &|report| report.held_out.accuracy),
                line("saturated rewards", &|report| report.train.saturation),
            ],
        ),
    ];
    panels(path, "Reward collapse", &figure)
}

#[cfg(test)]
mod tests {
    use understudy_learning::reward::collapse::{Monitor, Probe, TrainProbe};
    use understudy_learning::reward::losses::utility::Utility;

    use super::*;

    #[test]
    fn a_history_is_drawn_with_its_thresholds_and_an_empty_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut monitor = Monitor::new(1);
        let probe = |closedness| Probe { rewards: vec![0.1, 0.7, 0.9], closedness, ..Default::default() };
        for update in 0..3 {
            let train = TrainProbe { probe: probe(0.9), utility: Utility::X };
            monitor.observe(update, &[train], &[probe(0.1), probe(0.9)]).unwrap();
        }
        for (name, history) in [("some.svg", monitor.history()), ("none.svg", &[])] {
            let path = folder.path().join(name);
            collapse_history(&path, history).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                ["Reward collapse", "D_opt", "D_want", "Index C", "held out"].iter().all(|word| text.contains(word))
            );
        }
    }
}
