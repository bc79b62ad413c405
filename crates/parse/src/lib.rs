//! Records of a capture to typed events in time order, and step marks.

mod capture;
mod cursor;
mod diagnostics;
mod error;
pub mod events;
mod events_text;
mod events_write;
mod fields;
mod format;
mod perf_data;
mod print_fmt;
mod rfc3339;
mod source;
mod steps;
mod steps_read;
mod units;

pub use capture::{CaptureInfo, Clock, ClockId, CpuTotals, EventType, Topology, Totals};
pub use diagnostics::{Count, Diagnostics, Problem, Severity};
pub use error::Error;
pub use events::{Context, Event, Kind};
pub use events_write::{write_event, write_events_header};
pub use fields::{Addr, Args, BlockOp, Comm, Rwbs, SwitchState, Text};
pub use perf_data::{Redactor, cut};
pub use source::Capture;
pub use steps::{MarkClock, StepFile, StepId, StepMark, StepProblem};
pub use steps_read::read_steps;
pub use units::{Cpu, Dev, FileId, Nanos, Pid, Tid};
