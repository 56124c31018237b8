//! Giving disk space back. Only records that no ring and no key window holds any more are dropped, only from complete
//! segments, and only after the replay store has been made durable; sequence numbers stay gapless from one segment to
//! the next, so that a lost file is still noticed.

use std::path::Path;

use super::frame::{BATCH_BYTES, HEADER_LEN, Header, encode_frame, peek};
use super::{Segment, Writer, read_from, start};
use crate::{Disk, StoreError};

/// A segment is rewritten when fewer than one in this many of its records are still wanted.
const SPARSE: u64 = 4;

impl Writer {
    /// Deletes the oldest segments that hold nothing wanted, and rewrites sparse ones without what is unwanted.
    /// `count` says how many records of a range are wanted, `wanted` whether one (sequence number, kind) is.
    /// Answers how many bytes came free.
    pub(crate) fn compact(
        &mut self,
        count: &dyn Fn(u64, u64) -> u64,
        wanted: &dyn Fn(u64, u8) -> bool,
    ) -> Result<u64, StoreError> {
        let unwanted = |segment: &&Segment| count(segment.first, segment.last) == 0;
        let gone = self.closed.iter().take_while(unwanted).count();
        let mut freed = 0;
        if let Some(newest_gone) = gone.checked_sub(1).map(|place| &self.closed[place]) {
            start::write(&self.dir, &self.disk, newest_gone.last + 1)?;
        }
        for _ in 0..gone {
            let oldest = &self.closed[0];
            self.disk.remove_file(&oldest.path).map_err(StoreError::io("remove", &oldest.path))?;
            freed += oldest.bytes;
            self.closed.remove(0);
        }
        for place in 0..self.closed.len() {
            let segment = &self.closed[place];
            if count(segment.first, segment.last) * SPARSE < segment.records {
                let rewritten = self.rewrite(segment, wanted)?;
                freed += segment.bytes.saturating_sub(rewritten.bytes);
                self.closed[place] = rewritten;
            }
        }
        if freed > 0 {
            self.disk.sync_dir(&self.dir).map_err(StoreError::io("sync the directory", &self.dir))?;
        }
        Ok(freed)
    }

    /// Puts a copy with only the wanted records in the segment's place: a crash leaves the old file or the new one.
    fn rewrite(&self, segment: &Segment, wanted: &dyn Fn(u64, u8) -> bool) -> Result<Segment, StoreError> {
        let mut out =
            Header { first: segment.first, compacted_last: Some(segment.last), salt: segment.salt }.encode().to_vec();
        debug_assert_eq!(out.len(), HEADER_LEN);
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let mut batch_bytes = 0;
        let mut records = 0;
        let mut flush = |batch: &mut Vec<Vec<u8>>| {
            if !batch.is_empty() {
                encode_frame(segment.salt, batch.iter().map(Vec::as_slice), &mut out);
                batch.clear();
            }
        };
        read_from(std::slice::from_ref(segment), segment.first, &mut |record| {
            let (seq, kind) = peek(record);
            if wanted(seq, kind) {
                batch.push(record.to_vec());
                batch_bytes += record.len();
                records += 1;
                if batch_bytes >= BATCH_BYTES {
                    flush(&mut batch);
                    batch_bytes = 0;
                }
            }
            Ok(())
        })?;
        flush(&mut batch);
        replace(&self.disk, &segment.path, &out)?;
        Ok(Segment { bytes: out.len() as u64, records, ..segment.clone() })
    }
}

/// Puts a file with these bytes in the place of `path` by one rename; the directory is not synced.
pub(super) fn replace(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let tmp = path.with_extension("tmp");
    if tmp.exists() {
        disk.remove_file(&tmp).map_err(StoreError::io("remove the leftover", &tmp))?;
    }
    let mut file = disk.create_file(&tmp).map_err(StoreError::io("create", &tmp))?;
    disk.write(&mut file, &tmp, bytes).map_err(StoreError::io("write", &tmp))?;
    disk.sync_all(&file, &tmp).map_err(StoreError::io("sync", &tmp))?;
    disk.rename(&tmp, path).map_err(StoreError::io("rename", &tmp))
}
