//! Corpora made by hand: whole or not at all, the same bytes, everything in its order.

use tempfile::TempDir;

use super::*;

fn post(id: u64, at: i64, score: i64, votes: &[(i64, VoteKind)]) -> Post {
    Post {
        id,
        at,
        text: format!("text {id}"),
        score,
        author: None,
        url: None,
        licence: "CC BY-SA 4.0".into(),
        edited_at: None,
        wiki: false,
        votes: votes.iter().map(|(at, kind)| Vote { at: *at, kind: *kind }).collect(),
        comments: vec![],
    }
}

fn thread(id: u64, answers: Vec<Post>) -> Thread {
    Thread {
        id: format!("s/{id}"),
        source: "s".into(),
        terms: "own".into(),
        title: format!("title {id}"),
        tags: vec![],
        closed: false,
        accepted: answers.first().map(|answer| answer.id),
        closedness: None,
        question: post(id, id as i64, 0, &[]),
        answers,
    }
}

fn build(corpora: &std::path::Path, threads: &[Thread]) -> Manifest {
    let mut builder = Builder::begin(corpora, "s", "own", None).unwrap();
    threads.iter().for_each(|thread| builder.add(thread).unwrap());
    builder.commit([("no_history".to_owned(), 2), ("empty_body".to_owned(), 0)], &[]).unwrap()
}

#[test]
fn what_was_written_is_read_back_and_counted() {
    let folder = TempDir::new().unwrap();
    let threads = [thread(1, vec![post(3, 30, 5, &[]), post(4, 40, 5, &[]), post(5, 50, -1, &[])]), thread(2, vec![])];
    let manifest = build(folder.path(), &threads);
    let Counts { questions, answers, accepted, pairs, questions_with_pairs, newest, .. } = manifest.counts;
    assert_eq!((questions, answers, accepted, pairs, questions_with_pairs, newest), (2, 3, 1, 2, 1, 50));
    assert_eq!(manifest.dropped.into_iter().collect::<Vec<_>>(), [("no_history".to_owned(), 2)]);
    let corpora = list(folder.path()).unwrap();
    let read: Vec<Thread> = corpora[0].threads().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, threads);
}

#[test]
fn the_same_threads_give_the_same_bytes_and_take_the_place_of_the_old_in_one_step() {
    let folder = TempDir::new().unwrap();
    let first = build(folder.path(), &[thread(1, vec![]), thread(2, vec![])]);
    assert_eq!(build(folder.path(), &[thread(1, vec![]), thread(2, vec![])]), first);
    build(folder.path(), &[thread(2, vec![])]);
    let read: Vec<Thread> = Corpus::open(&folder.path().join("s")).unwrap().threads().unwrap().flatten().collect();
    assert_eq!(read, [thread(2, vec![])], "what is gone from the source is gone here");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["s"], "nothing else is left");
}

#[test]
fn an_abandoned_corpus_leaves_the_old_one_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    build(folder.path(), &[thread(1, vec![])]);
    let mut builder = Builder::begin(folder.path(), "s", "own", None).unwrap();
    builder.add(&thread(9, vec![])).unwrap();
    std::fs::write(builder.notes("half"), "x").unwrap();
    drop(builder);
    let corpora = list(folder.path()).unwrap();
    assert_eq!((corpora.len(), corpora[0].manifest().counts.questions), (1, 1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_corpus_is_refused_by_name_and_line() {
    let folder = TempDir::new().unwrap();
    build(folder.path(), &[thread(1, vec![]), thread(2, vec![])]);
    let file = folder.path().join("s/threads.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let second = text.find("title 2").unwrap();
    let damaged = format!("{}\u{1}{}", &text[..second], &text[second + 1..]);
    std::fs::write(&file, damaged).unwrap();
    let corpus = Corpus::open(&folder.path().join("s")).unwrap();
    let error = corpus.threads().unwrap().nth(1).unwrap().unwrap_err().to_string();
    assert!(error.contains("is damaged in line 2 of threads.jsonl"), "{error}");
    std::fs::write(&file, &text[..second]).unwrap();
    let error = Corpus::open(&folder.path().join("s")).unwrap_err().to_string();
    assert!(error.contains("has") && error.contains("bytes, not"), "{error}");
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    for name in ["", ".", "..", "../x", "a/b", "a\\b", "a:b", " a", "a\n", &"x".repeat(65)] {
        assert!(check_name(name).is_err(), "{name:?}");
        let folder = TempDir::new().unwrap();
        assert!(Builder::begin(folder.path(), name, "own", None).is_err(), "{name:?}");
    }
    assert!(check_name("beer.stackexchange.com").is_ok() && check_name("Unix & Linux").is_ok());
}

#[test]
fn a_replay_has_everything_once_in_time_order_and_its_votes_make_the_scores() {
    const DAY: i64 = 86_400_000;
    let folder = TempDir::new().unwrap();
    let mut first = thread(1, vec![post(3, 30, 1, &[(0, VoteKind::Up), (0, VoteKind::Accept)])]);
    first.question.votes = vec![Vote { at: 5 * DAY, kind: VoteKind::Down }];
    first.question.comments =
        vec![Comment { id: 7, at: 25, text: "c".into(), author: None, licence: "CC BY-SA 4.0".into() }];
    let late = thread(20, vec![]);
    build(folder.path(), &[first, late]);
    let replay = Corpus::open(&folder.path().join("s")).unwrap().replay().unwrap();
    assert_eq!(replay.remaining(), 7);
    let told = |moment: &Moment| match &moment.what {
        What::Asked { thread } => {
            assert!(thread.answers.is_empty() && thread.accepted.is_none() && thread.question.votes.is_empty());
            format!("{} asked {}", moment.at, thread.id)
        }
        What::Answered { answer } => {
            assert!(answer.votes.is_empty());
            format!("{} answered {}", moment.at, answer.id)
        }
        What::Commented { post, comment } => format!("{} commented {} on {post}", moment.at, comment.id),
        What::Voted { post, vote } => format!("{} {vote:?} on {post}", moment.at),
    };
    let moments: Vec<Moment> = replay.map(|moment| moment.unwrap()).collect();
    let line = serde_json::to_string(&moments[0]).unwrap();
    let begin = r#"{"at":1,"source":"s","terms":"own","thread":"s/1","event":"asked","question":{"id":"s/1","source":"s","title""#;
    assert!(line.starts_with(begin), "{line}");
    let part = Corpus::open(&folder.path().join("s")).unwrap().replay().unwrap().between(20, DAY);
    assert_eq!(part.remaining(), 3);
    assert_eq!(part.map(|moment| moment.unwrap()).collect::<Vec<_>>(), moments[1..4]);
    let moments: Vec<String> = moments.iter().map(told).collect();
    let wanted = [
        "1 asked s/1".to_owned(),
        "20 asked s/20".to_owned(),
        "25 commented 7 on 1".to_owned(),
        "30 answered 3".to_owned(),
        format!("{DAY} Up on 3"),
        format!("{DAY} Accept on 3"),
        format!("{} Down on 1", 6 * DAY),
    ];
    assert_eq!(moments, wanted);
}

fn author(name: &str, id: u64) -> Option<understudy_learning::stages::Author> {
    let url = Some(format!("https://s.example/users/{id}"));
    Some(understudy_learning::stages::Author { name: name.into(), url })
}

#[test]
fn who_is_to_be_forgotten_is_forgotten_now_and_at_every_later_ingest() {
    let folder = TempDir::new().unwrap();
    let said = |id, name, who| Comment { id, at: 1, text: "c".into(), author: author(name, who), licence: "L".into() };
    let by = |id, name, who| Post { author: author(name, who), ..post(id, id as i64, 0, &[]) };
    let mut kept = Thread { question: by(1, "Ana", 11), ..thread(1, vec![by(3, "Bo", 12), by(4, "Ana", 11)]) };
    kept.question.comments = vec![said(1, "Bo", 12), said(2, "Cy", 1)];
    let threads = [kept, Thread { question: by(2, "Bo", 12), ..thread(2, vec![by(5, "Ana", 11)]) }];
    build(folder.path(), &threads);
    assert_eq!(forget_author(folder.path(), "s", "12").unwrap().1, Forgotten { questions: 1, answers: 1, comments: 1 });
    let read = || -> Vec<Thread> {
        Corpus::open(&folder.path().join("s")).unwrap().threads().unwrap().collect::<Result<_, _>>().unwrap()
    };
    let left = read();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].answers.len(), left[0].answers[0].id, left[0].question.comments.len()), (1, 4, 1));
    assert!(left[0].question.comments[0].author == author("Cy", 1), "user 1 is not user 12");
    // The dump still has them; the corpus does not.
    let manifest = build(folder.path(), &threads);
    assert_eq!(read(), left);
    assert_eq!((manifest.forgotten.len(), manifest.dropped["forgotten_author"]), (1, 3));
    assert_eq!(
        forget_author(folder.path(), "s", "Ana").unwrap().1,
        Forgotten { questions: 1, answers: 0, comments: 0 }
    );
    assert!(read().is_empty());
    assert!(forget_author(folder.path(), "s", "Nobody").unwrap().1 == Forgotten::default());
    // Neither damage nor removal brings anybody back.
    std::fs::write(folder.path().join("s/manifest.json"), "{").unwrap();
    build(folder.path(), &threads);
    assert!(read().is_empty());
    remove(folder.path(), "s").unwrap();
    assert!(list(folder.path()).unwrap().is_empty() && remove(folder.path(), "s").is_err());
    build(folder.path(), &threads);
    assert!(read().is_empty());
}

#[test]
fn two_never_change_the_corpora_at_once() {
    let folder = TempDir::new().unwrap();
    build(folder.path(), &[thread(1, vec![])]);
    let building = Builder::begin(folder.path(), "other", "own", None).unwrap();
    let refusals = [
        Builder::begin(folder.path(), "s", "own", None).err(),
        forget_author(folder.path(), "s", "Ana").err(),
        remove(folder.path(), "s").err(),
    ];
    for refusal in refusals {
        let said = refusal.unwrap().to_string();
        assert!(said.contains("another process is changing what is in"), "{said}");
    }
    drop(building);
    remove(folder.path(), "s").unwrap();
}
