//! The poller against a site that behaves like the real one: nothing is lost, nothing comes twice, nobody is rude.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tempfile::TempDir;

use super::poller::Round;
use super::server::{Fault, Site, serve};
use super::*;

/// 2026-01-01.
const START_S: i64 = 1_767_225_600;
const DAY_S: i64 = 24 * 3600;

fn polling() -> Polling {
    Polling {
        site: "site".into(),
        source: "site.example".into(),
        terms: "own-site".into(),
        key: None,
        tags: vec![],
        forgotten: BTreeSet::new(),
        from: Some(START_S * 1000),
        every_s: 300,
        rate: 1.0,
        reserve: 20,
    }
}

fn poller(folder: &Path, site: &Arc<Site>) -> Poller<Arc<Site>, Arc<Site>> {
    Poller::open(folder, polling(), site.clone(), site.clone()).unwrap()
}

fn ids(folder: &Path) -> Vec<u64> {
    let mut reader = FeedReader::new(folder);
    let number = |question: understudy_learning::stages::Question| question.id.rsplit('/').next()?.parse().ok();
    (0..).map_while(|position| reader.at(position).unwrap().and_then(number)).collect()
}

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids
}

/// Every request kept its distance from the one before.
fn check_manners(site: &Site) {
    let log = site.log();
    assert!(log.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 1000), "one request a second: {log:?}");
    assert_eq!(site.rude(), Vec::<String>::new());
}

#[test]
fn pages_are_walked_to_the_end_and_the_next_round_brings_only_what_is_new() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..250).for_each(|n| site.ask(START_S + n, [1000 - n as u64]));
    let mut poller = poller(folder.path(), &site);
    assert_eq!(poller.round(&mut |_| {}).unwrap(), Round::Whole(250));
    assert_eq!(site.log().len(), 3);
    assert_eq!(ids(folder.path()), (751..=1000).rev().collect::<Vec<_>>(), "in the order of asking, not of ids");
    // Two in the second of the newest, one of them late.
    site.ask(START_S + 249, [2000]);
    site.ask(START_S + 5000, [2001]);
    site.now.fetch_add(400_000, Ordering::Relaxed);
    assert_eq!(poller.round(&mut |_| {}).unwrap(), Round::Whole(2));
    check_manners(&site);
}

#[test]
fn more_than_may_be_paged_is_walked_in_stretches_of_time() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..6000).for_each(|n| site.ask(START_S + n / 3, [n as u64]));
    assert_eq!(poller(folder.path(), &site).round(&mut |_| {}).unwrap(), Round::Whole(6000));
    assert_eq!(sorted(ids(folder.path())), (0..6000).collect::<Vec<_>>());
    check_manners(&site);
}

#[test]
fn a_wish_a_throttle_errors_and_broken_connections_cost_time_and_nothing_else() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..450).for_each(|n| site.ask(START_S + n, [n as u64]));
    let faults = [
        (0, Fault::Drop),
        (1, Fault::Backoff(10)),
        (2, Fault::Throttle(69_138)),
        (3, Fault::Error(503, "temporarily_unavailable")),
        (4, Fault::Error(500, "internal_error")),
        (5, Fault::Cut),
        (7, Fault::Backoff(30)),
    ];
    faults.into_iter().for_each(|(number, fault)| site.fault(number, fault));
    assert_eq!(poller(folder.path(), &site).round(&mut |_| {}).unwrap(), Round::Whole(450));
    assert_eq!(ids(folder.path()), (0..450).collect::<Vec<_>>());
    check_manners(&site);
    let log = site.log();
    let same: Vec<i64> =
        log.windows(2).filter(|pair| pair[0].1 == pair[1].1).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(
        same.len() >= 5 && same.iter().all(|gap| *gap >= 60_000),
        "the same request after a minute at least: {same:?}"
    );
}

#[test]
fn wrong_settings_are_told_and_not_tried_again() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    site.fault(0, Fault::Error(400, "bad_parameter"));
    let told = poller(folder.path(), &site).run(|_| {}).unwrap_err();
    assert!(matches!(&told, Halt::Refused(why) if why.contains("bad_parameter (400)")), "{told}");
    assert_eq!(site.log().len(), 1);
}

#[test]
fn an_exhausted_quota_waits_for_the_next_day() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..300).for_each(|n| site.ask(START_S + n, [n as u64]));
    site.give_quota(21);
    let mut told = Told::default();
    poller(folder.path(), &site).round(&mut |now| told = now).unwrap();
    let log = site.log();
    assert!(log[1].0 >= (START_S + 2 * DAY_S) * 1000, "{log:?}");
    assert_eq!((told.questions, told.quota_remaining), (300, Some(18)));
    assert_eq!((told.fetched, told.requests, told.errors), (300, 3, 0));
}

#[test]
fn a_restart_keeps_to_what_the_api_wished_and_repeats_no_question() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..150).for_each(|n| site.ask(START_S + n, [n as u64]));
    site.fault(0, Fault::Backoff(600));
    // The second page is never asked for: it is time to end while it waits.
    site.until.store((START_S + DAY_S) * 1000 + 1, Ordering::Relaxed);
    assert_eq!(poller(folder.path(), &site).round(&mut |_| {}).unwrap(), Round::Ended);
    site.until.store(i64::MAX, Ordering::Relaxed);
    site.now.store((START_S + DAY_S) * 1000 + 2000, Ordering::Relaxed);
    assert_eq!(poller(folder.path(), &site).round(&mut |_| {}).unwrap(), Round::Whole(50));
    assert_eq!(ids(folder.path()), (0..150).collect::<Vec<_>>());
    check_manners(&site);
}

#[test]
fn a_line_that_a_crash_cut_off_is_fetched_again() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..20).for_each(|n| site.ask(START_S + n, [n as u64]));
    poller(folder.path(), &site).round(&mut |_| {}).unwrap();
    let file = folder.path().join("questions.jsonl");
    let bytes = std::fs::read(&file).unwrap();
    // Also in the middle of a letter of several bytes: the last one of the file.
    let letter = bytes.windows(2).rposition(|two| two == "ö".as_bytes()).unwrap();
    assert!(bytes[letter..].iter().filter(|byte| **byte == b'\n').count() == 1, "it stands in the last line");
    std::fs::write(&file, &bytes[..=letter]).unwrap();
    assert_eq!(ids(folder.path()).len(), 19);
    assert_eq!(poller(folder.path(), &site).round(&mut |_| {}).unwrap(), Round::Whole(1));
    assert_eq!(ids(folder.path()), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_reader_waits_for_what_has_not_come_and_finds_any_position_again() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    let mut reader = FeedReader::new(folder.path());
    assert_eq!(reader.at(0).unwrap(), None);
    site.ask(START_S, [7]);
    let mut poller = poller(folder.path(), &site);
    poller.round(&mut |_| {}).unwrap();
    assert_eq!(reader.at(0).unwrap().map(|question| question.id), Some("site.example/7".into()));
    assert_eq!(reader.at(1).unwrap(), None);
    site.ask(START_S + 1, [8]);
    site.now.fetch_add(100_000, Ordering::Relaxed);
    poller.round(&mut |_| {}).unwrap();
    assert_eq!(reader.at(1).unwrap().map(|question| question.id), Some("site.example/8".into()));
    assert_eq!(reader.at(0).unwrap().map(|question| question.id), Some("site.example/7".into()));
}

#[test]
fn an_author_who_is_forgotten_stays_so_and_only_while_nobody_else_writes() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..8).for_each(|n| site.ask(START_S + n, [n as u64]));
    let mut running = poller(folder.path(), &site);
    running.round(&mut |_| {}).unwrap();
    // By the shown name, or by the number of the same.
    let [ben, two] = ["Ben", "2"].map(|who| BTreeSet::from([who.to_owned()]));
    let refused = forget_authors(folder.path(), &ben).unwrap_err().to_string();
    assert!(refused.contains("a daemon is writing to") && refused.contains("stop it first"), "{refused}");
    drop(running);
    assert_eq!(forget_authors(folder.path(), &ben).unwrap(), 2);
    assert_eq!(ids(folder.path()), [0, 1, 2, 4, 5, 6]);
    assert_eq!(forget_authors(folder.path(), &two).unwrap(), 0);
    // The last day is asked for again with each round: theirs are still on the site.
    site.ask(START_S + 9, [11, 12]);
    site.now.fetch_add(100_000, Ordering::Relaxed);
    let polling = Polling { forgotten: two, ..polling() };
    let mut again = Poller::open(folder.path(), polling, site.clone(), site.clone()).unwrap();
    assert_eq!(again.round(&mut |_| {}).unwrap(), Round::Whole(1));
    assert_eq!(ids(folder.path()), [0, 1, 2, 4, 5, 6, 12]);
}

#[test]
fn two_never_write_one_feed() {
    let folder = TempDir::new().unwrap();
    let open = || Feed::open(folder.path(), BTreeSet::new());
    let first = open().unwrap();
    assert!(matches!(open(), Err(crate::sources::SourceError::InUse(_))));
    drop(first);
    open().unwrap();
}

#[test]
fn a_question_with_any_of_the_wanted_tags_comes() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..9).for_each(|n| site.ask(START_S + n, [n as u64]));
    let polling = Polling { tags: vec!["t0".into(), "t1".into()], ..polling() };
    let mut poller = Poller::open(folder.path(), polling, site.clone(), site.clone()).unwrap();
    poller.round(&mut |_| {}).unwrap();
    assert_eq!(ids(folder.path()), [0, 1, 3, 4, 6, 7]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever goes wrong and whenever it is restarted: each question once, and nobody was rude.
    #[test]
    fn no_question_is_lost_or_comes_twice(
        gaps in prop::collection::vec(0i64..4000, 1..150),
        faults in prop::collection::btree_map(0u64..30, 0usize..6, 0..12),
        lives in prop::collection::vec(1i64..4_000_000, 0..6),
    ) {
        let (folder, site) = (TempDir::new().unwrap(), Site::new(START_S * 1000));
        let mut at = START_S;
        for (id, gap) in gaps.iter().enumerate() {
            at += gap;
            site.ask(at, [id as u64]);
        }
        let kinds = [
            Fault::Drop, Fault::Cut, Fault::Backoff(7), Fault::Throttle(1000), Fault::Error(500, "e"), Fault::Error(503, "t"),
        ];
        faults.into_iter().for_each(|(number, kind)| site.fault(number, kinds[kind].clone()));
        for life in lives {
            site.until.store(site.now.load(Ordering::Relaxed) + life, Ordering::Relaxed);
            prop_assert_eq!(poller(folder.path(), &site).run(|_| {}), Ok(()));
        }
        site.until.store(i64::MAX, Ordering::Relaxed);
        site.now.fetch_max((at + 1) * 1000, Ordering::Relaxed);
        poller(folder.path(), &site).round(&mut |_| {}).unwrap();
        let all = ids(folder.path());
        prop_assert_eq!(all.len(), gaps.len());
        prop_assert_eq!(all.iter().copied().collect::<BTreeSet<_>>().len(), gaps.len());
        check_manners(&site);
    }
}

#[test]
fn over_a_real_connection_answers_are_unpacked_errors_read_and_breaks_survived() {
    let (folder, site) = (TempDir::new().unwrap(), Site::new((START_S + DAY_S) * 1000));
    (0..150).for_each(|n| site.ask(START_S + n, [n as u64]));
    site.fault(0, Fault::Drop);
    site.fault(1, Fault::Throttle(30));
    let web = Web::new(&serve(site.clone()));
    let mut poller = Poller::open(folder.path(), polling(), web, site.clone()).unwrap();
    assert_eq!(poller.round(&mut |_| {}).unwrap(), Round::Whole(150));
    assert_eq!(ids(folder.path()), (0..150).collect::<Vec<_>>());
    check_manners(&site);
    let nobody = Web::new("http://127.0.0.1:9/2.3").get("/questions?key=secret").unwrap_err();
    assert!(nobody.starts_with("no answer") && !nobody.contains("secret"), "{nobody}");
}
