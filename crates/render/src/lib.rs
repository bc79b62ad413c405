//! One [`Report`] to text, JSON, Markdown, pictures and tables. Lays out, computes nothing.
//!
//! No function opens a file: each returns a `String` or writes to an
//! [`io::Write`](std::io::Write). The same report gives the same bytes,
//! everywhere. Text that comes from the trace (names of tasks, tools, files) is
//! escaped wherever it is shown.
//!
//! ```
//! # use agenttrace_render::{FORMATS, Style};
//! let names: Vec<_> = FORMATS.iter().map(|format| format.name()).collect();
//! assert_eq!(names, ["text", "json", "md"]);
//! assert_eq!(Style::default().width, 100);
//! ```
//!
//! [`Report`]: agenttrace_attribute::report::Report

mod counters;
mod details;
mod duration;
mod escape;
mod export;
mod family;
mod format;
mod json_writer;
mod rows;
mod style;

pub mod flamegraph;
pub mod histogram;
pub mod tables;

#[cfg(test)]
mod fixture;

pub use escape::visible;
pub use export::{EXPORTS, Export, ExportJob, ExportStacks};
pub use format::{FORMATS, Format, Job, json, markdown, text};
pub use style::Style;
