//! Plain values for tests: questions, answers, groups, feedback.

use std::sync::Arc;

use understudy_learning::reward::RewardExample;
use understudy_learning::stages::{
    AnswerId, Feedback, FeedbackKind, Finish, Prompt, Question, Rollout, Sampling, ScoredRollout, TrunkStates,
    VersionSpan,
};

use crate::link::{Pace, Ticket};
use crate::messages::ScoredGroup;

/// A question with this id.
pub fn question(id: &str) -> Question {
    Question {
        id: id.to_owned(),
        source: "test".to_owned(),
        title: format!("Question {id}"),
        body: String::new(),
        tags: Vec::new(),
        author: None,
        url: None,
        licence: None,
        asked_at: 0,
        closedness: Some(0.5),
        terms: None,
    }
}

/// Two tokens of answer `id` in `group`, to the question named after the group.
pub fn rollout(id: AnswerId, group: AnswerId) -> Rollout {
    let question = Arc::new(question(&format!("q{group}")));
    Rollout {
        id,
        group,
        prompt: Prompt { question, tokens: vec![1, 2, 3] },
        tokens: vec![4, 5],
        text: format!("answer {id}"),
        old_logprobs: vec![-1.0, -1.5],
        kept_mass: vec![1.0, 1.0],
        version_spans: vec![VersionSpan { start: 0, version: 0 }],
        sampling: sampling(2),
        finish: Finish::Length,
        trunk: TrunkStates::Absent,
    }
}

/// Temperature 1, nothing cut away.
pub fn sampling(max_tokens: usize) -> Sampling {
    Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, max_tokens, seed: 0 }
}

/// A ticket for `samples` of a pace of its own.
pub fn ticket(samples: usize) -> Ticket {
    Pace::new(samples as u64, 0, 0).try_admit(samples as u64).expect("a fresh pace has room for one batch")
}

/// `size` scored answers with ids from `first` on.
pub fn scored_group(first: AnswerId, size: usize) -> ScoredGroup {
    let ids = first..first + size as u64;
    let rollouts =
        ids.map(|id| ScoredRollout { rollout: rollout(id, first), score: 0.0, reward_std: 0.0, reward_version: 0 });
    ScoredGroup { rollouts: rollouts.collect(), ticket: ticket(size) }
}

/// Four stars.
pub fn stars(id: &str, answer: AnswerId) -> Feedback {
    Feedback {
        id: id.to_owned(),
        annotator: "ana".to_owned(),
        at: 0,
        kind: FeedbackKind::Stars { answer, stars: 4 },
        why: None,
    }
}

/// The event `f<seq>` at journal sequence `seq`, on answer `seq`.
pub fn reward_example(seq: u64) -> RewardExample {
    let feedback = stars(&format!("f{seq}"), seq);
    RewardExample { seq, answers: vec![rollout(seq, seq)], feedback, closedness: 0.5, lines: Vec::new() }
}
