//! Marked lines, edits, and what annotators do to the learner.

use super::*;
use crate::reward::said::Said;
use crate::reward::terms::Terms;

fn answers(count: u64) -> Vec<Rollout> {
    let asked = Arc::new(question(0));
    let mut stream = Stream::new(12, Purpose::Evaluation, 1);
    (0..count).map(|id| Rollout { id, ..answer(id, &asked, &mut stream) }).collect()
}

fn example(answers: &[Rollout], kind: FeedbackKind, lines: Vec<usize>) -> RewardExample {
    let feedback = Feedback { id: "f".into(), annotator: "ana".into(), at: 0, kind, why: None };
    RewardExample { seq: 5, answers: answers.to_vec(), feedback, closedness: 0.5, lines }
}

/// A word more than the shortest answer has.
fn long_answer() -> Rollout {
    answers(8).into_iter().max_by_key(|answer| answer.tokens.len()).unwrap()
}

#[test]
fn a_marked_line_is_a_thumb_on_the_answer_cut_after_it() {
    let whole = long_answer();
    let stored = with_states(&tiny_model(3).trunk, &whole);
    let cut = Rollout { tokens: whole.tokens[..5].to_vec(), ..whole.clone() };
    let learner = learner(fast());
    let steps = |answer: &Rollout, marks: Vec<Option<bool>>, lines: Vec<usize>| {
        let kind = FeedbackKind::Steps { answer: answer.id, marks };
        learner.predict(&example(std::slice::from_ref(answer), kind, lines))
    };
    let thumb = FeedbackKind::Thumb { answer: cut.id, up: true };
    let expected = learner.predict(&example(&[cut], thumb, Vec::new())).unwrap().unwrap().probability;
    for answer in [&whole, &stored] {
        let got = steps(answer, vec![Some(true), None], vec![5, 7]).unwrap().unwrap();
        // Both thresholds start at 0. Batches of other shapes round differently.
        assert!((got.probability - expected).abs() < 1e-6, "{} {expected}", got.probability);
        assert_eq!(got.outcomes.len(), 1, "no opinion is no question");
    }
    let end = whole.tokens.len();
    assert_eq!(steps(&whole, vec![Some(true), Some(false)], vec![5, end]).unwrap().unwrap().outcomes.len(), 2);
    for lines in [vec![5], vec![5, end + 1], vec![5, 0]] {
        let error = steps(&whole, vec![Some(true), Some(true)], lines).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}

#[test]
fn right_and_wrong_lines_part_the_beginnings_of_an_answer() {
    let whole = long_answer();
    let mut learner = learner(fast());
    let kind = FeedbackKind::Steps { answer: whole.id, marks: vec![Some(true), Some(false)] };
    let marked = example(std::slice::from_ref(&whole), kind, vec![4, whole.tokens.len()]);
    (0..60).for_each(|_| assert!(!learner.learn(std::slice::from_ref(&marked)).unwrap().skipped));
    let cut = Rollout { tokens: whole.tokens[..4].to_vec(), ..whole.clone() };
    let scores = learner.score(&[cut, whole]).unwrap();
    assert!(scores[0].score > scores[1].score + 0.5, "{scores:?}");
}

#[test]
fn an_edit_is_learned_as_the_better_text_and_says_nothing_without_it() {
    let mut all = answers(2);
    all[1].id = edited_id(5);
    let kind = || FeedbackKind::Edit { answer: 0, text: all[1].text.clone() };
    let mut learner = learner(fast());
    assert_eq!(learner.predict(&example(&all[..1], kind(), Vec::new())).unwrap(), None);
    let edited = example(&all, kind(), Vec::new());
    (0..40).for_each(|_| assert_eq!(learner.learn(std::slice::from_ref(&edited)).unwrap().events, 1));
    let scores = learner.score(&all).unwrap();
    assert!(scores[1].score > scores[0].score + 0.5, "{scores:?}");
}

#[test]
fn a_stronger_pair_asks_for_a_wider_gap() {
    let all = answers(2);
    let gap = |strength: f64| {
        let mut learner = learner(RewardConfig { learning_rate: 0.0, ..fast() });
        let pair = example(&all, FeedbackKind::Pair { better: 0, worse: 1, strength }, Vec::new());
        (0..60).for_each(|_| assert!(!learner.learn(std::slice::from_ref(&pair)).unwrap().skipped));
        let scores = learner.score(&all).unwrap();
        scores[0].score - scores[1].score
    };
    assert!(gap(4.0) > gap(1.0) + 0.05, "{} {}", gap(4.0), gap(1.0));
}

#[test]
fn features_of_a_prompt_are_its_own_and_of_size_1() {
    let learner = learner(fast());
    let one = long_answer();
    let features = learner.prompt_features(&one).unwrap();
    assert_eq!(features.len(), learner_width());
    let size = features.iter().map(|value| value * value).sum::<f32>() / features.len() as f32;
    assert!((size - 1.0).abs() < 1e-4, "{size}");
    let other = Rollout { tokens: vec![65, 66], ..one.clone() };
    let stored = with_states(&tiny_model(3).trunk, &one);
    for same in [other, stored] {
        let again = learner.prompt_features(&same).unwrap();
        assert!(features.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-4), "the answer does not matter");
    }
    let mut bare = one;
    bare.prompt.tokens.clear();
    assert!(learner.prompt_features(&bare).unwrap_err().to_string().contains("prompt"));
}

#[test]
fn where_only_the_ignored_speak_nothing_moves() {
    let config = RewardConfig {
        reliability: ReliabilityConfig { pinned: vec!["gold".into()], proof: 0.999_999_999_999, ..Default::default() },
        ..fast()
    };
    let mut learner = learner(config);
    let all = answers(4);
    let says = |annotator: &str, up: bool, seq: u64| {
        let feedback = Feedback {
            id: format!("f{seq}"),
            annotator: annotator.into(),
            at: 0,
            kind: FeedbackKind::Thumb { answer: seq % 4, up },
            why: None,
        };
        RewardExample { seq, answers: all.clone(), feedback, closedness: 0.5, lines: Vec::new() }
    };
    let take = |learner: &mut RewardLearner, example: RewardExample| {
        let prediction = learner.predict(&example).unwrap().unwrap();
        learner.record(&prediction);
        learner.learn(&[example]).unwrap()
    };
    for seq in 0..12 {
        take(&mut learner, says("gold", seq % 4 < 2, seq));
        take(&mut learner, says("liar", seq % 4 >= 2, seq));
    }
    let liar = learner.annotators().into_iter().find(|report| report.annotator == "liar").unwrap();
    assert_eq!(liar.standing, Standing::Ignored, "{liar:?}");
    let before = learner.state();
    let version = learner.version();
    (12..30).for_each(|seq| assert!(!take(&mut learner, says("liar", seq % 4 >= 2, seq)).skipped));
    assert_eq!(learner.version(), version + 18, "the steps are counted");
    let after = learner.state();
    let moved = before.tensors.iter().zip(&after.tensors).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0.as_str());
    // Which events the posterior has heard is kept, too: they say nothing, but they were heard.
    let moved: Vec<&str> = moved.filter(|name| *name != "epistemic.seen").collect();
    assert!(moved.is_empty(), "and move nothing: {moved:?}");
    let judged = learner.annotators().into_iter().find(|report| report.annotator == "liar").unwrap();
    assert!(judged.events == 30 && judged.accuracy.is_some(), "{judged:?}");
}

#[test]
fn the_chosen_utility_is_the_one_that_is_used_and_one_without_a_value_at_0_is_refused() {
    use crate::reward::losses::utility::Utility;
    let all = answers(4);
    let ranking = FeedbackKind::Ranking { levels: vec![vec![0], vec![1], vec![2], vec![3]] };
    let loss = |utility: UtilityChoice, closedness: f64| {
        let mut learner = learner(RewardConfig { utility, ..fast() });
        let ranked = RewardExample { closedness, ..example(&all, ranking.clone(), Vec::new()) };
        learner.learn(&[ranked]).unwrap().utility_loss
    };
    let (x, inv) = (Utility::X, Utility::Inv { s: 1.0, eps: Some(0.1) });
    let adaptive = UtilityChoice::Adaptive { closed: x, open: inv };
    let common = |utility| UtilityChoice::Common { utility };
    assert_eq!(loss(adaptive, 0.9), loss(common(x), 0.1));
    assert_eq!(loss(adaptive, 0.5), loss(common(inv), 0.9));
    assert_ne!(loss(adaptive, 0.5), loss(adaptive, 0.9));
    assert_ne!(loss(UtilityChoice::Dial, 0.5), loss(UtilityChoice::Dial, 0.9));
    let ideal = RewardConfig { utility: common(Utility::Log { eps: None }), ..fast() };
    assert!(ideal.validate().unwrap_err().to_string().contains("eps"));
}

#[test]
fn a_batch_names_each_answer_once_and_by_its_question_and_beginnings_by_none() {
    let all = answers(4);
    let elsewhere = Arc::new(question(1));
    let others: Vec<Rollout> = answers(2)
        .into_iter()
        .map(|one| {
            let prompt = Prompt { question: elsewhere.clone(), ..one.prompt.clone() };
            Rollout { id: one.id + 10, prompt, ..one }
        })
        .collect();
    let batch = [
        example(&all, FeedbackKind::Steps { answer: 0, marks: vec![Some(true)] }, vec![2]),
        example(&all, FeedbackKind::Score { answer: 0, value: 7.0, min: 5.0, max: 9.0 }, Vec::new()),
        example(&all, FeedbackKind::Ranking { levels: vec![vec![0], vec![1, 2], vec![3]] }, Vec::new()),
        example(&others, FeedbackKind::Pair { better: 11, worse: 10, strength: 1.0 }, Vec::new()),
    ];
    let terms = Terms::collect(&batch).unwrap();
    let named: Vec<(u64, bool)> = terms.answers().iter().map(|one| (one.id, one.tokens.len() == 2)).collect();
    assert_eq!(named[..2], [(0, true), (0, false)], "the whole answer is not its beginning");
    assert_eq!(named[2..].iter().map(|one| one.0).collect::<Vec<_>>(), [1, 2, 3, 11, 10]);
    assert_eq!(terms.statements.question, [None, Some(0), Some(0), Some(0), Some(0), Some(1), Some(1)]);
    let middle = Said::Grade { answer: 1, shares: vec![0.0, 0.0, 1.0, 0.0, 0.0], position: 0.5 };
    assert_eq!(terms.statements.said[1], Some(middle), "7 is half-way from 5 to 9");
    let Some(Said::Order { answers, ranks, pairs }) = &terms.statements.said[2] else {
        panic!("a ranking is an order")
    };
    assert_eq!((answers.as_slice(), ranks.as_slice()), ([1, 2, 3, 4].as_slice(), [0, 1, 1, 2].as_slice()));
    // 2/K each: the six pairs of a strict ranking of four would weigh 3, its choices. One pair is tied here.
    assert!(pairs.len() == 5 && pairs.iter().all(|pair| pair.weight == 0.5), "{pairs:?}");
    assert_eq!(terms.statements.said[3], Some(Said::Pair { better: 5, worse: 6, strength: 1.0 }));
}
