//! Utilities, likelihoods and their gradients.

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use understudy_learning::reward::losses::bradley_terry::{BradleyTerry, bradley_terry_loss};
use understudy_learning::reward::losses::crowd::{crowd_bt_nll, temper_bt_nll};
use understudy_learning::reward::losses::davidson::{Choice, davidson_nll};
use understudy_learning::reward::losses::ordinal::{cumulative_logit_nll, level_log_probabilities};
use understudy_learning::reward::losses::plackett_luce::{Ties, plackett_luce_nll};
use understudy_learning::reward::losses::prompt_aware::{Reduction, listwise_utility_loss};
use understudy_learning::reward::losses::thumbs::thumbs_nll;
use understudy_learning::reward::losses::utility::{Dial, Utility};
use understudy_learning::reward::losses::weak_order::{WeightedPair, pairs_of_ranks};

use super::{json_of, list};

/// What the operation gives; `None` where it is not of this family.
pub(super) fn run(op: &str, input: &Value) -> Option<Value> {
    Some(match op {
        "utility" => utility(input),
        "listwise_utility_loss" => listwise(input),
        "gd_trajectory" => gd_trajectory(input),
        "bt_nll" => bradley_terry(input),
        "plackett_luce" => plackett_luce(input),
        "davidson" => davidson(input),
        "crowd_bt" => crowd(input, "eta", crowd_bt_nll),
        "temper_bt" => crowd(input, "beta", temper_bt_nll),
        "cumulative_logit" => cumulative_logit(input),
        "thumbs" => thumbs(input),
        "dial" if input.get("p_closed").is_some() => dial(input),
        _ => return None,
    })
}

fn constant(value: &Value) -> Tensor {
    Tensor::from_slice(&list(value))
}

fn leaf(value: &Value) -> Tensor {
    constant(value).set_requires_grad(true)
}

fn grad(leaf: &Tensor) -> Value {
    json_of(&leaf.grad())
}

fn utility_of(input: &Value) -> Utility {
    serde_json::from_value(input["utility"].clone()).expect("a utility")
}

fn ranks(input: &Value) -> Vec<i64> {
    list(&input["ranks"]).iter().map(|&rank| rank as i64).collect()
}

fn pairs(input: &Value) -> Vec<WeightedPair> {
    let Some(weighted) = input["pair_weights"].as_array() else { return pairs_of_ranks(&ranks(input)) };
    let of = |entry: &Value| {
        let numbers = list(entry);
        WeightedPair { better: numbers[0] as usize, worse: numbers[1] as usize, weight: numbers[2] }
    };
    weighted.iter().map(of).collect()
}

fn utility(input: &Value) -> Value {
    let (x, utility) = (leaf(&input["x"]), utility_of(input));
    let value = utility.value(&x);
    value.sum(Kind::Double).backward();
    // The plain forms say the same as the tensors.
    for (at, plain) in list(&input["x"]).into_iter().enumerate() {
        let (value, slope) = (value.double_value(&[at as i64]), x.grad().double_value(&[at as i64]));
        let (own, own_slope) = (utility.value_f64(plain), utility.slope_f64(plain));
        assert!((own - value).abs() <= 1e-11 * value.abs().max(1.0), "{utility:?} at {plain}: {own} {value}");
        assert!((own_slope - slope).abs() <= 1e-11 * slope.abs().max(1.0), "{utility:?} at {plain}");
    }
    json!({"value": json_of(&value), "d1": grad(&x)})
}

fn listwise(input: &Value) -> Value {
    let z = leaf(&input["z"]);
    let reduction = if input["reduction"] == "sum" { Reduction::Sum } else { Reduction::Mean };
    let loss = listwise_utility_loss(&z, &pairs(input), |x| utility_of(input).value(x), reduction);
    loss.backward();
    json!({"loss": json_of(&loss), "grad_z": grad(&z), "rewards": json_of(&z.sigmoid())})
}

fn gd_trajectory(input: &Value) -> Value {
    let (rate, mut z) = (list(&input["lr"])[0], leaf(&input["z"]));
    let loss = |z: &Tensor| listwise_utility_loss(z, &pairs(input), |x| utility_of(input).value(x), Reduction::Mean);
    for _ in 0..list(&input["steps"])[0] as usize {
        loss(&z).backward();
        z = (z.detach() - z.grad() * rate).set_requires_grad(true);
    }
    json!({"z": json_of(&z), "rewards": json_of(&z.sigmoid()), "loss": json_of(&loss(&z))})
}

fn bradley_terry(input: &Value) -> Value {
    let (chosen, rejected) = (leaf(&input["chosen"]), leaf(&input["rejected"]));
    let (margin, weight) = (input.get("margin").map(constant), input.get("weight").map(constant));
    let centring = input.get("center_rewards_coefficient").and_then(Value::as_f64).unwrap_or(0.0);
    let options = BradleyTerry { margin: margin.as_ref(), weight: weight.as_ref(), centring };
    let loss = bradley_terry_loss(&chosen, &rejected, options);
    loss.backward();
    json!({"loss": json_of(&loss), "grad_chosen": grad(&chosen), "grad_rejected": grad(&rejected)})
}

fn plackett_luce(input: &Value) -> Value {
    let ties = match input["ties"].as_str().expect("a kind of ties") {
        "strict" => Ties::Strict,
        "breslow" => Ties::Breslow,
        "efron" => Ties::Efron,
        "exact" => Ties::Exact,
        "davidson_luce" => Ties::DavidsonLuce,
        other => panic!("ties {other} are unknown"),
    };
    let (z, log_delta) = (leaf(&input["z"]), input.get("log_delta").map(leaf));
    let loss = plackett_luce_nll(&z, &ranks(input), ties, log_delta.as_ref());
    loss.backward();
    let mut results = json!({"loss": json_of(&loss), "grad_z": grad(&z)});
    if let Some(log_delta) = log_delta {
        results["grad_log_delta"] = grad(&log_delta);
    }
    results
}

fn davidson(input: &Value) -> Value {
    let outcome = match input["outcome"].as_str().expect("an outcome") {
        "win" => Choice::Win,
        "tie" => Choice::Tie,
        "loss" => Choice::Loss,
        other => panic!("outcome {other} is unknown"),
    };
    let (d, log_nu) = (leaf(&input["d"]), leaf(&input["log_nu"]));
    let loss = davidson_nll(&d, &log_nu, outcome);
    loss.sum(Kind::Double).backward();
    json!({"loss": json_of(&loss), "grad_d": grad(&d), "grad_log_nu": grad(&log_nu)})
}

/// Events are [annotator, winner, loser]; `name` is the annotators' parameter.
fn crowd(input: &Value, name: &str, nll: impl Fn(&Tensor, &Tensor) -> Tensor) -> Value {
    let events: Vec<Vec<f64>> = input["events"].as_array().expect("events").iter().map(list).collect();
    let column = |at: usize| Tensor::from_slice(&events.iter().map(|event| event[at] as i64).collect::<Vec<_>>());
    let (scores, parameter) = (leaf(&input["scores"]), leaf(&input[name]));
    let d = scores.index_select(0, &column(1)) - scores.index_select(0, &column(2));
    let loss = nll(&d, &parameter.index_select(0, &column(0))).sum(Kind::Double);
    loss.backward();
    json!({"loss_sum": json_of(&loss), "grad_scores": grad(&scores), format!("grad_{name}"): grad(&parameter)})
}

fn cumulative_logit(input: &Value) -> Value {
    let (scores, thresholds) = (leaf(&input["scores"]), leaf(&input["thresholds"]));
    let (bias, log_kappa) = (leaf(&input["bias"]), constant(&input["kappa"]).log().set_requires_grad(true));
    let log_p = level_log_probabilities(&scores, &thresholds, &log_kappa.exp(), &bias);
    let shares = Tensor::zeros_like(&log_p.detach());
    for (row, rating) in list(&input["ratings"]).iter().enumerate() {
        let _ = shares.get(row as i64).get(*rating as i64 - 1).fill_(1.0);
    }
    let loss = cumulative_logit_nll(&log_p, &shares).sum(Kind::Double);
    loss.backward();
    json!({
        "loss_sum": json_of(&loss),
        "grad_scores": grad(&scores),
        "grad_thresholds": grad(&thresholds),
        "grad_log_kappa": grad(&log_kappa),
        "grad_bias": grad(&bias),
    })
}

fn thumbs(input: &Value) -> Value {
    let (scores, threshold) = (leaf(&input["scores"]), leaf(&input["threshold"]));
    let loss = thumbs_nll(&scores, &constant(&input["up"]), &threshold, list(&input["kappa"])[0]).sum(Kind::Double);
    loss.backward();
    json!({"loss_sum": json_of(&loss), "grad_scores": grad(&scores), "grad_threshold": grad(&threshold)})
}

fn dial(input: &Value) -> Value {
    let clip = list(&input["clip"]);
    let dial = Dial::from_closedness(list(&input["p_closed"])[0], (clip[0], clip[1]));
    json!({"lam": dial.lambda, "range_scale": dial.range_scale})
}
