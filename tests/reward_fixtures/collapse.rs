//! Reward collapse: optima, laws, distances, the monitor.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use understudy_learning::reward::collapse::{Law, Prompt, law, optimum, optimum_of_pairs, picture, w1, w1_to_law};
use understudy_learning::reward::losses::utility::Utility;
use understudy_learning::reward::losses::weak_order::WeightedPair;

use super::list;

fn utility(spec: &Value) -> Utility {
    serde_json::from_value(spec.clone()).expect("a utility")
}

fn law_of(input: &Value) -> Law {
    law(&utility(&input["utility"])).expect("a utility that has a law")
}

fn count(input: &Value) -> usize {
    input["n"].as_u64().expect("a count") as usize
}

/// What the operation gives; `None` where it is not of this family.
pub(super) fn run(op: &str, input: &Value) -> Option<Value> {
    Some(match op {
        "collapse_optimum" => {
            let found = optimum(&utility(&input["utility"]), count(input)).expect("sound input");
            let at = |end: f64| found.rewards.iter().filter(|&&reward| reward == end).count();
            json!({
                "rewards_best_first": found.rewards,
                "objective_sum": found.objective_sum,
                "at_one": at(1.0),
                "at_zero": at(0.0),
                "w1_to_law": w1_to_law(&found.rewards, &law_of(input)),
            })
        }
        "collapse_optimum_pairs" => {
            let pair = |entry: &Value| {
                let numbers = list(entry);
                WeightedPair { better: numbers[0] as usize, worse: numbers[1] as usize, weight: numbers[2] }
            };
            let pairs: Vec<WeightedPair> = input["pairs"].as_array().expect("pairs").iter().map(pair).collect();
            let found = optimum_of_pairs(&utility(&input["utility"]), count(input), &pairs).expect("sound input");
            json!({ "rewards": found.rewards, "objective_sum": found.objective_sum })
        }
        "collapse_law" => {
            let law = law_of(input);
            json!({
                "atom_each_end": law.atom_each_end,
                "variance": law.variance,
                "central_moment4": law.central_moment4,
                "rho": law.rho,
                "cdf": list(&input["x"]).iter().map(|&x| law.cdf(x)).collect::<Vec<_>>(),
                "quantile": list(&input["q"]).iter().map(|&q| law.quantile(q)).collect::<Vec<_>>(),
            })
        }
        "w1_samples" => json!({ "w1": w1(&list(&input["a"]), &list(&input["b"])) }),
        "w1_to_law" => json!({ "w1": w1_to_law(&list(&input["samples"]), &law_of(input)) }),
        "monitor" => monitor(input),
        _ => return None,
    })
}

fn monitor(input: &Value) -> Value {
    let entries = |name: &str| input[name].as_array().expect("a list").clone();
    let rewards: Vec<Vec<f64>> = entries("rewards").iter().map(list).collect();
    let groups = entries("groups");
    let specs = entries("utilities");
    let optima = specs
        .iter()
        .zip(&rewards)
        .map(|(spec, rewards)| optimum(&utility(spec), rewards.len()).expect("sound input").rewards);
    let optima: Vec<Vec<f64>> = optima.collect();
    let prompts = rewards.iter().zip(&optima).zip(&groups).map(|((rewards, optimum), group)| Prompt {
        rewards,
        optimum,
        group: group.as_str().expect("a name"),
    });
    let seen = picture(&prompts.collect::<Vec<_>>()).expect("prompts");
    let between = seen
        .between
        .iter()
        .map(|((a, b), apart)| (format!("{a}|{b}"), json!({ "between": apart.between, "wanted": apart.wanted })));
    json!({
        "to_law_mean": seen.to_optimum.iter().sum::<f64>() / seen.to_optimum.len() as f64,
        "to_law_max": seen.to_optimum.iter().copied().fold(0.0, f64::max),
        "to_law": seen.to_optimum,
        "within": seen.within,
        "dispersion": seen.dispersion,
        "between": between.collect::<BTreeMap<_, _>>(),
        "barycentre": seen.barycentre.iter().map(|(name, curve)| (name, curve.values())).collect::<BTreeMap<_, _>>(),
        "rho": seen.rho,
        "saturation": seen.saturation,
    })
}
