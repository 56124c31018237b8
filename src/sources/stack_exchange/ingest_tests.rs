//! Small dumps made by hand, as folders and as archives: everything finds its place, or nothing is brought in.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use sevenz_rust2::encoder_options::Bzip2Options;
use sevenz_rust2::{ArchiveEntry, ArchiveWriter};
use tempfile::TempDir;

use super::ingest::{Provenance, ingest};
use crate::corpus::{Corpus, Manifest, Thread, Vote, VoteKind};

const AT: &str = "2012-01-01T00:00:00.000";

fn table(root: &str, rows: &str) -> String {
    format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<{root}>\r\n{rows}</{root}>")
}

/// By name, in the order of an official archive.
fn dump() -> Vec<(&'static str, String)> {
    let post = |id: u64, more: &str| {
        format!("  <row Id=\"{id}\" CreationDate=\"{AT}\" Body=\"&lt;p&gt;body {id}&lt;/p&gt;\" {more} />\r\n")
    };
    let posts = [
        post(
            1,
            "PostTypeId=\"1\" Title=\"First\" Score=\"1\" AcceptedAnswerId=\"3\" OwnerUserId=\"11\" Tags=\"|a|b|\"",
        ),
        post(2, "PostTypeId=\"2\" ParentId=\"1\" Score=\"-1\" OwnerDisplayName=\"gone\" LastEditDate=\"2013-01-01\""),
        post(3, "PostTypeId=\"2\" ParentId=\"1\" Score=\"0\" OwnerUserId=\"12\" ContentLicense=\"CC BY-SA 4.0\""),
        post(4, "PostTypeId=\"2\" ParentId=\"99\" Score=\"0\""),
        post(5, "PostTypeId=\"1\" Title=\"Made up\" Score=\"0\""),
        post(3, "PostTypeId=\"2\" ParentId=\"1\" Score=\"7\""),
    ];
    let vote = |post: u64, kind: u8, day: &str| {
        format!("<row Id=\"1\" PostId=\"{post}\" VoteTypeId=\"{kind}\" CreationDate=\"{day}T00:00:00.000\" />\r\n")
    };
    let votes = [
        vote(2, 3, "2012-01-03"),
        vote(3, 1, "2012-01-02"),
        vote(1, 2, "2012-01-01"),
        vote(1, 5, "2012-01-01"),
        vote(77, 2, "2012-01-01"),
    ];
    let comments = format!(
        "<row Id=\"1\" PostId=\"3\" Text=\"why &amp;lt;so&amp;gt;?\" CreationDate=\"{AT}\" UserId=\"11\" />\r\n\
         <row Id=\"2\" PostId=\"98\" Text=\"lost\" CreationDate=\"{AT}\" />\r\n"
    );
    let history = [1, 2, 3, 4].map(|post| format!("<row Id=\"{post}\" PostId=\"{post}\" />\r\n"));
    let users = "<row Id=\"11\" DisplayName=\"Ana\" AboutMe=\"secret\" />\r\n<row Id=\"12\" DisplayName=\"Bo\" />\r\n";
    vec![
        ("Badges.xml", "not even XML".to_owned()),
        ("Comments.xml", table("comments", &comments)),
        ("PostHistory.xml", table("posthistory", &history.concat())),
        ("Posts.xml", table("posts", &posts.concat())),
        ("Users.xml", table("users", users)),
        ("Votes.xml", table("votes", &votes.concat())),
    ]
}

fn folder(tables: &[(&str, String)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    tables.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn archive(tables: &[(&str, String)]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("site.7z");
    let mut writer = ArchiveWriter::create(&path).unwrap();
    writer.set_content_methods(vec![Bzip2Options::from_level(9).into()]);
    for (name, text) in tables {
        writer.push_archive_entry(ArchiveEntry::new_file(name), Some(text.as_bytes())).unwrap();
    }
    writer.finish().unwrap();
    (folder, path)
}

fn provenance(may_train: bool) -> Provenance {
    let site = Some("site.example".to_owned());
    Provenance { source: "site".into(), terms: "own-site".into(), site, may_train }
}

fn bring(path: &Path, into: &Path) -> Result<Manifest, String> {
    let hidden = ProgressBar::hidden();
    ingest(path, into, &provenance(false), &hidden, &hidden).map_err(|error| error.to_string())
}

fn refused(path: &Path, wanted: &[&str]) {
    let into = TempDir::new().unwrap();
    let error = bring(path, into.path()).expect_err("it must be refused");
    assert!(wanted.iter().all(|wanted| error.contains(wanted)), "{error}");
    assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0, "nothing is half brought in");
}

#[test]
fn posts_find_their_answers_votes_comments_and_authors() {
    let (dump, into) = (folder(&dump()), TempDir::new().unwrap());
    let manifest = bring(dump.path(), into.path()).unwrap();
    let threads = Corpus::open(&into.path().join("site")).unwrap().threads().unwrap();
    let [thread]: [Thread; 1] = threads.collect::<Result<Vec<_>, _>>().unwrap().try_into().unwrap();
    assert_eq!((thread.id.as_str(), thread.terms.as_str(), thread.accepted), ("site/1", "own-site", Some(3)));
    let author = thread.question.author.clone().unwrap();
    assert_eq!((author.name.as_str(), author.url.as_deref()), ("Ana", Some("https://site.example/users/11")));
    let [down, accepted] = &thread.answers[..] else { panic!("two answers") };
    assert_eq!((down.text.as_str(), down.url.as_deref()), ("body 2", Some("https://site.example/a/2")));
    assert_eq!(down.author.as_ref().map(|author| author.name.as_str()), Some("gone"));
    assert_eq!((down.edited_at, down.licence.as_str()), (Some(1_356_998_400_000), "CC BY-SA 3.0"));
    assert_eq!(accepted.votes, [Vote { at: 1_325_462_400_000, kind: VoteKind::Accept }]);
    assert_eq!(accepted.comments[0].text, "why &lt;so&gt;?");
    assert_eq!(accepted.comments[0].author.as_ref().map(|author| author.name.as_str()), Some("Ana"));
    let left_out: Vec<_> = manifest.dropped.iter().map(|(rule, count)| (rule.as_str(), *count)).collect();
    let wanted = [
        ("answer_without_question", 1),
        ("comment_without_post", 1),
        ("duplicate_id", 1),
        ("no_history", 1),
        ("vote_without_post", 1),
    ];
    assert_eq!(left_out, wanted);
    assert_eq!((manifest.counts.votes, manifest.counts.scores_not_reproduced), (3, 0));
}

#[test]
fn an_archive_gives_the_same_corpus_as_its_folder_and_twice_is_once() {
    let (unpacked, (_kept, packed)) = (folder(&dump()), archive(&dump()));
    let into = TempDir::new().unwrap();
    let from_folder = bring(unpacked.path(), into.path()).unwrap();
    let bytes = || fs::read(into.path().join("site/threads.jsonl")).unwrap();
    let first = bytes();
    assert_eq!(bring(&packed, into.path()), Ok(from_folder));
    assert_eq!(bytes(), first);
}

#[test]
fn a_break_in_a_later_table_brings_nothing_in_and_says_where() {
    let mut tables = dump();
    let votes = tables.iter_mut().find(|(name, _)| *name == "Votes.xml").unwrap();
    votes.1 = votes.1.replace("VoteTypeId=\"3\"", "VoteTypeId=\"3");
    refused(folder(&tables).path(), &["Votes.xml' is broken near byte"]);
    refused(&archive(&tables).1, &["site.7z:Votes.xml' is broken near byte"]);
    let without_posts: Vec<_> = dump().into_iter().filter(|(name, _)| *name != "Posts.xml").collect();
    refused(folder(&without_posts).path(), &["holds no Posts.xml"]);
}

#[test]
fn a_truncated_or_damaged_archive_brings_nothing_in() {
    // Damage to a table that is not read is no damage.
    let read: Vec<_> = dump().into_iter().filter(|(name, _)| *name != "Badges.xml").collect();
    let (_kept, path) = archive(&read);
    let whole = fs::read(&path).unwrap();
    for end in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..end]).unwrap();
        refused(&path, &["site.7z' is broken in its header", "fetch it again"]);
    }
    // Behind the signature lies what was packed: each of these is noticed by a checksum.
    for place in [60, whole.len() / 3, whole.len() / 2] {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x40;
        fs::write(&path, damaged).unwrap();
        refused(&path, &["site.7z", "is broken"]);
    }
}

#[test]
fn an_archive_that_unpacks_to_far_more_than_text_can_is_refused_before_it_is_unpacked() {
    let blank = format!("<posts>{}</posts>", " ".repeat(17 << 20));
    let (_kept, path) = archive(&[("Posts.xml", blank)]);
    refused(&path, &["it unpacks from", "no dump does"]);
}

#[test]
fn dumps_of_the_time_of_the_clause_need_the_operators_word() {
    let rows = "<row Id=\"1\" PostTypeId=\"1\" Title=\"t\" Body=\"b\" CreationDate=\"2024-07-02T00:00:00.000\" />";
    let dump = folder(&[("Posts.xml", table("posts", rows))]);
    refused(dump.path(), &["the newest post is of 2024-07-02", "--may-train"]);
    let (into, hidden) = (TempDir::new().unwrap(), ProgressBar::hidden());
    let manifest = ingest(dump.path(), into.path(), &provenance(true), &hidden, &hidden).unwrap();
    assert_eq!(manifest.counts.questions, 1);
}
