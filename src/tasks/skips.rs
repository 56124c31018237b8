//! What annotators did not want, in a file of JSON lines: `{"by":"<16 hexadecimal digits>","task":"pair-12-15"}`.
//!
//! Invariant: a line is on disk before it is acknowledged. Twice [`MOST_SKIPS`] lines are the most: then only the newest
//! [`MOST_SKIPS`] stay. The file is replaced as a whole or appended to, and a line that cannot be read, such as one cut
//! by a crash, costs nothing but itself. Names are kept as a hash only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use understudy_checkpoints::whole::replace_private_file;

use super::task::TaskName;

/// Skips that are kept at least, the newest.
pub const MOST_SKIPS: usize = 8192;
/// Most bytes that are read: more than the lines can be, so what lies before is not ours.
const MOST_BYTES: u64 = 64 << 20;

/// One skip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// Hash of the annotator's name.
    pub by: u64,
    /// What they did not want.
    pub task: TaskName,
}

#[derive(Serialize, Deserialize)]
struct Line {
    by: String,
    task: String,
}

impl Skip {
    fn line(&self) -> Vec<u8> {
        let line = Line { by: format!("{:016x}", self.by), task: self.task.to_string() };
        let mut bytes = serde_json::to_vec(&line).expect("two texts are always JSON");
        bytes.push(b'\n');
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let line: Line = serde_json::from_slice(bytes).ok()?;
        Some(Self { by: u64::from_str_radix(&line.by, 16).ok()?, task: line.task.parse().ok()? })
    }
}

/// The file.
#[derive(Debug)]
pub struct Skips {
    path: PathBuf,
    file: File,
    lines: usize,
    /// Whether the last line may be cut, so that the next must begin a new one.
    torn: bool,
}

impl Skips {
    /// Opens the file in the data directory `dir`, or makes one; what it holds, oldest first.
    pub fn open(dir: &Path) -> io::Result<(Self, Vec<Skip>)> {
        let path = dir.join("skips.jsonl");
        let (kept, whole) = read(&path)?;
        let file = if whole && kept.len() <= MOST_SKIPS { append_to(&path)? } else { replace(&path, newest(&kept))? };
        let kept = newest(&kept).to_vec();
        Ok((Self { path, file, lines: kept.len(), torn: false }, kept))
    }

    /// Writes one down; on disk when it returns without an error.
    pub fn add(&mut self, skip: &Skip) -> io::Result<()> {
        if self.lines >= 2 * MOST_SKIPS {
            let (kept, _) = read(&self.path)?;
            self.file = replace(&self.path, newest(&kept))?;
            (self.lines, self.torn) = (newest(&kept).len(), false);
        }
        let mut bytes = if self.torn { vec![b'\n'] } else { Vec::new() };
        bytes.extend(skip.line());
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        self.torn = written.is_err();
        self.lines += 1;
        written
    }
}

fn newest(skips: &[Skip]) -> &[Skip] {
    &skips[skips.len().saturating_sub(MOST_SKIPS)..]
}

/// What can be read of the file, and whether that is all of it.
fn read(path: &Path) -> io::Result<(Vec<Skip>, bool)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
        Err(error) => return Err(error),
    };
    let before = file.metadata()?.len().saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(before))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (mut kept, mut damaged) = (Vec::new(), 0u32);
    lines.for_each(|line| match Skip::read(line) {
        Some(skip) => kept.push(skip),
        None => damaged += 1,
    });
    if damaged > 0 {
        tracing::warn!(damaged, "lines of skips.jsonl cannot be read; who skipped those tasks may be asked again");
    }
    Ok((kept, before == 0 && damaged == 0 && bytes.last().is_none_or(|last| *last == b'\n')))
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn replace(path: &Path, skips: &[Skip]) -> io::Result<File> {
    replace_private_file(path, &skips.iter().flat_map(Skip::line).collect::<Vec<u8>>())?;
    append_to(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn skip(n: u64) -> Skip {
        Skip { by: n, task: format!("pair-{n}-{}", n + 1).parse().expect("a name") }
    }

    #[test]
    fn what_was_skipped_is_read_back_and_a_torn_or_foreign_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skips.jsonl");
        let (mut skips, kept) = Skips::open(folder.path()).unwrap();
        assert_eq!(kept, []);
        (1..=3).for_each(|n| skips.add(&skip(n)).unwrap());
        let whole = fs::read(&path).unwrap();
        let foreign = [b"\xff\x00{]\n{\"by\":\"x\",\"task\":\"pair-1-2\"}\n".as_slice(), &whole].concat();
        for (bytes, wanted) in [
            (whole.clone(), vec![1, 2, 3]),
            (whole[..whole.len() - 1].to_vec(), vec![1, 2, 3]),
            (whole[..whole.len() - 9].to_vec(), vec![1, 2]),
            (foreign, vec![1, 2, 3]),
            (vec![0; 4096], vec![]),
        ] {
            fs::write(&path, bytes).unwrap();
            let (mut skips, kept) = Skips::open(folder.path()).unwrap();
            assert_eq!(kept, wanted.iter().map(|n| skip(*n)).collect::<Vec<_>>());
            skips.add(&skip(9)).unwrap();
            let (_, kept) = Skips::open(folder.path()).unwrap();
            assert_eq!(kept.len(), wanted.len() + 1, "what is added after damage is a line of its own");
        }
    }

    #[test]
    fn the_file_is_bounded_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("skips.jsonl");
        let most = 2 * MOST_SKIPS as u64;
        let lines: Vec<u8> = (0..most).flat_map(|n| skip(n).line()).collect();
        let file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        fs::write(&path, lines).unwrap();
        let mut skips = Skips { path: path.clone(), file, lines: most as usize, torn: false };
        skips.add(&skip(most)).unwrap();
        let (_, kept) = Skips::open(folder.path()).unwrap();
        assert_eq!((kept.len(), kept.last().unwrap().by), (MOST_SKIPS, most));
        assert_eq!(fs::read(&path).unwrap().split(|byte| *byte == b'\n').count(), MOST_SKIPS + 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
