//! Votes as JSON lines, and an evaluation on what is held out, by the program as it runs.
//!
//! Invariant: the test starts the real binary on a tiny model of its own and leaves nothing behind.

use std::path::Path;

use serde_json::Value;

use crate::program::{tiny, understudy_in};

const SETTINGS: [&str; 6] = [
    "model.trainable_layers=1",
    "source.bodies=false",
    "source.held_out=0.3",
    "generation.max_tokens=8",
    "generation.max_context=400",
    "phases.max_tokens=24",
];

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = understudy_in(folder, arguments, &SETTINGS).output().expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(folder, &[arguments, &["--json"]].concat())).expect("JSON on stdout")
}

#[test]
fn votes_go_out_and_come_in_and_a_model_and_a_reward_model_are_evaluated_on_what_is_held_out() {
    let folder = tempfile::tempdir().expect("a place for the data");
    let folder = folder.path();
    let path = |name: &str| folder.join(name).to_str().expect("a path of letters").to_owned();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sample");
    run(folder, &["ingest", sample, "--source", "sample", "--terms", "cc-by-sa-4.0"]);
    let rows = run(folder, &["data", "export", "--format", "rankings", "--split", "train"]);
    assert!(rows.lines().count() > 20);
    let pairs = path("pairs.jsonl");
    let done = json(folder, &["data", "export", "--format", "preference", "--out", &pairs]);
    assert_eq!(std::fs::read_to_string(&pairs).expect("whole").lines().count() as u64, done["rows"]);
    let first = json(folder, &["data", "report"]);
    assert!(first["parts"]["train"]["pairs"].as_u64() > Some(50) && first["duplicates"] == Value::Array(vec![]));
    // The same questions under another name: some of them are held out, and training knows them.
    std::fs::write(path("rows.jsonl"), &rows).expect("it can be written");
    let import = ["data", "import", &path("rows.jsonl"), "--source", "again", "--terms", "own", "--licence", "CC0-1.0"];
    assert_eq!(json(folder, &import)["questions"], rows.lines().count());
    let second = json(folder, &["data", "report"]);
    assert!(second["duplicates"].as_array().is_some_and(|twins| !twins.is_empty()), "{second}");

    let model = tiny(folder);
    run(folder, &["reward", "--model", &model, "--steps", "3", "--json"]);
    let (reward, report) = (path("data/models/reward"), path("report.md"));
    let evaluate = ["evaluate", "--model", &model, "--checkpoint", "base", "--compare", "base", "--questions", "4"];
    let more = ["--reward", &reward, "--judge", &reward, "--voted", "5", "--report", &report];
    let found = json(folder, &[&evaluate[..], &more].concat());
    let figures = &found["report"];
    // Against itself: all ties, no divergence.
    assert_eq!(figures["comparison"]["win_rate"]["ties"], 4);
    assert_eq!(figures["comparison"]["divergence"]["k3"]["mean"], 0.0);
    assert!(figures["model"]["perplexity"]["perplexity"].as_f64() > Some(1.0), "{figures}");
    assert!(figures["reward_model"]["longer"]["pairs"].as_u64() > Some(3), "{figures}");
    let text = std::fs::read_to_string(&report).expect("the report");
    assert!(text.contains("(report.svg)") && folder.join("report.svg").exists());
}
