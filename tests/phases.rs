//! The three phases as commands: from a dump to a model that every other command takes.
//!
//! Invariant: each test starts the real binary on a tiny model of its own and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::time::Instant;

use crate::program::{Daemon, PATIENCE, tiny, understudy_in};

const SETTINGS: [&str; 10] = [
    "model.trainable_layers=1",
    "source.bodies=false",
    "source.held_out=0.3",
    "generation.max_tokens=8",
    "generation.max_context=400",
    "ppo.batch_size=4",
    "ppo.minibatch_size=4",
    "phases.max_tokens=24",
    "phases.held_out=6",
    "phases.ppo.evaluate_every=2",
];

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = understudy_in(folder, arguments, &SETTINGS);
    command.arg("--json");
    command
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = command(folder, arguments).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

fn ingest(folder: &Path) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample");
    let sample = sample.to_str().expect("a path of letters");
    json(folder, &["ingest", sample, "--source", "sample", "--terms", "cc-by-sa-4.0"]);
}

fn path(folder: &Path, relative: &str) -> String {
    folder.join(relative).to_str().expect("a path of letters").to_owned()
}

#[test]
fn from_a_dump_to_a_policy_and_every_command_takes_what_the_phases_made() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, base) = (folder.path(), tiny(folder.path()));
    let nothing = command(folder, &["sft", "--model", &base]).output().expect("the binary runs");
    assert_eq!(nothing.status.code(), Some(3), "there is no corpus yet");
    ingest(folder);
    let sft = json(folder, &["sft", "--model", &base, "--steps", "4"]);
    assert_eq!((&sft["ending"], &sft["steps"], &sft["resumed_from"]), (&"steps".into(), &4.into(), &0.into()), "{sft}");
    assert!(sft["after"]["perplexity"].as_f64() < sft["before"]["perplexity"].as_f64(), "{sft}");
    let sft = path(folder, "data/models/sft");
    let reward = json(folder, &["reward", "--model", &sft, "--steps", "4"]);
    assert!(reward["after"]["accuracy"].is_f64() && reward["material"]["pairs"].as_u64() > Some(50), "{reward}");
    let ppo = json(folder, &["ppo", "--model", &sft, "--steps", "2"]);
    assert!(ppo["after"]["kl_per_sequence"].is_f64() && ppo["before"]["score"].as_f64() == Some(0.0), "{ppo}");
    for name in ["sft", "reward", "policy"] {
        let model = folder.join("data/models").join(name);
        for file in ["README.md", "ATTRIBUTION.md", "attribution.jsonl", "understudy.json"] {
            assert!(model.join(file).exists(), "{name} has no {file}");
        }
    }
    for model in [&sft, &path(folder, "data/models/policy")] {
        let answer = json(folder, &["ask", "Why?", "--model", model]);
        assert!(answer.is_object(), "{answer}");
        let mut evaluate = command(folder, &["evaluate", "--model", model, "--questions", "2"]);
        assert!(evaluate.output().expect("the binary runs").status.success());
    }
    let copy = path(folder, "out/copy");
    json(folder, &["export", &copy, "--checkpoint", "base", "--model", &sft]);
    for file in ["attribution.jsonl", "model.safetensors"] {
        let of = |model: &str| std::fs::read(Path::new(model).join(file)).expect("a file");
        assert!(of(&copy) == of(&sft), "{file}");
    }
    let again = command(folder, &["export", &copy, "--checkpoint", "base", "--model", &sft]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&again.stderr).contains("copy"), "what is there is never replaced");
    let start = format!("reward.start={}", path(folder, "data/models/reward"));
    let (other, settings) = (folder.join("live"), ["annotators.attention=0", &start]);
    let daemon = Daemon::start_with(&other, &sft, &settings);
    daemon.wait_for("understudy_ppo_updates_total");
    let version = daemon.get("/v1/status")["reward"]["version"].as_u64();
    assert_eq!(version, reward["best_step"].as_u64(), "the reward model is the one that learned from votes");
    assert_eq!(daemon.get("/v1/status")["reward"]["heard"], 0, "nobody has rated");
}

/// Ends `sft` by this signal once it has looked twice, and gives its exit code.
fn told(folder: &Path, model: &str, signal: &str) -> Option<i32> {
    let mut child = command(folder, &["sft", "--model", model, "--steps", "100000", "--set", "phases.sft.patience=0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let curve = folder.join("data/sft/curve.jsonl");
    let end = Instant::now() + PATIENCE;
    while std::fs::read_to_string(&curve).unwrap_or_default().lines().count() < 2 {
        assert!(Instant::now() < end, "it does not look");
        #[expect(clippy::disallowed_methods, reason = "another process is waited for; there is no clock to simulate")]
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill runs").success());
    child.wait().expect("it ends").code()
}

#[test]
fn a_signal_saves_and_the_same_command_goes_on() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let (folder, model) = (folder.path(), tiny(folder.path()));
        ingest(folder);
        assert_eq!(told(folder, &model, signal), Some(130));
        assert!(!folder.join("data/models/sft").exists(), "it is not over");
        let saved: Vec<PathBuf> =
            std::fs::read_dir(folder.join("data/sft")).unwrap().map(|e| e.unwrap().path()).collect();
        let step = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
        let newest = saved.iter().filter_map(step).max().expect("a checkpoint");
        let steps = (newest + 1).to_string();
        let again = json(folder, &["sft", "--model", &model, "--steps", &steps, "--set", "phases.sft.patience=0"]);
        assert_eq!((again["resumed_from"].as_u64(), again["steps"].as_u64()), (Some(newest), Some(newest + 1)));
        let mut other =
            command(folder, &["sft", "--model", &model, "--set", "phases.sft.patience=0", "--set", "seed=1"]);
        let refused = other.output().expect("the binary runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains("seed is 1, but the run in"), "{said}");
    }
}
