//! TLB flushes: on the own CPU, sent to other CPUs, asked for by them.

use agenttrace_parse::{Cpu, Nanos};

use crate::task::TaskId;

/// A TLB flush that is more than a switch of tasks, on behalf of the task that was current
/// or, where another CPU asked for it, on top of that task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlbFlush {
    /// When.
    pub time: Nanos,
    /// The task that was current: the one that unmaps, or the one interrupted.
    pub task: TaskId,
    /// What kind.
    pub kind: FlushKind,
}

/// Where a TLB was flushed (`enum tlb_flush_reason`, include/linux/mm_types.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushKind {
    /// On the own CPU.
    Local,
    /// Sent to other CPUs; index in [`crate::Model::shootdowns`].
    Sent(u32),
    /// Asked for by another CPU.
    Received {
        /// Who sent it, where the call tells; index in [`crate::Model::shootdowns`].
        sent: Option<u32>,
        /// From the call's begin to its end on this CPU; `None` where not recorded.
        took: Option<Nanos>,
    },
}

/// A flush sent to other CPUs, and the sender's wait for them.
///
/// ```text
/// sender  tlb_flush 4, csd_queue_cpu [ own flush, busy wait ]        waited
/// other                    csd_function_entry [ flush ] csd_function_exit
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shootdown {
    /// When it was sent.
    pub time: Nanos,
    /// The sender.
    pub task: TaskId,
    /// Pages to flush; `None`: everything.
    pub pages: Option<u64>,
    /// CPUs that were called, as far as `csd_queue_cpu` was recorded.
    pub cpus: u16,
    /// From sending to the end of the last call; `None` where the calls' ends were not recorded.
    pub waited: Option<Nanos>,
    /// The CPU that was done last, and the task that it interrupted.
    pub last: Option<(Cpu, Option<TaskId>)>,
}

impl Shootdown {
    /// Whether another CPU was asked, as far as the capture tells. A flush is announced
    /// before the kernel looks whom to ask (`native_flush_tlb_multi`, arch/x86/mm/tlb.c).
    #[must_use]
    pub fn asked(&self) -> bool {
        self.cpus > 0 || self.waited.is_none()
    }
}
