//! The thread against a site over loopback: started, ended, started again, refused.

use std::collections::BTreeSet;
use std::time::Duration;

use tempfile::TempDir;
use understudy_actors::source::{Draw, QuestionSource};

use super::server::{Fault, Site, serve};
use super::*;
use crate::config::{Layers, Source, SourceKind};
use crate::notes::Notes;
use crate::sources::drawn::Drawn;

/// 2026-01-01.
const START_S: i64 = 1_767_225_600;
const PATIENCE: Duration = Duration::from_secs(30);

fn source(data: &TempDir, api: &str) -> Source {
    let mut source = Layers::built_in().finish().unwrap().config.source;
    (source.kind, source.site, source.api) = (SourceKind::Api, "site.example".into(), api.to_owned());
    (source.terms, source.may_train, source.from) = ("own-site".into(), true, "2026-01-01".into());
    (source.requests_per_s, source.held_out, source.data) = (25.0, 0.0, data.path().to_owned());
    source
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("waited for {what}");
}

/// As many questions as are there now, from `position` on.
fn drawn(source: &Source, position: u64) -> Vec<String> {
    let mut drawn = Drawn::open(source).unwrap().unwrap();
    let id = |draw| match draw {
        Draw::Question(question) => Some(question.id.clone()),
        Draw::NotYet(_) => None,
        Draw::End => panic!("a feed has no end"),
    };
    (position..).map_while(|at| id(drawn.draw(at).unwrap())).collect()
}

#[test]
fn a_restart_goes_on_where_it_was_and_every_question_comes_once() {
    let (data, site) = (TempDir::new().unwrap(), Site::new((START_S + 24 * 3600) * 1000));
    let source = source(&data, &serve(site.clone()));
    (0..150).for_each(|n| site.ask(START_S + n, [n as u64]));
    let notes = Notes::default();
    let polls = Polls::start(&source, notes.clone()).unwrap().unwrap();
    until("150 questions", || drawn(&source, 0).len() == 150);
    // It waits five minutes for the next look, and ends at once all the same.
    assert!(polls.end(PATIENCE));
    // What was asked while nobody looked.
    (150..300).for_each(|n| site.ask(START_S + n, [n as u64]));
    let polls = Polls::start(&source, notes.clone()).unwrap().unwrap();
    until("the others", || drawn(&source, 150).len() == 150);
    assert!(polls.end(PATIENCE));
    let all = drawn(&source, 0);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 300);
    assert_eq!(all[150..], drawn(&source, 150), "the same at the same places");
    assert_eq!(notes.all(), Vec::<String>::new());
    assert_eq!(site.rude(), Vec::<String>::new());
}

#[test]
fn a_lasting_refusal_is_a_note_and_what_was_fetched_is_still_asked() {
    let (data, site) = (TempDir::new().unwrap(), Site::new((START_S + 24 * 3600) * 1000));
    let source = source(&data, &serve(site.clone()));
    (0..150).for_each(|n| site.ask(START_S + n, [n as u64]));
    site.fault(1, Fault::Error(402, "invalid_access_token"));
    let notes = Notes::default();
    let polls = Polls::start(&source, notes.clone()).unwrap().unwrap();
    until("a note", || !notes.all().is_empty());
    let told = notes.all().concat();
    assert!(told.contains("site.example") && told.contains("invalid_access_token (402)"), "{told}");
    assert!(polls.end(PATIENCE));
    assert_eq!((site.log().len(), drawn(&source, 0).len()), (2, 100), "it does not insist");
}

#[test]
fn without_a_date_it_begins_when_it_was_first_started_whatever_happens_before_the_first_answer() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new(START_S * 1000));
    let polling = Polling {
        site: "site".into(),
        source: "site".into(),
        terms: "own-site".into(),
        key: None,
        tags: Vec::new(),
        forgotten: Default::default(),
        from: None,
        every_s: 300,
        rate: 1.0,
        reserve: 20,
    };
    let open = || Poller::open(folder.path(), polling.clone(), site.clone(), site.clone()).unwrap();
    drop(open());
    site.ask(START_S - 10, [1]);
    site.ask(START_S + 10, [2]);
    site.now.store((START_S + 1000) * 1000, std::sync::atomic::Ordering::Relaxed);
    open().round(&mut |_| {}).unwrap();
    let mut reader = FeedReader::new(folder.path());
    assert_eq!(reader.at(0).unwrap().map(|question| question.id), Some("site/2".into()));
    assert_eq!(reader.at(1).unwrap(), None);
}

#[test]
fn a_key_that_cannot_be_read_is_told_at_the_start() {
    let data = TempDir::new().unwrap();
    let mut source = source(&data, "http://127.0.0.1:9/2.3");
    source.key_file = data.path().join("key");
    let error = Polls::start(&source, Notes::default()).map(drop).unwrap_err().to_string();
    assert!(error.contains("source.key_file"), "{error}");
    source.kind = SourceKind::Sample;
    assert!(Polls::start(&source, Notes::default()).unwrap().is_none());
}
