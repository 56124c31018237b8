//! What the observer keeps and passes on, without a daemon.

use understudy_actors::messages::LoopEvent;
use understudy_actors::reward::RewardView;
use understudy_learning::stages::{Feedback, FeedbackKind};

use super::board::{Board, MOST_CHARS, MOST_MARKS, NAMES};
use super::{NoReader, Observer, READER_ROOM};
use crate::tasks::desk::Rules;

fn answered(version: u64, tokens: usize) -> LoopEvent {
    let (question, text) = ("Why?".to_owned(), "So.".to_owned());
    LoopEvent::Answered { answer: 1, group: 1, question, text, version, tokens, chat: false }
}

fn rated() -> LoopEvent {
    let kind = FeedbackKind::Thumb { answer: 1, up: true };
    LoopEvent::Rated { seq: 1, feedback: Feedback { id: "f".into(), annotator: "ana".into(), at: 0, kind, why: None } }
}

fn newest(board: &Board, name: &str) -> Option<(i64, u64, f64)> {
    board.history().series[name].last().copied()
}

#[test]
fn rates_are_of_the_time_since_the_last_look() {
    let mut board = Board::new(0);
    (0..10).for_each(|_| board.take(1, &answered(4, 30)));
    board.take(2, &rated());
    board.beat(5000, &RewardView::default());
    assert_eq!(newest(&board, "answers_per_min"), Some((5000, 4, 120.0)));
    assert_eq!(newest(&board, "ratings_per_min"), Some((5000, 4, 12.0)));
    assert_eq!(newest(&board, "tokens_per_s"), Some((5000, 4, 60.0)));
    board.beat(4000, &RewardView::default());
    board.beat(10_000, &RewardView::default());
    assert_eq!(newest(&board, "tokens_per_s"), Some((10_000, 4, 0.0)), "a clock put back is no division by zero");
}

#[test]
fn a_score_has_its_policy_and_the_reward_models_figures_come_when_they_change() {
    let mut board = Board::new(0);
    board.take(1, &answered(7, 1));
    let scores = vec![(1, 0.25, 0.5), (2, 0.75, 0.1)];
    board.take(2, &LoopEvent::Scored { group: 1, mean_score: 0.5, scores, version: 3 });
    assert_eq!(newest(&board, "reward"), Some((2, 7, 0.5)));
    assert_eq!(newest(&board, "reward_std"), Some((2, 7, 0.3)));
    let view = RewardView { version: 3, collapse_index: Some(0.2), ..RewardView::default() };
    board.beat(1000, &view);
    board.beat(2000, &view);
    let history = board.history();
    assert_eq!(history.series["collapse_index"], [(1000, 3, 0.2)]);
    assert!(history.series["d_types"].is_empty());
    assert_eq!(history.series.len(), NAMES.len());
}

#[test]
fn the_list_of_happenings_is_bounded_in_number_and_length() {
    let mut board = Board::new(0);
    for t in 0..1000 {
        board.take(t, &LoopEvent::Trouble { actor: "reward", what: "é".repeat(1000) });
    }
    let timeline = board.history().timeline;
    assert_eq!((timeline.len(), timeline.last().map(|mark| mark.t_ms)), (MOST_MARKS, Some(999)));
    assert!(timeline.iter().all(|mark| mark.text.chars().count() == MOST_CHARS));
}

#[test]
fn a_reader_who_was_away_gets_what_it_missed_then_what_comes_and_nothing_twice() {
    let observer = Observer::new(1000, Rules::default());
    (0..5).for_each(|t| observer.take(t, &rated()));
    let mut reader = observer.read(Some(1002), 1).unwrap();
    assert!(reader.whole);
    observer.take(9, &rated());
    let mut ids: Vec<u64> = reader.missed.iter().map(|told| told.id).collect();
    ids.push(reader.events.try_recv().unwrap().id);
    assert_eq!(ids, [1003, 1004, 1005]);
    assert!(observer.read(None, 2).unwrap().missed.is_empty());
}

#[test]
fn readers_are_bounded_and_a_dropped_ones_place_is_free_again() {
    let observer = Observer::new(0, Rules::default());
    let first = observer.read(None, 2).unwrap();
    let _second = observer.read(None, 2).unwrap();
    assert_eq!(observer.read(None, 2).unwrap_err(), NoReader::Full(2));
    assert_eq!(observer.read(None, 2).unwrap_err(), NoReader::Full(2), "a refusal takes no place");
    drop(first);
    let mut third = observer.read(None, 2).unwrap();
    observer.end();
    assert_eq!(third.events.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Closed));
    drop(third);
    assert_eq!(observer.read(None, 2).unwrap_err(), NoReader::Ended);
}

#[test]
fn a_slow_reader_is_told_and_makes_nobody_wait() {
    let observer = Observer::new(0, Rules::default());
    let mut slow = observer.read(None, 2).unwrap();
    let mut quick = observer.read(None, 2).unwrap();
    for t in 0..READER_ROOM as i64 + 5 {
        observer.take(t, &rated());
        assert!(quick.events.try_recv().is_ok());
    }
    assert_eq!(slow.events.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Lagged(5)));
}

#[test]
fn what_is_uncertain_is_known_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let observer = Observer::new(0, Rules { groups: 8, ..Rules::default() });
        observer.keep(folder.path());
        (10..40).step_by(10).for_each(|group| (group..group + 2).for_each(|one| observer.recall_answer(group, one)));
        observer.recall_scores();
        observer
    };
    let first = |observer: &Observer| observer.next_task("ana", None).unwrap().name().answers[0];
    let observer = start();
    assert_eq!(first(&observer), 30, "nothing is known, so the newest");
    let scores = vec![(10, 0.0, 0.5), (11, 0.0, 0.5), (30, 3.0, 0.1), (31, -3.0, 0.1)];
    observer.take(1, &LoopEvent::Scored { group: 10, mean_score: 0.0, scores, version: 4 });
    assert_eq!(first(&observer), 10);
    observer.keep_scores();
    let again = start();
    assert_eq!((first(&again), again.opinion(30).0), (10, observer.opinion(30).0));
    std::fs::remove_file(folder.path().join("scores.jsonl")).unwrap();
    again.keep_scores();
    assert!(!folder.path().join("scores.jsonl").exists(), "nothing new, so nothing is written");
    again.take(2, &LoopEvent::Scored { group: 20, mean_score: 0.0, scores: vec![(20, 0.0, 9.0)], version: 5 });
    again.keep_scores();
    assert_eq!((start().opinion(20).0, start().opinion(30).0), (again.opinion(20).0, observer.opinion(30).0));
}
