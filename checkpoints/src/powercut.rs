//! A power cut at its worst, for tests: only what was synced is there afterwards. A file has the contents of its last
//! sync and is empty without one; a directory has the entries of its last sync and is empty without one. What the
//! system may have written by itself in between is lost, as it may be.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use crate::{Disk, DiskHook, DiskOp};

/// A file or directory whatever its name: inode and time of birth, because inodes are used again.
type Identity = (u64, u128);

/// Follows the syncs under a directory.
#[derive(Default)]
struct Synced {
    files: HashMap<Identity, Vec<u8>>,
    dirs: HashMap<Identity, BTreeMap<OsString, (Identity, bool)>>,
}

fn identity(path: &Path) -> Identity {
    let metadata = fs::metadata(path).unwrap();
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    (metadata.ino(), born.map_or(0, |born| born.as_nanos()))
}

impl Synced {
    fn before(&mut self, op: DiskOp, path: &Path) {
        match op {
            DiskOp::SyncFile => drop(self.files.insert(identity(path), fs::read(path).unwrap())),
            DiskOp::SyncDir => {
                let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
                let entries =
                    entries.map(|path| (path.file_name().unwrap().to_owned(), (identity(&path), path.is_dir())));
                self.dirs.insert(identity(path), entries.collect());
            }
            _ => {}
        }
    }

    fn restore(&self, dir: Identity, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for (name, (identity, is_dir)) in self.dirs.get(&dir).into_iter().flatten() {
            match is_dir {
                true => self.restore(*identity, &to.join(name)),
                false => fs::write(to.join(name), self.files.get(identity).map_or(&[][..], Vec::as_slice)).unwrap(),
            }
        }
    }
}

/// A disk that calls `see` before each operation with what a power cut at that instant would leave of `root`, which
/// must exist and is empty so far.
pub(crate) fn disk(root: &Path, see: impl Fn(&Path, DiskOp) + Send + Sync + 'static) -> Disk {
    let synced = Mutex::new(Synced::default());
    let root: PathBuf = root.to_path_buf();
    let hook: DiskHook = Arc::new(move |op, path| {
        let image = tempfile::tempdir().unwrap();
        let mut synced = synced.lock().unwrap();
        synced.restore(identity(&root), image.path());
        synced.before(op, path);
        drop(synced);
        see(image.path(), op);
        Ok(())
    });
    Disk::with_hook(hook)
}
