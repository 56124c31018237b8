//! Who is asked what, without a daemon.

use std::collections::BTreeSet;

use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

use super::desk::{Desk, MOST_GOLD, Rules};
use super::task::{Task, TaskKind};

fn rules() -> Rules {
    Rules { seed: 7, groups: 100, gold_share: 0.0, pinned: BTreeSet::from(["gold".to_owned()]) }
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
    Feedback { id: "f".into(), annotator: annotator.into(), at: 0, kind, why: None }
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
    while let Some(task) = desk.next("ana", None) {
        assert_eq!(desk.next("ana", None), Some(task.clone()), "asking changes nothing");
        assert_eq!(task.waiting, 30 - seen.len());
        assert!(seen.insert(group(&task)), "{task:?} came before");
        match task.kind {
            TaskKind::Pair if seen.len() % 3 > 0 => {
                desk.hear(&pair("ana", task.answers[1], task.answers[0]));
            }
            _ => assert!(desk.skip("ana", &task.name())),
        }
    }
    assert_eq!(seen.len(), 30);
    assert_eq!(desk.next("ben", None).map(|task| task.waiting), Some(30), "another annotator saw none of them");
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
    while let Some(task) = desk.next("ana", None) {
        order.push(group(&task));
        desk.skip("ana", &task.name());
    }
    assert_eq!(order, [20, 30, 40, 10]);
}

#[test]
fn of_many_answers_the_least_sure_are_shown() {
    let mut desk = desk(rules(), 1, 4);
    desk.score(&[(10, 2.0, 0.3), (11, 0.0, 0.3), (12, 0.1, 0.3), (13, -2.0, 0.9)]);
    let shown = |kind| {
        let mut answers = desk.next("ana", Some(kind)).unwrap().answers;
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
    assert_eq!(desk.next("ana", Some(TaskKind::Pair)), None);
    assert!(desk.next("ana", None).is_some_and(|task| task.answers.len() == 1));
    desk.answer(20, 21);
    assert!(desk.next("ana", Some(TaskKind::Pair)).is_some_and(|task| group(&task) == 20 && task.waiting == 1));
    desk.lose(21);
    assert_eq!(desk.next("ana", Some(TaskKind::Ranking)), None);
}

#[test]
fn the_order_of_answers_is_random_over_annotators_and_tasks_and_repeats_for_one() {
    let make = || desk(rules(), 1, 2);
    let mut firsts = 0;
    for annotator in (0..400).map(|i| format!("a{i}")) {
        let task = make().next(&annotator, Some(TaskKind::Pair)).unwrap();
        assert_eq!(make().next(&annotator, Some(TaskKind::Pair)), Some(task.clone()));
        firsts += u32::from(task.answers[0] == 10);
    }
    // Binomial(400, 1/2) has a deviation of 10: five of them.
    assert!((150..=250).contains(&firsts), "{firsts} of 400 had the older answer first");
    let other = Desk::new(Rules { seed: 8, ..rules() });
    assert_eq!(other.next("ana", None), None);
}

#[test]
fn gold_is_mixed_in_at_its_share_and_looks_like_any_other_task() {
    let mut desk = desk(Rules { gold_share: 0.25, ..rules() }, 100, 2);
    // Only these ids tell gold from the rest here.
    for i in 0..60 {
        desk.hear(&pair("gold", 5000 + 2 * i, 5001 + 2 * i));
    }
    let (mut gold, mut all) = (BTreeSet::new(), 0);
    while let Some(task) = desk.next("ana", Some(TaskKind::Pair)) {
        all += 1;
        assert_eq!((task.kind, task.answers.len()), (TaskKind::Pair, 2));
        if task.answers[0] >= 5000 {
            gold.insert(task.name().to_string());
        }
        assert!(desk.skip("ana", &task.name()));
    }
    assert!(all > 110, "gold comes on top of the candidates: {all}");
    // 100 candidates at a share of 1/4 are 133 tasks, 33 of them gold, deviation below 7.
    assert!((15..=55).contains(&gold.len()), "{} gold of {all}", gold.len());
    assert!(desk.next("gold", None).is_some_and(|task| task.answers[0] < 5000), "who made the gold is not asked it");
}

#[test]
fn memory_is_bounded_and_the_oldest_leave() {
    let mut desk = desk(rules(), 150, 1);
    assert_eq!(desk.next("ana", None).map(|task| task.waiting), Some(100));
    for i in 0..2 * MOST_GOLD as u64 {
        desk.hear(&pair("gold", 6000 + i, 4000 + i));
    }
    assert!(!desk.skip("ana", &"pair-4000-6000".parse().unwrap()), "the oldest gold is gone");
    assert!(desk.skip("ana", &"pair-5023-7023".parse().unwrap()));
    assert!(!desk.skip("ana", &"stars-10".parse().unwrap()), "the oldest candidate is gone");
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
