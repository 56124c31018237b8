//! Frozen layers' states of the answers, computed once and kept in a file.
//!
//! Invariant: a record is found by a hash of what it was computed from; a torn last record is cut off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

/// What is kept of one answer.
#[derive(Clone)]
pub(crate) struct Kept {
    /// `[L, D]` states at the split point.
    pub(crate) states: Arc<Vec<f32>>,
    /// What an untrained head reads.
    pub(crate) features: Arc<Vec<f32>>,
}

/// Records in a file, all of them in memory too.
pub(crate) struct Cache {
    file: Option<File>,
    kept: HashMap<u64, Kept>,
}

impl Cache {
    /// Opens or makes the file; without one everything stays in memory.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, kept: HashMap::new() }) };
        let failed = || format!("the cache {}", path.display());
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).with_context(failed)?;
        let mut kept = HashMap::new();
        let mut whole = 0u64;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        while let Some((key, record, bytes)) = read(&mut reader)? {
            kept.insert(key, record);
            whole += bytes;
        }
        file.set_len(whole).with_context(failed)?;
        file.seek(SeekFrom::End(0)).with_context(failed)?;
        Ok(Self { file: Some(file), kept })
    }

    pub(crate) fn get(&self, key: u64) -> Option<&Kept> {
        self.kept.get(&key)
    }

    pub(crate) fn put(&mut self, key: u64, kept: Kept) -> Result<()> {
        if let Some(file) = &mut self.file {
            let mut bytes = Vec::with_capacity(16 + 4 * (kept.states.len() + kept.features.len()));
            bytes.extend(key.to_le_bytes());
            bytes.extend((kept.states.len() as u32).to_le_bytes());
            bytes.extend((kept.features.len() as u32).to_le_bytes());
            kept.states.iter().chain(kept.features.iter()).for_each(|value| bytes.extend(value.to_le_bytes()));
            file.write_all(&bytes)?;
        }
        self.kept.insert(key, kept);
        Ok(())
    }
}

/// One record, or nothing at the end of the file or within a torn record.
fn read(reader: &mut impl Read) -> Result<Option<(u64, Kept, u64)>> {
    let mut head = [0u8; 16];
    if reader.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let key = u64::from_le_bytes(head[..8].try_into()?);
    let count = |from: usize| -> Result<usize> { Ok(u32::from_le_bytes(head[from..from + 4].try_into()?) as usize) };
    let (states, features) = (count(8)?, count(12)?);
    ensure!(states < 1 << 26 && features < 1 << 20, "the cache is damaged; delete it");
    let mut bytes = vec![0u8; 4 * (states + features)];
    if reader.read_exact(&mut bytes).is_err() {
        return Ok(None);
    }
    let mut values: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    let features = values.split_off(states);
    Ok(Some((key, Kept { states: Arc::new(values), features: Arc::new(features) }, 16 + bytes.len() as u64)))
}
