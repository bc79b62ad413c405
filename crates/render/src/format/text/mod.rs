//! A report to the text of a terminal: the session's one screen, or one step in full.

mod session;
mod step;

use std::io;

use agenttrace_attribute::report::{Report, StepReport};

use super::{Format, Job};
use crate::escape::{pad, wrap};
use crate::style::{Ink, Style};

/// The text format.
pub(crate) struct Text;

impl Format for Text {
    fn name(&self) -> &'static str {
        "text"
    }
    fn extension(&self) -> &'static str {
        "txt"
    }
    fn about(&self) -> &'static str {
        "one screen for a person; with a step, that step in full"
    }
    fn write(&self, job: &Job<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let text = match job.step {
            Some(one) => step(job.report, one, &job.style),
            None => session(job.report, &job.style, job.out_hint),
        };
        out.write_all(text.as_bytes())
    }
}

/// The session on one screen: where the time went, the slowest steps with a
/// verdict each, and what the capture cannot show. `out_hint` says where the
/// full reports are.
#[must_use]
pub fn session(report: &Report, style: &Style, out_hint: Option<&str>) -> String {
    session::screen(report, style, out_hint)
}

/// One step in full: the table of causes that adds up, what all its tasks did,
/// verdicts with evidence and remedies.
#[must_use]
pub fn step(report: &Report, step: &StepReport, style: &Style) -> String {
    step::block(report, step, style)
}

/// Width of the labels on the left.
const LABEL: usize = 15;

/// Lines, written from the top.
struct Page<'a> {
    style: &'a Style,
    out: String,
}

impl<'a> Page<'a> {
    fn new(style: &'a Style) -> Self {
        Self { style, out: String::new() }
    }

    /// A finished line; spaces at its end are dropped.
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    fn heading(&mut self, text: &str) {
        let text = self.style.ink(Ink::Strong, text);
        self.line(&text);
    }

    /// A label and a text of any length beside it, wrapped.
    fn labelled(&mut self, label: &str, ink: Option<Ink>, text: &str) {
        let room = self.style.columns() - LABEL;
        for (i, part) in wrap(&self.style.safe(text), room).iter().enumerate() {
            let label = pad(if i == 0 { label } else { "" }, LABEL);
            let part = match ink {
                Some(ink) => self.style.ink(ink, part),
                None => part.clone(),
            };
            let label = self.style.ink(Ink::Faint, &label);
            self.line(&format!("{label}{part}"));
        }
    }

    /// A label and items beside it, three spaces between items, as many in a
    /// line as fit; an item is broken only where it is longer than a line.
    fn items(&mut self, label: &str, items: &[String]) {
        let room = self.style.columns() - LABEL;
        let mut lines: Vec<String> = Vec::new();
        for item in items {
            let item = self.style.safe(item);
            match lines.last_mut() {
                Some(line)
                    if crate::escape::width(line) + 3 + crate::escape::width(&item) <= room =>
                {
                    line.push_str("   ");
                    line.push_str(&item);
                }
                _ => lines.extend(wrap(&item, room)),
            }
        }
        for (i, line) in lines.iter().enumerate() {
            let label = pad(if i == 0 { label } else { "" }, LABEL);
            let label = self.style.ink(Ink::Faint, &label);
            self.line(&format!("{label}{line}"));
        }
    }
}

#[cfg(test)]
mod tests;
