//! How much room a disk has. Asked before large writes, never instead of handling their errors.

use std::path::Path;

use crate::StoreError;

/// Bytes that an ordinary process may still write on the file system of `path`, which must exist.
pub fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StoreError::io("ask the free space of", path)(e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses when the file system of `path` has less than `needed` bytes free.
pub(crate) fn require(path: &Path, needed: u64) -> Result<(), StoreError> {
    let free = free_bytes(path)?;
    if free < needed {
        return Err(StoreError::NoSpace { path: path.to_path_buf(), free, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_beyond_the_disk_is_refused_with_path_and_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let free = free_bytes(dir.path()).unwrap();
        assert!(free > 0);
        let text = require(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(text.contains(&dir.path().display().to_string()), "{text}");
        assert!(text.contains(&u64::MAX.to_string()) && text.contains("bytes free"), "{text}");
    }
}
