//! The daemon that is measured: a process of its own on loopback with data of its own.
//!
//! Invariant: dropped, it is ended, and what it wrote is gone.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::Global;

/// Longest time that a daemon may take to be ready: a large model is read from disk.
const READY: Duration = Duration::from_secs(300);

/// A folder that is gone when this is.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A fresh one.
    pub(super) fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("understudy-bench-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running daemon.
pub(super) struct Daemon {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Daemon {
    /// Starts one with the settings of `global` and then `more`, which win, and waits until it is ready.
    pub(super) fn start(global: &Global, data: &Path, more: &[String]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--data-dir").arg(data).args(["--bind", "127.0.0.1:0"]);
        if let Some(file) = &global.config {
            command.arg("--config").arg(file);
        }
        if let Some(model) = &global.model {
            command.arg("--model").arg(model);
        }
        let own = ["log.format=json", "log.filter=info", "http.tokens_always=false", "http.tokens_for_reads=false"];
        for set in global.set.iter().map(String::as_str).chain(own).chain(more.iter().map(String::as_str)) {
            command.args(["--set", set]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = BufReader::new(child.stderr.take().context("its log is piped")?);
        let (told, ready) = mpsc::sync_channel(1);
        // Reads to the end, so that the daemon never waits for a full pipe.
        std::thread::spawn(move || {
            let mut last = String::new();
            for line in log.lines().map_while(Result::ok) {
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                let address = entry["address"].as_str().filter(|_| entry["message"] == "ready");
                if let Some(address) = address.and_then(|address| address.parse().ok()) {
                    let _ = told.try_send(Ok(address));
                }
                last = line;
            }
            let _ = told.try_send(Err(last));
        });
        // From here on it is ended when something fails.
        let mut daemon = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        match ready.recv_timeout(READY) {
            Ok(Ok(address)) => daemon.address = address,
            Ok(Err(last)) => bail!("the daemon did not start: {last}"),
            Err(_) => bail!("the daemon was not ready within {} s", READY.as_secs()),
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
