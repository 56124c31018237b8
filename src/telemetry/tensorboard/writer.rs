//! The event files of one run.
//!
//! Invariant: a file is only ever appended to, whole records at a time; after a failed write another file is begun, since
//! readers stop at a torn record. All files of a run together have at most the configured bytes: a file is full at one
//! part in `PARTS`, and before another is begun the oldest leave until it fits. Nothing else in the folder is touched.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::event::{What, record};

/// Files that share the bytes.
const PARTS: u64 = 8;
/// Most files, however small.
const MOST_FILES: usize = 64;
/// What the names of our files begin and end with; readers look for the beginning.
const NAME: (&str, &str) = ("events.out.tfevents.", ".understudy");

/// Writes one run.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    most_bytes: u64,
    open: Option<(File, u64)>,
    /// Files begun.
    begun: u32,
}

impl Writer {
    /// A run in the folder `dir`, of at most `most_bytes`. Nothing is written before the first value.
    pub fn new(dir: PathBuf, most_bytes: u64) -> Self {
        Self { dir, most_bytes, open: None, begun: 0 }
    }

    /// Appends values of `step`, all under one time. They are with the operating system when it returns.
    pub fn write(&mut self, t_ms: i64, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        let record = record(t_ms, step, What::Scalars(values));
        let size = record.len() as u64;
        let part = self.most_bytes / PARTS;
        let (mut file, used) = match self.open.take() {
            Some((file, used)) if used + size <= part => (file, used),
            _ => self.begin(t_ms, step)?,
        };
        file.write_all(&record)?;
        self.open = Some((file, used + size));
        Ok(())
    }

    fn begin(&mut self, t_ms: i64, step: u64) -> io::Result<(File, u64)> {
        fs::create_dir_all(&self.dir)?;
        make_room(&self.dir, self.most_bytes - self.most_bytes / PARTS)?;
        // Readers take files in the order of their names.
        let (seconds, process, (before, after)) = (t_ms.max(0) / 1000, std::process::id(), NAME);
        let path = loop {
            self.begun += 1;
            let path = self.dir.join(format!("{before}{seconds:010}.{process:07}.{:06}{after}", self.begun));
            if !path.exists() {
                break path;
            }
        };
        let mut head = record(t_ms, 0, What::FileVersion);
        if self.begun == 1 {
            head.extend(record(t_ms, step, What::Start));
        }
        let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
        file.write_all(&head)?;
        Ok((file, head.len() as u64))
    }
}

/// Removes the oldest of our files until the others have at most `most_bytes`.
fn make_room(dir: &Path, most_bytes: u64) -> io::Result<()> {
    let mut files: Vec<(PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        if is_ours {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let mut left = files.len();
    for (path, size) in files {
        if bytes <= most_bytes && left < MOST_FILES {
            break;
        }
        fs::remove_file(path)?;
        (bytes, left) = (bytes - size, left - 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Vec<(String, u64)> {
        let of = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
        };
        let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(of).collect();
        files.sort();
        files
    }

    #[test]
    fn files_keep_to_their_bytes_the_newest_stay_and_what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("events.out.tfevents.0000000001.other"), [0; 5000]).unwrap();
        let mut writer = Writer::new(folder.path().to_owned(), 4096);
        let mut first = String::new();
        for step in 0..500 {
            writer.write(1000 + step as i64, step, &[("train/reward", 1.0)]).unwrap();
            let all = files(folder.path());
            let ours: Vec<_> = all.iter().filter(|(name, _)| name.ends_with(NAME.1)).collect();
            assert!(ours.iter().map(|file| file.1).sum::<u64>() <= 4096, "{ours:?}");
            assert!(ours.iter().all(|file| file.1 <= 4096 / PARTS), "{ours:?}");
            if step == 0 {
                first.clone_from(&ours[0].0);
            }
        }
        let names: Vec<String> = files(folder.path()).into_iter().map(|file| file.0).collect();
        assert!(names.contains(&"events.out.tfevents.0000000001.other".to_owned()));
        assert!(!names.contains(&first) && names.len() as u64 >= PARTS, "{names:?}");
    }

    #[test]
    fn however_often_it_is_started_there_are_only_so_many_files() {
        let folder = tempfile::tempdir().unwrap();
        for start in 0..100 {
            let mut writer = Writer::new(folder.path().to_owned(), 1 << 20);
            writer.write(start * 1000, 1, &[("train/reward", 1.0)]).unwrap();
        }
        let names = files(folder.path());
        assert_eq!(names.len(), MOST_FILES);
        assert!(names.last().unwrap().0.contains("0000000099"), "the newest is there");
    }

    #[test]
    fn after_a_failed_write_another_file_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path().to_owned(), 1 << 20);
        writer.write(0, 1, &[("a", 1.0)]).unwrap();
        // A device without room stands for the disk.
        writer.open = Some((OpenOptions::new().write(true).open("/dev/full").unwrap(), 0));
        assert_eq!(writer.write(0, 2, &[("a", 1.0)]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        writer.write(0, 3, &[("a", 1.0)]).unwrap();
        let found = files(folder.path());
        assert_eq!(found.len(), 2);
        assert!(found[0].1 > found[1].1, "only the first file of a start says that it is one: {found:?}");
    }
}
