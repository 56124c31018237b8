//! Pressure: far more questions and ratings than the daemon can take, from 64 connections over loopback.
//!
//! Invariant: nothing here depends on how fast the machine is but generous patience. Memory is looked at from outside, in
//! `/proc`; queues by the daemon's own metrics.

mod client;
mod crowd;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use understudy_checkpoints::checkpoint::recover;

use crate::crash::child::Daemon;
use crate::crash::process::{Look, look};
use crate::crash::{number, pause, stored_feedback};
use crate::program::{PATIENCE, tiny};
use client::Client;
use crowd::{Crowd, HALF, Outcome, Seen};

/// How long to go on; without it a short while.
const SECONDS: &str = "UNDERSTUDY_OVERLOAD_SECONDS";
const SHORT_SECONDS: u64 = 10;
/// Bounds that 64 connections, each with one request on its way, can reach.
const SETTINGS: [&str; 2] = ["generation.max_waiting=8", "store.queue=2"];
/// Resident memory may grow by so much after the first quarter, in MB: what was accepted meanwhile is kept, within the
/// store's own bounds, and the allocator is not exact.
const MOST_GROWTH: f64 = 64.0;
/// The first quarter of a short run is all warm-up: caches fill and the allocator takes what it will keep; that goes on for so
/// much more, in MB.
const WARMING_UP: f64 = 64.0;
/// Files that may be open for a moment: a checkpoint's part, a segment.
const FILES_IN_PASSING: usize = 12;
/// The pool for blocking reads keeps its thread for ten seconds after the last of them.
const THREADS_IN_PASSING: usize = 1;
/// Acknowledged ratings that are sent again afterwards.
const AGAIN: usize = 200;

/// The gauges of `/metrics` by queue: depth and capacity.
fn queues(client: &mut Client) -> BTreeMap<String, (f64, f64)> {
    let text = client.call("GET", "/metrics", &Value::Null).expect("metrics are always given").body;
    let mut queues: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in text.as_str().unwrap_or_default().lines() {
        let parts = line.split_once("{queue=\"").and_then(|(name, rest)| Some((name, rest.split_once("\"} ")?)));
        let Some((name, (queue, value))) = parts else { continue };
        let entry = queues.entry(queue.to_owned()).or_default();
        match name {
            "understudy_queue_depth" => entry.0 = value.parse().expect("a number"),
            "understudy_queue_capacity" => entry.1 = value.parse().expect("a number"),
            _ => {}
        }
    }
    queues.retain(|_, (_, capacity)| *capacity > 0.0);
    queues
}

/// The value below which a share of `values` lies, in milliseconds.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1))).map_or(0.0, |s| s * 1e3)
}

fn told(name: &str, one: &Outcome, usual: &Outcome, seconds: f64, usual_seconds: f64) -> String {
    let offered = (one.accepted + one.refusals()) as f64 / seconds;
    let (accepted, can) = (one.accepted as f64 / seconds, usual.accepted as f64 / usual_seconds);
    let mut text = format!("  {name}: {offered:.0}/s offered, {accepted:.0}/s accepted");
    let _ = write!(text, ", {:.0} offered to one accepted, refused {:?}", offered / accepted.max(0.1), one.refused);
    let (yes, no) = (&one.seconds.0, &one.seconds.1);
    let _ = write!(text, "; without overload {can:.0}/s");
    let _ = write!(
        text,
        "; p99 of the accepted {:.0} ms, of the refused {:.0} ms",
        quantile(yes, 0.99),
        quantile(no, 0.99)
    );
    text
}

fn range<T: Copy + Ord>(looks: &[Look], of: impl Fn(&Look) -> T) -> (T, T) {
    let values = || looks.iter().map(&of);
    (values().min().expect("looked at least once"), values().max().expect("looked at least once"))
}

#[test]
fn overload_is_refused_with_a_reason_in_bounded_memory_and_passes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, model) = (folder.path().join("data"), tiny(folder.path()));
    let mut daemon = Daemon::start_with(&data, &model, &SETTINGS);
    daemon.ready().expect("it starts");
    let (line, process) = (daemon.line(), daemon.process());
    let time = Duration::from_secs(number(SECONDS).unwrap_or(SHORT_SECONDS));
    let usual_time = time / 5;

    let crowd = Crowd::gather(line.address(), "usual", 2);
    pause(usual_time);
    let usual = crowd.leave();

    let (began, crowd) = (Instant::now(), Crowd::gather(line.address(), "many", HALF));
    let (mut looks, mut deepest, mut watcher) = (Vec::new(), BTreeMap::new(), Client::new(line.address()));
    while began.elapsed() < time {
        pause(Duration::from_millis(250));
        looks.push(look(process).expect("it lives"));
        for (queue, (depth, capacity)) in queues(&mut watcher) {
            assert!(depth <= capacity, "{queue} holds {depth} and should hold {capacity} at most");
            let deepest: &mut f64 = deepest.entry(queue).or_default();
            *deepest = deepest.max(depth);
        }
    }
    let seen = crowd.leave();
    let seconds = began.elapsed().as_secs_f64();

    println!("overload: {:.0} s, {} connections", seconds, 2 * HALF);
    println!("{}", told("chats", &seen.chats, &usual.chats, seconds, usual_time.as_secs_f64()));
    println!("{}", told("ratings", &seen.ratings, &usual.ratings, seconds, usual_time.as_secs_f64()));
    let (first, rest) = looks.split_at(looks.len() / 4);
    let resident = |looks: &[Look]| looks.iter().map(|look| look.resident).fold(0.0, f64::max);
    let (before, after) = (resident(first), resident(rest));
    let (files, threads) = (range(rest, |look| look.files), range(rest, |look| look.threads));
    println!(
        "  resident {before:.0} MB in the first quarter, {after:.0} MB after; files {files:?}, threads {threads:?}"
    );
    println!("  deepest queues {deepest:?}");

    assert!(seen.faults.is_empty(), "{:#?}", seen.faults);
    assert!(seen.chats.refusals() > seen.chats.accepted, "more chats than can be answered were refused");
    assert!(seen.ratings.refusals() > 0 && seen.ratings.accepted > 0, "some ratings were refused, some were taken");
    let bound = if number(SECONDS).is_some() { MOST_GROWTH } else { MOST_GROWTH + WARMING_UP };
    assert!(after - before < bound, "resident memory grew from {before:.0} MB to {after:.0} MB");
    assert!(files.1 - files.0 <= FILES_IN_PASSING, "open files went from {} to {}", files.0, files.1);
    assert!(threads.1 - threads.0 <= THREADS_IN_PASSING, "threads went from {} to {}", threads.0, threads.1);
    recovers(&mut Client::new(line.address()), &seen);
    let began = Instant::now();
    daemon.terminate();
    let status = daemon.ended();
    let (seconds, up_to) = (began.elapsed().as_secs_f64(), learned_up_to(&data));
    let last = seen.acknowledged.values().map(|(_, seq)| *seq).max().unwrap_or(0);
    println!("  it ended after {seconds:.1} s with {status:?}; ratings up to {up_to} of {last} are learned from");
    assert!(status.is_some_and(|status| status.success()), "SIGTERM ended with {status:?}");
    let left = !daemon.said("what was said since is learned at the next start").is_empty();
    assert!(left || up_to >= last, "the end left something unlearned and did not say so");
    let complaints = daemon.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    kept(&data, &seen);
}

/// The first request after the pressure is served, and what was acknowledged under it is known.
fn recovers(client: &mut Client, seen: &Seen) {
    let began = Instant::now();
    let body = json!({"messages": [{"role": "user", "content": "And now?"}], "max_tokens": 8});
    let reply = client.call("POST", "/v1/chat/completions", &body).expect("it answers");
    assert_eq!(reply.status, 200, "the first chat after the overload: {reply:?}");
    println!("  the first chat afterwards was answered after {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let apart = (seen.acknowledged.len() / AGAIN).max(1);
    for (id, (body, seq)) in seen.acknowledged.iter().step_by(apart) {
        // The loop's own answers share the short queue.
        let reply = loop {
            let reply = client.call("POST", "/v1/feedback", body).expect("it answers");
            if reply.status != 429 || began.elapsed() > PATIENCE {
                break reply;
            }
            pause(Duration::from_millis(5));
        };
        assert_eq!((&reply.body["seq"], &reply.body["duplicate"]), (&json!(seq), &json!(true)), "{id}: {reply:?}");
    }
}

/// Up to where the newest checkpoint has learned from what was said.
fn learned_up_to(data: &std::path::Path) -> u64 {
    let found = recover(&data.join("checkpoints")).expect("checkpoints can be listed");
    found.checkpoint.and_then(|newest| newest.manifest.extra["feedback_up_to"].as_u64()).unwrap_or(0)
}

/// Each acknowledged rating lies in the store once, under its number.
fn kept(data: &std::path::Path, seen: &Seen) {
    let stored = stored_feedback(data);
    for (id, (_, seq)) in &seen.acknowledged {
        let found: Vec<u64> = stored.get(id).into_iter().flatten().map(|(seq, _)| *seq).collect();
        assert_eq!(found, [*seq], "{id}");
    }
    println!("  {} acknowledged ratings, each kept once under its number", seen.acknowledged.len());
}
