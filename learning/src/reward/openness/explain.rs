//! Which evidence gave which p.
//!
//! Invariant: every number in the sentence stands in a field beside it.

use serde::Serialize;

use super::decide::{Closedness, Origin};
use super::evidence::{Basis, Figures};

/// Why a question's p is what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The question's id.
    pub question: String,
    /// P(closed-ended), within the configured bounds.
    pub p: f64,
    /// What decided.
    pub origin: Origin,
    /// Version of p.
    pub version: u64,
    /// What the question declares of itself.
    pub declared: Option<f64>,
    /// Figures of its ratings.
    pub evidence: Figures,
    /// p by the ratings alone, with an even prior; `None` where too few answers were rated.
    pub p_by_ratings: Option<f64>,
    /// The gate's opinion of the prompt alone; `None` while it has learned too little.
    pub gate: Option<f64>,
    /// All of it in one sentence.
    pub sentence: String,
}

pub(super) fn sentence(
    decided: Closedness,
    figures: &Figures,
    by_ratings: Option<f64>,
    gate: Option<f64>,
    declared: Option<f64>,
) -> String {
    let p = decided.p;
    let gate = gate.map_or_else(|| "the gate has no opinion yet".to_owned(), |gate| format!("the gate says {gate:.2}"));
    match decided.origin {
        Origin::Declared => {
            format!("The question declares itself {:.2}, so p = {p:.2}.", declared.unwrap_or(decided.p))
        }
        Origin::Evidence => {
            let basis = match figures.basis {
                Some(Basis::Comparisons) => {
                    format!("{} answers in {:.1} comparisons each", figures.linked, figures.comparisons_per_answer)
                }
                _ => format!("{} answers with {:.1} ratings each", figures.graded, figures.ratings_per_answer),
            };
            format!(
                "{basis} by {} people speak for {:.2} (log Bayes factor {:+.2} for two levels) and {gate}, so p = {p:.2}.",
                figures.raters,
                by_ratings.unwrap_or(0.5),
                figures.log_bayes_factor.unwrap_or(0.0),
            )
        }
        Origin::Gate => format!("Too few ratings to decide; {gate} of the prompt alone, and p = {p:.2} with them."),
        Origin::Default => format!("Too few ratings to decide and {gate}: the default, p = {p:.2}."),
    }
}
