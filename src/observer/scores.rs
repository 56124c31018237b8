//! The reward model's newest scores in a file of JSON lines, `[answer, score, standard error, version]`, so that after a
//! restart it is still known where it is least sure.
//!
//! Invariant: the file is replaced as a whole and holds at most [`MOST_SCORES`] lines; what cannot be read of it is left
//! out, for all of it comes anew with time.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use understudy_checkpoints::whole::replace_file;
use understudy_learning::stages::{AnswerId, RewardVersion};

use super::opinions::{MOST_SCORES, Score};

const NAME: &str = "scores.jsonl";
/// More than the lines can be.
const MOST_BYTES: u64 = 4 << 20;

/// Puts `scores` in the place of those in the data directory `dir`.
pub(super) fn write(dir: &Path, scores: &[(AnswerId, Score)]) -> io::Result<()> {
    let line =
        |(answer, Score { score, std, version }): &(AnswerId, Score)| format!("[{answer},{score},{std},{version}]\n");
    let newest = &scores[scores.len().saturating_sub(MOST_SCORES)..];
    let finite = newest.iter().filter(|(_, one)| one.score.is_finite() && one.std.is_finite());
    let text: String = finite.map(line).collect();
    replace_file(&dir.join(NAME), text.as_bytes())
}

/// What can be read of them.
pub(super) fn read(dir: &Path) -> Vec<(AnswerId, Score)> {
    let mut bytes = Vec::new();
    match File::open(dir.join(NAME)).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "scores from before the start could not be read"),
    }
    let one = |line: &[u8]| {
        let (answer, score, std, version): (AnswerId, f64, f64, RewardVersion) = serde_json::from_slice(line).ok()?;
        Some((answer, Score { score, std, version }))
    };
    bytes.split(|byte| *byte == b'\n').filter_map(one).take(MOST_SCORES).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn scores_are_read_back_bit_for_bit_and_damage_costs_only_its_line() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), []);
        let of = |answer: u64, score| (answer, Score { score, std: 0.1 + 0.2, version: 9 });
        let all = [of(1, -1.0 / 3.0), of(2, f64::NAN), of(3, 1e-300), of(u64::MAX, 2.0)];
        write(folder.path(), &all).unwrap();
        assert_eq!(read(folder.path()), [all[0], all[2], all[3]]);
        let path = folder.path().join(NAME);
        let text = fs::read(&path).unwrap();
        fs::write(&path, [b"[1,2]\n\xff\n".as_slice(), &text[..text.len() - 4]].concat()).unwrap();
        assert_eq!(read(folder.path()), [all[0], all[2]]);
        let many: Vec<_> = (0..MOST_SCORES as u64 + 7).map(|answer| of(answer, 0.5)).collect();
        write(folder.path(), &many).unwrap();
        assert_eq!(read(folder.path()), many[7..]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
