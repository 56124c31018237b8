//! Replays a Stack Exchange dump as events in time order: the built-in sample, or the `Posts.xml` given as an argument.
//!
//! ```text
//! cargo run --example stack_exchange_stream -- path/to/Posts.xml beer.stackexchange.com
//! ```

use std::io::{BufRead, Seek};
use std::path::Path;

use understudy::sources::sample;
use understudy::sources::stack_exchange::{EventKind, Events, Site, events_of_file};

/// Events to print from the beginning.
const SHOWN: usize = 12;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(path) => {
            let site = Site::new(&arguments.next().unwrap_or_default(), Path::new(&path));
            replay(events_of_file(Path::new(&path), site)?)
        }
        None => replay(sample::events()?),
    }
}

fn replay<R: BufRead + Seek>(events: Events<R>) -> anyhow::Result<()> {
    let drops: Vec<String> = events.drops().iter().map(|(rule, count)| format!("{count} {}", rule.name())).collect();
    println!(
        "{} events; left out: {}",
        events.remaining(),
        if drops.is_empty() { "nothing".into() } else { drops.join(", ") }
    );
    let (mut asked, mut answered) = (0, 0);
    for (number, event) in events.enumerate() {
        let event = event?;
        // Milliseconds since 1970 as days and hours: enough to see the order.
        let (day, hour) = (event.at / 86_400_000, event.at / 3_600_000 % 24);
        let (line, author, licence) = match event.kind {
            EventKind::Asked(question) => {
                asked += 1;
                let how = match question.closedness {
                    Some(p) if p < 0.5 => "open-ended",
                    Some(_) => "closed-ended",
                    None => "undeclared",
                };
                (format!("asks  {} ({how})", question.title), question.author, question.licence)
            }
            EventKind::Answered(answer) => {
                answered += 1;
                let first: String =
                    answer.text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(70).collect();
                (
                    format!("answers {} (score {}): {first} …", answer.question, answer.score),
                    answer.author,
                    Some(answer.licence),
                )
            }
        };
        if number < SHOWN {
            let author = author.map_or_else(|| "somebody".to_owned(), |author| author.name);
            println!("day {day} {hour:02} h  {author} {line}  [{}]", licence.unwrap_or_default());
        }
    }
    println!("… {asked} questions and {answered} answers in time order");
    Ok(())
}
