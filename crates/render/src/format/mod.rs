//! One report to a whole document, in the format that a name selects.

pub mod json;
pub mod markdown;
pub mod text;

use std::io;

use agenttrace_attribute::report::{Report, StepReport};

use crate::style::Style;

/// A way to write a whole report.
pub trait Format: Sync {
    /// The name in `--format`.
    fn name(&self) -> &'static str;
    /// The end of file names.
    fn extension(&self) -> &'static str;
    /// A few words for `--help`.
    fn about(&self) -> &'static str;
    /// Writes the report.
    ///
    /// # Errors
    /// Those of the writer.
    fn write(&self, job: &Job<'_>, out: &mut dyn io::Write) -> io::Result<()>;
}

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The numbers.
    pub report: &'a Report,
    /// Only this step, in full, where the format tells one step from the session
    /// (JSON then holds this step alone).
    pub step: Option<&'a StepReport>,
    /// Width and colours of the text format.
    pub style: Style,
    /// Where the full reports are, as the text is to say it.
    pub out_hint: Option<&'a str>,
}

/// Every format, the default first.
pub static FORMATS: [&dyn Format; 3] = [&text::Text, &json::Json, &markdown::Markdown];
