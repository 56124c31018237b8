//! The desk: candidates, gold, and who is asked what next.
//!
//! Invariant: at most `groups` candidates and [`MOST_GOLD`] gold items, the oldest leave first. Unrated candidates come
//! before rated ones, and of these the one whose rating is worth most. Gold looks like any other task.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sha2::{Digest, Sha256};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

use super::group::{Group, MOST_SEEN};
use super::task::{Task, TaskKind, TaskName};

/// Most gold items.
pub const MOST_GOLD: usize = 512;
/// Most answers to be ranked at once: more is more than people hold in their heads.
const MOST_RANKED: usize = 6;

/// How the desk works. The default has no candidates and so no tasks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Of the random streams.
    pub seed: u64,
    /// Most candidates.
    pub groups: usize,
    /// Share of tasks whose answer is known, in `[0, 1]`.
    pub gold_share: f64,
    /// Annotators whose ratings are the known answers.
    pub pinned: BTreeSet<String>,
}

/// A task that a pinned annotator answered.
#[derive(Debug, Clone, PartialEq)]
struct Gold {
    name: TaskName,
    seen: BTreeSet<u64>,
}

/// Chooses tasks.
#[derive(Debug, Clone)]
pub struct Desk {
    rules: Rules,
    /// By the id of the first answer; a group's answers have consecutive ids.
    groups: BTreeMap<AnswerId, Group>,
    gold: VecDeque<Gold>,
}

impl Desk {
    /// A desk without candidates.
    pub fn new(rules: Rules) -> Self {
        Self { rules, groups: BTreeMap::new(), gold: VecDeque::new() }
    }

    /// Takes up an answer of `group`.
    pub fn answer(&mut self, group: AnswerId, answer: AnswerId) {
        self.groups.entry(group).or_default().answer(answer);
        while self.groups.len() > self.rules.groups {
            self.groups.pop_first();
        }
    }

    /// Takes up scores of answers with their standard errors.
    pub fn score(&mut self, scores: &[(AnswerId, f64, f64)]) {
        for &(answer, score, std) in scores {
            if let Some(group) = self.group_of(answer) {
                group.score(answer, score, std);
            }
        }
    }

    /// Takes up a rating; see `Group::hear` for what comes back. What a pinned annotator said becomes gold.
    pub fn hear(&mut self, feedback: &Feedback) -> Option<f64> {
        let (annotator, answers) = (print(&feedback.annotator), feedback.answers());
        let pinned = self.rules.pinned.contains(&feedback.annotator);
        if let Some(name) = task_of(feedback).filter(|_| pinned) {
            self.gold.retain(|gold| gold.name != name);
            self.gold.push_back(Gold { name, seen: BTreeSet::new() });
            if self.gold.len() > MOST_GOLD {
                self.gold.pop_front();
            }
        }
        self.see(annotator, &answers);
        let first = *answers.first()?;
        self.group_of(first)?.hear(feedback)
    }

    /// Remembers that somebody does not want this task; `false` where no such answers are candidates or gold.
    pub fn skip(&mut self, annotator: &str, task: &TaskName) -> bool {
        self.see(print(annotator), &task.answers)
    }

    /// Forgets an answer that is no longer kept.
    pub fn lose(&mut self, answer: AnswerId) {
        self.gold.retain(|gold| !gold.name.answers.contains(&answer));
        if let Some(group) = self.group_of(answer) {
            group.lose(answer);
        }
    }

    /// What to ask this annotator next, of the wanted kind or of any; `None` when nothing is left. Asking changes
    /// nothing: until it is rated or skipped, the same task comes again unless a better one has come up.
    pub fn next(&self, annotator: &str, wanted: Option<TaskKind>) -> Option<Task> {
        let who = print(annotator);
        let least = wanted.map_or(1, TaskKind::least);
        let fits = |group: &Group| group.answers().len() >= least && !group.was_seen(who);
        let open: Vec<(AnswerId, &Group)> =
            self.groups.iter().filter(|(_, group)| fits(group)).map(|(id, group)| (*id, group)).collect();
        let waiting = open.len();
        let worth = |(id, group): (AnswerId, &Group)| (!group.is_rated(), group.worth(), id);
        let best = open.into_iter().map(|candidate| (worth(candidate), candidate)).max_by(|a, b| {
            let ((unrated, worth, id), (other_unrated, other_worth, other_id)) = (a.0, b.0);
            unrated.cmp(&other_unrated).then(worth.total_cmp(&other_worth)).then(id.cmp(&other_id))
        });
        let (_, (id, group)) = best?;
        let (kind, answers) = match self.gold_for(annotator, wanted) {
            Some(gold) => (gold.kind, gold.answers.clone()),
            None => self.ask_of(id, group, who, wanted)?,
        };
        let name = TaskName { kind, answers };
        let order = self.stream(&format!("{who}/{name}")).permutation(name.answers.len());
        Some(Task { kind, answers: order.into_iter().map(|place| name.answers[place]).collect(), waiting })
    }

    /// How a candidate is asked: the kind and the answers in the order of their ids.
    fn ask_of(
        &self,
        id: AnswerId,
        group: &Group,
        who: u64,
        wanted: Option<TaskKind>,
    ) -> Option<(TaskKind, Vec<AnswerId>)> {
        let mut stream = self.stream(&format!("{who}/{id}"));
        let drawn = match (group.answers().len(), stream.uniform()) {
            (1, draw) if draw < 0.7 => TaskKind::Stars,
            (1, _) => TaskKind::Thumb,
            (2, _) => TaskKind::Pair,
            (_, draw) if draw < 0.5 => TaskKind::Pair,
            _ => TaskKind::Ranking,
        };
        let kind = wanted.unwrap_or(drawn);
        let answers = match kind {
            TaskKind::Stars | TaskKind::Thumb => vec![group.least_sure()?],
            TaskKind::Pair => group.closest_pair().map(|(a, b)| vec![a, b])?,
            TaskKind::Ranking => {
                let all: Vec<AnswerId> = group.answers().collect();
                let mut chosen: Vec<AnswerId> =
                    stream.permutation(all.len()).into_iter().take(MOST_RANKED).map(|place| all[place]).collect();
                chosen.sort_unstable();
                chosen
            }
        };
        Some((kind, answers))
    }

    /// A task whose answer is known, for the configured share of an annotator's tasks.
    fn gold_for(&self, annotator: &str, wanted: Option<TaskKind>) -> Option<&TaskName> {
        let who = print(annotator);
        if self.rules.gold_share <= 0.0 || self.rules.pinned.contains(annotator) {
            return None;
        }
        let done = self.groups.values().filter(|group| group.was_seen(who)).count()
            + self.gold.iter().filter(|gold| gold.seen.contains(&who)).count();
        let mut stream = self.stream(&format!("{who}/gold/{done}"));
        if stream.uniform() >= self.rules.gold_share {
            return None;
        }
        let fits = |gold: &&Gold| wanted.is_none_or(|kind| kind == gold.name.kind) && !gold.seen.contains(&who);
        let open: Vec<&Gold> = self.gold.iter().filter(fits).collect();
        (!open.is_empty()).then(|| &open[stream.below(open.len())].name)
    }

    fn see(&mut self, annotator: u64, answers: &[AnswerId]) -> bool {
        let mut known = false;
        for answer in answers {
            if let Some(group) = self.group_of(*answer) {
                group.see(annotator);
                known = true;
            }
        }
        for gold in self.gold.iter_mut().filter(|gold| gold.name.answers.iter().any(|one| answers.contains(one))) {
            if gold.seen.len() < MOST_SEEN {
                gold.seen.insert(annotator);
            }
            known = true;
        }
        known
    }

    fn group_of(&mut self, answer: AnswerId) -> Option<&mut Group> {
        let (_, group) = self.groups.range_mut(..=answer).next_back()?;
        if group.has(answer) { Some(group) } else { None }
    }

    fn stream(&self, index: &str) -> Stream {
        Stream::new(self.rules.seed, Purpose::Asking, print(index))
    }
}

/// The task that an event answers, where it is one of a task's kinds.
fn task_of(feedback: &Feedback) -> Option<TaskName> {
    let kind = match feedback.kind {
        FeedbackKind::Stars { .. } => TaskKind::Stars,
        FeedbackKind::Thumb { .. } => TaskKind::Thumb,
        FeedbackKind::Pair { .. } => TaskKind::Pair,
        FeedbackKind::Ranking { .. } => TaskKind::Ranking,
        _ => return None,
    };
    let mut answers = feedback.answers();
    answers.sort_unstable();
    Some(TaskName { kind, answers })
}

/// The first 8 bytes of the SHA-256: the same everywhere and always, and nobody can choose a name that meets another's.
fn print(text: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&Sha256::digest(text)[..8]);
    u64::from_le_bytes(bytes)
}
