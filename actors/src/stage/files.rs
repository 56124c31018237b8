//! The stage on disk: who leads, who led before, and the weights of both.
//!
//! Invariant: `stage.json` names only weights that lie beside it, whole and synced; it is replaced at once, so a crash
//! leaves the stage of before or of after. Weights that do not read are an error that names the file: people are never
//! answered by others in silence.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use understudy_checkpoints::checkpoint::sha256_hex;
use understudy_checkpoints::whole::replace_file;
use understudy_learning::stages::PolicyVersion;
use understudy_model::Branch;

use super::machine::Kept;
use crate::checkpoint::{decode, encode};

const STATE: &str = "stage.json";
const FORMAT: u32 = 1;

/// What `stage.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StateFile {
    format: u32,
    stage: Kept,
    /// SHA-256 of the weights of each version that is named.
    weights: Vec<(PolicyVersion, String)>,
}

/// The folder `stage` of a data directory.
#[derive(Debug, Clone)]
pub(crate) struct StageFiles {
    dir: PathBuf,
}

impl StageFiles {
    /// Of this data directory.
    pub(crate) fn new(data: &Path) -> Self {
        Self { dir: data.join("stage") }
    }

    fn weights(&self, version: PolicyVersion) -> PathBuf {
        self.dir.join(format!("policy-{version}.safetensors"))
    }

    /// What was written last; `None` before anything was.
    pub(crate) fn read(&self) -> Result<Option<Kept>, String> {
        Ok(self.state()?.map(|state| state.stage))
    }

    fn state(&self) -> Result<Option<StateFile>, String> {
        let path = self.dir.join(STATE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let state: StateFile = serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error))?;
        match state.format {
            FORMAT => Ok(Some(state)),
            found => Err(unreadable(&path, &format!("it has format {found}, this program reads {FORMAT}"))),
        }
    }

    /// The weights of a version that was written, in a copy of `like`.
    pub(crate) fn load(&self, version: PolicyVersion, like: &Branch) -> Result<Branch, String> {
        let path = self.weights(version);
        let wanted = self.state()?.and_then(|state| state.weights.into_iter().find(|(named, _)| *named == version));
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        if wanted.is_none_or(|(_, digest)| digest != sha256_hex(&bytes)) {
            return Err(unreadable(&path, &"its bytes are not those that were written"));
        }
        let saved = decode(&bytes).map_err(|error| unreadable(&path, &error))?;
        let branch = like.deep_copy();
        let parameters = branch.parameters();
        if parameters.len() != saved.len() {
            return Err(unreadable(&path, &"it is of another model"));
        }
        for (name, mut parameter) in parameters {
            let found = saved.iter().find(|(saved, tensor)| *saved == name && tensor.size() == parameter.size());
            let (_, tensor) = found.ok_or_else(|| unreadable(&path, &format!("it has no {name} of this model")))?;
            tch::no_grad(|| parameter.copy_(tensor));
        }
        Ok(branch)
    }

    /// Writes the stage down with the weights of who leads and led before; those of others are removed.
    pub(crate) fn write<'a>(
        &self,
        stage: &Kept,
        weights: impl Fn(PolicyVersion) -> Option<&'a Branch>,
    ) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.dir.display());
        fs::create_dir_all(&self.dir).map_err(|error| failed(&error))?;
        let known = self.state().ok().flatten().map_or_else(Vec::new, |state| state.weights);
        let mut named = Vec::new();
        for version in [Some(stage.lead), stage.before].into_iter().flatten().map(|standing| standing.version) {
            if let Some(one) = known.iter().find(|(known, _)| *known == version && self.weights(version).exists()) {
                named.push(one.clone());
                continue;
            }
            let branch = weights(version).ok_or_else(|| failed(&format!("the weights of {version} are gone")))?;
            let bytes = encode(&branch.parameters()).map_err(|error| failed(&error))?;
            replace_file(&self.weights(version), &bytes).map_err(|error| failed(&error))?;
            named.push((version, sha256_hex(&bytes)));
        }
        let state = StateFile { format: FORMAT, stage: stage.clone(), weights: named };
        let bytes = serde_json::to_vec_pretty(&state).expect("plain data");
        replace_file(&self.dir.join(STATE), &bytes).map_err(|error| failed(&error))?;
        self.tidy(&state);
        Ok(())
    }

    /// What is not named is not needed; that it cannot be removed costs disk and nothing else.
    fn tidy(&self, state: &StateFile) {
        let needed = |path: &Path| {
            path == self.dir.join(STATE) || state.weights.iter().any(|(version, _)| path == self.weights(*version))
        };
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if !needed(&path) && path.is_file() {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!(
        "'{}' cannot be used ({why}); put it back from a copy, or remove its folder to begin with the newest checkpoint's \
         policy on stage",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::super::machine::Standing;
    use super::*;
    use crate::testkit::tiny_base;

    #[test]
    fn what_was_written_reads_back_bit_for_bit_and_damage_is_named() {
        let dir = tempfile::TempDir::new().unwrap();
        let files = StageFiles::new(dir.path());
        assert_eq!(files.read(), Ok(None));
        let (base, other) = (tiny_base(7).share().1, tiny_base(8).share().1);
        let standing = |version| Standing::unmeasured(version);
        let kept = |lead, before: Option<u64>| Kept {
            lead: standing(lead),
            before: before.map(standing),
            pinned: true,
            tried: 9,
        };
        files.write(&kept(3, None), |_| Some(&base)).unwrap();
        files.write(&kept(5, Some(3)), |version| (version == 5).then_some(&other)).unwrap();
        assert_eq!(files.read(), Ok(Some(kept(5, Some(3)))));
        let bits = |branch: &Branch| encode(&branch.parameters()).unwrap();
        assert_eq!(bits(&files.load(5, &base).unwrap()), bits(&other));
        assert_eq!(bits(&files.load(3, &other).unwrap()), bits(&base));
        files.write(&kept(5, None), |_| None).unwrap();
        assert!(!files.weights(3).exists() && files.load(3, &base).is_err());
        let mut bytes = fs::read(files.weights(5)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(files.weights(5), bytes).unwrap();
        assert!(files.load(5, &base).unwrap_err().contains("its bytes are not those that were written"));
        fs::write(files.dir.join(STATE), "{").unwrap();
        assert!(files.read().unwrap_err().contains("stage.json"));
    }
}
