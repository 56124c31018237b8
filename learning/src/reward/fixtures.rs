//! Runs the reference cases of reward.json; cases are discovered, operations must be known.

use serde_json::Value;
use tch::{Kind, Tensor};

use super::losses::bradley_terry::{BradleyTerry, bradley_terry_loss};
use super::losses::gradcheck::{close, f64s, numbers};
use super::losses::ordinal::{cumulative_logit_nll, level_log_probabilities};
use super::losses::prompt_aware::{Reduction, listwise_utility_loss};
use super::losses::thumbs::thumbs_nll;
use super::losses::utility::{Dial, Utility};
use super::losses::weak_order::{WeightedPair, pairs_of_ranks};

/// Operations of estimators that are not built yet: collapse theory and its monitor, annotator reliability, openness,
/// further ranking likelihoods. An operation that is neither here nor implemented fails.
const LATER: [&str; 14] = [
    "collapse_law",
    "collapse_optimum",
    "collapse_optimum_pairs",
    "crowd_bt",
    "davidson",
    "dawid_skene",
    "monitor",
    "openness",
    "plackett_luce",
    "spike_slab",
    "temper_bt",
    "vote_entropy",
    "w1_samples",
    "w1_to_law",
];

fn list(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_f64().expect("a number")).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

fn leaf(value: &Value) -> Tensor {
    f64s(&list(value)).set_requires_grad(true)
}

fn utility(input: &Value) -> Utility {
    serde_json::from_value(input["utility"].clone()).expect("a utility")
}

fn pairs(input: &Value) -> Vec<WeightedPair> {
    let ranks: Vec<i64> = list(&input["ranks"]).iter().map(|&rank| rank as i64).collect();
    let Some(weighted) = input["pair_weights"].as_array() else { return pairs_of_ranks(&ranks) };
    let of = |entry: &Value| {
        let numbers = list(entry);
        WeightedPair { better: numbers[0] as usize, worse: numbers[1] as usize, weight: numbers[2] }
    };
    weighted.iter().map(of).collect()
}

/// The results of an operation by name; `None` where the operation is not implemented.
fn run(op: &str, input: &Value) -> Option<Vec<(&'static str, Tensor)>> {
    Some(match op {
        "utility" => {
            let x = leaf(&input["x"]);
            let value = utility(input).value(&x);
            value.sum(Kind::Double).backward();
            vec![("value", value), ("d1", x.grad())]
        }
        "listwise_utility_loss" => {
            let z = leaf(&input["z"]);
            let reduction = if input["reduction"] == "sum" { Reduction::Sum } else { Reduction::Mean };
            let loss = listwise_utility_loss(&z, &pairs(input), |x| utility(input).value(x), reduction);
            loss.backward();
            vec![("loss", loss), ("grad_z", z.grad()), ("rewards", z.sigmoid())]
        }
        "gd_trajectory" => {
            let (rate, mut z) = (input["lr"].as_f64()?, leaf(&input["z"]));
            let loss =
                |z: &Tensor| listwise_utility_loss(z, &pairs(input), |x| utility(input).value(x), Reduction::Mean);
            for _ in 0..input["steps"].as_u64()? {
                loss(&z).backward();
                z = (z.detach() - z.grad() * rate).set_requires_grad(true);
            }
            vec![("z", z.shallow_clone()), ("rewards", z.sigmoid()), ("loss", loss(&z))]
        }
        "bt_nll" => {
            let (chosen, rejected) = (leaf(&input["chosen"]), leaf(&input["rejected"]));
            let optional = |name: &str| input.get(name).map(|value| f64s(&list(value)));
            let (margin, weight) = (optional("margin"), optional("weight"));
            let centring = input.get("center_rewards_coefficient").and_then(Value::as_f64).unwrap_or(0.0);
            let options = BradleyTerry { margin: margin.as_ref(), weight: weight.as_ref(), centring };
            let loss = bradley_terry_loss(&chosen, &rejected, options);
            loss.backward();
            vec![("loss", loss), ("grad_chosen", chosen.grad()), ("grad_rejected", rejected.grad())]
        }
        "cumulative_logit" => {
            let (scores, thresholds) = (leaf(&input["scores"]), leaf(&input["thresholds"]));
            let (bias, log_kappa) = (leaf(&input["bias"]), f64s(&[input["kappa"].as_f64()?.ln()]));
            let log_kappa = log_kappa.set_requires_grad(true);
            let log_p = level_log_probabilities(&scores, &thresholds, &log_kappa.exp(), &bias);
            let shares = Tensor::zeros_like(&log_p.detach());
            for (row, rating) in list(&input["ratings"]).iter().enumerate() {
                let _ = shares.get(row as i64).get(*rating as i64 - 1).fill_(1.0);
            }
            let loss = cumulative_logit_nll(&log_p, &shares).sum(Kind::Double);
            loss.backward();
            let gradients = [("grad_scores", &scores), ("grad_thresholds", &thresholds), ("grad_bias", &bias)];
            let mut results = vec![("loss_sum", loss), ("grad_log_kappa", log_kappa.grad())];
            results.extend(gradients.map(|(name, tensor)| (name, tensor.grad())));
            results
        }
        "thumbs" => {
            let (scores, threshold) = (leaf(&input["scores"]), leaf(&input["threshold"]));
            let loss = thumbs_nll(&scores, &f64s(&list(&input["up"])), &threshold, input["kappa"].as_f64()?);
            let loss = loss.sum(Kind::Double);
            loss.backward();
            vec![("loss_sum", loss), ("grad_scores", scores.grad()), ("grad_threshold", threshold.grad())]
        }
        // The other form of "dial" (from a variance ratio) belongs to the estimators that come later.
        "dial" => {
            let clip = list(&input["clip"]);
            let dial = Dial::from_closedness(input["p_closed"].as_f64()?, (clip[0], clip[1]));
            vec![("lam", f64s(&[dial.lambda])), ("range_scale", f64s(&[dial.range_scale]))]
        }
        _ => return None,
    })
}

fn is_later(op: &str, input: &Value) -> bool {
    LATER.contains(&op) || (op == "dial" && input.get("rho").is_some())
}

#[test]
fn fixture_cases_of_the_reward_losses() {
    let root = std::env::var("UNDERSTUDY_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures").to_owned());
    let path = std::path::Path::new(&root).join("numerics/reward.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let mut checked = 0;
    for case in file["cases"].as_array().expect("a list of cases") {
        let (id, op, input) = (&case["id"], case["op"].as_str().unwrap(), &case["input"]);
        if is_later(op, input) {
            continue;
        }
        let results = run(op, input).unwrap_or_else(|| panic!("{id}: operation {op} is unknown"));
        let expected = case["expected"].as_object().unwrap();
        for (name, value) in expected {
            let (_, got) = results.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{id}: {name}"));
            let wanted = list(value);
            let tolerance = case["tol_abs"].as_f64().unwrap();
            let worst = numbers(got).iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst.is_finite(), "{id} {name}: {got}");
            close(got, &wanted, tolerance);
        }
        checked += 1;
    }
    assert!(checked > 0, "{} holds no case that is implemented", path.display());
}
