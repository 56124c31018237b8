//! Corpora as JSON lines.
//!
//! Invariant: one thread is in memory; the same corpora and plan give the same bytes.

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

use super::Format;
use super::row::{Credit, Metadata, Row, Text};
use crate::corpus::{Corpus, Thread};
use crate::preferences::score::stack_llama;
use crate::preferences::{Exposure, Rule, VotedAnswer, VotedQuestion};
use crate::sources::{Shares, Split, split};

/// What to write.
#[derive(Debug, Clone)]
pub struct ExportPlan<'a> {
    /// Of each row.
    pub format: Format,
    /// Which comparisons, and by which scores.
    pub rule: Rule,
    /// For corrected scores.
    pub exposure: &'a Exposure,
    /// Which parts there are.
    pub shares: Shares,
    /// Only this part.
    pub part: Option<Split>,
    /// Questions that are left out, by id.
    pub without: &'a std::collections::BTreeSet<String>,
    /// Plain strings instead of messages.
    pub plain: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Exported {
    /// Lines.
    pub rows: u64,
    /// Questions with a row.
    pub questions: u64,
}

/// Writes the rows of `corpora` to `out`; `told` hears of every thread.
pub fn export(
    corpora: &[Corpus],
    plan: &ExportPlan<'_>,
    out: &mut dyn Write,
    mut told: impl FnMut(),
) -> anyhow::Result<Exported> {
    let mut done = Exported::default();
    for corpus in corpora {
        for thread in corpus.threads()? {
            let thread = thread?;
            told();
            let part = split::of(&thread.id, plan.shares);
            if plan.part.is_some_and(|wanted| wanted != part) || plan.without.contains(&thread.id) {
                continue;
            }
            let rows = rows(&thread, plan, part);
            done.questions += u64::from(!rows.is_empty());
            done.rows += rows.len() as u64;
            for row in rows {
                serde_json::to_writer(&mut *out, &row).context("a row cannot be written")?;
                out.write_all(b"\n").context("a row cannot be written")?;
            }
        }
    }
    out.flush().context("the rows cannot be written")?;
    Ok(done)
}

fn rows(thread: &Thread, plan: &ExportPlan<'_>, part: Split) -> Vec<Row> {
    let question = VotedQuestion::of_thread(thread);
    let metadata = Metadata::of(&question, &thread.terms, thread.question.score, part.name());
    let prompt = Some(Text::of("user", &question.question.text(), plan.plain));
    let said = |answer: &VotedAnswer| Text::of("assistant", &answer.text, plan.plain);
    let row = || Row { prompt: prompt.clone(), metadata: metadata.clone(), ..Row::default() };
    let answers = &question.answers;
    match plan.format {
        Format::Preference => {
            let kept = question.comparisons(&plan.rule, plan.exposure).kept;
            let of = |pair: &crate::preferences::Comparison| {
                let (better, worse) = (&answers[pair.better], &answers[pair.worse]);
                let mut row = row();
                (row.chosen, row.rejected) = (Some(said(better)), Some(said(worse)));
                (row.margin, row.p, row.confidence) = (Some(pair.margin), Some(pair.p), Some(pair.confidence));
                (row.metadata.chosen, row.metadata.rejected) = (Some(Credit::of(better)), Some(Credit::of(worse)));
                row
            };
            kept.iter().map(of).collect()
        }
        Format::Unpaired => {
            // Askell's binarisation: good is what was voted up or accepted, bad what was voted down; 0 says neither.
            let labelled = answers.iter().filter_map(|answer| match stack_llama(answer.score, answer.accepted) {
                0 => None,
                worth => Some((answer, worth > 0)),
            });
            labelled.map(|(answer, good)| Row { label: Some(good), ..with_completion(row(), answer, &said) }).collect()
        }
        Format::PromptCompletion => {
            let worth = |answer: &&VotedAnswer| stack_llama(answer.score, answer.accepted);
            let best = answers.iter().filter(|answer| worth(answer) > 0);
            let best = best.max_by_key(|answer| (worth(answer), answer.score, std::cmp::Reverse(answer.at)));
            best.into_iter().map(|answer| with_completion(row(), answer, &said)).collect()
        }
        Format::PromptOnly => vec![row()],
        Format::Rankings if answers.is_empty() => Vec::new(),
        Format::Rankings => {
            let scores = plan.rule.scoring.scores(&question, plan.exposure);
            let mut row = row();
            row.completions = Some(answers.iter().map(said).collect());
            row.ranking = Some(levels(&scores));
            row.scores = Some(scores);
            row.rater = Some("votes".to_owned());
            row.at = answers.iter().map(|answer| answer.at).max();
            row.metadata.completions = answers.iter().map(Credit::of).collect();
            vec![row]
        }
    }
}

fn with_completion(mut row: Row, answer: &VotedAnswer, said: &impl Fn(&VotedAnswer) -> Text) -> Row {
    row.completion = Some(said(answer));
    row.metadata.completion = Some(Credit::of(answer));
    row
}

/// Best first; equals together.
fn levels(scores: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let mut levels: Vec<Vec<usize>> = Vec::new();
    for place in order {
        match levels.last_mut() {
            Some(level) if (scores[level[0]] - scores[place]).abs() < 1e-9 => level.push(place),
            _ => levels.push(vec![place]),
        }
    }
    levels
}
