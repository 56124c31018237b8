//! SIGINT and SIGTERM for a program that computes on its main thread.
//!
//! Invariant: the first signal only sets a flag, which is looked at between units of work; the second ends the process at
//! once, whatever it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Failure;

/// Whether the end was asked for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Hears the process's signals from now on, on a thread of its own.
    pub fn on_signals() -> std::io::Result<Self> {
        let stop = Self::default();
        let heard = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let listen = async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => (),
                    _ = terminate.recv() => (),
                }
                if heard.asked() {
                    let sentence = "told twice: left at once; the same command goes on from the last checkpoint";
                    eprintln!("understudy: {sentence}");
                    let failure = Failure::Ended { code: 130, sentence: sentence.to_owned() };
                    failure.leave_threads_behind();
                    std::process::exit(130);
                }
                heard.ask();
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(listen))?;
        Ok(stop)
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
