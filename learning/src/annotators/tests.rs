//! Members choose as their model says, and populations are what was asked for.

use super::*;
use crate::gold::{Taste, gold_reward};
use crate::rng::{Purpose, Stream};
use crate::stages::{FeedbackKind, Question};

const NOON: i64 = 12 * 3600 * 1000;

fn question() -> Question {
    let text = r#"{"id":"t/1","source":"t","title":"How long does opened wine last?","body":"","tags":[],
        "author":null,"url":null,"licence":null,"asked_at":0,"closedness":null}"#;
    serde_json::from_str(text).unwrap()
}

/// One member that is always awake and gives one kind of feedback.
fn member(config: PopulationConfig) -> Annotator {
    let config = PopulationConfig { members: 1, awake_hours: 24.0, drift: 0.0, taste_spread: 0.0, ..config };
    Population::draw(&config, 5).unwrap().remove(0)
}

fn only(kind: usize) -> PopulationConfig {
    let mut weights = [0.0; 4];
    weights[kind] = 1.0;
    let kinds = KindWeights::from_array(weights);
    PopulationConfig { kinds, temperature_spread: 0.0, lapse: 0.0, bias_spread: 0.0, ..Default::default() }
}

const TEXTS: [&str; 3] = [
    "Opened wine does last about three days when you close it well and keep it cold in the fridge.",
    "Wine is nice, I think, and nice to have.",
    "no no no no no no no no no no no no",
];

fn task(question: &Question, count: usize, number: u64) -> RatingTask<'_> {
    let answer = |id: usize| RatedAnswer { id: id as u64, text: TEXTS[id % 3], finished: true, judged: None };
    RatingTask { question, answers: (0..count).map(answer).collect(), number }
}

/// The share of `draws` tasks in which `holds` is true of what the member says.
fn share(member: &Annotator, count: usize, draws: u64, holds: impl Fn(&FeedbackKind) -> bool) -> f64 {
    let question = question();
    let said = |number| {
        let mut stream = member.task_stream(number);
        member.rate(&task(&question, count, number), NOON, &mut stream).expect("awake").kind
    };
    (0..draws).filter(|&number| holds(&said(number))).count() as f64 / draws as f64
}

fn gold(text: &str) -> f64 {
    gold_reward(&Taste::default(), &question(), text, true)
}

#[test]
fn pairs_follow_the_choice_model_at_the_members_temperature() {
    let good = member(PopulationConfig { temperature: 0.8, ..only(2) });
    let expected = 1.0 / (1.0 + (-(gold(TEXTS[0]) - gold(TEXTS[1])) / 0.8).exp());
    let seen = share(&good, 2, 4000, |kind| matches!(kind, FeedbackKind::Pair { better: 0, .. }));
    // Standard error at most 0.5 / sqrt(4000) = 0.008; four of them.
    assert!((seen - expected).abs() < 0.032, "{seen} where {expected} was expected");
    let hostile = member(PopulationConfig { temperature: 0.8, good: 0.0, noisy: 0.0, hostile: 1.0, ..only(2) });
    let seen = share(&hostile, 2, 4000, |kind| matches!(kind, FeedbackKind::Pair { better: 0, .. }));
    assert!((seen - (1.0 - expected)).abs() < 0.032, "the opposite: {seen}");
}

#[test]
fn rankings_follow_plackett_luce() {
    let temperature = 0.7;
    let good = member(PopulationConfig { temperature, just_noticeable: 0.0, ..only(3) });
    let strength: Vec<f64> = TEXTS.iter().map(|text| (gold(text) / temperature).exp()).collect();
    let expected = strength[1] / strength.iter().sum::<f64>() * strength[0] / (strength[0] + strength[2]);
    let order = [vec![1], vec![0], vec![2]];
    let seen = share(&good, 3, 4000, |kind| matches!(kind, FeedbackKind::Ranking { levels } if *levels == order));
    assert!((seen - expected).abs() < 0.032, "{seen} where {expected} was expected");
}

#[test]
fn what_seems_equal_is_ranked_as_equal() {
    let blind = member(PopulationConfig { just_noticeable: 1e9, ..only(3) });
    assert_eq!(share(&blind, 3, 20, |kind| matches!(kind, FeedbackKind::Ranking { levels } if levels.len() == 1)), 1.0);
}

#[test]
fn stars_and_thumbs_rise_with_the_gold_reward_and_fall_for_hostile_members() {
    let up = |config, text: usize| {
        let member = member(config);
        let of = |kind: &FeedbackKind| match kind {
            FeedbackKind::Stars { answer, stars } => *answer == text as u64 && *stars >= 4,
            FeedbackKind::Thumb { answer, up } => *answer == text as u64 && *up,
            _ => panic!("only stars and thumbs were asked for"),
        };
        share(&member, 3, 600, of)
    };
    for kind in [0, 1] {
        let hostile = || PopulationConfig { good: 0.0, noisy: 0.0, hostile: 1.0, ..only(kind) };
        assert!(up(only(kind), 0) > up(only(kind), 2) + 0.2);
        assert!(up(hostile(), 0) + 0.2 < up(hostile(), 2));
    }
}

#[test]
fn lapses_are_uniform() {
    let absent = member(PopulationConfig { good: 0.0, noisy: 1.0, hostile: 0.0, noisy_lapse: 1.0, ..only(0) });
    for wanted in 1..=5 {
        let seen =
            share(&absent, 1, 3000, |kind| matches!(kind, FeedbackKind::Stars { stars, .. } if *stars == wanted));
        // Standard error sqrt(0.2 * 0.8 / 3000) = 0.0073; four of them.
        assert!((seen - 0.2).abs() < 0.03, "{wanted} stars: {seen}");
    }
}

#[test]
fn equal_texts_are_never_compared_and_feedback_is_always_valid() {
    let question = question();
    let same = |id| RatedAnswer { id, text: "the same", finished: true, judged: None };
    let task = |number| RatingTask { question: &question, answers: vec![same(1), same(2)], number };
    let pairs = member(only(2));
    assert_eq!(pairs.rate(&task(0), NOON, &mut pairs.task_stream(0)), None);
    for member in Population::draw(&PopulationConfig { members: 40, ..Default::default() }, 1).unwrap() {
        for number in 0..10 {
            let task = self::task(&question, 3, number);
            let Some(said) = member.rate(&task, NOON, &mut member.task_stream(number)) else { continue };
            said.validate().unwrap();
            assert_eq!(said.id, format!("{}-{number}", member.id));
            assert_eq!(Some(said), member.rate(&task, NOON, &mut member.task_stream(number)), "the same again");
        }
    }
}

#[test]
fn a_population_has_the_shares_that_were_asked_for_and_members_that_differ() {
    let config = PopulationConfig { members: 20, good: 0.6, noisy: 0.3, hostile: 0.1, ..Default::default() };
    let members = Population::draw(&config, 9).unwrap();
    let count = |honesty| members.iter().filter(|member| member.honesty == honesty).count();
    assert_eq!([count(Honesty::Good), count(Honesty::Noisy), count(Honesty::Hostile)], [12, 6, 2]);
    assert_eq!(members, Population::draw(&config, 9).unwrap());
    assert_ne!(members[0].taste, members[1].taste);
    assert_ne!(members, Population::draw(&config, 10).unwrap());
    assert!(Population::draw(&PopulationConfig { temperature: 0.0, ..config }, 9).is_err());
}

#[test]
fn members_sleep_and_their_tastes_wander_within_bounds() {
    let config = PopulationConfig { members: 200, awake_hours: 6.0, drift: 0.2, ..Default::default() };
    let members = Population::draw(&config, 3).unwrap();
    let awake = members.iter().filter(|member| member.is_awake(NOON)).count();
    // Binomial(200, 1/4): 50 with standard deviation 6.1; four of them.
    assert!((26..=74).contains(&awake), "{awake}");
    let days = |count: i64| count * 24 * 3600 * 1000;
    let change = |from: i64, to: i64| {
        let log = |member: &Annotator, at| member.taste_at(at).relevance.ln();
        let square = members.iter().map(|member| (log(member, to) - log(member, from)).powi(2)).sum::<f64>();
        (square / members.len() as f64).sqrt()
    };
    assert!(change(days(1000), days(1001)) < 0.05, "a day changes little");
    // Two independent normals of deviation 0.2 differ by 0.283 in the root mean square.
    let far = change(days(1000), days(3000));
    assert!((far - 0.283).abs() < 0.06, "years change all: {far}");
}

#[test]
fn delays_and_arrivals_have_the_means_that_were_asked_for() {
    let mut stream = Stream::new(1, Purpose::Arrival, 0);
    let mean = (0..4000).map(|_| next_arrival_ms(2.0, &mut stream).unwrap() as f64).sum::<f64>() / 4000.0;
    // Exponential of mean 500 ms: standard error 500 / sqrt(4000) = 7.9; four of them.
    assert!((mean - 500.0).abs() < 32.0, "{mean}");
    assert_eq!(next_arrival_ms(0.0, &mut stream), None);
    let member = member(only(0));
    let mut delays: Vec<u64> = (0..2001).map(|_| member.delay_ms(&mut stream)).collect();
    delays.sort_unstable();
    let ratio = delays[1000] as f64 / member.delay_median_ms;
    assert!((ratio.ln()).abs() < 0.1, "median {} of {}", delays[1000], member.delay_median_ms);
}

/// A question with right and wrong answers, of which TEXTS[0] is right.
fn typed(kind: usize) -> PopulationConfig {
    PopulationConfig { closed_share: 1.0, right_share: 0.2, ..only(kind) }
}

#[test]
fn right_and_wrong_answers_get_the_outermost_stars_and_ties() {
    let middle = 0.7 + 0.45 * 0.84;
    assert!(gold(TEXTS[0]) > middle + 0.1 && gold(TEXTS[1]) < middle - 0.1 && gold(TEXTS[2]) < middle - 0.1);
    let extreme = share(&member(typed(0)), 3, 600, |kind| {
        matches!(kind, FeedbackKind::Stars { answer: 0, stars: 5 } | FeedbackKind::Stars { answer: 1 | 2, stars: 1 })
    });
    // (√3 - 0.84) deviations of 0.45 from the next star at temperature 0.15: a logistic of 2.67, 0.935.
    assert!((extreme - 0.935).abs() < 0.04, "{extreme}");
    let sorted = share(&member(typed(3)), 3, 400, |kind| match kind {
        FeedbackKind::Ranking { levels } => levels.len() == 2 && levels[0] == [0] && levels[1].len() == 2,
        _ => false,
    });
    assert!(sorted > 0.95, "{sorted}");
    let pairs = member(typed(2));
    let both = share(&pairs, 3, 900, |kind| matches!(kind, FeedbackKind::Ranking { levels } if levels.len() == 1));
    // One of the three pairs holds both wrong answers: standard error sqrt(2/9/900) = 0.016; four of them.
    assert!((both - 1.0 / 3.0).abs() < 0.065, "{both}");
}

#[test]
fn without_a_closed_share_what_a_source_declares_changes_nothing() {
    let said = |closedness: Option<f64>| {
        let asked = Question { closedness, ..question() };
        let rate = |member: &Annotator| {
            (0..20).map(|n| member.rate(&task(&asked, 3, n), NOON, &mut member.task_stream(n))).collect::<Vec<_>>()
        };
        Population::draw(&PopulationConfig::default(), 4).unwrap().iter().map(rate).collect::<Vec<_>>()
    };
    assert_eq!(said(Some(0.9)), said(None));
}
