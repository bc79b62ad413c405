//! The model of a capture: tasks, wakeups, requests, files, marks, losses.

use std::collections::BTreeMap;

use agenttrace_parse::context::{CgroupCount, Machine, Mount};
use agenttrace_parse::{Addr, Calibration, CaptureInfo, Cpu, Dev, Diagnostics, Nanos};
use rustc_hash::FxHashSet;

use crate::balancing::Balancing;
use crate::commit::{Commit, Handle};
use crate::file_io::{FileWrite, Plug};
use crate::files::FileInfo;
use crate::interrupt::InterruptSpan;
use crate::marks::{RawMark, TraceAnchor};
use crate::names::DeviceInfo;
use crate::peer::Peers;
use crate::reclaim::{KswapdEvent, OomKill};
use crate::request::Request;
use crate::runs::Runs;
use crate::syscall_table::SyscallTable;
use crate::task::{Task, TaskId, Wake, WakeId};
use crate::timer::TimerFire;
use crate::tlb::{Shootdown, TlbFlush};
use crate::uring::Uring;
use crate::wakes::Wakes;

/// Everything that the analysis needs of a capture.
#[derive(Debug)]
pub struct Model {
    /// Tasks, by [`TaskId`], in the order of their first mention.
    pub tasks: Vec<Task>,
    /// Wakeups, by [`WakeId`], in time order.
    pub wakes: Wakes,
    /// Who ran on which CPU.
    pub runs: Runs,
    /// Block requests, in the order of their issue.
    pub requests: Vec<Request>,
    /// Journal commits, by their start.
    pub commits: Vec<Commit>,
    /// Parts of tasks in transactions, by their start.
    pub handles: Vec<Handle>,
    /// Who put data of which file into the page cache by a write call, by the first time.
    pub file_writes: Vec<FileWrite>,
    /// When tasks held requests back, by the end.
    pub plugs: Vec<Plug>,
    /// Requests of io_uring, and its workers.
    pub uring: Uring,
    /// Files that faults and the page cache mention.
    pub files: Vec<FileInfo>,
    /// Page-cache adds and deletes, in time order.
    pub cache: Vec<CacheEvent>,
    /// What kswapd did, in time order.
    pub kswapd: Vec<KswapdEvent>,
    /// Processes killed for want of memory, in time order.
    pub oom_kills: Vec<OomKill>,
    /// TLB flushes other than those of task switches, in time order.
    pub tlb_flushes: Vec<TlbFlush>,
    /// Flushes sent to other CPUs, in time order.
    pub shootdowns: Vec<Shootdown>,
    /// Names of interrupts and backing devices.
    pub names: Vec<String>,
    /// In-band marks, in time order.
    pub marks: Vec<RawMark>,
    /// What other clocks said, as texts in the trace tell, in time order.
    pub anchors: Vec<TraceAnchor>,
    /// The first text that calls itself a mark and cannot be read: (when, text).
    pub bad_mark: Option<(Nanos, String)>,
    /// Changes of `agent_step_id` on entering calls: (when, task, id).
    pub step_fields: Vec<(Nanos, TaskId, u64)>,
    /// Where CPUs lost events.
    pub lost: Vec<LostInterval>,
    /// Totals of lost samples of which the time is not known.
    pub lost_samples: u64,
    /// First and last event.
    pub span: (Nanos, Nanos),
    /// Interrupts of the CPUs, in the order of their begin.
    pub interrupts: Vec<InterruptSpan>,
    /// High-resolution timers that fired, in time order.
    pub timers: Vec<TimerFire>,
    /// What NUMA balancing decided, in time order.
    pub balancing: Vec<Balancing>,
    /// System call names and classes.
    pub syscalls: SyscallTable,
    /// Which event types were recorded.
    pub captured: Captured,
    /// What leaving calls and faults costs, measured here; in each operation's end.
    pub calibration: Calibration,
    /// Since when all calls and faults were read: zero but where a beginning was skimmed. What
    /// they usually take is measured over these alone.
    pub whole_since: Nanos,
    /// The other ends of TCP connections.
    pub peers: Peers,
    /// Problems that only the model can see.
    pub diagnostics: Diagnostics,
    /// Block devices of which a name is known, by number.
    pub devices: BTreeMap<Dev, DeviceInfo>,
    /// Mounted filesystems, where a context tells.
    pub mounts: Vec<Mount>,
    /// What cgroups counted since they were made, where a context tells.
    pub cgroups: Vec<CgroupCount>,
    /// The traced machine, where a context tells.
    pub machine: Option<Machine>,
    /// Functions and variables of the kernel that start at these addresses.
    pub kernel_names: BTreeMap<Addr, String>,
}

/// A folio entered or left the page cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheEvent {
    /// When.
    pub time: Nanos,
    /// The task that was current.
    pub task: Option<TaskId>,
    /// Index in [`Model::files`].
    pub file: u32,
    /// First page index.
    pub index: u64,
    /// Pages.
    pub pages: u64,
    /// Entered, or left.
    pub added: bool,
}

/// A CPU's records are incomplete over `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LostInterval {
    /// The CPU.
    pub cpu: Cpu,
    /// Its last record before the loss.
    pub from: Nanos,
    /// Its next consistent switch.
    pub to: Nanos,
}

impl LostInterval {
    /// Whether some of `[from, to)` is within it.
    #[must_use]
    pub fn overlaps(&self, from: Nanos, to: Nanos) -> bool {
        self.from < to && self.to > from
    }
}

/// The event types that a capture recorded.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    names: FxHashSet<String>,
    system_wide: bool,
}

impl Captured {
    pub(crate) fn new(info: &CaptureInfo) -> Self {
        let names = info.event_types.iter().map(|t| t.name.clone()).collect();
        Self { names, system_wide: info.system_wide }
    }

    /// Whether events of every task were recorded.
    #[must_use]
    pub fn system_wide(&self) -> bool {
        self.system_wide
    }

    /// Whether this event type was recorded, even if it never occurred.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

impl Model {
    pub(crate) fn new(syscalls: SyscallTable, captured: Captured) -> Self {
        Self {
            tasks: Vec::new(),
            wakes: Wakes::default(),
            runs: Runs::default(),
            requests: Vec::new(),
            commits: Vec::new(),
            handles: Vec::new(),
            file_writes: Vec::new(),
            plugs: Vec::new(),
            uring: Uring::default(),
            files: Vec::new(),
            cache: Vec::new(),
            kswapd: Vec::new(),
            oom_kills: Vec::new(),
            tlb_flushes: Vec::new(),
            shootdowns: Vec::new(),
            names: Vec::new(),
            marks: Vec::new(),
            anchors: Vec::new(),
            bad_mark: None,
            step_fields: Vec::new(),
            lost: Vec::new(),
            lost_samples: 0,
            span: (Nanos::ZERO, Nanos::ZERO),
            interrupts: Vec::new(),
            timers: Vec::new(),
            balancing: Vec::new(),
            syscalls,
            captured,
            calibration: Calibration {
                exit_cost: Nanos::ZERO,
                fault_cost: Nanos::ZERO,
                fault_reach: Nanos::ZERO,
            },
            whole_since: Nanos::ZERO,
            peers: Peers::default(),
            diagnostics: Diagnostics::default(),
            devices: BTreeMap::new(),
            mounts: Vec::new(),
            cgroups: Vec::new(),
            machine: None,
            kernel_names: BTreeMap::new(),
        }
    }

    /// The task with this index.
    #[must_use]
    pub fn task(&self, id: TaskId) -> &Task {
        #[expect(
            clippy::indexing_slicing,
            reason = "ids come from this model, which never removes a task"
        )]
        &self.tasks[id.0 as usize]
    }

    /// The wakeup with this index.
    #[must_use]
    #[inline(always)]
    pub fn wake(&self, id: WakeId) -> Wake {
        self.wakes.wake(id)
    }

    /// All tasks with their ids.
    pub fn task_ids(&self) -> impl Iterator<Item = (TaskId, &Task)> + '_ {
        self.tasks
            .iter()
            .enumerate()
            .map(|(i, task)| (TaskId(u32::try_from(i).unwrap_or(u32::MAX)), task))
    }

    /// The task that had this thread id at a time: the latest born by then.
    #[must_use]
    pub fn task_at(&self, tid: agenttrace_parse::Tid, time: Nanos) -> Option<TaskId> {
        let of_tid = self.task_ids().filter(|(_, task)| task.tid == tid);
        self.latest(of_tid.map(|(id, _)| id), time)
    }

    /// Of tasks in their order with one thread id, the one that had it at a time.
    pub(crate) fn latest(
        &self,
        tasks: impl Iterator<Item = TaskId>,
        time: Nanos,
    ) -> Option<TaskId> {
        let mut found = None;
        for id in tasks {
            if found.is_none() || self.task(id).birth.is_none_or(|birth| birth <= time) {
                found = Some(id);
            }
        }
        found
    }
}
