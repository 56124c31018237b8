//! What a service manager is told: ready, alive, reading its configuration again, stopping (sd_notify(3)).
//!
//! Invariant: telling never waits and never fails the program; without `NOTIFY_SOCKET` nothing is sent.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The way to the service manager, if there is one. Clones are the same way.
#[derive(Debug, Clone, Default)]
pub struct Service {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Service {
    /// That of this process's environment.
    pub fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let watchdog = period(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match open(&name) {
            Ok(way) => Self { to: Some(Arc::new(way)), watchdog },
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used; the service manager is told nothing");
                Self::default()
            }
        }
    }

    /// Sends an assignment such as `READY=1`; several stand on a line each.
    pub fn tell(&self, what: &str) {
        let Some(way) = &self.to else { return };
        if let Err(error) = way.0.send_to_addr(what.as_bytes(), &way.1) {
            tracing::debug!(%error, what, "the service manager was not told");
        }
    }

    /// Says again and again that the program is alive, where that is wanted; never ends.
    pub async fn stay_alive(self) {
        let Some(period) = self.watchdog else { return std::future::pending().await };
        let mut beats = tokio::time::interval(period);
        loop {
            beats.tick().await;
            self.tell("WATCHDOG=1");
        }
    }
}

fn open(name: &OsStr) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Half of what the service manager waits at most (in microseconds), where it is this process that it watches.
fn period(usec: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec: u64 = usec.filter(|_| is_ours)?.parse().ok()?;
    (usec > 1).then(|| Duration::from_micros(usec / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_patience_is_the_period_and_another_process_is_not_spoken_for() {
        let period = |usec: &str, pid: Option<&str>| period(Some(usec.to_owned()), pid.map(str::to_owned), 7);
        assert_eq!(period("60000000", None), Some(Duration::from_secs(30)));
        assert_eq!(period("60000000", Some("7")), Some(Duration::from_secs(30)));
        for (usec, pid) in [("60000000", Some("8")), ("60000000", Some("x")), ("0", None), ("soon", None)] {
            assert_eq!(period(usec, pid), None, "{usec} {pid:?}");
        }
    }

    #[test]
    fn an_abstract_name_and_a_path_are_both_reached_and_nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let name = format!("understudy-test-{}", std::process::id());
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, listener) in [(path.into_os_string(), &listener), (format!("@{name}").into(), &hidden)] {
            let service = Service { to: Some(Arc::new(open(&socket).unwrap())), watchdog: None };
            service.tell("READY=1\nSTATUS=well");
            let mut heard = [0; 100];
            let length = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1\nSTATUS=well");
            // Nobody reads: what does not fit is left out instead of waited for.
            (0..10_000).for_each(|_| service.tell("WATCHDOG=1"));
        }
        Service::default().tell("READY=1");
    }
}
