//! Files and folders that are replaced as a whole.
//!
//! Invariant: at every instant the old content stands under the name or the new one, never a part of either; when a function
//! returns, the disk has it. What a crash left beside the name is removed by the next replacement.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Puts `bytes` in the place of the file, which others may read as the process's mask has it.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o666)
}

/// The same with a file that nobody else may read.
pub fn replace_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o600)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put(path, mode, |file| file.write_all(bytes))
}

/// Puts what `write` writes in the place of the file; where it fails, the old content stays.
pub fn write_file<T, E: From<io::Error>>(path: &Path, write: impl FnOnce(&mut File) -> Result<T, E>) -> Result<T, E> {
    put(path, 0o666, write)
}

fn put<T, E: From<io::Error>>(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> Result<T, E>) -> Result<T, E> {
    let beside = beside(path)?;
    // What a crash left may have another mode. A folder is somebody else's.
    absent_or(fs::remove_file(&beside))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    let written = write(&mut file).and_then(|written| {
        file.sync_all()?;
        fs::rename(&beside, path)?;
        Ok(written)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    let written = written?;
    sync_folder(parent(path))?;
    Ok(written)
}

/// Puts the folder `work`, whose files have been synced, in the place of `target`, and removes what was there.
pub fn replace_folder(work: &Path, target: &Path) -> io::Result<()> {
    sync_folder(work)?;
    let flags = if target.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, work, CWD, target, flags)?;
    sync_folder(parent(target))?;
    // The old one, if there was one.
    remove(work)
}

/// Removes a file, or a folder with all that is in it; nothing is there afterwards, whether or not there was before.
pub fn remove(path: &Path) -> io::Result<()> {
    absent_or(if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) })
}

fn absent_or(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The sole right to change what is in a folder, until it is dropped; `None` where another has it.
pub fn alone(folder: &Path) -> io::Result<Option<File>> {
    let open = File::open(folder)?;
    match open.try_lock() {
        Ok(()) => Ok(Some(open)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The file's name with `.tmp` behind it.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "a file needs a name"))?;
    let mut name = name.to_owned();
    name.push(".tmp");
    Ok(path.with_file_name(name))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_whatever_a_crash_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        replace_file(&path, b"first").unwrap();
        // Half of something, and readable for all.
        fs::write(folder.path().join("tokens.json.tmp"), b"half of what was mea").unwrap();
        replace_private_file(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_the_old_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), b"kept").unwrap();
        replace_file(&taken, b"new").unwrap_err();
        assert_eq!(fs::read(taken.join("inside")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_has_the_name_for_the_work_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("rows.jsonl.tmp");
        fs::create_dir(&work).unwrap();
        fs::write(work.join("inside"), b"kept").unwrap();
        replace_file(&folder.path().join("rows.jsonl"), b"new").unwrap_err();
        assert_eq!(fs::read(work.join("inside")).unwrap(), b"kept");
    }

    #[test]
    fn a_writer_that_gives_up_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let write = |text: &'static str, give_up: bool| {
            write_file(&path, |file| {
                file.write_all(text.as_bytes())?;
                if give_up { Err(io::Error::other("no more")) } else { Ok(text.len()) }
            })
        };
        assert_eq!(write("whole", false).unwrap(), 5);
        assert_eq!(write("half", true).unwrap_err().to_string(), "no more");
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_takes_the_place_of_another_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let (work, target) = (folder.path().join(".model.new"), folder.path().join("model"));
        for content in ["old", "new"] {
            fs::create_dir(&work).unwrap();
            fs::write(work.join(content), content).unwrap();
            replace_folder(&work, &target).unwrap();
            assert_eq!(fs::read_to_string(target.join(content)).unwrap(), content);
            assert_eq!((fs::read_dir(&target).unwrap().count(), work.exists()), (1, false));
        }
        remove(&target).unwrap();
        remove(&target).unwrap();
        assert!(!target.exists());
    }
}
