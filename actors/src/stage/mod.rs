//! Who serves people: guarded promotion of new policies (`stage.mode = "guarded"`).
//!
//! Invariant: people are answered by the lead, and a share of them by one candidate; a version leads only after an update
//! has measured it within its KL budget and above its entropy floor, and after people did not find it worse, or somebody
//! said so. Training answers come from the newest version always. Without the mode nothing of this runs.

mod cast;
mod change;
mod config;
mod duels;
mod evidence;
mod files;
mod job;
mod machine;
#[cfg(test)]
mod machine_tests;
mod metric;
mod refusal;
#[cfg(test)]
mod tests;
mod view;

use crate::link::{Ask, Envelope};

pub use cast::{Cast, goes_to_candidate};
pub use change::{Change, Order, Reason};
pub use config::{Rules, StageConfig, StageMode};
pub use duels::{Duels, Finding};
pub use evidence::{Evidence, Side};
pub(crate) use files::StageFiles;
pub(crate) use job::StageParts;
pub use job::{StageActor, StageJob};
pub use machine::{Kept, Measured, Stage, Standing, Trial};
pub use metric::*;
pub use refusal::StageRefusal;
pub use view::{CandidateView, StageView, VersionView};

/// An order and where its outcome goes.
pub type StageRequest = Envelope<Ask<Order, Result<StageView, StageRefusal>>>;
