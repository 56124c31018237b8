//! Where tests find their files.
//!
//! Invariant: compiled for tests only; nothing here writes.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of fixtures: `$UNDERSTUDY_FIXTURES`, else `tests/fixtures`.
pub(crate) fn fixtures() -> PathBuf {
    std::env::var_os("UNDERSTUDY_FIXTURES").map_or_else(|| root().join("tests/fixtures"), PathBuf::from)
}

/// The default model's file, which setup fetches.
pub(crate) fn default_model() -> PathBuf {
    let path = root().join(".models/smollm2-135m-instruct.gguf");
    assert!(path.exists(), "{} is absent: run scripts/setup.sh", path.display());
    path
}

/// A file of the data folder beside the workspace, which is not everywhere; says so where it is absent.
pub(crate) fn shared_data(relative: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(relative);
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}
