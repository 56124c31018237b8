//! The crash rig: the real program under a seeded schedule of kills, drains and damage, and an oracle outside it that
//! remembers every acknowledgement.
//!
//! Invariant: the oracle believes only what came back over HTTP as a whole, and what lies on the disk when no daemon runs.
//! A failure names the seed that repeats its schedule; what people say in between depends on the machine's pace too.

pub(crate) mod child;
mod damage;
mod oracle;
mod people;
pub(crate) mod process;
mod resumed;
mod rounds;
mod schedule;
mod soak;
mod tally;
mod torn;
mod verdict;

use std::time::Duration;

use rounds::Rig;
use schedule::Schedule;
use tally::Tally;
use tokio::time::Instant;
pub(crate) use verdict::stored as stored_feedback;

/// Repeats a schedule when it is set.
const SEED: &str = "UNDERSTUDY_TORTURE_SEED";
/// How long to go on; without it there is one short round.
const MINUTES: &str = "UNDERSTUDY_TORTURE_MINUTES";
/// How long the long run is; without it there are two short lives.
const SOAK_MINUTES: &str = "UNDERSTUDY_SOAK_MINUTES";
/// Each of its lives is ended after so long.
const LIFE: Duration = Duration::from_secs(60);
/// The same in the usual run.
const SHORT_LIFE: Duration = Duration::from_secs(4);
/// The seed of the usual run.
const USUAL_SEED: u64 = 20_261_122;
/// Each deck holds every end and every fault once or more often; a longer round makes an older data directory.
const DECKS_OF_TORTURE: usize = 2;

/// A run goes on beyond its time until it has seen as many kills: a busy machine is slow at them.
const KILLS_IN_30_MINUTES: usize = 200;

/// Waits while another process works.
#[expect(clippy::disallowed_methods, reason = "another process is waited for; there is no clock to simulate")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is '{text}'; give a whole number")))
}

/// One data directory from its first start to its last drain.
fn round(seed: u64, decks: usize, tally: &mut Tally) {
    let began = Instant::now();
    println!("{SEED}={seed}: a round of {decks} decks");
    let mut rig = Rig::new(seed);
    let went = rig.play(&Schedule::of(seed, decks));
    tally.add(&rig.counts());
    let seconds = began.elapsed().as_secs();
    println!("{SEED}={seed}: {} after {seconds} s; {}", if went.is_ok() { "held" } else { "BROKEN" }, rig.summary());
    if let Err(faults) = went {
        let kept = rig.keep();
        println!("crash rig: FAIL {tally}");
        panic!("repeat with {SEED}={seed}; the data is kept in {}\n  {}", kept.display(), faults.join("\n  "));
    }
}

#[test]
fn crash_kills_drains_and_damage_lose_no_acknowledged_rating_and_double_none() {
    let seed = number(SEED).unwrap_or(USUAL_SEED);
    let mut tally = Tally::default();
    match number(MINUTES) {
        None => round(seed, 1, &mut tally),
        Some(minutes) => {
            let end = Instant::now() + Duration::from_secs(minutes * 60);
            let enough = KILLS_IN_30_MINUTES * minutes as usize / 30;
            for seed in seed.. {
                round(seed, DECKS_OF_TORTURE, &mut tally);
                println!("so far: {tally}");
                if Instant::now() >= end && tally.kills >= enough {
                    break;
                }
            }
        }
    }
    println!("crash rig: PASS {tally}");
}

#[test]
fn crash_soak_under_mixed_load_keeps_memory_files_threads_and_disk_in_bounds() {
    let seed = number(SEED).unwrap_or(USUAL_SEED);
    println!("{SEED}={seed}: the long run");
    let (lives, life) = number(SOAK_MINUTES).map_or((2, SHORT_LIFE), |minutes| (minutes.max(2) as usize, LIFE));
    let mut rig = Rig::new(seed);
    let outcome = soak::soak(&mut rig, lives, life).and_then(|soak| soak.verdict());
    println!("crash rig: {} {}", if outcome.is_ok() { "PASS" } else { "FAIL" }, rig.summary());
    if let Err(faults) = outcome {
        let kept = rig.keep();
        panic!("repeat with {SEED}={seed}; the data is kept in {}\n  {}", kept.display(), faults.join("\n  "));
    }
}
