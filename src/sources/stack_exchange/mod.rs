//! Stack Exchange dumps: local files, folders and archives, streamed.
//!
//! Invariant: nothing here talks to a network; whatever is left out is counted under the rule that left it out.

pub mod api;
mod archive;
mod assemble;
mod bounded;
pub mod clause;
pub(crate) mod date;
pub mod dump;
mod events;
mod gather;
pub mod html;
pub mod ingest;
#[cfg(test)]
mod ingest_tests;
mod row;
mod rows;
mod site;
mod tables;
#[cfg(test)]
mod tests;

pub use dump::{DropRule, Drops, Posts};
pub use events::{Answer, Event, EventKind, Events, events_of_file};
pub use row::{Owner, Post, PostKind};
pub use site::Site;
