//! The desk: candidates, gold, and who is asked what next.
//!
//! Invariant: at most `groups` candidates and [`MOST_GOLD`] gold items, the oldest leave first. Unrated candidates come
//! before rated ones, and of these the one whose rating is worth most; what somebody else is at work on comes last. Gold
//! looks like any other task. A rating that is taken back leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sha2::{Digest, Sha256};
use understudy_learning::rng::{Purpose, Stream};
use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind};

use super::group::{Group, MOST_SEEN};
use super::lease::Leases;
use super::said::Said;
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
    /// Milliseconds for which a task that was given to one annotator is given to nobody else; 0 is none.
    pub lease_ms: u64,
}

/// What became of a skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// No such answers are candidates or gold.
    Unknown,
    /// It was known.
    Again,
    /// It is known now.
    New,
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
    leases: Leases,
    said: Said,
}

impl Desk {
    /// A desk without candidates.
    pub fn new(rules: Rules) -> Self {
        Self { rules, groups: BTreeMap::new(), gold: VecDeque::new(), leases: Leases::default(), said: Said::default() }
    }

    /// Takes up an answer of `group`.
    pub fn answer(&mut self, group: AnswerId, answer: AnswerId) {
        self.groups.entry(group).or_default().answer(answer);
        while self.groups.len() > self.rules.groups
            && let Some((oldest, _)) = self.groups.pop_first()
        {
            self.leases.forget(oldest);
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

    /// Takes up a rating; see `Group::hear` for what comes back. What a pinned annotator said becomes gold. One that
    /// takes an earlier one back counts that out, as far as it is remembered.
    pub fn hear(&mut self, feedback: &Feedback) -> Option<f64> {
        let who = print(&feedback.annotator);
        if let FeedbackKind::Retract { feedback: earlier } = &feedback.kind {
            if let Some(earlier) = self.said.take_back(print(earlier), who) {
                self.take_back(who, &feedback.annotator, &earlier);
            }
            return None;
        }
        self.said.hear(print(&feedback.id), who, feedback);
        let answers = feedback.answers();
        let pinned = self.rules.pinned.contains(&feedback.annotator);
        if let Some(name) = task_of(feedback).filter(|_| pinned) {
            self.gold.retain(|gold| gold.name != name);
            self.gold.push_back(Gold { name, seen: BTreeSet::new() });
            if self.gold.len() > MOST_GOLD {
                self.gold.pop_front();
            }
        }
        self.see_gold(who, &answers);
        let mut agreement = None;
        for id in self.groups_of(&answers) {
            self.leases.release(id, who);
            let heard = self.groups.get_mut(&id).and_then(|group| group.hear(who, feedback));
            agreement = agreement.or(heard);
        }
        agreement
    }

    fn take_back(&mut self, who: u64, annotator: &str, earlier: &Feedback) {
        let name = task_of(earlier);
        if self.rules.pinned.contains(annotator) {
            self.gold.retain(|gold| Some(&gold.name) != name.as_ref());
        }
        self.gold.iter_mut().filter(|gold| Some(&gold.name) == name.as_ref()).for_each(|gold| {
            gold.seen.remove(&who);
        });
        for id in self.groups_of(&earlier.answers()) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.take_back(who, earlier);
            }
        }
    }

    /// Remembers that somebody does not want this task.
    pub fn skip(&mut self, annotator: &str, task: &TaskName) -> Skipped {
        self.skip_by(print(annotator), task)
    }

    /// The same with the annotator's print.
    pub fn skip_by(&mut self, who: u64, task: &TaskName) -> Skipped {
        let (mut known, mut new) = self.see_gold(who, &task.answers);
        for id in self.groups_of(&task.answers) {
            self.leases.release(id, who);
            known = true;
            new |= self.groups.get_mut(&id).is_some_and(|group| group.skip(who));
        }
        match (known, new) {
            (false, _) => Skipped::Unknown,
            (true, false) => Skipped::Again,
            (true, true) => Skipped::New,
        }
    }

    /// Forgets an answer that is no longer kept.
    pub fn lose(&mut self, answer: AnswerId) {
        self.gold.retain(|gold| !gold.name.answers.contains(&answer));
        if let Some(group) = self.group_of(answer) {
            group.lose(answer);
        }
    }

    /// What to ask this annotator next at `now_ms` of any clock that does not go back, of the wanted kind or of any;
    /// `None` when nothing is left. Until it is rated, skipped or the lease runs out, the same task comes again.
    pub fn next(&mut self, annotator: &str, wanted: Option<TaskKind>, now_ms: u64) -> Option<Task> {
        let who = print(annotator);
        self.leases.expire(now_ms);
        let least = wanted.map_or(1, TaskKind::least);
        let fits = |group: &Group| group.answers().len() >= least && !group.was_seen(who);
        let open: Vec<(AnswerId, &Group)> =
            self.groups.iter().filter(|(_, group)| fits(group)).map(|(id, group)| (*id, group)).collect();
        let waiting = open.len();
        let held = self.leases.of(who).filter(|(id, name)| {
            let whole = |group: &&Group| name.answers.iter().all(|answer| group.has(*answer));
            wanted.is_none_or(|kind| kind == name.kind) && self.groups.get(id).filter(whole).is_some_and(fits)
        });
        let (id, own) = match held {
            Some(held) => held,
            None => {
                let rank = |(id, group): (AnswerId, &Group)| (!self.leases.taken(id, who), !group.is_rated(), id);
                let ranked = open.into_iter().map(|candidate| (rank(candidate), candidate.1.worth(), candidate));
                let (_, _, (id, group)) = ranked.max_by(|a, b| {
                    let ((free, unrated, id), (other_free, other_unrated, other_id)) = (a.0, b.0);
                    let first = (free, unrated).cmp(&(other_free, other_unrated));
                    first.then(a.1.total_cmp(&b.1)).then(id.cmp(&other_id))
                })?;
                let (kind, answers) = self.ask_of(id, group, who, wanted)?;
                (id, TaskName { kind, answers })
            }
        };
        let name = match self.gold_for(annotator, wanted) {
            Some(gold) => gold.clone(),
            None => {
                self.leases.give(id, who, &own, now_ms.saturating_add(self.rules.lease_ms));
                own
            }
        };
        let order = self.stream(&format!("{who}/{name}")).permutation(name.answers.len());
        let answers = order.into_iter().map(|place| name.answers[place]).collect();
        Some(Task { kind: name.kind, answers, waiting })
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

    /// Somebody is done with these answers; whether any gold is of them, and whether that was new of any.
    fn see_gold(&mut self, who: u64, answers: &[AnswerId]) -> (bool, bool) {
        let (mut known, mut new) = (false, false);
        for gold in self.gold.iter_mut().filter(|gold| gold.name.answers.iter().any(|one| answers.contains(one))) {
            known = true;
            new |= gold.seen.len() < MOST_SEEN && gold.seen.insert(who);
        }
        (known, new)
    }

    /// The candidates that these answers are of, each once.
    fn groups_of(&self, answers: &[AnswerId]) -> BTreeSet<AnswerId> {
        let of = |answer: &AnswerId| {
            let (id, group) = self.groups.range(..=*answer).next_back()?;
            group.has(*answer).then_some(*id)
        };
        answers.iter().filter_map(of).collect()
    }

    fn group_of(&mut self, answer: AnswerId) -> Option<&mut Group> {
        let (_, group) = self.groups.range_mut(..=answer).next_back()?;
        if group.has(answer) { Some(group) } else { None }
    }

    fn stream(&self, index: &str) -> Stream {
        Stream::new(self.rules.seed, Purpose::Asking, print(index))
    }
}

#[cfg(test)]
impl Desk {
    pub(super) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(super) fn said(&self) -> &Said {
        &self.said
    }

    pub(super) fn group(&self, id: AnswerId) -> &Group {
        &self.groups[&id]
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
pub fn print(text: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&Sha256::digest(text)[..8]);
    u64::from_le_bytes(bytes)
}
