//! In-band step marks, as the kernel recorded them.

use agenttrace_parse::Nanos;

use crate::task::TaskId;

/// One `prctl(0x41475354, ...)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawMark {
    /// Time of the call's entry.
    pub time: Nanos,
    /// The task that called.
    pub task: TaskId,
    /// What it marks.
    pub edge: MarkEdge,
}

/// What an in-band mark says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkEdge {
    /// A step begins.
    Begin(u64),
    /// The innermost open step of this task ends.
    EndInnermost,
    /// This step ends.
    End(u64),
}
