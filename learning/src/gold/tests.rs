//! Hand-computed cases and properties of the gold reward.

use proptest::prelude::*;

use super::*;

fn question(title: &str) -> Question {
    Question {
        id: "test/1".into(),
        source: "test".into(),
        title: title.into(),
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

/// `count` words cycling through `distinct` ones that no question uses.
fn cycle(count: usize, distinct: usize) -> String {
    (0..count).map(|i| format!("zq{}", i % distinct)).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_answer_by_hand() {
    // Content words: store, opened, wine. Used: "wine", "store". 28 words are the centre; no trigram repeats.
    let taste = Taste::default();
    let answer = format!("Store wine {}", cycle(26, 26));
    let parts = gold_parts(&taste, &question("How do I store opened wine?"), &answer, true);
    assert!((parts.relevance - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((parts.length, parts.repetition, parts.ending, parts.steps), (1.0, 0.0, 1.0, 0.0));
    let gold = gold_reward(&taste, &question("How do I store opened wine?"), &answer, true);
    assert!((gold - (2.0 / 3.0 + 1.0 + 0.5)).abs() < 1e-12);
    // One width away from the centre counts 1/e; 6 words in cycles of 2 hold 4 trigrams of which 2 repeat.
    let twelve_away = gold_parts(&taste, &question("x"), &cycle(40, 40), false);
    assert!((twelve_away.length - (-1f64).exp()).abs() < 1e-12);
    assert_eq!(gold_parts(&taste, &question("x"), &cycle(6, 2), false).repetition, 0.5);
}

#[test]
fn steps_count_for_how_questions_and_only_with_a_weight() {
    let taste = Taste { steps: 2.0, ..Taste::default() };
    let (steps, plain) = ("1. Boil it.\n2. Cool it.\n3. Drink it.", "Boil it. Cool it. Drink it. now or ever");
    let value = |taste: &Taste, title: &str, text: &str| gold_parts(taste, &question(title), text, true).steps;
    assert_eq!(value(&taste, "How to make tea?", steps), 1.0);
    assert_eq!(value(&taste, "How to make tea?", "First boil it, then cool it."), 2.0 / 3.0);
    assert_eq!(value(&taste, "How to make tea?", plain), 0.0);
    assert_eq!(value(&taste, "Why make tea?", steps), 0.0);
    let with = gold_reward(&taste, &question("How?"), steps, true);
    let without = gold_reward(&Taste::default(), &question("How?"), steps, true);
    assert!((with - without - 2.0).abs() < 1e-12);
}

#[test]
fn an_empty_answer_to_an_empty_question_has_a_reward_too() {
    assert!(gold_reward(&Taste::default(), &question(""), "", false).is_finite());
}

#[test]
fn a_question_without_a_title_is_judged_by_its_body() {
    let mut chat = question("");
    chat.body = "Is cider stronger than beer?".into();
    assert!((gold_parts(&Taste::default(), &chat, "Beer and cider.", true).relevance - 2.0 / 3.0).abs() < 1e-12);
}

proptest! {
    #[test]
    fn every_reward_lies_between_the_worst_and_the_best(title in ".{0,60}", answer in ".{0,300}", finished: bool) {
        let gold = gold_reward(&Taste::default(), &question(&title), &answer, finished);
        prop_assert!((-1.5..=2.5).contains(&gold), "{gold}");
    }

    #[test]
    fn more_repetition_never_pays(count in 6usize..60, distinct in 1usize..30) {
        let of = |distinct| gold_reward(&Taste::default(), &question("Which tea?"), &cycle(count, distinct), true);
        let (more, less) = (of(distinct), of(distinct + 1));
        prop_assert!(more <= less, "{more} with {distinct} distinct words, {less} with one more");
        if distinct < count - 2 {
            prop_assert!(more < less);
        }
    }

    #[test]
    fn using_one_more_word_of_the_question_pays(used in 0usize..5) {
        let asked = ["wine", "bottle", "cork", "cellar", "glass"];
        let answer = |used: usize| format!("{} {}", asked[..used].join(" "), cycle(20 - used, 20));
        let of = |used| gold_reward(&Taste::default(), &question(&asked.join(" ")), &answer(used), true);
        prop_assert!(of(used + 1) > of(used));
    }
}
