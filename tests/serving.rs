//! `understudy bench serve` as it runs.
//!
//! Invariant: the test starts the real binary on a tiny model of its own and leaves nothing behind.

use serde_json::{Value, json};

use crate::program::{tiny, understudy};

#[test]
fn clients_are_served_while_the_loop_learns_from_them_and_every_rating_comes_back_as_a_better_policy() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let settings = [
        "model.trainable_layers=1",
        "generation.max_tokens=12",
        "generation.max_context=400",
        "ppo.batch_size=4",
        "ppo.minibatch_size=4",
    ];
    let mut command = understudy();
    command.args(["bench", "serve", "--clients", "4", "--seconds", "3", "--ratings", "4", "--few", "2"]);
    command.args(["--ratings-per-s", "4", "--model", &model]).env("TMPDIR", &temporary);
    settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for side in ["not_learning", "learning"] {
        let side = &report[side];
        assert_eq!((&side["failed"], &side["refused"]), (&json!({}), &json!({})), "{side}");
        assert!(side["answers"].as_u64() > Some(0) && side["tokens"].as_u64() > side["answers"].as_u64(), "{side}");
        assert!(side["first_token_s"]["p99"].is_f64() && side["between_tokens_s"]["p50"].is_f64(), "{side}");
    }
    let updates = |side: &str| ["policy_updates", "reward_updates"].map(|kind| report[side][kind].as_u64());
    assert_eq!(updates("not_learning"), [Some(0); 2]);
    assert!(updates("learning").iter().all(|updates| *updates > Some(0)), "{}", report["learning"]);
    assert!(report["ratio"]["tokens_per_s"].is_f64(), "{report}");
    let learned = |when: &str| report["loop"][when]["heard_to_learned_s"]["count"].as_u64();
    assert_eq!(["nobody_asks", "few_ask"].map(learned), [Some(4); 2], "{}", report["loop"]);
    assert_eq!(report["loop"]["few_ask"]["heard_to_served_s"]["count"], 4, "{}", report["loop"]);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "no data is left behind");
}
