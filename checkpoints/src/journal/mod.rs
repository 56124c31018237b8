//! The journal: the one place that decides whether a record exists. A record is acknowledged after its batch has been
//! appended and synced here, and never before; bytes once synced are never changed in place.
//!
//! Files: `<first sequence number, 20 digits>.seg`, a header and then one frame for each batch. A frame is written by
//! one write and the next frame only after this one has been synced. So a bad frame with a good one behind it is
//! damage of acknowledged bytes (an error), and a bad frame at the very end is a batch that nobody was told of (cut).
//! Nothing but zeros behind the last frame is room that was made ahead.

mod compact;
mod frame;
pub(crate) mod fuzzing;
mod reader;
mod start;
mod writer;

use std::path::{Path, PathBuf};

pub(crate) use compact::{Keep, Plan, Segments};
pub(crate) use frame::{BATCH_BYTES, peek};
pub use frame::{FORMAT_VERSION, decode_frame};
pub use reader::TornTail;
pub(crate) use reader::{read_from, scan};
pub(crate) use writer::{Appended, Writer};

/// One segment file, as last read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// First sequence number that belongs here.
    pub(crate) first: u64,
    /// Last one that belongs here; `first - 1` while the segment is empty.
    pub(crate) last: u64,
    /// Bytes from the file's beginning to the end of its last frame.
    pub(crate) bytes: u64,
    /// Records really here; fewer than `last - first + 1` after compaction.
    pub(crate) records: u64,
    /// Mixed into the frames' checksums, so that a payload cannot pass for a frame.
    pub(crate) salt: u64,
}

/// Path of the segment that begins with `first`.
fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}
