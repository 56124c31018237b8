//! What the system says of a process: memory, open files, threads.
//!
//! Invariant: only reads `/proc`; a process that is gone gives nothing.

use std::fs;

/// One look at a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Resident memory in MB (10^6 bytes).
    pub(crate) resident: f64,
    /// Open file descriptors.
    pub(crate) files: usize,
    /// Threads.
    pub(crate) threads: usize,
}

/// Looks at a process.
pub(crate) fn look(process: u32) -> Option<Look> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let figure = |name: &str| -> Option<usize> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let files = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
    // The kernel's "kB" are 1024 bytes.
    Some(Look { resident: figure("VmRSS:")? as f64 * 1024.0 / 1e6, files, threads: figure("Threads:")? })
}

/// Names of the threads that are on a processor, wait for one, or wait for the disk.
pub(crate) fn at_work(process: u32) -> Vec<String> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let busy = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        let (name, rest) = (stat.split_once('(')?.1).rsplit_once(')')?;
        rest.trim_start().starts_with(['R', 'D']).then(|| name.to_owned())
    };
    threads.flatten().filter_map(busy).collect()
}
