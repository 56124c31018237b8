//! The paper's central experiment, small: a network interpolates rankings, and the loss decides what its rewards look like.
//!
//! Invariant: one seed, one outcome; the data never depends on the loss, so that losses are compared on the same prompts.
//!
//! Song, Cai, Lee, Su 2023 (arXiv 2305.17608): a prompt's answers are cuts of one text, the longer the better. Closed
//! prompts have short or long answers only, open ones all lengths. Both types have strict rankings, so whether the rewards
//! of the types differ is up to the loss alone.

use tch::{Kind, Tensor};

use super::super::config::UtilityChoice;
use super::super::losses::utility::{Dial, Utility};
use super::super::losses::weak_order::{WeightedPair, pairs_of_ranks};
use super::monitor::{Monitor, Probe, TrainProbe};
use super::report::CollapseReport;
use super::wasserstein::{Curve, barycentre};
use crate::error::LearningError;
use crate::optimiser::{AdamConfig, AdamW};
use crate::rng::{Purpose, Stream};

/// Words of the answers: the paper's recipe.
const OPEN: [f64; ANSWERS] = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0];
const CLOSED: [f64; ANSWERS] = [16.0, 22.0, 28.0, 34.0, 56.0, 62.0, 68.0, 74.0];
/// Answers of a prompt.
pub const ANSWERS: usize = 8;
/// Numbers that describe a prompt beside its type; they mean nothing.
const EMBEDDING: usize = 8;
/// Spread of each of them.
const EMBEDDING_SPREAD: f64 = 0.3;
/// Of an answer's measured length, as a share of 90 words.
const LENGTH_NOISE: f64 = 0.01;
/// Brings the lengths to a spread of about 2, so that few steps tell neighbours apart.
const LENGTH_SCALE: f64 = 8.0;
const FEATURES: usize = 2 + EMBEDDING;
/// Adam's rate.
const RATE: f64 = 3e-3;

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experiment {
    /// Which utility a prompt's loss has.
    pub choice: UtilityChoice,
    /// P(closed-ended) of closed and of open prompts, for the dial; its clip is 0.05 to 0.95.
    pub closedness: (f64, f64),
    /// Prompts to train on, half of them closed; as many are held out.
    pub prompts: usize,
    /// Width of the two hidden layers.
    pub hidden: usize,
    /// Steps of Adam over all prompts at once.
    pub steps: usize,
}

impl Experiment {
    /// 64 prompts, the dial at p = 0.95 and 0.05, two hidden layers of 64.
    pub fn new(choice: UtilityChoice, steps: usize) -> Self {
        Self { choice, closedness: (0.95, 0.05), prompts: 64, hidden: 64, steps }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Distances, separation and accuracy on training and held-out prompts, as the live monitor makes them.
    pub report: CollapseReport,
    /// Mean sorted rewards of the closed training prompts, worst first.
    pub closed: Curve,
    /// The same of the open ones.
    pub open: Curve,
}

/// One of the two sets of prompts.
struct Prompts {
    /// `[prompts · ANSWERS, FEATURES]`, closed prompts first, worst answer first.
    features: Tensor,
    count: usize,
}

impl Prompts {
    fn draw(count: usize, stream: &mut Stream) -> Self {
        let mut features = Vec::with_capacity(count * ANSWERS * FEATURES);
        for prompt in 0..count {
            let closed = prompt < count / 2;
            let embedding: Vec<f64> = (0..EMBEDDING).map(|_| EMBEDDING_SPREAD * stream.normal()).collect();
            for words in if closed { CLOSED } else { OPEN } {
                let length = LENGTH_SCALE * (words / 90.0 - 0.5 + LENGTH_NOISE * stream.normal());
                let kind = if closed { 1.0 } else { -1.0 };
                features.extend([length, kind].iter().chain(&embedding).map(|&x| x as f32));
            }
        }
        Self { features: Tensor::from_slice(&features).view([-1, FEATURES as i64]), count }
    }
}

/// Two hidden layers with ReLU, one logit out.
struct Net(Vec<(Tensor, Tensor)>);

impl Net {
    fn new(hidden: usize, seed: u64) -> Self {
        let mut stream = Stream::new(seed, Purpose::Init, 0);
        let mut uniform = |count: usize, most: f64| -> Tensor {
            Tensor::from_slice(&(0..count).map(|_| (most * (2.0 * stream.uniform() - 1.0)) as f32).collect::<Vec<_>>())
        };
        let mut layer = |into: usize, out: usize| {
            let most = 1.0 / (into as f64).sqrt();
            let weight = uniform(into * out, most).view([out as i64, into as i64]).set_requires_grad(true);
            (weight, uniform(out, most).set_requires_grad(true))
        };
        Self(vec![layer(FEATURES, hidden), layer(hidden, hidden), layer(hidden, 1)])
    }

    fn parameters(&self) -> Vec<(String, Tensor)> {
        let of = |(i, (weight, bias)): (usize, &(Tensor, Tensor))| {
            [(format!("{i}.weight"), weight.shallow_clone()), (format!("{i}.bias"), bias.shallow_clone())]
        };
        self.0.iter().enumerate().flat_map(of).collect()
    }

    /// Rewards `[prompts, ANSWERS]`.
    fn rewards(&self, prompts: &Prompts) -> Tensor {
        let mut x = prompts.features.shallow_clone();
        for (i, (weight, bias)) in self.0.iter().enumerate() {
            x = x.linear(weight, Some(bias));
            if i + 1 < self.0.len() {
                x = x.relu();
            }
        }
        x.view([prompts.count as i64, ANSWERS as i64]).sigmoid()
    }
}

impl Experiment {
    /// The utility of a type's loss, and what it is multiplied with.
    fn utility(&self, closed: bool) -> (Utility, f64) {
        match self.choice {
            UtilityChoice::Common { utility } => (utility, 1.0),
            UtilityChoice::Adaptive { closed: utility, .. } if closed => (utility, 1.0),
            UtilityChoice::Adaptive { open, .. } => (open, 1.0),
            UtilityChoice::Dial => {
                let dial =
                    Dial::from_closedness(if closed { self.closedness.0 } else { self.closedness.1 }, (0.05, 0.95));
                (dial.utility(), dial.range_scale)
            }
        }
    }

    /// Trains one network from `seed` and looks at where it ended. An error when a step is not finite.
    pub fn run(&self, seed: u64) -> Result<Outcome, LearningError> {
        let mut stream = Stream::new(seed, Purpose::Population, 0);
        let train = Prompts::draw(self.prompts, &mut stream);
        let held_out = Prompts::draw(self.prompts, &mut stream);
        let net = Net::new(self.hidden, seed);
        // The smallest gradients of saturated rewards still count: Adam's own eps, not the project's larger one.
        let mut optimiser = AdamW::new(net.parameters(), AdamConfig { eps: 1e-8, ..Default::default() });
        let pairs = pairs_of_ranks(&std::array::from_fn::<i64, ANSWERS, _>(|i| -(i as i64)));
        let index = |of: fn(&WeightedPair) -> usize| {
            Tensor::from_slice(&pairs.iter().map(|pair| of(pair) as i64).collect::<Vec<_>>())
        };
        let (better, worse) = (index(|pair| pair.better), index(|pair| pair.worse));
        let half = (self.prompts / 2) as i64;
        for _ in 0..self.steps {
            optimiser.zero_grad();
            let rewards = net.rewards(&train);
            let differences = rewards.index_select(1, &better) - rewards.index_select(1, &worse);
            let part = |closed: bool, from: i64, count: i64| {
                let (utility, scale) = self.utility(closed);
                utility.value(&differences.narrow(0, from, count)).sum(Kind::Float) * scale
            };
            let total = part(true, 0, half) + part(false, half, self.prompts as i64 - half);
            (total / -((self.prompts * pairs.len()) as f64)).backward();
            optimiser.step(RATE, f64::INFINITY)?;
        }
        self.look(&net, &train, &held_out, &pairs, seed)
    }

    fn look(
        &self,
        net: &Net,
        train: &Prompts,
        held_out: &Prompts,
        pairs: &[WeightedPair],
        seed: u64,
    ) -> Result<Outcome, LearningError> {
        let _guard = tch::no_grad_guard();
        let probes = |prompts: &Prompts| -> Result<Vec<Probe>, LearningError> {
            let rewards = Vec::<f64>::try_from(net.rewards(prompts).to_kind(Kind::Double).view([-1]))?;
            let probe = |(i, rewards): (usize, &[f64])| Probe {
                rewards: rewards.to_vec(),
                closedness: if i < prompts.count / 2 { self.closedness.0 } else { self.closedness.1 },
                pairs: pairs.to_vec(),
                ratings: None,
            };
            Ok(rewards.chunks(ANSWERS).enumerate().map(probe).collect())
        };
        let train = probes(train)?;
        let curve = |of: &[Probe]| {
            let curves: Vec<Curve> = of.iter().map(|probe| Curve::of_sample(&probe.rewards)).collect();
            barycentre(&curves).ok_or_else(|| LearningError::input("the experiment", "has no prompts of a type"))
        };
        let (closed, open) = (curve(&train[..train.len() / 2])?, curve(&train[train.len() / 2..])?);
        let with_utility = |(i, probe): (usize, Probe)| {
            let utility = self.utility(i < self.prompts / 2).0;
            TrainProbe { probe, utility }
        };
        let train: Vec<TrainProbe> = train.into_iter().enumerate().map(with_utility).collect();
        let report = Monitor::new(seed).observe(self.steps as u64, &train, &probes(held_out)?)?;
        let report = report.ok_or_else(|| LearningError::input("the experiment", "has no prompts to look at"))?;
        Ok(Outcome { report, closed, open })
    }
}

/// The losses to compare, with their names: five common ones, the paper's adaptive pair and the dial.
pub fn losses() -> Vec<(&'static str, UtilityChoice)> {
    let common = |utility| UtilityChoice::Common { utility };
    let inverse = Utility::Inv { s: 1.0, eps: Some(0.1) };
    vec![
        ("common x", common(Utility::X)),
        ("common log(x + 0.1)", common(Utility::Log { eps: Some(0.1) })),
        ("common -1/(x + 0.1)", common(inverse)),
        ("common log sigmoid(4x)", common(Utility::LogSigmoid { c: 4.0 })),
        ("common dial, p = 1/2", common(Utility::Exp { lambda: 2.0 })),
        ("adaptive: x / -1/(x + 0.1)", UtilityChoice::Adaptive { closed: Utility::X, open: inverse }),
        ("dial, p = 0.95 / 0.05", UtilityChoice::Dial),
    ]
}
