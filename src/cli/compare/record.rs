//! The report: every run, and what they come to.
//!
//! Invariant: written whole after each run. Started again with the same settings, a report goes on; with others it is
//! refused, so that no report mixes two experiments.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use understudy_checkpoints::whole::replace_file;
use understudy_learning::gold::QuestionType;

use super::super::Failure;
use super::arms::Arm;
use super::figures::Figures;
use super::people::{Fingerprint, Usual, sha256};
use super::summary::{self, Row};
use crate::config::Config;

/// Of the report.
const FORMAT: u32 = 1;

/// Which questions a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    /// Graded ones.
    Open,
    /// Right or wrong.
    Closed,
    /// Both.
    All,
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::Open, Self::Closed, Self::All];

    pub(super) fn holds(self, kind: QuestionType) -> bool {
        match self {
            Self::All => true,
            Self::Open => kind == QuestionType::Open,
            Self::Closed => kind == QuestionType::Closed,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::All => "all",
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) arm: Arm,
    /// Policy updates seen.
    pub(super) updates: u64,
    /// Of the last checkpoint.
    pub(super) policy_version: u64,
    /// Of the last checkpoint.
    pub(super) reward_version: u64,
    /// Training answers.
    pub(super) answers: u64,
    /// Ratings.
    pub(super) ratings: u64,
    /// Recent share of choices that the reward model foretold.
    pub(super) foretold: Option<f64>,
    /// Wall time of the loop.
    pub(super) seconds: f64,
    /// Mean quality of the training answers before each update and after the one before it; `null` without any.
    pub(super) curve: Vec<Option<f64>>,
    /// On the held-out questions.
    pub(super) figures: BTreeMap<Group, Figures>,
}

impl Run {
    /// For whoever waits.
    pub(super) fn line(&self) -> String {
        let gain = |group: Group| self.figures.get(&group).map_or(0.0, |figures| figures.gain);
        format!(
            "seed {}, {}: {} updates and {} ratings in {:.0} s, gain {:+.3} open, {:+.3} closed",
            self.seed,
            self.arm.name(),
            self.updates,
            self.ratings,
            self.seconds,
            gain(Group::Open),
            gain(Group::Closed)
        )
    }
}

/// Everything that was done and found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    format: u32,
    /// SHA-256 of `plan`.
    plan_id: String,
    /// Arms, seeds, length, model, held-out questions and configuration.
    pub(super) plan: Json,
    /// The people's scale.
    pub(super) usual: Option<Usual>,
    /// Who rated what, by seed.
    pub(super) met: Vec<Fingerprint>,
    /// In the order in which they were done.
    pub(super) runs: Vec<Run>,
    /// What they come to, made anew at each writing.
    #[serde(default)]
    summary: Vec<Row>,
}

/// The configuration without what names places and seeds: two reports of the same experiment have the same.
pub(super) fn without_places(config: &Config) -> Result<Json, Failure> {
    let mut json = serde_json::to_value(config).map_err(anyhow::Error::from)?;
    if let Some(object) = json.as_object_mut() {
        for section in ["data", "seed", "log", "http"] {
            object.remove(section);
        }
    }
    if let Some(model) = json["model"].as_object_mut() {
        model.remove("path");
    }
    Ok(json)
}

impl Report {
    /// The report at `path` where there is one with this plan, else an empty one.
    pub(super) fn begin(plan: Json, path: Option<&Path>) -> Result<Self, Failure> {
        let plan_id = sha256(&plan.to_string());
        let fresh =
            Self { format: FORMAT, plan_id, plan, usual: None, met: Vec::new(), runs: Vec::new(), summary: Vec::new() };
        let Some(path) = path.filter(|path| path.exists()) else { return Ok(fresh) };
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the report '{shown}'"))?;
        let found = serde_json::from_str::<Self>(&text);
        match found {
            Ok(found) if found.format == FORMAT && found.plan_id == fresh.plan_id => Ok(found),
            _ => Err(Failure::Usage(format!(
                "'{shown}' is no report of a comparison with these settings; name another --out, or remove it"
            ))),
        }
    }

    /// Whether this run was done.
    pub(super) fn has(&self, seed: u64, arm: Arm) -> bool {
        self.runs.iter().any(|run| run.seed == seed && run.arm == arm)
    }

    /// Notes a seed's people and questions.
    pub(super) fn meet(&mut self, met: Fingerprint) -> Result<(), Failure> {
        match self.met.iter().find(|known| known.seed == met.seed) {
            None => self.met.push(met),
            Some(known) if *known == met => {}
            Some(_) => {
                return Err(Failure::Usage(format!(
                    "the people or questions of seed {} are others than when the report was begun; name another --out",
                    met.seed
                )));
            }
        }
        Ok(())
    }

    /// Adds a run.
    pub(super) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Writes it whole, or not at all; nowhere without a path.
    pub(super) fn write(&self, path: Option<&Path>) -> Result<(), Failure> {
        let Some(path) = path else { return Ok(()) };
        let shown = path.display();
        replace_file(path, self.to_json()?.as_bytes())
            .with_context(|| format!("cannot write the report to '{shown}'; name another --out"))?;
        Ok(())
    }

    /// As JSON, with the summary of what there is.
    pub(super) fn to_json(&self) -> Result<String, Failure> {
        let whole = Self { summary: summary::rows(self), ..self.clone() };
        Ok(serde_json::to_string_pretty(&whole).map_err(anyhow::Error::from)?)
    }

    /// The arms that were run, in their order.
    pub(super) fn arms(&self) -> Vec<Arm> {
        Arm::ALL.into_iter().filter(|arm| self.runs.iter().any(|run| run.arm == *arm)).collect()
    }
}
