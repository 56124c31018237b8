//! What is kept of a crash, and who is lost by it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use understudy_checkpoints::{Disk, QuarantineBounds};

use super::super::exit::Exit;
use super::*;

fn files(dir: &Path, disk: Disk) -> QuarantineFiles {
    QuarantineFiles::new(dir, disk, QuarantineBounds::default())
}

fn message(unit: &str, id: &str) -> Held {
    Held::new(format!("message {id}")).saying(&json!({ "id": id })).called(format!("{unit}/{id}"))
}

fn crash(in_hand: Vec<Held>) -> Crash {
    Crash { actor: "reward", incarnation: 3, exit: Exit::Panicked("poison".to_owned()), in_hand }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_was_in_hand_is_kept_with_its_content_the_cause_and_the_incarnation() {
    let dir = TempDir::new().unwrap();
    let quarantine = Quarantine::open(files(dir.path(), Disk::real()));
    let raw = |bytes: &[u8]| Held { content: Some(Arc::from(bytes)), ..Held::new("raw") };
    quarantine.see(&crash(vec![message("learn", "7"), raw(b"no json"), raw(&[0xff, 0x00])]));
    quarantine.see(&crash(Vec::new()));
    let kept = files(dir.path(), Disk::real()).list().unwrap();
    assert_eq!(kept.len(), 1, "nothing is kept of a crash with an empty hand");
    let file = read(&kept[0].path);
    assert_eq!(file["actor"], "reward");
    assert_eq!((&file["incarnation"], &file["exit"]), (&json!(3), &json!("panicked")));
    assert_eq!(file["cause"], "panicked: poison");
    let first = json!({"label": "message 7", "key": "learn/7", "crashes": 1, "lost": false, "content": {"id": "7"}});
    assert_eq!(file["in_hand"][0], first);
    assert_eq!(file["in_hand"][1]["content"], json!({"text": "no json", "whole": true}));
    assert_eq!(file["in_hand"][2]["content"], json!({"hex": "ff00", "whole": true}));
}

#[test]
fn a_long_content_is_cut_and_says_so() {
    let long = "ä".repeat(10);
    assert_eq!(content(long.as_bytes(), 5), json!({"text": "ää", "whole": false}));
    assert_eq!(content(&[0xff; 4], 2), json!({"hex": "ffff", "whole": false}));
}

#[test]
fn a_message_that_kills_twice_alone_is_lost_also_after_a_restart_of_the_program() {
    let dir = TempDir::new().unwrap();
    let quarantine = Quarantine::open(files(dir.path(), Disk::real()));
    quarantine.see(&crash(vec![message("hear", "7")]));
    assert!(!quarantine.is_lost("hear/7"), "once may be chance");
    quarantine.see(&crash(vec![message("hear", "7")]));
    assert!(quarantine.is_lost("hear/7") && !quarantine.is_lost("hear/8"));
    let again = Quarantine::open(files(dir.path(), Disk::real()));
    assert_eq!((again.lost("hear"), again.lost("learn")), (vec!["7".to_owned()], vec![]));
}

#[test]
fn among_others_it_is_a_suspect_and_alone_it_is_lost_or_acquitted() {
    let quarantine = Quarantine::in_memory();
    for _ in 0..2 {
        quarantine.see(&crash(vec![message("learn", "7"), message("learn", "8"), Held::new("a group")]));
    }
    assert_eq!(quarantine.suspects("learn"), ["7", "8"]);
    assert!(quarantine.lost("learn").is_empty());
    quarantine.acquit("learn/8");
    quarantine.see(&crash(vec![message("learn", "7")]));
    assert_eq!((quarantine.suspects("learn"), quarantine.lost("learn")), (vec![], vec!["7".to_owned()]));
    // What else was in hand does not make it one of many.
    for _ in 0..2 {
        quarantine.see(&crash(vec![message("learn", "9"), message("hear", "4"), message("hear", "5")]));
    }
    assert_eq!((quarantine.lost("learn").len(), quarantine.lost("hear").len()), (2, 0));
}

#[test]
fn on_a_full_disk_nothing_fails_and_what_is_lost_stays_so_until_the_program_ends() {
    let dir = TempDir::new().unwrap();
    let full = Disk::with_hook(Arc::new(|_, _| Err(io::Error::from(io::ErrorKind::StorageFull))));
    let quarantine = Quarantine::open(files(&dir.path().join("quarantine"), full));
    quarantine.see(&crash(vec![message("hear", "7")]));
    quarantine.see(&crash(vec![message("hear", "7")]));
    assert!(quarantine.is_lost("hear/7"));
    assert!(!dir.path().join("quarantine").exists());
}

#[test]
fn a_list_that_does_not_read_is_begun_anew() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("lost.json"), "[\"hear/7\"").unwrap();
    let quarantine = Quarantine::open(files(dir.path(), Disk::real()));
    assert!(!quarantine.is_lost("hear/7"));
    quarantine.convict(&crash(vec![message("hear", "8")]));
    assert_eq!(Quarantine::open(files(dir.path(), Disk::real())).lost("hear"), ["8"]);
}
