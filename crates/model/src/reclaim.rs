//! Reclaim, compaction, pauses for dirty memory, OOM kills: what a task did for memory, or lost to it.

use agenttrace_parse::Nanos;

use crate::task::TaskId;

/// Reclaim or compaction by a task, which wanted memory itself, or does it for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReclaimOp {
    /// What it was for.
    pub kind: ReclaimKind,
    /// Pages reclaimed; `None` while open, and for compaction, which frees none.
    pub pages: Option<u64>,
    /// How long it was put to sleep meanwhile, because reclaim did not get on
    /// (`mm_vmscan_throttled`), microseconds; saturates.
    pub throttled_us: u32,
    /// The sleeps in that.
    pub throttles: u16,
}

/// Why memory is reclaimed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReclaimKind {
    /// The machine (or a NUMA node) is short of free memory (`try_to_free_pages`).
    Direct,
    /// A cgroup is at its limit (`try_to_free_mem_cgroup_pages`).
    Cgroup,
    /// A cgroup is above its soft limit while the machine is short (cgroup v1).
    SoftLimit,
    /// Pages are moved together, so that large allocations succeed (`compact_zone`).
    Compaction,
}

impl ReclaimKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Cgroup, Self::SoftLimit, Self::Compaction];

    /// The name in reports and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct reclaim",
            Self::Cgroup => "cgroup reclaim",
            Self::SoftLimit => "soft limit reclaim",
            Self::Compaction => "compaction",
        }
    }
}

/// A pause of a writer, announced by `balance_dirty_pages` and ended by its timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirtyPause {
    /// Index in [`crate::Model::names`] of the backing device, as `major:minor`.
    pub bdi: Option<u32>,
    /// Pages of the whole machine that are dirty or under write-back; `None` on old kernels.
    pub dirty: Option<u64>,
    /// The limit for these, pages.
    pub limit: Option<u64>,
}

/// A process that was killed for want of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OomKill {
    /// When it was chosen.
    pub time: Nanos,
    /// The process killed: its thread that was marked.
    pub victim: TaskId,
    /// The task whose allocation failed: it ran the OOM killer.
    pub trigger: Option<TaskId>,
    /// The victim's anonymous memory, KiB (Linux 6.9 and later).
    pub anon_kib: Option<u64>,
}

/// kswapd, the kernel's thread that reclaims in the background, woke up or went to sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KswapdEvent {
    /// When.
    pub time: Nanos,
    /// The task that was current: kswapd itself, or the allocator that wakes it.
    pub task: Option<TaskId>,
    /// What happened.
    pub what: Kswapd,
}

/// What [`KswapdEvent`] is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kswapd {
    /// It begins to reclaim.
    Wakes,
    /// It goes to sleep.
    Sleeps,
    /// An allocation found too little free memory, and wakes it.
    Asked,
}
