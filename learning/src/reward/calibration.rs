//! How well feedback is foretold before it is learned from: accuracy, log-loss, calibration.
//!
//! Invariant: only predictions made before learning from the event may enter; the caller keeps that order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reliability::Heard;

/// One question with two answers inside an event ("is a better than b?", "above the middle?").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Probability that was given to what was said.
    pub probability: f64,
    /// Share of the event: those of one event add up to at most 1.
    pub weight: f64,
}

/// What was expected of one event before learning from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prequential {
    /// The feedback's kind, as in JSON and metrics.
    pub kind: &'static str,
    /// Probability of what was said; for a ranking the geometric mean over its pairs.
    pub probability: f64,
    /// Whether what was said was held the likelier; `None` where there was nothing to be right about (three stars of
    /// five). For a ranking: whether most of its pairs were.
    pub correct: Option<bool>,
    /// The two-way questions in it: a pair's one, a ranking's pairs, stars above or below the middle.
    pub outcomes: Vec<Outcome>,
    /// Who said it, and what of it gold can confirm.
    pub(in crate::reward) heard: Heard,
}

impl Prequential {
    /// Who said it.
    pub fn annotator(&self) -> &str {
        &self.heard.annotator
    }

    /// Weight of the two-way choices in it, and of those that were foretold rightly (a tie counts half).
    pub fn choices(&self) -> (f64, f64) {
        let right = |outcome: &Outcome| match outcome.probability {
            p if p > 0.5 => outcome.weight,
            0.5 => outcome.weight / 2.0,
            _ => 0.0,
        };
        let weight = self.outcomes.iter().map(|outcome| outcome.weight).sum();
        (weight, self.outcomes.iter().map(right).sum())
    }
}

/// Bins of the calibration error over confidence 0.5 to 1.
const BINS: usize = 10;
/// Probabilities are kept away from 0 by this before their logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-12;

/// Numbers as bits: decimal text could lose the last one.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[f64; 3], serializer: S) -> Result<S::Ok, S::Error> {
        values.map(f64::to_bits).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 3], D::Error> {
        Ok(<[u64; 3]>::deserialize(deserializer)?.map(f64::from_bits))
    }
}

/// Weight, and two weighted sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Sums(#[serde(with = "bits")] [f64; 3]);

impl Sums {
    fn add(&mut self, weight: f64, first: f64, second: f64) {
        self.0[0] += weight;
        self.0[1] += weight * first;
        self.0[2] += weight * second;
    }

    fn fade(&mut self, factor: f64) {
        self.0.iter_mut().for_each(|sum| *sum *= factor);
    }

    fn mean(&self, which: usize) -> Option<f64> {
        (self.0[0] > 0.0).then(|| self.0[which] / self.0[0])
    }
}

/// Running sums over events and their outcomes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    /// Events: weight, log-loss, unused.
    events: Sums,
    /// Outcomes by confidence: weight, confidence, correct.
    bins: [Sums; BINS],
}

impl Tally {
    fn add(&mut self, event: &Prequential) {
        self.events.add(1.0, -event.probability.max(LEAST_PROBABILITY).ln(), 0.0);
        for outcome in &event.outcomes {
            let confidence = outcome.probability.max(1.0 - outcome.probability);
            let correct = match outcome.probability {
                p if p > 0.5 => 1.0,
                0.5 => 0.5,
                _ => 0.0,
            };
            let bin = (((confidence - 0.5) * 2.0 * BINS as f64) as usize).min(BINS - 1);
            self.bins[bin].add(outcome.weight, confidence, correct);
        }
    }

    fn fade(&mut self, factor: f64) {
        self.events.fade(factor);
        self.bins.iter_mut().for_each(|bin| bin.fade(factor));
    }

    fn merge(&mut self, other: &Tally) {
        let pairs = self.bins.iter_mut().zip(&other.bins).chain([(&mut self.events, &other.events)]);
        pairs.for_each(|(sums, more)| sums.0.iter_mut().zip(more.0).for_each(|(sum, value)| *sum += value));
    }

    /// Expected calibration error, Guo et al. 2017 (arXiv 1706.04599), eq. 5: Σ |accuracy − confidence| · share.
    fn summary(&self) -> Summary {
        let weight: f64 = self.bins.iter().map(|bin| bin.0[0]).sum();
        let correct: f64 = self.bins.iter().map(|bin| bin.0[2]).sum();
        let gap: f64 = self.bins.iter().map(|bin| (bin.0[2] - bin.0[1]).abs()).sum();
        let share = |sum: f64| (weight > 0.0).then(|| sum / weight);
        Summary {
            events: self.events.0[0],
            accuracy: share(correct),
            log_loss: self.events.mean(1),
            calibration_error: share(gap),
        }
    }
}

/// The figures of one tally; `None` where nothing was counted yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Events counted (faded ones count less).
    pub events: f64,
    /// Share of two-way questions foretold rightly; a tie counts half.
    pub accuracy: Option<f64>,
    /// Mean −log probability of what was said, in nats.
    pub log_loss: Option<f64>,
    /// Expected calibration error over 10 bins of confidence.
    pub calibration_error: Option<f64>,
}

/// Totals and recent means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Both {
    total: Tally,
    recent: Tally,
}

/// Prequential statistics: over everything and over the recent past, overall and for each kind of feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrequentialStats {
    /// Events after which the weight of an event in the recent figures has halved.
    half_life: u32,
    kinds: BTreeMap<String, Both>,
}

impl PrequentialStats {
    /// Empty; recent figures forget with `half_life` events (at least 1) of their kind.
    pub fn new(half_life: u32) -> Self {
        Self { half_life: half_life.max(1), kinds: BTreeMap::new() }
    }

    /// Counts one event that was foretold and is about to be learned from.
    pub fn add(&mut self, event: &Prequential) {
        let both = self.kinds.entry(event.kind.to_owned()).or_default();
        both.total.add(event);
        both.recent.fade((-1.0 / f64::from(self.half_life)).exp2());
        both.recent.add(event);
    }

    /// Over all kinds since the beginning.
    pub fn total(&self) -> Summary {
        self.merged(|_| true, |both| &both.total)
    }

    /// Over all kinds in the recent past.
    pub fn recent(&self) -> Summary {
        self.merged(|_| true, |both| &both.recent)
    }

    /// Pairs and rankings only, since the beginning: here guessing is right half the time, whatever the population.
    pub fn comparisons(&self) -> Summary {
        self.merged(|kind| matches!(kind, "pair" | "ranking"), |both| &both.total)
    }

    /// Each kind seen: its total and its recent figures.
    pub fn by_kind(&self) -> impl Iterator<Item = (&str, Summary, Summary)> {
        self.kinds.iter().map(|(kind, both)| (kind.as_str(), both.total.summary(), both.recent.summary()))
    }

    fn merged(&self, wanted: impl Fn(&str) -> bool, which: impl Fn(&Both) -> &Tally) -> Summary {
        let mut sum = Tally::default();
        self.kinds.iter().filter(|(kind, _)| wanted(kind)).for_each(|(_, both)| sum.merge(which(both)));
        sum.summary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(probability: f64) -> Prequential {
        let outcomes = vec![Outcome { probability, weight: 1.0 }];
        Prequential { kind: "pair", probability, correct: Some(probability > 0.5), outcomes, ..Default::default() }
    }

    #[test]
    fn four_pairs_by_hand() {
        let mut stats = PrequentialStats::new(100);
        [0.9, 0.9, 0.1, 0.6].iter().for_each(|&p| stats.add(&pair(p)));
        let total = stats.total();
        assert_eq!((total.events, total.accuracy), (4.0, Some(0.75)));
        // Bin of 0.9: three with confidence 0.9, two right: |2 - 2.7|; bin of 0.6: |1 - 0.6|; over 4.
        assert!((total.calibration_error.unwrap() - (0.7 + 0.4) / 4.0).abs() < 1e-12);
        let log_loss = -(2.0 * 0.9f64.ln() + 0.1f64.ln() + 0.6f64.ln()) / 4.0;
        assert!((total.log_loss.unwrap() - log_loss).abs() < 1e-12);
        assert_eq!(PrequentialStats::new(5).total().accuracy, None, "nothing counted is not zero");
    }

    #[test]
    fn recent_figures_forget_and_kinds_stay_apart() {
        let mut stats = PrequentialStats::new(10);
        (0..200).for_each(|_| stats.add(&pair(0.2)));
        (0..50).for_each(|_| stats.add(&pair(0.8)));
        stats.add(&Prequential { kind: "stars", probability: 0.3, correct: None, ..Default::default() });
        assert_eq!(stats.comparisons().accuracy, Some(0.2));
        // After 5 half-lives the old wrong ones weigh 1/32.
        assert!((stats.recent().accuracy.unwrap() - 31.0 / 32.0).abs() < 1e-3, "{:?}", stats.recent());
        let kinds: Vec<_> = stats.by_kind().map(|(kind, total, _)| (kind.to_owned(), total.events)).collect();
        assert_eq!(kinds, [("pair".to_owned(), 250.0), ("stars".to_owned(), 1.0)]);
        assert_eq!(stats.by_kind().last().unwrap().1.accuracy, None);
    }

    #[test]
    fn the_saved_form_loses_no_bit() {
        let mut stats = PrequentialStats::new(7);
        (1..40).for_each(|i| stats.add(&pair(1.0 / f64::from(i))));
        let text = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<PrequentialStats>(&text).unwrap(), stats);
    }
}
