//! A report to Markdown.
use super::{Format, Job};
use std::io;
/// The Markdown format.
pub(crate) struct Markdown;
impl Format for Markdown {
    fn name(&self) -> &'static str {
        "md"
    }
    fn extension(&self) -> &'static str {
        "md"
    }
    fn about(&self) -> &'static str {
        "the same as text, for issues and mail"
    }
    fn write(&self, _job: &Job<'_>, _out: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }
}
