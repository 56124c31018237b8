//! The loop's figures as TensorBoard's event files, for those who already look at their runs there.
//!
//! Invariant: nobody waits for the disk: events are turned into values where they happen, and a thread of its own writes
//! them. What a failing or slow disk does not take is counted and left out, with one line in the log until it works again.

pub mod event;
pub mod figures;
pub mod writer;

use std::future::Future;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use futures_util::{Stream, StreamExt};
use metrics::counter;
use understudy_actors::messages::LoopEvent;

use super::metrics::TENSORBOARD_LOST;
use crate::clock;
use crate::config::Telemetry;
use figures::{Figures, Run, Values};
use writer::Writer;

/// Updates that may wait for the disk.
const MOST_WAITING: usize = 256;

/// Records `events` under the configured folder until they end; ready when all of it is written. Returns at once with
/// nothing to do where no folder is set.
pub fn record<S>(settings: &Telemetry, events: S) -> impl Future<Output = ()> + use<S>
where
    S: Stream<Item = LoopEvent>,
{
    let dir = &settings.tensorboard_dir;
    let thread = (!dir.as_os_str().is_empty()).then(|| start(dir, settings.tensorboard_max_bytes));
    async move {
        let Some((sender, written)) = thread else { return };
        let mut events = std::pin::pin!(events);
        let mut figures = Figures::default();
        while let Some(event) = events.next().await {
            if let Some(values) = figures.take(clock::now_ms(), &event) {
                let lost = values.values.len();
                if sender.try_send(values).is_err() {
                    counter!(TENSORBOARD_LOST).increment(lost as u64);
                }
            }
        }
        drop(sender);
        let _ = written.await; // an error says that the thread is gone, and with it all that it could write
    }
}

/// A thread that writes under `dir`; the second part is ready when it has ended.
fn start(dir: &Path, most_bytes: u64) -> (SyncSender<Values>, tokio::sync::oneshot::Receiver<()>) {
    let (sender, waiting) = sync_channel(MOST_WAITING);
    let (done, written) = tokio::sync::oneshot::channel();
    let of = |run: Run| Writer::new(dir.join(run.name()), most_bytes / Run::ALL.len() as u64);
    let writers = Run::ALL.map(of);
    let started = std::thread::Builder::new().name("tensorboard".to_owned()).spawn(move || {
        write(writers, &waiting);
        let _ = done.send(());
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for TensorBoard's files: nothing is written there");
    }
    (sender, written)
}

/// Writes what comes until nothing more can.
fn write(mut writers: [Writer; Run::ALL.len()], waiting: &Receiver<Values>) {
    let mut failing = false;
    for values in waiting {
        let Values { run, t_ms, step, values } = values;
        match writers[run as usize].write(t_ms, step, &values) {
            Ok(()) => failing = false,
            Err(error) => {
                counter!(TENSORBOARD_LOST).increment(values.len() as u64);
                if !failing {
                    tracing::warn!(%error, "TensorBoard's files cannot be written; learning goes on without them");
                }
                failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use futures_util::stream;
    use understudy_learning::reward::RewardReport;

    use super::*;

    fn learned(version: u64) -> LoopEvent {
        let report = RewardReport {
            version,
            events: 8,
            answers: 8,
            likelihood_loss: 0.5,
            utility_loss: 0.0,
            utility_questions: 0,
            grad_norm: 1.0,
            saturated: 0.0,
            skipped: false,
        };
        let (prequential_accuracy, prequential_log_loss) = (Some(0.75), None);
        let learned = vec![version];
        LoopEvent::RewardUpdate {
            version,
            report,
            prequential_accuracy,
            prequential_log_loss,
            learned,
            replay: 1,
            seconds: 0.1,
        }
    }

    async fn record_into(dir: PathBuf) {
        let settings = Telemetry { tensorboard_dir: dir, tensorboard_max_bytes: 1 << 20 };
        record(&settings, stream::iter((1..=3).map(learned))).await;
    }

    #[actix_web::test]
    async fn what_was_learned_is_on_disk_when_the_events_end_and_a_restart_begins_another_file() {
        let folder = tempfile::tempdir().unwrap();
        for starts in 1..=2 {
            record_into(folder.path().to_owned()).await;
            let files: Vec<PathBuf> =
                std::fs::read_dir(folder.path().join("reward")).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(files.len(), starts, "{files:?}");
            for file in files {
                let bytes = std::fs::read(file).unwrap();
                let found = bytes.windows(13).filter(|window| window == b"train/accurac").count();
                assert_eq!(found, 3, "one value an update");
            }
        }
        assert!(!folder.path().join("policy").exists(), "a run without a value has no file");
    }

    #[actix_web::test]
    async fn a_folder_that_cannot_be_written_stops_nothing_and_without_one_nothing_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "in the way").unwrap();
        record_into(file.join("runs")).await;
        record_into(PathBuf::new()).await;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
