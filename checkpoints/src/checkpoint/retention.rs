//! Which checkpoints go. The newest one that verifies always stays, whatever the rules say: a rule that would leave
//! nothing loadable is a wrong rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Name;
use super::commit::with_suffix;
use super::manifest::{MANIFEST, Manifest};
use super::recover::{load, names};
use crate::{Disk, StoreError};

/// Keeps the best by a number in the manifest's `extra`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Best {
    /// Path of the number, such as `gold.mean`.
    pub metric: String,
    /// Whether a higher number is better.
    pub higher: bool,
    /// How many to keep.
    pub count: usize,
}

/// What is kept; a checkpoint that any rule keeps stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many.
    pub keep_last: usize,
    /// Those whose step is a multiple of this.
    pub keep_every: Option<u64>,
    /// The best by a metric.
    pub keep_best: Option<Best>,
    /// Those committed no longer ago than this by the system's clock; one from the future counts as new. A clock that
    /// jumps ahead makes this rule keep fewer, and the other rules as many as before.
    pub keep_for: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep_last: 3, keep_every: None, keep_best: None, keep_for: None }
    }
}

/// The checkpoints that [`prune`] would remove now, oldest first; changes nothing.
#[expect(clippy::disallowed_methods, reason = "the age of a file is by the system's clock; only `keep_for` asks it")]
pub fn prunable(dir: &Path, retention: &Retention) -> Result<Vec<PathBuf>, StoreError> {
    unkept(dir, retention, SystemTime::now())
}

/// Removes the checkpoints that no rule keeps; answers which. Verifies the newest, so it reads that one whole.
pub fn prune(dir: &Path, retention: &Retention) -> Result<Vec<PathBuf>, StoreError> {
    prune_on(&Disk::real(), dir, retention)
}

/// [`prune`] on a disk with a hook.
#[expect(clippy::disallowed_methods, reason = "the age of a file is by the system's clock; only `keep_for` asks it")]
pub fn prune_on(disk: &Disk, dir: &Path, retention: &Retention) -> Result<Vec<PathBuf>, StoreError> {
    prune_at(disk, dir, retention, SystemTime::now())
}

pub(super) fn prune_at(
    disk: &Disk,
    dir: &Path,
    retention: &Retention,
    now: SystemTime,
) -> Result<Vec<PathBuf>, StoreError> {
    let removed = unkept(dir, retention, now)?;
    // A directory must be seen to have gone before its files go, or a power cut could bring it back half empty.
    for path in &removed {
        disk.rename(path, &with_suffix(path, "del")).map_err(StoreError::io("rename", path))?;
    }
    if !removed.is_empty() {
        disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
    }
    for path in &removed {
        let aside = with_suffix(path, "del");
        disk.remove_dir(&aside).map_err(StoreError::io("remove", &aside))?;
    }
    Ok(removed)
}

/// What no rule keeps at this moment, oldest first; the newest whole one is never among it.
fn unkept(dir: &Path, retention: &Retention, now: SystemTime) -> Result<Vec<PathBuf>, StoreError> {
    let names = names(dir)?;
    let path_of = |name: &Name| dir.join(name.to_string());
    let mut found = Vec::with_capacity(names.len());
    for name in &names {
        match load(&path_of(name)) {
            Ok(checkpoint) => found.push((*name, Some(checkpoint.manifest))),
            // A newer program's work is not ours to delete.
            Err(error @ StoreError::NewerFormat { .. }) => return Err(error),
            Err(_) => found.push((*name, None)),
        }
    }
    let mut kept = choose(&found, retention);
    if let Some(time) = retention.keep_for {
        let of_name = found.iter().filter(|(_, manifest)| manifest.is_some()).map(|(name, _)| *name);
        kept.extend(of_name.filter(|name| is_younger(&path_of(name), time, now)));
    }
    let whole = |name: &&Name| load(&path_of(name)).and_then(|checkpoint| checkpoint.verify()).is_ok();
    let Some(newest_whole) = names.iter().rev().find(whole) else { return Ok(Vec::new()) };
    kept.insert(*newest_whole);

    Ok(names.iter().filter(|name| !kept.contains(name)).map(path_of).collect())
}

/// Whether a checkpoint was committed at most `time` before `now`; its manifest is written once.
fn is_younger(path: &Path, time: Duration, now: SystemTime) -> bool {
    let written = fs::metadata(path.join(MANIFEST)).and_then(|metadata| metadata.modified());
    // An age that cannot be told is no reason to delete.
    written.map_or(true, |written| now.duration_since(written).is_ok_and(|age| age <= time) || written > now)
}

/// The names that the rules by number and metric keep, given what is known of each. A damaged one is no candidate for
/// any rule, and an older attempt at a step is not either.
fn choose(found: &[(Name, Option<Manifest>)], retention: &Retention) -> BTreeSet<Name> {
    let newest_attempt = |name: &Name| {
        !found
            .iter()
            .any(|(other, manifest)| manifest.is_some() && other.step == name.step && other.attempt > name.attempt)
    };
    let candidates: Vec<(Name, &Manifest)> = found
        .iter()
        .filter_map(|(name, manifest)| manifest.as_ref().map(|manifest| (*name, manifest)))
        .filter(|(name, _)| newest_attempt(name))
        .collect();
    let mut kept: BTreeSet<Name> = candidates.iter().rev().take(retention.keep_last).map(|(name, _)| *name).collect();
    if let Some(every) = retention.keep_every.filter(|every| *every > 0) {
        kept.extend(candidates.iter().map(|(name, _)| *name).filter(|name| name.step % every == 0));
    }
    if let Some(best) = &retention.keep_best {
        let sign = if best.higher { -1.0 } else { 1.0 };
        let metric_of = |manifest: &Manifest| manifest.metric(&best.metric).map(|metric| sign * metric);
        let mut ranked: Vec<(f64, Name)> =
            candidates.iter().filter_map(|(name, manifest)| Some((metric_of(manifest)?, *name))).collect();
        // Of equals the newer is kept.
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        kept.extend(ranked.iter().take(best.count).map(|(_, name)| *name));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(steps: &BTreeSet<u64>) -> Vec<(Name, Option<Manifest>)> {
        let manifest = |step: u64| Manifest {
            version: 1,
            step,
            parts: Vec::new(),
            extra: serde_json::json!({ "score": (step * 7919 % 101) as f64 }),
        };
        steps.iter().map(|step| (Name { step: *step, attempt: 1 }, Some(manifest(*step)))).collect()
    }

    proptest! {
        #[test]
        fn exactly_what_the_rules_name_is_kept(
            steps in prop::collection::btree_set(0u64..1000, 0..30), last in 0usize..6, every in 1u64..50,
            count in 0usize..4,
        ) {
            let best = Best { metric: "score".to_owned(), higher: true, count };
            let rules = Retention { keep_last: last, keep_every: Some(every), keep_best: Some(best), keep_for: None };
            let kept: BTreeSet<u64> = choose(&found(&steps), &rules).iter().map(|name| name.step).collect();
            let score = |step: &u64| step * 7919 % 101;
            for step in &steps {
                let newer = steps.iter().filter(|other| *other > step).count();
                let better = steps.iter().filter(|o| (score(o), *o) > (score(step), step)).count();
                let wanted = newer < last || step % every == 0 || better < count;
                prop_assert_eq!(kept.contains(step), wanted, "step {}", step);
            }
        }
    }

    #[test]
    fn an_older_attempt_and_a_damaged_checkpoint_fill_no_place() {
        let mut all = found(&BTreeSet::from([1, 2, 3]));
        all.push((Name { step: 3, attempt: 2 }, all[2].1.clone()));
        all.push((Name { step: 4, attempt: 1 }, None));
        let kept = choose(&all, &Retention { keep_last: 2, ..Retention::default() });
        let names: Vec<String> = kept.iter().map(Name::to_string).collect();
        assert_eq!(names, ["step-2", "step-3.2"]);
    }
}
