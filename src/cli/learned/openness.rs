//! `understudy openness [QUESTION]`: how closed-ended questions are held to be, and why.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value as Json, json};
use understudy_learning::reward::openness::{Basis, Explanation, Openness, Origin};

use super::super::{Failure, Global, Outcome};
use super::Learned;
use super::table::{Table, shown};

/// Flags of `openness`.
#[derive(Debug, Args)]
#[command(
    after_help = "p is the probability that a question's answers are right or wrong and nothing between (1), and not of all qualities
(0). It sets the reward model's utility for that question. What decides, the first that can: what the question's source or
tags declare, its ratings, the gate (what other questions' ratings taught about such prompts), the default.
The figures are those of the newest checkpoint, so the command works beside a running daemon.

Examples:
  understudy openness --data-dir data/demo
  understudy openness --data-dir data/demo sample/17          which evidence gave which p"
)]
pub struct Flags {
    /// Id of one question; all are summarised when left out
    question: Option<String>,
    /// Questions to name at either end of the summary
    #[arg(long, default_value_t = 5)]
    ends: usize,
}

/// Columns of the histogram.
const BINS: usize = 10;
/// Longest bar.
const BAR: usize = 40;

/// Runs `understudy openness`.
pub(in crate::cli) fn run(global: &Global, flags: &Flags) -> Outcome {
    let learned = Learned::newest(global)?;
    let openness = restored(learned.part("openness")?, &learned)?;
    if let Some(id) = &flags.question {
        let explanation = openness.explain(id).ok_or_else(|| {
            Failure::Usage(format!(
                "nothing is known of a question '{id}'; 'understudy openness --json' lists the {} that are",
                openness.questions()
            ))
        })?;
        match global.json {
            true => println!("{}", json!({"checkpoint": learned.state, "explanation": explanation})),
            false => print!("{}\n\n{}", learned.title(), one(&explanation)),
        }
        return Ok(());
    }
    let all: Vec<Explanation> = openness.question_ids().filter_map(|id| openness.explain(id)).collect();
    if global.json {
        println!("{}", json!({"checkpoint": learned.state, "summary": counts(&all), "questions": all}));
        return Ok(());
    }
    println!("{}; {} questions with ratings", learned.title(), all.len());
    if !all.is_empty() {
        print!("\n{}", summary(&all, flags.ends));
    }
    Ok(())
}

fn restored(state: &Json, learned: &Learned) -> Result<Openness, Failure> {
    // The width of the prompt's features is the model's, which is not loaded for this.
    let number = |name: &str| state[name].as_u64().unwrap_or_default();
    let mut openness = Openness::new(learned.config.openness.clone(), number("width") as usize, number("seed"));
    openness.restore(state).map_err(anyhow::Error::from)?;
    Ok(openness)
}

fn name(origin: Origin) -> &'static str {
    match origin {
        Origin::Declared => "declared",
        Origin::Evidence => "evidence",
        Origin::Gate => "gate",
        Origin::Default => "default",
    }
}

fn bin(p: f64) -> usize {
    ((p * BINS as f64) as usize).min(BINS - 1)
}

/// Questions by origin and tenth of p.
fn counts(all: &[Explanation]) -> BTreeMap<&'static str, [usize; BINS]> {
    let mut counts: BTreeMap<&'static str, [usize; BINS]> = BTreeMap::new();
    for explanation in all {
        counts.entry(name(explanation.origin)).or_default()[bin(explanation.p)] += 1;
    }
    counts
}

fn summary(all: &[Explanation], ends: usize) -> String {
    let counts = counts(all);
    let mut text = String::from("decided by\n");
    for origin in [Origin::Declared, Origin::Evidence, Origin::Gate, Origin::Default].map(name) {
        let count: usize = counts.get(origin).map_or(0, |bins| bins.iter().sum());
        text += &format!("  {origin:<10}{count:>6}\n");
    }
    let total = |at: usize| counts.values().map(|bins| bins[at]).sum::<usize>();
    let most = (0..BINS).map(total).max().unwrap_or(0).max(1);
    text += "\np (0 open-ended, 1 closed-ended)\n";
    for at in 0..BINS {
        let bar = "█".repeat((total(at) * BAR).div_ceil(most));
        let line = format!("  {:.1} to {:.1}{:>6}  {bar}", at as f64 / 10.0, (at + 1) as f64 / 10.0, total(at));
        text += &format!("{}\n", line.trim_end());
    }
    let mut by_p: Vec<&Explanation> = all.iter().collect();
    by_p.sort_by(|a, b| a.p.total_cmp(&b.p).then_with(|| a.question.cmp(&b.question)));
    let ends = ends.min(by_p.len().div_ceil(2));
    if ends > 0 {
        let mut table = Table::new(&["question", "p", "by", "ratings", "people"]);
        let highest = by_p.iter().skip(ends.max(by_p.len() - ends));
        for explanation in by_p.iter().take(ends).chain(highest) {
            table.row(vec![
                explanation.question.clone(),
                format!("{:.2}", explanation.p),
                name(explanation.origin).to_owned(),
                explanation.evidence.events.to_string(),
                explanation.evidence.raters.to_string(),
            ]);
        }
        text += &format!("\nthe most open-ended and the most closed-ended\n{}", table.text());
    }
    text
}

fn one(explanation: &Explanation) -> String {
    let evidence = &explanation.evidence;
    let basis = match evidence.basis {
        Some(Basis::Grades) => "grades",
        Some(Basis::Comparisons) => "comparisons",
        None => "too little",
    };
    let mut table = Table::new(&["", ""]);
    let rows = [
        ("p (0 open-ended, 1 closed-ended)", format!("{:.3}", explanation.p)),
        ("decided by", name(explanation.origin).to_owned()),
        ("version of p", explanation.version.to_string()),
        ("declared", shown(explanation.declared, 2)),
        ("p by the ratings alone", shown(explanation.p_by_ratings, 3)),
        ("the gate's opinion of the prompt", shown(explanation.gate, 3)),
        ("ratings remembered", evidence.events.to_string()),
        ("people", evidence.raters.to_string()),
        ("graded answers", format!("{} with {:.1} ratings each", evidence.graded, evidence.ratings_per_answer)),
        ("compared answers", format!("{} in {:.1} comparisons each", evidence.linked, evidence.comparisons_per_answer)),
        ("the estimate rests on", basis.to_owned()),
        ("log Bayes factor of two levels", shown(evidence.log_bayes_factor, 2)),
        ("share of the greatest variance (rho)", shown(evidence.rho, 3)),
        ("entropy of the votes", shown(evidence.vote_entropy, 3)),
        ("share of ties", shown(evidence.tie_rate, 3)),
    ];
    for (what, value) in rows {
        table.row(vec![what.to_owned(), value]);
    }
    format!("{}\n{}\n{}", explanation.question, explanation.sentence, table.text())
}

#[cfg(test)]
mod tests {
    use understudy_learning::reward::openness::OpennessConfig;
    use understudy_learning::stages::{Feedback, FeedbackKind, Question};

    use super::*;

    fn heard() -> Openness {
        let mut openness = Openness::new(OpennessConfig::default(), 0, 1);
        let text = r#"{"id":"s/1","source":"s","title":"Which tea?","body":"","tags":[],"author":null,"url":null,
            "licence":null,"asked_at":0,"closedness":null}"#;
        let rated: Question = serde_json::from_str(text).unwrap();
        let told = Question { id: "s/2".into(), closedness: Some(0.9), ..rated.clone() };
        for seq in 0..12u64 {
            let kind = FeedbackKind::Stars { answer: seq % 4, stars: if seq % 4 < 2 { 5 } else { 1 } };
            let feedback =
                Feedback { id: format!("f{seq}"), annotator: format!("a{}", seq / 4), at: 0, kind, why: None };
            openness.observe(&rated, &[], seq, &feedback);
            let again = Feedback { id: format!("g{seq}"), ..feedback };
            openness.observe(&told, &[], seq, &again);
        }
        openness
    }

    #[test]
    fn questions_are_counted_by_origin_and_by_p() {
        let openness = heard();
        let all: Vec<Explanation> = openness.question_ids().filter_map(|id| openness.explain(id)).collect();
        let counts = counts(&all);
        assert_eq!((counts["declared"].iter().sum::<usize>(), counts["evidence"].iter().sum::<usize>()), (1, 1));
        let text = summary(&all, 5);
        assert!(text.contains("0.9 to 1.0") && text.contains("s/2") && text.contains("declared       1"), "{text}");
        assert_eq!([bin(0.0), bin(0.099), bin(0.95), bin(1.0)], [0, 0, 9, 9]);
    }

    #[test]
    fn one_question_is_explained_with_its_figures() {
        let text = one(&heard().explain("s/1").expect("it was heard of"));
        // Three raters, four answers in two levels without a doubt.
        for word in ["evidence", "4 with 3.0 ratings each", "log Bayes factor", "p = 0."] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
