//! Power cuts, for tests: what may be there afterwards of a directory whose every operation is followed.
//!
//! *Strict*: only what was synced. A file has the contents of its last sync and is empty without one; a directory has
//! the entries of its last sync and is empty without one. *Torn*: besides, any of what was not synced, chosen by a
//! seed: of each file any of its sectors, new or old, and any length between; of each directory the entries of any
//! moment since its last sync, whatever the moment of its neighbours.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use crate::{Disk, DiskHook, DiskOp};

/// Bytes that are written as a whole or not at all. Far less than a disk's, so that small files tear as well.
const SECTOR: usize = 32;

/// A file or directory whatever its name: inode and time of birth, because inodes are used again.
type Identity = (u64, u128);
type Listing = BTreeMap<OsString, (Identity, bool)>;

/// Follows the syncs under a directory.
#[derive(Default)]
struct Followed {
    /// Contents at the last sync.
    synced: HashMap<Identity, Vec<u8>>,
    /// Contents as last seen.
    seen: HashMap<Identity, Vec<u8>>,
    /// Entries at the last sync, and all that were seen since.
    listings: HashMap<Identity, Vec<Listing>>,
}

/// Which of the possible remains.
enum Remains<'a> {
    Strict,
    Torn(&'a mut Dice),
}

/// A small seeded generator (S. Vigna, splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The seed of the environment, which repeats a failure, or else `or`.
    pub(crate) fn from_environment(or: u64) -> Self {
        let seed = std::env::var("UNDERSTUDY_TORTURE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(or);
        eprintln!("UNDERSTUDY_TORTURE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn identity(path: &Path) -> Identity {
    let metadata = fs::metadata(path).unwrap();
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    (metadata.ino(), born.map_or(0, |born| born.as_nanos()))
}

impl Followed {
    /// Looks at everything below `dir`, as it is now.
    fn look(&mut self, dir: &Path) {
        let mut listing = Listing::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let (identity, is_dir) = (identity(&path), path.is_dir());
            listing.insert(path.file_name().unwrap().to_owned(), (identity, is_dir));
            match is_dir {
                true => self.look(&path),
                false => drop(self.seen.insert(identity, fs::read(&path).unwrap())),
            }
        }
        let listings = self.listings.entry(identity(dir)).or_insert_with(|| vec![Listing::new()]);
        if listings.last() != Some(&listing) {
            listings.push(listing);
        }
    }

    /// Notes what an operation is about to make durable.
    fn before(&mut self, op: DiskOp, path: &Path) {
        let identity = |path| identity(path);
        match op {
            DiskOp::SyncFile => {
                let now = self.seen[&identity(path)].clone();
                self.synced.insert(identity(path), now);
            }
            DiskOp::SyncDir => {
                if let Some(listings) = self.listings.get_mut(&identity(path)) {
                    listings.drain(..listings.len() - 1);
                }
            }
            _ => {}
        }
    }

    fn restore(&self, dir: Identity, to: &Path, remains: &mut Remains<'_>) {
        fs::create_dir_all(to).unwrap();
        let Some(listings) = self.listings.get(&dir) else { return };
        let chosen = match remains {
            Remains::Strict => 0,
            Remains::Torn(dice) => dice.below(listings.len()),
        };
        for (name, (identity, is_dir)) in &listings[chosen] {
            match is_dir {
                true => self.restore(*identity, &to.join(name), remains),
                false => fs::write(to.join(name), self.contents(*identity, remains)).unwrap(),
            }
        }
    }

    fn contents(&self, file: Identity, remains: &mut Remains<'_>) -> Vec<u8> {
        let synced = self.synced.get(&file).map_or(&[][..], Vec::as_slice);
        let seen = self.seen.get(&file).map_or(&[][..], Vec::as_slice);
        match remains {
            Remains::Torn(dice) if seen != synced => torn(synced, seen, dice),
            _ => synced.to_vec(),
        }
    }
}

/// Of each sector the old contents or the new, and a length from the one to the other.
fn torn(old: &[u8], new: &[u8], dice: &mut Dice) -> Vec<u8> {
    let (least, most) = (old.len().min(new.len()), old.len().max(new.len()));
    let mut mixed = vec![0; least + dice.below(most - least + 1)];
    for at in (0..mixed.len()).step_by(SECTOR) {
        let from = if dice.below(2) == 0 { old } else { new };
        let end = (at + SECTOR).min(from.len()).min(mixed.len());
        if at < end {
            mixed[at..end].copy_from_slice(&from[at..end]);
        }
    }
    mixed
}

/// A disk that calls `see` before each operation with what a power cut at that instant would leave of `root`, which
/// must exist and is empty so far.
pub(crate) fn disk(root: &Path, see: impl Fn(&Path, DiskOp) + Send + Sync + 'static) -> Disk {
    watched(root, None, || (), move |image, op, ()| see(image, op))
}

/// The same, torn if there are dice; `now` is asked before the image is made, so that it says no more than was promised
/// by then.
pub(crate) fn watched<T>(
    root: &Path,
    dice: Option<Dice>,
    now: impl Fn() -> T + Send + Sync + 'static,
    see: impl Fn(&Path, DiskOp, T) + Send + Sync + 'static,
) -> Disk {
    let state = Mutex::new((Followed::default(), dice));
    let root: PathBuf = root.to_path_buf();
    let hook: DiskHook = Arc::new(move |op, path| {
        let image = tempfile::tempdir().unwrap();
        let mut state = state.lock().unwrap();
        let promised = now();
        let (followed, dice) = &mut *state;
        followed.look(&root);
        let mut remains = dice.as_mut().map_or(Remains::Strict, Remains::Torn);
        followed.restore(identity(&root), image.path(), &mut remains);
        followed.before(op, path);
        drop(state);
        see(image.path(), op, promised);
        Ok(())
    });
    Disk::with_hook(hook)
}
