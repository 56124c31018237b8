//! How to add an actor to the bus: a critic that reads every durable answer and gives a thumb for brevity, through the same
//! port as everybody else.
//!
//! It is supervised like the built-in actors: it dies once on purpose here, is started anew, and nothing that it was told is
//! lost. Run with `cargo run --example custom_actor`; it takes seconds, on a tiny random model.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use understudy_actors::daemon::{Daemon, DaemonHandle, DaemonParts};
use understudy_actors::failpoint::Failpoints;
use understudy_actors::supervision::{Supervised, Supervision};
use understudy_actors::testkit::{Scripted, noise, running, tiny_config, tiny_parts};
use understudy_actors::worker::{Desk, Job, Worker};
use understudy_learning::stages::{Feedback, FeedbackKind};

/// Ratings after which the example has shown enough.
const ENOUGH: u64 = 12;

/// The actor's work: it holds the way to the daemon and nothing else, so a new incarnation is as good as the old.
struct Critic {
    daemon: DaemonHandle,
    incarnation: u64,
}

impl Job for Critic {
    type State = ();

    async fn run(self, desk: Desk<()>) -> Result<(), String> {
        let mut answered = self.daemon.answered();
        let mut given = 0;
        loop {
            // Control is heard at each await; the feed ends when the daemon drains.
            let question = tokio::select! {
                () = desk.lifeline.cancel().cancelled() => return Err("told to end".to_owned()),
                question = answered.next() => question,
            };
            let Some(question) = question else { return Ok(()) };
            for answer in question.answers.iter() {
                let kind = FeedbackKind::Thumb { answer: answer.id, up: answer.text.len() < 8 };
                // The id makes it idempotent: said again after a restart it is still one event.
                let id = format!("critic-{}", answer.id);
                let feedback = Feedback { id, annotator: "critic".to_owned(), at: 0, kind, why: None };
                let deadline = Instant::now() + Duration::from_secs(5);
                match self.daemon.submit_feedback(feedback, deadline).await {
                    Ok(ack) => println!("answer {:>3} is rated; journal record {}", answer.id, ack.seq),
                    Err(refusal) => println!("answer {:>3} is not rated: {refusal}", answer.id),
                }
                given += 1;
                assert!(self.incarnation > 0 || given < 5, "the critic fails on purpose");
            }
        }
    }
}

fn start_critic(daemon: &DaemonHandle) -> Supervised {
    let daemon = daemon.clone();
    let (critic, _control) = Supervision::new("critic").start(move |lifeline| {
        let incarnation = lifeline.incarnation();
        Ok::<_, Infallible>(Worker::new(Critic { daemon: daemon.clone(), incarnation }, lifeline))
    });
    critic
}

fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    running(async {
        let parts = tiny_parts(dir.path(), 1, Scripted::honest(noise(1)), Failpoints::off());
        let mut daemon = Daemon::start(tiny_config(1), DaemonParts { rater: None, ..parts }).await?;
        let handle = daemon.handle();
        let critic = start_critic(&handle);
        daemon.adopt(critic.clone());
        while handle.status().reward.up_to == 0 || handle.store_stats().last_seq < ENOUGH || critic.restarts() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("the critic was started anew {} time(s)", critic.restarts());
        let by = Instant::now() + Duration::from_secs(30);
        daemon.drain(by).run(by, std::future::pending()).await?;
        let verdict = critic.verdict().await;
        println!("the critic {verdict}; the reward model had learned {} times", handle.status().reward.version);
        Ok(())
    })
}
