//! Phases on a tiny model and the built-in sample: exact to the bit across ends, honest about what they learned from.

use std::path::Path;

use indicatif::ProgressBar;
use tch::Tensor;
use tempfile::TempDir;
use understudy_model::testing::tiny_model;
use understudy_model::{ExportParts, GenerationDefaults, ModelCard, export};

use super::folder::{About, RewardFolder, write_model, write_reward};
use super::ppo::PpoPhase;
use super::reward::RewardPhase;
use super::run::{CURVE, Ending, Learned, Orders, run};
use super::sft::{SftPhase, policy_of};
use super::*;
use crate::bell::Bell;
use crate::config::{Config, Layers, Origin, Pace};
use crate::corpus::{self, Corpus};
use crate::failure::Failure;
use crate::sources::stack_exchange::ingest::{Provenance, ingest};
use crate::sources::{Split, split};
use crate::speaker::Which;

/// A data directory with the sample brought in and a tiny model, and a configuration for both.
pub(super) fn config(folder: &TempDir, more: &[(&str, &str)]) -> Config {
    let model = folder.path().join("tiny");
    if !model.exists() {
        let tiny = tiny_model(7);
        let defaults = GenerationDefaults { eos_tokens: tiny.config.eos_tokens.clone(), ..Default::default() };
        let (config, weights, text) = (&tiny.config, &tiny.weights, Some(&tiny.text));
        let card = ModelCard { name: "tiny".into(), ..ModelCard::default() };
        export(&model, ExportParts { config, weights, text, defaults: &defaults, card: &card, attribution: None })
            .unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample");
        let provenance = Provenance { source: "sample".into(), terms: "own".into(), site: None, may_train: false };
        let bar = ProgressBar::hidden();
        ingest(&sample, &folder.path().join("data/corpus"), &provenance, &bar, &bar).unwrap();
    }
    let mut layers = Layers::built_in();
    let data = folder.path().join("data").display().to_string();
    let model = model.display().to_string();
    let own = [
        ("data.dir", data.as_str()),
        ("model.path", model.as_str()),
        ("model.trainable_layers", "1"),
        ("source.bodies", "false"),
        ("source.held_out", "0.3"),
        ("generation.max_prompt", "100"),
        ("generation.max_tokens", "6"),
        ("generation.max_context", "128"),
        ("generation.samples_per_prompt", "2"),
        ("generation.kept_for_chat", "0"),
        ("ppo.batch_size", "4"),
        ("ppo.minibatch_size", "4"),
        ("phases.max_tokens", "24"),
        ("phases.held_out", "6"),
        ("phases.sft.learning_rate", "1e-3"),
        ("phases.sft.evaluate_every", "2"),
        ("phases.reward.evaluate_every", "2"),
        ("phases.ppo.evaluate_every", "2"),
    ];
    for (key, value) in own.iter().chain(more) {
        layers.set(key, value, Origin::Flag("test".into())).unwrap();
    }
    layers.finish().unwrap().config
}

fn corpora(config: &Config) -> Vec<Corpus> {
    crate::cli::corpora::chosen(&config.data.dir, &[]).unwrap()
}

fn speaker(config: &Config) -> Speaker {
    Speaker::load(config, &Which::Base).unwrap_or_else(|error| panic!("{error}"))
}

fn pace(steps: u64) -> Pace {
    Pace { steps, evaluate_every: 2, save_every: 3, patience: 0, min_delta: 0.0 }
}

fn go(phase: &mut dyn Phase, work: &Path, pace: &Pace, settings: &Settings, stop: &Bell) -> Result<Learned, Failure> {
    let orders = Orders { work, pace, limit: None, settings: settings.clone(), anew: false };
    run(phase, &orders, stop, &ProgressBar::hidden())
}

/// Asks for the end in the middle of a step.
struct Cut {
    phase: Box<dyn Phase>,
    at: u64,
}

impl Phase for Cut {
    fn step(&mut self, step: u64, stop: &Bell) -> anyhow::Result<Option<Map<String, Value>>> {
        let learned = self.phase.step(step, stop)?;
        if step == self.at {
            stop.ring();
        }
        Ok(learned)
    }

    fn look(&mut self, stop: &Bell) -> anyhow::Result<Option<Look>> {
        self.phase.look(stop)
    }

    fn state(&self) -> LearnerState {
        self.phase.state()
    }

    fn restore(&mut self, state: LearnerState) -> anyhow::Result<()> {
        self.phase.restore(state)
    }

    fn product(&self) -> LearnerState {
        self.phase.product()
    }
}

fn bits(state: &LearnerState) -> Vec<(String, Vec<u8>)> {
    let bytes = |tensor: &Tensor| {
        let tensor = tensor.contiguous();
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        bytes
    };
    let mut bits: Vec<_> = state.tensors.iter().map(|(name, tensor)| (name.clone(), bytes(tensor))).collect();
    bits.sort();
    bits
}

/// Seven steps at once, and the same with an end by a bound after two and one by a signal during the fifth.
fn exact(folder: &TempDir, fresh: impl Fn() -> Box<dyn Phase>) {
    let work = |name: &str| folder.path().join(name);
    let settings = Settings::new();
    let mut whole = fresh();
    let one = go(&mut *whole, &work("whole"), &pace(7), &settings, &Bell::default()).unwrap();
    go(&mut *fresh(), &work("cut"), &pace(2), &settings, &Bell::default()).unwrap();
    let mut cut = Cut { phase: fresh(), at: 4 };
    let ended = go(&mut cut, &work("cut"), &pace(7), &settings, &Bell::default());
    let Err(Failure::Ended { code: 130, sentence }) = ended else { panic!("{ended:?}") };
    assert!(sentence.contains("after step 5 of 7: saved"), "{sentence}");
    let mut last = fresh();
    let other = go(&mut *last, &work("cut"), &pace(7), &settings, &Bell::default()).unwrap();
    assert_eq!((one.resumed, other.resumed, other.steps), (0, 5, 7));
    assert_eq!((one.best_step, &one.before, &one.after), (other.best_step, &other.before, &other.after));
    assert!(bits(&one.product) == bits(&other.product), "what becomes the model differs");
    assert!(bits(&whole.state()) == bits(&last.state()), "the learners differ");
    assert_eq!(whole.state().scalars, last.state().scalars);
    let curve = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(work(name).join(CURVE)).unwrap();
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.iter_mut().for_each(|line| line["seconds"] = Value::Null);
        lines
    };
    assert_eq!(curve("whole"), curve("cut"));
    assert_eq!(curve("whole").iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 4, 6]);
}

#[test]
fn an_sft_run_that_was_ended_twice_is_the_run_that_was_not_bit_for_bit() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, &[]);
    let (corpora, speaker) = (corpora(&config), speaker(&config));
    exact(&folder, || Box::new(SftPhase::new(&config, &corpora, &speaker).unwrap()));
}

#[test]
fn a_reward_run_that_was_ended_twice_is_the_run_that_was_not_bit_for_bit() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, &[]);
    let (corpora, speaker) = (corpora(&config), speaker(&config));
    exact(&folder, || Box::new(RewardPhase::new(&config, &corpora, &speaker, Split::Train).unwrap()));
}

/// A reward model of a few steps, in its folder.
fn a_reward_model(folder: &TempDir, config: &Config) -> std::path::PathBuf {
    let (corpora, speaker) = (corpora(config), speaker(config));
    let mut phase = RewardPhase::new(config, &corpora, &speaker, Split::Train).unwrap();
    let settings = phase.settings.clone();
    let learned = go(&mut phase, &folder.path().join("reward"), &pace(3), &settings, &Bell::default()).unwrap();
    let about = About::of("reward", &speaker, &config.model.path, &corpora, &learned);
    let target = folder.path().join("models/reward");
    let state = phase.normalised(&learned.product, &speaker, config).unwrap();
    write_reward(&target, &state, &phase.config, &about, &phase.credits).unwrap();
    target
}

#[test]
fn a_ppo_run_that_was_ended_twice_is_the_run_that_was_not_bit_for_bit() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, &[]);
    let reward = a_reward_model(&folder, &config);
    let (corpora, speaker) = (corpora(&config), speaker(&config));
    exact(&folder, || Box::new(PpoPhase::new(&config, &corpora, &speaker, &reward).unwrap()));
}

#[test]
fn each_look_asks_the_same_with_the_same_seeds_and_tells_how_far_the_policy_is_from_where_it_began() {
    let folder = TempDir::new().unwrap();
    // A head that says something from the start: three steps teach little.
    let reward = a_reward_model(&folder, &config(&folder, &[("reward.head_start", "normal")]));
    let looks = |rate: &str| -> Vec<Map<String, Value>> {
        let config = config(&folder, &[("ppo.learning_rate", rate)]);
        let (corpora, speaker) = (corpora(&config), speaker(&config));
        let mut phase = PpoPhase::new(&config, &corpora, &speaker, &reward).unwrap();
        let settings = phase.settings.clone();
        let work = folder.path().join(rate);
        go(&mut phase, &work, &pace(5), &settings, &Bell::default()).unwrap();
        let curve = std::fs::read_to_string(work.join(CURVE)).unwrap();
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["held_out"].as_object().unwrap().clone();
        curve.lines().map(line).collect()
    };
    // Too little to change a weight in single precision.
    let still = looks("1e-15");
    assert!(still.len() == 3 && still.iter().all(|look| *look == still[0]), "{still:?}");
    let (score, kl) = (still[0]["score"].as_f64().unwrap(), still[0]["kl_per_sequence"].as_f64().unwrap());
    // Scores are measured from their mean. Two ways to compute the log-probabilities of some six tokens agree to 1e-4.
    assert!(score.abs() < 1e-9 && kl.abs() < 1e-3, "{score} {kl}");
    let moved = looks("3e-2");
    let kl = |look: &Map<String, Value>| look["kl_per_sequence"].as_f64().unwrap();
    assert!(kl(&moved[0]).abs() < 1e-3 && kl(&moved[2]) > 0.05, "{moved:?}");
}

/// Looks that tell these losses, one after the other; what it learned is the number of its steps.
struct Scripted {
    losses: Vec<f64>,
    steps: u64,
}

impl Phase for Scripted {
    fn step(&mut self, step: u64, _: &Bell) -> anyhow::Result<Option<Map<String, Value>>> {
        self.steps = step + 1;
        Ok(Some(Map::new()))
    }

    fn look(&mut self, _: &Bell) -> anyhow::Result<Option<Look>> {
        Ok(Some(Look { loss: self.losses[self.steps as usize], figures: Map::new() }))
    }

    fn state(&self) -> LearnerState {
        LearnerState { tensors: vec![("steps".into(), Tensor::from(self.steps as i64))], scalars: Value::Null }
    }

    fn restore(&mut self, state: LearnerState) -> anyhow::Result<()> {
        self.steps = state.tensors[0].1.int64_value(&[]) as u64;
        Ok(())
    }

    fn product(&self) -> LearnerState {
        self.state()
    }
}

#[test]
fn it_ends_when_there_is_no_gain_any_more_and_gives_the_best() {
    let folder = TempDir::new().unwrap();
    let every = |patience, min_delta| Pace { steps: 9, evaluate_every: 1, save_every: 2, patience, min_delta };
    let check = |name: &str, losses: &[f64], pace: &Pace, wanted: (Ending, u64, u64)| {
        let mut phase = Scripted { losses: losses.to_vec(), steps: 0 };
        let work = folder.path().join(name);
        for _ in 0..2 {
            // The second start finds that it is over.
            let learned = go(&mut phase, &work, pace, &Settings::new(), &Bell::default()).unwrap();
            let product = learned.product.tensors[0].1.int64_value(&[]) as u64;
            assert_eq!((learned.ending, learned.steps, learned.best_step), wanted, "{name}");
            assert_eq!(product, learned.best_step, "{name}");
        }
    };
    let falls = [5.0, 4.0, 3.0, 3.5, 3.2, 3.1, 1.0, 1.0, 1.0, 1.0];
    check("patient", &falls, &every(2, 0.0), (Ending::NoGain, 4, 2));
    check("never", &falls, &every(0, 0.0), (Ending::Steps, 9, 6));
    // Small gains are none, and the best is the best all the same.
    check("small", &[5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4, 4.3, 4.2, 4.1], &every(2, 0.5), (Ending::NoGain, 2, 2));
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_the_last_good_state_stays() {
    let folder = TempDir::new().unwrap();
    let pace = Pace { steps: 9, evaluate_every: 1, save_every: 1, patience: 0, min_delta: 0.0 };
    let mut phase = Scripted { losses: vec![5.0, 4.0, f64::NAN], steps: 0 };
    let error = go(&mut phase, folder.path(), &pace, &Settings::new(), &Bell::default()).unwrap_err();
    assert!(error.to_string().contains("the held-out loss at step 2 is NaN"), "{error}");
    assert_eq!(saved::read(folder.path()).unwrap().unwrap().position.step, 1);
}

#[test]
fn another_setting_is_refused_by_name_and_anew_begins_again() {
    let folder = TempDir::new().unwrap();
    let one = config(&folder, &[]);
    let (corpora, speaker) = (corpora(&one), speaker(&one));
    let work = folder.path().join("sft");
    let phase = |config: &Config| SftPhase::new(config, &corpora, &speaker).unwrap();
    let mut first = phase(&one);
    let settings = first.settings.clone();
    go(&mut first, &work, &pace(3), &settings, &Bell::default()).unwrap();
    let changes =
        [("phases.sft.learning_rate", "0.002"), ("phases.max_tokens", "23"), ("seed", "1"), ("source.held_out", "0.2")];
    for (key, value) in changes {
        let mut other = phase(&config(&folder, &[(key, value)]));
        let settings = other.settings.clone();
        let refused = go(&mut other, &work, &pace(3), &settings, &Bell::default()).unwrap_err();
        let Failure::Usage(sentence) = refused else { panic!("{refused:?}") };
        assert!(sentence.starts_with(&format!("{key} is {value}, but the run in")), "{sentence}");
    }
    let settings = Settings::from([("a".to_owned(), Value::Null)]);
    let orders = Orders { work: &work, pace: &pace(1), limit: None, settings, anew: true };
    let again = run(&mut phase(&one), &orders, &Bell::default(), &ProgressBar::hidden()).unwrap();
    assert_eq!((again.resumed, again.steps), (0, 1));
}

#[test]
fn addresses_are_learned_only_where_they_are_wanted() {
    let folder = TempDir::new().unwrap();
    let text = "See [the brewers](https://brew.example/a_b) first.";
    let tokens = |links: &str| {
        let config = config(&folder, &[("phases.links", links), ("phases.max_tokens", "300")]);
        let speaker = speaker(&config);
        let (tokens, whole) = material::answer(&speaker, text, &config).unwrap();
        assert!(whole);
        speaker.text().decode(&tokens[..tokens.len() - 1])
    };
    assert_eq!((tokens("true").as_str(), tokens("false").as_str()), (text, "See the brewers first."));
}

#[test]
fn scores_decide_which_pairs_are_learned() {
    let folder = TempDir::new().unwrap();
    let pairs = |scores: &str| {
        let config = config(&folder, &[("phases.scores", scores)]);
        let (corpora, speaker) = (corpora(&config), speaker(&config));
        let mut phase = RewardPhase::new(&config, &corpora, &speaker, Split::Train).unwrap();
        let settings = phase.settings.clone();
        let learned = go(&mut phase, &folder.path().join(scores), &pace(2), &settings, &Bell::default()).unwrap();
        assert_eq!(settings["phases.scores"], scores);
        (phase.size().1, learned.after["pairs"].as_u64().unwrap())
    };
    let (votes, llama, corrected) = (pairs("votes"), pairs("stack-llama"), pairs("corrected"));
    // Rounded logarithms are equal where votes are not; what is expected is never so even.
    assert!(llama.0 < votes.0 && votes.0 < corrected.0, "{llama:?} {votes:?} {corrected:?}");
}

#[test]
fn what_is_held_back_for_a_judge_is_learned_from_by_nothing_else() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, &[("source.held_back", "0.4")]);
    let (corpora, speaker) = (corpora(&config), speaker(&config));
    let gather = |part| {
        let material::Gathered { train, held_out, .. } = material::gather(&config, &corpora, part, |_| true).unwrap();
        assert!(train.iter().all(|thread| split::of(&thread.id, config.source.shares()) == part));
        assert!(held_out.iter().all(|thread| split::of(&thread.id, config.source.shares()) == Split::HeldOut));
        train.len()
    };
    let (learner, judge) = (gather(Split::Train), gather(Split::HeldBack));
    assert!(learner > 10 && judge > 10, "{learner} {judge}");
    let votes = |part| RewardPhase::new(&config, &corpora, &speaker, part).unwrap().size().0;
    assert!(votes(Split::Train) <= learner && votes(Split::HeldBack) <= judge);
    // Without a share for it there is no judge, and the answer says what to do.
    let none = RewardPhase::new(&self::config(&folder, &[]), &corpora, &speaker, Split::HeldBack).err().unwrap();
    assert!(none.to_string().contains("raise source.held_back"), "{none}");
}

#[test]
fn no_held_out_question_is_learned_from_and_every_post_that_is_has_its_author_named() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, &[]);
    let (corpora, mut speaker) = (corpora(&config), speaker(&config));
    let mut phase = SftPhase::new(&config, &corpora, &speaker).unwrap();
    let threads: Vec<corpus::Thread> = corpora[0].threads().unwrap().collect::<Result<_, _>>().unwrap();
    let part = |thread: &corpus::Thread| split::of(&thread.id, config.source.shares());
    let prompt =
        |thread: &corpus::Thread| material::prompt(&speaker, &material::asked(thread, &config), &config).unwrap();
    let learned: std::collections::BTreeSet<&[i64]> = phase.prompts().collect();
    let (mut trained, mut held) = (0, 0);
    for thread in threads.iter().filter(|thread| !material::to_imitate(thread, &config).is_empty()) {
        let is_learned = learned.contains(prompt(thread).as_slice());
        assert_eq!(is_learned, part(thread) == Split::Train, "{}", thread.id);
        *(if is_learned { &mut trained } else { &mut held }) += 1;
    }
    assert!(trained > 30 && held > 5, "{trained} {held}");

    let settings = phase.settings.clone();
    let learned = go(&mut phase, &folder.path().join("sft"), &pace(2), &settings, &Bell::default()).unwrap();
    let about = About::of("sft", &speaker, &config.model.path, &corpora, &learned);
    let target = folder.path().join("data/models/sft");
    for _ in 0..2 {
        // The second takes the place of the first.
        write_model(&target, &mut speaker, &policy_of(&learned.product), &about, &phase.credits).unwrap();
    }
    let lines = std::fs::read_to_string(target.join(credit::LINES)).unwrap();
    let named: std::collections::BTreeSet<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<credit::Credit>(line).unwrap())
        .inspect(|credit| assert_eq!((credit.source.as_str(), credit.terms.as_str()), ("sample", "own")))
        .map(|credit| credit.post)
        .collect();
    let mut wanted = std::collections::BTreeSet::new();
    for thread in threads.iter().filter(|thread| part(thread) == Split::Train) {
        let posts = material::to_imitate(thread, &config);
        wanted.extend(posts.iter().map(|post| post.id));
        wanted.extend((!posts.is_empty()).then_some(thread.question.id));
    }
    assert_eq!(named, wanted);
    let attribution = std::fs::read_to_string(target.join("ATTRIBUTION.md")).unwrap();
    assert!(attribution.contains("## sample") && attribution.contains("Terms: own"), "{attribution}");
    let card = std::fs::read_to_string(target.join("README.md")).unwrap();
    assert!(card.contains("- sample (terms: own)") && card.contains("perplexity"), "{card}");
    assert!(!folder.path().join("data/models/.sft.new").exists());

    // What is read back speaks with what was learned, and remembers whom it owes to.
    let again =
        Config { model: crate::config::Model { path: target.clone(), ..config.model.clone() }, ..config.clone() };
    let read = self::speaker(&again);
    let product = policy_of(&learned.product);
    for (name, now) in &read.branch.parameters() {
        assert!(now.equal(&product.iter().find(|(other, _)| other == name).unwrap().1), "{name}");
    }
    assert_eq!(digest(&read.trunk.tensors()), about.trunk);
    assert_eq!(credit::Credits::of_model(&target).unwrap().len(), phase.credits.len());
    let next = About::of("ppo", &read, &target, &corpora, &learned);
    assert_eq!((next.base_model.as_deref(), next.phases.join(" ")), (Some("tiny"), "sft ppo".to_owned()));
}

#[test]
fn sft_on_the_sample_lowers_the_perplexity_of_held_out_answers() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, &[("phases.sft.learning_rate", "3e-3"), ("phases.sft.warmup", "0")]);
    let (corpora, speaker) = (corpora(&config), speaker(&config));
    let mut phase = SftPhase::new(&config, &corpora, &speaker).unwrap();
    assert!((0.0..0.2).contains(&phase.padding(config.phases.sft.micro_batch_size)), "little is padded");
    let settings = phase.settings.clone();
    let learned = go(&mut phase, &folder.path().join("sft"), &pace(12), &settings, &Bell::default()).unwrap();
    let perplexity = |figures: &Map<String, Value>| figures["perplexity"].as_f64().unwrap();
    let (before, after) = (perplexity(&learned.before), perplexity(&learned.after));
    // A random model over bytes learns their frequencies in a few steps: hundreds become dozens.
    assert!(after < 0.5 * before, "{before} -> {after}");
}

#[test]
fn a_reward_folder_is_read_back_and_refused_above_other_frozen_layers() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, &[]);
    let target = a_reward_model(&folder, &config);
    let speaker = speaker(&config);
    let read = RewardFolder::read(&target, &speaker.trunk.tensors()).unwrap();
    // The best look may be that before the first step: a random model has little to tell answers apart by.
    let version = read.state.scalars["version"].as_u64();
    assert_eq!((read.about.phase.as_str(), version), ("reward", Some(read.about.best_step)));
    assert_eq!(read.state.scalars["annotators"]["people"], serde_json::json!({}), "the voters are nobody in a daemon");
    let refused = RewardFolder::read(&target, &tiny_model(8).trunk.tensors()).unwrap_err().to_string();
    assert!(refused.contains("stands on other frozen layers"), "{refused}");
}

#[test]
fn two_processes_cannot_learn_in_one_folder() {
    let folder = TempDir::new().unwrap();
    struct Inside<'a>(&'a Path);
    impl Phase for Inside<'_> {
        fn step(&mut self, _: u64, _: &Bell) -> anyhow::Result<Option<Map<String, Value>>> {
            Ok(Some(Map::new()))
        }
        fn look(&mut self, stop: &Bell) -> anyhow::Result<Option<Look>> {
            let mut other = Scripted { losses: vec![1.0], steps: 0 };
            let refused = go(&mut other, self.0, &pace(1), &Settings::new(), stop).unwrap_err();
            assert!(refused.to_string().contains("another process learns in"), "{refused}");
            Ok(Some(Look { loss: 1.0, figures: Map::new() }))
        }
        fn state(&self) -> LearnerState {
            LearnerState { tensors: vec![], scalars: Value::Null }
        }
        fn restore(&mut self, _: LearnerState) -> anyhow::Result<()> {
            Ok(())
        }
        fn product(&self) -> LearnerState {
            self.state()
        }
    }
    go(&mut Inside(folder.path()), folder.path(), &pace(1), &Settings::new(), &Bell::default()).unwrap();
}

#[test]
fn an_epoch_takes_every_example_once_with_its_like_and_in_an_order_of_its_own() {
    let lengths: Vec<usize> = (0..101).map(|place| 10 + place * 37 % 90).collect();
    let all = |epoch: u64| material::epoch(&lengths, 4, 3, epoch);
    let mut places: Vec<usize> = all(0).concat();
    places.sort_unstable();
    assert_eq!(places, (0..101).collect::<Vec<_>>());
    assert_eq!((all(0), all(1).len()), (all(0), lengths.len().div_ceil(4)));
    assert_ne!(all(0), all(1));
    let spread = |batch: &Vec<usize>| {
        let own = || batch.iter().map(|place| lengths[*place]);
        own().max().unwrap() - own().min().unwrap()
    };
    let mean = all(0).iter().map(spread).sum::<usize>() / all(0).len();
    // At random four of lengths from 10 to 99 are some 54 apart.
    assert!(mean < 20, "{mean}");
}
