//! What happens when an actor fails.
//!
//! Invariant: an actor that panics, fails or hangs is noticed, told about once, and either started anew from committed
//! state or given up for good; never silently gone. A new incarnation is built by its factory, on the same place, and
//! takes nothing from the dead one's memory; what was queued for it lies in the bus.
//!
//! actix itself does not do this: a panic ends the actor's task and nothing else, `Supervisor` does not restart after it,
//! and `stopped()` runs on the torn state (so never save anything there).

mod exit;
mod in_hand;
mod lifeline;
mod progress;
mod quarantine;
mod restart;
mod supervise;
mod supervisor;

pub use exit::{Crash, Exit, Verdict};
pub use in_hand::{Held, Hold, InHand};
pub use lifeline::Lifeline;
pub use progress::{Busy, Progress, Unit};
pub use quarantine::Quarantine;
pub use restart::{Decision, RestartPolicy, Restarts};
pub use supervise::{Supervised, Supervision};
