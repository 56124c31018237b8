//! Out and in again; foreign rows; rows that are wrong.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use understudy_learning::stages::Author;

use crate::corpus::{Corpus, Thread};
use crate::preferences::tests::{corpus, post, thread};
use crate::preferences::{Exposure, Rule};

const FORMATS: [Format; 5] =
    [Format::Preference, Format::Unpaired, Format::PromptCompletion, Format::PromptOnly, Format::Rankings];

fn threads() -> Vec<Thread> {
    let mut answers = vec![post(11, 5, 3, "Yes.\n\n`code`"), post(12, 6, -1, "No."), post(13, 7, 3, "\"Perhaps\" ☕")];
    answers[0].author = Some(Author { name: "Ana".into(), url: Some("https://s/users/1".into()) });
    let mut second = thread(2, "", vec![post(21, 9, 0, "Hm.")]);
    second.tags.clear();
    vec![Thread { accepted: Some(13), ..thread(1, "Why?\n\nReally.", answers) }, second, thread(3, "Lonely", vec![])]
}

fn written(corpora: &[Corpus], format: Format, plain: bool) -> String {
    let (exposure, without) = (Exposure::neutral(), BTreeSet::new());
    let rule = Rule::default();
    let shares = crate::sources::Shares { held_out: 0.15, held_back: 0.0 };
    let plan = ExportPlan { format, rule, exposure: &exposure, shares, part: None, without: &without, plain };
    let mut out = Vec::new();
    let done = export(corpora, &plan, &mut out, || {}).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(done.rows as usize, text.lines().count());
    text
}

fn brought_in(folder: &Path, text: &str) -> Result<Corpus, String> {
    brought_in_by(folder, text, false)
}

fn brought_in_by(folder: &Path, text: &str, may_train: bool) -> Result<Corpus, String> {
    let file = folder.join("rows.jsonl");
    std::fs::write(&file, text).unwrap();
    let origin = Origin { source: "s".into(), terms: "mine".into(), licence: "CC0".into(), may_train };
    import(&file, folder, &origin).map_err(|error| error.to_string())?;
    Ok(Corpus::open(&folder.join("s")).unwrap())
}

#[test]
fn what_goes_out_comes_in_again_and_goes_out_the_same() {
    let folder = TempDir::new().unwrap();
    let first = corpus(folder.path(), &threads());
    for (format, plain) in FORMATS.into_iter().flat_map(|format| [(format, false), (format, true)]) {
        let rows = written(std::slice::from_ref(&first), format, plain);
        assert!(!rows.is_empty());
        let again = TempDir::new().unwrap();
        let second = brought_in(again.path(), &rows).unwrap();
        assert_eq!(written(&[second], format, plain), rows, "{format:?}");
    }
}

#[test]
fn rankings_lose_nothing_of_a_thread() {
    let folder = TempDir::new().unwrap();
    let first = corpus(folder.path(), &threads()[..1]);
    let again = TempDir::new().unwrap();
    let second = brought_in(again.path(), &written(&[first], Format::Rankings, false)).unwrap();
    let read: Vec<Thread> = second.threads().unwrap().map(Result::unwrap).collect();
    assert_eq!(read, threads()[..1], "terms too: the row's own stay");
}

#[test]
fn every_row_carries_its_credits() {
    let folder = TempDir::new().unwrap();
    let corpora = [corpus(folder.path(), &threads())];
    for format in FORMATS {
        for line in written(&corpora, format, false).lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let metadata = &row["metadata"];
            assert!(metadata["source"] == "s" && metadata["terms"] == "own", "{line}");
            for part in ["chosen", "rejected", "completion"].iter().filter(|part| row.get(**part).is_some()) {
                let credit = &metadata[*part];
                assert!(credit["licence"] == "CC BY-SA 4.0" && credit["url"].is_string(), "{line}");
            }
            assert!(
                metadata["question"]["url"]
                    == format!("https://s/{}", &metadata["question"]["id"].as_str().unwrap()[2..])
            );
        }
    }
    let rows = written(&corpora, Format::Preference, false);
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!(row["prompt"], json!([{"role": "user", "content": "Title 1\n\nWhy?\n\nReally."}]));
    assert_eq!(row["chosen"][0]["role"], "assistant");
    assert_eq!(row["metadata"]["chosen"]["author"]["name"], "Ana");
}

#[test]
fn foreign_rows_of_every_shape_become_threads() {
    let folder = TempDir::new().unwrap();
    let rows = [
        json!({"prompt": "A?", "chosen": "x", "rejected": "y"}),
        json!({"prompt": [{"role": "user", "content": "A?"}], "chosen": [{"role": "assistant", "content": "x"}], "rejected": "z"}),
        json!({"prompt": "B?", "completion": "b", "label": false}),
        json!({"messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": "C?"}, {"role": "assistant", "content": "c"}]}),
        json!({"prompt": "D?", "completions": ["d", "e", "f"], "ranking": [[2], [0, 1]]}),
    ];
    let text = rows.map(|row| row.to_string()).join("\n\n");
    let read: Vec<Thread> = brought_in(folder.path(), &text).unwrap().threads().unwrap().map(Result::unwrap).collect();
    let scores = |thread: &Thread| thread.answers.iter().map(|a| (a.text.clone(), a.score)).collect::<Vec<_>>();
    let of = |pairs: &[(&str, i64)]| pairs.iter().map(|(text, score)| ((*text).to_owned(), *score)).collect::<Vec<_>>();
    assert_eq!(read.len(), 4, "both rows of A are one thread");
    assert_eq!(scores(&read[0]), of(&[("x", 2), ("y", -1), ("z", -1)]), "x won twice");
    assert_eq!(scores(&read[1]), of(&[("b", -1)]));
    assert_eq!(read[2].question.text, "System: Be.\n\nUser: C?");
    assert_eq!(scores(&read[3]), of(&[("d", 0), ("e", 0), ("f", 1)]));
    assert!(read.iter().all(|thread| thread.terms == "mine" && thread.question.licence == "CC0"));
}

#[test]
fn a_wrong_row_is_named_by_its_line_and_nothing_is_brought_in() {
    let check = |text: &str, wanted: &str| {
        let folder = TempDir::new().unwrap();
        let error = brought_in(folder.path(), text).unwrap_err();
        assert!(error.contains(wanted), "{error}");
        assert!(!folder.path().join("s").exists());
    };
    check("{\"prompt\":\"a\"}\n\n{\"promt\":\"b\"}", "line 3: unknown field `promt`");
    check("{\"prompt\":\"a\",\"chosen\":\"b\"}", "line 1: it has 'chosen' and no 'rejected'");
    check("{\"chosen\":\"b\",\"rejected\":\"c\"}", "it has no prompt");
    check("{\"prompt\":\"a\",\"completions\":[\"b\",\"c\"],\"ranking\":[[0,0]]}", "names completion 0 twice");
    check("{\"prompt\":\"a\",\"completions\":[\"b\",\"c\"],\"ranking\":[[0]]}", "does not name completion 1");
    check("{\"prompt\":\"a\",\"completions\":[\"b\"],\"ranking\":[[0],[7]]}", "names completion 7 of 1");
    check("{\"prompt\":\"a\",\"completions\":[\"b\"]}", "neither ranking nor scores");
    check("{\"prompt\":\" \"}", "prompt is empty");
    check("{\"prompt\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "roles are system, user and assistant");
    check("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "it has to be 'assistant'");
    check("{\"prompt\":\"a\"}\n{\"prompt\":", "line 2: EOF");
}

#[test]
fn posts_of_stack_exchange_from_the_time_of_the_clause_need_the_operators_word() {
    let folder = TempDir::new().unwrap();
    let row = |url: &str, at: i64| {
        let (question, completion) = (json!({"id": "s/1"}), json!({"id": "s/2", "url": url, "at": at}));
        json!({"prompt": "A?", "completion": "x", "metadata": {"question": question, "completion": completion}})
            .to_string()
    };
    const JULY: i64 = 1_719_792_000_000;
    let newer = row("https://beer.stackexchange.com/a/2", JULY + 86_400_000);
    let said = brought_in(folder.path(), &newer).err().unwrap();
    assert!(said.contains("the newest post is of 2024-07-02") && said.contains("--may-train"), "{said}");
    assert!(!folder.path().join("s").exists());
    brought_in_by(folder.path(), &newer, true).unwrap();
    brought_in(folder.path(), &row("https://beer.stackexchange.com/a/2", JULY - 1)).unwrap();
    brought_in(folder.path(), &row("https://forum.example.org/a/2", JULY + 1)).unwrap();
}
