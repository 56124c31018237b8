//! What is known of one annotator, for people to read.
//!
//! Invariant: plain numbers; nothing here is used for learning.

use serde::Serialize;

/// How an annotator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Heard too little to say.
    New,
    /// Mostly agrees with what the others say and the model has learned.
    Trusted,
    /// Says something, with much noise.
    Noisy,
    /// No better than chance, or worse without proof: scores learn nothing from them.
    Ignored,
    /// Gold proves that they tell the opposite: learned from the wrong way round.
    Inverted,
    /// Believed by configuration.
    Pinned,
}

/// One annotator's parameters and record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnnotatorReport {
    /// Their pseudonym.
    pub annotator: String,
    /// Events heard of them.
    pub events: u64,
    /// Probability that they mean what they say (the rest is its reversal), most probable a posteriori.
    pub eta: f64,
    /// The same as learning uses it: at least 0.5 unless gold proves otherwise.
    pub eta_in_use: f64,
    /// Slope β of their choices in the scores: 1 is ordinary, small is near chance, large is sharp.
    pub temperature: f64,
    /// Shift of their grades and thumbs in logits: above 0 is strict.
    pub shift: f64,
    /// Weight of their next event, after the cap; 1 is uncapped.
    pub weight: f64,
    /// Judgements that agree with gold (recent ones).
    pub gold_right: f64,
    /// Judgements that disagree with gold (recent ones).
    pub gold_wrong: f64,
    /// How they stand.
    pub standing: Standing,
    /// Share of their two-way choices that was foretold rightly before learning from them.
    pub accuracy: Option<f64>,
    /// Mean −log probability of what they said, before learning from it, in nats.
    pub log_loss: Option<f64>,
}
