//! What the remembered events of one question say of its answers' qualities.
//!
//! Invariant: figures are a function of the remembered events and the usual within variance, of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::comparisons::{Win, bradley_terry};
use super::config::OpennessConfig;
use super::event::{Heard, Said};
use super::moments::{moments, within_squares};
use super::spike_slab::{LogLikelihood, log_bayes_factor, log_likelihood};
use super::vote_entropy;
use crate::stages::AnswerId;

/// Added to each answer's votes before their entropy is taken.
const VOTE_ALPHA: f64 = 0.5;

/// What the estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Stars, scores and thumbs.
    Grades,
    /// Pairs and rankings among linked answers.
    Comparisons,
}

/// Figures of one question's evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Events remembered.
    pub events: usize,
    /// People who gave them.
    pub raters: usize,
    /// Answers that were graded.
    pub graded: usize,
    /// Mean number of grades and thumbs a graded answer.
    pub ratings_per_answer: f64,
    /// Answers in the largest group that comparisons link.
    pub linked: usize,
    /// Mean number of comparisons that a linked answer was in.
    pub comparisons_per_answer: f64,
    /// What the estimate rests on; `None` where fewer answers than needed were graded or linked.
    pub basis: Option<Basis>,
    /// Whether that is enough to decide without the gate.
    pub enough: bool,
    /// Share of the greatest possible variance, from grades.
    pub rho: Option<f64>,
    /// Variance of the grades of one answer, shrunken.
    pub within: Option<f64>,
    /// log of the Bayes factor of two levels against evenly spread.
    pub log_bayes_factor: Option<f64>,
    /// Normalised entropy of the votes.
    pub vote_entropy: Option<f64>,
    /// Share of compared pairs that were ties.
    pub tie_rate: Option<f64>,
    /// log p(ratings | p) on the grid; `None` without a basis.
    #[serde(skip)]
    pub(super) likelihood: Option<LogLikelihood>,
}

impl Figures {
    /// How much the evidence weighs in the gate's learning, in `[0, 1)`: r / (r + 1) for r ratings an answer.
    pub(super) fn weight(&self) -> f64 {
        let ratings = match self.basis {
            Some(Basis::Grades) => self.ratings_per_answer,
            Some(Basis::Comparisons) => self.comparisons_per_answer,
            None => return 0.0,
        };
        ratings / (ratings + 1.0)
    }
}

/// All grades of each answer: on a scale, and thumbs up and down.
#[derive(Default)]
struct Grades {
    values: Vec<f64>,
    up: f64,
    down: f64,
}

impl Grades {
    fn count(&self) -> f64 {
        self.values.len() as f64 + self.up + self.down
    }

    /// Mean quality and its variance: grades vary by `within`; thumbs are draws from the quality, of which Beta(1, 1) is
    /// the prior; both are joined by their precisions.
    fn estimate(&self, within: f64) -> (f64, f64) {
        let (mut precision, mut sum) = (0.0, 0.0);
        if !self.values.is_empty() {
            let n = self.values.len() as f64;
            precision += n / within;
            sum += self.values.iter().sum::<f64>() / within;
        }
        let thumbs = self.up + self.down;
        if thumbs > 0.0 {
            let mean = (self.up + 1.0) / (thumbs + 2.0);
            let of_thumbs = (thumbs + 3.0) / (mean * (1.0 - mean));
            precision += of_thumbs;
            sum += of_thumbs * mean;
        }
        (sum / precision, 1.0 / precision)
    }
}

fn grades<'a>(events: impl Iterator<Item = &'a Heard>) -> BTreeMap<AnswerId, Grades> {
    let mut grades: BTreeMap<AnswerId, Grades> = BTreeMap::new();
    for event in events {
        match &event.said {
            Said::Grade { answer, value } => grades.entry(*answer).or_default().values.push(*value),
            Said::Thumb { answer, up: true } => grades.entry(*answer).or_default().up += 1.0,
            Said::Thumb { answer, up: false } => grades.entry(*answer).or_default().down += 1.0,
            Said::Order { .. } => {}
        }
    }
    grades
}

/// Sum of squares within answers and its degrees of freedom: a question's share in the usual within variance.
pub(super) fn squares<'a>(events: impl Iterator<Item = &'a Heard>) -> (f64, usize) {
    within_squares(&grades(events).into_values().map(|grades| grades.values).collect::<Vec<_>>())
}

/// All comparisons: wins by answer id, how many pairs were compared and tied, and what is voted for.
#[derive(Default)]
struct Compared {
    wins: Vec<(AnswerId, AnswerId, f64)>,
    named: BTreeMap<AnswerId, f64>,
    pairs: f64,
    ties: f64,
}

fn compared<'a>(events: impl Iterator<Item = &'a Heard>) -> Compared {
    let mut all = Compared::default();
    for event in events {
        let Said::Order { levels, weight } = &event.said else { continue };
        levels.iter().flatten().for_each(|answer| *all.named.entry(*answer).or_default() += 1.0);
        for (place, level) in levels.iter().enumerate() {
            for (index, one) in level.iter().enumerate() {
                for equal in &level[index + 1..] {
                    all.wins.push((*one, *equal, weight / 2.0));
                    all.wins.push((*equal, *one, weight / 2.0));
                    all.pairs += 1.0;
                    all.ties += 1.0;
                }
                for worse in levels[place + 1..].iter().flatten() {
                    all.wins.push((*one, *worse, *weight));
                    all.pairs += 1.0;
                }
            }
        }
    }
    all
}

/// Answers of the largest set linked by comparisons, in order of id.
fn largest_group(compared: &Compared) -> Vec<AnswerId> {
    let mut label: BTreeMap<AnswerId, AnswerId> = compared.named.keys().map(|id| (*id, *id)).collect();
    for (better, worse, _) in &compared.wins {
        let (to, from) = (label[better], label[worse]);
        if to != from {
            label.values_mut().filter(|label| **label == from).for_each(|label| *label = to);
        }
    }
    let mut groups: BTreeMap<AnswerId, Vec<AnswerId>> = BTreeMap::new();
    label.into_iter().for_each(|(answer, label)| groups.entry(label).or_default().push(answer));
    groups.into_values().rev().max_by_key(Vec::len).unwrap_or_default()
}

/// Votes: thumbs up, wins of pairs, and being in a ranking's best level (shared by its equals).
fn votes<'a>(events: impl Iterator<Item = &'a Heard>) -> Vec<f64> {
    let mut votes: BTreeMap<AnswerId, f64> = BTreeMap::new();
    for event in events {
        match &event.said {
            Said::Thumb { answer, up } => *votes.entry(*answer).or_default() += f64::from(u8::from(*up)),
            Said::Order { levels, .. } => {
                levels.iter().flatten().for_each(|answer| {
                    votes.entry(*answer).or_default();
                });
                let best = &levels[0];
                best.iter().for_each(|answer| *votes.entry(*answer).or_default() += 1.0 / best.len() as f64);
            }
            Said::Grade { .. } => {}
        }
    }
    votes.into_values().collect()
}

/// The figures of `events`, with `usual` the within variance of grades elsewhere.
pub(super) fn figures(events: &[&Heard], usual: f64, config: &OpennessConfig) -> Figures {
    let all = || events.iter().copied();
    let grades = grades(all());
    let scores: Vec<Vec<f64>> = grades.values().map(|grades| grades.values.clone()).collect();
    let found = moments(&scores, (usual, config.within_weight));
    let graded = grades.len();
    let ratings_per_answer = per(grades.values().map(Grades::count).sum(), graded);
    let compared = compared(all());
    let group = largest_group(&compared);
    let comparisons_per_answer = per(group.iter().map(|answer| compared.named[answer]).sum(), group.len());
    let basis = match (graded >= config.answers, group.len() >= config.answers) {
        (true, true) if comparisons_per_answer > ratings_per_answer => Some(Basis::Comparisons),
        (true, _) => Some(Basis::Grades),
        (false, true) => Some(Basis::Comparisons),
        (false, false) => None,
    };
    let likelihood = basis.map(|basis| {
        let (means, variances): (Vec<f64>, Vec<f64>) = match basis {
            Basis::Grades => {
                let within = found.map_or(usual, |found| found.within_shrunk);
                grades.values().map(|grades| grades.estimate(within)).unzip()
            }
            Basis::Comparisons => {
                let place = |answer: &AnswerId| group.binary_search(answer).ok();
                let wins = compared.wins.iter().filter_map(|(better, worse, weight)| {
                    Some(Win { better: place(better)?, worse: place(worse)?, weight: *weight })
                });
                bradley_terry(group.len(), &wins.collect::<Vec<_>>())
            }
        };
        log_likelihood(&means, &variances)
    });
    let votes = votes(all());
    Figures {
        events: events.len(),
        raters: all().map(|event| event.annotator.as_str()).collect::<BTreeSet<_>>().len(),
        graded,
        ratings_per_answer,
        linked: group.len(),
        comparisons_per_answer,
        basis,
        enough: group.len() >= config.answers
            || (graded >= config.answers && ratings_per_answer >= config.ratings_per_answer),
        rho: found.map(|found| found.rho),
        within: found.map(|found| found.within_shrunk),
        log_bayes_factor: likelihood.as_ref().map(log_bayes_factor),
        vote_entropy: (votes.len() >= 2).then(|| vote_entropy(&votes, VOTE_ALPHA)),
        tie_rate: (compared.pairs > 0.0).then(|| compared.ties / compared.pairs),
        likelihood,
    }
}

fn per(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(said: Vec<Said>) -> Vec<Heard> {
        let of = |(seq, said): (usize, Said)| Heard {
            seq: seq as u64,
            id: format!("f{seq}"),
            annotator: format!("a{}", seq % 2),
            said,
            before: super::super::event::Record::NONE,
        };
        said.into_iter().enumerate().map(of).collect()
    }

    fn grade(answer: AnswerId, value: f64) -> Said {
        Said::Grade { answer, value }
    }

    fn order(levels: &[&[AnswerId]]) -> Said {
        Said::Order { levels: levels.iter().map(|level| level.to_vec()).collect(), weight: 1.0 }
    }

    fn found(said: Vec<Said>) -> Figures {
        let events = heard(said);
        figures(&events.iter().collect::<Vec<_>>(), 0.03, &OpennessConfig::default())
    }

    #[test]
    fn the_quality_of_an_answer_by_grades_by_thumbs_and_by_both() {
        let near = |(mean, variance): (f64, f64), wanted: (f64, f64)| {
            assert!((mean - wanted.0).abs() < 1e-15 && (variance - wanted.1).abs() < 1e-15, "{mean} {variance}");
        };
        let grades = Grades { values: vec![0.2, 0.4], ..Default::default() };
        near(grades.estimate(0.1), (0.3, 0.05));
        // Beta(4, 2): mean 2/3, variance 2/9 / 7.
        let thumbs = Grades { up: 3.0, down: 1.0, ..Default::default() };
        near(thumbs.estimate(0.1), (2.0 / 3.0, 2.0 / 63.0));
        let both = Grades { values: vec![0.2, 0.4], ..thumbs };
        near(both.estimate(0.1), ((0.3 * 20.0 + 31.5 * 2.0 / 3.0) / 51.5, 1.0 / 51.5));
    }

    #[test]
    fn equals_are_half_a_win_each_way_and_share_a_vote() {
        let events = heard(vec![
            Said::Thumb { answer: 1, up: true },
            Said::Thumb { answer: 4, up: false },
            order(&[&[1, 2], &[3]]),
        ]);
        let all = compared(events.iter());
        assert_eq!(all.wins, [(1, 2, 0.5), (2, 1, 0.5), (1, 3, 1.0), (2, 3, 1.0)]);
        assert_eq!((all.pairs, all.ties), (3.0, 1.0));
        assert_eq!(votes(events.iter()), [1.5, 0.5, 0.0, 0.0]);
        assert_eq!(largest_group(&all), [1, 2, 3]);
    }

    #[test]
    fn what_there_is_more_of_decides_and_only_where_there_is_enough() {
        let round = |value: f64| (1..=4).map(|answer| grade(answer, value)).collect::<Vec<_>>();
        let few = found(round(0.5));
        assert_eq!((few.basis, few.enough, few.weight()), (Some(Basis::Grades), false, 0.5), "one rating an answer");
        let two = found([round(0.25), round(0.75)].concat());
        assert!(two.enough && (two.weight() - 2.0 / 3.0).abs() < 1e-15, "{two:?}");
        assert_eq!((two.events, two.raters, two.graded, two.linked), (8, 2, 4, 0));
        let ranked = order(&[&[1], &[2], &[3], &[4]]);
        let more_ranked = found([round(0.5), vec![ranked.clone(), ranked.clone()]].concat());
        assert_eq!((more_ranked.basis, more_ranked.enough), (Some(Basis::Comparisons), true));
        let more_graded = found([round(0.25), round(0.75), vec![ranked]].concat());
        assert_eq!(more_graded.basis, Some(Basis::Grades));
        assert_eq!(found(vec![grade(1, 0.5), order(&[&[2], &[3]])]).basis, None);
    }
}
