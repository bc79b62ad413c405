//! Events to task timelines, wakeup edges, requests and step windows.

mod build;
mod claims;
mod clock_fit;
mod clocks;
mod commit;
mod cut;
mod fd;
mod file_io;
mod files;
mod marks;
mod marks_check;
mod marks_join;
mod model;
mod op;
mod request;
pub mod stacks;
mod syscall_table;
mod task;
mod window;

pub use agenttrace_parse as parse;
pub use build::Builder;
pub use claims::claim_tasks;
pub use commit::{Commit, Handle};
pub use cut::Selection;
pub use file_io::{FileWrite, Plug};
pub use files::FileInfo;
pub use marks::{MarkEdge, RawMark, TraceAnchor};
pub use marks_join::{MarkOptions, Marked, MarkerSource, place_marks};
pub use model::{CacheEvent, Captured, LostInterval, Model};
pub use op::{FaultOp, FdKind, Op, OpKind, SyscallOp};
pub use request::Request;
pub use syscall_table::{SyscallClass, SyscallTable};
pub use task::{Span, State, Task, TaskId, UnknownReason, Wake, WakeId, WakeSource};
pub use window::{Claim, Step, Windows};
