//! What people write, as tokens: edited texts, and the lines of answers.
//!
//! Invariant: the same words give the same tokens every time; what does not fit the model's context is cut off.

use understudy_learning::reward::edited_id;
use understudy_learning::stages::{Finish, Rollout, TrunkStates, VersionSpan};
use understudy_model::ModelError;
use understudy_model::TextCodec;
use understudy_model::text::TextStream;

/// The tokenizer, and what bounds an answer.
#[derive(Clone)]
pub(crate) struct Wording {
    /// Text to tokens and back.
    pub(crate) text: TextCodec,
    /// The token that ends an answer.
    pub(crate) end: Option<i64>,
    /// Most tokens of prompt and answer together.
    pub(crate) longest: usize,
}

impl Wording {
    /// The edited text of the event at journal sequence `seq` as an answer to the same prompt as `original`; it ends by
    /// itself where it fits.
    pub(crate) fn edited(&self, seq: u64, original: &Rollout, text: &str) -> Result<Rollout, ModelError> {
        let mut tokens = self.text.encode(text, false)?;
        tokens.extend(self.end);
        let room = self.longest.saturating_sub(original.prompt.tokens.len()).max(1);
        let finish = if tokens.len() > room { Finish::Length } else { Finish::EndOfSequence };
        tokens.truncate(room);
        let count = tokens.len();
        Ok(Rollout {
            id: edited_id(seq),
            group: original.group,
            prompt: original.prompt.clone(),
            tokens,
            text: text.to_owned(),
            // Nobody sampled it: the reward model does not ask how likely it was.
            old_logprobs: vec![0.0; count],
            kept_mass: vec![1.0; count],
            version_spans: vec![VersionSpan { start: 0, version: 0 }],
            sampling: original.sampling.clone(),
            finish,
            trunk: TrunkStates::Absent,
        })
    }

    /// Tokens of the answer up to and with the end of each of its lines that is not blank: the token that holds the line
    /// break, or the answer's last one.
    pub(crate) fn lines(&self, answer: &Rollout) -> Vec<usize> {
        let mut stream = TextStream::new(self.text.clone());
        let (mut lines, mut is_blank) = (Vec::new(), true);
        for (at, token) in answer.tokens.iter().enumerate() {
            let piece = stream.push(*token);
            // A token may end one line and begin the next.
            let (before, after) = piece.rsplit_once('\n').map_or((piece.as_str(), None), |(b, a)| (b, Some(a)));
            is_blank &= before.trim().is_empty();
            if let Some(after) = after {
                if !is_blank {
                    lines.push(at + 1);
                }
                is_blank = after.trim().is_empty();
            }
        }
        if !is_blank {
            lines.push(answer.tokens.len());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{rollout, tiny_base};

    fn wording() -> Wording {
        let base = tiny_base(7);
        Wording { end: base.eos.first().copied(), text: base.text, longest: 20 }
    }

    #[test]
    fn an_edited_text_answers_the_same_prompt_and_ends_by_itself() {
        let (wording, original) = (wording(), rollout(3, 1));
        let edited = wording.edited(9, &original, "better").unwrap();
        assert_eq!((edited.id, &edited.prompt), (edited_id(9), &original.prompt));
        assert_eq!(edited.tokens.last().copied(), wording.end);
        assert_eq!(wording.text.decode(&edited.tokens[..edited.tokens.len() - 1]), "better");
        let long = wording.edited(9, &original, &"long ".repeat(99)).unwrap();
        assert_eq!((long.prompt.tokens.len() + long.tokens.len(), long.finish), (20, Finish::Length));
    }

    #[test]
    fn a_line_ends_with_its_break_and_the_last_with_the_answer() {
        let wording = wording();
        let lines = |text: &str| {
            let mut tokens = wording.text.encode(text, false).unwrap();
            tokens.extend(wording.end);
            let lines = wording.lines(&Rollout { tokens: tokens.clone(), ..rollout(1, 1) });
            lines.iter().map(|end| wording.text.decode(&tokens[..*end])).collect::<Vec<_>>()
        };
        assert_eq!(lines("one\ntwo"), ["one\n", "one\ntwo"]);
        assert_eq!(lines("one\n\n two\n"), ["one\n", "one\n\n two\n"], "blank lines are none");
        assert_eq!(lines(" \n"), Vec::<String>::new());
    }
}
