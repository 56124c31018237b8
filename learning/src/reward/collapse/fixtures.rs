//! The collapse theory's own reference file: optima up to 128 answers and distances between them.

use serde_json::Value;

use super::super::losses::utility::Utility;
use super::{law, optimum, w1, w1_to_law};

fn file(name: &str) -> Value {
    let root = std::env::var("UNDERSTUDY_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures").to_owned());
    let path = std::path::Path::new(&root).join("numerics").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn fixture_theory_of_collapse() {
    let file = file("collapse_theory.json");
    let entries = file.as_object().unwrap();
    let kinds: Vec<(&String, &Value)> = entries.iter().filter(|(name, _)| !name.starts_with('_')).collect();
    let mut eights = std::collections::BTreeMap::new();
    for (name, entry) in kinds {
        let utility: Utility = serde_json::from_value(entry["spec"].clone()).unwrap();
        let law = law(&utility).unwrap();
        let close = |got: f64, wanted: &Value, tolerance: f64, what: &str| {
            let wanted = wanted.as_f64().unwrap();
            assert!((got - wanted).abs() <= tolerance, "{name} {what}: {got} is not {wanted}");
        };
        close(law.variance, &entry["moments"]["var"], 1e-7, "variance");
        close(law.central_moment4, &entry["moments"]["m4c"], 1e-7, "fourth moment");
        close(law.rho, &entry["moments"]["rho"], 1e-7, "rho");
        close(law.atom_each_end, &entry["moments"]["atom"], 1e-7, "atom");
        for (n, case) in entry["n"].as_object().unwrap() {
            let n: usize = n.parse().unwrap();
            let found = optimum(&utility, n).unwrap().rewards;
            for (i, wanted) in case["r"].as_array().into_iter().flatten().enumerate() {
                // The reference itself is good to its KKT residual; a few optima of x^0.75 are held by weak curvature.
                close(found[i], wanted, 1e-8, &format!("n = {n}, reward {i}"));
            }
            close(w1_to_law(&found, &law), &case["W1"], 1e-7, &format!("n = {n}, distance to the law"));
            if n == 8 {
                eights.insert(name.clone(), found);
            }
        }
    }
    for (names, distance) in file["_pairwise_W1"].as_object().unwrap() {
        let (a, b) = names.split_once(" | ").unwrap();
        let wanted = distance["K8"].as_f64().unwrap();
        assert!((w1(&eights[a], &eights[b]) - wanted).abs() <= 1e-8, "{names}");
    }
    assert!(eights.len() > 10);
}
