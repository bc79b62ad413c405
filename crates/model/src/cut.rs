//! A choice of steps to a choice of records: what `agenttrace cut` keeps.
//!
//! Kept are all records within the steps' windows, and, from outside them, just
//! those that establish what held at a window's edges: the state of each task
//! that takes part, its open calls and requests, fds, names, mappings, forks; and
//! after a window, what ends the operations that began in it.

use agenttrace_parse::events::{Event, Kind, Record, Sched, Syscall};
use agenttrace_parse::stack::{StackEvent, StackRecord};
use agenttrace_parse::{Dev, FileId, Nanos, Tid};
use rustc_hash::FxHashSet;

use crate::fd::FdCall;
use crate::model::Model;
use crate::op::Op;
use crate::syscall_table::SyscallClass;
use crate::task::{State, TaskId};
use crate::window::Windows;

/// Which records a cut keeps.
#[derive(Debug)]
pub struct Selection<'m> {
    model: &'m Model,
    /// Steps' windows, merged, in time order.
    windows: Vec<(Nanos, Nanos)>,
    /// Times of single records outside the windows.
    pins: FxHashSet<Nanos>,
    /// Thread ids of the agent's tree.
    tree: FxHashSet<Tid>,
    /// Processes that those of the tree descend from.
    ancestors: FxHashSet<Tid>,
    /// Files of which a mapping has given the name.
    named: FxHashSet<FileId>,
}

/// A task that runs on for longer than this after a window is cut off there.
const SETTLE: usize = 4;

impl<'m> Selection<'m> {
    /// What the steps with these indices need.
    #[must_use]
    pub fn new(model: &'m Model, windows: &Windows, steps: &[usize]) -> Self {
        let mut ranges: Vec<(Nanos, Nanos)> =
            steps.iter().filter_map(|i| windows.steps.get(*i)).map(|s| (s.start, s.end)).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(Nanos, Nanos)> = Vec::new();
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if last.1 >= from => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        let mut selection = Self {
            model,
            windows: merged,
            pins: FxHashSet::default(),
            tree: FxHashSet::default(),
            ancestors: FxHashSet::default(),
            named: FxHashSet::default(),
        };
        for (id, task) in model.task_ids() {
            if windows.is_in_tree(id) {
                selection.tree.insert(task.tid);
                let mut parent = task.parent;
                while let Some(task) = parent.map(|id| model.task(id)) {
                    // A process has the id of its first thread.
                    if !selection.ancestors.insert(Tid(task.pid.0)) {
                        break;
                    }
                    parent = task.parent;
                }
            }
            for index in 0..selection.windows.len() {
                if let Some((from, to)) = selection.windows.get(index).copied() {
                    selection.edges(id, from, to);
                }
            }
        }
        for request in &model.requests {
            let done = request.completed.unwrap_or(Nanos::MAX);
            let inside = |(from, to): &(Nanos, Nanos)| request.queued < *to && done > *from;
            if selection.windows.iter().any(inside) {
                selection.pins.extend([request.queued, request.issued, done]);
            }
        }
        for lost in &model.lost {
            if selection.overlaps(lost.from, lost.to) {
                selection.pins.extend([lost.from, lost.to]);
            }
        }
        selection
    }

    fn overlaps(&self, from: Nanos, to: Nanos) -> bool {
        self.windows.iter().any(|(start, end)| from < *end && to > *start)
    }

    /// Pins what holds for one task at the edges of a window.
    fn edges(&mut self, id: TaskId, from: Nanos, to: Nanos) {
        let task = self.model.task(id);
        let at = task.span_at(from);
        if let Some(span) = task.states.get(at) {
            self.pins.insert(span.start);
        }
        // A runnable span's wait, and the call in which it waited, tell who claims it.
        if let Some(before) = at.checked_sub(1).and_then(|i| task.states.get(i)) {
            self.pins.insert(before.start);
        }
        self.pins.extend(task.op_chain(task.op_at(from)).map(|(_, op)| op.start));
        let end = task.span_at(to);
        let mut settled = to;
        for (offset, span) in task.states.iter().skip(end + 1).take(SETTLE).enumerate() {
            self.pins.insert(span.start);
            settled = settled.max(span.start);
            if offset + 1 < SETTLE && span.state == State::Running {
                break;
            }
        }
        // The ends of what began in the window, and the event after each, from
        // which its exit's cost is bounded.
        let first = task.ops.before(from);
        let open = task.op_chain(task.op_at(from)).map(|(index, _)| index);
        let began = task
            .ops
            .iter()
            .enumerate()
            .skip(first)
            .take_while(|(_, op)| op.start < to)
            .map(|(index, _)| index);
        let ends: Vec<usize> = open.chain(began).collect();
        for index in ends {
            let Some(op) = task.ops.get(index).filter(|op| op.end >= to && op.end != Nanos::MAX)
            else {
                continue;
            };
            let recorded = op.recorded_end();
            self.pins.insert(recorded);
            if let Some(after) = task.recorded.first_after(recorded) {
                self.pins.insert(after);
                // A call that this event begins has to end, or it seems to go on for good.
                let begun = task.ops.get(task.ops.before(after)).filter(|op| op.start == after);
                self.pins.extend(begun.map(Op::recorded_end).filter(|end| *end != Nanos::MAX));
            }
        }
    }

    fn inside(&self, time: Nanos) -> bool {
        let after = self.windows.partition_point(|(from, _)| *from <= time);
        after.checked_sub(1).and_then(|i| self.windows.get(i)).is_some_and(|(_, to)| time <= *to)
    }

    /// Whether the cut keeps the record of something that tells of stacks. Those that are
    /// events as well are chosen by [`Selection::keeps`].
    #[must_use]
    pub fn keeps_stack(&self, event: &StackEvent<'_>) -> bool {
        let of_tree = self.tree.contains(&event.tid);
        match &event.what {
            StackRecord::Sample(sample) => {
                sample.kind.is_none() && of_tree && self.inside(event.time)
            }
            // The kernel's code is everybody's; a child has what its parent had mapped.
            StackRecord::Mapping(map) => {
                let pid = Tid(map.pid.0);
                map.kernel || self.tree.contains(&pid) || self.ancestors.contains(&pid)
            }
            StackRecord::KernelSymbol(_) => true,
            // Written on the way back to user mode: after its samples, perhaps after the
            // window.
            StackRecord::Deferred(_) => of_tree,
            StackRecord::Comm(_) | StackRecord::Fork(_) | StackRecord::Exit(_) => true,
        }
    }

    /// Whether the cut keeps this event's record. Asked once for each event, in order.
    pub fn keeps(&mut self, event: &Event<'_>) -> bool {
        match &event.kind {
            Kind::Record(Record::LostSamples(_)) => false,
            Kind::Record(Record::Lost(_) | Record::Throttle(_)) => {
                let around = |l: &&crate::model::LostInterval| {
                    l.cpu == event.cpu && l.from <= event.time && event.time <= l.to
                };
                self.inside(event.time)
                    || self.model.lost.iter().filter(around).any(|l| self.overlaps(l.from, l.to))
            }
            Kind::Record(Record::Switch(_)) => self.inside(event.time),
            // A file has the name that its first mapping gave, whoever mapped it.
            Kind::Record(Record::Mmap2(map)) => {
                let file = FileId { dev: Dev::new(map.maj, map.min), ino: map.ino };
                let names = map.ino != 0
                    && map.filename.0.first() == Some(&b'/')
                    && self.named.insert(file);
                names || self.tree.contains(&Tid(map.pid.0))
            }
            // Names and parents are small, and tell kernel threads from others.
            Kind::Record(
                Record::CommRecord(_) | Record::Fork(_) | Record::Exit(_) | Record::Namespaces(_),
            ) => true,
            _ if self.inside(event.time) || self.pins.contains(&event.time) => true,
            Kind::Sched(
                Sched::TaskNewtask(_)
                | Sched::SchedProcessFork(_)
                | Sched::SchedProcessExec(_)
                | Sched::SchedProcessExit(_)
                | Sched::TaskRename(_),
            ) => self.tree.contains(&event.tid),
            // Calls that make, copy or close fds, and forks and execs.
            Kind::Syscall(call) => {
                let (Syscall::SysEnter(_) | Syscall::SysExit(_)) = call;
                let id = match call {
                    Syscall::SysEnter(e) => e.id,
                    Syscall::SysExit(e) => e.id,
                };
                let nr = i32::try_from(id).unwrap_or(-1);
                let class = self.model.syscalls.class(nr);
                self.tree.contains(&event.tid)
                    && (FdCall::by_name(&self.model.syscalls.name(nr)).is_some()
                        || matches!(class, SyscallClass::Fork | SyscallClass::Exec))
            }
            Kind::Sched(_)
            | Kind::Fault(_)
            | Kind::PageCache(_)
            | Kind::Block(_)
            | Kind::Fs(_)
            | Kind::Lock(_)
            | Kind::Reclaim(_)
            | Kind::Irq(_)
            | Kind::Net(_)
            | Kind::Tlb(_)
            | Kind::IoUring(_) => false,
            // Only ftrace records them, and only perf.data is cut.
            Kind::Marker(_) => false,
        }
    }
}
