//! What a checkpoint says it holds. The manifest is read within a size limit and against its own digest, before
//! anything in it is believed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::StoreError;

/// Version of the manifest's format.
pub const MANIFEST_VERSION: u16 = 1;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_DIGEST: &str = "manifest.sha256";
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
const MAX_NAME_BYTES: usize = 64;

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The file's name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its contents, in hexadecimal.
    pub sha256: String,
}

/// What a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub version: u16,
    /// The step it was taken at.
    pub step: u64,
    /// Its files.
    pub parts: Vec<Part>,
    /// Whatever the caller wants to know before it reads the parts: versions, metrics, the journal's position.
    pub extra: serde_json::Value,
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 and length of a file, read in pieces, no further than one byte past `limit`.
pub(super) fn digest_file(path: &Path, limit: u64) -> std::io::Result<(String, u64)> {
    let mut input = File::open(path)?.take(limit.saturating_add(1));
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let read = input.read(&mut piece)?;
        if read == 0 {
            return Ok((hex(&hasher.finalize()), bytes));
        }
        hasher.update(&piece[..read]);
        bytes += read as u64;
    }
}

/// Whether a part may have this name: it becomes a file name, so only what is harmless everywhere.
pub(super) fn name_is_allowed(name: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(harmless)
        && name != MANIFEST
        && name != MANIFEST_DIGEST
}

impl Manifest {
    /// The bytes of `manifest.json` and of `manifest.sha256`; the second is what `sha256sum -c` reads.
    pub(super) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest has only string keys");
        json.push(b'\n');
        let digest = format!("{}  {MANIFEST}\n", sha256_hex(&json));
        (json, digest.into_bytes())
    }

    /// Reads and checks the manifest in `dir`; the parts are not looked at.
    pub(super) fn read(dir: &Path) -> Result<Self, StoreError> {
        let damaged = |reason: String| StoreError::CheckpointDamaged { path: dir.to_path_buf(), reason };
        let json = read_small(&dir.join(MANIFEST)).map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        let digest =
            read_small(&dir.join(MANIFEST_DIGEST)).map_err(|error| damaged(format!("{MANIFEST_DIGEST}: {error}")))?;
        if digest != format!("{}  {MANIFEST}\n", sha256_hex(&json)).into_bytes() {
            return Err(damaged(format!("{MANIFEST} does not have the SHA-256 that {MANIFEST_DIGEST} names")));
        }
        Self::decode(&json).map_err(|reason| match reason {
            BadManifest::Newer(found) => {
                StoreError::NewerFormat { path: dir.join(MANIFEST), found, supported: MANIFEST_VERSION }
            }
            BadManifest::Damaged(reason) => damaged(format!("{MANIFEST}: {reason}")),
        })
    }

    /// Reads a manifest from its JSON.
    pub(super) fn decode(json: &[u8]) -> Result<Self, BadManifest> {
        #[derive(Deserialize)]
        struct Version {
            version: u16,
        }
        let bad = |error: serde_json::Error| BadManifest::Damaged(error.to_string());
        let Version { version } = serde_json::from_slice(json).map_err(bad)?;
        if version > MANIFEST_VERSION {
            return Err(BadManifest::Newer(version));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(bad)?;
        let mut names = BTreeSet::new();
        match manifest.parts.iter().find(|part| !name_is_allowed(&part.name) || !names.insert(&part.name)) {
            Some(part) => Err(BadManifest::Damaged(format!("a part is named {:?}", part.name))),
            None => Ok(manifest),
        }
    }

    /// Reads `manifest.json`; the error says what does not fit.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, String> {
        Self::decode(json).map_err(|bad| format!("{bad:?}"))
    }

    /// The bytes of `manifest.json`.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        self.encode().0
    }

    /// The part with this name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// A number in `extra`, by its path with dots: `gold.mean` is `extra["gold"]["mean"]`.
    pub fn metric(&self, path: &str) -> Option<f64> {
        let value = path.split('.').try_fold(&self.extra, |value, key| value.get(key))?;
        value.as_f64().filter(|metric| metric.is_finite())
    }
}

#[derive(Debug)]
pub(super) enum BadManifest {
    Newer(u16),
    Damaged(String),
}

fn read_small(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_MANIFEST_BYTES {
        true => Err(std::io::Error::other(format!("it is over {MAX_MANIFEST_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "manifest.json", "manifest.sha256", "ä", "a b"] {
            assert!(!name_is_allowed(name), "{name:?}");
        }
        assert!(!name_is_allowed(&"x".repeat(65)));
        assert!(name_is_allowed("ppo.safetensors") && name_is_allowed(&"x".repeat(64)));
    }

    #[test]
    fn metrics_are_found_by_their_path_and_only_if_finite_numbers() {
        let extra = serde_json::json!({ "gold": { "mean": 0.5 }, "text": "x" });
        let manifest = Manifest { version: 1, step: 1, parts: Vec::new(), extra };
        assert_eq!(manifest.metric("gold.mean"), Some(0.5));
        assert_eq!(manifest.metric("text"), None);
        assert_eq!(manifest.metric("gold.max"), None);
    }

    #[test]
    fn a_newer_manifest_is_told_from_a_damaged_one() {
        let newer = br#"{ "version": 2, "what": "ever" }"#;
        assert!(matches!(Manifest::decode(newer), Err(BadManifest::Newer(2))));
        let twice = br#"{"version":1,"step":1,"extra":null,"parts":[
            {"name":"a","bytes":0,"sha256":""},{"name":"a","bytes":0,"sha256":""}]}"#;
        assert!(matches!(Manifest::decode(twice), Err(BadManifest::Damaged(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_json_never_panics(text in r#"[\[\]{}:,"a-z0-9. ]{0,80}"#, bytes: Vec<u8>) {
            let _ = Manifest::decode(text.as_bytes());
            let _ = Manifest::decode(&bytes);
        }
    }
}
