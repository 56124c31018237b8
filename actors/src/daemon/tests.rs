//! The whole loop on the tiny model, in process.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::Instant;
use understudy_learning::stages::{Feedback, FeedbackKind};
use understudy_model::text::Message;

use super::*;
use crate::failpoint::Failpoints;
use crate::messages::{ChatError, FeedbackRefusal, LoopEvent, TokenEvent};
use crate::runtime::Drained;
use crate::testkit::{Scripted, low_bytes, running, sampling, tiny_config, tiny_parts};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn start(dir: &Path, failpoints: Failpoints) -> Daemon {
    let parts = tiny_parts(dir, 7, Scripted::honest(low_bytes), failpoints);
    Daemon::start(tiny_config(7), parts).await.expect("the tiny daemon starts")
}

async fn drain(daemon: Daemon) -> Drained {
    daemon.drain(soon()).run(soon(), std::future::pending()).await.expect("a clean end")
}

/// Waits until so many policy updates were seen.
async fn updates(handle: &DaemonHandle, count: usize) {
    let mut events = handle.events();
    let mut seen = 0;
    let watch = async {
        while seen < count {
            match events.next().await {
                Some(LoopEvent::PolicyUpdate { .. }) => seen += 1,
                Some(_) => {}
                None => panic!("the loop ended"),
            }
        }
    };
    tokio::time::timeout_at(soon(), watch).await.unwrap_or_else(|_| panic!("{:#?}", handle.status()));
}

fn chat(text: &str) -> ChatRequest {
    let messages = vec![Message::user(text)];
    ChatRequest { messages, samples: 2, sampling: sampling(6), stop: vec![], deadline: soon(), asked_at: 0 }
}

/// Ids of the answers to a chat, by sample.
async fn answers(mut stream: ChatStream) -> Result<Vec<u64>, ChatError> {
    let mut ids = vec![0; 2];
    while let Some(event) = stream.next().await {
        match event {
            TokenEvent::Token { .. } => {}
            TokenEvent::Finished { sample, answer, .. } => ids[sample] = answer,
            TokenEvent::Failed(why) => return Err(why),
        }
    }
    Ok(ids)
}

fn thumb(id: &str, answer: u64) -> Feedback {
    Feedback { id: id.into(), annotator: "ana".into(), at: 1, kind: FeedbackKind::Thumb { answer, up: true } }
}

#[test]
fn the_loop_learns_checkpoints_and_ends_cleanly() {
    let dir = TempDir::new().unwrap();
    running(async {
        let daemon = start(dir.path(), Failpoints::off()).await;
        let handle = daemon.handle();
        updates(&handle, 3).await;
        let status = handle.status();
        assert!(status.policy_version >= 3 && status.not_ready.is_empty(), "{status:#?}");
        assert!(status.reward.version > 0, "feedback was learned from: {status:#?}");
        assert_eq!(daemon.invariants().violations(), 0);
        let steps = drain(daemon).await.steps;
        assert_eq!(steps.last().unwrap().0, "store");
        assert_eq!(handle.chat(chat("late")).err(), Some(ChatError::Closed));
    });
}
