//! The stage inside the running loop on the tiny model.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::Instant;
use understudy_learning::stages::{Feedback, FeedbackKind};
use understudy_model::text::Message;

use super::*;
use crate::daemon::{ChatRequest, Daemon, DaemonConfig, DaemonHandle};
use crate::failpoint::Failpoints;
use crate::link::Subscription;
use crate::messages::{LoopEvent, TokenEvent};
use crate::testkit::{Scripted, bright_tokens, running, sampling, tiny_config, tiny_parts};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A guarded loop; the tiny model's KL is nobody's business here.
fn config(stage: StageConfig) -> DaemonConfig {
    let stage = StageConfig { mode: StageMode::Guarded, max_kl_per_sequence: Some(0.0), ..stage };
    DaemonConfig { stage, ..tiny_config(7) }
}

async fn start(dir: &Path, config: DaemonConfig) -> Daemon {
    let parts = tiny_parts(dir, 7, Scripted::honest(bright_tokens(7)), Failpoints::off());
    Daemon::start(config, parts).await.expect("the tiny daemon starts")
}

async fn drain(daemon: Daemon) {
    daemon.drain(soon()).run(soon(), std::future::pending()).await.expect("a clean end");
}

async fn until(events: &mut Subscription<LoopEvent>, wanted: impl Fn(&LoopEvent) -> bool) -> LoopEvent {
    let found = async {
        loop {
            let event = events.next().await.expect("the loop goes on");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout_at(soon(), found).await.expect("in time")
}

fn is_canary(event: &LoopEvent) -> bool {
    matches!(event, LoopEvent::Stage { change: Change::Canary { .. } })
}

/// Asks for one answer; its id and the versions that sampled it.
async fn ask(handle: &DaemonHandle, text: &str) -> (u64, Vec<u64>) {
    let messages = vec![Message::user(text)];
    let asked =
        ChatRequest { messages, samples: 1, sampling: sampling(4), stop: vec![], deadline: soon(), asked_at: 0 };
    let mut stream = handle.chat(asked).expect("nobody is refused");
    let mut versions = Vec::new();
    loop {
        match stream.next().await.expect("an end") {
            TokenEvent::Token { version, .. } => versions.push(version),
            TokenEvent::Finished { answer, .. } => {
                versions.dedup();
                return (answer, versions);
            }
            TokenEvent::Failed(why) => panic!("{why}"),
        }
    }
}

#[test]
fn people_are_answered_by_the_lead_and_a_share_by_the_candidate_while_the_newest_learns() {
    let dir = TempDir::new().unwrap();
    running(async {
        let settings = StageConfig { canary_share: 0.3, most_answers: 100_000, ..StageConfig::default() };
        let daemon = start(dir.path(), config(settings)).await;
        let handle = daemon.handle();
        let mut events = handle.events();
        assert_eq!(ask(&handle, "before anything was learned").await.1, [0]);
        until(&mut events, is_canary).await;
        let tried = handle.stage().candidate.expect("on trial").version.version;
        let (mut lead, mut candidate) = (0u32, 0u32);
        for i in 0..60 {
            let (answer, versions) = ask(&handle, &format!("question {i}")).await;
            match versions[..] {
                [0] if !goes_to_candidate(answer, 0.3) => lead += 1,
                [version] if version == tried && goes_to_candidate(answer, 0.3) => candidate += 1,
                _ => panic!("{answer} is by {versions:?}; the lead is 0, the candidate {tried}"),
            }
        }
        // Which ids people get depends on how many training answers lie between; four standard errors around 18.
        assert!((4..=32).contains(&candidate), "{candidate} of {}", lead + candidate);
        until(&mut events, |event| matches!(event, LoopEvent::PolicyUpdate { version, .. } if *version > tried + 2))
            .await;
        let trained = until(&mut events, |event| matches!(event, LoopEvent::Answered { chat: false, .. })).await;
        assert!(matches!(trained, LoopEvent::Answered { version, .. } if version > tried), "{trained:?}");
        assert_eq!((handle.serving_version(), handle.stage().lead.version), (0, 0));
        assert_eq!(daemon.invariants().violations(), 0);
        assert!(handle.status().actors.iter().all(|actor| actor.restarts == 0), "{:#?}", handle.status().actors);
        drain(daemon).await;
    });
}

#[test]
fn what_people_say_promotes_or_rolls_back_and_nobody_is_refused_at_a_swap() {
    for (candidate_wins, wanted) in [(true, "promoted"), (false, "rolled_back")] {
        let dir = TempDir::new().unwrap();
        running(async {
            let settings = StageConfig { canary_share: 0.5, most_answers: 100_000, ..StageConfig::default() };
            let daemon = start(dir.path(), config(settings)).await;
            let handle = daemon.handle();
            let mut events = handle.events();
            until(&mut events, is_canary).await;
            let tried = handle.stage().candidate.expect("on trial").version.version;
            let mut rated = 0;
            let change = loop {
                let (answer, versions) = ask(&handle, &format!("question {rated}")).await;
                let stars = if (versions == [tried]) == candidate_wins { 5 } else { 1 };
                let kind = FeedbackKind::Stars { answer, stars };
                let said = Feedback { id: format!("s{rated}"), annotator: "ana".into(), at: 1, kind, why: None };
                handle.submit_feedback(said, soon()).await.expect("taken");
                rated += 1;
                let done = |event: &LoopEvent| match event {
                    LoopEvent::Stage { change } if change.name() == wanted => Some(change.clone()),
                    _ => None,
                };
                let mut happened = Vec::new();
                while let Some(Some(event)) = futures_util::FutureExt::now_or_never(events.next()) {
                    happened.push(event);
                }
                if let Some(change) = happened.iter().find_map(done) {
                    break change;
                }
                assert!(rated < 400, "{:#?}", handle.stage());
            };
            let lead = handle.stage().lead.version;
            match change {
                Change::Promoted { version, from, .. } => assert_eq!((version, from, lead), (tried, 0, tried)),
                Change::RolledBack { version, to, reason, .. } => {
                    assert_eq!((version, to, reason, lead), (tried, 0, Reason::Worse, 0));
                }
                other => panic!("{other}"),
            }
            assert!(ask(&handle, "and on").await.1.contains(&lead) || handle.stage().candidate.is_some());
            drain(daemon).await;
        });
    }
}

#[test]
fn orders_are_followed_and_the_lead_and_its_pin_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let settings = || StageConfig { most_answers: 100_000, ..StageConfig::default() };
    let (lead, before) = running(async {
        let daemon = start(dir.path(), config(settings())).await;
        let handle = daemon.handle();
        let mut events = handle.events();
        until(&mut events, is_canary).await;
        let missing = handle.direct(Order::Promote(Some(1 << 40)), soon()).await.unwrap_err();
        assert!(missing.to_string().contains("is not kept; 0, "), "{missing}");
        let lead = handle.direct(Order::Promote(None), soon()).await.unwrap().lead.version;
        // Until it is pinned the next candidate may come at once, and be asked.
        let pinned = handle.direct(Order::Pin(lead), soon()).await.unwrap();
        assert!(pinned.pinned && pinned.candidate.is_none());
        let (answer, versions) = ask(&handle, "now").await;
        assert!(lead > 0 && versions == [lead], "answer {answer} is by {versions:?}, {lead} leads");
        assert_eq!(handle.direct(Order::Rollback(None), soon()).await, Err(StageRefusal::Pinned(lead)));
        until(&mut events, |event| matches!(event, LoopEvent::PolicyUpdate { version, .. } if *version > lead + 3))
            .await;
        assert_eq!(ask(&handle, "still").await.1, [lead]);
        let before = handle.bus().casts.read(|_, cast| crate::checkpoint::encode(&cast.lead.1.parameters()).unwrap());
        drain(daemon).await;
        (lead, before)
    });
    running(async {
        let daemon = start(dir.path(), config(settings())).await;
        let handle = daemon.handle();
        assert!(handle.policy_version() > lead, "training goes on from its checkpoint");
        let stage = handle.stage();
        assert_eq!((stage.lead.version, stage.pinned, stage.before[0].version), (lead, true, 0));
        assert_eq!(ask(&handle, "again").await.1, [lead]);
        let after = handle.bus().casts.read(|_, cast| crate::checkpoint::encode(&cast.lead.1.parameters()).unwrap());
        assert!(before == after, "the same weights bit for bit");
        handle.direct(Order::Unpin, soon()).await.unwrap();
        assert_eq!(handle.direct(Order::Rollback(Some(0)), soon()).await.unwrap().lead.version, 0);
        assert_eq!(ask(&handle, "back").await.1, [0]);
        drain(daemon).await;
    });
}

#[test]
fn where_every_version_serves_at_once_there_is_nothing_to_direct_and_no_file() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), tiny_config(7)).await;
        let handle = daemon.handle();
        let mut events = handle.events();
        until(&mut events, |event| matches!(event, LoopEvent::PolicyUpdate { version: 2.., .. })).await;
        assert_eq!(handle.direct(Order::Unpin, soon()).await, Err(StageRefusal::Direct));
        assert!(handle.serving_version() >= 2 && handle.stage().mode == StageMode::Direct);
        assert!(handle.bus().casts.stamp() == 0 && !dir.path().join("stage").exists());
        drain(daemon).await;
    });
}
