//! Runs in lockstep under SIGKILL: however often one is killed, it leaves bit for bit what an undisturbed one leaves.
//!
//! Invariant: the real program on a tiny model; the instants of the kills are seeded; what is compared is read from the
//! disk when no program runs: every record of the journal with its sequence number (answers, ratings, and of each update
//! the figures' bits and the weights' digest) and every part of the newest checkpoint.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use tokio::time::Instant;
use understudy_checkpoints::checkpoint::recover;
use understudy_checkpoints::{RecordKind, Store, StoreConfig};
use understudy_learning::rng::{Purpose, Stream};

use crate::crash::child::TINY;
use crate::crash::{number, pause};
use crate::program::{tiny, understudy};

/// How often the run is killed.
const KILLS: &str = "UNDERSTUDY_LOCKSTEP_KILLS";
/// Repeats the instants of the kills when it is set.
const SEED: &str = "UNDERSTUDY_TORTURE_SEED";
const USUAL_SEED: u64 = 20_261_122;
const USUAL_KILLS: u64 = 8;
/// Longest life of a run that is killed: some are over before anything was written, some see several checkpoints.
const LONGEST_LIFE_MS: usize = 2500;

/// A loop that answers, is rated, learns and saves all the time.
const SETTINGS: [&str; 6] = [
    "source.bodies=false",
    "annotators.attention=1.5",
    "hearing.ratings_before_scores=6",
    "hearing.minibatches_per_event=0.4",
    "hearing.monitor_every=2",
    "hearing.replay=12",
];

fn start(model: &str, data: &Path, updates: u64) -> Child {
    let updates = updates.to_string();
    let mut command = understudy();
    command.args(["simulate", "--lockstep", "--updates", &updates, "--model", model, "--data-dir"]).arg(data);
    TINY.iter().chain(&SETTINGS).for_each(|setting| {
        command.args(["--set", setting]);
    });
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

/// Runs to its end and tells how long it took.
fn run_out(model: &str, data: &Path, updates: u64) -> Duration {
    let began = Instant::now();
    let output = start(model, data, updates).wait_with_output().expect("it is waited for");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    began.elapsed()
}

/// What a run leaves.
struct Left {
    journal: Vec<(u64, RecordKind, u64, Vec<u8>)>,
    parts: BTreeMap<String, String>,
    state: serde_json::Value,
}

fn left(data: &Path) -> Left {
    let (store, _) = Store::open(
        data,
        StoreConfig { min_free_bytes: 0, schema: understudy_actors::answers::SCHEMA, ..StoreConfig::default() },
    )
    .expect("it opens");
    let mut journal = Vec::new();
    for kind in [RecordKind::Answer, RecordKind::Feedback, RecordKind::Published, RecordKind::Cursor] {
        let records = store.handle().read_from(kind, 0, 1_000_000).expect("it reads");
        journal.extend(records.into_iter().map(|record| (record.seq, kind, record.group, record.bytes)));
    }
    journal.sort();
    let checkpoint = recover(&data.join("checkpoints")).expect("it reads").checkpoint.expect("there is one");
    let parts = checkpoint.manifest.parts.iter().map(|part| (part.name.clone(), part.sha256.clone()));
    Left { journal, parts: parts.collect(), state: checkpoint.manifest.extra.clone() }
}

#[test]
fn crash_a_run_in_lockstep_killed_again_and_again_leaves_what_an_undisturbed_one_leaves() {
    let (kills, seed) = (number(KILLS).unwrap_or(USUAL_KILLS), number(SEED).unwrap_or(USUAL_SEED));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = tiny(folder.path());
    let (calm, disturbed) = (folder.path().join("calm"), folder.path().join("disturbed"));
    // About an update a kill, so that the run is not over before the last of them.
    let updates = kills.max(4);
    let undisturbed = run_out(&model, &calm, updates);
    println!("{SEED}={seed}: {updates} updates took {:.1} s undisturbed", undisturbed.as_secs_f64());
    let mut dice = Stream::new(seed, Purpose::Evaluation, 0);
    let mut killed = 0;
    for _ in 0..kills {
        let mut child = start(&model, &disturbed, updates);
        pause(Duration::from_millis(dice.below(LONGEST_LIFE_MS) as u64));
        match child.try_wait().expect("it is ours") {
            Some(status) => {
                let output = child.wait_with_output().expect("it ended");
                assert!(status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            None => {
                child.kill().expect("it is ours");
                child.wait().expect("it was killed");
                killed += 1;
            }
        }
    }
    run_out(&model, &disturbed, updates);
    let (whole, resumed) = (left(&calm), left(&disturbed));
    let published = whole.journal.iter().filter(|record| record.1 == RecordKind::Published).count();
    println!(
        "{SEED}={seed}: {killed} kills; {} records of which {published} updates, {} checkpoint parts compared",
        whole.journal.len(),
        whole.parts.len()
    );
    assert!(killed > 0 && published as u64 >= updates, "{killed} kills, {published} updates");
    let differs = whole.journal.iter().zip(&resumed.journal).find(|(a, b)| a != b);
    assert!(differs.is_none(), "{SEED}={seed}: the first record that differs: {differs:?}");
    assert_eq!(resumed.journal.len(), whole.journal.len(), "{SEED}={seed}");
    assert_eq!(resumed.parts, whole.parts, "{SEED}={seed}");
    assert_eq!(resumed.state, whole.state, "{SEED}={seed}");
}
