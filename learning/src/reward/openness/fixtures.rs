//! The estimator's reference values.

use serde_json::Value;

use super::moments::{closedness_of_rho, moments, power_of_rho};
use super::spike_slab::{POINTS, grid, log_bayes_factor, log_likelihood, posterior_mean};
use super::vote_entropy;

fn list(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(list).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}

fn run(op: &str, input: &Value) -> Option<Vec<(&'static str, Vec<f64>)>> {
    let number = |key: &str| input[key].as_f64().expect(key);
    Some(match op {
        "openness" => {
            let scores: Vec<Vec<f64>> = input["scores"].as_array()?.iter().map(list).collect();
            let prior = list(&input["prior_within"]);
            let found = moments(&scores, (prior[0], prior[1]))?;
            let means: Vec<f64> = scores.iter().map(|s| s.iter().sum::<f64>() / s.len() as f64).collect();
            let variances: Vec<f64> = scores.iter().map(|s| found.within_shrunk / s.len() as f64).collect();
            let log_bf = log_bayes_factor(&log_likelihood(&means, &variances));
            let p_closed = 1.0 / (1.0 + (-log_bf - number("gate_logit")).exp());
            let p = p_closed.clamp(0.02, 0.98);
            vec![
                ("grand_mean", vec![found.grand_mean]),
                ("within_var", vec![found.within]),
                ("within_var_shrunk", vec![found.within_shrunk]),
                ("between_var", vec![found.between]),
                ("rho", vec![found.rho]),
                ("p_moment", vec![found.p_moment]),
                ("log_bf", vec![log_bf]),
                ("p_closed", vec![p_closed]),
                ("lam", vec![2.0 * (1.0 - p) / p]),
            ]
        }
        "spike_slab" => {
            let likelihood = log_likelihood(&list(&input["means"]), &list(&input["var"]));
            vec![
                ("p_mean", vec![posterior_mean(&likelihood, number("gate"), number("strength"))]),
                ("p_grid", (0..POINTS).map(grid).collect()),
                ("loglik", likelihood.to_vec()),
            ]
        }
        "vote_entropy" => vec![("entropy", vec![vote_entropy(&list(&input["votes"]), number("alpha"))])],
        "dial" if input.get("rho").is_some() => {
            let rho = number("rho");
            vec![("p", vec![closedness_of_rho(rho)]), ("power_s", vec![power_of_rho(rho)])]
        }
        _ => return None,
    })
}

#[test]
fn fixture_cases_of_openness() {
    let root = std::env::var("UNDERSTUDY_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures").to_owned());
    let path = std::path::Path::new(&root).join("numerics/reward.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut checked = 0;
    for case in file["cases"].as_array().expect("a list of cases") {
        let Some(results) = run(case["op"].as_str().unwrap(), &case["input"]) else { continue };
        for (name, value) in case["expected"].as_object().unwrap() {
            let (_, got) = results.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}"));
            let wanted = list(value);
            assert_eq!(got.len(), wanted.len(), "{} {name}", case["id"]);
            for (got, wanted) in got.iter().zip(&wanted) {
                let bound = case["tol_abs"].as_f64().unwrap() * wanted.abs().max(1.0);
                assert!((got - wanted).abs() <= bound, "{} {name}: {got} for {wanted}", case["id"]);
            }
        }
        checked += 1;
    }
    assert!(checked > 0, "no case of an implemented operation");
}
