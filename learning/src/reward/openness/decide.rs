//! Who decides how closed-ended a question is.
//!
//! Invariant: declared > evidence > gate > default, and the result always lies within the configured bounds.

use serde::{Deserialize, Serialize};

use super::config::OpennessConfig;
use super::evidence::Figures;
use super::spike_slab::posterior_mean;
use crate::stages::Question;

/// What decided, the first that can: in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The question's source, or a tag of it, says so.
    Declared,
    /// Its ratings.
    Evidence,
    /// What other questions taught the gate.
    Gate,
    /// Nothing is known.
    Default,
}

/// P(closed-ended) of a question, as a training sample is frozen with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Closedness {
    /// Within the configured bounds.
    pub p: f64,
    /// What decided.
    pub origin: Origin,
    /// Rises when p moves by more than 0.01; 0 while nothing was heard of the question. One more than on record where
    /// the gate alone moved p since the question was last heard of.
    pub version: u64,
}

/// A tag that declares a question closed-ended, with p = 0.9.
pub const CLOSED_TAG: &str = "closed-ended";
/// A tag that declares a question open-ended, with p = 0.1.
pub const OPEN_TAG: &str = "open-ended";

/// What the question declares of itself: its source's number before its tags.
pub fn declared(question: &Question) -> Option<f64> {
    let tagged = |tag: &str| question.tags.iter().any(|own| own.eq_ignore_ascii_case(tag));
    match question.closedness {
        Some(p) if p.is_finite() => Some(p.clamp(0.0, 1.0)),
        _ => match (tagged(CLOSED_TAG), tagged(OPEN_TAG)) {
            (true, false) => Some(0.9),
            (false, true) => Some(0.1),
            _ => None,
        },
    }
}

/// The decision by precedence. `prior` is the gate's opinion of the prompt alone, `opinion` that with whatever evidence
/// there is; both `None` while the gate has learned too little or the prompt is unknown to it.
pub(super) fn decide(
    declared: Option<f64>,
    figures: Option<&Figures>,
    prior: Option<f64>,
    opinion: Option<f64>,
    config: &OpennessConfig,
) -> (f64, Origin) {
    let enough = figures.filter(|figures| figures.enough).and_then(|figures| figures.likelihood.as_ref());
    let (p, origin) = match (declared, enough, opinion) {
        (Some(p), _, _) => (p, Origin::Declared),
        (None, Some(likelihood), _) => {
            let prior = prior.unwrap_or(config.default).clamp(config.clip.0, config.clip.1);
            (posterior_mean(likelihood, prior, config.strength), Origin::Evidence)
        }
        (None, None, Some(p)) => (p, Origin::Gate),
        (None, None, None) => (config.default, Origin::Default),
    };
    (p.clamp(config.clip.0, config.clip.1), origin)
}
