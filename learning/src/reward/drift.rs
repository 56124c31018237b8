//! Whether people's taste has changed: an alarm on how badly events are foretold before they are learned from.
//!
//! Page's test (Page 1954, Biometrika 41:100, "Continuous inspection schemes"; also known as Page-Hinkley or one-sided
//! CUSUM): `m_t = max(0, m_{t−1} + z_t − allowance)`, alarm when `m_t > threshold`. `z_t` is the event's log-loss less the
//! mean of its kind's recent past, over the standard deviation of that past, so that a change in the mixture of kinds is
//! no drift, and slow learning or slow forgetting moves the reference along.
//!
//! Invariant: pure and bounded (one reference a kind); numbers are saved as bits, so a restored alarm goes on exactly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::LearningError;

/// When a change of taste is called one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftConfig {
    /// Events of a kind after which an event counts half in that kind's reference.
    pub half_life: f64,
    /// Events of a kind before its log-loss is compared with its reference.
    pub least_events: u64,
    /// Rise of the log-loss that is borne for ever, in standard deviations.
    pub allowance: f64,
    /// Sum of the rises beyond that at which the alarm is raised.
    pub threshold: f64,
    /// Events that the alarm stays on for.
    pub hold: u64,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self { half_life: 200.0, least_events: 30, allowance: 0.25, threshold: 20.0, hold: 100 }
    }
}

impl DriftConfig {
    /// Whether the values can work together; names the first that cannot.
    pub fn validate(&self) -> Result<(), LearningError> {
        let positive = [("half_life", self.half_life), ("allowance", self.allowance), ("threshold", self.threshold)];
        match positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((field, value)) => {
                Err(LearningError::Config { field, value: value.to_string(), remedy: "give a finite number above 0" })
            }
            None => Ok(()),
        }
    }
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DriftReport {
    /// Whether the alarm is on.
    pub alarm: bool,
    /// Sum of the rises beyond the allowance, in standard deviations; the alarm is raised above the threshold.
    pub statistic: f64,
    /// Events compared.
    pub events: u64,
    /// Times that the alarm was raised.
    pub raised: u64,
    /// The event, counted from 1, at which it was raised last.
    pub last: Option<u64>,
}

/// A kind's recent log-loss: exponentially weighted mean and variance.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Reference {
    events: u64,
    weight: f64,
    mean: f64,
    /// Weighted sum of squared deviations.
    squares: f64,
}

impl Reference {
    fn deviation(&self) -> f64 {
        (self.squares / self.weight.max(f64::MIN_POSITIVE)).sqrt()
    }

    /// West 1979 (CACM 22:532) with all weights faded before each event.
    fn add(&mut self, value: f64, fade: f64) {
        self.events += 1;
        self.weight = self.weight * fade + 1.0;
        self.squares *= fade;
        let gap = value - self.mean;
        self.mean += gap / self.weight;
        self.squares += gap * (value - self.mean);
    }
}

/// The alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    config: DriftConfig,
    kinds: BTreeMap<String, Reference>,
    sum: f64,
    events: u64,
    raised: u64,
    last: Option<u64>,
}

/// Least standard deviation by which a rise is divided, in nats: a model that is always sure would call every surprise a
/// change.
const LEAST_DEVIATION: f64 = 0.05;
/// One event counts for at most so many standard deviations: a single surprise is no change.
const MOST_EACH: f64 = 4.0;

#[derive(Serialize, Deserialize)]
struct Saved {
    /// Events, then weight, mean and squares as bits.
    kinds: BTreeMap<String, [u64; 4]>,
    sum_bits: u64,
    events: u64,
    raised: u64,
    last: Option<u64>,
}

impl Drift {
    /// An alarm that has heard nothing.
    pub fn new(config: DriftConfig) -> Self {
        Self { config, kinds: BTreeMap::new(), sum: 0.0, events: 0, raised: 0, last: None }
    }

    /// Counts an event of `kind` that was foretold with a loss of `log_loss` nats. Says whether this raised the alarm;
    /// the sum then begins at 0 again and the references anew, since the past is no reference any more.
    pub fn add(&mut self, kind: &str, log_loss: f64) -> bool {
        if !log_loss.is_finite() {
            return false;
        }
        let fade = (-1.0 / self.config.half_life).exp2();
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.to_owned(), Reference::default());
        }
        let Some(reference) = self.kinds.get_mut(kind) else { return false };
        let before = *reference;
        reference.add(log_loss, fade);
        if before.events < self.config.least_events {
            return false;
        }
        self.events += 1;
        let rise = (log_loss - before.mean) / before.deviation().max(LEAST_DEVIATION);
        self.sum = (self.sum + rise.min(MOST_EACH) - self.config.allowance).max(0.0);
        let raised = self.sum > self.config.threshold;
        if raised {
            self.raised += 1;
            self.last = Some(self.events);
            self.sum = 0.0;
            self.kinds.clear();
        }
        raised
    }

    /// Whether the alarm is on: raised within the last `hold` events.
    pub fn is_on(&self) -> bool {
        self.last.is_some_and(|last| self.events - last < self.config.hold)
    }

    /// How it stands.
    pub fn report(&self) -> DriftReport {
        let Self { sum, events, raised, last, .. } = *self;
        DriftReport { alarm: self.is_on(), statistic: sum, events, raised, last }
    }

    /// Everything that a restart needs, numbers as bits.
    pub fn state(&self) -> Value {
        let bits = |one: &Reference| [one.events, one.weight.to_bits(), one.mean.to_bits(), one.squares.to_bits()];
        let kinds = self.kinds.iter().map(|(kind, one)| (kind.clone(), bits(one))).collect();
        let saved =
            Saved { kinds, sum_bits: self.sum.to_bits(), events: self.events, raised: self.raised, last: self.last };
        serde_json::to_value(saved).expect("whole numbers under string keys are valid JSON")
    }

    /// Puts back what [`Drift::state`] gave; an error changes nothing.
    pub fn restore(&mut self, state: &Value) -> Result<(), LearningError> {
        let saved: Saved = Deserialize::deserialize(state)
            .map_err(|error| LearningError::state("drift", format!("does not read ({error})")))?;
        let finite = |bits: u64| Some(f64::from_bits(bits)).filter(|value| value.is_finite());
        let of = |[events, weight, mean, squares]: [u64; 4]| {
            Some(Reference { events, weight: finite(weight)?, mean: finite(mean)?, squares: finite(squares)? })
        };
        let kinds: Option<BTreeMap<String, Reference>> =
            saved.kinds.into_iter().map(|(kind, bits)| Some((kind, of(bits)?))).collect();
        let broken = || LearningError::state("drift", "holds numbers that are not finite");
        let (kinds, sum) = (kinds.ok_or_else(broken)?, finite(saved.sum_bits).ok_or_else(broken)?);
        (self.kinds, self.sum, self.events) = (kinds, sum, saved.events);
        (self.raised, self.last) = (saved.raised, saved.last.filter(|last| *last <= saved.events));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Stream};

    /// Log-losses of choices that come as foretold with probability `right`, by a model that gave them 0.75, and of stars,
    /// whose loss is of another size.
    fn event(stream: &mut Stream, right: f64) -> (&'static str, f64) {
        if stream.uniform() < 0.3 {
            return ("stars", 1.2 + 0.8 * stream.uniform() + if right < 0.5 { 0.8 } else { 0.0 });
        }
        ("pair", if stream.uniform() < right { -(0.75f64.ln()) } else { -(0.25f64.ln()) })
    }

    fn alarms(seed: u64, right: f64, events: usize, drift: &mut Drift) -> Option<usize> {
        let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
        let mut first = None;
        for at in 0..events {
            let (kind, loss) = event(&mut stream, right);
            if drift.add(kind, loss) {
                first.get_or_insert(at + 1);
            }
        }
        first
    }

    #[test]
    fn a_change_of_taste_raises_the_alarm_soon_and_no_change_does_not() {
        let mut delays = Vec::new();
        for seed in 0..20 {
            let mut drift = Drift::new(DriftConfig::default());
            // As long as 3000 ratings: in 20 such streams (60,000 events) no false alarm was seen.
            assert_eq!(alarms(seed, 0.75, 3000, &mut drift), None, "false alarm in stream {seed}");
            assert!(!drift.is_on());
            let delay = alarms(100 + seed, 0.25, 200, &mut drift).expect("the taste has turned round");
            delays.push(delay);
            assert!(drift.report().raised >= 1);
        }
        delays.sort_unstable();
        // Seen: 7 to 20.
        assert!(delays[19] <= 40, "{delays:?}");
    }

    #[test]
    fn more_of_a_kind_that_is_harder_to_foretell_is_no_change() {
        let mut drift = Drift::new(DriftConfig::default());
        let mut stream = Stream::new(5, Purpose::Evaluation, 0);
        let mut add = |kind, mean: f64| drift.add(kind, mean + stream.uniform());
        assert!((0..500).all(|at| !if at % 10 == 0 { add("stars", 1.2) } else { add("pair", 0.3) }));
        assert!((0..500).all(|_| !add("stars", 1.2)));
    }

    #[test]
    fn a_restored_alarm_goes_on_exactly() {
        let mut saved = Drift::new(DriftConfig::default());
        alarms(1, 0.75, 300, &mut saved);
        let text = saved.state().to_string();
        let mut restored = Drift::new(DriftConfig::default());
        restored.restore(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(restored, saved);
        assert_eq!(alarms(2, 0.25, 60, &mut saved), alarms(2, 0.25, 60, &mut restored));
        assert_eq!(restored, saved);
        assert!(restored.restore(&Value::Null).is_err());
    }

    /// A reference of mean 1 and standard deviation 0.5, and no sum: events that are as likely to be above as below.
    fn settled(config: DriftConfig) -> Drift {
        let mut drift = Drift::new(config);
        (0..400).for_each(|at| assert!(!drift.add("pair", if at % 2 == 0 { 1.5 } else { 0.5 })));
        drift
    }

    #[test]
    fn the_alarm_is_raised_at_the_threshold_stays_on_for_a_while_and_survives_a_restart() {
        let config = DriftConfig { threshold: 5.0, hold: 50, ..Default::default() };
        let mut drift = settled(config.clone());
        assert_eq!(drift.report().events, 400 - config.least_events, "the first ones are compared with nothing");
        let before = drift.clone();
        assert!(!drift.add("pair", f64::NAN) && !drift.add("pair", f64::INFINITY));
        assert_eq!(drift, before, "what is no number is not counted");
        assert!(!drift.add("pair", 1e9), "one surprise is no change");
        let sum = before.report().statistic + MOST_EACH - config.allowance;
        assert!((drift.report().statistic - sum).abs() < 1e-12, "however great: {:?}", drift.report());
        let mut drift = before;
        let raised = (1..10).find(|_| drift.add("pair", 4.5)).unwrap();
        // About 3.75 each at first.
        assert!(raised == 2 && drift.is_on(), "{raised}");
        let mut restored = Drift::new(config);
        restored.restore(&drift.state()).unwrap();
        assert_eq!(restored, drift);
        for drift in [&mut drift, &mut restored] {
            // The reference begins anew: so many events are not compared.
            (0..30 + 49).for_each(|_| assert!(!drift.add("pair", 4.5) && drift.is_on()));
            drift.add("pair", 4.5);
            assert!(!drift.is_on());
        }
    }

    #[test]
    fn an_event_counts_half_in_the_reference_after_the_half_life() {
        let mut drift = Drift::new(DriftConfig { half_life: 50.0, threshold: 1e9, ..Default::default() });
        (0..2000).for_each(|_| assert!(!drift.add("pair", 0.0)));
        (0..50).for_each(|_| assert!(!drift.add("pair", 1.0)));
        // All that is older weighs 2^-40 of the whole.
        assert!((drift.kinds["pair"].mean - 0.5).abs() < 1e-9, "{:?}", drift.kinds);
    }
}
