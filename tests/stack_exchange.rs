//! Real dumps, where they are at hand: counts, odd rows, order.
//!
//! Invariant: the dumps are not ours to distribute; where `../shared/data/stackexchange` is absent each test says so.

use std::path::PathBuf;

use understudy::corpus::{Corpus, Manifest, VoteKind, What, list};
use understudy::preferences::accuracy::Accuracy;
use understudy::preferences::{Exposure, Rule, Scoring, VotedQuestion};
use understudy::sources::stack_exchange::ingest::{Provenance, ingest};
use understudy::sources::stack_exchange::{DropRule, Event, EventKind, Site, events_of_file};
use understudy::sources::stack_exchange::{PostKind, Posts};

fn dump(folder: &str) -> Option<PathBuf> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/stackexchange");
    let path = data.join(folder);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

fn read(folder: &str) -> Option<(Vec<Event>, std::collections::BTreeMap<DropRule, u64>)> {
    let path = dump(folder)?;
    let events = events_of_file(&path, Site::new("", &path)).expect("a dump");
    let drops = events.drops().clone();
    Some((events.collect::<Result<_, _>>().expect("every row can be read again"), drops))
}

fn check_counts(folder: &str, questions: usize, answers: usize) {
    let Some((events, drops)) = read(&format!("{folder}/Posts.xml")) else { return };
    let asked = events.iter().filter(|event| matches!(event.kind, EventKind::Asked(_))).count();
    assert_eq!((asked, events.len() - asked), (questions, answers), "{folder}, dropped {drops:?}");
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at), "{folder}: in time order");
}

#[test]
fn all_questions_and_answers_of_real_dumps_are_read_in_time_order() {
    check_counts("beer-2020-06", 1029, 2277);
    check_counts("matheducators-2014-05", 397, 1507);
    check_counts("quantumcomputing-2018-09", 612, 1060);
    check_counts("ai-2017-03", 604, 1004);
    check_counts("datascience.meta-2024-01", 257, 341);
}

#[test]
fn odd_rows_are_kept_or_dropped_by_rule() {
    let Some((events, drops)) = read("fixtures/xml/odd_posts.xml") else { return };
    // Tag wikis and the placeholder are no posts of people; everything else is kept.
    assert_eq!(drops.keys().map(|rule| rule.name()).collect::<Vec<_>>(), ["other_kind"]);
    assert_eq!(events.len() as u64 + drops.values().sum::<u64>(), 25);
    let text = |wanted: &str| {
        events.iter().find_map(|event| match &event.kind {
            EventKind::Answered(answer) if answer.id.ends_with(wanted) => Some(answer.text.clone()),
            EventKind::Asked(question) if question.id.ends_with(wanted) => Some(question.text()),
            _ => None,
        })
    };
    assert_eq!(text("/350").as_deref(), Some("## Yes! We want hats!"));
    assert!(text("/30").is_some_and(|code| code.contains("```\n#include <")), "escaped twice, unescaped twice");
    assert!(text("/621").is_some_and(|body| body.contains("生")));
    let tags = |wanted: &str| {
        events.iter().find_map(|event| match &event.kind {
            EventKind::Asked(question) if question.id.ends_with(wanted) => Some(question.tags.len()),
            _ => None,
        })
    };
    assert!(tags("/2607") > Some(0) && tags("/7356") > Some(0), "both forms of tags");
}

#[test]
fn a_file_of_another_table_is_refused_with_a_sentence() {
    let Some(path) = dump("fixtures/xml/odd_comments.xml") else { return };
    let error = events_of_file(&path, Site::new("", &path)).err().expect("comments are no posts").to_string();
    assert!(error.contains("the root element is <comments>, not <posts>; give a Posts.xml"), "{error}");
    let Some(path) = dump("fixtures/xml/huge_body_post.xml") else { return };
    assert_eq!(events_of_file(&path, Site::new("", &path)).expect("one long row").count(), 1);
}

fn bring_in(path: &std::path::Path, name: &str, into: &std::path::Path) -> Manifest {
    let (source, terms) = (name.to_owned(), "test".to_owned());
    let provenance = Provenance { source, terms, site: None, may_train: false };
    let hidden = indicatif::ProgressBar::hidden();
    ingest(path, into, &provenance, &hidden, &hidden).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Questions, answers, accepted, questions with a pair, pairs.
fn check_ingest(folder: &str, wanted: [u64; 5], has_votes: bool) {
    let Some(path) = dump(folder) else { return };
    let into = tempfile::tempdir().expect("a place for the corpus");
    let counts = bring_in(&path, folder, into.path()).counts;
    let found = [counts.questions, counts.answers, counts.accepted, counts.questions_with_pairs, counts.pairs];
    assert_eq!(found, wanted, "{folder}");
    assert_eq!((counts.votes > 0, counts.scores_not_reproduced), (has_votes, 0), "{folder}: votes make the scores");
}

#[test]
fn what_is_brought_in_of_real_dumps_is_what_is_in_them() {
    check_ingest("beer-2020-06", [1029, 2277, 619, 542, 2567], true);
    check_ingest("matheducators-2014-05", [397, 1507, 189, 302, 3775], false);
    check_ingest("quantumcomputing-2018-09", [612, 1060, 389, 279, 740], true);
    check_ingest("ai-2017-03", [604, 1004, 285, 218, 866], true);
    check_ingest("stackoverflow-2008-08-first-days", [173, 447, 149, 122, 533], false);
    check_ingest("bicycles.meta-2023-08", [453, 971, 157, 223, 1293], true);
    check_ingest("datascience.meta-2024-01", [257, 341, 83, 71, 274], false);
}

#[test]
fn an_official_archive_holds_what_its_folder_holds_and_the_names_besides() {
    let Some(folder) = dump("beer-2020-06") else { return };
    let into = tempfile::tempdir().expect("a place for the corpora");
    let unpacked = bring_in(&folder, "folder", into.path());
    let packed = bring_in(&folder.join("beer.stackexchange.com.7z"), "archive", into.path());
    assert_eq!(packed.counts, unpacked.counts);
    let names = |source: &str| {
        let corpus = Corpus::open(&into.path().join(source)).expect("just made");
        let threads = corpus.threads().expect("threads").map(|thread| thread.expect("a thread"));
        let authors = threads.filter_map(|thread| thread.question.author);
        authors.filter(|author| !author.name.starts_with("user ")).count()
    };
    assert!(names("archive") > 1000 && names("folder") < 100, "{} {}", names("archive"), names("folder"));
}

#[test]
fn a_replay_of_a_real_dump_makes_every_score_again() {
    let Some(folder) = dump("beer-2020-06") else { return };
    let into = tempfile::tempdir().expect("a place for the corpus");
    let counts = bring_in(&folder, "beer", into.path()).counts;
    let corpus = Corpus::open(&into.path().join("beer")).expect("just made");
    let (mut scores, mut last) = (std::collections::HashMap::<u64, i64>::new(), i64::MIN);
    let mut seen = [0u64; 4];
    for moment in corpus.replay().expect("an index") {
        let moment = moment.expect("an event");
        assert!(moment.at >= last, "in time order");
        last = moment.at;
        match moment.what {
            What::Asked { thread } => {
                seen[0] += 1;
                scores.insert(thread.question.id, 0);
            }
            What::Answered { answer } => {
                seen[1] += 1;
                scores.insert(answer.id, 0);
            }
            What::Commented { .. } => seen[2] += 1,
            What::Voted { post, vote } => {
                seen[3] += 1;
                let score = scores.get_mut(&post).expect("nobody votes before the post is there");
                *score += match vote {
                    VoteKind::Up => 1,
                    VoteKind::Down => -1,
                    VoteKind::Accept => 0,
                };
            }
        }
    }
    assert_eq!(seen, [counts.questions, counts.answers, counts.comments, counts.votes]);
    for thread in corpus.threads().expect("threads") {
        let thread = thread.expect("a thread");
        for post in std::iter::once(&thread.question).chain(&thread.answers) {
            assert_eq!(scores[&post.id], post.score, "post {}", post.id);
        }
    }
}

/// Answers with moment, score and HTML, by question.
type ByQuestion = std::collections::BTreeMap<u64, Vec<(i64, i64, String)>>;

fn raw_answers(folder: &str) -> Option<ByQuestion> {
    let path = dump(&format!("{folder}/Posts.xml"))?;
    let input = std::io::BufReader::new(std::fs::File::open(&path).expect("it is there"));
    let (mut asked, mut answers) = (std::collections::BTreeSet::new(), ByQuestion::new());
    for post in Posts::new(input, folder) {
        let post = post.expect("a row");
        match post.kind {
            PostKind::Question { .. } => {
                asked.insert(post.id);
            }
            PostKind::Answer { parent } => {
                answers.entry(parent).or_default().push((post.created, post.score, post.body))
            }
        }
    }
    answers.retain(|question, _| asked.contains(question));
    Some(answers)
}

/// Shares in percent of pairs with a difference of at least `margin` that the older answer wins, the longer one (in
/// characters of HTML), and the one with a link where only one has any; and the number of pairs.
fn baselines(all: &[ByQuestion], margin: i64) -> ([f64; 3], usize) {
    let (mut right, mut counted, mut pairs) = ([0usize; 3], [0usize; 3], 0);
    for answers in all.iter().flat_map(ByQuestion::values) {
        for (place, a) in answers.iter().enumerate() {
            for b in answers[..place].iter().filter(|b| (a.1 - b.1).abs() >= margin) {
                let (better, worse) = if a.1 > b.1 { (a, b) } else { (b, a) };
                let linked = |answer: &(i64, i64, String)| answer.2.contains("<a ");
                let length = |answer: &(i64, i64, String)| answer.2.chars().count();
                pairs += 1;
                right[0] += usize::from(better.0 < worse.0);
                right[1] += usize::from(length(better) > length(worse));
                right[2] += usize::from(linked(better) && !linked(worse));
                counted[0] += 1;
                counted[1] += 1;
                counted[2] += usize::from(linked(better) != linked(worse));
            }
        }
    }
    (std::array::from_fn(|i| 100.0 * right[i] as f64 / counted[i] as f64), pairs)
}

const MAIN_SITES: [&str; 5] = [
    "beer-2020-06",
    "matheducators-2014-05",
    "quantumcomputing-2018-09",
    "ai-2017-03",
    "stackoverflow-2008-08-first-days",
];

#[test]
fn length_age_and_links_alone_get_as_many_pairs_right_as_was_told() {
    let Some(all) = MAIN_SITES.iter().map(|folder| raw_answers(folder)).collect::<Option<Vec<_>>>() else { return };
    // 69.8, 62.5 and 64.0 were told of 9316 pairs of seven main sites; these five have 8481 of them, counted apart:
    // 70.31, 62.70 and 64.36, with a margin of 3 75.64 and 65.85 for 75.3 and 65.5.
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.006, "{found} is not {wanted}");
    let (found, pairs) = baselines(&all, 1);
    assert_eq!(pairs, 8481);
    found.into_iter().zip([70.31, 62.70, 64.36]).for_each(|(found, wanted)| near(found, wanted));
    let (found, _) = baselines(&all, 3);
    found.into_iter().zip([75.64, 65.85, 67.23]).for_each(|(found, wanted)| near(found, wanted));
}

#[test]
fn of_real_votes_corrected_scores_leave_less_to_age() {
    let folders = ["beer-2020-06", "quantumcomputing-2018-09", "ai-2017-03"];
    let into = tempfile::tempdir().expect("a place for the corpora");
    for folder in folders {
        let Some(path) = dump(folder) else { return };
        bring_in(&path, folder, into.path());
    }
    let corpora = list(into.path()).expect("just made");
    let exposure = Exposure::of_corpora(&corpora, |_| true).expect("threads");
    let threads = || corpora.iter().flat_map(|corpus| corpus.threads().expect("threads")).map(|t| t.expect("a thread"));
    let voted: Vec<VotedQuestion> = threads().map(|thread| VotedQuestion::of_thread(&thread)).collect();
    let older = |scoring: Scoring| {
        let rule = Rule { scoring, ..Rule::default() };
        let tallies: Vec<_> =
            voted.iter().map(|question| question.older_is_right(&question.voted_pairs(&rule, &exposure))).collect();
        Accuracy::of(&tallies)
    };
    let (votes, stack_llama, corrected) =
        (older(Scoring::Votes), older(Scoring::StackLlama), older(Scoring::Corrected));
    println!("the older wins: votes {votes}, StackLLaMA {stack_llama}, corrected {corrected}; {exposure:?}");
    assert!((0.66..0.72).contains(&votes.share), "{votes}");
    // What is left to age is less than half of what it was.
    assert!((corrected.share - 0.5).abs() < 0.5 * (votes.share - 0.5), "{corrected} and {votes}");
}

/// What is in HTML or Markdown, without white space: marks of either may move that, and nothing else.
fn words(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('>') else { break };
        let tag = &rest[start..start + end];
        if let Some(image) = tag.strip_prefix("<img") {
            let alt = image.split_once("alt=\"").and_then(|(_, alt)| alt.split('"').next());
            out.push_str(alt.filter(|alt| !alt.is_empty()).unwrap_or("image"));
        }
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    // MathJax's own escape of a dollar is one of Markdown too.
    let mut out = understudy::sources::stack_exchange::html::plain(&out).replace("\\$", "$");
    out.retain(|c| !c.is_whitespace());
    out
}

#[test]
fn markdown_of_real_posts_shows_the_words_that_their_html_shows() {
    let (mut posts, mut odd) = (0, Vec::new());
    for folder in ["beer-2020-06", "matheducators-2014-05", "quantumcomputing-2018-09", "ai-2017-03"] {
        let Some(path) = dump(&format!("{folder}/Posts.xml")) else { return };
        let file = std::io::BufReader::new(std::fs::File::open(&path).expect("a dump"));
        for post in understudy::sources::stack_exchange::Posts::new(file, folder) {
            let post = post.expect("a post");
            let markdown = understudy::sources::stack_exchange::html::to_markdown(&post.body);
            let shown = words(&understudy::markdown::to_html(&markdown));
            posts += 1;
            if shown != words(&post.body) {
                odd.push(format!("{folder}/{}", post.id));
            }
        }
    }
    println!("{} of {posts} posts show other words: {odd:?}", odd.len());
    assert!(posts > 8000, "{posts}");
    // Raw HTML of odd kinds, emphasis within words, and comments.
    assert!(odd.len() * 100 <= posts, "{} of {posts}: {odd:?}", odd.len());
}

fn ingest_command(dump: &std::path::Path, data: &std::path::Path) -> std::process::Command {
    let mut command = crate::program::understudy();
    command.args(["ingest", "--source", "site", "--terms", "test", "--json", "--data-dir"]).arg(data).arg(dump);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

#[test]
fn an_ingest_that_is_killed_leaves_what_was_there_and_the_next_one_is_as_if_nothing_had_been() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("Posts.xml");
    let row = |id: u64| {
        let (kind, parent) =
            if id % 3 == 1 { (1, String::new()) } else { (2, format!(" ParentId=\"{}\"", (id - 1) / 3 * 3 + 1)) };
        format!(
            "<row Id=\"{id}\" PostTypeId=\"{kind}\"{parent} Title=\"t\" Score=\"1\" CreationDate=\"2012-01-01T00:00:00.000\" \
             Body=\"&lt;p&gt;{}&lt;/p&gt;\" />\n",
            "word ".repeat(200)
        )
    };
    let write = |rows: u64| {
        let rows: String = (1..=rows).map(row).collect();
        std::fs::write(&path, format!("<posts>\n{rows}</posts>")).expect("it is written");
    };
    let (killed, whole) = (folder.path().join("killed"), folder.path().join("whole"));
    write(30);
    assert!(ingest_command(&path, &killed).status().expect("it runs").success());
    let small = std::fs::read(killed.join("corpus/site/threads.jsonl")).expect("a corpus");
    write(4_000);
    let (mut kills, notes) = (0, killed.join("corpus/.site.tmp"));
    for late in [0, 1, 400_000, 1_500_000] {
        let mut child = ingest_command(&path, &killed).spawn().expect("it runs");
        let size = || {
            let entries = std::fs::read_dir(&notes).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum::<u64>()
        };
        while child.try_wait().expect("a child").is_none() && (!notes.exists() || size() < late) {
            std::thread::yield_now();
        }
        if child.try_wait().expect("a child").is_none() {
            child.kill().expect("it is ours");
            kills += 1;
        }
        child.wait().expect("it ended");
        let now = std::fs::read(killed.join("corpus/site/threads.jsonl")).expect("a corpus");
        assert!(now == small || kills < 1, "killed in the middle: the old one is there, whole");
    }
    assert!(kills >= 2, "it was killed {kills} times");
    for data in [&killed, &whole] {
        assert!(ingest_command(&path, data).status().expect("it runs").success());
    }
    for file in ["threads.jsonl", "manifest.json"] {
        let read = |data: &std::path::Path| std::fs::read(data.join("corpus/site").join(file)).expect("a corpus");
        assert!(read(&killed) == read(&whole), "{file} is the same");
    }
    assert_eq!(std::fs::read_dir(killed.join("corpus")).expect("corpora").count(), 1, "nothing is left over");
    let mut replay = crate::program::understudy();
    replay.args(["replay", "site", "--data-dir"]).arg(&whole).args(["--from", "2012-01-01", "--to", "2012-01-02"]);
    let told = replay.output().expect("it runs").stdout;
    assert_eq!(told.iter().filter(|byte| **byte == b'\n').count(), 4_000);
}
