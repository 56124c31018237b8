//! Stack Exchange dumps: local `Posts.xml` files only, streamed.
//!
//! Invariant: nothing here talks to a network; whatever is left out is counted under the rule that left it out.

mod bounded;
pub(crate) mod date;
pub mod dump;
mod events;
pub mod html;
mod row;
#[cfg(test)]
mod tests;

pub use dump::{DropRule, Drops, Posts};
pub use events::{Answer, Event, EventKind, Events, Site, events_of_file};
pub use row::{Owner, Post, PostKind};
