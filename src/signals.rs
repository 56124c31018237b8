//! SIGINT and SIGTERM for a program that computes or waits on its main thread.
//!
//! Invariant: the first signal only rings a bell, which is looked at between units of work; what a second one does is up to
//! who asked.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::bell::Bell;

/// A bell that the process's signals ring from now on, heard on a thread of its own; `again` is done at each one after the first.
pub fn bell(again: impl Fn() + Send + 'static) -> io::Result<Bell> {
    let bell = Bell::default();
    let rings = bell.clone();
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
            if rings.is_rung() {
                again();
            }
            rings.ring();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(listen))?;
    Ok(bell)
}
