//! A real second process on the same data directory, and a real SIGKILL.

use super::*;
use crate::StoreError;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

const HOLD: &str = "UNDERSTUDY_TEST_HOLDS";
const TOLD: &str = "acknowledged ";

/// The other process's part; without its variable, which only the test below sets, it has nothing to do.
#[test]
fn the_other_process_holds_the_directory_until_it_is_killed() {
    let Some(dir) = std::env::var_os(HOLD) else { return };
    let (store, _) = Store::open(Path::new(&dir), small()).unwrap();
    for n in 1..=20u64 {
        let ack = store.handle().append(keyed(FEEDBACK, &format!("f/{n}"), n.to_le_bytes())).unwrap();
        eprintln!("{TOLD}{}", ack.seq);
    }
    // The parent keeps the pipe open and kills.
    let _ = std::io::stdin().read(&mut [0]);
}

/// Starts the other process; returns when it has told of its 20th acknowledgement.
fn other(dir: &Path) -> Child {
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::processes::the_other_process_holds_the_directory_until_it_is_killed"])
        .args(["--nocapture", "--test-threads=1"])
        .env(HOLD, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == format!("{TOLD}20")), "the other process ended early");
    other
}

#[test]
fn a_second_process_is_told_who_has_the_directory_and_a_kill_frees_it_with_everything_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let mut other = other(&dir);
    match Store::open(&dir, small()) {
        Err(error @ StoreError::Locked { .. }) => {
            let told = error.to_string();
            assert!(told.contains(&format!("in use by process {};", other.id())), "{told}");
            assert!(told.contains("stop it, or give this one another directory"), "{told}");
        }
        opened => panic!("{opened:?}"),
    }
    other.kill().unwrap();
    other.wait().unwrap();
    let (store, report) = Store::open(&dir, small()).unwrap();
    assert_eq!((report.torn_tail, report.rebuilt, report.last_seq), (None, None, 20));
    for n in 1..=20u64 {
        let again = store.handle().append(keyed(FEEDBACK, &format!("f/{n}"), n.to_le_bytes()));
        assert_eq!(again, Ok(Ack { seq: n, duplicate: true }));
    }
}
