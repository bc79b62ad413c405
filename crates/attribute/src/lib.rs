//! Step windows to critical paths, causes, verdicts and one report.

pub mod analyze;
mod block_io;
pub mod cause;
pub mod coverage;
mod cpu_lines;
pub mod detail;
mod facts;
pub mod histogram;
mod inclusive;
mod journal;
mod locks;
mod mechanism;
mod moves;
mod names;
mod page_cache;
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
mod steal;
mod throttle;
pub mod timeline;
mod tools;
mod tracing;
mod uring;
mod verdict;
mod wakeup;
mod walk;

pub use agenttrace_model as model;
pub use walk::walk;
