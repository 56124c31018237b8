//! `understudy evaluate`: how good fresh answers to held-out questions are, by themselves and beside another model's.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Failure, Global, Outcome, corpora, progress_bar, which};
use crate::config::{Config, SourceKind};
use crate::corpus::{self, Thread};
use crate::evaluation::gold::judged;
use crate::evaluation::heard::{self, Asking, Heard, hear};
use crate::evaluation::judge::Judge;
use crate::evaluation::length_control::LengthControlled;
use crate::evaluation::report::{AnswerFigures, Comparison, Report, RewardFigures, duels};
use crate::evaluation::win_rate::WinRate;
use crate::evaluation::{self, Estimate, Evaluation, Plan, picture};
use crate::phases::material::as_read;
use crate::preferences::held_out::{self, HeldOut};
use crate::preferences::{Exposure, Rule, VotedQuestion};
use crate::sources::{self, Split};
use crate::speaker::{Speaker, Which, checkpoints_dir};
use understudy_learning::stages::Question;

/// Flags of `evaluate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Held-out questions are never trained on (source.held_out). They come from the corpora in the data directory where there are
any and no other source is configured, without those that training knows under another name. The gold reward is what the
simulated people are made to like ([annotators.taste]); --judge names a reward model instead, best one that the policy did
not learn from. Each figure comes with its standard error over questions.

Examples:
  understudy evaluate --compare base                      the newest checkpoint against the base model
  understudy evaluate --checkpoint data/models/policy --judge data/models/gold --report report.md
  understudy evaluate --checkpoint base --reward data/models/reward --questions 16 --json
  understudy evaluate --set source.kind=stack_exchange --set source.path=Posts.xml --set source.terms=cc-by-sa-4.0 --json"
)]
pub struct Flags {
    /// Most questions
    #[arg(long, default_value_t = 64)]
    questions: usize,
    /// Answers to each question
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Whose answers: 'newest', 'base', a checkpoint's directory, or a model folder
    #[arg(long, default_value = "newest", value_name = "WHICH")]
    checkpoint: String,
    /// Compare with these weights on the same questions: 'base', a checkpoint's directory, or a model folder
    #[arg(long, value_name = "WHICH")]
    compare: Option<String>,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Answers to show
    #[arg(long, default_value_t = 3)]
    examples: usize,
    /// Only held-out questions of these corpora; may be given often
    #[arg(long, value_name = "NAME")]
    corpus: Vec<String>,
    /// Who judges: 'gold', or a reward model (a folder of 'understudy reward', or a checkpoint)
    #[arg(long, default_value = "gold", value_name = "WHO")]
    judge: String,
    /// Tell how this reward model orders people's answers: a folder, a checkpoint, or 'newest'; needs a corpus
    #[arg(long, value_name = "WHO")]
    reward: Option<String>,
    /// Most held-out questions for that
    #[arg(long, default_value_t = 100, value_name = "N")]
    voted: usize,
    /// Only pairs that the later answer won
    #[arg(long)]
    later_won: bool,
    /// People's answers are cut to this many tokens; phases.max_tokens where left out
    #[arg(long, value_name = "N")]
    answer_tokens: Option<usize>,
    /// Write all figures as Markdown, with a picture (.svg) beside it; compares with 'base' unless told otherwise
    #[arg(long, value_name = "FILE.md")]
    report: Option<PathBuf>,
}

/// Runs `understudy evaluate`.
pub(super) fn run(global: &Global, flags: Flags) -> Outcome {
    let config = global.load()?.config.alone();
    crate::telemetry::start_logs(&config.log);
    let answer_tokens = flags.answer_tokens.unwrap_or(config.phases.max_tokens);
    if answer_tokens == 0 || answer_tokens + 1 >= config.generation.max_context {
        let most = config.generation.max_context - 2;
        return Err(Failure::Usage(format!(
            "--answer-tokens is {answer_tokens}; give 1 to {most} (generation.max_context)"
        )));
    }
    let material = Material::of(&config, &flags)?;
    let plan = Plan {
        generation: &config.generation,
        taste: &config.annotators.population.taste,
        types: config.annotators.population.types(),
        samples: flags.samples.clamp(1, config.generation.max_sequences),
        seed: flags.seed,
        examples: flags.examples,
    };
    let asking = Asking {
        questions: &material.questions,
        written: &material.written,
        generation: &config.generation,
        samples: plan.samples,
        seed: flags.seed,
        answer_tokens,
    };
    let listen = |what: &str| -> Result<(Speaker, Heard), Failure> {
        let (speaker, name) = open(&config, what)?;
        let total = (material.questions.len() * plan.samples + material.written.len()) as u64;
        let progress = progress_bar(total, "answers", global.json);
        progress.set_message(name.clone());
        let heard = hear(&speaker, name, asking, &progress)?;
        progress.finish_and_clear();
        Ok((speaker, heard))
    };
    let (speaker, own) = listen(&flags.checkpoint)?;
    let base = || (flags.report.is_some() && flags.checkpoint != "base").then_some("base");
    let other = match flags.compare.as_deref().or_else(base) {
        None => None,
        Some(what) => {
            drop(speaker);
            let (speaker, other) = listen(what)?;
            let opinions = heard::opinions(&speaker, &own.answers, heard::temperature(&config.generation))?;
            Some((other, heard::divergence(&own.logprobs, &opinions)))
        }
    };
    let evaluation = judged(own.version, &own.answers, plan);
    let compared = other.as_ref().map(|(other, _)| judged(other.version, &other.answers, plan));
    let difference = compared.as_ref().map(|other| evaluation::difference(other, &evaluation));
    let report = report(global, &config, &flags, &material, asking, own, other)?;
    if let Some(path) = &flags.report {
        write(path, &report)?;
    }
    if global.json {
        let all = json!({
            "evaluation": evaluation, "compared": compared, "difference": difference, "report": report,
        });
        println!("{all}");
        return Ok(());
    }
    // Where a reward model judges, what the taste says is no figure that anybody asked for.
    let by_taste = flags.judge == "gold";
    show(&evaluation, by_taste);
    if let (Some(compared), Some(difference)) = (&compared, difference) {
        println!();
        show(compared, by_taste);
        if by_taste {
            println!("\ndifference {:+.3} ± {:.3}, question by question", difference.mean, difference.standard_error);
        }
    }
    println!("\n{}", report.markdown(None));
    if let Some(path) = &flags.report {
        println!("the report is '{}'", path.display());
    }
    Ok(())
}

/// What there is to ask, and what people said.
struct Material {
    questions: Vec<Question>,
    /// The best answer to each of them, where the source has answers.
    written: Vec<(Question, String)>,
    voted: Vec<VotedQuestion>,
    duplicates: usize,
}

impl Material {
    fn of(config: &Config, flags: &Flags) -> Result<Self, Failure> {
        let other_source =
            matches!(config.source.kind, SourceKind::Sample | SourceKind::Jsonl | SourceKind::StackExchange);
        let folder = config.data.dir.join(corpus::FOLDER);
        let there = || corpus::list(&folder).map_err(|error| Failure::Failed(error.into()));
        if flags.corpus.is_empty() && (other_source || there()?.is_empty()) {
            if flags.reward.is_some() {
                let sentence = "--reward needs votes on people's answers; bring a corpus in with 'understudy ingest'";
                return Err(Failure::NotReady(sentence.to_owned()));
            }
            let questions = held_out(config, flags.questions)?;
            return Ok(Self { questions, written: Vec::new(), voted: Vec::new(), duplicates: 0 });
        }
        let corpora = corpora::chosen(&config.data.dir, &flags.corpus)?;
        let shares = config.source.shares();
        let draw = |most: usize, wanted: &dyn Fn(&Thread) -> bool| -> Result<HeldOut, Failure> {
            held_out::held_out(&corpora, shares, most, wanted).map_err(|error| Failure::Failed(error.into()))
        };
        let asked = draw(flags.questions, &|_| true)?;
        if asked.threads.is_empty() {
            return Err(Failure::Usage(format!(
                "no question of the corpora is held out; raise source.held_out (now {}) or bring in more",
                shares.held_out
            )));
        }
        let rule = rule(flags);
        let has_pair =
            |thread: &Thread| !VotedQuestion::of_thread(thread).voted_pairs(&rule, &Exposure::neutral()).is_empty();
        let voted = match flags.reward {
            Some(_) => draw(flags.voted, &has_pair)?.voted().into_iter().map(|q| short(q, config)).collect(),
            None => Vec::new(),
        };
        let questions: Vec<VotedQuestion> = asked.voted().into_iter().map(|q| short(q, config)).collect();
        let best = |asked: &VotedQuestion| Some((asked.question.clone(), heard::best_written(asked)?.text.clone()));
        Ok(Self {
            written: questions.iter().filter_map(best).collect(),
            questions: questions.into_iter().map(|asked| asked.question).collect(),
            voted,
            duplicates: asked.twins.len(),
        })
    }
}

/// Without its body, where the source is to give none and there is a title.
fn short(mut asked: VotedQuestion, config: &Config) -> VotedQuestion {
    if !config.source.bodies && !asked.question.title.trim().is_empty() {
        asked.question.body.clear();
    }
    asked.answers.iter_mut().for_each(|answer| answer.text = as_read(&answer.text, config).into_owned());
    asked
}

fn rule(flags: &Flags) -> Rule {
    Rule { later_won: flags.later_won, ..Rule::default() }
}

/// The speaker that `what` names, and its name.
fn open(config: &Config, what: &str) -> Result<(Speaker, String), Failure> {
    let path = Path::new(what);
    if path.join("config.json").is_file() || path.extension().is_some_and(|extension| extension == "gguf") {
        let mut config = config.clone();
        config.model.path = path.to_owned();
        let speaker = Speaker::load(&config, &Which::Base)?;
        let name = path.file_stem().map_or_else(|| what.to_owned(), |name| name.to_string_lossy().into_owned());
        return Ok((speaker, name));
    }
    let speaker = Speaker::load(config, &which(what))?;
    let name = if speaker.version == 0 { "base".to_owned() } else { format!("policy {}", speaker.version) };
    Ok((speaker, name))
}

fn report(
    global: &Global,
    config: &Config,
    flags: &Flags,
    material: &Material,
    asking: Asking<'_>,
    own: Heard,
    other: Option<(Heard, evaluation::divergence::Divergence)>,
) -> Result<Report, Failure> {
    // Reward models stand on the configured model's layers, whoever speaks.
    let learned = flags.judge != "gold" || flags.reward.is_some();
    let base = learned.then(|| Speaker::load(config, &Which::Base)).transpose()?;
    let judge_of = |who: &str, base: &Speaker| -> Result<Judge, Failure> {
        match who {
            "newest" => {
                let newest = understudy_checkpoints::checkpoint::recover(&checkpoints_dir(config));
                let newest = newest.map_err(|error| Failure::Failed(error.into()))?.checkpoint;
                let newest = newest.ok_or_else(|| Failure::NotReady("there is no checkpoint yet".to_owned()))?;
                Ok(Judge::open(&newest.path, base, config)?)
            }
            path => Ok(Judge::open(Path::new(path), base, config)?),
        }
    };
    let judge = match &base {
        Some(base) if flags.judge != "gold" => judge_of(&flags.judge, base)?,
        _ => Judge::gold(config),
    };
    let rewards = heard::rewards(&judge, &own.answers)?;
    let comparison = match other {
        None => None,
        Some((other, divergence)) => {
            let of_other = heard::rewards(&judge, &other.answers)?;
            let duels = duels(&own.answers, &rewards, &other.answers, &of_other);
            let gains: Vec<f64> = duels.iter().map(|duel| duel.model - duel.other).collect();
            Some(Comparison {
                other: AnswerFigures::of(&other.name, &other.answers, &of_other, other.perplexity),
                gain: Estimate::of(&gains),
                win_rate: WinRate::of(&duels),
                length_controlled: LengthControlled::of(&duels),
                divergence,
                duels,
            })
        }
    };
    let reward_model = match (&flags.reward, &base) {
        (Some(who), Some(base)) => {
            let reward = judge_of(who, base)?;
            let progress = progress_bar(material.voted.len() as u64, "voted questions", global.json);
            let accuracy = heard::accuracy(&reward, base, &material.voted, &rule(flags), asking, &progress)?;
            progress.finish_and_clear();
            Some(RewardFigures { name: reward.name(), accuracy })
        }
        _ => None,
    };
    Ok(Report {
        judge: judge.name(),
        questions: asking.questions.len(),
        samples: asking.samples,
        temperature: heard::temperature(&config.generation),
        duplicates: material.duplicates,
        model: AnswerFigures::of(&own.name, &own.answers, &rewards, own.perplexity),
        comparison,
        reward_model,
    })
}

/// Markdown and the picture beside it.
fn write(path: &Path, report: &Report) -> Result<(), Failure> {
    let picture = path.with_extension("svg");
    let name = picture.file_name().unwrap_or_default().to_string_lossy().into_owned();
    picture::draw(&picture, report)?;
    std::fs::write(path, report.markdown(Some(&name)))
        .map_err(|error| Failure::Failed(anyhow::anyhow!("cannot write the report '{}': {error}", path.display())))
}

/// Held-out questions of the configured source; the built-in sample stands in when there is none.
pub(super) fn held_out(config: &Config, limit: usize) -> Result<Vec<Question>, Failure> {
    let mut source = config.source.clone();
    if source.kind == SourceKind::None {
        source.kind = SourceKind::Sample;
    }
    let questions = sources::collect(&source, Split::HeldOut, limit).map_err(|error| Failure::Failed(error.into()))?;
    if questions.is_empty() {
        let share = source.held_out;
        return Err(Failure::Usage(format!(
            "no question is held out; raise source.held_out (now {share}) or name a larger source"
        )));
    }
    Ok(questions)
}

fn show(evaluation: &Evaluation, by_taste: bool) {
    let Evaluation { policy_version, questions, samples, gold, words, finished, examples, .. } = evaluation;
    match by_taste {
        true => println!("policy {policy_version}: gold reward {:.3} ± {:.3}", gold.mean, gold.standard_error),
        false => println!("policy {policy_version}"),
    }
    println!(
        "  {questions} held-out questions, {samples} answers each, {:.1} words, {:.0} % ended by themselves",
        words.mean,
        finished * 100.0
    );
    for example in examples {
        println!("\n  Q  {}\n  A  {}", example.question, example.answer.trim().replace('\n', "\n     "));
        if by_taste {
            println!("     gold {:.2}", example.gold);
        }
    }
}
