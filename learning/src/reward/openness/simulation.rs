//! Simulated questions of both kinds, rated by biased people: does p tell them apart?

use super::moments::{moments, within_squares};
use super::spike_slab::{log_likelihood, posterior_mean};
use super::*;
use crate::rng::{Purpose, Stream};
use crate::stages::{Feedback, FeedbackKind, Question};

const ANSWERS: usize = 8;
const WIDTH: usize = 64;

struct Simulated {
    question: Question,
    closed: bool,
    features: Vec<f32>,
    /// `[raters][answers]` stars.
    stars: Vec<Vec<u8>>,
}

/// Closed: k of 8 right, k in 2..=6; open: evenly spread; both within the same range of qualities. Raters see the
/// quality with noise, and shift and stretch it.
fn simulate(questions: usize, raters: usize, informative: f64, seed: u64) -> Vec<Simulated> {
    let mut stream = Stream::new(seed, Purpose::Evaluation, raters as u64);
    let one = |index: usize| {
        let closed = index.is_multiple_of(2);
        let right = 2 + stream.below(5);
        // How far apart best and worst are, and where: raters squeeze their grades together.
        let width = 0.4 + 0.5 * stream.uniform();
        let low = (1.0 - width) * stream.uniform();
        let truth: Vec<f64> = (0..ANSWERS)
            .map(|answer| match closed {
                true => low + width * f64::from(u8::from(answer < right)),
                false => low + width * answer as f64 / (ANSWERS - 1) as f64,
            })
            .collect();
        let stars = (0..raters)
            .map(|_| {
                let (shift, slope) = (0.08 * stream.normal(), (0.2 * stream.normal()).exp());
                let seen =
                    |quality: f64, stream: &mut Stream| 0.5 + slope * (quality - 0.5) + shift + 0.15 * stream.normal();
                truth.iter().map(|q| (1.0 + 4.0 * seen(*q, &mut stream)).round().clamp(1.0, 5.0) as u8).collect()
            })
            .collect();
        let sign = if closed { 1.0 } else { -1.0 };
        let features =
            (0..WIDTH).map(|i| (2.0 + informative * sign * f64::from(u8::from(i < 8)) + stream.normal()) as f32);
        let features = features.collect();
        let question = Question {
            id: format!("q{index:05}"),
            source: "simulated".into(),
            title: String::new(),
            body: String::new(),
            tags: Vec::new(),
            author: None,
            url: None,
            licence: None,
            asked_at: 0,
            closedness: None,
            terms: None,
        };
        Simulated { question, closed, features, stars }
    };
    (0..questions)
        .map({
            let mut one = one;
            move |index| one(index)
        })
        .collect()
}

/// Area under the ROC curve: how often a closed question gets the larger p (Mann and Whitney 1947).
fn auc(found: &[(bool, f64)]) -> f64 {
    let of = |closed: bool| found.iter().filter(move |one| one.0 == closed).map(|one| one.1);
    let mut sum = 0.0;
    for closed in of(true) {
        sum += of(false)
            .map(|open| if closed > open { 1.0 } else { 0.5 * f64::from(u8::from(closed == open)) })
            .sum::<f64>();
    }
    sum / (of(true).count() * of(false).count()) as f64
}

fn hear(openness: &mut Openness, simulated: &Simulated, seq: &mut u64) {
    for (rater, stars) in simulated.stars.iter().enumerate() {
        for (answer, stars) in stars.iter().enumerate() {
            *seq += 1;
            let kind = FeedbackKind::Stars { answer: answer as u64, stars: *stars };
            let feedback = Feedback { id: format!("f{seq}"), annotator: format!("a{rater}"), at: 0, kind, why: None };
            openness.observe(&simulated.question, &simulated.features, *seq, &feedback);
        }
    }
}

/// p of each question by its grades alone, with an even prior.
fn by_grades(all: &[Simulated]) -> Vec<(bool, f64)> {
    let graded: Vec<Vec<Vec<f64>>> = all
        .iter()
        .map(|one| {
            let grade = |answer: usize| one.stars.iter().map(|stars| (f64::from(stars[answer]) - 1.0) / 4.0).collect();
            (0..ANSWERS).map(grade).collect()
        })
        .collect();
    let (sum, freedom) = graded
        .iter()
        .map(|scores| within_squares(scores))
        .fold((0.03 * 4.0, 4.0), |sums, one| (sums.0 + one.0, sums.1 + one.1 as f64));
    let p = |scores: &Vec<Vec<f64>>| {
        let within = moments(scores, (sum / freedom, 4.0)).unwrap().within_shrunk;
        let means: Vec<f64> = scores.iter().map(|grades| grades.iter().sum::<f64>() / grades.len() as f64).collect();
        let variances: Vec<f64> = scores.iter().map(|grades| within / grades.len() as f64).collect();
        posterior_mean(&log_likelihood(&means, &variances), 0.5, 2.0)
    };
    all.iter().zip(&graded).map(|(one, scores)| (one.closed, p(scores))).collect()
}

#[test]
fn p_tells_closed_from_open_the_better_the_more_people_rate() {
    // Another population of this kind (K = 8, biased raters) gave these; two standard errors of 150 against 150 beside.
    for (raters, published) in [(1, 0.84), (2, 0.87), (3, 0.93), (5, 0.95)] {
        let found = auc(&by_grades(&simulate(300, raters, 0.0, 7)));
        assert!(found > published - 0.05, "{raters} raters: AUC {found:.3}");
    }
}

#[test]
fn a_gate_with_an_informative_prompt_helps_where_one_person_rates_and_knows_unheard_questions() {
    let all = simulate(200, 1, 0.4, 7);
    let config = OpennessConfig { ratings_per_answer: 1.0, ..OpennessConfig::default() };
    let mut openness = Openness::new(config, WIDTH, 1);
    let mut seq = 0;
    all.iter().for_each(|one| hear(&mut openness, one, &mut seq));
    let decide = |one: &Simulated| (one.closed, openness.decide(&one.question, &one.features).p);
    let with = auc(&all[50..].iter().map(decide).collect::<Vec<_>>());
    let without = auc(&by_grades(&all)[50..]);
    assert!(with > without + 0.02, "AUC {with:.3} with the gate and {without:.3} without");
    let unheard = simulate(200, 1, 0.4, 99).into_iter().map(|one| Simulated {
        question: Question { id: format!("unheard {}", one.question.id), ..one.question },
        ..one
    });
    let alone = auc(&unheard.map(|one| decide(&one)).collect::<Vec<_>>());
    assert!(alone > 0.7, "AUC {alone:.3} of the gate alone");
}
