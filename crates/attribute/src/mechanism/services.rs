//! Waits for other programs on a step's path: which, and what they did meanwhile.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use agenttrace_model::parse::{Nanos, Pid};
use agenttrace_model::{SyscallClass, TaskId};

use super::network::{Connection, connection};
use super::{Mechanism, StepView};
use crate::cause::{Cause, Resource};
use crate::detail::{Column, Table};
use crate::inclusive::{Index, Stretch};
use crate::path::{Frame, PathSegment, StepPath};

/// By program.
pub(super) struct Services;

/// One program that was waited for. The parts add up to `waited`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) pid: Pid,
    pub(crate) waits: u64,
    pub(crate) waited: Nanos,
    /// It ran.
    pub(crate) running: Nanos,
    /// It was runnable and did not run.
    pub(crate) run_delay: Nanos,
    /// It waited for a block device.
    pub(crate) block: Nanos,
    /// It waited for a lock of its own process.
    pub(crate) lock: Nanos,
    /// It slept, waited for others, or what it did is not known.
    pub(crate) other: Nanos,
    pub(crate) connection: Option<Connection>,
}

/// The programs that a step waited for, the longest first.
pub(crate) fn services(
    index: &Index<'_>,
    path: &StepPath,
    work: &[Stretch],
    root: TaskId,
) -> Vec<Service> {
    if path.of(Cause::ServiceWait).next().is_none() {
        return Vec::new();
    }
    let ours: BTreeSet<TaskId> = work.iter().map(|s| s.task).collect();
    let mut by: BTreeMap<Pid, Service> = BTreeMap::new();
    let mut last = None;
    for segment in path.of(Cause::ServiceWait) {
        let frames = path.stacks.frames(segment.stack);
        let tasks: Vec<TaskId> = frames
            .iter()
            .filter_map(|f| if let Frame::Task(id) = f { Some(*id) } else { None })
            .filter(|id| !ours.contains(id))
            .collect();
        let Some((first, task)) = tasks.first().and_then(|id| Some((*id, index.task(*id)?))) else {
            continue;
        };
        let service = by.entry(task.pid).or_default();
        service.pid = task.pid;
        if service.name.is_empty() {
            service.name = task.name_at(segment.end).to_text();
        }
        let ns = segment.end - segment.start;
        // One wait may be many stretches of a path, without a gap.
        if last != Some((task.pid, segment.start)) {
            service.waits += 1;
            service.connection =
                service.connection.or_else(|| asked(index, &ours, root, segment, frames));
        }
        last = Some((task.pid, segment.end));
        service.waited += ns;
        let part = if holds_up(index, first, segment) {
            &mut service.lock
        } else {
            match segment.resource {
                Resource::Peer | Resource::CpuUser | Resource::CpuKernel => &mut service.running,
                Resource::RunQueue => &mut service.run_delay,
                Resource::DeviceQueue | Resource::Device | Resource::Completion => {
                    &mut service.block
                }
                Resource::LockHolder => &mut service.lock,
                Resource::Timer | Resource::Unknown => &mut service.other,
            }
        };
        *part += ns;
    }
    let mut services: Vec<Service> = by.into_values().collect();
    services.sort_by_key(|s| Reverse(s.waited));
    services
}

/// Whether the task that answers waits meanwhile for a lock that another of its process holds.
fn holds_up(index: &Index<'_>, answers: TaskId, segment: &PathSegment) -> bool {
    let Some(task) = index.task(answers).filter(|_| segment.task != answers) else { return false };
    let call = task.call_at(segment.start);
    call.is_some_and(|(_, call)| {
        call.lock && index.model.syscalls.class(call.nr) == SyscallClass::Futex
    })
}

/// Over which connection a task of the step asked: by the call it waits in meanwhile.
fn asked(
    index: &Index<'_>,
    ours: &BTreeSet<TaskId>,
    root: TaskId,
    segment: &PathSegment,
    frames: &[Frame],
) -> Option<Connection> {
    let waiting = frames
        .iter()
        .take_while(|f| !matches!(f, Frame::Task(id) if !ours.contains(id)))
        .filter_map(|f| if let Frame::Task(id) = f { Some(*id) } else { None })
        .last();
    connection(index, &PathSegment { task: waiting.unwrap_or(root), ..*segment })?.1
}

impl Mechanism for Services {
    fn id(&self) -> &'static str {
        "services"
    }
    fn title(&self) -> &'static str {
        "other programs that the critical path waited for, and what they did"
    }
    fn needs(&self) -> &'static [&'static str] {
        &["sched:sched_switch", "sched:sched_waking"]
    }
    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::text("program", "program"),
            Column::count("pid", "pid"),
            Column::count("count", "waits"),
            Column::time("total_ns", "total"),
            Column::time("running_ns", "ran"),
            Column::time("run_delay_ns", "run delay"),
            Column::time("block_ns", "block I/O"),
            Column::time("lock_ns", "lock"),
            Column::time("other_ns", "other"),
            Column::text("connection", "over"),
        ];
        COLUMNS
    }
    fn step(&self, view: &StepView<'_>) -> Table {
        let made = view.made;
        let services = made.services(view.index, view.path, view.work, view.step.root);
        let rows = services.iter().map(|s| {
            [
                s.name.as_str().into(),
                u64::try_from(s.pid.0).ok().into(),
                s.waits.into(),
                s.waited.into(),
                s.running.into(),
                s.run_delay.into(),
                s.block.into(),
                s.lock.into(),
                s.other.into(),
                s.connection.map(Connection::words).into(),
            ]
        });
        rows.collect()
    }
}
