//! Draws a population of simulated people, lets it rate four answers, and shows who said what and how well each agrees
//! with the gold reward that their tastes were drawn around.
//!
//! Run: `cargo run --example simulated_annotators`

use anyhow::Result;
use understudy_learning::annotators::{Annotator, Population, PopulationConfig, RatedAnswer, RatingTask};
use understudy_learning::gold::{Taste, gold_reward};
use understudy_learning::stages::{Feedback, FeedbackKind, Question};

const ANSWERS: [&str; 4] = [
    "Keep the opened bottle in the fridge with its cork back in: a light white wine then lasts about three days, a \
     strong red wine up to five, before it turns sour.",
    "Opened wine lasts three days.",
    "There are many ways to look at this, and people have thought about such things for a very long time in many \
     places, so it is hard to tell what anyone would say, and it depends on what one likes and on what one does.",
    "wine wine wine wine wine wine wine wine wine wine wine wine wine wine wine wine wine wine wine wine",
];
const TASKS: u64 = 300;

fn main() -> Result<()> {
    let question: Question = serde_json::from_value(serde_json::json!({
        "id": "example/1", "source": "example", "title": "How long does an opened bottle of wine last?", "body": "",
        "tags": [], "author": null, "url": null, "licence": null, "asked_at": 0, "closedness": null,
    }))?;
    println!("{}", question.title);
    let gold: Vec<f64> = ANSWERS.iter().map(|text| gold_reward(&Taste::default(), &question, text, true)).collect();
    for (id, (text, gold)) in ANSWERS.iter().zip(&gold).enumerate() {
        println!("  {id}  gold {gold:5.2}  {}…", text.chars().take(70).collect::<String>());
    }

    let config = PopulationConfig { awake_hours: 24.0, ..Default::default() };
    println!(
        "\n{:<9} {:<8} {:>6} {:>6} {:>7}  {:>6}  first words",
        "who", "honesty", "temp", "bias", "delay", "agrees"
    );
    for member in Population::draw(&config, 1)? {
        let said: Vec<Feedback> = (0..TASKS).filter_map(|number| rate(&member, &question, number)).collect();
        let (right, all) = said.iter().map(|event| agreement(event, &gold)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        println!(
            "{:<9} {:<8} {:>6.2} {:>6.2} {:>5.1} s  {:>5.0}%  {}",
            member.id,
            format!("{:?}", member.honesty).to_lowercase(),
            member.temperature,
            member.bias,
            member.delay_ms(&mut member.task_stream(TASKS)) as f64 / 1000.0,
            100.0 * f64::from(right) / f64::from(all.max(1)),
            said.iter().take(3).map(words).collect::<Vec<_>>().join(", "),
        );
    }
    Ok(())
}

fn rate(member: &Annotator, question: &Question, number: u64) -> Option<Feedback> {
    let answers = ANSWERS.iter().enumerate();
    let answers = answers.map(|(id, text)| RatedAnswer { id: id as u64, text, finished: true, judged: None }).collect();
    member.rate(&RatingTask { question, answers, number }, 0, &mut member.task_stream(number))
}

/// How many of the two-way judgements in an event agree with the gold reward, and how many there are.
fn agreement(event: &Feedback, gold: &[f64]) -> (u32, u32) {
    let middle = gold.iter().sum::<f64>() / gold.len() as f64;
    let at = |id: &u64| gold[*id as usize];
    match &event.kind {
        FeedbackKind::Stars { stars: 3, .. } => (0, 0),
        FeedbackKind::Stars { answer, stars } => (u32::from((*stars > 3) == (at(answer) > middle)), 1),
        FeedbackKind::Thumb { answer, up } => (u32::from(*up == (at(answer) > middle)), 1),
        FeedbackKind::Pair { better, worse, .. } => (u32::from(at(better) > at(worse)), 1),
        FeedbackKind::Ranking { levels } => {
            let above = levels.iter().enumerate().flat_map(|(rank, level)| level.iter().map(move |id| (rank, id)));
            let below = |rank: usize| levels[rank + 1..].iter().flatten();
            let pairs = above.flat_map(|(rank, better)| below(rank).map(move |worse| (better, worse)));
            pairs.fold((0, 0), |(right, all), (a, b)| (right + u32::from(at(a) > at(b)), all + 1))
        }
        _ => (0, 0),
    }
}

fn words(event: &Feedback) -> String {
    match &event.kind {
        FeedbackKind::Stars { answer, stars } => format!("{answer}: {}", "★".repeat(usize::from(*stars))),
        FeedbackKind::Thumb { answer, up } => format!("{answer}: {}", if *up { "up" } else { "down" }),
        FeedbackKind::Pair { better, worse, .. } => format!("{better} > {worse}"),
        FeedbackKind::Ranking { levels } => {
            let level = |ids: &Vec<u64>| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(" = ");
            levels.iter().map(level).collect::<Vec<_>>().join(" > ")
        }
        other => format!("{other:?}"),
    }
}
