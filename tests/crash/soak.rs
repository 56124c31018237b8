//! The long run: one data directory under mixed load, killed again and again, looked at from outside.
//!
//! Invariant: what is asserted are sizes and counts; a slope of memory counts only as far as it is surely above its bound.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use understudy_checkpoints::{Store, StoreConfig};

use super::pause;
use super::people::locked;
use super::process::{Look, look};
use super::rounds::{Rig, Went};
use super::tally::Met;
use super::verdict::{judge, stored};

/// Few answers are kept, so that buffers are full and the oldest leave within minutes.
const SETTINGS: [&str; 1] = ["store.max_answers=5000"];
/// Resident memory may grow from one life to the next by so much, in MB a minute.
const MOST_GROWTH: f64 = 1.0;
/// Open files may differ from life to life by so many: connections and checkpoints come and go.
const FILES_IN_PASSING: usize = 12;
/// The pool for blocking reads keeps its thread for ten seconds after the last of them.
const THREADS_IN_PASSING: usize = 1;
/// The replay store may take so many times the bytes of what it holds, and what an empty one takes.
const STORE_TIMES: u64 = 4;
const EMPTY_STORE: u64 = 24 << 20;
/// The journal may hold what the buffers hold twice, and two segments.
const JOURNAL_TIMES: u64 = 2;
const TWO_SEGMENTS: u64 = 128 << 20;

/// One run of the daemon, its warm-up left out.
struct Life {
    minutes: f64,
    resident: f64,
    files: usize,
    threads: usize,
}

/// What the run showed.
pub(super) struct Soak {
    lives: Vec<Life>,
    /// Bytes on the disk.
    sled: u64,
    journal: u64,
    checkpoints: u64,
    /// Bytes of what the buffers hold.
    live: u64,
}

/// Lives of the same length, each ended by SIGKILL, the last one by SIGTERM.
pub(super) fn soak(rig: &mut Rig, lives: usize, life: Duration) -> Result<Soak, Vec<String>> {
    let (began, mut seen) = (Instant::now(), Vec::new());
    for number in 1..=lives {
        let mut daemon = rig.begin_with(None, &SETTINGS)?;
        let (born, mut looks) = (Instant::now(), Vec::new());
        let crowd = rig.load_on(&mut daemon, Duration::ZERO, 0);
        while born.elapsed() < life {
            pause(Duration::from_millis(500));
            looks.extend(look(daemon.process()));
        }
        let one = settled(&looks, began.elapsed().as_secs_f64() / 60.0);
        let data = rig.data();
        let [sled, journal] = ["sled", "journal"].map(|part| bytes_of(&data.join(part)) as f64 / 1e6);
        println!(
            "  life {number}: resident {:.0} MB, files {}, threads {}, sled {sled:.1} MB, journal {journal:.1} MB",
            one.resident, one.files, one.threads
        );
        seen.push(one);
        if number < lives {
            let met = Met { load: 1, ..Met::default() };
            let killed = rig.kill(&mut daemon, met);
            crowd.leave();
            killed?;
            rig.check_checkpoints()?;
        } else {
            crowd.leave();
            rig.drain(daemon)?;
        }
    }
    let data = rig.data();
    judge(&stored(&data), &mut locked(&rig.known));
    rig.went()?;
    let [sled, journal, checkpoints] = ["sled", "journal", "checkpoints"].map(|part| bytes_of(&data.join(part)));
    Ok(Soak { lives: seen, sled, journal, checkpoints, live: live(&data) })
}

/// The medians of the second half of a life.
fn settled(looks: &[Look], minutes: f64) -> Life {
    let late = &looks[looks.len() / 2..];
    let median = |of: &dyn Fn(&Look) -> f64| {
        let mut values: Vec<f64> = late.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let count = |of: fn(&Look) -> usize| median(&|look| of(look) as f64) as usize;
    let resident = median(&|look| look.resident);
    Life { minutes, resident, files: count(|look| look.files), threads: count(|look| look.threads) }
}

fn bytes_of(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return path.metadata().map_or(0, |file| file.len()) };
    entries.flatten().map(|entry| bytes_of(&entry.path())).sum()
}

fn live(data: &Path) -> u64 {
    let (store, report) =
        Store::open(data, StoreConfig { schema: understudy_actors::answers::SCHEMA, ..StoreConfig::default() })
            .expect("the store opens");
    store.close().expect("it closes");
    report.rings.values().map(|ring| ring.bytes).sum()
}

/// Slope of a least-squares line, and its standard error.
fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    let rest: f64 = points.iter().map(|point| (point.1 - y - slope * (point.0 - x)).powi(2)).sum();
    (slope, (rest / (n - 2.0) / spread).sqrt())
}

impl Soak {
    /// What is not as it must be; the figures are printed.
    pub(super) fn verdict(&self) -> Went {
        let mut faults = Vec::new();
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let Self { lives, sled, journal, checkpoints, live } = self;
        let range = |of: fn(&Life) -> usize| {
            let values = || lives.iter().map(of);
            (values().min().unwrap_or(0), values().max().unwrap_or(0))
        };
        let (files, threads) = (range(|life| life.files), range(|life| life.threads));
        println!(
            "soak: {} lives, files {files:?}, threads {threads:?}; on disk: sled {:.1} MB, journal {:.1} MB, checkpoints \
             {:.1} MB; the buffers hold {:.1} MB, sled takes {:.1} times that",
            lives.len(),
            mb(*sled),
            mb(*journal),
            mb(*checkpoints),
            mb(*live),
            *sled as f64 / (*live).max(1) as f64
        );
        if files.1 - files.0 > FILES_IN_PASSING || threads.1 - threads.0 > THREADS_IN_PASSING {
            faults.push(format!("open files {files:?} and threads {threads:?} differ from life to life"));
        }
        if *sled > STORE_TIMES * live + EMPTY_STORE {
            faults.push(format!("sled takes {sled} bytes for {live}"));
        }
        if *journal > JOURNAL_TIMES * live + TWO_SEGMENTS {
            faults.push(format!("the journal takes {journal} bytes for {live}"));
        }
        // A line through fewer lives says nothing. The first one had nothing to hold yet.
        let points: Vec<_> = lives.iter().skip(1).map(|life| (life.minutes, life.resident)).collect();
        if points.len() > 3 {
            let (slope, error) = slope(&points);
            println!("  resident memory from life to life: {slope:+.2} ± {error:.2} MB a minute");
            if slope - 2.0 * error > MOST_GROWTH {
                faults.push(format!("resident memory grows by {slope:.2} ± {error:.2} MB a minute"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}
