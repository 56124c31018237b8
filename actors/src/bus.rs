//! The Bus: one field a link. Reading this struct is reading the architecture.
//!
//! Invariant: every link has a bound and a word for full (`Port` refuses or waits, `Latest` replaces, `Feed` forgets and
//! counts); ports alone form no cycle, because the way back from learner to policy is a `Latest`. So no loop of blocking
//! links exists, and no deadlock by construction. Links outlive the actors at their ends.

use crate::checkpoint::CheckpointRequest;
use crate::feedback::FeedbackRequest;
use crate::link::{Envelope, Feed, Latest, Pace, Port};
use crate::messages::{AnsweredQuestion, LoopEvent, PromptRequest, RolloutGroup, ScoredGroup};
use crate::reward::JudgeRequest;
use crate::seams::{DurableFeedback, PolicySnapshot};
use crate::stage::{Cast, StageRequest};

/// Orders to the stage that may wait: people give them.
const ORDERS: usize = 4;

/// All links. Clones are the same links.
#[derive(Clone)]
pub struct Bus {
    /// Gateway → policy: requests that somebody waits for.
    pub chats: Port<Envelope<PromptRequest>>,
    /// Sources → policy: questions asked only to learn.
    pub prompts: Port<Envelope<PromptRequest>>,
    /// Policy → reward: durable answers, to be scored.
    pub rollouts: Port<RolloutGroup>,
    /// Reward → PPO: scored answers.
    pub scored: Port<ScoredGroup>,
    /// PPO → policy: the newest weights.
    pub snapshots: Latest<PolicySnapshot>,
    /// Stage → policy: who answers people; nothing is ever on it where every version serves at once.
    pub casts: Latest<Cast>,
    /// Gateway → reward: answers that somebody waits for, to be judged, with a reply.
    pub judgements: Port<JudgeRequest>,
    /// Gateway → stage: what somebody tells it to do, with a reply.
    pub orders: Port<StageRequest>,
    /// Policy → whoever rates: durable answers.
    pub answers: Feed<AnsweredQuestion>,
    /// Gateway and annotators → feedback: what people say, with a reply.
    pub feedback: Port<FeedbackRequest>,
    /// Feedback → reward: what people said, durable, in journal order.
    pub ratings: Port<DurableFeedback>,
    /// PPO and whoever asks → checkpoint.
    pub checkpoints: Port<CheckpointRequest>,
    /// Everybody → whoever watches.
    pub events: Feed<LoopEvent>,
    /// PPO → sources: how far ahead of the learner questions may be asked.
    pub pace: Pace,
}

/// How much each link holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capacities {
    /// Chat requests that wait for the policy; beyond it the asker is told to come back.
    pub chats: usize,
    /// Training requests that wait for the policy.
    pub prompts: usize,
    /// Groups that wait to be scored.
    pub rollouts: usize,
    /// Groups that wait for the learner.
    pub scored: usize,
    /// Events of feedback that wait for their check; beyond it the sender is told to come back.
    pub feedback: usize,
    /// Durable events that wait for the reward model.
    pub ratings: usize,
    /// Items that each watcher may be behind.
    pub watchers: usize,
}

impl Default for Capacities {
    fn default() -> Self {
        // Small on purpose: a long queue only hides staleness.
        Self { chats: 64, prompts: 8, rollouts: 16, scored: 16, feedback: 1024, ratings: 256, watchers: 1024 }
    }
}

/// One arrow of the architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrow {
    /// The link's name.
    pub link: &'static str,
    /// Who sends.
    pub from: &'static str,
    /// Who receives.
    pub to: &'static str,
    /// Whether a sender may have to wait for its receiver.
    pub blocks: bool,
}

impl Bus {
    /// Empty links; the learner takes `batch` samples an update and bears `max_staleness` updates.
    pub fn new(capacities: Capacities, batch: usize, max_staleness: u64) -> Self {
        Self {
            chats: Port::new("chats", capacities.chats),
            prompts: Port::new("prompts", capacities.prompts),
            rollouts: Port::new("rollouts", capacities.rollouts),
            scored: Port::new("scored", capacities.scored),
            snapshots: Latest::new("snapshots"),
            casts: Latest::new("casts"),
            judgements: Port::new("judgements", capacities.chats),
            orders: Port::new("orders", ORDERS),
            answers: Feed::new("answers", capacities.watchers),
            feedback: Port::new("feedback", capacities.feedback),
            ratings: Port::new("ratings", capacities.ratings),
            checkpoints: Port::new("checkpoints", 1),
            events: Feed::new("events", capacities.watchers),
            // Nothing is in flight when a daemon starts, whatever version it resumes at.
            pace: Pace::new(batch as u64, max_staleness, 0),
        }
    }

    /// The architecture as a graph. A test holds it against the fields.
    pub fn arrows(&self) -> Vec<Arrow> {
        let port = |link, from, to| Arrow { link, from, to, blocks: true };
        let free = |link, from, to| Arrow { link, from, to, blocks: false };
        vec![
            port(self.chats.name(), "gateway", "policy"),
            port(self.prompts.name(), "source", "policy"),
            port(self.rollouts.name(), "policy", "reward"),
            port(self.scored.name(), "reward", "ppo"),
            free(self.snapshots.name(), "ppo", "policy"),
            free(self.snapshots.name(), "ppo", "stage"),
            free(self.casts.name(), "stage", "policy"),
            port(self.orders.name(), "gateway", "stage"),
            port(self.judgements.name(), "gateway", "reward"),
            free(self.answers.name(), "policy", "annotator"),
            free(self.answers.name(), "policy", "gateway"),
            port(self.feedback.name(), "annotator", "feedback"),
            port(self.feedback.name(), "gateway", "feedback"),
            port(self.ratings.name(), "feedback", "reward"),
            port(self.checkpoints.name(), "ppo", "checkpoint"),
        ]
    }

    /// Depth and capacity of each port.
    pub fn depths(&self) -> Vec<(&'static str, usize, usize)> {
        fn depth<T>(port: &Port<T>) -> (&'static str, usize, usize) {
            (port.name(), port.len(), port.capacity())
        }
        vec![
            depth(&self.chats),
            depth(&self.prompts),
            depth(&self.rollouts),
            depth(&self.scored),
            depth(&self.feedback),
            depth(&self.ratings),
            depth(&self.checkpoints),
            depth(&self.orders),
            depth(&self.judgements),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Names in an order in which every arrow points forwards; `None` where there is a cycle.
    fn topological_order(arrows: &[Arrow]) -> Option<Vec<&'static str>> {
        let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for arrow in arrows {
            before.entry(arrow.from).or_default();
            before.entry(arrow.to).or_default().insert(arrow.from);
        }
        let mut order = Vec::new();
        while !before.is_empty() {
            let free = *before.iter().find(|(_, needs)| needs.is_empty())?.0;
            before.remove(free);
            before.values_mut().for_each(|needs| needs.retain(|need| *need != free));
            order.push(arrows.iter().flat_map(|a| [a.from, a.to]).find(|name| *name == free).unwrap());
        }
        Some(order)
    }

    fn leads(arrows: &[Arrow], from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::from([from]);
        while let Some(next) = arrows.iter().find(|arrow| seen.contains(arrow.from) && !seen.contains(arrow.to)) {
            seen.insert(next.to);
        }
        seen.contains(to)
    }

    #[test]
    fn links_that_block_form_no_cycle_and_the_learner_leads_back_over_the_snapshots_alone() {
        let all = Bus::new(Capacities::default(), 16, 4).arrows();
        let blocking: Vec<Arrow> = all.iter().copied().filter(|arrow| arrow.blocks).collect();
        let order = topological_order(&blocking).expect("ports form no cycle");
        let place = |name| order.iter().position(|other| *other == name).unwrap();
        assert!(place("policy") < place("reward") && place("reward") < place("ppo"));
        assert!(topological_order(&all).is_none() && leads(&all, "ppo", "policy"), "the loop closes");
        let without: Vec<Arrow> = all.into_iter().filter(|arrow| arrow.link != "snapshots").collect();
        assert!(!leads(&without, "ppo", "policy"), "and the learner reaches the policy by no other link");
    }

    #[test]
    fn the_graph_names_every_port_of_the_bus() {
        let bus = Bus::new(Capacities::default(), 16, 4);
        let drawn: BTreeSet<&str> = bus.arrows().iter().filter(|arrow| arrow.blocks).map(|arrow| arrow.link).collect();
        let ports: BTreeSet<&str> = bus.depths().iter().map(|(name, ..)| *name).collect();
        assert_eq!(drawn, ports);
    }
}
