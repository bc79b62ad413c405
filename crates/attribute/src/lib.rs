//! Step windows to critical paths, causes, verdicts and one report.

pub mod cause;
pub mod path;
pub mod report;

pub use agenttrace_model as model;
