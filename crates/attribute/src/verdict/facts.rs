//! What the rules look at: one step's sums, its path by entry stack, its counters.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use agenttrace_model::parse::{CaptureInfo, Comm, Cpu, Dev, Diagnostics, Nanos, Problem, Tid};
use agenttrace_model::{Model, Step, SyscallClass, TaskId, UringOp, Windows};

use rustc_hash::FxHashMap;

use crate::cause::{Cause, Resource};
use crate::cells::CellSum;
use crate::detail::Words;
use crate::inclusive::{Index, Stretch};
use crate::locks::Wait;
use crate::made::Made;
use crate::path::{Frame, Reason, StepPath, device_name};
use crate::report::{Coverage, CoverageStatus, Inclusive, Tracing};
use crate::stacks::SampleIndex;
use crate::stats::added_up;
use crate::uring::call_name;

/// What [`Facts`] is made of.
pub(crate) struct Parts<'a> {
    pub(crate) index: &'a Index<'a>,
    pub(crate) windows: &'a Windows,
    pub(crate) step: &'a Step,
    pub(crate) work: &'a [Stretch],
    pub(crate) path: &'a StepPath,
    pub(crate) inclusive: &'a Inclusive,
    pub(crate) coverage: &'a [Coverage],
    pub(crate) info: &'a CaptureInfo,
    pub(crate) diagnostics: &'a Diagnostics,
    pub(crate) unknown: Nanos,
    pub(crate) inferred: Nanos,
    pub(crate) broken: Option<&'a str>,
    pub(crate) tracing: &'a Tracing,
    pub(crate) stacks: Option<&'a SampleIndex<'a>>,
    /// Who works for the step, made when first asked for.
    pub(crate) tasks: OnceCell<BTreeSet<TaskId>>,
    /// What tables need as well.
    pub(crate) made: &'a Made,
}

/// All segments of a path with the same cause, resource, entry stack and task.
pub(crate) struct Cell<'p> {
    pub(crate) cause: Cause,
    pub(crate) resource: Resource,
    pub(crate) under: Option<Cause>,
    pub(crate) frames: &'p [Frame],
    pub(crate) task: TaskId,
    pub(crate) reason: Option<Reason>,
    pub(crate) ns: Nanos,
    pub(crate) segments: u64,
    /// Events recorded while its task was on a CPU for it.
    pub(crate) recorded: u64,
    /// Its time in calls or faults of which the end was not recorded.
    pub(crate) estimated: Nanos,
}

/// One step, as the rules see it: the whole, or the part of its path that a verdict is about.
pub(crate) struct Facts<'a> {
    pub(crate) parts: &'a Parts<'a>,
    pub(crate) wall: Nanos,
    /// The part of the path.
    pub(crate) cells: Vec<&'a Cell<'a>>,
}

/// The path of a step, segments with the same properties summed, in the order of
/// their first.
pub(crate) fn cells(path: &StepPath) -> Vec<Cell<'_>> {
    let cell = |sum: &CellSum| Cell {
        cause: sum.key.cause,
        resource: sum.key.resource,
        under: sum.key.under,
        frames: path.stacks.frames(sum.key.stack),
        task: sum.key.task,
        reason: sum.key.reason,
        ns: sum.ns,
        segments: sum.segments,
        recorded: sum.recorded,
        estimated: sum.estimated,
    };
    path.cells.iter().map(cell).collect()
}

impl<'a> Facts<'a> {
    /// The whole step; `cells` is [`cells`] of its path.
    pub(crate) fn new(parts: &'a Parts<'a>, cells: &'a [Cell<'a>]) -> Self {
        Self { wall: parts.step.end - parts.step.start, cells: cells.iter().collect(), parts }
    }

    /// The same step, with this part of its path.
    pub(crate) fn only(&self, cells: Vec<&'a Cell<'a>>) -> Self {
        Self { parts: self.parts, wall: self.wall, cells }
    }

    /// Time of the part by a property.
    fn sum(&self, keep: impl Fn(&Cell<'_>) -> bool) -> Nanos {
        self.cells.iter().filter(|c| keep(c)).map(|c| c.ns).sum()
    }

    pub(crate) fn model(&self) -> &'a Model {
        self.parts.index.model
    }

    /// The step's place in `Windows::steps`.
    pub(crate) fn number(&self) -> Option<usize> {
        let (steps, step) = (&self.parts.index.windows.steps, self.parts.step);
        let first = steps.partition_point(|s| s.start < step.start);
        let same = steps.iter().skip(first).take_while(|s| s.start == step.start);
        same.enumerate().find(|(_, s)| s.id == step.id).map(|(at, _)| first + at)
    }

    pub(crate) fn inclusive(&self) -> &'a Inclusive {
        self.parts.inclusive
    }

    /// Exclusive time of a cause.
    pub(crate) fn own(&self, cause: Cause) -> Nanos {
        self.sum(|c| c.cause == cause)
    }

    /// Run delay of what would have been this cause.
    pub(crate) fn delay(&self, cause: Cause) -> Nanos {
        self.sum(|c| c.cause == Cause::RunDelay && c.under == Some(cause))
    }

    /// What the path holds for a cause: the most that can be saved.
    pub(crate) fn held(&self, cause: Cause) -> Nanos {
        self.own(cause) + self.delay(cause)
    }

    /// What recording cost this part of the path, as estimated; `None`: not known.
    pub(crate) fn tracing(&self) -> Option<Nanos> {
        let events: u64 = self.cells.iter().map(|c| c.recorded).sum();
        let cost = self.parts.tracing.event_cost?;
        Some(Nanos(events.saturating_mul(cost.0)))
    }

    /// A cause's time on one resource.
    pub(crate) fn on(&self, cause: Cause, resource: Resource) -> Nanos {
        self.sum(|c| c.cause == cause && c.resource == resource)
    }

    /// The time of a cause by a property of its segments, most first; ties by the
    /// property's order.
    pub(crate) fn top<K: Ord>(
        &self,
        cause: Cause,
        key: impl Fn(&Cell<'_>) -> Option<K>,
    ) -> Vec<(K, Nanos)> {
        let cells = self.cells.iter().filter(|cell| cell.cause == cause);
        added_up(cells.filter_map(|cell| Some((key(cell)?, cell.ns))).collect())
    }

    /// The largest of [`Facts::top`].
    pub(crate) fn first<K: Ord>(
        &self,
        cause: Cause,
        key: impl Fn(&Cell<'_>) -> Option<K>,
    ) -> Option<(K, Nanos)> {
        self.top(cause, key).into_iter().next()
    }

    /// The innermost system call of most of a cause's time, by name. A request of io_uring
    /// is the call that does the same.
    pub(crate) fn call(&self, cause: Cause) -> Option<(Words, Nanos)> {
        let call = |f: &&Frame| matches!(f, Frame::Syscall(_) | Frame::Uring(_));
        let found = self.first(cause, |cell| cell.frames.iter().rev().find(call).copied());
        found.and_then(|(frame, ns)| {
            if let Frame::Syscall(nr) = frame {
                Some((self.model().syscalls.name(nr), ns))
            } else if let Frame::Uring(op) = frame {
                Some((call_name(op).into(), ns))
            } else {
                None
            }
        })
    }

    /// The opcode of io_uring through which most of a cause's time came, if it did.
    pub(crate) fn uring(&self, cause: Cause) -> Option<UringOp> {
        // A call of another task further in is no request's doing.
        let call = |f: &&Frame| matches!(f, Frame::Syscall(_) | Frame::Uring(_));
        let (op, ns) = self.first(cause, |cell| {
            let innermost = cell.frames.iter().rev().find(call)?;
            if let Frame::Uring(op) = innermost { Some(*op) } else { None }
        })?;
        (ns.0 >= self.own(cause).0.div_ceil(2)).then_some(op)
    }

    /// The device that a cause's time waited for most.
    pub(crate) fn device(&self, cause: Cause) -> Option<(String, Nanos)> {
        self.first(cause, |cell| cell.frames.iter().rev().copied().find_map(device))
            .map(|(dev, ns)| (device_name(self.model(), dev), ns))
    }

    /// The task outside the step that a cause's time waited for most: the first on
    /// the way that does not work for the step.
    pub(crate) fn peer(&self, cause: Cause) -> Option<(TaskId, Nanos)> {
        let parts = self.parts;
        let ours = parts.tasks.get_or_init(|| parts.work.iter().map(|s| s.task).collect());
        self.first(cause, |cell| {
            let tasks = || {
                cell.frames
                    .iter()
                    .filter_map(|f| if let Frame::Task(id) = f { Some(*id) } else { None })
            };
            let on = Some(cell.task).filter(|t| !ours.contains(t));
            tasks().find(|id| !ours.contains(id)).or(on).or_else(|| tasks().next_back())
        })
    }

    /// Whether the path holds a part of a stretch of time with this cause. What another task
    /// did meanwhile splits one into segments, some on that task.
    pub(crate) fn on_path(&self, cause: Cause) -> impl Fn(Nanos, Nanos) -> bool + use<> {
        let segments = self.parts.path.of(cause);
        let path: Vec<(Nanos, Nanos)> = segments.map(|s| (s.start, s.end)).collect();
        move |from, to| {
            let first = path.partition_point(|(_, end)| *end <= from);
            path.get(first).is_some_and(|(start, _)| *start < to)
        }
    }

    /// The waits for locks of which the path holds a part with this cause.
    pub(crate) fn lock_waits(&self, cause: Cause) -> Vec<Wait> {
        if self.parts.path.of(cause).next().is_none() {
            return Vec::new();
        }
        let on_path = self.on_path(cause);
        let all = self.parts.made.waits(self.parts.index, self.parts.work).iter().copied();
        all.filter(|wait| wait.lock.is_kernel() == (cause == Cause::KernelLock))
            .filter(|wait| on_path(wait.from, wait.to))
            .collect()
    }

    /// A task's thread id.
    pub(crate) fn tid(&self, task: TaskId) -> Option<Tid> {
        self.model().tasks.get(task.0 as usize).map(|t| t.tid)
    }

    /// A task's name at the end of the step, empty where it has none.
    pub(crate) fn comm(&self, task: TaskId) -> Comm {
        let task = self.model().tasks.get(task.0 as usize);
        task.map_or_else(Comm::default, |t| t.name_at(self.parts.step.end))
    }

    /// The same in words.
    pub(crate) fn name(&self, task: TaskId) -> String {
        named(&self.comm(task)).into_owned()
    }

    /// Name and thread id of a task.
    pub(crate) fn name_tid(&self, task: TaskId) -> NameTid {
        NameTid { comm: self.comm(task), tid: self.tid(task).unwrap_or(Tid(0)) }
    }

    /// The counted system calls of one class: (name, count, total), most total first.
    pub(crate) fn calls(&self, class: SyscallClass) -> Vec<(&'a str, u64, Nanos)> {
        let rows = self.parts.inclusive.syscalls.as_deref().unwrap_or_default();
        rows.iter()
            .filter(|row| row.count > 0 && self.parts.index.class(&row.name) == class)
            .map(|row| (&*row.name, row.count, row.total))
            .collect()
    }

    /// Whether a CPU lost events within the window, and how many it can have been.
    pub(crate) fn lost(&self) -> bool {
        let (start, end) = (self.parts.step.start, self.parts.step.end);
        self.model().lost.iter().any(|lost| lost.overlaps(start, end))
    }

    /// Whether events were lost that nobody knows the time of.
    pub(crate) fn lost_somewhere(&self) -> bool {
        self.model().lost_samples > 0
            || (self.model().lost.is_empty()
                && self.parts.diagnostics.count(Problem::LostEvents) > 0)
    }

    /// What the capture can show of a cause.
    pub(crate) fn coverage(&self, cause: Cause) -> Option<&'a Coverage> {
        self.parts
            .coverage
            .iter()
            .find(|c| c.cause == cause && c.status != CoverageStatus::Observed)
    }

    /// Who ran on the CPUs that the step's run delay waited for: (task, CPU, time),
    /// most first.
    pub(crate) fn cpu_rivals(&self) -> Vec<((TaskId, Cpu), Nanos)> {
        let mut sums: FxHashMap<(TaskId, Cpu), Nanos> = FxHashMap::default();
        for rival in self.parts.made.rivals(self.parts.index, self.parts.path) {
            *sums.entry((rival.task, rival.cpu)).or_default() += rival.to - rival.from;
        }
        let mut rows: Vec<_> = sums.into_iter().collect();
        rows.sort_unstable_by_key(|(of, ns)| (Reverse(*ns), *of));
        rows
    }

    /// How long these CPUs were surely idle meanwhile.
    pub(crate) fn cpus_idle(&self) -> Nanos {
        let waits = self.parts.path.of(Cause::RunDelay);
        waits.map(|wait| self.parts.index.idle_ahead(wait.task, wait.start, wait.end)).sum()
    }
}

/// Name and thread id of a task: `python (tid 7)`.
#[derive(Clone, Copy)]
pub(crate) struct NameTid {
    comm: Comm,
    tid: Tid,
}

impl Display for NameTid {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} (tid {})", named(&self.comm), self.tid.0)
    }
}

/// A task's name in words.
pub(crate) fn named(comm: &Comm) -> Cow<'_, str> {
    if comm.is_empty() { "an unnamed task".into() } else { comm.text() }
}

fn device(frame: Frame) -> Option<Dev> {
    match frame {
        Frame::Block(_, dev) | Frame::Journal(dev) => Some(dev),
        Frame::Syscall(_)
        | Frame::Task(_)
        | Frame::Fault(..)
        | Frame::Spawn
        | Frame::Loader
        | Frame::Startup
        | Frame::Exit
        | Frame::Lock(_)
        | Frame::Irq(_)
        | Frame::Softirq(_)
        | Frame::Uring(_)
        | Frame::Tick
        | Frame::Reclaim(_)
        | Frame::DirtyPause
        | Frame::TlbWait
        | Frame::User => None,
    }
}
