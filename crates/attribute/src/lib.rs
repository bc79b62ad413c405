//! Step windows to critical paths, causes, verdicts and one report.

pub mod analyze;
pub mod cause;
pub mod coverage;
pub mod detail;
mod facts;
pub mod histogram;
mod inclusive;
mod mechanism;
pub mod path;
mod phases;
pub mod record_command;
pub mod report;
mod rows;
pub mod session;
mod spawn;
pub mod stacks;
mod startup;
pub mod stats;
pub mod timeline;
mod verdict;
mod walk;

pub use agenttrace_model as model;
pub use walk::walk;
