//! Records of a capture to typed events in time order, and step marks.

mod capture;
mod diagnostics;
mod error;
pub mod events;
mod events_text;
mod fields;
mod format;
mod steps;
mod units;

pub use capture::{CaptureInfo, Clock, ClockId, CpuTotals, EventType, Topology, Totals};
pub use diagnostics::{Count, Diagnostics, Problem, Severity};
pub use error::Error;
pub use fields::{Addr, Args, BlockOp, Comm, Rwbs, SwitchState, Text};
pub use steps::{MarkClock, StepFile, StepId, StepMark, StepProblem};
pub use units::{Cpu, Dev, FileId, Nanos, Pid, Tid};
