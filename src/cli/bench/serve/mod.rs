//! `understudy bench serve`: what people see of a daemon that learns, beside one that does not.
//!
//! Invariant: both sides are the same program with the same clients; only that one learns from what it answers and from
//! ratings, and the other has none and asks in a way that is never learned from.

mod child;
mod client;
mod crowd;
mod figures;
mod rater;
mod sse;
mod stop;
mod watcher;

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::evaluate::held_out;
use crate::cli::{Failure, Global, Outcome, progress_bar};
use crate::config::Config;
use crate::resources;
use child::{Daemon, Folder};
use crowd::{Answers, Asking};
use rater::{Rater, latencies};
use stop::Stop;
use watcher::Watcher;

/// Longest question in characters.
const MOST_QUESTION: usize = 400;
/// Added to the temperature of clients whose answers are not to be learned from: only answers that were sampled at the
/// learner's own are.
const NOT_LEARNED: f64 = 1e-3;
/// Longest wait for the first answer.
const WARM: Duration = Duration::from_secs(300);
/// Longest wait for what is under way to be over before silence is measured.
const CALM: Duration = Duration::from_secs(60);
/// A loop that tells of no update for so long rests.
const REST: Duration = Duration::from_secs(4);
/// Longest wait, once asking goes on, for the policy to learn from the last ratings.
const SERVED: Duration = Duration::from_secs(60);

/// Flags of `bench serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Starts the daemon twice on loopback, with a temporary data directory: without learning, then learning from the clients'
own answers and from ratings that are posted at a stated rate. Then, on the learning one, it posts ratings one by one and
waits for each: while nobody asks, and while a few do. Ratings before the first score (hearing.ratings_before_scores) are
set to 0. Prints one JSON object, and a table on a terminal.

Example:
  understudy bench serve --clients 64 --seconds 60 | jq .ratio"
)]
pub(super) struct Flags {
    /// Clients that ask at the same time, each one question after another
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds of each side
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Tokens of an answer at most (generation.max_tokens)
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Ratings a second, on the learning side
    #[arg(long, default_value_t = 1.0)]
    ratings_per_s: f64,
    /// Ratings posted one by one, while nobody asks and again while a few do
    #[arg(long, default_value_t = 30)]
    ratings: usize,
    /// Clients that ask meanwhile
    #[arg(long, default_value_t = 4)]
    few: usize,
}

/// Runs `understudy bench serve`.
pub(super) fn run(global: &Global, flags: &Flags) -> Outcome {
    let config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    let times = [flags.seconds, flags.ratings_per_s];
    if flags.clients == 0 || flags.few == 0 || !times.iter().all(|time| time.is_finite() && *time > 0.0) {
        let sentence = "--clients, --few, --seconds and --ratings-per-s must be above 0";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    let begun = load_average();
    let bench = Bench { global, flags, asking: Questions::of(&config, flags)?, folder: Folder::new()? };
    let progress = progress_bar(4, "measurements", global.json);
    progress.set_message("not learning");
    let still = bench.still()?;
    progress.inc(1);
    progress.set_message("learning");
    let (learning, loop_) = bench.learning(|what| {
        progress.inc(1);
        progress.set_message(what);
    })?;
    progress.finish_and_clear();
    let ratio = ratios(&learning, &still);
    let report = json!({
        "machine": resources::machine(),
        "optimised_build": super::OPTIMISED,
        "load_average": {"before": begun, "after": load_average()},
        "model": config.model.path,
        "clients": flags.clients,
        "max_tokens": bench.asking.max_tokens,
        "max_sequences": config.generation.max_sequences,
        "ratings_per_s": flags.ratings_per_s,
        "not_learning": still,
        "learning": learning,
        "ratio": ratio,
        "loop": loop_,
    });
    if std::io::stderr().is_terminal() && !global.json {
        eprint!("{}", table(&report));
    }
    super::print(global, &report)
}

/// What clients ask.
struct Questions {
    texts: Vec<String>,
    max_tokens: usize,
    temperature: f64,
}

impl Questions {
    fn of(config: &Config, flags: &Flags) -> Result<Self, Failure> {
        let mut asked = config.clone();
        asked.source.held_out = asked.source.held_out.max(0.5);
        let questions = held_out(&asked, 64)?;
        let max_tokens = flags.max_tokens.unwrap_or(config.generation.max_tokens);
        // A character is a token at most, and the chat template needs some, too.
        let longest = MOST_QUESTION.min(config.generation.max_context.saturating_sub(max_tokens) / 2);
        Ok(Self {
            texts: questions.iter().map(|question| question.text().chars().take(longest).collect()).collect(),
            max_tokens,
            temperature: config.generation.temperature,
        })
    }
}

struct Bench<'a> {
    global: &'a Global,
    flags: &'a Flags,
    asking: Questions,
    folder: Folder,
}

impl Bench<'_> {
    fn daemon(&self, name: &str, more: &[&str]) -> anyhow::Result<Daemon> {
        // Nobody asks and rates but this bench.
        let alone = ["source.kind=none", "annotators.attention=0"];
        let settings: Vec<String> = alone.iter().chain(more).map(|setting| (*setting).to_owned()).collect();
        Daemon::start(self.global, &self.folder.join(name), &settings)
    }

    fn asking(&self, daemon: &Daemon, learned: bool) -> Asking {
        Asking {
            address: daemon.address,
            questions: self.asking.texts.clone(),
            max_tokens: self.asking.max_tokens,
            temperature: self.asking.temperature + if learned { 0.0 } else { NOT_LEARNED },
        }
    }

    /// The side that does not learn.
    fn still(&self) -> anyhow::Result<Value> {
        let daemon = self.daemon("still", &[])?;
        let asking = self.asking(&daemon, false);
        warm(&asking)?;
        let watcher = Watcher::open(daemon.address)?;
        let (answers, stop) = (Answers::default(), Stop::default());
        let (seen, seconds) = std::thread::scope(|scope| {
            let clients = scope.spawn(|| crowd::ask(&asking, self.flags.clients, &stop, &answers));
            stop.wait(Duration::from_secs_f64(self.flags.seconds));
            stop.now();
            clients.join().expect("clients count what fails")
        });
        Ok(with_updates(seen.json(seconds), &watcher))
    }

    /// The side that learns, and how long its loop takes.
    fn learning(&self, step: impl Fn(&'static str)) -> anyhow::Result<(Value, Value)> {
        let daemon = self.daemon("learning", &["hearing.ratings_before_scores=0"])?;
        let asking = self.asking(&daemon, true);
        let mut rater = Rater::new(daemon.address, warm(&asking)?);
        let watcher = Watcher::open(daemon.address)?;
        let answers = Answers::default();

        let stop = Stop::default();
        let (seen, seconds, crowded) = std::thread::scope(|scope| {
            let clients = scope.spawn(|| crowd::ask(&asking, self.flags.clients, &stop, &answers));
            let rates = scope.spawn(|| rater.at_a_rate(self.flags.ratings_per_s, &answers, &stop));
            stop.wait(Duration::from_secs_f64(self.flags.seconds));
            stop.now();
            let (seen, seconds) = clients.join().expect("clients count what fails");
            rates.join().expect("a rater returns its errors").map(|rated| (seen, seconds, rated))
        })?;
        let side = with_updates(seen.json(seconds), &watcher);

        step("ratings while nobody asks");
        calm(&watcher);
        let quiet = rater.one_by_one(self.flags.ratings, self.flags.ratings_per_s, &answers, &watcher)?;
        step("ratings while a few ask");
        let stop = Stop::default();
        let (few, few_asked) = std::thread::scope(|scope| {
            let clients = scope.spawn(|| crowd::ask(&asking, self.flags.few, &stop, &answers));
            let rated =
                rater.one_by_one(self.flags.ratings, self.flags.ratings_per_s, &answers, &watcher).inspect(|rated| {
                    watcher.wait(SERVED, |told| rated.iter().all(|one| one.is_served(told)));
                });
            stop.now();
            let (seen, seconds) = clients.join().expect("clients count what fails");
            rated.map(|rated| (rated, seen.json(seconds)))
        })?;
        let mut few = latencies(&few, &watcher);
        few["clients"] = self.flags.few.into();
        few["asked"] = few_asked;
        let mut crowded = latencies(&crowded, &watcher);
        crowded["clients"] = self.flags.clients.into();
        Ok((side, json!({"nobody_asks": latencies(&quiet, &watcher), "few_ask": few, "all_ask": crowded})))
    }
}

/// One answer before the clock starts: pages of the model are in memory then, and there is something to rate.
fn warm(asking: &Asking) -> anyhow::Result<u64> {
    let (answers, stop) = (Answers::default(), Stop::default());
    let end = Instant::now() + WARM;
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| crowd::ask(asking, 1, &stop, &answers));
        let answer = loop {
            let answer = answers.take();
            if answer.is_some() || Instant::now() > end {
                break answer;
            }
            stop.wait(Duration::from_millis(20));
        };
        stop.now();
        answer
    });
    answer.with_context(|| format!("not one question was answered within {} s", WARM.as_secs()))
}

/// Waits until updates under way are over.
fn calm(watcher: &Watcher) {
    let end = Instant::now() + CALM;
    loop {
        let before = watcher.told().happened();
        if !watcher.wait(REST, |told| told.happened() > before) || Instant::now() > end {
            return;
        }
    }
}

fn with_updates(mut side: Value, watcher: &Watcher) -> Value {
    let told = watcher.told();
    side["policy_updates"] = told.policy_updates().into();
    side["published_and_served"] = told.served().into();
    side["reward_updates"] = told.reward_updates.into();
    side
}

/// Learning over not learning.
fn ratios(learning: &Value, still: &Value) -> Value {
    let of = |path: &str| {
        let [learning, still] = [learning, still].map(|side| side.pointer(path).unwrap_or(&Value::Null));
        figures::ratio(learning, still)
    };
    json!({
        "tokens_per_s": of("/tokens_per_s"),
        "answers": of("/answers"),
        "first_token_p50": of("/first_token_s/p50"),
        "first_token_p99": of("/first_token_s/p99"),
        "between_tokens_p50": of("/between_tokens_s/p50"),
        "between_tokens_p99": of("/between_tokens_s/p99"),
    })
}

/// The kernel's load averages over 1, 5 and 15 minutes: other work on the machine is part of every figure.
fn load_average() -> Value {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).filter_map(|number| number.parse::<f64>().ok()).collect()
}

/// The figures that people ask for first.
fn table(report: &Value) -> String {
    let at = |path: String| {
        report.pointer(&path).map_or("-".to_owned(), |value| match value {
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        })
    };
    let mut text = format!("{:<28}{:>14}{:>14}{:>10}\n", "", "not learning", "learning", "ratio");
    let rows = [
        ("tokens a second", "tokens_per_s", "tokens_per_s"),
        ("first token p50, s", "first_token_s/p50", "first_token_p50"),
        ("first token p99, s", "first_token_s/p99", "first_token_p99"),
        ("between tokens p50, s", "between_tokens_s/p50", "between_tokens_p50"),
        ("between tokens p99, s", "between_tokens_s/p99", "between_tokens_p99"),
        ("answers", "answers", "answers"),
        ("refused (429)", "refused/429", ""),
        ("policy updates", "policy_updates", ""),
    ];
    for (name, path, ratio) in rows {
        let [still, learning] = ["not_learning", "learning"].map(|side| at(format!("/{side}/{path}")));
        let ratio = if ratio.is_empty() { String::new() } else { at(format!("/ratio/{ratio}")) };
        text.push_str(&format!("{name:<28}{still:>14}{learning:>14}{ratio:>10}\n"));
    }
    text.push_str(&format!(
        "\n{:<28}{:>14}{:>14}{:>14}\n",
        "seconds from a rating to", "nobody asks", "a few ask", "all ask"
    ));
    let rows = [
        ("learned, p50", "heard_to_learned_s/p50"),
        ("learned, p99", "heard_to_learned_s/p99"),
        ("answered with, p50", "heard_to_served_s/p50"),
        ("answered with, p99", "heard_to_served_s/p99"),
    ];
    for (name, path) in rows {
        let [quiet, few, all] = ["nobody_asks", "few_ask", "all_ask"].map(|when| at(format!("/loop/{when}/{path}")));
        text.push_str(&format!("{name:<28}{quiet:>14}{few:>14}{all:>14}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_learning_over_not_learning_and_the_table_shows_it() {
        let side = |rate: f64, first: f64| json!({"tokens_per_s": rate, "first_token_s": {"p50": first, "p99": null}});
        let (learning, still) = (side(30.0, 2.0), side(40.0, 1.0));
        let ratio = ratios(&learning, &still);
        assert_eq!((&ratio["tokens_per_s"], &ratio["first_token_p50"]), (&json!(0.75), &json!(2.0)));
        assert_eq!(ratio["first_token_p99"], Value::Null);
        let report = json!({"learning": learning, "not_learning": still, "ratio": ratio});
        let text = table(&report);
        let row = text.lines().find(|line| line.starts_with("tokens a second")).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["tokens", "a", "second", "40.0", "30.0", "0.75"]);
    }
}
