//! Who is asked what, without a daemon.

use std::collections::BTreeSet;

use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

use super::desk::{Desk, MOST_GOLD, Rules, Skipped};
use super::said::MOST_SAID;
use super::task::{Task, TaskKind};

fn rules() -> Rules {
    Rules { seed: 7, groups: 100, gold_share: 0.0, pinned: BTreeSet::from(["gold".to_owned()]), lease_ms: 0 }
}

/// Groups 10, 20, … of `size` answers each.
fn desk(rules: Rules, groups: u64, size: u64) -> Desk {
    let mut desk = Desk::new(rules);
    for group in (1..=groups).map(|group| 10 * group) {
        (group..group + size).for_each(|answer| desk.answer(group, answer));
    }
    desk
}

fn said(annotator: &str, kind: FeedbackKind) -> Feedback {
    Feedback { id: format!("{annotator} {kind:?}"), annotator: annotator.into(), at: 0, kind, why: None }
}

fn taken_back(annotator: &str, earlier: &Feedback) -> Feedback {
    said(annotator, FeedbackKind::Retract { feedback: earlier.id.clone() })
}

fn pair(annotator: &str, better: AnswerId, worse: AnswerId) -> Feedback {
    said(annotator, FeedbackKind::Pair { better, worse, strength: 1.0 })
}

/// The group of a task of [`desk`].
fn group(task: &Task) -> u64 {
    task.answers[0] / 10 * 10
}

#[test]
fn nobody_is_asked_twice_and_at_the_end_nothing_is_left() {
    let mut desk = desk(rules(), 30, 4);
    let mut seen = BTreeSet::new();
    while let Some(task) = desk.next("ana", None, 0) {
        assert_eq!(desk.next("ana", None, 0), Some(task.clone()), "asking changes nothing");
        assert_eq!(task.waiting, 30 - seen.len());
        assert!(seen.insert(group(&task)), "{task:?} came before");
        match task.kind {
            TaskKind::Pair if seen.len() % 3 > 0 => {
                desk.hear(&pair("ana", task.answers[1], task.answers[0]));
            }
            _ => assert_eq!(desk.skip("ana", &task.name()), Skipped::New),
        }
    }
    assert_eq!(seen.len(), 30);
    assert_eq!(desk.next("ben", None, 0).map(|task| task.waiting), Some(30), "another annotator saw none of them");
}

#[test]
fn what_nobody_rated_comes_first_then_what_is_unsure_or_disputed() {
    let mut desk = desk(rules(), 4, 2);
    // 20 is close, 30 is sure, 40 was rated by two who disagree, 10 by two who agree.
    desk.score(&[(20, 0.1, 0.5), (21, 0.0, 0.5), (30, 3.0, 0.1), (31, -3.0, 0.1)]);
    desk.score(&[(40, 1.0, 0.2), (41, 0.0, 0.2), (10, 1.0, 0.2), (11, 0.0, 0.2)]);
    [pair("b", 40, 41), pair("c", 41, 40), pair("b", 10, 11), pair("c", 10, 11)].iter().for_each(|said| {
        desk.hear(said);
    });
    let mut order = Vec::new();
    while let Some(task) = desk.next("ana", None, 0) {
        order.push(group(&task));
        desk.skip("ana", &task.name());
    }
    assert_eq!(order, [20, 30, 40, 10]);
}

#[test]
fn of_many_answers_the_least_sure_are_shown() {
    let mut desk = desk(rules(), 1, 4);
    desk.score(&[(10, 2.0, 0.3), (11, 0.0, 0.3), (12, 0.1, 0.3), (13, -2.0, 0.9)]);
    let mut shown = |kind| {
        let mut answers = desk.next("ana", Some(kind), 0).unwrap().answers;
        answers.sort_unstable();
        answers
    };
    assert_eq!(shown(TaskKind::Pair), [11, 12]);
    assert_eq!((shown(TaskKind::Stars), shown(TaskKind::Thumb)), (vec![13], vec![13]));
    assert_eq!(shown(TaskKind::Ranking), [10, 11, 12, 13]);
}

#[test]
fn a_kind_is_only_asked_where_there_are_answers_enough() {
    let mut desk = desk(rules(), 3, 1);
    assert_eq!(desk.next("ana", Some(TaskKind::Pair), 0), None);
    assert!(desk.next("ana", None, 0).is_some_and(|task| task.answers.len() == 1));
    desk.answer(20, 21);
    assert!(desk.next("ana", Some(TaskKind::Pair), 0).is_some_and(|task| group(&task) == 20 && task.waiting == 1));
    desk.lose(21);
    assert_eq!(desk.next("ana", Some(TaskKind::Ranking), 0), None);
}

#[test]
fn the_order_of_answers_is_random_over_annotators_and_tasks_and_repeats_for_one() {
    let make = || desk(rules(), 1, 2);
    let mut firsts = 0;
    for annotator in (0..400).map(|i| format!("a{i}")) {
        let task = make().next(&annotator, Some(TaskKind::Pair), 0).unwrap();
        assert_eq!(make().next(&annotator, Some(TaskKind::Pair), 0), Some(task.clone()));
        firsts += u32::from(task.answers[0] == 10);
    }
    // Binomial(400, 1/2) has a deviation of 10: five of them.
    assert!((150..=250).contains(&firsts), "{firsts} of 400 had the older answer first");
    let mut other = Desk::new(Rules { seed: 8, ..rules() });
    assert_eq!(other.next("ana", None, 0), None);
}

#[test]
fn gold_is_mixed_in_at_its_share_and_looks_like_any_other_task() {
    let mut desk = desk(Rules { gold_share: 0.25, ..rules() }, 100, 2);
    // Only these ids tell gold from the rest here.
    for i in 0..60 {
        desk.hear(&pair("gold", 5000 + 2 * i, 5001 + 2 * i));
    }
    let (mut gold, mut all) = (BTreeSet::new(), 0);
    while let Some(task) = desk.next("ana", Some(TaskKind::Pair), 0) {
        all += 1;
        assert_eq!((task.kind, task.answers.len()), (TaskKind::Pair, 2));
        if task.answers[0] >= 5000 {
            gold.insert(task.name().to_string());
        }
        assert_eq!(desk.skip("ana", &task.name()), Skipped::New);
    }
    assert!(all > 110, "gold comes on top of the candidates: {all}");
    // 100 candidates at a share of 1/4 are 133 tasks, 33 of them gold, deviation below 7.
    assert!((15..=55).contains(&gold.len()), "{} gold of {all}", gold.len());
    assert!(desk.next("gold", None, 0).is_some_and(|task| task.answers[0] < 5000), "who made the gold is not asked it");
}

#[test]
fn memory_is_bounded_and_the_oldest_leave() {
    let mut desk = desk(rules(), 150, 1);
    assert_eq!(desk.next("ana", None, 0).map(|task| task.waiting), Some(100));
    for i in 0..2 * MOST_GOLD as u64 {
        desk.hear(&pair("gold", 6000 + i, 4000 + i));
    }
    let mut skip = |name: &str| desk.skip("ana", &name.parse().unwrap());
    assert_eq!(skip("pair-4000-6000"), Skipped::Unknown, "the oldest gold is gone");
    assert_eq!([skip("pair-5023-7023"), skip("pair-5023-7023")], [Skipped::New, Skipped::Again]);
    assert_eq!(skip("stars-10"), Skipped::Unknown, "the oldest candidate is gone");
}

#[test]
fn agreement_is_the_share_of_those_who_said_the_same() {
    let mut desk = desk(rules(), 1, 3);
    assert_eq!(desk.hear(&pair("a", 10, 11)), None);
    assert_eq!(desk.hear(&pair("b", 10, 11)), Some(1.0));
    assert_eq!(desk.hear(&pair("c", 11, 10)), Some(0.0));
    let ranking = said("d", FeedbackKind::Ranking { levels: vec![vec![10], vec![11, 12]] });
    assert_eq!(desk.hear(&ranking), Some(2.0 / 3.0), "12 was compared with nothing before");
    assert_eq!(desk.hear(&said("a", FeedbackKind::Thumb { answer: 12, up: true })), None);
    assert_eq!(desk.hear(&said("b", FeedbackKind::Stars { answer: 12, stars: 2 })), Some(0.25));
    assert_eq!(desk.hear(&pair("a", 98, 99)), None, "answers that are no candidates");
}

#[test]
fn what_one_is_at_work_on_goes_to_nobody_else_until_it_is_done_or_the_lease_runs_out() {
    let pair = Some(TaskKind::Pair);
    let mut desk = desk(Rules { lease_ms: 1000, ..rules() }, 3, 2);
    let given = |desk: &mut Desk, who: &str, now| desk.next(who, pair, now).map(|task| (group(&task), task.waiting));
    assert_eq!(given(&mut desk, "ana", 0), Some((30, 3)));
    // A better one has come up: who is at work keeps what they have.
    desk.score(&[(10, 0.0, 0.5), (11, 0.0, 0.5)]);
    assert_eq!(given(&mut desk, "ana", 10), Some((30, 3)), "a reload shows the same");
    assert_eq!(given(&mut desk, "ben", 20), Some((10, 3)));
    assert_eq!(given(&mut desk, "cyd", 30), Some((20, 3)));
    assert_eq!(given(&mut desk, "dan", 40), Some((10, 3)), "there is nothing else, so the best");
    // Released by a skip, by a rating and by time.
    desk.skip("ana", &"pair-30-31".parse().unwrap());
    assert_eq!(given(&mut desk, "eve", 50), Some((30, 3)));
    desk.hear(&self::pair("ben", 10, 11));
    desk.lose(30);
    assert_eq!(given(&mut desk, "eve", 60), Some((10, 2)), "one of its answers is gone, and ben is done");
    desk.skip("eve", &"pair-10-11".parse().unwrap());
    assert_eq!(given(&mut desk, "fay", 1029), Some((10, 2)), "20 is cyd's; 10 was rated, but is nobody's");
}

#[test]
fn leases_run_out_are_one_for_each_and_leave_with_the_candidate() {
    let mut desk = desk(Rules { lease_ms: 1000, ..rules() }, 3, 2);
    for annotator in ["ana", "ben", "cyd", "dan", "eve"] {
        assert!(desk.next(annotator, None, 0).is_some());
    }
    assert_eq!(desk.leases().len(), 3, "as many as candidates");
    assert!(desk.next("dan", None, 999).is_some_and(|task| task.waiting == 3));
    let free = desk.next("dan", Some(TaskKind::Pair), 1000).map(|task| group(&task));
    assert_eq!((free, desk.leases().len()), (Some(30), 1), "all ran out, and the best was given again");
    desk.next("dan", Some(TaskKind::Stars), 1001);
    assert_eq!(desk.leases().len(), 1, "another kind, and the first is free again");
    for group in (200..).step_by(10).take(100) {
        desk.answer(group, group);
    }
    assert_eq!(desk.leases().len(), 0, "the candidate left");
}

#[test]
fn a_rating_that_is_taken_back_counts_nowhere_and_may_be_asked_for_again() {
    let mut desk = desk(rules(), 1, 2);
    let untouched = desk.group(10).clone();
    let stars = |who: &str, stars| said(who, FeedbackKind::Stars { answer: 10, stars });
    let mut all = vec![pair("a", 10, 11), pair("b", 11, 10), stars("a", 2), stars("b", 5)];
    all.push(said("c", FeedbackKind::Ranking { levels: vec![vec![11], vec![10]] }));
    all.push(said("c", FeedbackKind::Flag { answer: 11, reason: "rude".into() }));
    let agreement: Vec<_> = all.iter().map(|one| desk.hear(one)).collect();
    assert_eq!(agreement, [None, Some(0.0), None, Some(0.25), Some(0.5), None]);
    assert_eq!(desk.next("a", None, 0), None);
    desk.hear(&taken_back("b", &all[0]));
    assert_eq!(desk.next("a", None, 0), None, "nobody takes back what others said");
    desk.hear(&taken_back("a", &all[0]));
    assert_eq!(desk.next("a", None, 0), None, "a said something else of it, too");
    assert_eq!(desk.hear(&pair("d", 11, 10)), Some(1.0), "nobody says the opposite any more");
    assert_eq!(desk.hear(&taken_back("d", &pair("d", 11, 10))), None);
    desk.hear(&taken_back("a", &all[2]));
    assert!(desk.next("a", None, 0).is_some_and(|task| task.waiting == 1), "and can be asked again");
    all.iter().for_each(|one| {
        desk.hear(&taken_back(&one.annotator, one));
    });
    assert!(!desk.group(10).is_rated());
    assert_eq!((desk.group(10).worth(), desk.next("b", None, 0).is_some()), (untouched.worth(), true));
    assert_eq!(desk.hear(&pair("d", 10, 11)), None, "there is nobody left to agree with");
}

#[test]
fn gold_that_is_taken_back_is_no_gold_and_taking_back_is_remembered_for_the_newest_only() {
    let mut desk = desk(Rules { gold_share: 1.0, ..rules() }, 1, 2);
    desk.hear(&pair("gold", 500, 501));
    let asked = |desk: &mut Desk| desk.next("ana", Some(TaskKind::Pair), 0).map(|task| task.name().to_string());
    assert_eq!(asked(&mut desk).as_deref(), Some("pair-500-501"));
    desk.hear(&pair("ana", 501, 500));
    assert_eq!(asked(&mut desk).as_deref(), Some("pair-10-11"));
    desk.hear(&taken_back("ana", &pair("ana", 501, 500)));
    assert_eq!(asked(&mut desk).as_deref(), Some("pair-500-501"), "asked again");
    desk.hear(&taken_back("gold", &pair("gold", 500, 501)));
    assert_eq!(asked(&mut desk).as_deref(), Some("pair-10-11"), "its answer is not known any more");
    for i in 0..MOST_SAID as u64 + 5 {
        desk.hear(&pair("ana", 1000 + 2 * i, 1001 + 2 * i));
    }
    assert_eq!(desk.said().len(), (MOST_SAID, MOST_SAID));
}
