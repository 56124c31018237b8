//! Reading segments back. Holds one frame in memory at a time, and touches the files only to cut a torn tail or to
//! remove a segment whose creation a crash interrupted; both hold nothing that anybody was told about.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::frame::{
    BadHeader, FORMAT_VERSION, FRAME_HEAD_LEN, HEADER_LEN, Header, MAX_FRAME_BYTES, decode_frame, peek,
};
use super::{Segment, start};
use crate::{Disk, StoreError};

/// An unacknowledged batch at the journal's end that a crash left half written, and that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Where the whole frames end.
    pub offset: u64,
    /// How many bytes of it there were, to the last one that is not 0.
    pub bytes: u64,
}

/// What reading the whole journal found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) segments: Vec<Segment>,
    pub(crate) torn: Option<TornTail>,
    pub(crate) records: u64,
}

/// Receives each encoded record in order.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), StoreError>;

/// Where and why a segment stops making sense.
struct Damage {
    offset: u64,
    /// Bytes from there to the last one that is not 0.
    bytes: u64,
    reason: String,
}

/// Reads every record of the journal, checks all of them, and repairs what a crash may leave. Records up to `known` are
/// known to have been acknowledged: a tail that should hold them is not torn but damaged.
pub(crate) fn scan(dir: &Path, disk: &Disk, known: u64, visit: Visit<'_>) -> Result<Scan, StoreError> {
    let mut found = Scan::default();
    let paths = segment_files(dir, disk)?;
    let start = start::read(dir)?;
    for (place, path) in paths.iter().enumerate() {
        let is_last = place + 1 == paths.len();
        if is_last && interrupted_creation(path)? {
            tracing::warn!(segment = %path.display(), "removed a journal segment whose creation was interrupted");
            disk.remove_file(path).map_err(StoreError::io("remove the unfinished journal segment", path))?;
            disk.sync_dir(dir).map_err(StoreError::io("sync the directory", dir))?;
            break;
        }
        let (segment, damage) = read_segment(path, 0, visit)?;
        let expected = found.segments.last().map(|previous| previous.last + 1);
        if expected.map_or(segment.first > start, |expected| segment.first != expected) {
            let expected = expected.unwrap_or(start);
            return Err(StoreError::JournalGap { path: dir.to_path_buf(), expected, found: segment.first });
        }
        if let Some(Damage { offset, bytes, reason }) = damage {
            if !is_last || segment.last < known || good_frame_behind(path, &segment, offset)? {
                return Err(StoreError::JournalDamaged { path: path.clone(), offset, reason });
            }
            found.torn = Some(cut(path, offset, bytes, disk)?);
        }
        found.records += segment.records;
        found.segments.push(segment);
    }
    if found.segments.is_empty() && start > 1 {
        return Err(StoreError::JournalBehind { path: dir.to_path_buf(), last: 0, applied: start });
    }
    Ok(found)
}

/// Reads the records from `from` on out of segments that [`scan`] found whole.
pub(crate) fn read_from(segments: &[Segment], from: u64, visit: Visit<'_>) -> Result<(), StoreError> {
    for segment in segments.iter().filter(|segment| segment.last >= from) {
        let mut wanted = |record: &[u8]| if peek(record).0 >= from { visit(record) } else { Ok(()) };
        if let (_, Some(Damage { offset, reason, .. })) = read_segment(&segment.path, segment.bytes, &mut wanted)? {
            return Err(StoreError::JournalDamaged { path: segment.path.clone(), offset, reason });
        }
    }
    Ok(())
}

/// All segment files in order; leftovers of an interrupted compaction are removed.
fn segment_files(dir: &Path, disk: &Disk) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("seg") => paths.push(path),
            Some("tmp") => disk.remove_file(&path).map_err(StoreError::io("remove the leftover", &path))?,
            _ => {}
        }
    }
    paths.sort();
    Ok(paths)
}

/// A crash between a segment's creation and its first batch leaves at most a header's length of anything.
fn interrupted_creation(path: &Path) -> Result<bool, StoreError> {
    let bytes = fs::metadata(path).map_err(StoreError::io("look at", path))?.len();
    if bytes > HEADER_LEN as u64 {
        return Ok(false);
    }
    let head = fs::read(path).map_err(StoreError::io("read", path))?;
    Ok(matches!(Header::decode(&head), Err(BadHeader::Damaged(_))))
}

/// Reads one segment up to its end, to `limit` bytes if that is not 0, or to the first thing that does not fit.
fn read_segment(path: &Path, limit: u64, visit: Visit<'_>) -> Result<(Segment, Option<Damage>), StoreError> {
    let io = |action| StoreError::io(action, path);
    let file = File::open(path).map_err(io("open"))?;
    let on_disk = file.metadata().map_err(io("look at"))?.len();
    let bytes = if limit == 0 { on_disk } else { limit.min(on_disk) };
    let mut input = BufReader::with_capacity(1 << 16, file.take(bytes));
    let mut head = Vec::with_capacity(HEADER_LEN);
    input.by_ref().take(HEADER_LEN as u64).read_to_end(&mut head).map_err(io("read"))?;
    let header = Header::decode(&head).map_err(|bad| bad_header(path, bad))?;
    let compacted = header.compacted_last.is_some();
    let mut segment = Segment {
        path: path.to_path_buf(),
        first: header.first,
        last: header.compacted_last.unwrap_or(header.first.saturating_sub(1)),
        bytes,
        records: 0,
        salt: header.salt,
    };
    let mut before = header.first.saturating_sub(1);
    let mut offset = HEADER_LEN as u64;
    let mut frame = Vec::new();
    while offset < bytes {
        read_frame(&mut input, &mut frame).map_err(io("read"))?;
        let (records, frame_len) = match decode_frame(header.salt, &frame) {
            Ok(decoded) => decoded,
            Err(reason) => {
                // A batch that was lost to the last byte looks like this, too; it is noticed by what follows it.
                let reach = written_behind(path, offset)?;
                segment.bytes = offset;
                return Ok((segment, (reach > 0).then(|| Damage { offset, bytes: reach, reason: reason.to_owned() })));
            }
        };
        for record in records {
            let (seq, _) = peek(record);
            let fits = if compacted { seq > before && seq <= segment.last } else { seq == before + 1 };
            if !fits {
                let reason = format!("record {seq} follows record {before}");
                return Err(StoreError::JournalDamaged { path: path.to_path_buf(), offset, reason });
            }
            visit(record)?;
            before = seq;
            segment.last = segment.last.max(seq);
            segment.records += 1;
        }
        offset += frame_len as u64;
    }
    Ok((segment, None))
}

/// Fills `frame` with the next frame as far as there are bytes; a length over the limit is left to the decoder.
fn read_frame(input: &mut impl Read, frame: &mut Vec<u8>) -> std::io::Result<()> {
    frame.clear();
    input.by_ref().take(FRAME_HEAD_LEN as u64).read_to_end(frame)?;
    let Some(len) = frame.first_chunk().map(|len| u32::from_le_bytes(*len) as usize) else { return Ok(()) };
    if len <= MAX_FRAME_BYTES {
        input.by_ref().take(len as u64).read_to_end(frame)?;
    }
    Ok(())
}

fn bad_header(path: &Path, bad: BadHeader) -> StoreError {
    let path = path.to_path_buf();
    match bad {
        BadHeader::Newer(found) => StoreError::NewerFormat { path, found, supported: FORMAT_VERSION },
        BadHeader::Damaged(reason) => StoreError::JournalDamaged { path, offset: 0, reason: reason.to_owned() },
    }
}

/// Whether a whole frame with a later record stands anywhere behind `offset`.
fn good_frame_behind(path: &Path, segment: &Segment, offset: u64) -> Result<bool, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let tail = bytes.get(start..).unwrap_or_default();
    // The checksum is worth computing only where the first record's number fits: it may skip what the damage took.
    let reach = segment.last + (1 << 24);
    let found = (1..tail.len()).any(|at| {
        let (seq, _) = peek(tail.get(at + FRAME_HEAD_LEN + 4..).unwrap_or_default());
        seq > segment.last && seq < reach && decode_frame(segment.salt, &tail[at..]).is_ok()
    });
    Ok(found)
}

/// How many bytes there are from `offset` to the last one that is not 0; holds one piece of the file at a time.
fn written_behind(path: &Path, offset: u64) -> Result<u64, StoreError> {
    let io = |action| StoreError::io(action, path);
    let mut file = File::open(path).map_err(io("open"))?;
    file.seek(SeekFrom::Start(offset)).map_err(io("read"))?;
    let (mut at, mut reach) = (0, 0);
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut piece).map_err(io("read"))?;
        if read == 0 {
            return Ok(reach);
        }
        if let Some(last) = piece[..read].iter().rposition(|byte| *byte != 0) {
            reach = at + last as u64 + 1;
        }
        at += read as u64;
    }
}

fn cut(path: &Path, offset: u64, bytes: u64, disk: &Disk) -> Result<TornTail, StoreError> {
    tracing::warn!(segment = %path.display(), offset, bytes, "cut an unacknowledged batch off the journal's end");
    let file = File::options().write(true).open(path).map_err(StoreError::io("open", path))?;
    disk.truncate(&file, path, offset).map_err(StoreError::io("cut the torn tail of", path))?;
    disk.sync_all(&file, path).map_err(StoreError::io("sync", path))?;
    Ok(TornTail { path: path.to_path_buf(), offset, bytes })
}
