//! What a million ratings cost: memory of the process, bytes of the journal and of sled, the time of a start, of reading
//! 100,000 records at random and of building sled anew, each in a process of its own. Then two million more, which the ring
//! and the key window do not hold, to see that the space comes back.
//!
//! `cargo run --release -p understudy-checkpoints --example million -- [ratings] [directory]`
#![expect(clippy::disallowed_methods, reason = "it measures real time on plain threads; there is no arbiter to block")]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use understudy_checkpoints::{Bounds, NewRecord, RecordKind, Store, StoreConfig, StoreHandle};

/// Single records read after opening again, all over the ring.
const READS: u32 = 100_000;

const MIB: f64 = (1 << 20) as f64;

/// A rating as the daemon writes them: JSON of 180 to 480 bytes, a key with a UUID, one of 50,000 questions.
fn rating(n: u64) -> NewRecord {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let id = format!("{:016x}-{mixed:016x}", mixed.rotate_left(32) ^ n);
    let comment = "x".repeat((mixed >> 40) as usize % 300);
    let bytes = format!(
        r#"{{"id":"{id}","question":"q-{:06}","answer":{},"annotator":"a-{:04}","thumb":{{"up":{}}},"comment":"{comment}","at":{}}}"#,
        mixed % 50_000,
        n * 3,
        mixed % 997,
        mixed.is_multiple_of(2),
        1_790_000_000 + n
    );
    NewRecord {
        kind: RecordKind::Feedback,
        key: Some(format!("feedback/{id}")),
        group: mixed % 50_000,
        bytes: bytes.into_bytes(),
    }
}

fn write(handle: &StoreHandle, range: std::ops::Range<u64>) {
    for n in range {
        while handle.offer(rating(n), Box::new(|answer| assert!(answer.is_ok(), "{answer:?}"))).is_err() {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn bytes_in(dir: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        bytes += if path.is_dir() { bytes_in(&path)? } else { path.metadata()?.blocks() * 512 };
    }
    Ok(bytes)
}

/// Resident memory of this process, now and at its peak, in MiB.
fn memory() -> std::io::Result<(f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    Ok((of("VmRSS:"), of("VmHWM:")))
}

fn report(name: &str, dir: &Path, handle: &StoreHandle, begun: Instant) -> Result<(), Box<dyn Error>> {
    let stats = handle.stats();
    let ring = stats.rings.get(&RecordKind::Feedback).copied().unwrap_or_default();
    let (journal, sled) = (bytes_in(&dir.join("journal"))? as f64 / MIB, bytes_in(&dir.join("sled"))? as f64 / MIB);
    let (now, peak) = memory()?;
    println!(
        "{name:<16} {:>8.1} s  ring {:>9} records {:>6.0} MiB  journal {journal:>6.0} MiB in {:>2}  sled {sled:>6.0} MiB  \
         memory {now:>5.0} MiB, peak {peak:>5.0}",
        begun.elapsed().as_secs_f64(),
        ring.records,
        ring.bytes as f64 / MIB,
        stats.journal_segments,
    );
    Ok(())
}

/// What a fresh process does with the directory, and what it then says of itself.
const PHASES: [&str; 5] = ["write", "open again", "read at random", "rebuild sled", "write on"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let ratings: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let dir = arguments.next();
    if let (Some(dir), Some(phase)) = (&dir, arguments.next()) {
        return run(&phase, Path::new(dir), ratings);
    }
    let mut folder = tempfile::Builder::new();
    folder.suffix(".tmp");
    let temp = folder.tempdir_in(dir.as_deref().unwrap_or("."))?;
    for phase in PHASES {
        let mut process = Command::new(std::env::current_exe()?);
        let ended = process.arg(ratings.to_string()).arg(temp.path()).arg(phase).status()?;
        if !ended.success() {
            return Err(format!("'{phase}' ended with {ended}").into());
        }
    }
    Ok(())
}

fn run(phase: &str, dir: &Path, ratings: u64) -> Result<(), Box<dyn Error>> {
    let bounds = Bounds { records: ratings, bytes: 512 << 20 };
    let config = StoreConfig { rings: [(RecordKind::Feedback, bounds)].into(), ..StoreConfig::default() };
    if phase == "rebuild sled" {
        std::fs::remove_dir_all(dir.join("sled"))?;
    }
    let begun = Instant::now();
    let (store, opened) = Store::open(dir, config)?;
    let handle = store.handle();
    match phase {
        "write" => {
            write(&handle, 0..ratings);
            handle.flush()?;
        }
        "read at random" => {
            let mut mixed = 1u64;
            for _ in 0..READS {
                mixed = mixed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                handle.get(1 + (mixed >> 33) % ratings)?.ok_or("every number has its record")?;
            }
        }
        "rebuild sled" => assert_eq!((opened.replayed, opened.rebuilt.is_some()), (ratings, true)),
        "write on" => {
            for part in 2..6 {
                write(&handle, part * ratings / 2..(part + 1) * ratings / 2);
                handle.flush()?;
                report(phase, dir, &handle, begun)?;
            }
        }
        _ => assert_eq!(opened.replayed, 0),
    }
    if phase != "write on" {
        report(phase, dir, &handle, begun)?;
    }
    store.close()?;
    Ok(())
}
