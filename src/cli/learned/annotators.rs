//! `understudy annotators`: how the reward model reads each person's ratings.

use clap::Args;
use serde_json::json;
use understudy_learning::reward::reliability::annotators_of;
use understudy_learning::reward::{AnnotatorReport, Standing};

use super::super::{Global, Outcome};
use super::Learned;
use super::table::{Table, shown};

/// Flags of `annotators`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ratings of people who agree with the others count more than those of people who do not. The figures are those of
the newest checkpoint, so the command works beside a running daemon.

Who is only ignored may become inverted (learned from the wrong way round) when gold items prove that they say the opposite
of what is so; reward.reliability in the configuration has the rules, and reward.reliability.pinned names people who are
always believed.

Examples:
  understudy annotators --data-dir data/demo
  understudy annotators --json | jq '.annotators[] | select(.standing == \"ignored\")'"
)]
pub struct Flags {
    /// Most people to show; 0 shows all
    #[arg(long, default_value_t = 50)]
    most: usize,
}

const LEGEND: &str = "
standing     new: heard too little · trusted · noisy: much chance in it · ignored: no better than chance ·
             inverted: gold proves the opposite is meant · pinned: believed by configuration
means it     probability that they mean what they say; in use: as learning takes it (0.5 says nothing)
sharpness    slope of their choices: 1 is ordinary, near 0 is chance
strictness   shift of their stars and thumbs in logits: above 0 gives fewer
weight       of their next rating, after the cap on one person's share
gold         recent judgements that agree and disagree with gold items
foretold     share of their two-way choices that was foretold before learning from them, and the log-loss of all, in nats
";

/// Runs `understudy annotators`.
pub(in crate::cli) fn run(global: &Global, flags: &Flags) -> Outcome {
    let learned = Learned::newest(global)?;
    // Where an older program left nothing, the sentence says so.
    learned.part("annotators")?;
    let reports = annotators_of(&learned.scalars["learner"], &learned.config.reward.reliability);
    let reports = sorted(reports.map_err(anyhow::Error::from)?);
    if global.json {
        println!("{}", json!({"checkpoint": learned.state, "annotators": reports}));
        return Ok(());
    }
    println!("{}; {} people", learned.title(), reports.len());
    if reports.is_empty() {
        println!("nobody has rated yet");
        return Ok(());
    }
    let most = if flags.most == 0 { reports.len() } else { flags.most.min(reports.len()) };
    print!("\n{}", table(&reports[..most]));
    if most < reports.len() {
        println!("… and {} more; --most 0 shows all", reports.len() - most);
    }
    print!("{LEGEND}");
    Ok(())
}

fn standing(standing: Standing) -> (u8, &'static str) {
    match standing {
        Standing::Pinned => (0, "pinned"),
        Standing::Trusted => (1, "trusted"),
        Standing::Noisy => (2, "noisy"),
        Standing::Ignored => (3, "ignored"),
        Standing::Inverted => (4, "inverted"),
        Standing::New => (5, "new"),
    }
}

/// By standing, then those with the most ratings first.
fn sorted(mut reports: Vec<AnnotatorReport>) -> Vec<AnnotatorReport> {
    reports.sort_by(|a, b| {
        let key = |report: &AnnotatorReport| (standing(report.standing).0, u64::MAX - report.events);
        key(a).cmp(&key(b)).then_with(|| a.annotator.cmp(&b.annotator))
    });
    reports
}

fn table(reports: &[AnnotatorReport]) -> String {
    let headings = [
        "person",
        "standing",
        "ratings",
        "means it",
        "in use",
        "sharpness",
        "strictness",
        "weight",
        "gold",
        "foretold",
        "loss",
    ];
    let mut table = Table::new(&headings);
    for report in reports {
        table.row(vec![
            report.annotator.clone(),
            standing(report.standing).1.to_owned(),
            report.events.to_string(),
            format!("{:.2}", report.eta),
            format!("{:.2}", report.eta_in_use),
            format!("{:.2}", report.temperature),
            format!("{:+.2}", report.shift),
            format!("{:.2}", report.weight),
            format!("{:.0}+ {:.0}-", report.gold_right, report.gold_wrong),
            report.accuracy.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
            shown(report.log_loss, 2),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(annotator: &str, events: u64, standing: Standing) -> AnnotatorReport {
        AnnotatorReport {
            annotator: annotator.into(),
            events,
            eta: 0.9,
            eta_in_use: 0.9,
            temperature: 1.25,
            shift: -0.5,
            weight: 1.0,
            gold_right: 3.0,
            gold_wrong: 0.0,
            standing,
            accuracy: Some(0.625),
            log_loss: None,
        }
    }

    #[test]
    fn trusted_people_with_many_ratings_come_first_and_new_ones_last() {
        let reports = [
            report("new", 1, Standing::New),
            report("few", 5, Standing::Trusted),
            report("ignored", 90, Standing::Ignored),
            report("many", 50, Standing::Trusted),
        ];
        let sorted = sorted(reports.to_vec());
        let names: Vec<&str> = sorted.iter().map(|report| report.annotator.as_str()).collect();
        assert_eq!(names, ["many", "few", "ignored", "new"]);
        let text = table(&sorted);
        let line = text.lines().nth(1).expect("a row under the headings");
        for cell in ["many", "trusted", "50", "0.90", "1.25", "-0.50", "3+ 0-", "62 %"] {
            assert!(line.contains(cell), "{cell} in {line}");
        }
    }
}
