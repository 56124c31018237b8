//! What is thought of answers: the reward model's newest score, and which ratings speak of them.
//!
//! Invariant: bounded by [`MOST_SCORES`] answers and [`MOST_RATINGS`] ratings, the oldest leave first; a rating that was
//! taken back is not counted. Ratings are known by their place in the journal, where their words are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use understudy_learning::stages::{AnswerId, Feedback, FeedbackKind, RewardVersion};

/// Most answers whose score is kept.
pub const MOST_SCORES: usize = 8192;
/// Most ratings that are known by the answers they speak of.
pub const MOST_RATINGS: usize = 16_384;

/// What the reward model said of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Normalised: mean 0, variance 1 over the reference answers.
    pub score: f64,
    /// Standard error of the score, 0 where it is not known.
    pub std: f64,
    /// The reward model that said so.
    pub version: RewardVersion,
}

#[derive(Debug, Clone)]
struct Heard {
    seq: u64,
    id: u64,
    answers: Vec<AnswerId>,
}

/// Scores and ratings by answer.
#[derive(Debug, Clone, Default)]
pub struct Opinions {
    scores: BTreeMap<AnswerId, Score>,
    /// Whether there are scores since the last [`Opinions::changed`].
    scored: bool,
    ratings: HashMap<AnswerId, Vec<u64>>,
    heard: VecDeque<Heard>,
    /// By a hash of the client's id.
    by_id: HashMap<u64, u64>,
}

impl Opinions {
    /// Takes up scores of `version`.
    pub fn score(&mut self, scores: &[(AnswerId, f64, f64)], version: RewardVersion) {
        self.scored |= !scores.is_empty();
        for &(answer, score, std) in scores {
            self.scores.insert(answer, Score { score, std, version });
        }
        while self.scores.len() > MOST_SCORES {
            self.scores.pop_first();
        }
    }

    /// Takes up the event in journal record `seq`; `false` for one that was heard before. Events come in the order of
    /// the journal.
    pub fn hear(&mut self, seq: u64, feedback: &Feedback) -> bool {
        if self.heard.back().is_some_and(|newest| newest.seq >= seq) {
            return false;
        }
        if let FeedbackKind::Retract { feedback } = &feedback.kind {
            if let Some(place) = self.by_id.remove(&hash(feedback)).and_then(|seq| self.place(seq)) {
                let taken_back = std::mem::take(&mut self.heard[place].answers);
                self.forget(self.heard[place].seq, &taken_back);
            }
            return true;
        }
        let (id, answers) = (hash(&feedback.id), feedback.answers());
        answers.iter().for_each(|answer| self.ratings.entry(*answer).or_default().push(seq));
        self.by_id.insert(id, seq);
        self.heard.push_back(Heard { seq, id, answers });
        if self.heard.len() > MOST_RATINGS
            && let Some(Heard { seq, id, answers }) = self.heard.pop_front()
        {
            self.forget(seq, &answers);
            if self.by_id.get(&id) == Some(&seq) {
                self.by_id.remove(&id);
            }
        }
        true
    }

    /// The newest score of an answer.
    pub fn score_of(&self, answer: AnswerId) -> Option<Score> {
        self.scores.get(&answer).copied()
    }

    /// All scores, by answer, where there are new ones since the last call.
    pub fn changed(&mut self) -> Option<Vec<(AnswerId, Score)>> {
        let scored = std::mem::take(&mut self.scored);
        scored.then(|| self.scores.iter().map(|(answer, score)| (*answer, *score)).collect())
    }

    /// Journal sequences of the ratings that speak of an answer, oldest first.
    pub fn ratings_of(&self, answer: AnswerId) -> &[u64] {
        self.ratings.get(&answer).map_or(&[], Vec::as_slice)
    }

    fn place(&self, seq: u64) -> Option<usize> {
        self.heard.binary_search_by_key(&seq, |heard| heard.seq).ok()
    }

    fn forget(&mut self, seq: u64, answers: &[AnswerId]) {
        for answer in answers {
            if let Some(ratings) = self.ratings.get_mut(answer) {
                ratings.retain(|rating| *rating != seq);
                if ratings.is_empty() {
                    self.ratings.remove(answer);
                }
            }
        }
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: &str, kind: FeedbackKind) -> Feedback {
        Feedback { id: id.into(), annotator: "ana".into(), at: 0, kind, why: None }
    }

    fn pair(id: &str, better: AnswerId, worse: AnswerId) -> Feedback {
        said(id, FeedbackKind::Pair { better, worse, strength: 1.0 })
    }

    #[test]
    fn a_rating_counts_once_for_each_of_its_answers_until_it_is_taken_back() {
        let mut opinions = Opinions::default();
        assert!(opinions.hear(5, &pair("a", 1, 2)));
        assert!(!opinions.hear(5, &pair("a", 1, 2)), "heard from the store and from the feed");
        assert!(opinions.hear(7, &pair("b", 2, 3)));
        assert_eq!(
            (opinions.ratings_of(1), opinions.ratings_of(2), opinions.ratings_of(9)),
            (&[5][..], &[5, 7][..], &[][..])
        );
        let retract = |id: &str| said("r", FeedbackKind::Retract { feedback: id.into() });
        opinions.hear(8, &retract("a"));
        opinions.hear(9, &retract("never given"));
        assert_eq!((opinions.ratings_of(1), opinions.ratings_of(2)), (&[][..], &[7][..]));
    }

    #[test]
    fn both_memories_are_bounded_and_the_oldest_leaves_first() {
        let mut opinions = Opinions::default();
        for seq in 1..=MOST_RATINGS as u64 + 10 {
            opinions.hear(seq, &pair(&seq.to_string(), 2 * seq, 2 * seq + 1));
            opinions.score(&[(seq, 0.5, 0.1)], 3);
        }
        assert_eq!((opinions.heard.len(), opinions.by_id.len()), (MOST_RATINGS, MOST_RATINGS));
        assert_eq!((opinions.ratings.len(), opinions.scores.len()), (2 * MOST_RATINGS, MOST_SCORES));
        assert!(opinions.ratings_of(20).is_empty() && opinions.ratings_of(22) == [11]);
        let newest = MOST_RATINGS as u64 + 10;
        assert_eq!(opinions.score_of(newest), Some(Score { score: 0.5, std: 0.1, version: 3 }));
        assert_eq!(opinions.score_of(newest - MOST_SCORES as u64), None);
    }
}
