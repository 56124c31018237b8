//! How many durable acknowledgements a second the store gives to many writers, beside the fastest thing that could be
//! called durable: one thread that appends what waits and calls `fdatasync` once for all of it. Both run on the same
//! disk, one after the other, several times; on the disk as it is, and with 2 ms added to every sync.
//!
//! `cargo run --release -p understudy-checkpoints --example durability -- [seconds] [repeats] [directory]`

#![expect(clippy::disallowed_methods, reason = "it measures real time on plain threads; there is no arbiter to block")]

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use understudy_checkpoints::{Bounds, Disk, DiskHook, DiskOp, NewRecord, RecordKind, Store, StoreConfig};

const WRITERS: u64 = 64;
const PAYLOAD: usize = 1024;
/// Most records that share a sync, for both.
const GROUP: usize = 256;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What one run gave.
struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

/// Lets 64 threads write one record after the other for `time`; `write` answers when the record is durable.
fn measure(time: Duration, write: impl Fn(u64, u64) + Sync) -> Figures {
    let (stop, total) = (AtomicBool::new(false), AtomicU64::new(0));
    let (stop, total, write) = (&stop, &total, &write);
    let begun = Instant::now();
    let mut waits: Vec<Duration> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut waits = Vec::new();
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let asked = Instant::now();
                        write(writer, n);
                        waits.push(asked.elapsed());
                    }
                    total.fetch_add(waits.len() as u64, Ordering::Relaxed);
                    waits
                })
            })
            .collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer does not panic")).collect()
    });
    let per_second = total.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or_default();
    Figures { per_second, p50: at(50), p99: at(99) }
}

/// The yardstick: nothing but an append, one sync for all that wait, and the answers.
fn bare(dir: &Path, delay: Duration, time: Duration) -> Outcome<Figures> {
    let path = dir.join("bare");
    let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    let (queue, waiting) = sync_channel::<(Vec<u8>, SyncSender<()>)>(4096);
    let committer = thread::spawn(move || -> std::io::Result<()> {
        let (mut buffer, mut answers) = (Vec::new(), Vec::new());
        while let Ok((bytes, answer)) = waiting.recv() {
            buffer.clear();
            buffer.extend_from_slice(&bytes);
            answers.push(answer);
            while answers.len() < GROUP
                && let Ok((bytes, answer)) = waiting.try_recv()
            {
                buffer.extend_from_slice(&bytes);
                answers.push(answer);
            }
            file.write_all(&buffer)?;
            if !delay.is_zero() {
                thread::sleep(delay);
            }
            file.sync_data()?;
            for answer in answers.drain(..) {
                let _ = answer.try_send(());
            }
        }
        Ok(())
    });
    let figures = measure(time, |_, n| {
        let (answer, done) = sync_channel(1);
        queue.send((payload(n), answer)).expect("the committer lives as long as the queue");
        done.recv().expect("the committer answers everybody");
    });
    drop(queue);
    committer.join().expect("the committer does not panic")?;
    std::fs::remove_file(path)?;
    Ok(figures)
}

fn payload(n: u64) -> Vec<u8> {
    let mut bytes = vec![b'x'; PAYLOAD];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

/// The store with idempotency keys, rings that evict, and everything else it does.
fn store(dir: &Path, delay: Duration, time: Duration) -> Outcome<Figures> {
    let hook: DiskHook = Arc::new(move |op, _| {
        if !delay.is_zero() && matches!(op, DiskOp::SyncFile | DiskOp::SyncDir) {
            thread::sleep(delay);
        }
        Ok(())
    });
    let rings = [(RecordKind::Feedback, Bounds { records: 100_000, bytes: 512 << 20 })];
    let config = StoreConfig { rings: rings.into(), disk: Disk::with_hook(hook), ..StoreConfig::default() };
    let path = dir.join("store");
    let (store, _) = Store::open(&path, config)?;
    let handle = store.handle();
    let figures = measure(time, |writer, n| {
        let key = Some(format!("feedback/{writer}/{n}"));
        let record = NewRecord { kind: RecordKind::Feedback, key, group: n % 100, bytes: payload(n) };
        handle.append(record).expect("the disk is sound");
    });
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(figures)
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let repeats: usize = arguments.next().map_or(Ok(9), |text| text.parse())?;
    let mut folder = tempfile::Builder::new();
    folder.suffix(".tmp");
    let temp = match arguments.next() {
        Some(dir) => folder.tempdir_in(dir)?,
        None => folder.tempdir_in(".")?,
    };
    let time = Duration::from_secs_f64(seconds);
    println!("{WRITERS} writers, {PAYLOAD} bytes a record, groups of up to {GROUP}, {seconds} s a run");
    println!("{:<22} {:>12} {:>12} {:>12} {:>7}", "sync", "", "acks/s", "p50 / p99", "ratio");
    for (name, delay) in [("as the disk is", Duration::ZERO), ("with 2 ms added", Duration::from_millis(2))] {
        let mut ratios = Vec::new();
        let (mut of_bare, mut of_store) = (0.0, 0.0);
        for _ in 0..repeats {
            let yardstick = bare(temp.path(), delay, time)?;
            let ours = store(temp.path(), delay, time)?;
            let ratio = ours.per_second / yardstick.per_second;
            of_bare += yardstick.per_second;
            of_store += ours.per_second;
            for (who, figures, ratio) in [("bare", yardstick, None), ("store", ours, Some(ratio))] {
                let Figures { per_second, p50, p99 } = figures;
                let waits = format!("{:.2} / {:.2} ms", p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3);
                let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
                println!("{name:<22} {who:>6} {per_second:>12.0} {waits:>18} {ratio:>7}");
            }
            ratios.push(ratio);
        }
        ratios.sort_by(f64::total_cmp);
        let (least, median) = (ratios[0], ratios[ratios.len() / 2]);
        println!("{name:<22} ratio: median {median:.2}, of the sums {:.2}, least {least:.2}", of_store / of_bare);
    }
    Ok(())
}
