//! Records of a capture to typed events in time order, and step marks.
//!
//! ```
//! use agenttrace_parse::{Capture, Diagnostics, ReadOptions, Unpacked};
//!
//! let text = b"# agenttrace.events/1\n1000 0 42/42 . raw_syscalls:sys_exit id=0 ret=4096\n";
//! let unpacked = Unpacked::of(text)?;
//! let capture = Capture::open(&unpacked, &ReadOptions::default())?;
//! let mut diagnostics = Diagnostics::default();
//! let mut names = Vec::new();
//! let totals = capture.read(&mut diagnostics, &mut |events| {
//!     names.extend(events.iter().map(|event| event.kind.name()));
//! })?;
//! assert_eq!(names, ["raw_syscalls:sys_exit"]);
//! assert_eq!(totals.events, 1);
//! # Ok::<(), agenttrace_parse::Error>(())
//! ```

mod attach;
mod build_id;
mod capture;
mod chunks;
pub mod context;
mod cursor;
mod diagnostics;
mod error;
pub mod events;
mod events_text;
#[cfg(test)]
mod events_text_tests;
mod events_write;
mod expand;
mod fields;
mod format;
mod formats;
mod frame_lines;
mod frames;
mod ftrace;
mod perf_data;
mod print_fmt;
mod rfc3339;
mod source;
pub mod stack;
mod steps;
mod steps_line;
mod steps_read;
mod steps_repeat;
mod stream;
#[cfg(test)]
mod support_tests;
mod topology;
mod trace_dat;
mod tracepoint;
mod units;
mod unpack;

pub use build_id::BuildId;
pub use capture::{CaptureInfo, Clock, ClockId, CpuTotals, EventType, Fidelity, Totals};
pub use diagnostics::{Count, Diagnostics, Problem, Severity};
pub use error::Error;
pub use events::{Context, Event, Kind};
pub use events_write::{write_event, write_events_header};
pub use expand::{Limits, inflated_len, is_packed, plain_reader};
pub use fields::{Addr, Args, BlockOp, Comm, CommBytes, Ip6, Rwbs, SwitchState, Text};
pub use formats::Formats;
pub use perf_data::{Redactor, Repeat, cut};
pub use source::{Capture, Leaves, Progress, ReadOptions, Skim};
pub use steps::{Calibration, ClockAnchor, MarkClock, StepFile, StepId, StepMark, StepProblem};
pub use steps_read::read_steps;
pub use topology::{BadTopology, Distance, Seats, Topology};
pub use units::{Cpu, Dev, FileId, Nanos, Pid, Tid};
pub use unpack::{Input, Unpacked};
