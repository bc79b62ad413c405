//! Events to task timelines, wakeup edges, requests and step windows.

mod build;
mod claims;
mod clock_fit;
mod clocks;
mod cut;
mod fd;
mod files;
mod lock;
mod marks;
mod marks_check;
mod marks_join;
mod model;
mod op;
mod reclaim;
mod request;
pub mod stacks;
mod syscall_table;
mod task;
mod tlb;
mod window;

pub use agenttrace_parse as parse;
pub use build::Builder;
pub use claims::claim_tasks;
pub use cut::Selection;
pub use files::FileInfo;
pub use lock::LockKind;
pub use marks::{MarkEdge, RawMark, TraceAnchor};
pub use marks_join::{MarkOptions, Marked, MarkerSource, place_marks};
pub use model::{CacheEvent, Captured, LostInterval, Model};
pub use op::{FaultOp, FdKind, Op, OpKind, SyscallOp};
pub use reclaim::{DirtyPause, Kswapd, KswapdEvent, OomKill, ReclaimKind, ReclaimOp};
pub use request::Request;
pub use syscall_table::{SyscallClass, SyscallTable};
pub use task::{Span, State, Task, TaskId, UnknownReason, Wake, WakeId, WakeSource};
pub use tlb::{FlushKind, Shootdown, TlbFlush};
pub use window::{Claim, Step, Windows};
