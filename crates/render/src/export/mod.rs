//! A report and its timeline to the files of other people's viewers.

mod firefox;
mod perfetto;
mod speedscope;
mod words;

use std::io;

use agenttrace_attribute::report::{Report, StepReport};
use agenttrace_attribute::stacks::{Named, PathStacks};
use agenttrace_attribute::timeline::{SchedEvent, Timeline, TimelineSamples};
use agenttrace_model::Model;

/// A file format of a viewer.
pub trait Export: Sync {
    /// The name in `--to`.
    fn name(&self) -> &'static str;
    /// A few words for `--help`.
    fn about(&self) -> &'static str;
    /// Whether it is not text, and so nothing for a terminal.
    fn binary(&self) -> bool;
    /// Writes the file. Returns what is not in it, as sentences.
    ///
    /// # Errors
    /// Those of the writer.
    fn write(&self, job: &ExportJob<'_>, out: &mut dyn io::Write) -> io::Result<Vec<String>>;
}

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct ExportJob<'a> {
    /// The numbers.
    pub report: &'a Report,
    /// The steps to show, in the order of the report.
    pub steps: &'a [&'a StepReport],
    /// What the tasks did.
    pub model: &'a Model,
    /// The tasks of the steps.
    pub timeline: &'a Timeline,
    /// What the scheduler did in the timeline's time.
    pub sched: &'a [SchedEvent],
    /// The stacks of the capture, where there are any.
    pub stacks: Option<ExportStacks<'a>>,
}

/// The stacks of a capture, with what they say of the steps.
#[derive(Clone, Copy, Debug)]
pub struct ExportStacks<'a> {
    /// The stacks and their names.
    pub named: Named<'a>,
    /// The samples of the timeline's tasks.
    pub samples: &'a TimelineSamples,
    /// The stacks below the critical paths.
    pub path: &'a PathStacks<'a>,
}

/// Every export, by name.
pub static EXPORTS: [&dyn Export; 3] =
    [&firefox::Firefox, &perfetto::Perfetto, &speedscope::Speedscope];
