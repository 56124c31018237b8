//! `understudy collapse`: whether the reward model has forgotten the difference between types of question.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use understudy_learning::reward::collapse::{CollapseReport, Monitor};

use super::super::{Global, Outcome};
use super::Learned;
use super::table::{Table, shown};
use crate::plot::collapse_history;

/// Flags of `collapse`.
#[derive(Debug, Args)]
#[command(
    after_help = "A reward model that fits strict rankings with one utility for all questions ends with the same rewards for every
question, open-ended or closed-ended: reward collapse (Song et al. 2023). The monitor scores fixed answers again and again:
how near their rewards are to where the loss alone would put them (D_opt, on questions that are trained on), and how far the
two types are apart (D_types, on questions that are not) against how far they should be (D_want).
The figures are those of the newest checkpoint, so the command works beside a running daemon.

Examples:
  understudy collapse --data-dir data/demo --svg collapse.svg
  understudy collapse --json | jq .latest.alarm"
)]
pub struct Flags {
    /// Draw the history to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Reports of the history to show
    #[arg(long, default_value_t = 10)]
    most: usize,
}

/// Runs `understudy collapse`.
pub(in crate::cli) fn run(global: &Global, flags: &Flags) -> Outcome {
    let learned = Learned::newest(global)?;
    // The seed only draws later shuffles, and none follow here.
    let mut monitor = Monitor::new(learned.config.seed);
    monitor.restore(learned.part("collapse")?).map_err(anyhow::Error::from)?;
    let history = monitor.history();
    if let Some(path) = &flags.svg {
        collapse_history(path, history)?;
    }
    if global.json {
        println!("{}", json!({"checkpoint": learned.state, "latest": history.last(), "history": history}));
        return Ok(());
    }
    println!("{}; {} reports", learned.title(), history.len());
    match history.last() {
        None => println!("nothing was measured yet: too few rated questions, or too few updates"),
        Some(latest) => {
            print!("\n{}\n\n{}", in_words(latest), figures(latest));
            print!("\n{}", recent(&history[history.len().saturating_sub(flags.most.max(1))..]));
        }
    }
    Ok(())
}

/// What the newest report means.
fn in_words(report: &CollapseReport) -> String {
    let fitted = format!(
        "Rewards of the trained questions are {:.3} from where their loss alone would put them (0 is wholly fitted).",
        report.d_opt_smooth
    );
    let types = match (report.index, report.d_types, report.d_want) {
        (Some(index), Some(types), Some(want)) => format!(
            "Between open-ended and closed-ended questions {types:.3} of the wanted {want:.3} is there (index {index:.2}; 0 \
             is healthy, 1 collapsed)."
        ),
        (None, Some(types), Some(_)) => {
            format!("The loss asks for no difference between the types of question; there is one of {types:.3}.")
        }
        _ => "One of the two types of question is missing among the probes, so nothing is said of their difference."
            .to_owned(),
    };
    let verdict = match report.alarm {
        true => {
            "ALARM: the reward model has collapsed. It answers both types of question with the same rewards; stop, or \
                 train less on the same ratings, and check that the utility turns with the question (reward.utility)."
                .to_owned()
        }
        false => "No alarm.".to_owned(),
    };
    let chance = report.null.map_or_else(String::new, |null| {
        format!(" By chance alone it would be {:.3}; p = {:.2} that it is chance.", null.mean, null.p_value)
    });
    format!("{verdict}\n{fitted}\n{types}{chance}")
}

fn figures(report: &CollapseReport) -> String {
    let mut table = Table::new(&[&format!("after update {}", report.update), "trained on", "held out"]);
    let (train, held_out) = (&report.train, &report.held_out);
    table.row(vec!["questions".into(), train.probes.to_string(), held_out.probes.to_string()]);
    let rows = [
        ("distance between the types", train.d_types, held_out.d_types),
        ("dispersion", train.dispersion, held_out.dispersion),
        ("spread of open-ended questions (1/3 is even)", train.rho_open, held_out.rho_open),
        ("spread of closed-ended questions (1 is two heaps)", train.rho_closed, held_out.rho_closed),
        ("saturated rewards", train.saturation, held_out.saturation),
        ("pairs ordered rightly", train.accuracy, held_out.accuracy),
    ];
    for (what, train, held_out) in rows {
        table.row(vec![what.to_owned(), shown(train, 3), shown(held_out, 3)]);
    }
    table.text()
}

fn recent(history: &[CollapseReport]) -> String {
    let mut table =
        Table::new(&["update", "D_opt", "D_types", "D_want", "index", "pairs trained", "held out", "alarm"]);
    for report in history {
        table.row(vec![
            report.update.to_string(),
            format!("{:.4}", report.d_opt),
            shown(report.d_types, 4),
            shown(report.d_want, 4),
            shown(report.index, 2),
            shown(report.train.accuracy, 3),
            shown(report.held_out.accuracy, 3),
            if report.alarm { "ALARM" } else { "-" }.to_owned(),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use understudy_learning::reward::collapse::{Probe, TrainProbe};
    use understudy_learning::reward::losses::utility::Dial;

    use super::*;

    /// Probes whose rewards are `open` for open questions and `closed` for closed ones.
    fn monitored(open: [f64; 4], closed: [f64; 4]) -> Monitor {
        let probe = |at: usize| {
            let (closedness, rewards) = if at.is_multiple_of(2) { (0.1, open) } else { (0.9, closed) };
            Probe { rewards: rewards.to_vec(), closedness, pairs: Vec::new(), ratings: None }
        };
        let train = |at| {
            let probe = probe(at);
            let utility = Dial::from_closedness(probe.closedness, (0.05, 0.95)).utility();
            TrainProbe { probe, utility }
        };
        let mut monitor = Monitor::new(1);
        for update in 0..12 {
            let train: Vec<TrainProbe> = (0..8).map(train).collect();
            let held_out: Vec<Probe> = (0..8).map(probe).collect();
            monitor.observe(update, &train, &held_out).expect("finite rewards");
        }
        monitor
    }

    #[test]
    fn the_newest_report_is_told_in_words_and_in_figures() {
        let monitor = monitored([1.0, 0.66, 0.34, 0.0], [1.0, 0.99, 0.01, 0.0]);
        let latest = monitor.latest().expect("it was fed");
        let words = in_words(latest);
        assert!(words.contains("No alarm") && words.contains("of the wanted"), "{words}");
        assert!(figures(latest).contains("questions"));
        assert_eq!(recent(&monitor.history()[2..]).lines().count(), 11);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("collapse.svg");
        collapse_history(&path, monitor.history()).expect("it is drawn");
        assert!(std::fs::read_to_string(path).unwrap().contains("D_types"));
    }
}
