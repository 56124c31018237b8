//! Reward collapse, and how a prompt-aware loss avoids it: the paper's central experiment (arXiv 2305.17608) on a CPU.
//!
//! 64 prompts, half of them closed-ended (short or long answers only), half open-ended (all lengths), eight answers each,
//! longer is better. A small network learns the rankings under several utilities. A common utility gives every prompt the
//! same rewards, and theory says which; a prompt-aware one keeps the types apart.
//!
//! Run: `cargo run --example reward_collapse [-- CHART.svg]`

use std::path::PathBuf;

use anyhow::Result;
use understudy::plot::{Panel, Series, panels};
use understudy_learning::reward::UtilityChoice;
use understudy_learning::reward::collapse::experiment::{ANSWERS, Experiment, losses};
use understudy_learning::reward::collapse::{Curve, law, optimum};
use understudy_learning::reward::losses::utility::{Dial, Utility};

const STEPS: usize = 1000;
const CLOSED: f64 = 0.95;
const OPEN: f64 = 0.05;

fn main() -> Result<()> {
    tch::set_num_threads(1);
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/reward-collapse.svg"), PathBuf::from);
    println!("W1 between the types (train, test, predicted), distance to the predicted optimum, pair accuracy\n");
    println!(
        "{:<28} {:>7} {:>7} {:>9} {:>10} {:>7} {:>7}  alarm",
        "loss", "train", "test", "predicted", "to optimum", "train", "test"
    );
    let mut charts = Vec::new();
    for (name, choice) in losses() {
        let outcome = Experiment::new(choice, STEPS).run(1)?;
        let report = &outcome.report;
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        println!(
            "{name:<28} {:>7} {:>7} {:>9} {:>10.4} {:>7} {:>7}  {}",
            shown(report.train.d_types),
            shown(report.d_types),
            shown(report.d_want),
            report.d_opt,
            shown(report.train.accuracy),
            shown(report.held_out.accuracy),
            if report.alarm { "collapsed" } else { "-" }
        );
        charts.push(chart(name, choice, &outcome.closed, &outcome.open)?);
    }
    panels(&path, "Sorted rewards: learned, predicted for eight answers, predicted for many", &charts)?;
    println!("\nThe curves are drawn in {}", path.display());
    Ok(())
}

/// The sorted rewards of one loss, by type.
fn chart(name: &str, choice: UtilityChoice, closed: &Curve, open: &Curve) -> Result<Panel> {
    let utilities: Vec<(&str, Utility, &Curve)> = match choice {
        UtilityChoice::Common { utility } => vec![("closed", utility, closed), ("open", utility, open)],
        UtilityChoice::Adaptive { closed: two, open: even } => vec![("closed", two, closed), ("open", even, open)],
        UtilityChoice::Dial => {
            let dial = |p| Dial::from_closedness(p, (OPEN, CLOSED)).utility();
            vec![("closed", dial(CLOSED), closed), ("open", dial(OPEN), open)]
        }
    };
    let mut series = Vec::new();
    for (index, (of, utility, curve)) in utilities.iter().enumerate() {
        let at = |place: usize| (place as f64 + 0.5) / ANSWERS as f64;
        let learned = curve.values().iter().enumerate().map(|(place, &reward)| (at(place), reward)).collect();
        series.push(Series { name: format!("{of}, learned"), points: learned, errors: None });
        // A common utility predicts the same for both types: once is enough.
        if index > 0 && *utility == utilities[0].1 {
            continue;
        }
        let best_first = optimum(utility, ANSWERS)?.rewards;
        let points = best_first.iter().rev().enumerate().map(|(place, &reward)| (at(place), reward)).collect();
        let which = if matches!(choice, UtilityChoice::Common { .. }) { "both" } else { of };
        series.push(Series { name: format!("{which}, predicted"), points, errors: None });
        let law = law(utility)?;
        let points = (0..=200).map(|step| f64::from(step) / 200.0).map(|q| (q, law.quantile(q))).collect();
        series.push(Series { name: format!("{which}, many answers"), points, errors: None });
    }
    let (x_label, y_label) = ("share of the answers below".to_owned(), "reward".to_owned());
    Ok(Panel { title: name.to_owned(), x_label, y_label, series })
}
