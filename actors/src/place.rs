//! Where an actor runs: on the caller's own system, or on a thread of its own.
//!
//! Invariant: a compute actor owns its thread, so its handler may block in libtorch without keeping a neighbour waiting;
//! the thread carries the actor's name, outlives any incarnation, and is joined at shutdown. In tests every actor is
//! `Inline`, so that simulated time governs all of them.

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use actix_rt::{ArbiterHandle, System};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::ActorError;
use crate::locked::locked;

/// Where an actor's incarnations run.
#[derive(Debug, Clone)]
pub enum Place {
    /// On the system of whoever starts it.
    Inline,
    /// On one named thread.
    Dedicated(Thread),
}

/// A named thread with an actix system, so an arbiter, of its own.
#[derive(Debug, Clone)]
pub struct Thread {
    name: &'static str,
    system: System,
    arbiter: ArbiterHandle,
    ended: watch::Receiver<()>,
    join: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Place {
    /// Starts a thread named `name` (the first 15 bytes show in `top -H`) and runs `first` on it before anything else:
    /// the place for `tch::set_num_threads(1)`.
    pub fn dedicated(name: &'static str, first: impl FnOnce() + Send + 'static) -> Result<Self, ActorError> {
        let (started, system) = mpsc::sync_channel(1);
        let (alive, ended) = watch::channel(());
        let body = move || {
            let _alive = alive; // dropped as the last thing: tells that the thread has ended
            let runner = System::new();
            first();
            if started.send(System::current()).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(place = name, %error, "the thread's event loop failed");
            }
        };
        let failed = |cause: String| ActorError::Thread { name, cause };
        let join = std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| failed(e.to_string()))?;
        let system: System = system.recv().map_err(|_| failed("it ended before its event loop began".to_owned()))?;
        let arbiter = system.arbiter().clone();
        Ok(Self::Dedicated(Thread { name, system, arbiter, ended, join: Arc::new(Mutex::new(Some(join))) }))
    }

    /// Runs `task` on the place, soon. `false` when its thread is gone. `Inline` needs a running local system.
    pub fn run(&self, task: impl FnOnce() + Send + 'static) -> bool {
        match self {
            Self::Inline => {
                actix_rt::spawn(async move { task() });
                true
            }
            Self::Dedicated(thread) => thread.arbiter.spawn_fn(task),
        }
    }

    /// Ends the thread and joins it; what still runs on it is dropped there, between two polls. Nothing for `Inline`.
    pub async fn stop(&self, by: Instant) -> Result<(), ActorError> {
        let Self::Dedicated(thread) = self else { return Ok(()) };
        let asked = Instant::now();
        thread.system.stop();
        let mut ended = thread.ended.clone();
        let end = async { while ended.changed().await.is_ok() {} };
        if tokio::time::timeout_at(by, end).await.is_err() {
            return Err(ActorError::ThreadKeptOn { name: thread.name, waited: asked.elapsed() });
        }
        let join = locked(&thread.join).take();
        if let Some(join) = join
            && join.join().is_err()
        {
            tracing::error!(place = thread.name, "the thread panicked outside of any actor");
        }
        Ok(())
    }

    /// `inline`, or the thread's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Dedicated(thread) => thread.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_dedicated_place_runs_under_its_name_and_is_joined() {
        let (tell, told) = mpsc::sync_channel(2);
        let name = move || std::thread::current().name().unwrap_or_default().to_owned();
        let place = Place::dedicated("scorer", {
            let tell = tell.clone();
            move || tell.send(format!("first on {}", name())).unwrap()
        })
        .unwrap();
        let (done, ran) = tokio::sync::oneshot::channel();
        assert!(place.run(move || {
            tell.send(format!("then on {}", name())).unwrap();
            done.send(()).unwrap();
        }));
        ran.await.unwrap();
        assert_eq!(told.iter().take(2).collect::<Vec<_>>(), ["first on scorer", "then on scorer"]);
        place.stop(Instant::now() + Duration::from_secs(20)).await.unwrap();
        assert!(told.recv().is_err(), "all that lived on the thread is dropped");
        assert!(!place.run(|| ()), "a stopped place takes nothing");
    }
}
