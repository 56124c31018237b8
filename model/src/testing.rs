//! What tests need: a tiny random model (for every crate), and where this crate's tests find their files.
//!
//! Invariant: nothing here writes; only the tiny model is compiled outside tests.

#[cfg(test)]
pub(crate) mod reference;
mod tiny;

#[cfg(test)]
use std::path::{Path, PathBuf};

pub use tiny::{TinyModel, tiny_llama, tiny_model};

/// The workspace's root.
#[cfg(test)]
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of fixtures: `$UNDERSTUDY_FIXTURES`, else `tests/fixtures`.
#[cfg(test)]
pub(crate) fn fixtures() -> PathBuf {
    std::env::var_os("UNDERSTUDY_FIXTURES").map_or_else(|| root().join("tests/fixtures"), PathBuf::from)
}

/// The default model's file, which setup fetches.
#[cfg(test)]
pub(crate) fn default_model() -> PathBuf {
    let path = root().join(".models/smollm2-135m-instruct.gguf");
    assert!(path.exists(), "{} is absent: run scripts/setup.sh", path.display());
    path
}

/// A file of the data folder beside the workspace, which is not everywhere; says so where it is absent.
#[cfg(test)]
pub(crate) fn shared_data(relative: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(relative);
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}
