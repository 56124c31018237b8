//! The demo's view of the loop: a few lines that are redrawn on a terminal, plain lines elsewhere.
//!
//! Invariant: it only watches. A slow terminal makes it miss events (the feed forgets the oldest), never the loop wait.

mod state;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing_subscriber::fmt::MakeWriter;
use understudy_actors::daemon::DaemonHandle;
use understudy_actors::messages::LoopEvent;

use state::State;

/// Pause between two redrawings on a terminal.
const REDRAW: Duration = Duration::from_millis(500);
/// Pause between two lines elsewhere.
const LINE: Duration = Duration::from_secs(10);

/// Where the loop is shown.
#[derive(Clone)]
pub struct View {
    lines: MultiProgress,
    terminal: bool,
    json: bool,
}

impl View {
    /// A view that redraws itself on a terminal, writes events as JSON lines to stdout, or else plain lines.
    pub fn new(terminal: bool, json: bool) -> Self {
        let target = if terminal { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() };
        Self { lines: MultiProgress::with_draw_target(target), terminal, json }
    }

    /// Log lines go above the view.
    pub fn log_writer(&self) -> LogWriter {
        LogWriter { lines: self.lines.clone(), terminal: self.terminal }
    }

    /// One line above the view.
    pub fn say(&self, line: &str) {
        if self.terminal {
            let _ = self.lines.println(line);
        } else if !self.json {
            println!("{line}");
        }
    }

    /// Shows what happens until `updates` policy updates were seen (0: until the loop ends).
    pub async fn watch(self, handle: DaemonHandle, address: Option<SocketAddr>, data: PathBuf, updates: u64) -> String {
        let mut events = handle.events();
        let mut state = State::new(&handle.status());
        let shown = address.map_or_else(|| "no HTTP".to_owned(), |address| format!("http://{address}"));
        self.say(&format!("{} · {shown} · data in {} · Ctrl-C drains", state.resumed_line(), data.display()));
        let bars = self.bars();
        let mut tick = interval(if self.terminal { REDRAW } else { LINE });
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event else { break };
                    if self.json {
                        self.print_json(&event);
                    }
                    state.take(event);
                    if updates > 0 && state.updates_seen() >= updates {
                        break;
                    }
                }
                _ = tick.tick() => {
                    let lines = state.lines(&handle.status(), begun.elapsed());
                    if self.terminal {
                        bars.iter().zip(&lines).for_each(|(bar, line)| bar.set_message(line.clone()));
                    } else if !self.json {
                        println!("{}", state.one_line(&handle.status(), begun.elapsed()));
                    }
                }
            }
        }
        if self.terminal {
            let lines = state.lines(&handle.status(), begun.elapsed());
            bars.iter().zip(&lines).for_each(|(bar, line)| bar.finish_with_message(line.clone()));
        } else {
            self.say(&state.one_line(&handle.status(), begun.elapsed()));
        }
        format!("{} updates were seen", state.updates_seen())
    }

    fn bars(&self) -> Vec<ProgressBar> {
        let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |_| self.lines.add(ProgressBar::new_spinner().with_style(style.clone()));
        (0..state::LINES).map(bar).collect()
    }

    fn print_json(&self, event: &LoopEvent) {
        if let Ok(line) = serde_json::to_string(event) {
            println!("{line}");
        }
    }
}

/// Makes writers of log lines.
#[derive(Clone)]
pub struct LogWriter {
    lines: MultiProgress,
    terminal: bool,
}

/// Writes one log line.
pub struct LogLine {
    lines: MultiProgress,
    terminal: bool,
    bytes: Vec<u8>,
}

impl MakeWriter<'_> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&self) -> LogLine {
        LogLine { lines: self.lines.clone(), terminal: self.terminal, bytes: Vec::new() }
    }
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.bytes).trim_end().to_owned();
        self.bytes.clear();
        match self.terminal {
            true => self.lines.println(text),
            false => writeln!(io::stderr(), "{text}"),
        }
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}
