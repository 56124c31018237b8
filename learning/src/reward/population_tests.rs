//! Many unequal annotators and free scores in place of a network: the objective and the annotators' parameters together.

use tch::{Kind, Tensor};

use super::config::RewardConfig;
use super::foretell::{Thresholds, foretell};
use super::likelihood::Scale;
use super::losses::ordinal::{even_thresholds, level_shares, rising_thresholds};
use super::losses::weak_order::{WeightedPair, pairs_of_ranks};
use super::objective::{batch_loss, evidence};
use super::reliability::{Heard, Judgements, People, ReliabilityConfig, Standing};
use super::said::{Said, Statements};
use super::terms::LEVELS;
use crate::optimiser::{AdamConfig, AdamW};
use crate::rng::{Purpose, Stream};

const PROMPTS: usize = 20;
const ANSWERS: usize = 6;

/// A simulated annotator.
#[derive(Debug, Clone)]
struct Simulated {
    name: String,
    eta: f64,
    beta: f64,
    shift: f64,
}

fn simulated(group: &str, count: usize, eta: f64, beta: f64, stream: &mut Stream) -> Vec<Simulated> {
    let one = |number| Simulated { name: format!("{group}{number}"), eta, beta, shift: 0.5 * stream.normal() };
    (0..count).map(one).collect()
}

/// The population of the specification: 3 good, 4 average, 3 noisy, 2 random, 2 adversarial.
fn population(stream: &mut Stream) -> Vec<Simulated> {
    [
        simulated("good", 3, 0.97, 3.0, stream),
        simulated("average", 4, 0.92, 1.5, stream),
        simulated("noisy", 3, 0.8, 0.7, stream),
        simulated("random", 2, 0.5, 0.3, stream),
        simulated("hostile", 2, 0.05, 2.0, stream),
    ]
    .concat()
}

struct Event {
    by: String,
    said: Said,
}

impl Simulated {
    /// One event on a random question: a ranking of four, a pair, stars or a thumb.
    fn rate(&self, truth: &[f64], stream: &mut Stream) -> Event {
        let question = stream.below(PROMPTS);
        let places: Vec<usize> = stream.permutation(ANSWERS).iter().map(|at| question * ANSWERS + at).collect();
        let meant = stream.uniform() < self.eta;
        let logistic = |stream: &mut Stream| {
            let u = stream.uniform().clamp(1e-12, 1.0 - 1e-12);
            (u / (1.0 - u)).ln()
        };
        let said = match stream.below(4) {
            0 => {
                // The order of scores with Gumbel noise is Plackett and Luce's.
                let mut order: Vec<(f64, usize)> = places[..4]
                    .iter()
                    .map(|&place| (self.beta * truth[place] - (-stream.uniform().max(1e-12).ln()).ln(), place))
                    .collect();
                order.sort_by(|a, b| if meant { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) });
                let answers: Vec<usize> = order.iter().map(|one| one.1).collect();
                let of = |pair: WeightedPair| WeightedPair {
                    better: answers[pair.better],
                    worse: answers[pair.worse],
                    weight: 0.5,
                };
                let pairs = pairs_of_ranks(&[0, 1, 2, 3]).into_iter().map(of).collect();
                Said::Order { answers, ranks: vec![0, 1, 2, 3], pairs }
            }
            1 => {
                let first = self.beta * (truth[places[0]] - truth[places[1]]) + logistic(stream) > 0.0;
                let (better, worse) = if first == meant { (places[0], places[1]) } else { (places[1], places[0]) };
                Said::Pair { better, worse, strength: 1.0 }
            }
            2 => {
                let felt = self.beta * (truth[places[0]] - self.shift) + logistic(stream);
                let level = [-1.5, -0.5, 0.5, 1.5].iter().filter(|&&tau| self.beta * tau < felt).count();
                let level = if meant { level } else { LEVELS - 1 - level };
                let position = level as f64 / (LEVELS - 1) as f64;
                Said::Grade { answer: places[0], shares: level_shares(position, LEVELS), position }
            }
            _ => {
                let up = self.beta * (truth[places[0]] - self.shift) + logistic(stream) > 0.0;
                Said::Thumb { answer: places[0], up: up == meant }
            }
        };
        Event { by: self.name.clone(), said }
    }
}

fn pinned(name: &str) -> ReliabilityConfig {
    ReliabilityConfig { pinned: vec![name.to_owned()], ..Default::default() }
}

/// Free scores, learned with the objective and the annotators' parameters of the reward learner.
struct Bench {
    config: RewardConfig,
    people: People,
    scores: Tensor,
    scale: Scale,
    adam: AdamW,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.people.report()).finish()
    }
}

impl Bench {
    fn new(reliability: ReliabilityConfig) -> Self {
        let config = RewardConfig { utility_weight: 0.0, reliability, ..Default::default() };
        let leaf = |values: &[f64]| Tensor::from_slice(values).to_kind(Kind::Float).set_requires_grad(true);
        let scores = leaf(&[0.0; PROMPTS * ANSWERS]);
        let scale = Scale {
            grades: leaf(&even_thresholds(LEVELS)),
            thumb: leaf(&[0.0]),
            line: leaf(&[0.0]),
            tie: leaf(&[0.0]),
        };
        let named = [("scores", &scores), ("grades", &scale.grades), ("thumb", &scale.thumb)];
        let named = named.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).into_iter().collect();
        let adam = AdamW::new(named, AdamConfig::default());
        Self { people: People::new(config.reliability.clone()), config, scores, scale, adam }
    }

    fn statements(events: &[&Event]) -> Statements {
        let mut statements = Statements {
            question: (0..PROMPTS * ANSWERS).map(|answer| Some(answer / ANSWERS)).collect(),
            ..Default::default()
        };
        for event in events {
            let by = statements.annotator(&event.by);
            statements.by.push(by);
            statements.said.push(Some(event.said.clone()));
            statements.closedness.push(0.5);
        }
        statements
    }

    /// Foretells and records events that are heard for the first time; `gold`: whether judgements can be compared.
    fn hear(&mut self, events: &[&Event], gold: bool) {
        let scores = Vec::<f64>::try_from(self.scores.detach().to_kind(Kind::Double)).unwrap();
        let grades = Vec::<f64>::try_from(rising_thresholds(&self.scale.grades).detach().to_kind(Kind::Double));
        let thumb = self.scale.thumb.double_value(&[0]);
        let thresholds = Thresholds { grades: grades.unwrap(), thumb, line: 0.0, tie: 0.0 };
        for event in events {
            let voice = self.people.voices(&[event.by.as_str()])[0];
            let expected = foretell("x", &event.said, &scores, &thresholds, &voice);
            let (choices, right) = expected.choices();
            let judgements = if gold { judgements(&event.said) } else { Judgements::default() };
            let heard = Heard { annotator: event.by.clone(), choices: 1.0, judgements };
            self.people.hear(&heard, expected.probability, choices, right);
        }
    }

    /// One step of everything. `prior`: the precision of Normal scores, by event.
    fn learn(&mut self, events: &[&Event], prior: f64) {
        let statements = Self::statements(events);
        let names: Vec<&str> = statements.annotators.iter().map(String::as_str).collect();
        let voices = self.people.voices(&names);
        self.adam.zero_grad();
        let loss = batch_loss(&statements, &self.scores, &self.scale, &voices, &self.config);
        (loss.total + self.scores.square().sum(Kind::Float) * (prior / 2.0)).backward();
        let found = evidence(&statements, &self.scores, &self.scale, &voices, &self.config).unwrap();
        self.adam.step(0.05, 10.0).unwrap();
        for (name, own) in statements.annotators.iter().zip(found) {
            self.people.step(name, own.events, own.gradient, own.squares);
        }
    }

    /// Hears everything once in order, learning as it comes, then goes over it again in random orders.
    fn run(&mut self, events: &[Event], epochs: usize, gold: bool, stream: &mut Stream) {
        let prior = 0.5 / events.len() as f64;
        for epoch in 0..epochs {
            let order: Vec<usize> =
                if epoch == 0 { (0..events.len()).collect() } else { stream.permutation(events.len()) };
            for batch in order.chunks(32) {
                let batch: Vec<&Event> = batch.iter().map(|&event| &events[event]).collect();
                if epoch == 0 {
                    self.hear(&batch, gold);
                }
                self.learn(&batch, prior);
            }
        }
    }

    /// Mean over the prompts of Kendall's tau between scores and truth.
    fn tau(&self, truth: &[f64]) -> f64 {
        let scores = Vec::<f32>::try_from(self.scores.detach()).unwrap();
        let (mut sum, mut count) = (0.0, 0.0);
        for first in 0..PROMPTS * ANSWERS {
            for second in first + 1..(first / ANSWERS + 1) * ANSWERS {
                sum += (f64::from(scores[first] - scores[second]) * (truth[first] - truth[second])).signum();
                count += 1.0;
            }
        }
        sum / count
    }

    fn standings(&self, group: &str) -> Vec<Standing> {
        let own = self.people.report().into_iter().filter(|report| report.annotator.starts_with(group));
        own.map(|report| report.standing).collect()
    }

    fn mean_eta(&self, group: &str) -> f64 {
        let own: Vec<f64> = self
            .people
            .report()
            .into_iter()
            .filter(|report| report.annotator.starts_with(group))
            .map(|report| report.eta)
            .collect();
        own.iter().sum::<f64>() / own.len() as f64
    }
}

fn judgements(said: &Said) -> Judgements {
    let orders = said.pairs().iter().map(|pair| (pair.better as u64, pair.worse as u64)).collect();
    let sides = match said {
        Said::Grade { answer, position, .. } if (position - 0.5).abs() > 0.2 => vec![(*answer as u64, *position > 0.5)],
        Said::Thumb { answer, up } => vec![(*answer as u64, *up)],
        _ => Vec::new(),
    };
    Judgements { orders, sides }
}

fn stream(seed: u64) -> Stream {
    tch::set_num_threads(1);
    Stream::new(seed, Purpose::Evaluation, 54)
}

fn truth(stream: &mut Stream) -> Vec<f64> {
    (0..PROMPTS * ANSWERS).map(|_| stream.normal()).collect()
}

/// `tasks` events of each, in random order.
fn events(people: &[Simulated], tasks: usize, truth: &[f64], stream: &mut Stream) -> Vec<Event> {
    let order = stream.permutation(people.len() * tasks);
    order.into_iter().map(|task| people[task % people.len()].rate(truth, stream)).collect()
}

#[test]
fn believing_people_as_they_deserve_beats_believing_them_alike() {
    let (mut naive, mut full, mut gold) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..6 {
        let mut stream = stream(seed);
        let (truth, people) = (truth(&mut stream), population(&mut stream));
        let events = events(&people, 100, &truth, &mut stream);
        let mut of = |reliability: ReliabilityConfig| {
            let mut bench = Bench::new(reliability);
            bench.run(&events, 3, true, &mut stream);
            bench
        };
        naive.push(of(ReliabilityConfig { learn: false, ..Default::default() }).tau(&truth));
        let bench = of(ReliabilityConfig::default());
        full.push(bench.tau(&truth));
        let (good, hostile) = (bench.mean_eta("good"), bench.mean_eta("hostile"));
        assert!(hostile < 0.3 && good > 0.85, "reliability of the hostile {hostile}, of the good {good}");
        if seed < 2 {
            let bench = of(pinned("good0"));
            gold.push(bench.tau(&truth) - naive[naive.len() - 1]);
            let found = [Standing::Ignored, Standing::Inverted];
            assert!(bench.standings("hostile").iter().all(|standing| found.contains(standing)), "{bench:?}");
        }
    }
    let mean = |taus: &[f64]| taus.iter().sum::<f64>() / taus.len() as f64;
    // Seen: 0.59, 0.84 and as much with gold.
    assert!(mean(&full) > mean(&naive) + 0.1, "alike {naive:?}, as deserved {full:?}");
    assert!(mean(&gold) > 0.1, "with gold, more than alike: {gold:?}");
}

#[test]
fn a_hostile_majority_does_not_turn_the_scores_round_against_one_who_is_pinned() {
    let mut stream = stream(1);
    let truth = truth(&mut stream);
    let mut people = simulated("pinned", 1, 0.98, 2.0, &mut stream);
    people.extend(simulated("hostile", 4, 0.03, 2.0, &mut stream));
    let events = events(&people, 120, &truth, &mut stream);
    // Nothing is checked against gold: only the scores can tell.
    let mut alone = Bench::new(ReliabilityConfig::default());
    alone.run(&events, 2, false, &mut stream);
    assert!(alone.tau(&truth) < -0.3, "without a pin the majority is believed: {}", alone.tau(&truth));
    let mut bench = Bench::new(pinned("pinned0"));
    bench.run(&events, 3, false, &mut stream);
    assert!(bench.tau(&truth) > 0.15, "{} {bench:?}", bench.tau(&truth));
    assert!(bench.standings("hostile").iter().all(|standing| *standing == Standing::Ignored), "{bench:?}");
}

#[test]
fn a_flood_by_somebody_who_is_ignored_has_no_slope() {
    let mut stream = stream(2);
    let (truth, people) = (truth(&mut stream), population(&mut stream));
    let mut bench = Bench::new(ReliabilityConfig::default());
    bench.config.centring = 0.0;
    bench.run(&events(&people, 60, &truth, &mut stream), 2, true, &mut stream);
    assert_eq!(bench.standings("hostile0"), [Standing::Ignored]);
    let flood: Vec<Event> =
        (0..100).map(|_| people.iter().find(|one| one.name == "hostile0").unwrap().rate(&truth, &mut stream)).collect();
    let statements = Bench::statements(&flood.iter().collect::<Vec<_>>());
    let voices = bench.people.voices(&["hostile0"]);
    bench.adam.zero_grad();
    batch_loss(&statements, &bench.scores, &bench.scale, &voices, &bench.config).total.backward();
    assert_eq!(bench.scores.grad().abs().max().double_value(&[]), 0.0);
    let found = evidence(&statements, &bench.scores, &bench.scale, &voices, &bench.config).unwrap()[0];
    assert!(found.events == 100.0 && found.gradient[0] > 0.0, "they are still judged: {found:?}");
}
