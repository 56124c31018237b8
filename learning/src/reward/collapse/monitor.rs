//! The live monitor: rewards of fixed probes after an update become one report of how far the model has collapsed.
//!
//! Invariant: pure and bounded. At most [`HISTORY`] reports are kept, the older the sparser, and a restored monitor goes
//! on bit for bit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::losses::utility::{Dial, Utility};
use super::super::losses::weak_order::WeightedPair;
use super::null::permutation_null;
use super::optimum::{dial_optimum, optimum, optimum_of_pairs};
use super::picture::{mean, rho, saturation};
use super::report::{COMMON, CollapseReport, Figures, SavedReport};
use super::wasserstein::{Curve, barycentre};
use crate::error::LearningError;
use crate::rng::{Purpose, Stream};

/// Reports kept at most; when full, every second of the older half goes.
pub const HISTORY: usize = 512;
/// Optima remembered at most; a prompt's optimum changes only with its pairs or its utility.
const REMEMBERED: usize = 4096;
/// Weight of the newest report in the smoothed D_opt.
const NEWEST: f64 = 0.5;
/// Shuffles of the permutation null.
const SHUFFLES: usize = 100;
/// Where p is kept for what the dial would ask for; the default clip of the dial.
const CLIP: (f64, f64) = (0.05, 0.95);
/// Keeps the streams of the null apart from others of the same purpose.
const STREAMS: u64 = 1 << 40;

/// A prompt whose fixed answers are scored anew for each report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probe {
    /// Rewards in `[0, 1]` of its K answers; probes with fewer than two are left out.
    pub rewards: Vec<f64>,
    /// P(closed-ended); above 1/2 it counts as closed, else as open.
    pub closedness: f64,
    /// What people said: pairs of answers by index. None: a strict order that is not known here.
    pub pairs: Vec<WeightedPair>,
    /// Mean ratings of the answers, scaled to `[0, 1]`, where there are any.
    pub ratings: Option<Vec<f64>>,
}

/// A probe that is trained on, with the utility of its loss (any scaling of it).
#[derive(Debug, Clone, PartialEq)]
pub struct TrainProbe {
    /// The prompt.
    pub probe: Probe,
    /// The utility of its loss.
    pub utility: Utility,
}

impl Probe {
    fn is_closed(&self) -> bool {
        self.closedness > 0.5
    }

    fn check(&self) -> Result<(), LearningError> {
        let numbers = self.rewards.iter().chain(self.ratings.iter().flatten());
        if let Some(&value) = numbers.clone().find(|value| !value.is_finite()) {
            return Err(LearningError::NonFinite { what: "a probe's reward or rating", value });
        }
        let known = |pair: &WeightedPair| pair.better < self.rewards.len() && pair.worse < self.rewards.len();
        match self.pairs.iter().find(|pair| !known(pair)) {
            None => Ok(()),
            Some(pair) => {
                let count = self.rewards.len();
                let problem = format!("({}, {}) does not name two of {count} answers", pair.better, pair.worse);
                Err(LearningError::input("a probe's pair", problem))
            }
        }
    }
}

type Key = (String, usize, Vec<(usize, usize, u64)>);

/// The monitor's memory.
#[derive(Debug, Clone)]
pub struct Monitor {
    seed: u64,
    made: u64,
    history: Vec<CollapseReport>,
    optima: BTreeMap<Key, Vec<f64>>,
}

impl Monitor {
    /// A monitor without history; `seed` is that of the run.
    pub fn new(seed: u64) -> Self {
        Self { seed, made: 0, history: Vec::new(), optima: BTreeMap::new() }
    }

    /// Reports, oldest first: at most [`HISTORY`].
    pub fn history(&self) -> &[CollapseReport] {
        &self.history
    }

    /// The newest report.
    pub fn latest(&self) -> Option<&CollapseReport> {
        self.history.last()
    }

    /// Makes the report after `update` and remembers it; `None` (and nothing is remembered) without a training probe of
    /// at least two answers. Errors: a reward or rating that is not finite, pairs that do not fit.
    pub fn observe(
        &mut self,
        update: u64,
        train: &[TrainProbe],
        held_out: &[Probe],
    ) -> Result<Option<CollapseReport>, LearningError> {
        train.iter().map(|one| &one.probe).chain(held_out).try_for_each(Probe::check)?;
        let train: Vec<&TrainProbe> = train.iter().filter(|one| one.probe.rewards.len() > 1).collect();
        let held_out: Vec<&Probe> = held_out.iter().filter(|probe| probe.rewards.len() > 1).collect();
        let probes: Vec<&Probe> = train.iter().map(|one| &one.probe).collect();
        let mut optima = Vec::with_capacity(train.len());
        for one in &train {
            optima.push(Curve::of_sample(self.optimum_of(one)?));
        }
        let curves: Vec<Curve> = probes.iter().map(|probe| Curve::of_sample(&probe.rewards)).collect();
        let Some(d_opt) = mean(curves.iter().zip(&optima).map(|(curve, optimum)| curve.distance(optimum))) else {
            return Ok(None);
        };
        let closed: Vec<bool> = probes.iter().map(|probe| probe.is_closed()).collect();
        let dial =
            |probe: &&Probe| dial_optimum(Dial::from_closedness(probe.closedness, CLIP).lambda, probe.rewards.len());
        let dials: Vec<Curve> = probes.iter().map(|probe| Curve::of_sample(&dial(probe))).collect();
        let held_curves: Vec<Curve> = held_out.iter().map(|probe| Curve::of_sample(&probe.rewards)).collect();
        let held_closed: Vec<bool> = held_out.iter().map(|probe| probe.is_closed()).collect();
        let d_types = between(&held_curves, &held_closed);
        let d_want = between(&optima, &closed);
        let index = d_types.zip(d_want.filter(|&want| want >= COMMON)).map(|(types, want)| 1.0 - types / want);
        let mut stream = Stream::new(self.seed, Purpose::Evaluation, STREAMS + self.made);
        let smooth = self.latest().map_or(d_opt, |last| last.d_opt_smooth + NEWEST * (d_opt - last.d_opt_smooth));
        let mut report = CollapseReport {
            update,
            d_opt,
            d_opt_smooth: smooth,
            d_types,
            d_want,
            d_rate: rated(probes.iter().chain(&held_out)),
            d_dial: between(&dials, &closed),
            index,
            null: permutation_null(&held_curves, &held_closed, SHUFFLES, &mut stream),
            train: figures(&probes, &curves),
            held_out: figures(&held_out, &held_curves),
            alarm: false,
        };
        report.alarm = report.collapsed();
        self.made += 1;
        self.remember(report.clone());
        Ok(Some(report))
    }

    fn remember(&mut self, report: CollapseReport) {
        if self.history.len() >= HISTORY {
            let half = HISTORY / 2;
            let mut place = 0;
            self.history.retain(|_| {
                place += 1;
                place > half || place % 2 == 1
            });
        }
        self.history.push(report);
    }

    /// Where the loss of a training probe ends, remembered.
    fn optimum_of(&mut self, one: &TrainProbe) -> Result<&[f64], LearningError> {
        let (n, pairs) = (one.probe.rewards.len(), &one.probe.pairs);
        let named = pairs.iter().map(|pair| (pair.better, pair.worse, pair.weight.to_bits()));
        let key: Key = (format!("{:?}", one.utility), n, named.collect());
        if self.optima.len() >= REMEMBERED && !self.optima.contains_key(&key) {
            self.optima.clear();
        }
        if !self.optima.contains_key(&key) {
            let found = match pairs.is_empty() {
                true => optimum(&one.utility, n)?,
                false => optimum_of_pairs(&one.utility, n, pairs)?,
            };
            self.optima.insert(key.clone(), found.rewards);
        }
        Ok(&self.optima[&key])
    }

    /// Everything that a restart needs, numbers as bits.
    pub fn state(&self) -> Value {
        let history: Vec<SavedReport> = self.history.iter().map(SavedReport::from).collect();
        json!({ "made": self.made, "history": history })
    }

    /// Puts back what [`Monitor::state`] gave. An error leaves the monitor as it was.
    pub fn restore(&mut self, state: &Value) -> Result<(), LearningError> {
        let broken = |problem: &str| LearningError::state("collapse", problem);
        let made = state["made"].as_u64().ok_or_else(|| broken("does not say how many reports were made"))?;
        let saved: Vec<SavedReport> = serde::Deserialize::deserialize(&state["history"])
            .map_err(|error| broken(&format!("holds a history that cannot be read ({error})")))?;
        if saved.len() > HISTORY {
            return Err(broken(&format!("holds {} reports, more than {HISTORY}", saved.len())));
        }
        let history: Option<Vec<CollapseReport>> = saved.iter().map(SavedReport::open).collect();
        self.history = history.ok_or_else(|| broken("holds a report of another shape"))?;
        self.made = made;
        Ok(())
    }
}

/// W1 between the barycentres of the two classes; `None` when one is empty.
fn between(curves: &[Curve], closed: &[bool]) -> Option<f64> {
    let centre =
        |which: bool| barycentre(curves.iter().zip(closed).filter(|(_, is)| **is == which).map(|(curve, _)| curve));
    Some(centre(true)?.distance(&centre(false)?))
}

/// W1 between the classes in their ratings.
fn rated<'a>(probes: impl Iterator<Item = &'a &'a Probe>) -> Option<f64> {
    let with = |probe: &&Probe| Some((Curve::of_sample(probe.ratings.as_ref()?), probe.is_closed()));
    let (curves, closed): (Vec<Curve>, Vec<bool>) = probes.filter_map(with).unzip();
    between(&curves, &closed)
}

fn figures(probes: &[&Probe], curves: &[Curve]) -> Figures {
    let closed: Vec<bool> = probes.iter().map(|probe| probe.is_closed()).collect();
    let of_class = |which: bool| {
        mean(probes.iter().filter(|probe| probe.is_closed() == which).filter_map(|probe| rho(&probe.rewards)))
    };
    let pairs = || probes.iter().flat_map(|probe| probe.pairs.iter().map(move |pair| (probe, pair)));
    let right = pairs().map(|(probe, pair)| {
        let (better, worse) = (probe.rewards[pair.better], probe.rewards[pair.worse]);
        pair.weight
            * if better > worse {
                1.0
            } else if better == worse {
                0.5
            } else {
                0.0
            }
    });
    let weight: f64 = pairs().map(|(_, pair)| pair.weight).sum();
    let grand = barycentre(curves);
    Figures {
        probes: probes.len(),
        d_types: between(curves, &closed),
        dispersion: grand.and_then(|grand| mean(curves.iter().map(|curve| curve.distance(&grand)))),
        rho_open: of_class(false),
        rho_closed: of_class(true),
        saturation: saturation(probes.iter().flat_map(|probe| &probe.rewards)),
        accuracy: (weight > 0.0).then(|| right.sum::<f64>() / weight),
    }
}
