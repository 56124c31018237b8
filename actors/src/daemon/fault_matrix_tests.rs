//! Every actor, before and after its unit of work, at its first message and at a later one, by a panic and by an error:
//! the loop ends as it does without the fault.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;

use super::fault_kit::{CHATS, Left, Lost, Quarantined, config, live, lost_questions};
use crate::failpoint::{Action, Failpoints, SIDES, UNITS, When};
use crate::testkit::running;

/// What one fault may cost. Everything else must be as without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Nothing: what was in hand comes again, from the journal, the source, its sender or the actor's lasting memory.
    Nothing,
    /// The questions that the policy had in hand: who asked is told, a source's question is not asked again.
    Questions,
    /// Scores of one group: its answers are kept and rated, but the policy does not learn from them.
    Scores,
    /// One update's groups: the learner goes back to its last checkpoint, and they are not learned from again.
    Update,
    /// The checkpoint under way: who waits for it is told.
    Checkpoint,
}

/// The table: the actor that fails, and what it costs.
fn row(unit: &str) -> (&'static str, Cost) {
    match unit {
        "policy" => ("policy", Cost::Questions),
        "feedback" => ("feedback", Cost::Nothing),
        "reward" | "learn" => ("reward", Cost::Nothing),
        "score" => ("reward", Cost::Scores),
        "ppo" => ("ppo", Cost::Update),
        "checkpoint" => ("checkpoint", Cost::Checkpoint),
        "source" => ("source", Cost::Nothing),
        "annotator" => ("annotator", Cost::Nothing),
        other => panic!("'{other}' has no row in the table of faults: say what one costs"),
    }
}

fn without_fault() -> (Left, Failpoints) {
    let (dir, failpoints) = (TempDir::new().unwrap(), Failpoints::armed());
    let left = running(live(dir.path(), config(), failpoints.clone()));
    assert_eq!((left.told, left.quarantined.len()), (Lost::default(), 0));
    assert!(left.restarts.values().all(|restarts| *restarts == 0), "{left:#?}");
    (left, failpoints)
}

fn check(unit: &str) {
    let (plain, counted) = without_fault();
    for (side, action) in SIDES.iter().flat_map(|side| [(side, Action::Panic), (side, Action::Error)]) {
        let point = format!("{unit}.{side}");
        let later = counted.hits(&point) / 2 + 1;
        assert!(later > 1, "{point} is reached {} times: there is no later message", counted.hits(&point));
        for mut hit in [1, later] {
            let (case, left) = loop {
                let (dir, failpoints) = (TempDir::new().unwrap(), Failpoints::armed());
                failpoints.set(&point, When::Nth(hit), action.clone());
                let left = running(live(dir.path(), config(), failpoints.clone()));
                let (case, hits) = (format!("{point}, {action:?} at hit {hit}"), failpoints.hits(&point));
                if hits >= hit {
                    break (case, left);
                }
                // What is done at once depends on how busy the machine is: an earlier one of fewer, then.
                assert!(hits > 1, "{case}: never came to it");
                hit = hits / 2 + 1;
            };
            compare(&case, unit, &action, &left, &plain);
        }
    }
}

fn compare(case: &str, unit: &str, action: &Action, left: &Left, plain: &Left) {
    let (actor, cost) = row(unit);
    let case = format!("{case}: {left:#?}");
    // Nobody is left without an answer, or without a word.
    let lost = lost_questions(&left.quarantined);
    match cost {
        Cost::Questions => {
            let known: BTreeSet<String> = left.answered.union(&lost).cloned().collect();
            assert_eq!(known, plain.answered, "{case}");
            assert!(left.answered.iter().filter(|id| id.starts_with("chat/")).count() == CHATS, "{case}");
        }
        _ => assert_eq!((&left.answered, lost.len()), (&plain.answered, 0), "{case}"),
    }
    assert!(left.told.chats == 0 || cost == Cost::Questions, "{case}");
    assert!(left.told.ratings == 0 || unit == "feedback", "{case}");
    // A checkpoint needs the learners' states.
    assert!(left.told.checkpoints == 0 || ["reward", "ppo", "checkpoint"].contains(&actor), "{case}");
    // What was said is kept once, heard once, learned from once.
    let answered = |(question, _): &&(String, String)| left.answered.contains(question);
    assert_eq!(left.rated.iter().collect::<BTreeSet<_>>(), plain.rated.iter().filter(answered).collect(), "{case}");
    assert_eq!((left.missing.len(), left.doubled), (0, 0), "{case}");
    assert_eq!((left.heard, left.learned, left.owed), (left.events, left.events, 0), "{case}");
    // No answers are learned from twice, and no version goes back.
    assert!(left.spent <= left.answers && left.violations == 0, "{case}");
    assert!(left.versions.is_sorted_by(|a, b| a < b), "{case}");
    // A batch holds 8 to 10 answers, of 4 to a question of the source and 2 to one of the client.
    let samples: usize = left.answered.iter().map(|id| if id.starts_with("chat/") { 2 } else { 4 }).sum();
    let unlearned = match cost {
        Cost::Scores => 4,
        Cost::Update => 10,
        Cost::Nothing | Cost::Questions | Cost::Checkpoint => 0,
    };
    assert!(left.versions.len() >= (samples - unlearned) / 10, "{case}");
    // The last checkpoint holds all of it.
    let saved = &left.saved;
    assert_eq!(saved.policy_version, left.versions.last().copied().unwrap_or(0), "{case}");
    assert_eq!(saved.feedback_up_to, left.last_feedback, "{case}");
    assert!(saved.next_answer > left.last_answer, "{case}");
    // One restart, of that actor; the checkpoint actor tells an error and goes on.
    let fails = !(unit == "checkpoint" && *action == Action::Error);
    let restarts = |name: &str| u64::from(fails && name == actor);
    assert!(left.restarts.iter().all(|(name, count)| *count == restarts(name)), "{case}");
    // What it had in hand is in quarantine, with its content. (After a step the policy may hold nothing.)
    assert!(left.quarantined.len() == usize::from(fails) || unit == "policy", "{case}");
    for Quarantined(file) in &left.quarantined {
        let held = file["in_hand"].as_array().unwrap();
        assert_eq!((&file["actor"], &file["incarnation"]), (&actor.into(), &0.into()), "{case}");
        assert!(file["cause"].as_str().unwrap().contains("on purpose") && !held.is_empty(), "{case}");
        assert!(held.iter().all(|held| held["lost"] == false), "once may be chance; {case}");
        let has_content = held.iter().any(|held| !held["content"].is_null());
        assert!(has_content || unit == "source", "before it is drawn a question has no content; {case}");
    }
}

#[test]
fn a_fault_of_the_policy_costs_the_questions_in_its_hand() {
    check("policy");
}

#[test]
fn a_fault_of_the_feedback_actor_costs_nothing() {
    check("feedback");
}

#[test]
fn a_fault_while_an_event_is_heard_costs_nothing() {
    check("reward");
}

#[test]
fn a_fault_while_a_minibatch_is_learned_costs_nothing() {
    check("learn");
}

#[test]
fn a_fault_while_answers_are_scored_costs_their_scores() {
    check("score");
}

#[test]
fn a_fault_of_the_policys_learner_costs_the_update() {
    check("ppo");
}

#[test]
fn a_fault_of_the_checkpoint_actor_costs_the_checkpoint_under_way() {
    check("checkpoint");
}

#[test]
fn a_fault_of_the_source_costs_nothing() {
    check("source");
}

#[test]
fn a_fault_of_the_simulated_people_costs_nothing() {
    check("annotator");
}

/// `name.side` in the calls of [`Failpoints`] under `dir`.
fn called(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            called(&path, found);
            continue;
        }
        let is_test = path.file_stem().unwrap().to_str().unwrap().ends_with("tests");
        if is_test || path.ends_with("failpoint.rs") || path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let calls = text.split("failpoints.").skip(1).filter_map(|call| call.split_once("(\""));
        let calls = calls.filter(|(name, _)| ["hit", "hit_for", "hit_message", "pass"].contains(&name.trim()));
        found.extend(calls.map(|(_, rest)| rest.split_once('"').unwrap().0.to_owned()));
    }
}

#[test]
fn every_fail_point_in_the_code_stands_in_the_table_and_its_test_in_this_file() {
    let mut found = BTreeSet::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    called(&src, &mut found);
    let table: BTreeSet<String> =
        UNITS.iter().flat_map(|unit| SIDES.iter().map(move |side| format!("{unit}.{side}"))).collect();
    assert_eq!(found, table, "points in the code, and units × sides");
    let tests = std::fs::read_to_string(src.join("daemon/fault_matrix_tests.rs")).unwrap();
    for unit in UNITS {
        assert!(row(unit).0 == unit || row(unit).0 == "reward");
        assert!(tests.contains(&format!("    check(\"{unit}\");\n")), "'{unit}' has no test");
    }
}
