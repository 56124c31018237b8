//! One annotator: reliability, temperature and shift as the mode of a posterior, followed by small natural steps.
//!
//! Invariant: every number is finite and within its bounds; without evidence the parameters stay at the prior's mean.

use serde_json::Value;

use crate::reward::logistic::sigmoid;

/// Parameters: logit η, log β, c.
pub(in crate::reward) const PARAMETERS: usize = 3;
/// Means of the priors logit η ~ N(2, 2²), log β ~ N(0, 0.5²), c ~ N(0, 1).
const PRIOR_MEAN: [f64; PARAMETERS] = [2.0, 0.0, 0.0];
/// Their precisions, 1 / σ².
const PRIOR_PRECISION: [f64; PARAMETERS] = [0.25, 4.0, 1.0];
/// Bounds of the parameters: far beyond what a few hundred events can prove.
const BOUNDS: [(f64, f64); PARAMETERS] = [(-6.0, 6.0), (-2.0, 2.0), (-4.0, 4.0)];
/// Largest change in one step.
const MOST_STEP: f64 = 0.5;
/// Share of a new event in the running mean of squared gradients, at least.
const CURVATURE_RATE: f64 = 0.02;

/// P(somebody who means what they say agrees with gold): the rest is honest disagreement on fine differences.
const CLEAR: f64 = 0.75;

/// What is known of one annotator. All sums fade where the names say recent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Person {
    /// Logit η, log β, c.
    pub(super) parameters: [f64; PARAMETERS],
    /// Running mean of an event's squared gradient, by parameter: the empirical Fisher information.
    curvature: [f64; PARAMETERS],
    /// Events in that mean.
    judged: f64,
    /// Events heard.
    pub(super) events: u64,
    /// Everybody's events when this one was last heard.
    pub(super) heard_at: u64,
    /// Recent choices, as of then.
    recent: f64,
    /// Recent agreement and disagreement with gold, in events.
    pub(super) gold: [f64; 2],
    /// Prequential: weight of two-way choices, of those foretold rightly, and summed log-loss.
    choices: f64,
    right: f64,
    log_loss: f64,
}

impl Default for Person {
    fn default() -> Self {
        Self {
            parameters: PRIOR_MEAN,
            curvature: [0.0; PARAMETERS],
            judged: 0.0,
            events: 0,
            heard_at: 0,
            recent: 0.0,
            gold: [0.0; 2],
            choices: 0.0,
            right: 0.0,
            log_loss: 0.0,
        }
    }
}

impl Person {
    /// Somebody who is heard for the first time at the time `clock`.
    pub(super) fn first_heard(clock: u64) -> Self {
        Self { heard_at: clock, ..Self::default() }
    }

    /// η at the mode.
    pub(super) fn eta(&self) -> f64 {
        sigmoid(self.parameters[0])
    }

    /// Recent choices at the time `clock`.
    pub(super) fn recent(&self, clock: u64, half_life: u32) -> f64 {
        self.recent * (-(clock.saturating_sub(self.heard_at) as f64) / f64::from(half_life)).exp2()
    }

    /// Counts an event of `weight` choices at the time `clock`.
    pub(super) fn hear(&mut self, clock: u64, half_life: u32, weight: f64) {
        self.recent = self.recent(clock, half_life) + weight;
        self.heard_at = clock;
        self.events += 1;
    }

    /// Counts how an event was foretold: weight of its two-way choices, of those foretold rightly, and log-loss.
    pub(super) fn foretold(&mut self, choices: f64, right: f64, log_loss: f64) {
        self.choices += choices;
        self.right += right;
        self.log_loss += log_loss;
    }

    /// Counts an event that gold confirms to this share.
    pub(super) fn checked(&mut self, agreement: f64, memory: u32) {
        let fade = 1.0 - 1.0 / f64::from(memory);
        self.gold[0] = self.gold[0] * fade + agreement;
        self.gold[1] = self.gold[1] * fade + (1.0 - agreement);
    }

    /// Prequential accuracy and log-loss.
    pub(super) fn record(&self) -> (Option<f64>, Option<f64>) {
        let accuracy = (self.choices > 0.0).then(|| self.right / self.choices);
        (accuracy, (self.events > 0).then(|| self.log_loss / self.events as f64))
    }

    /// One step from `gradient`, the sum over `events` events of −log P(said) by parameter, and `squares`, the sum of
    /// its squares by event.
    ///
    /// The objective is −Σ log P(said) − log prior, the prior (and the evidence of gold, agreement with probability
    /// η·0.75 + (1 − η)·0.25) counted once an annotator: a batch holds events / n of it, n the annotator's events, at most `memory`. The step
    /// divides by n · (mean squared gradient) + the prior's precision, the empirical Fisher information (Amari 1998),
    /// so that n events move a parameter as one pass of recursive estimation would.
    pub(super) fn step(
        &mut self,
        events: f64,
        gradient: [f64; PARAMETERS],
        squares: [f64; PARAMETERS],
        memory: u32,
        temperature_after: u64,
    ) {
        let numbers = gradient.iter().chain(&squares);
        if events <= 0.0 || !numbers.copied().all(f64::is_finite) {
            return;
        }
        let known = (self.events as f64).max(events).min(f64::from(memory));
        let share = (events / known).min(1.0);
        self.judged += events;
        let rate = (events / self.judged).max((CURVATURE_RATE * events).min(1.0));
        let eta = self.eta();
        let free = if self.events >= temperature_after { PARAMETERS } else { 1 };
        for which in 0..PARAMETERS {
            self.curvature[which] += rate * (squares[which] / events - self.curvature[which]);
            if which >= free {
                continue;
            }
            let mut pull = PRIOR_PRECISION[which] * (self.parameters[which] - PRIOR_MEAN[which]);
            let mut information = PRIOR_PRECISION[which] + known * self.curvature[which];
            if which == 0 {
                let [right, wrong] = self.gold;
                let agrees = eta * CLEAR + (1.0 - eta) * (1.0 - CLEAR);
                let slope = (2.0 * CLEAR - 1.0) * eta * (1.0 - eta);
                pull += slope * (wrong / (1.0 - agrees) - right / agrees);
                information += (right + wrong) * slope * slope / (agrees * (1.0 - agrees));
            }
            let step = (gradient[which] + share * pull) / information;
            let (low, high) = BOUNDS[which];
            let moved = self.parameters[which] - step.clamp(-MOST_STEP, MOST_STEP);
            self.parameters[which] = moved.clamp(low, high);
        }
    }

    /// P(η < 0.5) given gold alone, under Beta(1, 1).
    pub(super) fn surely_reversed(&self) -> f64 {
        below_half(1.0 + self.gold[0], 1.0 + self.gold[1])
    }

    /// Every number as its bits.
    pub(super) fn saved(&self) -> Value {
        let numbers = self.parameters.iter().chain(&self.curvature).chain(&self.gold).copied();
        let more = [self.judged, self.recent, self.choices, self.right, self.log_loss];
        let bits = numbers.chain(more).map(f64::to_bits).chain([self.events, self.heard_at]);
        Value::from(bits.collect::<Vec<u64>>())
    }

    /// What [`Person::saved`] wrote; `None` where it is something else.
    pub(super) fn restored(saved: &Value) -> Option<Self> {
        let bits: Vec<u64> = saved.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?;
        let [a, b, c, d, e, f, right, wrong, judged, recent, choices, foretold, log_loss, events, heard_at] =
            <[u64; 15]>::try_from(bits).ok()?;
        let of = f64::from_bits;
        let person = Self {
            parameters: [of(a), of(b), of(c)],
            curvature: [of(d), of(e), of(f)],
            gold: [of(right), of(wrong)],
            judged: of(judged),
            recent: of(recent),
            choices: of(choices),
            right: of(foretold),
            log_loss: of(log_loss),
            events,
            heard_at,
        };
        let within = person.parameters.iter().zip(BOUNDS).all(|(value, (low, high))| (low..=high).contains(value));
        within.then_some(person)
    }
}

/// P(X < 1/2) for X ~ Beta(a, b), a and b at least 1, by Simpson's rule on both halves of the density.
pub(super) fn below_half(a: f64, b: f64) -> f64 {
    const STEPS: usize = 400;
    let log = |x: f64| {
        let part = |power: f64, x: f64| if power == 0.0 { 0.0 } else { power * x.ln() };
        part(a - 1.0, x) + part(b - 1.0, 1.0 - x)
    };
    let mode = if a + b > 2.0 { (a - 1.0) / (a + b - 2.0) } else { 0.5 };
    let top = log(mode);
    let half = |from: f64| -> f64 {
        let weight = |i: usize| match i {
            0 | STEPS => 1.0,
            i if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        (0..=STEPS).map(|i| weight(i) * (log(from + 0.5 * i as f64 / STEPS as f64) - top).exp()).sum()
    };
    let (below, above) = (half(0.0), half(0.5));
    below / (below + above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beta_tail_by_hand() {
        assert!((below_half(1.0, 1.0) - 0.5).abs() < 1e-12);
        // Beta(1, 8): P(X < 1/2) = 1 - (1/2)^8; Beta(8, 1) is its mirror.
        assert!((below_half(1.0, 8.0) - (1.0 - 0.5f64.powi(8))).abs() < 1e-9);
        assert!((below_half(8.0, 1.0) - 0.5f64.powi(8)).abs() < 1e-9);
        assert!(below_half(1.0, 7.0) > 0.99 && below_half(1.0, 6.0) < 0.99, "six wrong of six are proof, five are not");
    }

    #[test]
    fn without_evidence_the_prior_stays_and_gold_alone_moves_the_reliability() {
        let mut person = Person::default();
        (0..50).for_each(|_| person.step(1.0, [0.0; 3], [0.0; 3], 200, 0));
        assert_eq!(person.parameters, PRIOR_MEAN);
        (0..20).for_each(|_| person.checked(0.0, 200));
        person.events = 20;
        (0..2000).for_each(|_| person.step(1.0, [0.0; 3], [0.0; 3], 200, 0));
        // The mode of N(2, 2²) times (0.75 − η/2)^n, n a bit below 20: n·(η(1 − η)/2) / (0.75 − η/2) = (2 − x) / 4.
        let (x, eta) = (person.parameters[0], person.eta());
        let pull = person.gold[1] * 0.5 * eta * (1.0 - eta) / (0.75 - 0.5 * eta);
        assert!((pull - (2.0 - x) / 4.0).abs() < 1e-3 && eta < 0.2, "{x}");
        assert!(person.surely_reversed() > 0.999);
    }

    #[test]
    fn the_prior_is_counted_once_an_annotator_however_the_events_are_split() {
        // Events that say, each: logit η has the gradient of a Bernoulli with 1 right of 4.
        let settle = |events: usize, batch: usize| {
            let mut person = Person { events: events as u64, ..Person::default() };
            for _ in 0..4000 / batch {
                let eta = person.eta();
                let own = batch as f64 * (0.75 * eta - 0.25 * (1.0 - eta));
                let square = batch as f64 * eta * (1.0 - eta);
                person.step(batch as f64, [own, 0.0, 0.0], [square, 0.0, 0.0], 200, 1000);
            }
            person.parameters[0]
        };
        assert!((settle(40, 1) - settle(40, 8)).abs() < 1e-3);
        // 40 events: 40·(η − 1/4) + (x − 2) / 4 = 0.
        let x = settle(40, 8);
        assert!((40.0 * (sigmoid(x) - 0.25) + (x - 2.0) / 4.0).abs() < 1e-2, "{x}");
    }

    #[test]
    fn temperature_and_shift_wait_for_enough_events_and_bad_numbers_change_nothing() {
        let mut person = Person { events: 49, ..Person::default() };
        person.step(1.0, [0.1; 3], [0.01; 3], 200, 50);
        assert_eq!(person.parameters[1..], [0.0, 0.0]);
        person.events = 50;
        person.step(1.0, [0.1; 3], [0.01; 3], 200, 50);
        assert!(person.parameters.iter().zip(PRIOR_MEAN).all(|(value, mean)| *value < mean));
        let before = person.clone();
        person.step(1.0, [f64::NAN; 3], [0.0; 3], 200, 50);
        assert_eq!(person, before);
        assert_eq!(Person::restored(&person.saved()), Some(person));
    }

    #[test]
    fn gold_that_confirms_raises_the_reliability_and_fades() {
        let mut person = Person { events: 20, ..Person::default() };
        (0..20).for_each(|_| person.checked(1.0, 200));
        (0..2000).for_each(|_| person.step(1.0, [0.0; 3], [0.0; 3], 200, 0));
        // The mode of N(2, 2²) times (0.25 + η/2)^n.
        let (x, eta) = (person.parameters[0], person.eta());
        let push = person.gold[0] * 0.5 * eta * (1.0 - eta) / (0.25 + 0.5 * eta);
        assert!((push - (x - 2.0) / 4.0).abs() < 1e-3 && x > 2.3, "{x}");
        // Sums of 0.9^k tend to 10, those of events long ago to 0.
        (0..200).for_each(|_| person.checked(0.0, 10));
        assert!(person.gold[0] < 1e-6 && (person.gold[1] - 10.0).abs() < 1e-6, "{:?}", person.gold);
        (0..200).for_each(|_| person.checked(1.0, 10));
        assert!(person.gold[1] < 1e-6 && (person.gold[0] - 10.0).abs() < 1e-6, "{:?}", person.gold);
    }

    #[test]
    fn recent_choices_fade_and_the_record_is_by_choices() {
        let mut person = Person::first_heard(0);
        person.hear(1, 1, 4.0);
        person.foretold(4.0, 3.0, 0.5);
        person.hear(3, 1, 1.0);
        person.foretold(1.0, 0.0, 1.5);
        assert_eq!((person.recent(3, 1), person.recent(4, 1)), (2.0, 1.0), "4/4 + 1, and half of it later");
        assert_eq!(person.record(), (Some(0.6), Some(1.0)));
    }

    #[test]
    fn one_step_is_bounded_and_so_is_where_many_lead() {
        for (sign, end) in [(1.0, -6.0), (-1.0, 6.0)] {
            let mut person = Person { events: 100, ..Person::default() };
            person.step(1.0, [sign * 1e9, 0.0, 0.0], [0.0; 3], 200, 0);
            assert_eq!(person.parameters[0], 2.0 - sign * 0.5);
            (0..50).for_each(|_| person.step(1.0, [sign * 1e9, 0.0, 0.0], [0.0; 3], 200, 0));
            assert_eq!(person.parameters[0], end);
        }
        let mut person = Person::default();
        person.step(8.0, [0.0; 3], [1.6, 0.8, 0.4], 200, 0);
        let wanted = [0.2, 0.1, 0.05];
        assert!(person.curvature.iter().zip(wanted).all(|(own, one)| (own - one).abs() < 1e-15), "by event");
    }
}
