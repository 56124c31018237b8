//! Writing a checkpoint so that a crash at any instant leaves the previous one or the new one, whole:
//! `step-N.tmp/` → write and sync each file → sync the directory → rename to `step-N` → sync the parent. No name that
//! exists is ever written to or renamed over.

use std::fs;
use std::path::{Path, PathBuf};

use super::Name;
use super::manifest::{MANIFEST, MANIFEST_DIGEST, MANIFEST_VERSION, Manifest, Part, name_is_allowed, sha256_hex};
use crate::{Disk, StoreError};

/// Left free besides the checkpoint itself.
const SPARE_BYTES: u64 = 16 << 20;

/// Commits a checkpoint of `parts` (name, contents) and answers its directory. When this returns, it survives a power
/// cut. A step that was committed before is committed beside the older one and wins. After an error nothing has
/// changed but leftovers, which the next commit removes.
pub fn commit(dir: &Path, step: u64, parts: &[(&str, &[u8])], extra: serde_json::Value) -> Result<PathBuf, StoreError> {
    commit_on(&Disk::real(), dir, step, parts, extra)
}

/// [`commit`] on a disk with a hook: every write, sync and rename is a crash point that a test can stand at.
pub fn commit_on(
    disk: &Disk,
    dir: &Path,
    step: u64,
    parts: &[(&str, &[u8])],
    extra: serde_json::Value,
) -> Result<PathBuf, StoreError> {
    check_names(parts)?;
    prepare(disk, dir)?;
    clean(disk, dir)?;
    let bytes: u64 = parts.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    disk.require_space(dir, bytes.saturating_add(SPARE_BYTES))?;

    let target = dir.join(free_name(dir, step)?.to_string());
    let tmp = with_suffix(&target, "tmp");
    let written = write_parts(disk, &tmp, step, parts, extra).and_then(|()| {
        disk.rename(&tmp, &target).map_err(StoreError::io("rename", &tmp))?;
        disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))
    });
    if let Err(error) = written {
        // Gives back the space of a full disk; what cannot be removed now is removed by the next commit.
        let _ = fs::remove_dir_all(&tmp);
        return Err(error);
    }
    Ok(target)
}

/// Removes what interrupted commits and prunings left; for the one writer, at its start. Answers what was removed.
pub fn clean(disk: &Disk, dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let base = name.strip_suffix(".tmp").or_else(|| name.strip_suffix(".del"));
        if base.and_then(Name::parse).is_some() {
            disk.remove_dir(&path).map_err(StoreError::io("remove the leftover", &path))?;
            removed.push(path);
        }
    }
    removed.sort();
    Ok(removed)
}

/// `step-N` with `.tmp` or `.del` behind it.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn check_names(parts: &[(&str, &[u8])]) -> Result<(), StoreError> {
    for (place, (name, _)) in parts.iter().enumerate() {
        let repeated = parts[..place].iter().any(|(earlier, _)| earlier == name);
        if repeated || !name_is_allowed(name) {
            return Err(StoreError::PartName { name: (*name).to_owned() });
        }
    }
    Ok(())
}

fn prepare(disk: &Disk, dir: &Path) -> Result<(), StoreError> {
    if dir.exists() && !dir.is_dir() {
        return Err(StoreError::NotADirectory { path: dir.to_path_buf() });
    }
    if !dir.exists() {
        disk.create_dir(dir).map_err(StoreError::io("create the directory", dir))?;
        if let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
            disk.sync_dir(parent).map_err(StoreError::io("sync the directory", parent))?;
        }
    }
    Ok(())
}

/// The first name of this step that no directory has yet.
fn free_name(dir: &Path, step: u64) -> Result<Name, StoreError> {
    let taken = super::recover::names(dir)?.into_iter().filter(|name| name.step == step).map(|name| name.attempt);
    Ok(Name { step, attempt: taken.max().unwrap_or(0) + 1 })
}

fn write_parts(
    disk: &Disk,
    tmp: &Path,
    step: u64,
    parts: &[(&str, &[u8])],
    extra: serde_json::Value,
) -> Result<(), StoreError> {
    disk.create_dir(tmp).map_err(StoreError::io("create the directory", tmp))?;
    let mut listed = Vec::with_capacity(parts.len());
    for (name, bytes) in parts {
        write_file(disk, &tmp.join(name), bytes)?;
        listed.push(Part { name: (*name).to_owned(), bytes: bytes.len() as u64, sha256: sha256_hex(bytes) });
    }
    let (json, digest) = Manifest { version: MANIFEST_VERSION, step, parts: listed, extra }.encode();
    write_file(disk, &tmp.join(MANIFEST), &json)?;
    write_file(disk, &tmp.join(MANIFEST_DIGEST), &digest)?;
    disk.sync_dir(tmp).map_err(StoreError::io("sync the directory", tmp))
}

fn write_file(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = disk.create_file(path).map_err(StoreError::io("create", path))?;
    disk.write(&mut file, path, bytes).map_err(StoreError::io("write", path))?;
    disk.sync_all(&file, path).map_err(StoreError::io("sync", path))
}
