//! SIGTERM, SIGINT and SIGHUP as something to await.
//!
//! Invariant: all that are listened to mean the same: end in order; the second of any of them means: end at once. No signal is
//! lost between two awaits, because they are counted.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The signals since `listen`.
#[derive(Debug, Clone)]
pub struct Signals(watch::Receiver<(u64, &'static str)>);

impl Signals {
    /// From now on the signals are counted and do nothing else; SIGHUP is one of them unless `hangup_ends` is false. Needs a
    /// running system.
    pub fn listen(hangup_ends: bool) -> io::Result<Self> {
        let (tell, told) = watch::channel((0, ""));
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        actix_rt::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv(), if hangup_ends => "SIGHUP",
                };
                tell.send_modify(|(count, last)| (*count, *last) = (*count + 1, name));
            }
        });
        Ok(Self(told))
    }

    /// Waits for the n-th signal (from 1) and tells the last one's name.
    pub async fn nth(&self, n: u64) -> &'static str {
        let mut told = self.0.clone();
        let reached = told.wait_for(|(count, _)| *count >= n).await.map(|told| told.1);
        match reached {
            Ok(name) => name,
            Err(_gone) => std::future::pending().await, // the system that listened has ended
        }
    }
}
