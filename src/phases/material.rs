//! From corpora to what is learned from and what is looked at.
//!
//! Invariant: which part a question belongs to is a function of its id; a question whose text stands among the held-out ones
//! too, or nearly (the same question on two sites), is not learned from, nor one that is held back for a judge. The same corpora give the same material in the same order, and
//! its memory is bounded by the numbers of questions asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use understudy_learning::stages::{Question, without_targets};

use crate::config::Config;
use crate::corpus::{self, Corpus, Post, Thread};
use crate::evaluation::scored::written;
use crate::failure::Failure;
use crate::preferences::duplicates::{Fingerprint, Index};
use crate::sources::{Split, split, title_only};
use crate::speaker::Speaker;

/// Threads to learn from and to look at, in an order that their ids decide.
#[derive(Debug, Default)]
pub struct Gathered {
    /// To learn from.
    pub train: Vec<Thread>,
    /// Never learned from.
    pub held_out: Vec<Thread>,
    /// Training questions left out because their text is held out elsewhere.
    pub doubles: usize,
}

/// The threads that `usable` accepts, at most `phases.questions` of part `learned` to learn from and `phases.held_out` to look
/// at, drawn by their ids.
pub fn gather(
    config: &Config,
    corpora: &[Corpus],
    learned: Split,
    usable: impl Fn(&Thread) -> bool,
) -> Result<Gathered, Failure> {
    let failed = |error: corpus::CorpusError| Failure::Failed(error.into());
    let part = |thread: &Thread| split::of(&thread.id, config.source.shares());
    let mut texts = Index::default();
    for corpus in corpora {
        for thread in corpus.threads().map_err(failed)? {
            let thread = thread.map_err(failed)?;
            // What others may not know, neither under another name: training is no secret.
            if ![learned, Split::Train].contains(&part(&thread)) {
                texts.add(fingerprint(&thread));
            }
        }
    }
    let mut gathered = Gathered::default();
    let (mut train, mut held_out) = (BTreeMap::new(), BTreeMap::new());
    for corpus in corpora {
        for thread in corpus.threads().map_err(failed)? {
            let thread = thread.map_err(failed)?;
            if !usable(&thread) {
                continue;
            }
            let (chosen, most) = match part(&thread) {
                Split::HeldOut => (&mut held_out, config.phases.held_out),
                part if part != learned => continue,
                _ if !texts.near(&fingerprint(&thread)).is_empty() => {
                    gathered.doubles += 1;
                    continue;
                }
                _ => (&mut train, config.phases.questions),
            };
            chosen.insert((split::drawn(&thread.id), thread.id.clone()), thread);
            if chosen.len() > most {
                chosen.pop_last();
            }
        }
    }
    gathered.train = train.into_values().collect();
    gathered.held_out = held_out.into_values().collect();
    let remedy = match learned {
        Split::HeldBack => "raise source.held_back, or bring in more",
        _ => "bring in more with 'understudy ingest'",
    };
    for (part, found, remedy) in [
        ("learn from", gathered.train.len(), remedy),
        ("hold out", gathered.held_out.len(), "raise source.held_out, or bring in more"),
    ] {
        if found == 0 {
            return Err(Failure::NotReady(format!("the corpora have no question to {part}; {remedy}")));
        }
    }
    Ok(gathered)
}

/// Of a question's words.
fn fingerprint(thread: &Thread) -> Fingerprint {
    Fingerprint::of(&format!("{} {}", thread.title, thread.question.text))
}

/// The answers to imitate: the accepted one first, then by score and age; none below the least score, none empty.
pub fn to_imitate<'a>(thread: &'a Thread, config: &Config) -> Vec<&'a Post> {
    let worth = |post: &&Post| post.score >= config.phases.min_score && !post.text.trim().is_empty();
    let mut posts: Vec<&Post> = thread.answers.iter().filter(worth).collect();
    posts.sort_by_key(|post| (thread.accepted != Some(post.id), std::cmp::Reverse(post.score), post.at, post.id));
    posts.truncate(config.phases.answers);
    posts
}

/// The question as it is put before the model: without its body where `source.bodies` says so.
pub fn asked(thread: &Thread, config: &Config) -> Question {
    if config.source.bodies { thread.question() } else { title_only(thread.question()) }
}

/// `[P]` tokens of the question's prompt, as the daemon asks it.
pub fn prompt(speaker: &Speaker, question: &Question, config: &Config) -> anyhow::Result<Vec<i64>> {
    let limit = config.generation.max_prompt.min(config.generation.max_context - config.generation.max_tokens);
    speaker.prompt(&config.generation.system, question, limit)
}

/// A written answer as it is learned and judged: without the addresses of its links, unless they are wanted.
pub fn as_read<'a>(text: &'a str, config: &Config) -> Cow<'a, str> {
    if config.phases.links { Cow::Borrowed(text) } else { without_targets(text) }
}

/// `[R]` tokens of a written answer, cut at `phases.max_tokens`, and whether it is whole.
pub fn answer(speaker: &Speaker, text: &str, config: &Config) -> anyhow::Result<(Vec<i64>, bool)> {
    written(speaker, &as_read(text, config), config.phases.max_tokens)
}

/// The places of an epoch's minibatches: neighbours in length together, so that little is padded, in an order that the seed
/// and the epoch decide. Windows of a few minibatches are drawn at random and sorted by length inside; the minibatches of
/// all windows are then shuffled.
pub fn epoch(lengths: &[usize], minibatch: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    use understudy_learning::rng::{Purpose, Stream};
    let mut stream = Stream::new(seed, Purpose::Shuffle, epoch);
    let order = stream.permutation(lengths.len());
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for window in order.chunks(minibatch * WINDOW) {
        let mut window = window.to_vec();
        window.sort_by_key(|place| (lengths[*place], *place));
        batches.extend(window.chunks(minibatch).map(<[usize]>::to_vec));
    }
    let shuffled = stream.permutation(batches.len());
    shuffled.into_iter().map(|place| std::mem::take(&mut batches[place])).collect()
}

/// Minibatches among whose examples those of like length are put together.
const WINDOW: usize = 8;
