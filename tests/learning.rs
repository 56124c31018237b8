//! Does the whole loop learn what people like? On a tiny model, in process: questions, answers, rankings, a reward model
//! that learns from them, PPO that learns from the reward model, and new answers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use understudy_actors::daemon::{ChatRequest, Daemon, DaemonConfig, DaemonHandle, DaemonParts};
use understudy_actors::failpoint::Failpoints;
use understudy_actors::messages::{LoopEvent, TokenEvent};
use understudy_actors::testkit::{
    Opinion, Scripted, bright_tokens, decided_base, noise, question, running, sampling, tiny_config, tiny_parts,
};
use understudy_model::text::Message;

/// Updates between before and after.
const UPDATES: usize = 40;
/// Fresh answers to each of the eight questions, on either side.
const MEASURED: usize = 32;
/// Tokens in an answer.
const LENGTH: usize = 8;

fn config(seed: u64) -> DaemonConfig {
    let mut config = tiny_config(seed);
    config.asking.sampling = sampling(LENGTH);
    config.ppo.batch_size = 32;
    config.ppo.minibatch_size = 32;
    config.ppo.micro_batch_size = 32;
    config.ppo.learning_rate = 5e-4;
    config.ppo.value_learning_rate = 5e-3;
    config.ppo.kl_coef = 0.5;
    config.ppo.max_staleness = 1;
    config.engine.max_sequences = 32;
    config.reward.learning_rate = 2e-3;
    config.reward.head_learning_rate = 1e-2;
    config.hearing.minibatches_per_event = 0.5;
    config.checkpoint_every = 0;
    config
}

/// What one run showed.
struct Run {
    before: Vec<f64>,
    after: Vec<f64>,
    /// The largest on the way.
    kl_per_sequence: f64,
    accuracy: f64,
}

/// What fresh answers to all questions are worth. The same random streams each time.
async fn measure(handle: &DaemonHandle, gold: &Opinion) -> Vec<f64> {
    // Nothing more is asked to learn, and what is under way is learned; then the policy stands still.
    handle.bus().pace.close();
    let mut events = handle.events();
    while timeout(Duration::from_millis(300), events.next()).await.is_ok() {}
    let mut values = Vec::new();
    for i in 0..8 {
        let request = ChatRequest {
            messages: vec![Message::user(question(&format!("q{i}")).text())],
            samples: MEASURED,
            sampling: understudy_learning::stages::Sampling { seed: 1_000_000 + i, ..sampling(LENGTH) },
            stop: Vec::new(),
            deadline: Instant::now() + Duration::from_secs(60),
            asked_at: 0,
        };
        let mut stream = handle.chat(request).expect("serving is never refused");
        while let Some(event) = stream.next().await {
            match event {
                TokenEvent::Token { .. } => {}
                TokenEvent::Finished { answer, .. } => {
                    let answer = handle.answers().find(answer).expect("the store reads").expect("it was just told");
                    values.push(gold(&answer));
                }
                TokenEvent::Failed(why) => panic!("{why}"),
            }
        }
    }
    values
}

async fn start(seed: u64, dir: &TempDir, gold: &Opinion, judge: Option<Opinion>) -> Daemon {
    let parts = tiny_parts(dir.path(), seed, Scripted::honest(gold.clone()), Failpoints::off());
    let parts = DaemonParts { model: decided_base(seed), judge, ..parts };
    Daemon::start(config(seed), parts).await.expect("the tiny daemon starts")
}

async fn end(daemon: Daemon) {
    let by = Instant::now() + Duration::from_secs(60);
    daemon.drain(by).run(by, std::future::pending()).await.expect("a clean end");
}

fn learn(seed: u64, judge: Option<Opinion>) -> Run {
    let (first, second) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    running(async {
        // What is liked is the half of the vocabulary that the untrained policy prefers: a policy that only drifts
        // loses it, so that a rise is learning.
        let bright = bright_tokens(seed);
        let untrained = start(seed, &first, &bright, None).await;
        let before = measure(&untrained.handle(), &bright).await;
        end(untrained).await;
        let flip = mean(&before) < 0.5;
        let gold: Opinion = Arc::new(move |answer| if flip { 1.0 - bright(answer) } else { bright(answer) });
        let before = before.into_iter().map(|value| if flip { 1.0 - value } else { value }).collect();

        let daemon = start(seed, &second, &gold, judge).await;
        let handle = daemon.handle();
        let mut events = handle.events();
        let mut kl = Vec::new();
        while kl.len() < UPDATES {
            if let LoopEvent::PolicyUpdate { report, .. } = events.next().await.expect("the loop goes on") {
                kl.push(report.kl_per_sequence);
            }
        }
        let accuracy = handle.status().reward.accuracy.expect("rankings were foretold");
        let after = measure(&handle, &gold).await;
        end(daemon).await;
        // Of a few answers each: their running mean is what the target is about.
        let kl_per_sequence = kl.windows(5).map(mean).fold(0.0, f64::max);
        Run { before, after, kl_per_sequence, accuracy }
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Squared standard error of the mean.
fn error2(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (values.len() * (values.len() - 1)) as f64
}

/// How far one run's gold reward wanders when there is nothing to learn (standard deviation, rounded up, over 18 runs). Answers of
/// one run share a policy, so their own standard error says nothing of this.
const DRIFT: f64 = 0.08;

fn runs(seeds: std::ops::RangeInclusive<u64>, judge: fn(u64) -> Option<Opinion>) -> Vec<Run> {
    let show = |run: &Run| {
        let (before, after) = (mean(&run.before), mean(&run.after));
        println!("{before:.3} -> {after:.3}, KL {:.2}, agreement {:.2}", run.kl_per_sequence, run.accuracy);
    };
    seeds.map(|seed| learn(seed, judge(seed))).inspect(show).collect()
}

fn mean_rise(runs: &[Run]) -> f64 {
    runs.iter().map(|run| mean(&run.after) - mean(&run.before)).sum::<f64>() / runs.len() as f64
}

#[test]
fn fresh_answers_get_better_by_three_standard_errors_without_leaving_the_reference() {
    let runs = runs(1..=3, |_| None);
    let answers = runs.iter().map(|run| error2(&run.after) + error2(&run.before)).sum::<f64>() / 9.0;
    let error = (answers + DRIFT.powi(2) / 3.0).sqrt();
    let rise = mean_rise(&runs);
    assert!(rise >= 3.0 * error, "the mean gold reward rose by {rise:.3}, the standard error is {error:.3}");
    let accuracy: Vec<f64> = runs.iter().map(|run| run.accuracy).collect();
    assert!(mean(&accuracy) > 0.55, "the reward model foretells better than chance: {accuracy:?}");
    let most = 2.0 * config(0).ppo.target_kl_per_sequence;
    for run in runs {
        assert!(mean(&run.after) > mean(&run.before), "in each run");
        let kl = run.kl_per_sequence;
        assert!(kl < most, "KL {kl} nats per sequence, the target's double is {most}");
    }
}

#[test]
fn with_noise_for_a_reward_they_do_not() {
    // Twice as many runs, because what is shown is that nothing is there.
    let runs = runs(1..=6, |seed| Some(noise(seed)));
    let answers = runs.iter().map(|run| error2(&run.after) + error2(&run.before)).sum::<f64>() / 36.0;
    let error = (answers + DRIFT.powi(2) / 6.0).sqrt();
    let rise = mean_rise(&runs);
    assert!(
        rise < 3.0 * error,
        "the mean gold reward rose by {rise:.3} with nothing to learn, {error:.3} is its error"
    );
}
