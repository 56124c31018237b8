//! The estimator as a whole: precedence, memory, forgetting, saving, and bounds under random events.

use proptest::prelude::*;

use super::*;
use crate::stages::{Feedback, FeedbackKind, Question};

fn question(id: &str) -> Question {
    Question {
        id: id.into(),
        source: "test".into(),
        title: id.into(),
        body: String::new(),
        tags: Vec::new(),
        author: None,
        url: None,
        licence: None,
        asked_at: 0,
        closedness: None,
        terms: None,
    }
}

fn said(id: &str, annotator: &str, kind: FeedbackKind) -> Feedback {
    Feedback { id: id.into(), annotator: annotator.into(), at: 0, kind, why: None }
}

fn stars(openness: &mut Openness, name: &str, seq: u64, answer: u64, stars: u8) {
    let feedback = said(&format!("f{seq}"), &format!("a{}", seq % 3), FeedbackKind::Stars { answer, stars });
    openness.observe(&question(name), &features(name), seq, &feedback);
}

const WIDTH: usize = 12;

fn features(name: &str) -> Vec<f32> {
    (0..WIDTH).map(|i| ((name.bytes().map(u32::from).sum::<u32>() as f32) * 0.37 + i as f32).sin()).collect()
}

fn config() -> OpennessConfig {
    OpennessConfig { gate_questions: 3, ..OpennessConfig::default() }
}

/// Five questions with 4 answers of 2 ratings each.
fn grown(config: OpennessConfig) -> Openness {
    let mut openness = Openness::new(config, WIDTH, 5);
    let mut seq = 0;
    for (name, grades) in [("a", [1, 1, 5, 5]), ("b", [1, 2, 4, 5]), ("c", [5, 1, 1, 5]), ("d", [2, 3, 4, 3])] {
        for round in 0..2 {
            for (answer, grade) in grades.iter().enumerate() {
                seq += 1;
                stars(&mut openness, name, seq, answer as u64, (grade + round * (answer as u8 % 2)).min(5));
            }
        }
    }
    openness
}

#[test]
fn what_is_declared_goes_before_evidence_before_the_gate_before_the_default() {
    let empty = Openness::new(config(), WIDTH, 5);
    let unheard = empty.decide(&question("x"), &features("x"));
    assert_eq!(unheard, Closedness { p: 0.5, origin: Origin::Default, version: 0 });
    let openness = grown(config());
    assert_eq!(openness.decide(&question("x"), &features("x")).origin, Origin::Gate);
    assert_eq!(openness.decide(&question("x"), &[]).origin, Origin::Default, "the gate knows nothing of the prompt");
    let decided = openness.decide(&question("a"), &features("a"));
    assert_eq!(decided.origin, Origin::Evidence);
    assert!(decided.p > 0.6 && decided.version > 0, "{decided:?}");
    let declared = Question { closedness: Some(0.0), ..question("a") };
    let decided = openness.decide(&declared, &features("a"));
    assert_eq!((decided.p, decided.origin), (0.05, Origin::Declared), "kept within the bounds");
    let tagged = Question { tags: vec!["Closed-Ended".into()], ..question("a") };
    assert_eq!(openness.decide(&tagged, &features("a")).p, 0.9);
}

#[test]
fn what_a_question_declares_teaches_the_gate_and_the_default_is_the_prior_of_the_rest() {
    assert_eq!(declared(&Question { tags: vec![OPEN_TAG.into()], ..question("a") }), Some(0.1));
    assert_eq!(declared(&Question { tags: vec![OPEN_TAG.into(), CLOSED_TAG.into()], ..question("a") }), None);
    let taught = |p: f64| {
        let mut openness = Openness::new(OpennessConfig { gate_questions: 1, ..config() }, WIDTH, 5);
        let asked = Question { closedness: Some(p), ..question("a") };
        let thumb = said("f", "ana", FeedbackKind::Thumb { answer: 1, up: true });
        openness.observe(&asked, &features("a"), 1, &thumb);
        openness.observe(&asked, &features("a"), 2, &thumb);
        assert_eq!(openness.explain("a").unwrap().evidence.events, 1, "an event is heard once");
        openness.decide(&question("x"), &features("x")).p
    };
    assert!(taught(0.9) > 0.5 && taught(0.1) < 0.5, "{} {}", taught(0.9), taught(0.1));
    let without_gate = |default: f64| {
        let openness = grown(OpennessConfig { gate_questions: 1000, default, ..config() });
        openness.decide(&question("b"), &features("b")).p
    };
    assert!(without_gate(0.9) > without_gate(0.1) + 0.1, "{} {}", without_gate(0.9), without_gate(0.1));
}

#[test]
fn one_strict_ranking_says_next_to_nothing_and_agreed_ties_say_closed() {
    let mut openness = Openness::new(config(), WIDTH, 5);
    let strict = said("r", "ana", FeedbackKind::Ranking { levels: (1..=8).map(|answer| vec![answer]).collect() });
    openness.observe(&question("q"), &features("q"), 1, &strict);
    let after = openness.decide(&question("q"), &features("q"));
    assert!(after.origin == Origin::Evidence && (after.p - 0.5).abs() < 0.1, "{after:?}");
    for seq in 2..12 {
        let levels = vec![vec![1, 2, 3], vec![4, 5, 6, 7, 8]];
        let two_levels = said(&format!("t{seq}"), &format!("a{seq}"), FeedbackKind::Ranking { levels });
        openness.observe(&question("t"), &features("t"), seq, &two_levels);
    }
    let tied = openness.decide(&question("t"), &features("t"));
    assert!(tied.p > after.p + 0.1, "{tied:?} after {after:?}");
    assert!(openness.explain("t").unwrap().evidence.tie_rate.unwrap() > 0.4);
}

#[test]
fn the_version_rises_only_when_p_moves() {
    let mut openness = Openness::new(config(), WIDTH, 5);
    let mut before = openness.decide(&question("q"), &features("q"));
    for seq in 1..=40 {
        stars(&mut openness, "q", seq, seq % 5, if seq % 5 < 2 { 5 } else { 1 });
        let now = openness.decide(&question("q"), &features("q"));
        assert_eq!(now.version > before.version, now.p != before.p || before.version == 0, "{before:?} {now:?}");
        assert!(now.version >= before.version);
        before = now;
    }
    assert!(before.version > 3 && before.version < 40, "{before:?}");
}

#[test]
fn the_last_event_forgotten_leaves_no_bit() {
    let mut openness = grown(config());
    let never = openness.state();
    stars(&mut openness, "b", 100, 2, 1);
    stars(&mut openness, "new", 101, 7, 4);
    assert_ne!(openness.state(), never);
    openness.forget("f101");
    openness.forget("f100");
    assert_eq!(openness.state(), never);
    openness.forget("nobody's");
    assert_eq!(openness.state(), never);
}

#[test]
fn an_early_event_forgotten_leaves_no_bit_in_evidence_and_gate() {
    let events: Vec<(u64, &str, u64, u8)> = (1..=60u64)
        .map(|seq| (seq, ["a", "b", "c"][seq as usize % 3], seq / 3 % 5, (seq * seq % 5 + 1) as u8))
        .collect();
    for gone in [1, 14, 29, 58] {
        let (mut with, mut without) = (Openness::new(config(), WIDTH, 5), Openness::new(config(), WIDTH, 5));
        for (seq, name, answer, grade) in &events {
            stars(&mut with, name, *seq, *answer, *grade);
            if *seq != gone {
                stars(&mut without, name, *seq, *answer, *grade);
            }
        }
        with.forget(&format!("f{gone}"));
        assert_eq!(with.gate.steps, without.gate.steps, "{gone}");
        let probe = |openness: &Openness| openness.decide(&question("x"), &features("x")).p.to_bits();
        assert_eq!(probe(&with), probe(&without), "the gate");
        for name in ["a", "b", "c"] {
            let figures = |openness: &Openness| openness.explain(name).unwrap().evidence;
            assert_eq!(figures(&with), figures(&without));
            let p = |openness: &Openness| openness.decide(&question(name), &features(name)).p;
            assert!((p(&with) - p(&without)).abs() <= 0.02, "two records, each within 0.01 of the same fresh p");
        }
    }
}

#[test]
fn memory_is_bounded_and_the_least_recently_heard_question_leaves() {
    let small = OpennessConfig { questions: 3, events: 10, ..config() };
    let mut openness = grown(small);
    assert_eq!(openness.question_ids().collect::<Vec<_>>(), ["b", "c", "d"]);
    stars(&mut openness, "b", 200, 0, 1);
    stars(&mut openness, "e", 201, 0, 1);
    assert_eq!(openness.question_ids().collect::<Vec<_>>(), ["b", "d", "e"]);
    for seq in 300..900 {
        stars(&mut openness, "b", seq, seq % 4, 3);
    }
    assert_eq!(openness.explain("b").unwrap().evidence.events, super::memory::MOST_MENTIONS);
    assert_eq!(openness.gate.steps.len(), 10);
    openness.forget("f300");
    assert_eq!(openness.explain("a"), None);
}

#[test]
fn a_restored_estimator_goes_on_bit_for_bit() {
    let mut openness = grown(OpennessConfig { questions: 3, events: 20, ..config() });
    let text = serde_json::to_string(&openness.state()).unwrap();
    let mut again = Openness::new(OpennessConfig { questions: 3, events: 20, ..config() }, WIDTH, 5);
    again.restore(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(again.state(), openness.state());
    for both in [&mut openness, &mut again] {
        stars(both, "b", 70, 3, 2);
        both.forget("f12");
        stars(both, "z", 71, 3, 2);
    }
    assert_eq!(again.state(), openness.state());
    let probe = |openness: &Openness| openness.decide(&question("x"), &features("x"));
    assert_eq!(probe(&again), probe(&openness));
    let mut other = Openness::new(config(), WIDTH + 1, 5);
    assert!(other.restore(&openness.state()).unwrap_err().to_string().contains("width 12"));
    assert!(other.restore(&serde_json::json!({"width": 3})).is_err());
}

#[test]
fn the_explanation_says_which_evidence_gave_which_p() {
    let openness = grown(config());
    let explained = openness.explain("a").unwrap();
    assert_eq!((explained.origin, explained.evidence.basis), (Origin::Evidence, Some(Basis::Grades)));
    assert!(explained.sentence.contains("4 answers with 2.0 ratings each by 3 people"), "{}", explained.sentence);
    let json = serde_json::to_value(&explained).unwrap();
    assert_eq!(json["origin"], "evidence");
    assert!(json["evidence"]["rho"].as_f64().unwrap() > 0.5, "{json}");
}

fn kinds() -> impl Strategy<Value = FeedbackKind> {
    let answer = 0..6u64;
    prop_oneof![
        (answer.clone(), any::<u8>()).prop_map(|(answer, stars)| FeedbackKind::Stars { answer, stars }),
        (answer.clone(), any::<bool>()).prop_map(|(answer, up)| FeedbackKind::Thumb { answer, up }),
        (answer.clone(), any::<f64>(), any::<f64>(), any::<f64>())
            .prop_map(|(answer, value, min, max)| FeedbackKind::Score { answer, value, min, max }),
        (answer.clone(), answer.clone(), any::<f64>()).prop_map(|(better, worse, strength)| FeedbackKind::Pair {
            better,
            worse,
            strength
        }),
        prop::collection::vec(prop::collection::vec(answer, 0..4), 0..4)
            .prop_map(|levels| FeedbackKind::Ranking { levels }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn p_is_always_a_number_within_the_bounds(
        events in prop::collection::vec((0..3usize, kinds(), any::<f32>()), 1..40), gone in 0..40usize,
    ) {
        let mut openness = Openness::new(config(), 3, 1);
        for (seq, (which, kind, feature)) in events.into_iter().enumerate() {
            let question = question(["a", "b", "c"][which]);
            openness.observe(&question, &[feature, 1.0, -feature], seq as u64 + 1, &said(&format!("f{seq}"), "a", kind));
            let p = openness.decide(&question, &[feature, 1.0, 0.0]).p;
            prop_assert!((0.05..=0.95).contains(&p), "{p}");
        }
        openness.forget(&format!("f{gone}"));
        let text = openness.state().to_string();
        openness.restore(&serde_json::from_str(&text).unwrap()).unwrap();
        for id in ["a", "b", "c", "d"] {
            let p = openness.decide(&question(id), &[0.3, f32::NAN, 0.0]).p;
            prop_assert!((0.05..=0.95).contains(&p), "{p}");
        }
    }
}
