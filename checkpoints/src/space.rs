//! How much room a disk has. Asked before large writes, never instead of handling their errors.

use std::path::Path;

use crate::StoreError;

/// Bytes that an ordinary process may still write on the file system of `path`, which must exist.
pub fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StoreError::io("ask the free space of", path)(e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Disk;

    #[test]
    fn a_demand_beyond_the_disk_is_refused_with_path_and_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        let text = Disk::real().require_space(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(text.contains(&dir.path().display().to_string()), "{text}");
        assert!(text.contains(&u64::MAX.to_string()) && text.contains("bytes free"), "{text}");
    }
}
