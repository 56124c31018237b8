//! The data plane: links between actors, each named for what it does when it is full.
//!
//! | link | when full |
//! |---|---|
//! | [`Port`] | refuses at the edge (`offer`), waits inside (`send`) |
//! | [`Latest`] | replaces what nobody took |
//! | [`Feed`] | forgets the subscriber's oldest and counts it |
//! | [`Pace`] | admits no further sample (a gate, not a queue) |
//!
//! Invariant: every queue has a bound that holds however often its handle is cloned, and belongs to the bus and not to
//! an actor, so it outlives any incarnation.

mod ask;
mod feed;
mod latest;
mod one_per_poll;
mod pace;
mod port;
mod pulse;
mod readers;

pub use ask::{Ask, AskError, Envelope, Reply, ask};
pub use feed::{Feed, Subscription};
pub use latest::{Changes, Latest};
pub use one_per_poll::{OnePerPoll, one_per_poll};
pub use pace::{Pace, PaceError, Ticket};
pub use port::{Closed, Inlet, Items, OfferError, Port};
pub use pulse::{Beat, Beats, Pulse};
