//! All figures of an evaluation, and how they are told.
//!
//! Invariant: every figure has its error beside it; what was not measured is absent, never 0.

use std::fmt::Write;

use serde::Serialize;

use super::Estimate;
use super::answers::{Answers, finished};
use super::divergence::Divergence;
use super::diversity::{distinct, repeated_trigrams, self_bleu, words};
use super::length_control::LengthControlled;
use super::perplexity::Perplexity;
use super::reward_accuracy::RewardAccuracy;
use super::win_rate::{Duel, WinRate};

/// Texts at most that self-BLEU compares: its cost grows with their square.
const COMPARED: usize = 200;

/// Figures of one model's answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerFigures {
    /// Whose.
    pub name: String,
    /// The judge's reward, mean over questions.
    pub reward: Estimate,
    /// Words of an answer.
    pub words: Estimate,
    /// Share of answers that ended by themselves.
    pub finished: Estimate,
    /// Distinct-1, -2 and -3.
    pub distinct: [Estimate; 3],
    /// Self-BLEU of the first answers to at most 200 questions.
    pub self_bleu: Estimate,
    /// Share of repeated trigrams.
    pub repetition: Estimate,
    /// Of what people wrote to held-out questions.
    pub perplexity: Option<Perplexity>,
}

impl AnswerFigures {
    /// Of answers with the judge's `[questions][samples]` rewards.
    pub fn of(name: &str, answers: &[Answers], rewards: &[Vec<f64>], perplexity: Option<Perplexity>) -> Self {
        let texts: Vec<Vec<String>> =
            answers.iter().flat_map(|asked| &asked.outputs).map(|output| words(&output.text)).collect();
        let firsts: Vec<Vec<String>> =
            answers.iter().filter_map(|asked| asked.outputs.first()).take(COMPARED).map(|o| words(&o.text)).collect();
        // Questions are the units: answers to one of them resemble each other.
        let by_question = |of: &dyn Fn(&Answers) -> Vec<f64>| {
            Estimate::of(&answers.iter().map(|asked| mean(&of(asked))).collect::<Vec<_>>())
        };
        let of_text = |of: fn(&[String]) -> f64| {
            by_question(&|asked: &Answers| asked.outputs.iter().map(|output| of(&words(&output.text))).collect())
        };
        Self {
            name: name.to_owned(),
            reward: Estimate::of(&rewards.iter().map(|rewards| mean(rewards)).collect::<Vec<_>>()),
            words: of_text(|text| text.len() as f64),
            finished: by_question(&|asked| asked.outputs.iter().map(|o| f64::from(u8::from(finished(o)))).collect()),
            distinct: [1, 2, 3].map(|n| distinct(&texts, n)),
            self_bleu: self_bleu(&firsts),
            repetition: of_text(repeated_trigrams),
            perplexity,
        }
    }
}

/// Model against another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Figures of the other one's answers.
    pub other: AnswerFigures,
    /// Reward of the model's answers less that of the other's, question by question.
    pub gain: Estimate,
    /// How often the model's answer is preferred.
    pub win_rate: WinRate,
    /// The same at equal length.
    pub length_controlled: LengthControlled,
    /// From the other one, on the model's own answers.
    pub divergence: Divergence,
    /// One a question, for pictures.
    #[serde(skip)]
    pub duels: Vec<Duel>,
}

/// Duels of the answers of a model and of another one to the same questions, each with the judge's rewards.
pub fn duels(model: &[Answers], rewards: &[Vec<f64>], other: &[Answers], of_other: &[Vec<f64>]) -> Vec<Duel> {
    let length = |asked: &Answers| {
        mean(&asked.outputs.iter().map(|output| words(&output.text).len() as f64).collect::<Vec<_>>())
    };
    let duel = |place: usize| Duel {
        model: mean(&rewards[place]),
        other: mean(&of_other[place]),
        longer: length(&model[place]) - length(&other[place]),
    };
    (0..model.len()).map(duel).collect()
}

/// How good a reward model orders held-out answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RewardFigures {
    /// Which one.
    pub name: String,
    /// On comparisons by votes.
    #[serde(flatten)]
    pub accuracy: RewardAccuracy,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Who judged.
    pub judge: String,
    /// Questions asked.
    pub questions: usize,
    /// Answers to each.
    pub samples: usize,
    /// Temperature of the answers, at which the divergence is taken too.
    pub temperature: f64,
    /// Held-out questions that training knows under another name, left out.
    pub duplicates: usize,
    /// The model's answers.
    pub model: AnswerFigures,
    /// Beside another model.
    pub comparison: Option<Comparison>,
    /// Of a reward model.
    pub reward_model: Option<RewardFigures>,
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn pm(estimate: Estimate, digits: usize) -> String {
    format!("{:.digits$} ± {:.digits$}", estimate.mean, estimate.standard_error)
}

fn share(share: f64, error: f64, [low, high]: [f64; 2]) -> String {
    format!("{:.1} ± {:.1} % ({:.1} to {:.1} %)", 100.0 * share, 100.0 * error, 100.0 * low, 100.0 * high)
}

impl Report {
    /// For people to read; `picture` is the name of the picture beside it, if there is one.
    pub fn markdown(&self, picture: Option<&str>) -> String {
        let mut text = format!(
            "# Evaluation of {}\n\n{} held-out questions, {} answers to each at temperature {}; judged by {}. Errors are \
             standard errors over questions, intervals 95 % (bootstrap over questions). {} questions that training knows \
             under another name were left out.\n",
            self.model.name, self.questions, self.samples, self.temperature, self.judge, self.duplicates
        );
        if let Some(picture) = picture {
            let _ = write!(text, "\n![figures]({picture})\n");
        }
        let other = self.comparison.as_ref().map(|comparison| &comparison.other);
        text += "\n## Answers\n\n";
        let head = other.map_or_else(String::new, |other| format!(" {} |", other.name));
        let rule = if other.is_some() { "---|" } else { "" };
        let _ = writeln!(text, "| | {} |{head}\n|---|---|{rule}", self.model.name);
        let mut line = |name: &str, figure: &dyn Fn(&AnswerFigures) -> String| {
            let second = other.map_or_else(String::new, |other| format!(" {} |", figure(other)));
            let _ = writeln!(text, "| {name} | {} |{second}", figure(&self.model));
        };
        line("reward", &|of| pm(of.reward, 3));
        line("words", &|of| pm(of.words, 1));
        line("ended by themselves", &|of| pm(of.finished, 2));
        line("distinct-1", &|of| pm(of.distinct[0], 3));
        line("distinct-2", &|of| pm(of.distinct[1], 3));
        line("distinct-3", &|of| pm(of.distinct[2], 3));
        line("self-BLEU (less is more diverse)", &|of| pm(of.self_bleu, 3));
        line("repeated trigrams", &|of| pm(of.repetition, 3));
        line("perplexity of people's answers", &|of| {
            of.perplexity.map_or("-".to_owned(), |p| {
                format!(
                    "{:.2} ± {:.2} ({:.2} to {:.2}; {} tokens)",
                    p.perplexity, p.error, p.interval[0], p.interval[1], p.tokens
                )
            })
        });
        if let Some(Comparison { other, gain, win_rate, length_controlled, divergence, .. }) = &self.comparison {
            let WinRate { wins, ties, losses, .. } = win_rate;
            let _ = write!(
                text,
                "\n## Against {}\n\n| | |\n|---|---|\n| reward gained, question by question | {} |\n| win-rate | {}; {wins} won, \
                 {ties} tied, {losses} lost |\n| win-rate at equal length | {} |\n| effect of length (0: none) | {:+.2} |\n\
                 | KL, nats an answer (k1) | {} |\n| KL, nats an answer (k3) | {} |\n| KL, nats a token (k1) | {:.4} |\n",
                other.name,
                pm(*gain, 3),
                share(win_rate.share, win_rate.error, win_rate.interval),
                share(length_controlled.share, length_controlled.error, length_controlled.interval),
                length_controlled.length_effect,
                pm(divergence.k1, 2),
                pm(divergence.k3, 2),
                divergence.k1_per_token,
            );
        }
        if let Some(RewardFigures { name, accuracy }) = &self.reward_model {
            let RewardAccuracy { model, longer, older, best_baseline, over_longer, over_older } = accuracy;
            let of = |accuracy: &crate::preferences::accuracy::Accuracy| {
                share(accuracy.share, accuracy.error, accuracy.interval)
            };
            let _ = write!(
                text,
                "\n## How {name} orders people's answers\n\n{} pairs of {} held-out questions, by their votes.\n\n| right | |\n|---|---|\n| the \
                 model | {} |\n| the longer answer | {} |\n| the older answer | {} |\n| the model over length | {} |\n| the model \
                 over age | {} |\n\nThe best of length and age, either way round, gets {:.1} %.\n",
                model.pairs,
                model.questions,
                of(model),
                of(longer),
                of(older),
                share(over_longer.lead, over_longer.error, over_longer.interval),
                share(over_older.lead, over_older.error, over_older.interval),
                100.0 * best_baseline,
            );
        }
        text
    }
}
