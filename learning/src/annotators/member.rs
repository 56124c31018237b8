//! One simulated person, and how a population of them is drawn.
//!
//! Invariant: a member's taste at a time is a function of its seed and that time, so a restart changes nobody's mind.

use rand_distr::{Distribution, Gamma, StandardNormal};
use serde::Serialize;

use super::config::{KindWeights, PopulationConfig};
use crate::error::LearningError;
use crate::gold::{Taste, Types};
use crate::rng::{Purpose, Stream};

/// Whether a member can be trusted; the learner is never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Honesty {
    /// Means it and looks closely.
    Good,
    /// Means it and hardly looks.
    Noisy,
    /// Says the opposite of what it thinks.
    Hostile,
}

/// A simulated person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Annotator {
    /// Pseudonym, unique in the population.
    pub id: String,
    /// Place in the population.
    pub index: u64,
    /// Whether it can be trusted.
    pub honesty: Honesty,
    /// What all members share: it decides what is right and wrong.
    pub common_taste: Taste,
    /// Which questions have right and wrong answers.
    pub types: Types,
    /// Its own taste, before drift.
    pub taste: Taste,
    /// Choice temperature in units of gold reward.
    pub temperature: f64,
    /// Shift of all its grades, in standard deviations of the gold reward.
    pub bias: f64,
    /// Probability of answering at random.
    pub lapse: f64,
    /// How often it gives each kind of feedback.
    pub kinds: KindWeights,
    /// Median of its response time.
    pub delay_median_ms: f64,
    /// Standard deviation of the logarithm of its response time.
    pub delay_spread: f64,
    /// Minute of the day (UTC) at which it wakes.
    pub wakes_at: u32,
    /// Minutes that it is awake from then on.
    pub awake_minutes: u32,
    /// Gold reward that it finds middling.
    pub gold_mean: f64,
    /// Its standard deviation of the gold reward.
    pub gold_spread: f64,
    /// What seems closer than this is equal.
    pub just_noticeable: f64,
    /// Size of the slow change of its taste.
    pub drift: f64,
    /// Days in which its taste becomes a new one.
    pub drift_days: f64,
    /// The population's seed.
    pub seed: u64,
}

/// Draws populations.
#[derive(Debug)]
pub struct Population;

const MINUTES_A_DAY: f64 = 24.0 * 60.0;
const MS_A_DAY: f64 = 24.0 * 3600.0 * 1000.0;
/// Stream indices of drift; those of the members themselves lie below.
const DRIFT_STREAMS: u64 = 1 << 63;

impl Population {
    /// The population of `config` and `seed`. The shares are met as nearly as whole members allow, in every draw.
    pub fn draw(config: &PopulationConfig, seed: u64) -> Result<Vec<Annotator>, LearningError> {
        config.validate()?;
        Ok((0..config.members).map(|index| draw_member(config, seed, index, honesty_of(config, index))).collect())
    }
}

/// Good members first, hostile ones last; borders rounded, so that the counts are nearest to the shares.
fn honesty_of(config: &PopulationConfig, index: usize) -> Honesty {
    let per_share = config.members as f64 / (config.good + config.noisy + config.hostile);
    let good = (config.good * per_share).round() as usize;
    let noisy = ((config.good + config.noisy) * per_share).round() as usize;
    match index {
        index if index < good => Honesty::Good,
        index if index < noisy => Honesty::Noisy,
        _ => Honesty::Hostile,
    }
}

fn draw_member(config: &PopulationConfig, seed: u64, index: usize, honesty: Honesty) -> Annotator {
    let stream = &mut Stream::new(seed, Purpose::Population, index as u64);
    let log_normal = |spread: f64, stream: &mut Stream| (spread * normal(stream)).exp();
    let taste = scaled(&config.taste, |_| log_normal(config.taste_spread, stream));
    let careless = honesty == Honesty::Noisy;
    let factor = if careless { config.noisy_temperature_factor } else { 1.0 };
    Annotator {
        id: format!("sim-{index:03}"),
        index: index as u64,
        honesty,
        common_taste: config.taste.clone(),
        types: config.types(),
        taste,
        temperature: config.temperature * factor * log_normal(config.temperature_spread, stream),
        bias: config.bias_spread * normal(stream),
        lapse: if careless { config.noisy_lapse } else { config.lapse },
        kinds: preferred_kinds(config, stream),
        delay_median_ms: config.delay_median_ms * log_normal(config.delay_spread / 2.0, stream),
        delay_spread: config.delay_spread,
        wakes_at: stream.below(MINUTES_A_DAY as usize) as u32,
        awake_minutes: (config.awake_hours * 60.0).round() as u32,
        gold_mean: config.gold_mean,
        gold_spread: config.gold_spread,
        just_noticeable: config.just_noticeable,
        drift: config.drift,
        drift_days: config.drift_days,
        seed,
    }
}

fn normal(stream: &mut Stream) -> f64 {
    StandardNormal.sample(stream)
}

/// A Dirichlet draw around the population's kinds: normalised Gamma(concentration · share).
fn preferred_kinds(config: &PopulationConfig, stream: &mut Stream) -> KindWeights {
    let weights = config.kinds.to_array();
    let total: f64 = weights.iter().sum();
    let drawn = weights.map(|weight| match Gamma::new(config.kind_concentration * weight / total, 1.0) {
        Ok(gamma) => gamma.sample(stream),
        Err(_) => 0.0,
    });
    // Tiny concentrations can underflow in every kind at once; then the population's own shares serve.
    if drawn.iter().sum::<f64>() > 0.0 { KindWeights::from_array(drawn) } else { config.kinds }
}

/// The taste with each of its five weights multiplied by `factor(which)`.
fn scaled(taste: &Taste, mut factor: impl FnMut(usize) -> f64) -> Taste {
    let mut scaled = taste.clone();
    let weights =
        [&mut scaled.relevance, &mut scaled.length, &mut scaled.repetition, &mut scaled.ending, &mut scaled.steps];
    weights.into_iter().enumerate().for_each(|(which, weight)| *weight *= factor(which));
    scaled
}

impl Annotator {
    /// Its taste at a time. The logarithm of each weight wanders slowly: normal knots every `drift_days`, joined so that
    /// the variance is the same at all times.
    pub fn taste_at(&self, now_ms: i64) -> Taste {
        if self.drift == 0.0 {
            return self.taste.clone();
        }
        let place = now_ms.max(0) as f64 / (MS_A_DAY * self.drift_days);
        let (knot, share) = (place.floor() as u64, place.fract());
        let (mut from, mut to) = (self.drift_stream(knot), self.drift_stream(knot + 1));
        let length = ((1.0 - share).powi(2) + share.powi(2)).sqrt();
        scaled(&self.taste, |_| {
            let step = ((1.0 - share) * normal(&mut from) + share * normal(&mut to)) / length;
            (self.drift * step).exp()
        })
    }

    fn drift_stream(&self, knot: u64) -> Stream {
        Stream::new(self.seed, Purpose::Population, DRIFT_STREAMS | (self.index << 32) | (knot & 0xffff_ffff))
    }

    /// The stream for its task `number`; one of the same number and seed says the same.
    pub fn task_stream(&self, number: u64) -> Stream {
        Stream::new(self.seed, Purpose::Annotator, (self.index << 40) | (number & 0xff_ffff_ffff))
    }

    /// Whether it is awake at this time of the day.
    pub fn is_awake(&self, now_ms: i64) -> bool {
        let minute = now_ms.div_euclid(60_000).rem_euclid(MINUTES_A_DAY as i64);
        (minute - i64::from(self.wakes_at)).rem_euclid(MINUTES_A_DAY as i64) < i64::from(self.awake_minutes)
    }
}
