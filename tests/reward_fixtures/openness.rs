//! How closed-ended a question is: estimators and the dial by variance ratio.

use serde_json::{Value, json};
use understudy_learning::reward::losses::utility::Dial;
use understudy_learning::reward::openness::moments::{closedness_of_rho, moments, power_of_rho};
use understudy_learning::reward::openness::spike_slab::{
    POINTS, grid, log_bayes_factor, log_likelihood, posterior_mean,
};
use understudy_learning::reward::openness::vote_entropy;

use super::list;

/// What the operation gives; `None` where it is not of this family.
pub(super) fn run(op: &str, input: &Value) -> Option<Value> {
    let number = |key: &str| input[key].as_f64().expect("a number");
    Some(match op {
        "openness" => {
            let scores: Vec<Vec<f64>> = input["scores"].as_array()?.iter().map(list).collect();
            let prior = list(&input["prior_within"]);
            let found = moments(&scores, (prior[0], prior[1]))?;
            let mean = |grades: &Vec<f64>| grades.iter().sum::<f64>() / grades.len() as f64;
            let means: Vec<f64> = scores.iter().map(mean).collect();
            let variances: Vec<f64> = scores.iter().map(|one| found.within_shrunk / one.len() as f64).collect();
            let log_bf = log_bayes_factor(&log_likelihood(&means, &variances));
            let p_closed = 1.0 / (1.0 + (-log_bf - number("gate_logit")).exp());
            json!({
                "grand_mean": found.grand_mean,
                "within_var": found.within,
                "within_var_shrunk": found.within_shrunk,
                "between_var": found.between,
                "rho": found.rho,
                "p_moment": found.p_moment,
                "log_bf": log_bf,
                "p_closed": p_closed,
                "lam": Dial::from_closedness(p_closed, (0.02, 0.98)).lambda,
            })
        }
        "spike_slab" => {
            let likelihood = log_likelihood(&list(&input["means"]), &list(&input["var"]));
            json!({
                "p_mean": posterior_mean(&likelihood, number("gate"), number("strength")),
                "p_grid": (0..POINTS).map(grid).collect::<Vec<_>>(),
                "loglik": likelihood.to_vec(),
            })
        }
        "vote_entropy" => json!({ "entropy": vote_entropy(&list(&input["votes"]), number("alpha")) }),
        "dial" if input.get("rho").is_some() => {
            json!({ "p": closedness_of_rho(number("rho")), "power_s": power_of_rho(number("rho")) })
        }
        _ => return None,
    })
}
