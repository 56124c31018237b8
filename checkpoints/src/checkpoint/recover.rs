//! Reading checkpoints. Nothing here writes, so it may run beside the one writer; and nothing is handed out whose
//! length and digest do not match the manifest.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Name;
use super::manifest::{Manifest, Part, digest_file, sha256_hex};
use crate::StoreError;

/// A checkpoint whose manifest was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Its directory.
    pub path: PathBuf,
    /// The step it was taken at.
    pub step: u64,
    /// What it holds.
    pub manifest: Manifest,
}

/// A directory that looks like a checkpoint and is not a whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The directory.
    pub path: PathBuf,
    /// Why it was passed over.
    pub reason: String,
}

/// What was found to go on from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recovery {
    /// The newest whole checkpoint, every part verified.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that are not whole, newest first.
    pub skipped: Vec<Skipped>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its directory.
    pub path: PathBuf,
    /// The step its name says.
    pub step: u64,
    /// Its manifest, or why there is none to be had; the parts were not read.
    pub manifest: Result<Manifest, String>,
}

/// The newest checkpoint of which every byte verifies, and which newer ones were passed over, with the reason.
pub fn recover(dir: &Path) -> Result<Recovery, StoreError> {
    let mut found = Recovery::default();
    for name in names(dir)?.into_iter().rev() {
        let path = dir.join(name.to_string());
        match load(&path).and_then(|checkpoint| checkpoint.verify().map(|()| checkpoint)) {
            Ok(checkpoint) => {
                found.checkpoint = Some(checkpoint);
                break;
            }
            // A newer program's checkpoint is not damage: going back behind it in silence would lose its work.
            Err(error @ StoreError::NewerFormat { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a checkpoint was passed over");
                found.skipped.push(Skipped { path, reason: error.to_string() });
            }
        }
    }
    Ok(found)
}

/// One checkpoint, by its directory; the manifest is verified and the parts are when they are read.
pub fn load(path: &Path) -> Result<Checkpoint, StoreError> {
    let manifest = Manifest::read(path)?;
    let step = manifest.step;
    match Name::of(path).filter(|name| name.step != step) {
        Some(name) => {
            let reason = format!("its name says step {} and its manifest step {step}", name.step);
            Err(StoreError::CheckpointDamaged { path: path.to_path_buf(), reason })
        }
        None => Ok(Checkpoint { path: path.to_path_buf(), step, manifest }),
    }
}

/// All checkpoints, oldest first, with their manifests.
pub fn list(dir: &Path) -> Result<Vec<Listed>, StoreError> {
    let listed = names(dir)?.into_iter().map(|name| {
        let path = dir.join(name.to_string());
        let manifest = load(&path).map(|checkpoint| checkpoint.manifest).map_err(|error| error.to_string());
        Listed { path, step: name.step, manifest }
    });
    Ok(listed.collect())
}

/// The names of checkpoints in `dir` in their order; a directory that does not exist has none.
pub(super) fn names(dir: &Path) -> Result<Vec<Name>, StoreError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        names.extend(Name::of(&path).filter(|_| path.is_dir()));
    }
    names.sort();
    Ok(names)
}

impl Checkpoint {
    /// Reads every part and compares its length and digest with the manifest.
    pub fn verify(&self) -> Result<(), StoreError> {
        self.manifest.parts.iter().try_for_each(|part| {
            let digest = digest_file(&self.path.join(&part.name), part.bytes);
            let (sha256, bytes) = digest.map_err(|error| self.damaged(format!("part {}: {error}", part.name)))?;
            self.compare(part, bytes, &sha256)
        })
    }

    /// One part's contents, verified.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let Some(part) = self.manifest.part(name) else {
            let known = self.manifest.parts.iter().map(|part| part.name.clone()).collect();
            return Err(StoreError::NoSuchPart { path: self.path.clone(), name: name.to_owned(), known });
        };
        let bytes = self.read_file(part).map_err(|error| self.damaged(format!("part {name}: {error}")))?;
        self.compare(part, bytes.len() as u64, &sha256_hex(&bytes))?;
        Ok(bytes)
    }

    /// Memory is reserved for what the file really has, whatever the manifest says.
    fn read_file(&self, part: &Part) -> std::io::Result<Vec<u8>> {
        let file = File::open(self.path.join(&part.name))?;
        let bytes = file.metadata()?.len().min(part.bytes.saturating_add(1));
        let mut contents = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.take(bytes).read_to_end(&mut contents)?;
        Ok(contents)
    }

    fn compare(&self, part: &Part, bytes: u64, sha256: &str) -> Result<(), StoreError> {
        let name = &part.name;
        if bytes < part.bytes {
            return Err(self.damaged(format!("part {name} has {bytes} bytes and should have {}", part.bytes)));
        }
        if bytes > part.bytes {
            return Err(self.damaged(format!("part {name} has more than its {} bytes", part.bytes)));
        }
        if sha256 != part.sha256 {
            return Err(self.damaged(format!("part {name} does not have the SHA-256 that the manifest names")));
        }
        Ok(())
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::CheckpointDamaged { path: self.path.clone(), reason }
    }
}
