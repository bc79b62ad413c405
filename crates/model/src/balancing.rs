//! What NUMA balancing did to tasks.

use agenttrace_parse::Nanos;

use crate::task::TaskId;

/// One decision of NUMA balancing about a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Balancing {
    /// When.
    pub time: Nanos,
    /// About whom.
    pub task: TaskId,
    /// What was decided.
    pub kind: BalancingKind,
}

/// What NUMA balancing decided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BalancingKind {
    /// Moved to another node (`sched_move_numa`).
    Moved,
    /// Changed places with a task of another node (`sched_swap_numa`).
    Swapped,
    /// Was to be moved, and stays (`sched_stick_numa`).
    Stuck,
    /// One of its mappings is left out (`sched_skip_vma_numa`).
    SkippedMapping,
    /// It is left out (`sched_skip_cpuset_numa`).
    SkippedTask,
}

impl BalancingKind {
    /// The words in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Moved => "moved to another node",
            Self::Swapped => "swapped with a task of another node",
            Self::Stuck => "could not be moved",
            Self::SkippedMapping => "mapping left out",
            Self::SkippedTask => "left out by its cpuset",
        }
    }
}
