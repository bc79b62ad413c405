//! How far the reading of a capture is, on standard error where that is a terminal.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use agenttrace_model::parse::Progress;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// The line is drawn anew no more often.
const REDRAW: Duration = Duration::from_millis(100);

/// A line that tells bytes, events a second and the time that is left.
pub(crate) struct ProgressLine {
    /// None where nobody would see it.
    bar: Option<ProgressBar>,
    begun: Instant,
    drawn: Instant,
    events: u64,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let style = "{bytes} of {total_bytes} {bar:24} {msg}, {eta} left";
            ProgressStyle::with_template(style).map(|style| bar.set_style(style)).ok();
            bar
        });
        Self { bar, begun: now, drawn: now, events: 0 }
    }

    /// So many events more were read. Costs a look at the clock, and now and then a line.
    pub(crate) fn events(&mut self, events: usize, read: impl Fn() -> Progress) {
        let Some(bar) = &self.bar else { return };
        self.events = self.events.saturating_add(events as u64);
        if self.drawn.elapsed() < REDRAW {
            return;
        }
        self.drawn = Instant::now();
        let Progress { bytes, of } = read();
        bar.set_length(of.max(bytes));
        bar.set_position(bytes);
        let rate = self.events as f64 / self.begun.elapsed().as_secs_f64();
        bar.set_message(format!("{} events/s", HumanCount(rate as u64)));
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
