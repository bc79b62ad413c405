//! Step windows to critical paths, causes, verdicts and one report.

pub mod cause;
mod facts;
pub mod path;
pub mod report;
mod rows;
mod walk;

pub use agenttrace_model as model;
pub use walk::walk;
