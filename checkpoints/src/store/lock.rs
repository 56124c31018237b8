//! One process, and in it one store, per data directory. The lock is the kernel's and ends with the process, however
//! that ends; the process id in the file only serves the error message.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::StoreError;

/// Holds the data directory's lock until dropped; for whoever changes something in it without opening the store.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of a directory that exists; [`StoreError::Locked`] names the process that has it.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("LOCK");
        let open = File::options().create(true).write(true).truncate(false).open(&path);
        let mut file = open.map_err(StoreError::io("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let holder = if holder.trim().is_empty() { "unknown" } else { holder.trim() }.to_owned();
                return Err(StoreError::Locked { path: dir.to_path_buf(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", &path)(source)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(StoreError::io("write the lock file", &path))?;
        Ok(Self { _file: file })
    }
}
