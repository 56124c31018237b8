//! Figures by hand, and what is made of them.

use std::collections::BTreeMap;

use serde_json::json;

use super::arms::Arm;
use super::figures::{Figures, Judged};
use super::record::{Group, Report, Run};
use super::summary::{Measure, row, rows, text};

fn judged(base: [f64; 3], scores: [f64; 3], policy: [f64; 3]) -> Judged {
    Judged { base: base.to_vec(), scores: scores.to_vec(), policy: policy.to_vec() }
}

#[test]
fn regret_and_accuracy_by_hand() {
    // Prefers 0.4 where 1.0 is best. Pairs: 1.0 over 0.4 wrong, 1.0 over 0.1 right, 0.4 over 0.1 right.
    let one = judged([0.4, 1.0, 0.1], [3.0, 2.0, 1.0], [0.5, 0.5, 0.5]);
    // All scores equal: chance; the only differing pairs count half.
    let other = judged([1.0, 0.0, 0.0], [0.0; 3], [1.0, 1.0, 0.0]);
    let figures = Figures::of(&[&one, &other]);
    let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-12, "{got} where {wanted} was expected");
    near(figures.regret, (0.6 + 2.0 / 3.0) / 2.0);
    near(figures.regret_of_chance, (0.5 + 2.0 / 3.0) / 2.0);
    near(figures.accuracy.expect("answers differ"), (2.0 / 3.0 + 0.5) / 2.0);
    near(figures.gain, (0.5 + 2.0 / 3.0) / 2.0 - (0.5 + 1.0 / 3.0) / 2.0);
    assert_eq!(Figures::of(&[&judged([1.0; 3], [1.0, 2.0, 3.0], [1.0; 3])]).accuracy, None);
}

fn report(gains: &[(u64, Arm, f64)]) -> Report {
    let mut report = Report::begin(json!({"a": 1}), None).expect("nothing is read");
    for (seed, arm, gain) in gains {
        let judged = judged([0.5; 3], [0.0; 3], [0.5 + gain; 3]);
        let figures: BTreeMap<Group, Figures> =
            Group::ALL.into_iter().map(|group| (group, Figures::of(&[&judged]))).collect();
        let (seed, arm) = (*seed, *arm);
        report.add(Run {
            seed,
            arm,
            updates: 1,
            policy_version: 1,
            reward_version: 1,
            answers: 8,
            ratings: 4,
            foretold: None,
            seconds: 2.0,
            curve: vec![None, Some(*gain)],
            figures,
        });
    }
    report
}

#[test]
fn differences_are_taken_seed_by_seed() {
    let (common, aware) = (Arm::Common, Arm::PromptAware);
    // Seeds differ by more than the arms do; the differences are 0.02 and 0.04. A seed without its counterpart is left out.
    let gains = [(0, common, 0.1), (0, aware, 0.12), (1, common, 0.3), (1, aware, 0.34), (2, aware, 0.5)];
    let report = report(&gains);
    let less = row(&report, aware, Group::All, Measure::Gain).less_common.expect("two seeds have both");
    assert!((less.mean - 0.03).abs() < 1e-12 && (less.standard_error - 0.01).abs() < 1e-12, "{less:?}");
    assert_eq!(row(&report, common, Group::All, Measure::Gain).less_common, None);
    assert_eq!(rows(&report).len(), 6 * 2 * 3);
    let text = text(&report);
    assert!(text.contains("0.320 ± 0.110 (+0.030 ± 0.010)"), "{text}");
}

#[test]
fn a_report_goes_on_only_with_the_same_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let report = report(&[(0, Arm::Common, 0.1)]);
    report.write(Some(&path)).expect("it is written");
    let again = Report::begin(json!({"a": 1}), Some(&path)).expect("the same settings");
    assert!(again.has(0, Arm::Common) && !again.has(0, Arm::Declared) && !again.has(1, Arm::Common));
    let other = Report::begin(json!({"a": 2}), Some(&path)).expect_err("other settings");
    assert!(other.to_string().contains("name another --out"), "{other}");
}

#[test]
fn the_picture_shows_every_arm_and_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("compare.svg");
    super::picture::draw(&report(&[(0, Arm::Common, 0.1), (0, Arm::Declared, 0.2)]), &path).expect("it is drawn");
    let drawn = std::fs::read_to_string(path).expect("a file");
    for word in ["declared", "open questions", "closed questions", "1 common · 2 declared"] {
        assert!(drawn.contains(word), "{word}");
    }
}
