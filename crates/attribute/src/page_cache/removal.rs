//! A removal from the page cache to how it came about: evicted by whom, or truncated.

use agenttrace_model::parse::Nanos;
use agenttrace_model::{Model, Op, OpKind, ReclaimKind, SyscallClass, SyscallOp, Task, TaskId};

use crate::facts::is_kernel_thread;

/// How a folio left the page cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Removal {
    /// Reclaim, in the task that wanted memory; of which kind, no event tells.
    Reclaim,
    /// Reclaim for the limit of a cgroup, in the task that reached it.
    CgroupReclaim,
    /// Reclaim because the machine had too little free memory, in the task that wanted some.
    DirectReclaim,
    /// Background reclaim.
    Kswapd,
    /// A write to `/proc/sys/vm/drop_caches`.
    DropCaches,
    /// `posix_fadvise(POSIX_FADV_DONTNEED)`.
    Fadvise,
    /// `madvise(MADV_PAGEOUT)`, or of another process.
    Madvise,
    /// A direct write to the same pages.
    Invalidated,
    /// The file was truncated, or deleted and last closed.
    Truncated,
    /// It was added again and its removal was not recorded.
    NotRecorded,
    /// The capture does not tell.
    Unknown,
}

impl Removal {
    /// Whether the pages left though the file still had them: adding them again is a refault.
    pub(crate) fn is_eviction(self) -> bool {
        match self {
            Self::Reclaim
            | Self::CgroupReclaim
            | Self::DirectReclaim
            | Self::Kswapd
            | Self::DropCaches
            | Self::Fadvise
            | Self::Madvise
            | Self::NotRecorded
            | Self::Unknown => true,
            Self::Invalidated | Self::Truncated => false,
        }
    }

    /// Whether memory pressure did it.
    pub(crate) fn is_reclaim(self) -> bool {
        matches!(self, Self::Reclaim | Self::CgroupReclaim | Self::DirectReclaim | Self::Kswapd)
    }

    /// The words in reports.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Reclaim => "reclaim",
            Self::CgroupReclaim => "cgroup reclaim",
            Self::DirectReclaim => "direct reclaim",
            Self::Kswapd => "kswapd",
            Self::DropCaches => "drop_caches",
            Self::Fadvise => "posix_fadvise",
            Self::Madvise => "madvise",
            Self::Invalidated => "direct write",
            Self::Truncated => "truncated or deleted",
            Self::NotRecorded => "removal not recorded",
            Self::Unknown => "not told",
        }
    }
}

/// Numbers of the system calls that decide.
pub(super) struct Calls {
    fadvise: Option<i32>,
    madvise: [Option<i32>; 2],
    truncate: Vec<i32>,
    /// Reclaim was recorded, so that what is outside of it is none.
    reclaim: bool,
    calls: bool,
    kernel: Vec<bool>,
}

/// Calls in which pages leave because their file ends, is deleted or unmounted, as far as
/// no reclaim is recorded around it (callers of `truncate_inode_pages` and of `fput`).
const TRUNCATE: &[&str] = &[
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "truncate",
    "ftruncate",
    "open",
    "openat",
    "openat2",
    "creat",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "fallocate",
    "munmap",
    "umount2",
    "ioctl",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "sendmsg",
];

/// A number as text and a line end: what a write to `drop_caches` holds.
const SHORT_WRITE: std::ops::RangeInclusive<i64> = 1..=4;

impl Calls {
    pub(super) fn new(model: &Model) -> Self {
        let number = |name| model.syscalls.number(name);
        let captured = |name| model.captured.has(name);
        Self {
            fadvise: number("fadvise64"),
            madvise: [number("madvise"), number("process_madvise")],
            truncate: TRUNCATE.iter().filter_map(|name| number(name)).collect(),
            reclaim: captured("vmscan:mm_vmscan_direct_reclaim_begin")
                && captured("vmscan:mm_vmscan_memcg_reclaim_begin"),
            calls: captured("raw_syscalls:sys_enter") && captured("raw_syscalls:sys_exit"),
            kernel: model.tasks.iter().map(|task| is_kernel_thread(model, task)).collect(),
        }
    }

    /// How what a task removed at a time came about, and in which system call.
    pub(super) fn removal(
        &self,
        model: &Model,
        id: TaskId,
        task: &Task,
        time: Nanos,
    ) -> (Removal, Option<i32>) {
        let ops = || task.op_chain(task.op_at(time)).map(|(_, op)| op);
        let call = ops().find_map(Op::syscall);
        let nr = call.map(|call| call.nr);
        if let Some(reclaim) = ops().find_map(reclaim) {
            return (reclaim, nr);
        }
        if self.kernel.get(id.0 as usize).copied().unwrap_or(false) {
            return (by_thread(task), None);
        }
        if !self.calls {
            return (Removal::Unknown, None);
        }
        let fault = ops().any(|op| op.fault().is_some());
        let removal = match call {
            _ if fault => Removal::Reclaim,
            // On the way out of a call the last reference to a file goes (`task_work_run`).
            None => Removal::Truncated,
            Some(call) => self.by_call(model, &call),
        };
        (removal, nr)
    }

    fn by_call(&self, model: &Model, call: &SyscallOp) -> Removal {
        let nr = Some(call.nr);
        if nr == self.fadvise {
            return Removal::Fadvise;
        }
        if self.madvise.contains(&nr) {
            return Removal::Madvise;
        }
        if self.truncate.contains(&call.nr) {
            return Removal::Truncated;
        }
        if model.syscalls.class(call.nr) == SyscallClass::Write {
            return match (self.reclaim, call.ret) {
                (false, _) => Removal::Unknown,
                (true, Some(ret)) if SHORT_WRITE.contains(&ret) => Removal::DropCaches,
                // Direct writes come in whole sectors.
                (true, _) => Removal::Invalidated,
            };
        }
        // Nothing else in a read or an allocation takes clean pages out.
        Removal::Reclaim
    }
}

/// What a thread of the kernel removes outside of recorded reclaim. Most drop what others
/// have deleted or unmounted.
fn by_thread(task: &Task) -> Removal {
    let named =
        |name: &[u8]| task.names.first().is_some_and(|(_, n)| n.as_bytes().starts_with(name));
    if named(b"kswapd") {
        Removal::Kswapd
    } else if named(b"kdamond") {
        // DAMON's own reclaim (mm/damon/paddr.c), which no event brackets.
        Removal::Reclaim
    } else {
        Removal::Truncated
    }
}

/// The reclaim that an operation is; compaction takes nothing out.
fn reclaim(op: Op) -> Option<Removal> {
    let OpKind::Reclaim(reclaim) = op.kind else { return None };
    match reclaim.kind {
        ReclaimKind::Direct => Some(Removal::DirectReclaim),
        ReclaimKind::Cgroup | ReclaimKind::SoftLimit => Some(Removal::CgroupReclaim),
        ReclaimKind::Compaction => None,
    }
}
