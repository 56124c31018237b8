//! Votes by hand: pairs, levels, filters, baselines and their error.

use super::accuracy::{Accuracy, Tally};
use super::*;
use crate::sources::sample;

fn thread(answers: &[(i64, i64, &str)]) -> VotedQuestion {
    let question = sample::questions().unwrap().next().unwrap().unwrap();
    let answer = |(place, &(at, score, text)): (usize, &(i64, i64, &str))| VotedAnswer {
        id: format!("x/{at}"),
        place,
        text: text.to_owned(),
        score,
        at,
        author: None,
        licence: "CC BY-SA 4.0".to_owned(),
        url: None,
        accepted: false,
        ballot: None,
    };
    VotedQuestion { question, answers: answers.iter().enumerate().map(answer).collect() }
}

#[test]
fn equal_scores_make_no_pair_and_the_filter_keeps_those_that_the_later_answer_won() {
    let thread = thread(&[(1, 5, "a"), (2, 5, "bb"), (3, 9, "c"), (3, 1, "dddd")]);
    let pair = |better, worse| VotedPair { better, worse };
    let all = thread.pairs(PairRule { later_won: false });
    assert_eq!(all, [pair(2, 0), pair(2, 1), pair(0, 3), pair(1, 3), pair(2, 3)]);
    let filtered = thread.pairs(PairRule { later_won: true });
    assert_eq!(filtered, [pair(2, 0), pair(2, 1)], "of two answers of one moment none is the later one");
    assert_eq!(thread.levels(), [vec![2], vec![0, 1], vec![3]]);
    // Longer: c beats nothing (a is as long: half a point; bb and dddd are longer), a and bb are shorter than dddd.
    assert_eq!(thread.longer_is_right(&all), Tally { right: 0.5, pairs: 5 });
    assert_eq!(thread.older_is_right(&all), Tally { right: 2.5, pairs: 5 });
}

#[test]
fn the_samples_votes_are_read_and_the_answers_of_a_question_are_bounded() {
    let all = of_events(sample::events().unwrap(), usize::MAX).unwrap();
    assert!(!all.is_empty());
    let three = of_events(sample::events().unwrap(), 3).unwrap();
    assert!(three.iter().all(|thread| (2..=3).contains(&thread.answers.len())));
    for thread in &all {
        assert!(thread.answers.windows(2).all(|two| two[0].at <= two[1].at), "oldest first");
        let levels: usize = thread.levels().iter().map(Vec::len).sum();
        assert_eq!(levels, thread.answers.len());
    }
}

#[test]
fn the_error_is_that_of_questions_not_of_pairs() {
    // 100 questions of 10 pairs, each wholly right or wholly wrong: as informative as 100 pairs, not as 1000.
    let whole: Vec<Tally> = (0..100).map(|i| Tally { right: if i % 2 == 0 { 10.0 } else { 0.0 }, pairs: 10 }).collect();
    let found = Accuracy::of(&whole);
    assert_eq!((found.share, found.pairs, found.questions), (0.5, 1000, 100));
    // sqrt(0.25 / 100) = 0.05, off by 2 % of resampling (one standard deviation); five of them.
    assert!((found.error - 0.05).abs() < 0.005, "{}", found.error);
}
