//! Corpora as sources: in turn, in time, at a speed, from a date; feeds: as far as they were fetched.

use std::time::Duration;

use tempfile::TempDir;
use understudy_actors::source::{Draw, QuestionSource};
use understudy_learning::stages::Question;

use super::drawn::Drawn;
use super::stack_exchange::api::Feed;
use super::{feed, open};
use crate::config::{Layers, Source, SourceKind};
use crate::corpus::{Builder, Post, Thread};

const HOUR: i64 = 3_600_000;

fn thread(source: &str, id: u64, at: i64) -> Thread {
    let question = Post {
        id,
        at,
        text: format!("body {id}"),
        score: 0,
        author: None,
        url: None,
        licence: "CC BY-SA 4.0".into(),
        edited_at: None,
        wiki: false,
        votes: Vec::new(),
        comments: Vec::new(),
    };
    Thread {
        id: format!("{source}/{id}"),
        source: source.into(),
        terms: "own-site".into(),
        title: format!("{source} {id}"),
        tags: Vec::new(),
        closed: false,
        accepted: None,
        closedness: None,
        question,
        answers: Vec::new(),
    }
}

/// Corpus `a` asked at hours 0, 2, 4 and 6, corpus `b` at hours 1 and 100.
fn corpora() -> (TempDir, Source) {
    let data = TempDir::new().unwrap();
    for (name, hours) in [("a", [0, 2, 4, 6].as_slice()), ("b", &[1, 100])] {
        let mut builder = Builder::begin(&data.path().join("corpus"), name, "own-site", None).unwrap();
        hours.iter().for_each(|hour| builder.add(&thread(name, *hour as u64, *hour * HOUR)).unwrap());
        builder.commit([], &[]).unwrap();
    }
    let mut source = Layers::built_in().finish().unwrap().config.source;
    source.data = data.path().to_owned();
    (source.kind, source.held_out, source.repeat) = (SourceKind::Corpus, 0.0, false);
    (data, source)
}

fn titles(source: &Source) -> Vec<String> {
    open(source).unwrap().unwrap().map(|question| question.unwrap().title).collect()
}

#[test]
fn corpora_are_asked_in_turn_or_in_time_from_a_date_and_by_name() {
    let (_data, mut source) = corpora();
    assert_eq!(titles(&source), ["a 0", "b 1", "a 2", "b 100", "a 4", "a 6"]);
    source.kind = SourceKind::Replay;
    assert_eq!(titles(&source), ["a 0", "b 1", "a 2", "a 4", "a 6", "b 100"]);
    source.from = "1970-01-01T04:00:00".into();
    assert_eq!(titles(&source), ["a 4", "a 6", "b 100"]);
    source.corpora = vec!["b".into()];
    assert_eq!(titles(&source), ["b 100"]);
    let question = open(&source).unwrap().unwrap().next().unwrap().unwrap();
    assert_eq!((question.terms.as_deref(), question.text().as_str()), (Some("own-site"), "b 100\n\nbody 100"));
}

#[test]
fn a_missing_corpus_is_named_with_what_to_do() {
    let (data, mut source) = corpora();
    source.corpora = vec!["c".into()];
    let error = open(&source).map(drop).unwrap_err().to_string();
    assert!(error.contains("corpus/c"), "{error}");
    std::fs::remove_dir_all(data.path().join("corpus")).unwrap();
    source.corpora.clear();
    let error = open(&source).map(drop).unwrap_err().to_string();
    assert!(error.contains("bring one in with 'understudy ingest'"), "{error}");
}

fn title(draw: Draw) -> Result<String, Duration> {
    match draw {
        Draw::Question(question) => Ok(question.title.clone()),
        Draw::NotYet(wait) => Err(wait),
        Draw::End => Ok("end".into()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_question_is_given_at_its_scaled_moment_and_not_before() {
    let (_data, mut source) = corpora();
    (source.kind, source.speed) = (SourceKind::Replay, 3600.0);
    let mut drawn = Drawn::open(&source).unwrap().unwrap();
    let mut draw = |position| title(drawn.draw(position).unwrap());
    assert_eq!(draw(0), Ok("a 0".into()));
    assert_eq!(draw(1), Err(Duration::from_secs(1)));
    tokio::time::advance(Duration::from_millis(600)).await;
    assert_eq!(draw(1), Err(Duration::from_millis(400)));
    tokio::time::advance(Duration::from_millis(400)).await;
    assert_eq!(draw(1), Ok("b 1".into()));
    // A slow learner: two are overdue, the third is not late for it.
    tokio::time::advance(Duration::from_millis(3500)).await;
    assert_eq!((draw(2), draw(3)), (Ok("a 2".into()), Ok("a 4".into())));
    assert_eq!(draw(4), Err(Duration::from_millis(1500)));
    // A restart goes on where it was, at once.
    let mut drawn = Drawn::open(&source).unwrap().unwrap();
    let mut draw = |position| title(drawn.draw(position).unwrap());
    assert_eq!(draw(4), Ok("a 6".into()));
    assert_eq!(draw(5), Err(Duration::from_secs(60)), "94 s, of which a minute is told at a time");
    tokio::time::advance(Duration::from_secs(94)).await;
    assert_eq!((draw(5), draw(6)), (Ok("b 100".into()), Ok("end".into())));
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_repeats_begins_its_time_anew() {
    let (_data, mut source) = corpora();
    (source.kind, source.speed, source.repeat) = (SourceKind::Replay, 3600.0, true);
    let mut drawn = Drawn::open(&source).unwrap().unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(title(drawn.draw(5).unwrap()), Ok("b 100".into()));
    assert_eq!(title(drawn.draw(6).unwrap()), Ok("a 0".into()));
    assert_eq!(title(drawn.draw(7).unwrap()), Err(Duration::from_secs(1)));
}

#[test]
fn a_feed_gives_what_was_fetched_and_waits_for_more() {
    let (_data, mut source) = corpora();
    (source.kind, source.site) = (SourceKind::Api, "site.example".into());
    let mut drawn = Drawn::open(&source).unwrap().unwrap();
    assert!(title(drawn.draw(0).unwrap()).is_err());
    let question = |id: u64| Question { id: format!("site.example/{id}"), ..thread("f", id, 0).question() };
    let mut written = Feed::open(&feed::folder(&source), Default::default()).unwrap();
    written.append(vec![question(7), question(8)]).unwrap();
    assert_eq!(title(drawn.draw(0).unwrap()), Ok("f 7".into()));
    assert_eq!(title(drawn.draw(1).unwrap()), Ok("f 8".into()));
    assert!(title(drawn.draw(2).unwrap()).is_err());
    written.append(vec![question(9)]).unwrap();
    assert_eq!(title(drawn.draw(2).unwrap()), Ok("f 9".into()));
    // A restart finds them at their places.
    assert_eq!(title(Drawn::open(&source).unwrap().unwrap().draw(1).unwrap()), Ok("f 8".into()));
    // Held-out questions are never given, whenever they come.
    source.held_out = 0.999_999;
    assert!(title(Drawn::open(&source).unwrap().unwrap().draw(0).unwrap()).is_err());
}
