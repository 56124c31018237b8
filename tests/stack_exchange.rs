//! Real dumps, where they are at hand: counts, odd rows, order.
//!
//! Invariant: the dumps are not ours to distribute; where `../shared/data/stackexchange` is absent each test says so.

use std::path::PathBuf;

use understudy::sources::stack_exchange::{DropRule, Event, EventKind, Site, events_of_file};

fn dump(folder: &str) -> Option<PathBuf> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/stackexchange");
    let path = data.join(folder);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

fn read(folder: &str) -> Option<(Vec<Event>, std::collections::BTreeMap<DropRule, u64>)> {
    let path = dump(folder)?;
    let events = events_of_file(&path, Site::new("", &path)).expect("a dump");
    let drops = events.drops().clone();
    Some((events.collect::<Result<_, _>>().expect("every row can be read again"), drops))
}

fn check_counts(folder: &str, questions: usize, answers: usize) {
    let Some((events, drops)) = read(&format!("{folder}/Posts.xml")) else { return };
    let asked = events.iter().filter(|event| matches!(event.kind, EventKind::Asked(_))).count();
    assert_eq!((asked, events.len() - asked), (questions, answers), "{folder}, dropped {drops:?}");
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at), "{folder}: in time order");
}

#[test]
fn all_questions_and_answers_of_real_dumps_are_read_in_time_order() {
    check_counts("beer-2020-06", 1029, 2277);
    check_counts("matheducators-2014-05", 397, 1507);
    check_counts("quantumcomputing-2018-09", 612, 1060);
    check_counts("ai-2017-03", 604, 1004);
    check_counts("datascience.meta-2024-01", 257, 341);
}

#[test]
fn odd_rows_are_kept_or_dropped_by_rule() {
    let Some((events, drops)) = read("fixtures/xml/odd_posts.xml") else { return };
    // Tag wikis and the placeholder are no posts of people; everything else is kept.
    assert_eq!(drops.keys().map(|rule| rule.name()).collect::<Vec<_>>(), ["other_kind"]);
    assert_eq!(events.len() as u64 + drops.values().sum::<u64>(), 25);
    let text = |wanted: &str| {
        events.iter().find_map(|event| match &event.kind {
            EventKind::Answered(answer) if answer.id.ends_with(wanted) => Some(answer.text.clone()),
            EventKind::Asked(question) if question.id.ends_with(wanted) => Some(question.text()),
            _ => None,
        })
    };
    assert_eq!(text("/350").as_deref(), Some("## Yes! We want hats!"));
    assert!(text("/30").is_some_and(|code| code.contains("```\n#include <")), "escaped twice, unescaped twice");
    assert!(text("/621").is_some_and(|body| body.contains("生")));
    let tags = |wanted: &str| {
        events.iter().find_map(|event| match &event.kind {
            EventKind::Asked(question) if question.id.ends_with(wanted) => Some(question.tags.len()),
            _ => None,
        })
    };
    assert!(tags("/2607") > Some(0) && tags("/7356") > Some(0), "both forms of tags");
}

#[test]
fn a_file_of_another_table_is_refused_with_a_sentence() {
    let Some(path) = dump("fixtures/xml/odd_comments.xml") else { return };
    let error = events_of_file(&path, Site::new("", &path)).err().expect("comments are no posts").to_string();
    assert!(error.contains("the root element is <comments>, not <posts>; give a Posts.xml"), "{error}");
    let Some(path) = dump("fixtures/xml/huge_body_post.xml") else { return };
    assert_eq!(events_of_file(&path, Site::new("", &path)).expect("one long row").count(), 1);
}
