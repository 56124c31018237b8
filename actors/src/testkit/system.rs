//! An actix system whose clock stands still unless all wait.
//!
//! Invariant: simulated time moves only when no task can run; so a day of timers takes milliseconds and orders of events
//! repeat exactly.

use std::future::Future;
use std::time::Duration;

/// Runs a test on an actix system of its own, under simulated time, on this thread.
pub fn simulated<F: Future>(test: F) -> F::Output {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing that could be missing")
    };
    actix_rt::System::with_tokio_rt(runtime).block_on(test)
}

/// Lets everything run until all wait, and simulated time move by a millisecond.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Runs a test on an actix system of its own, in real time, on this thread: where other threads (the committer's, or
/// actors' own) take part, simulated time would run ahead of them.
pub fn running<F: Future>(test: F) -> F::Output {
    tch::set_num_threads(1);
    actix_rt::System::new().block_on(test)
}
