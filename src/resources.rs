//! What the process has used so far, as the kernel counts it.
//!
//! Invariant: read only when asked; where the kernel does not tell (not Linux), the figures are 0.

use std::path::Path;

use serde::Serialize;

/// Clock ticks a second in `/proc`: fixed at 100 on every Linux that has it.
const TICKS: f64 = 100.0;

/// Seconds of processor time of all threads together.
pub fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets that may hold spaces; user and system time are fields 14 and 15.
    let fields: Vec<&str> = text.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// Largest resident memory so far, in bytes.
pub fn peak_memory_bytes() -> u64 {
    status_kilobytes("VmHWM:") * 1024
}

/// Resident memory now, in bytes.
pub fn memory_bytes() -> u64 {
    status_kilobytes("VmRSS:") * 1024
}

fn status_kilobytes(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Threads that may run at once.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// The machine as the kernel describes it.
pub fn machine() -> Machine {
    let value = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let kilobytes = value("/proc/meminfo", "MemTotal").split(' ').next().and_then(|n| n.parse::<u64>().ok());
    Machine {
        processor: value("/proc/cpuinfo", "model name"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: kilobytes.unwrap_or(0) * 1024,
    }
}

/// The file that the loaded libtorch lies in, and the version that stands beside it.
pub fn libtorch() -> Option<(String, Option<String>)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path =
        maps.lines().find_map(|line| line.split_whitespace().nth(5).filter(|path| path.contains("libtorch_cpu")))?;
    let beside = Path::new(path).parent().and_then(Path::parent);
    let version = beside.and_then(|torch| std::fs::read_to_string(torch.join("version.py")).ok());
    let version = version.and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
        Some(line.trim_matches(['\'', '"']).to_owned())
    });
    Some((path.to_owned(), version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time_and_memory_is_never_nothing() {
        let before = cpu_seconds();
        let mut x = 1u64;
        // Some 30 ms of arithmetic in a debug build: three ticks.
        for i in 0..30_000_000u64 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
        }
        assert!(cpu_seconds() > before, "{x}");
        let now = memory_bytes();
        // The kernel adds its counts of several processors loosely: some 64 pages each.
        assert!(now > 1 << 20 && peak_memory_bytes() + (1 << 20) >= now);
    }
}
