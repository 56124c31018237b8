//! Read-only mapping of weight files, and reading of the small texts beside them.
//!
//! Invariant: the only unsafe line of the crate is here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memmap2::Mmap;

use crate::error::ModelError;

/// The largest text file (tokenizer.json of a large vocabulary) that is read whole.
const MAX_TEXT: u64 = 256 << 20;

/// The bytes of a file, paged in as they are read.
#[expect(unsafe_code, reason = "mapping a file is unsafe: whoever truncates it meanwhile ends the process by SIGBUS")]
pub(crate) fn map(path: &Path) -> Result<Mmap, ModelError> {
    let file = File::open(path).map_err(ModelError::reading(path))?;
    // The mapping is private and read-only, and lives only while the weights are copied out of it.
    unsafe { Mmap::map(&file) }.map_err(ModelError::reading(path))
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    let file = File::open(path).map_err(ModelError::reading(path))?;
    let mut text = String::new();
    let length = file.take(MAX_TEXT + 1).read_to_string(&mut text).map_err(ModelError::reading(path))?;
    if length as u64 > MAX_TEXT {
        let reason = format!("it is longer than {MAX_TEXT} bytes");
        return Err(ModelError::malformed(path.display().to_string(), reason));
    }
    Ok(text)
}

/// The text of a file, or `None` if there is no such file.
pub(crate) fn read_text_if_there(path: &Path) -> Result<Option<String>, ModelError> {
    if path.exists() { read_text(path).map(Some) } else { Ok(None) }
}
