//! The crash points of a checkpoint, each of them; damage; what is kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::*;
use crate::{Disk, DiskHook, DiskOp, StoreError, powercut};

fn take(dir: &Path, step: u64) -> PathBuf {
    take_on(&Disk::real(), dir, step).unwrap()
}

fn take_on(disk: &Disk, dir: &Path, step: u64) -> Result<PathBuf, StoreError> {
    let weights = step.to_le_bytes().repeat(2000);
    let parts: [(&str, &[u8]); 3] = [("ppo.safetensors", &weights), ("state.json", b"{}"), ("empty", b"")];
    commit_on(disk, dir, step, &parts, json!({ "score": step % 10 }))
}

/// The checkpoint is whole and of this step.
fn assert_is(checkpoint: &Checkpoint, step: u64) {
    assert_eq!(checkpoint.step, step);
    assert_eq!(checkpoint.read("ppo.safetensors").unwrap(), step.to_le_bytes().repeat(2000));
    assert_eq!(checkpoint.read("empty").unwrap(), b"");
    assert_eq!(checkpoint.manifest.extra, json!({ "score": step % 10 }));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_dir(&path, &target),
            false => assert!(fs::copy(&path, &target).is_ok()),
        }
    }
}

fn steps(dir: &Path) -> Vec<u64> {
    list(dir).unwrap().iter().map(|listed| listed.step).collect()
}

#[test]
fn what_was_committed_is_recovered_and_the_newest_wins() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("checkpoints");
    assert_eq!(recover(&dir).unwrap(), Recovery::default());
    for step in [9, 10, 100] {
        assert_eq!(take(&dir, step), dir.join(format!("step-{step}")));
        assert_is(&recover(&dir).unwrap().checkpoint.unwrap(), step);
    }
    assert_eq!(steps(&dir), [9, 10, 100]);
    let unknown = recover(&dir).unwrap().checkpoint.unwrap().read("value").unwrap_err().to_string();
    assert!(unknown.contains("no part \"value\"") && unknown.contains("ppo.safetensors"), "{unknown}");
}

#[test]
fn a_step_committed_again_wins_over_its_first_attempt() {
    let temp = tempfile::tempdir().unwrap();
    take(temp.path(), 5);
    let again = commit(temp.path(), 5, &[("state", b"second")], json!(null)).unwrap();
    assert_eq!(again, temp.path().join("step-5.2"));
    assert_eq!(recover(temp.path()).unwrap().checkpoint.unwrap().read("state").unwrap(), b"second");
    let rules = Retention { keep_last: 5, ..Retention::default() };
    assert_eq!(prune(temp.path(), &rules).unwrap(), [temp.path().join("step-5")]);
}

/// Runs `work` once for each disk operation of it, on a copy of what the directory was before that operation.
fn at_every_crash_point(dir: &Path, work: impl FnOnce(&Disk), mut check: impl FnMut(&Path, DiskOp)) -> usize {
    let images = tempfile::tempdir().unwrap();
    let taken: Arc<Mutex<Vec<(PathBuf, DiskOp)>>> = Arc::default();
    let (log, from, to) = (Arc::clone(&taken), dir.to_path_buf(), images.path().to_path_buf());
    let hook: DiskHook = Arc::new(move |op, _| {
        let mut log = log.lock().unwrap();
        let image = to.join(log.len().to_string());
        copy_dir(&from, &image);
        log.push((image, op));
        Ok(())
    });
    work(&Disk::with_hook(hook));
    let taken = taken.lock().unwrap();
    taken.iter().for_each(|(image, op)| check(image, *op));
    taken.len()
}

#[test]
fn a_crash_before_any_operation_of_a_commit_leaves_the_old_or_the_new_checkpoint() {
    let temp = tempfile::tempdir().unwrap();
    take(temp.path(), 1);
    let mut renamed = false;
    let commit = |disk: &Disk| drop(take_on(disk, temp.path(), 2).unwrap());
    let points = at_every_crash_point(temp.path(), commit, |image, op| {
        let recovery = recover(image).unwrap();
        assert_is(&recovery.checkpoint.unwrap(), if renamed { 2 } else { 1 });
        assert_eq!(recovery.skipped, []);
        renamed |= op == DiskOp::Rename;
        // The next run cleans up and commits as if nothing had been.
        take(image, 3);
        assert_is(&recover(image).unwrap().checkpoint.unwrap(), 3);
        assert!(fs::read_dir(image).unwrap().all(|entry| entry.unwrap().path().extension().is_none()));
    });
    // The directory, five files of create, write and sync, its sync, the rename, the parent's sync.
    assert_eq!((points, renamed), (19, true));
}

#[test]
fn a_crash_before_any_operation_of_a_pruning_leaves_the_newest() {
    let temp = tempfile::tempdir().unwrap();
    (1..=4).for_each(|step| drop(take(temp.path(), step)));
    let rules = Retention { keep_last: 1, ..Retention::default() };
    let pruning = |disk: &Disk| assert_eq!(prune_on(disk, temp.path(), &rules).unwrap().len(), 3);
    let points = at_every_crash_point(temp.path(), pruning, |image, _| {
        assert_is(&recover(image).unwrap().checkpoint.unwrap(), 4);
        clean(&Disk::real(), image).unwrap();
        prune(image, &rules).unwrap();
        assert_eq!(fs::read_dir(image).unwrap().count(), 1);
    });
    assert_eq!(points, 7);
}

#[test]
fn a_power_cut_at_any_instant_leaves_what_was_committed_last_or_what_is_being_committed() {
    let temp = tempfile::tempdir().unwrap();
    let committed = Arc::new(AtomicUsize::new(0));
    let instants = Arc::new(AtomicUsize::new(0));
    let (last, count) = (Arc::clone(&committed), Arc::clone(&instants));
    let disk = powercut::disk(temp.path(), move |image, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let recovery = recover(&image.join("checkpoints")).unwrap();
        assert_eq!(recovery.skipped, []);
        let last = last.load(Ordering::SeqCst) as u64;
        match recovery.checkpoint {
            Some(checkpoint) => assert_is(&checkpoint, checkpoint.step.clamp(last, last + 1)),
            None => assert_eq!(last, 0),
        }
    });
    let dir = temp.path().join("checkpoints");
    for step in 1..=5 {
        take_on(&disk, &dir, step).unwrap();
        committed.store(step as usize, Ordering::SeqCst);
        prune_on(&disk, &dir, &Retention { keep_last: 2, ..Retention::default() }).unwrap();
    }
    assert!(instants.load(Ordering::SeqCst) > 5 * 19);
}

#[test]
fn a_disk_error_at_any_operation_is_told_and_leaves_a_checkpoint_and_no_garbage() {
    for nth in 0..19 {
        let temp = tempfile::tempdir().unwrap();
        take(temp.path(), 1);
        let count = AtomicUsize::new(0);
        let hook: DiskHook = Arc::new(move |_, _| match count.fetch_add(1, Ordering::SeqCst) == nth {
            true => Err(io::Error::from_raw_os_error(28)),
            false => Ok(()),
        });
        let error = take_on(&Disk::with_hook(hook), temp.path(), 2).unwrap_err().to_string();
        assert!(error.contains("os error 28") && error.contains("step-2") || nth == 18, "{error}");
        // Only the last sync comes after the rename.
        assert_is(&recover(temp.path()).unwrap().checkpoint.unwrap(), if nth == 18 { 2 } else { 1 });
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), if nth == 18 { 2 } else { 1 });
    }
}

#[test]
fn too_little_space_is_refused_before_anything_is_written() {
    let temp = tempfile::tempdir().unwrap();
    take(temp.path(), 1);
    let disk = Disk::real().with_free_bytes(Arc::new(|_| 16 << 20));
    let refused = take_on(&disk, temp.path(), 2);
    assert!(matches!(refused, Err(StoreError::NoSpace { free, needed, .. }) if free < needed), "{refused:?}");
    assert_eq!(steps(temp.path()), [1]);
}

#[test]
fn damage_anywhere_in_the_newest_is_found_and_the_one_before_taken() {
    let temp = tempfile::tempdir().unwrap();
    take(temp.path(), 1);
    let newest = take(temp.path(), 2);
    for file in ["ppo.safetensors", "state.json", "empty", "manifest.json", "manifest.sha256"] {
        let path = newest.join(file);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped.iter_mut().skip(whole.len() / 2).take(1).for_each(|byte| *byte ^= 4);
        let mut zeroed = whole.clone();
        zeroed.iter_mut().take(4096).for_each(|byte| *byte = 0);
        let longer = [whole.clone(), vec![0]].concat();
        let damaged = [Some(flipped), Some(zeroed), Some(whole[..whole.len() / 2].to_vec()), Some(longer), None];
        for contents in damaged.into_iter().filter(|contents| contents.as_ref() != Some(&whole)) {
            match contents {
                Some(contents) => fs::write(&path, contents).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let recovery = recover(temp.path()).unwrap();
            assert_is(&recovery.checkpoint.unwrap(), 1);
            let [skipped] = &recovery.skipped[..] else { panic!("{:?}", recovery.skipped) };
            assert_eq!(skipped.path, newest);
            assert!(skipped.reason.contains(file), "{}", skipped.reason);
            fs::write(&path, &whole).unwrap();
        }
    }
    assert_is(&recover(temp.path()).unwrap().checkpoint.unwrap(), 2);
}

#[test]
fn a_renamed_checkpoint_does_not_pass_for_another_step() {
    let temp = tempfile::tempdir().unwrap();
    fs::rename(take(temp.path(), 1), temp.path().join("step-7")).unwrap();
    let recovery = recover(temp.path()).unwrap();
    assert_eq!(recovery.checkpoint, None);
    assert!(recovery.skipped[0].reason.contains("its name says step 7 and its manifest step 1"));
}

#[test]
fn a_newer_programs_checkpoint_is_neither_passed_over_nor_pruned() {
    let temp = tempfile::tempdir().unwrap();
    take(temp.path(), 1);
    let newest = take(temp.path(), 2);
    let json = fs::read_to_string(newest.join("manifest.json")).unwrap().replace("\"version\": 1", "\"version\": 2");
    let digest = format!("{}  manifest.json\n", manifest::sha256_hex(json.as_bytes()));
    fs::write(newest.join("manifest.json"), json).unwrap();
    fs::write(newest.join("manifest.sha256"), digest).unwrap();
    assert!(matches!(recover(temp.path()), Err(StoreError::NewerFormat { found: 2, .. })));
    let pruned = prune(temp.path(), &Retention { keep_last: 1, ..Retention::default() });
    assert!(matches!(pruned, Err(StoreError::NewerFormat { .. })));
}

#[test]
fn pruning_keeps_the_newest_whole_checkpoint_whatever_the_rules_say() {
    let temp = tempfile::tempdir().unwrap();
    (1..=4).for_each(|step| drop(take(temp.path(), step)));
    for damaged in [3, 4] {
        fs::write(temp.path().join(format!("step-{damaged}/state.json")), b"[]").unwrap();
    }
    prune(temp.path(), &Retention { keep_last: 1, ..Retention::default() }).unwrap();
    // 4 is kept by its place, for its manifest is whole; 2 because it is the newest that loads.
    assert_eq!(steps(temp.path()), [2, 4]);
    assert_is(&recover(temp.path()).unwrap().checkpoint.unwrap(), 2);
}

#[test]
fn pruning_keeps_last_every_kth_and_best() {
    let temp = tempfile::tempdir().unwrap();
    (1..=23).for_each(|step| drop(take(temp.path(), step)));
    let best = Best { metric: "score".to_owned(), higher: true, count: 1 };
    prune(temp.path(), &Retention { keep_last: 2, keep_every: Some(8), keep_best: Some(best), keep_for: None })
        .unwrap();
    assert_eq!(steps(temp.path()), [8, 16, 19, 22, 23]);
}

#[test]
fn pruning_keeps_what_is_young_and_what_comes_from_the_future() {
    let temp = tempfile::tempdir().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let hour = Duration::from_secs(3600);
    let ages = [now - 3 * hour, now - hour, now - hour / 2, now + hour, now - 4 * hour];
    for (step, written) in (1..).zip(ages) {
        let manifest = fs::File::options().write(true).open(take(temp.path(), step).join("manifest.json")).unwrap();
        manifest.set_modified(written).unwrap();
    }
    let rules = Retention { keep_last: 0, keep_for: Some(hour), ..Retention::default() };
    retention::prune_at(&Disk::real(), temp.path(), &rules, now).unwrap();
    // 5 is old, and the newest that is whole.
    assert_eq!(steps(temp.path()), [2, 3, 4, 5]);
    // However far the clock jumps, what the other rules keep stays.
    let rules = Retention { keep_last: 2, ..rules };
    retention::prune_at(&Disk::real(), temp.path(), &rules, now + 1_000_000 * hour).unwrap();
    assert_eq!(steps(temp.path()), [4, 5]);
}

#[test]
fn part_names_that_cannot_be_files_are_refused_before_anything_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("checkpoints");
    for parts in [&[("../x", &b""[..])][..], &[("a", b""), ("a", b"")], &[("manifest.json", b"")]] {
        assert!(matches!(commit(&dir, 1, parts, json!(null)), Err(StoreError::PartName { .. })));
    }
    assert!(!dir.exists());
}

#[test]
fn files_of_other_names_are_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    for name in ["step-", "step-x", "step-01", "step-+1", "step-1.1", "step-1.tmp.bak", "notes.tmp", "other.del"] {
        fs::create_dir(temp.path().join(name)).unwrap();
    }
    take(temp.path(), 1);
    assert_eq!(steps(temp.path()), [1]);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 9);
}

#[test]
fn a_dry_run_names_what_pruning_then_removes_and_removes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    (1..=6).for_each(|step| drop(take(temp.path(), step)));
    let best = "score:lowest:2".parse().unwrap();
    let rules = Retention { keep_last: 1, keep_every: Some(4), keep_best: Some(best), keep_for: None };
    let planned = prunable(temp.path(), &rules).unwrap();
    assert_eq!(planned, [temp.path().join("step-3"), temp.path().join("step-5")]);
    assert_eq!(steps(temp.path()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(prune(temp.path(), &rules).unwrap(), planned);
    assert_eq!(steps(temp.path()), [1, 2, 4, 6]);
}

#[test]
fn a_copy_is_whole_by_itself_and_what_is_damaged_is_not_copied() {
    let temp = tempfile::tempdir().unwrap();
    let source = load(&take(&temp.path().join("checkpoints"), 7)).unwrap();
    let to = temp.path().join("deep/copy");
    let copy = export(&source, &to).unwrap();
    assert_is(&copy, 7);
    copy.verify().unwrap();
    assert_eq!(export(&source, &to).unwrap_err().to_string().split(" exists").next(), to.to_str());
    let empty = temp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_is(&export(&source, &empty).unwrap(), 7);
    let misnamed = export(&source, &temp.path().join("step-8")).unwrap_err().to_string();
    assert!(misnamed.contains("another checkpoint than step 7"), "{misnamed}");
    let file = temp.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(matches!(export(&source, &file), Err(StoreError::NotADirectory { .. })));

    let mut bytes = fs::read(source.path.join("ppo.safetensors")).unwrap();
    bytes[100] ^= 1;
    fs::write(source.path.join("ppo.safetensors"), bytes).unwrap();
    let other = temp.path().join("other");
    assert!(matches!(export(&source, &other), Err(StoreError::CheckpointDamaged { .. })));
    assert!(!other.exists());
}

#[test]
fn a_copy_that_any_operation_fails_under_leaves_nothing_and_the_next_succeeds() {
    let temp = tempfile::tempdir().unwrap();
    let source = load(&take(&temp.path().join("checkpoints"), 7)).unwrap();
    let to = temp.path().join("copy");
    let mut failing = 0;
    loop {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let hook: DiskHook = Arc::new(move |op, _| match counted.fetch_add(1, Ordering::Relaxed) {
            at if at == failing && op != DiskOp::SyncDir => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => Ok(()),
        });
        let copied = export_on(&Disk::with_hook(hook), &source, &to);
        if count.load(Ordering::Relaxed) <= failing {
            break assert_is(&copied.unwrap(), 7);
        }
        if copied.is_ok() {
            fs::remove_dir_all(&to).unwrap(); // a sync of a directory, which this disk does not fail
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "operation {failing} left something");
        failing += 1;
    }
    assert!(failing > 15, "only {failing} operations were seen");
}
