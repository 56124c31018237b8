//! The whole chain from log-probabilities to losses against numbers from elsewhere.
//!
//! Invariant: cases, inputs, settings and expected fields are what the file holds; one that is not known here fails.

use std::path::PathBuf;

use serde_json::Value;
use tch::{Kind, Tensor};

use super::advantage::generalised_advantages;
use super::kl::{KlClamp, KlEstimator, estimate_kl};
use super::loss::{PolicyClip, policy_loss, value_is_clipped, value_loss};
use super::reward::{ScorePlacement, length_mask, shape_rewards};
use super::whiten::{masked_mean, whiten, whiten_keeping_mean, zero_outside};

fn fixture(name: &str) -> Value {
    let root = std::env::var_os("UNDERSTUDY_FIXTURES")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")), PathBuf::from);
    let path = root.join("numerics").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Reads a number, list or table of numbers or booleans as an f64 tensor.
fn tensor(value: &Value) -> Tensor {
    match value {
        Value::Array(rows) => Tensor::stack(&rows.iter().map(tensor).collect::<Vec<_>>(), 0),
        Value::Bool(b) => Tensor::from(f64::from(u8::from(*b))),
        number => Tensor::from(number.as_f64().unwrap_or_else(|| panic!("{number} is no number"))),
    }
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

struct Settings {
    kl_coef: f64,
    estimator: KlEstimator,
    whiten_rewards: bool,
    gamma: f64,
    lambda: f64,
    clip: f64,
    value_clip: f64,
    value_coef: f64,
}

fn settings(args: &Value) -> Settings {
    let known =
        ["kl_coef", "kl_estimator", "whiten_rewards", "gamma", "lam", "cliprange", "cliprange_value", "vf_coef"];
    assert!(keys(args).iter().all(|key| known.contains(key)), "unknown setting among {:?}", keys(args));
    let number = |key: &str| args[key].as_f64().unwrap_or_else(|| panic!("{key} is no number"));
    Settings {
        kl_coef: number("kl_coef"),
        estimator: serde_json::from_value(args["kl_estimator"].clone()).expect("a known estimator"),
        whiten_rewards: args["whiten_rewards"].as_bool().expect("a boolean"),
        gamma: number("gamma"),
        lambda: number("lam"),
        clip: number("cliprange"),
        value_clip: number("cliprange_value"),
        value_coef: number("vf_coef"),
    }
}

/// Runs one case in `kind` and gives every quantity that the file may ask for.
fn run(input: &Value, kind: Kind) -> Vec<(&'static str, Tensor)> {
    let known =
        ["logprobs", "ref_logprobs", "values", "scores", "last_token_index", "args", "new_logprobs_raw", "vpred_raw"];
    assert!(keys(input).iter().all(|key| known.contains(key)), "unknown input among {:?}", keys(input));
    let args = settings(&input["args"]);
    let get = |key: &str| tensor(&input[key]).to_kind(kind);
    let lengths = tensor(&input["last_token_index"]).to_kind(Kind::Int64) + 1;
    let width = get("logprobs").size()[1];
    let mask = length_mask(&lengths, width, 0);
    let mask_p1 = length_mask(&lengths, width, 1);

    let kl = zero_outside(&estimate_kl(&get("logprobs"), &get("ref_logprobs"), args.estimator, KlClamp::NONE), &mask);
    let values = zero_outside(&get("values"), &mask_p1);
    let mut rewards = shape_rewards(&kl, &get("scores"), &lengths, args.kl_coef, ScorePlacement::OnePastLast);
    if args.whiten_rewards {
        rewards = whiten_keeping_mean(&rewards, &mask_p1);
    }
    let ended = Tensor::zeros([values.size()[0]], (kind, tch::Device::Cpu));
    let all = mask.ones_like();
    let found = generalised_advantages(&rewards, &values, &all, &ended, args.gamma, args.lambda);
    let advantages = whiten(&found.advantages, &mask);

    let clip = PolicyClip { low: args.clip, high: args.clip, dual: None };
    let policy = policy_loss(&get("new_logprobs_raw"), &get("logprobs"), &advantages, clip);
    let pg_loss = masked_mean(&policy, &mask);
    let new_values = zero_outside(&get("vpred_raw"), &mask_p1);
    let vf_loss = masked_mean(&value_loss(&new_values, &values, &found.returns, args.value_clip), &mask_p1);
    let vf_clipped = value_is_clipped(&new_values, &values, &found.returns, args.value_clip);
    let loss = &pg_loss + &vf_loss * args.value_coef;
    vec![
        ("non_score_reward", &kl * -args.kl_coef),
        ("kl", kl),
        ("rewards", rewards),
        ("advantages", advantages),
        ("returns", found.returns),
        ("padding_mask", mask.logical_not().to_kind(kind)),
        ("padding_mask_p1", mask_p1.logical_not().to_kind(kind)),
        ("pg_loss", pg_loss),
        ("vf_loss", vf_loss),
        ("vf_clipfrac", masked_mean(&vf_clipped.to_kind(kind), &mask_p1)),
        ("loss", loss),
    ]
}

fn check(kind: Kind, tolerance: f64) {
    let file = fixture("golden_ppo.json");
    let cases = file["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for (i, case) in cases.iter().enumerate() {
        let found = run(&case["input"], kind);
        for key in keys(&case["expect"]) {
            let have = &found.iter().find(|(name, _)| *name == key).unwrap_or_else(|| panic!("unknown field {key}")).1;
            let want = tensor(&case["expect"][key]);
            // The file's mean of booleans was taken in f32: seven digits.
            let tolerance = if key == "vf_clipfrac" { tolerance.max(1e-6) } else { tolerance };
            let gap = (have.to_kind(Kind::Double) - want).abs().max().double_value(&[]);
            assert!(gap <= tolerance, "case {i} {key}: off by {gap:e}");
        }
    }
}

#[test]
fn the_ppo_fixture_holds_to_1e_9_in_f64() {
    check(Kind::Double, 1e-9);
}

#[test]
fn the_ppo_fixture_holds_to_1e_5_in_f32() {
    check(Kind::Float, 1e-5);
}

/// How far `a` is from `b`, in parts of `b`.
fn relative_gap(a: &Tensor, b: &Tensor) -> f64 {
    ((a - b).norm() / b.norm()).double_value(&[])
}

#[test]
fn paying_the_last_token_instead_of_one_past_it_is_a_different_algorithm_by_the_ppo_fixture() {
    for case in fixture("golden_ppo.json")["cases"].as_array().expect("cases") {
        let input = &case["input"];
        let args = settings(&input["args"]);
        let lengths = tensor(&input["last_token_index"]).to_kind(Kind::Int64) + 1;
        let mask = length_mask(&lengths, tensor(&input["logprobs"]).size()[1], 0);
        let gap = tensor(&input["logprobs"]) - tensor(&input["ref_logprobs"]);
        let kl = zero_outside(&gap, &mask);
        let rewards = shape_rewards(&kl, &tensor(&input["scores"]), &lengths, args.kl_coef, ScorePlacement::OnLast);
        let ended = Tensor::zeros([rewards.size()[0]], (Kind::Double, tch::Device::Cpu));
        let values = tensor(&input["values"]);
        let found = generalised_advantages(&rewards, &values, &mask, &ended, args.gamma, args.lambda);
        let relative = relative_gap(&whiten(&found.advantages, &mask), &tensor(&case["expect"]["advantages"]));
        assert!(relative > 1e-3, "the two conventions give the same advantages: {relative}");
    }
}
