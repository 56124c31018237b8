//! `understudy replay`: a corpus as the stream of events that it once was, as JSON lines.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::{Failure, Global, Outcome};
use crate::bell::Bell;
use crate::corpus::{self, Corpus, Moment};
use crate::signals;
use crate::sources::stack_exchange::date;

/// Flags of `replay`.
#[derive(Debug, Args)]
#[command(
    after_help = "One event a line in time order: asked, answered, commented, voted (to the day, as dumps tell them) and accepted, each
with its source and terms, posts with author, link and licence. Ctrl-C ends it after a whole line.

Examples:
  understudy replay beer > events.jsonl
  understudy replay beer --speed 86400                     a day a second
  understudy replay beer --from 2015-01-01 --to 2016-01-01 | jq -c 'select(.event==\"asked\") | .question.title'"
)]
pub struct Flags {
    /// The corpus, as 'understudy corpora list' names it
    source: String,
    /// Its seconds to one of ours; 0 is all at once
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    speed: f64,
    /// First moment, such as 2024-01-31 or 2024-01-31T12:00:00 (UTC)
    #[arg(long, value_name = "DATE", value_parser = moment)]
    from: Option<i64>,
    /// First moment that is no longer told
    #[arg(long, value_name = "DATE", value_parser = moment)]
    to: Option<i64>,
}

fn moment(text: &str) -> Result<i64, String> {
    date::parse(text).ok_or_else(|| "give a date such as 2024-01-31 or 2024-01-31T12:00:00".to_owned())
}

/// Runs `understudy replay`.
pub(super) fn run(global: &Global, flags: &Flags) -> Outcome {
    let config = global.load()?.config;
    crate::telemetry::start_logs(&config.log);
    if !(flags.speed.is_finite() && flags.speed >= 0.0) {
        return Err(Failure::Usage(format!("--speed is {}; give 0 (all at once) or more", flags.speed)));
    }
    corpus::check_name(&flags.source).map_err(Failure::Usage)?;
    let folder = config.data.dir.join(corpus::FOLDER).join(&flags.source);
    let corpus = Corpus::open(&folder).map_err(|error| Failure::Failed(error.into()))?;
    let end = signals::bell(|| std::process::exit(130))?;
    let replay = corpus.replay().map_err(|error| Failure::Failed(error.into()))?;
    let replay = replay.between(flags.from.unwrap_or(i64::MIN), flags.to.unwrap_or(i64::MAX));
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match tell(replay, flags.speed, out, &end) {
        // Who reads has read enough.
        Err(Told::Out(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(Told::Out(error)) => Err(error.into()),
        Err(Told::Corpus(error)) => Err(Failure::Failed(error.into())),
        Ok(()) => Ok(()),
    }
}

enum Told {
    Out(io::Error),
    Corpus(corpus::CorpusError),
}

/// Writes the events, each at its moment, until the bell rings.
fn tell(
    replay: impl Iterator<Item = Result<Moment, corpus::CorpusError>>,
    speed: f64,
    mut out: impl Write,
    end: &Bell,
) -> Result<(), Told> {
    let start = Instant::now();
    let mut first = None;
    for moment in replay {
        let moment = moment.map_err(Told::Corpus)?;
        let since = (moment.at - *first.get_or_insert(moment.at)) as f64 / 1000.0;
        let left = if speed > 0.0 { since / speed - start.elapsed().as_secs_f64() } else { 0.0 };
        if left > 0.0 {
            // What is due is seen before the next wait. A century is as good as for ever.
            out.flush().map_err(Told::Out)?;
            end.wait(Duration::from_secs_f64(left.min(3.2e9)));
        }
        if end.is_rung() {
            break;
        }
        let line = serde_json::to_vec(&moment).expect("plain values");
        out.write_all(&line).and_then(|()| out.write_all(b"\n")).map_err(Told::Out)?;
    }
    out.flush().map_err(Told::Out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{VoteKind, What};

    fn votes(days: &[i64]) -> Vec<Result<Moment, corpus::CorpusError>> {
        let vote = |day: &i64| Moment {
            at: day * 86_400_000,
            source: "s".into(),
            terms: "own".into(),
            thread: "s/1".into(),
            what: What::Voted { post: 1, vote: VoteKind::Up },
        };
        days.iter().map(|day| Ok(vote(day))).collect()
    }

    #[test]
    fn events_are_lines_in_their_order_and_at_their_distance() {
        let mut out = Vec::new();
        let start = Instant::now();
        // Three days at 86,400,000 times real time are 3 ms.
        assert!(tell(votes(&[5, 5, 8]).into_iter(), 86_400_000.0, &mut out, &Bell::default()).is_ok());
        assert!(start.elapsed() >= Duration::from_millis(3));
        let lines: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[2],
            r#"{"at":691200000,"source":"s","terms":"own","thread":"s/1","event":"voted","post":1,"vote":"up"}"#
        );
    }

    #[test]
    fn an_interrupt_ends_it_after_a_whole_line_also_while_it_waits() {
        let (mut out, end) = (Vec::new(), Bell::default());
        end.ring();
        assert!(tell(votes(&[5, 6]).into_iter(), 1.0, &mut out, &end).is_ok());
        assert!(out.is_empty());
        let end = Bell::default();
        let rings = end.clone();
        // Rung by the reader of the first line, who knows that a wait of a day comes next.
        struct Reader(Vec<u8>, Bell);
        impl Write for Reader {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                self.1.ring();
                Ok(())
            }
        }
        let mut reader = Reader(Vec::new(), rings);
        assert!(tell(votes(&[5, 6]).into_iter(), 1.0, &mut reader, &end).is_ok());
        assert!(reader.0.ends_with(b"}\n") && reader.0.iter().filter(|byte| **byte == b'\n').count() == 1);
    }
}
