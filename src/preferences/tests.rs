//! Corpora by hand: comparisons, exposure, what is held out, what votes say of openness.

use std::path::Path;

use understudy_learning::stages::FeedbackKind;

use super::held_out::{TwinOf, held_out};
use super::*;
use crate::corpus::{Builder, Corpus, Post, Thread, Vote, VoteKind};
use crate::sources::{Shares, Split, split};

const DAY: i64 = 86_400_000;

pub(super) fn post(id: u64, at: i64, score: i64, text: &str) -> Post {
    Post {
        id,
        at,
        text: text.into(),
        score,
        author: None,
        url: Some(format!("https://s/{id}")),
        licence: "CC BY-SA 4.0".into(),
        edited_at: None,
        wiki: false,
        votes: vec![],
        comments: vec![],
    }
}

pub(super) fn thread(id: u64, text: &str, answers: Vec<Post>) -> Thread {
    Thread {
        id: format!("s/{id}"),
        source: "s".into(),
        terms: "own".into(),
        title: format!("Title {id}"),
        tags: vec!["a".into()],
        closed: false,
        accepted: None,
        closedness: None,
        question: post(id, 0, 2, text),
        answers,
    }
}

/// A thread whose answers are (moment, score, text).
pub(crate) fn by_hand(id: u64, answers: &[(i64, i64, &str)]) -> Thread {
    thread(id, "q", answers.iter().map(|(at, score, text)| post(id * 100 + *at as u64, *at, *score, text)).collect())
}

pub(super) fn corpus(folder: &Path, threads: &[Thread]) -> Corpus {
    let mut builder = Builder::begin(folder, "s", "own", None).unwrap();
    threads.iter().for_each(|thread| builder.add(thread).unwrap());
    builder.commit([], &[]).unwrap();
    Corpus::open(&folder.join("s")).unwrap()
}

#[test]
fn stack_llamas_pairs_have_equal_scores_dropped_and_at_most_ten_a_question() {
    let scores = [0, 3, 4, -2, 40, 1, 7];
    let answers = scores.iter().zip(1i64..).map(|(score, at)| post(10 + at as u64, at, *score, "x")).collect();
    let question = VotedQuestion::of_thread(&Thread { accepted: Some(11), ..thread(1, "q", answers) });
    let exposure = Exposure::neutral();
    // Accepted with 0 votes: 1; then 2, 2, -1, 5, 1, 3. Equal: (3, 4 votes) and (accepted, 1 vote).
    assert_eq!(Scoring::StackLlama.scores(&question, &exposure), [1.0, 2.0, 2.0, -1.0, 5.0, 1.0, 3.0]);
    let all = question.comparisons(&Rule { most_pairs: usize::MAX, ..Rule::default() }, &exposure);
    assert_eq!((all.kept.len(), all.equal, all.over_bound), (19, 2, 0));
    let ten = question.comparisons(&Rule::default(), &exposure);
    assert_eq!((ten.kept.len(), ten.over_bound), (10, 9));
    assert!(ten.kept.iter().all(|kept| all.kept.contains(kept)));
    assert_eq!(question.comparisons(&Rule::default(), &exposure), ten, "the draw goes by the id");
    let other = VotedQuestion { question: thread(2, "q", vec![]).question(), ..question.clone() };
    assert_ne!(other.comparisons(&Rule::default(), &exposure).kept, ten.kept);
    let pair = all.kept.iter().find(|kept| kept.better == 4 && kept.worse == 3).unwrap();
    assert!(pair.margin == 6.0 && (pair.p - 1.0 / (1.0 + (-6f64).exp())).abs() < 1e-15);
    let later = question.comparisons(&Rule { later_won: true, ..Rule::default() }, &exposure);
    assert!(later.kept.iter().all(|kept| kept.better > kept.worse) && later.earlier_won > 0);
}

/// 60 questions of two equally good answers: the first stays 100 days, the second 10; a vote a day on each at first, one in
/// ten days after the first four.
fn equally_good() -> Vec<Thread> {
    let votes = |at: i64, until: i64| -> Vec<Vote> {
        let days = (at / DAY..until).filter(|day| day - at / DAY < 4 || (day - at / DAY) % 10 == 0);
        days.map(|day| Vote { at: day * DAY, kind: VoteKind::Up }).collect()
    };
    let answer = |id: u64, at: i64| {
        let votes = votes(at, 100);
        Post { votes: votes.clone(), ..post(id, at, votes.len() as i64, "x") }
    };
    (0..60).map(|n| thread(n * 10, "q", vec![answer(n * 10 + 1, 0), answer(n * 10 + 2, 90 * DAY)])).collect()
}

#[test]
fn what_only_age_and_place_made_is_taken_out_of_the_score() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus(folder.path(), &equally_good());
    let exposure = Exposure::of_corpora(std::slice::from_ref(&corpus), |_| true).unwrap();
    let question = VotedQuestion::of_thread(&equally_good()[0]);
    assert_eq!(question.answers.iter().map(|answer| answer.score).collect::<Vec<_>>(), [13, 4]);
    let raw = Scoring::StackLlama.scores(&question, &exposure);
    let own = Scoring::Corrected.scores(&question, &exposure);
    assert!(raw[0] - raw[1] == 2.0 && (own[0] - own[1]).abs() < 0.3, "{raw:?} {own:?}");
    // The votes of a question are where it got them, whatever the curve says.
    let expected: f64 = exposure.expected(&question).iter().sum();
    assert!((expected - 17.0).abs() < 1.0, "{expected}");
    assert!(exposure.by_age(4.0) > 0.25 * exposure.by_age(100.0), "a quarter in a twenty-fifth of the time");
    assert_eq!(Exposure::neutral().expected(&question).iter().map(|e| e.round()).collect::<Vec<_>>(), [6.0, 6.0]);
}

#[test]
fn an_answer_keeps_its_place_where_those_before_it_are_left_out() {
    let exposure = Exposure { place: std::array::from_fn(|place| 1.0 / (1.0 + place as f64)), ..Exposure::neutral() };
    let whole = VotedQuestion::of_thread(&thread(1, "q", (0..4).map(|n| post(10 + n, n as i64, 3, "x")).collect()));
    let mut fewer = whole.clone();
    fewer.answers.drain(..2);
    let (whole, fewer) = (exposure.expected(&whole), exposure.expected(&fewer));
    // How popular the question is is another matter, and the same for both.
    assert!((whole[3] / whole[2] - fewer[1] / fewer[0]).abs() < 1e-12 && fewer[1] < fewer[0], "{whole:?} {fewer:?}");
}

const HALF: Shares = Shares { held_out: 0.5, held_back: 0.0 };

/// Ids of threads of the wanted part of the split.
fn ids(part: Split, count: usize) -> Vec<u64> {
    (1..).filter(|id| split::of(&format!("s/{id}"), HALF) == part).take(count).collect()
}

#[test]
fn a_held_out_question_that_training_knows_is_left_out_and_reported() {
    let words = |from: usize| (from..from + 60).map(|i| format!("w{i}")).collect::<Vec<_>>().join(" ");
    let (train, held) = (ids(Split::Train, 2), ids(Split::HeldOut, 4));
    let answer = |id: u64, from: usize| vec![post(id, 1, 1, &words(from))];
    let untitled = |thread: Thread| Thread { title: String::new(), ..thread };
    let threads = [
        untitled(thread(train[0], &words(0), answer(9001, 1000))),
        untitled(thread(train[1], &words(100), answer(9002, 2000))),
        untitled(thread(held[0], &words(0).to_uppercase(), vec![])),
        untitled(thread(held[1], &words(5000), answer(9003, 2000))),
        untitled(thread(held[2], &words(7000), answer(9004, 3000))),
        untitled(thread(held[3], &words(7000), vec![])),
    ];
    let folder = tempfile::tempdir().unwrap();
    let corpora = [corpus(folder.path(), &threads)];
    let found = held_out(&corpora, HALF, 100, |_| true).unwrap();
    assert_eq!(found.threads.len(), 1);
    assert!(found.threads[0].question.text.starts_with("w7000"), "one of the two twins stays");
    let mut reasons: Vec<_> = found.twins.iter().map(|twin| (twin.what, twin.of.clone())).collect();
    reasons.sort_by_key(|(what, _)| *what as usize);
    assert_eq!(reasons[0], (TwinOf::TrainingQuestion, format!("s/{}", train[0])));
    assert_eq!(reasons[1], (TwinOf::TrainingAnswer, format!("s/{}", train[1])));
    assert_eq!(reasons[2].0, TwinOf::HeldOutQuestion);
    assert_eq!(held_out(&corpora, HALF, 100, |thread| !thread.answers.is_empty()).unwrap().threads.len(), 1);
}

#[test]
fn votes_tell_openness_an_order_with_ties_and_the_askers_choice() {
    let answers = [(1, 30), (2, 27), (3, 4), (4, -2)].map(|(at, score)| post(10 + at as u64, at, score, "x"));
    let question = VotedQuestion::of_thread(&Thread { accepted: Some(12), ..thread(1, "q", answers.to_vec()) });
    let heard = evidence(&question, &[5, 6, 7, 8]);
    let order = |place: usize| match &heard[place].kind {
        FeedbackKind::Ranking { levels } => levels.clone(),
        other => panic!("{other:?}"),
    };
    // 30 - 27 is within sqrt(30); 4 is not.
    assert_eq!(order(0), [vec![5, 6], vec![7], vec![8]]);
    assert_eq!(order(1), [vec![6], vec![5, 7, 8]]);
    assert!(heard[0].annotator == "voters" && heard[1].annotator == "asker");
    let figures = VoteFigures::of(&question).unwrap();
    assert!(figures.tie_rate == 0.0 && (figures.accepted_dominance.unwrap() - 27.5 / 63.0).abs() < 1e-12);
    assert!(evidence(&question, &[5]).is_empty() && evidence(&question.clone().at_most(1), &[5]).is_empty());
    // The estimate hears them.
    use understudy_learning::reward::openness::{Openness, OpennessConfig};
    let mut openness = Openness::new(OpennessConfig::default(), 0, 1);
    heard.iter().zip(0..).for_each(|(feedback, seq)| openness.observe(&question.question, &[], seq, feedback));
    let known = openness.explain(&question.question.id).unwrap().evidence;
    assert!(known.raters == 2 && known.linked == 4 && known.tie_rate.unwrap() > 0.0 && known.vote_entropy.is_some());
}
